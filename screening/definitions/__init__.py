"""The definitions: one CSV a kind, each row with a version and a source. Read here by Python, as seeds by dbt."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


def definition_names() -> frozenset[str]:
    """Names of every definition there is."""
    return frozenset(
        path.name.removesuffix(".csv") for path in files(__package__).iterdir() if path.name.endswith(".csv")
    )


@cache
def definitions(name: str) -> tuple[dict[str, str], ...]:
    """Rows of ``definitions/<name>.csv`` as text, in file order; an empty cell is the empty string.

    Raises ``FileNotFoundError`` when there is no such definition.
    """
    text = files(__package__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def default_rows(name: str, instrument_code: str) -> list[dict[str, str]]:
    """Rows of ``thresholds`` or ``severity_bands`` that hold for the instrument's own total unless another is chosen.

    Rows of a scale of it, of another authority or of another scheme are left out.
    """
    return [
        row
        for row in definitions(name)
        if row["instrument_code"] == instrument_code and row["is_default"] == "true" and not row["scale_code"]
    ]
