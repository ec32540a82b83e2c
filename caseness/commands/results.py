"""``caseness results [MEASURE]``: what the build says of a measure in a period, by group where asked.

For the warehouse's own people: unlike a release it is not protected against disclosure.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from caseness import build_state, journal, warehouse
from caseness.commands.explain import measure_row
from caseness.errors import NotReadyError, UsageError
from caseness.settings import Settings
from screening.definitions import definitions

_COLUMNS = (
    "initial_population_count",
    "denominator_count",
    "denominator_exclusion_count",
    "numerator_count",
    "rate_percent",
    "rate_lower_percent",
    "rate_upper_percent",
    "result_status",
)
_OF_RESULTS = ("period_start", "period_end", "pathway_switches", "exclusion_list_status")
_PERIODS_OF = (
    "select period_id from marts.measure_results where measure_id = {} group by period_id "
    "order by min(period_start), max(period_end) desc"
)
_GROUPS_OF = "select distinct group_dimension from marts.measure_group_results where measure_id = ? order by 1"


def run_results(
    measure: str | None, *, settings: Settings, period: str = "all", by: str | None = None
) -> dict[str, Any]:
    """Rows of ``measure_results``, or of ``measure_group_results`` by a column; all measures where none is named.

    Raises ``UsageError`` for a measure, period or column that is not there, ``NotReadyError`` without a build.
    """
    row = measure_row(measure) if measure else None
    if by and not row:
        raise UsageError("groups are told of one measure", remedy="name it: caseness results recovery --by sex")
    state = build_state.ready(settings)
    if state["rules"]["definitions_hash"] != build_state.definitions_hash():
        raise NotReadyError("the build was made with other definitions than these", remedy="run `caseness build` first")
    with warehouse.reader(settings.paths.current, settings, with_deliveries=True) as connection:
        wanted = [row["measure_id"]] if row else []
        periods = [name for (name,) in _rows(connection, _PERIODS_OF.format("?" if row else "measure_id"), wanted)]
        if period not in periods:
            raise UsageError(
                "the measure has no such period" if row else "there is no such period",
                remedy="periods: " + ", ".join(difflib.get_close_matches(period, periods, n=5) or periods),
            )
        where = {"period_id": period, **({"measure_id": row["measure_id"]} if row else {})}
        whole = _named_rows(connection, "measure_results", ("measure_id", *_COLUMNS, *_OF_RESULTS), where)
        groups = []
        if by:
            columns = ("measure_id", "group_value", *_COLUMNS)
            groups = _named_rows(connection, "measure_group_results", columns, {**where, "group_dimension": by})
        if by and not groups:
            known = _rows(connection, _GROUPS_OF, wanted)
            raise UsageError("there is no such group", remedy="--by one of: " + ", ".join(name for (name,) in known))
    journal.append(settings.paths.journal, "results", measure_id=wanted[0] if wanted else None, group_dimension=by)
    return {
        "build_id": state["build_id"],
        "as_of_date": state["rules"]["as_of_date"],
        "period_id": period,
        "period_start": whole[0]["period_start"],
        "period_end": whole[0]["period_end"],
        "measure_id": wanted[0] if wanted else None,
        "name": row["name"] if row else None,
        "formula": row["formula"] if row else None,
        "by": by,
        "confidence_level": next(
            float(rule["rule_value"]) for rule in definitions("analysis_rules") if rule["rule_id"] == "confidence_level"
        ),
        "interval_method": "Wilson",
        "is_protected": False,
        "whole": whole[0] if by else None,
        "rows": groups if by else whole,
    }


def _rows(connection: Any, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = connection.execute(query, values).fetchall()
    return rows


def _named_rows(
    connection: Any, table: str, columns: tuple[str, ...], where: Mapping[str, Any]
) -> list[dict[str, Any]]:
    asked = " and ".join(f"{column} = ?" for column in where)
    query = f"select {', '.join(columns)} from marts.{table} where {asked} order by all"
    return [dict(zip(columns, row, strict=True)) for row in _rows(connection, query, list(where.values()))]
