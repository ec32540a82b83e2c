"""``caseness cohort``: a measure of a group of people, from the current release and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caseness import figures
from caseness.commands.explain import run_explain
from caseness.errors import UsageError
from caseness.settings import Settings


def run_cohort(
    measure: str, *, settings: Settings, where: Sequence[str] = (), period: str = "all", scope: str | None = None
) -> dict[str, Any]:
    """One figure, or the nearest that are published. ``where`` are ``column=value``."""
    filters = {}
    for one in where:
        column, sign, value = one.partition("=")
        if not sign or not column or column in filters:
            raise UsageError("a filter is COLUMN=VALUE, each column once", remedy="for example: --where sex=female")
        filters[column.strip()] = value.strip()
    name = str(run_explain(measure)["measure_id"])
    return figures.cohort(name, filters, period, settings=settings, scope=scope or settings.scope)
