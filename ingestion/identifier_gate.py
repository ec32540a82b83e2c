"""The identifier gate: the contract is closed, and what lies outside it is named by class and count, never shown."""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib.resources import files

import polars as pl


@cache
def _rules() -> tuple[dict[str, str], ...]:
    text = files("ingestion").joinpath("identifier_rules.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _normalise(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def class_of_name(name: str) -> str | None:
    """The identifier class a column's name points to, by words (contained) and parts (whole), or ``None``."""
    normal = _normalise(name)
    parts = set(normal.split("_"))
    for rule in _rules():
        words = rule["rule"].split("|")
        if rule["rule_kind"] == "column_word" and any(word in normal for word in words):
            return rule["identifier_class"]
        if rule["rule_kind"] == "column_part" and parts & set(words):
            return rule["identifier_class"]
    return None


def is_nhs_number(text: str) -> bool:
    """Modulus 11 over ten digits: weights 10 to 2, check digit 11 - (sum mod 11), 11 counts as 0, 10 is invalid."""
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"\d{10}", digits):
        return False
    check = 11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return int(digits[9]) == (0 if check == 11 else check)


def class_of_values(values: pl.Series) -> str | None:
    """The identifier class the values of an uncontracted column look like, or ``None``."""
    present = values.drop_nulls().cast(pl.String).str.strip_chars()
    if present.is_empty():
        return None
    lower = present.str.to_lowercase()
    for rule in _rules():
        if rule["rule_kind"] == "value_pattern":
            share = lower.str.contains(rule["rule"]).mean()
        elif rule["rule_kind"] == "nhs_number":
            share = sum(map(is_nhs_number, present.to_list())) / len(present)
        else:
            continue
        if isinstance(share, float) and share > 0 and share >= float(rule["minimum_share"]):
            return rule["identifier_class"]
    return None


def describe(name: str, values: pl.Series | None = None) -> str:
    """How to speak of an uncontracted column: its identifier class, or that it is simply unknown."""
    found = class_of_name(name) or (class_of_values(values) if values is not None else None)
    return f"looks like an identifier ({found})" if found else "is not in the contract"
