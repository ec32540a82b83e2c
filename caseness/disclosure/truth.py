"""What the attacked variables truly are: one solution that whoever publishes has for nothing."""

from __future__ import annotations

from typing import Any

from caseness.dbt_runner import cohort_groups
from caseness.disclosure.attack import Part, System
from caseness.disclosure.union import EVERYBODY, sharer


class Truth:
    """True counts of one build, by group and day of evidence, summed over the stretches a system asks for."""

    def __init__(self, connection: Any, build: str) -> None:
        self._connection = connection
        self._build = build
        self._values = {
            (str(column), int(code)): str(value)
            for column, value, code in connection.execute(
                "select column_name, column_value, value_code from publication.cohort_values"
            ).fetchall()
        }
        self._known: dict[tuple[str, tuple[str, ...]], dict[Part, int]] = {}

    def of(self, system: System) -> dict[Part, int]:
        """Every variable of the system; empty when some are of another build, whose people this one does not hold."""
        parts = {part for cell in system.cells for part in (*cell.parts, *cell.whole, *cell.less)}
        if any(part[0] != self._build for part in parts):
            return {}
        starts: dict[str, set[str]] = {}
        for part in parts:
            starts.setdefault(part[3], set()).add(part[5])
        found: dict[Part, int] = {}
        for dimension, days in sorted(starts.items()):
            key = (dimension, tuple(sorted(days)))
            if key not in self._known:
                self._known[key] = self._counted(*key)
            found |= self._known[key]
        return {part: found.get(part, 0) for part in parts}

    def _counted(self, dimension: str, starts: tuple[str, ...]) -> dict[Part, int]:
        columns = {"+".join(group["columns"]): group["columns"] for group in cohort_groups()}.get(dimension, [])
        if dimension != EVERYBODY and not columns:
            return {}
        coded = "".join(f", members.{column}_code" for column in columns)
        rows = self._connection.execute(
            f"""
            select
                members.measure_code, cast(stretches.first_day as varchar),
                count(*), count(*) filter (members.is_in_numerator){coded}
            from publication.cohort_members as members
            asof join (select unnest(cast(? as date[])) as first_day) as stretches
                on members.evidence_date >= stretches.first_day
            where members.period_code = ?
            group by all
            """,
            [list(starts), self._code("period_id", "all")],
        ).fetchall()
        found: dict[Part, int] = {}
        for measure_code, start, denominator, numerator, *codes in rows:
            measure = self._values["measure_id", measure_code]
            named = [self._values[column, code] for column, code in zip(columns, codes, strict=True)]
            group = " + ".join(named) or EVERYBODY
            found[self._build, "numerator", measure, dimension, group, start] = int(numerator)
            if sharer(measure) == measure:
                found[self._build, "denominator", measure, dimension, group, start] = int(denominator)
        return found

    def _code(self, column: str, value: str) -> int:
        return next(code for (name, code), known in self._values.items() if (name, known) == (column, value))
