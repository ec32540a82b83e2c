"""``caseness whatif``: measures as they would be under other thresholds, rules or switches; nothing is kept.

The current build is copied, rows of its definitions are changed there, and the models between those rows and the
measures are run again: the same SQL decides, and the copy is thrown away.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from caseness import build_state, journal, warehouse
from caseness.commands.explain import measure_row
from caseness.dbt_runner import run_dbt
from caseness.errors import UsageError
from caseness.settings import Settings
from ingestion.deidentification import dates_are_calendar
from screening.definitions import definitions

_NUMBER = re.compile(r"^-?[0-9]+(\.[0-9]+)?$")
_FORM = re.compile(r"^\s*([a-z0-9_]+)\s*(>=|<=|=|>|<)\s*([A-Za-z0-9_.-]+)\s*$")
# Definition -> the column that names a row and the column that holds its number.
_NUMBERED = {
    "thresholds": ("threshold_id", "threshold_value"),
    "pathway_rules": ("rule_id", "threshold_value"),
}
_SWITCHES = "pathway_switches"
_COUNTS = ("numerator_count", "denominator_count", "rate_percent", "result_status")


@dataclass(frozen=True)
class _Change:
    """One row of a definition with another value; ``comparator`` is None where it stays."""

    definition: str
    name: str
    comparator: str | None
    value: str
    was: str


def run_whatif(
    changes: Sequence[str],
    *,
    settings: Settings,
    measures: Sequence[str] = (),
    period: str = "all",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Each measure of a period as it is and as it would be.

    ``changes``: ``NAME=VALUE``, or with a comparator in place of ``=``; a name is a threshold, a pathway rule or a
    switch. Raises ``UsageError`` for a name, value or period that is none, ``NotReadyError`` without a build.
    """
    say = progress or (lambda message: None)
    started = time.monotonic()
    read = [_read(text) for text in changes]
    if len({one.name for one in read}) < len(read):
        raise UsageError("a name is changed twice", remedy="each name once")
    wanted = [measure_row(name)["measure_id"] for name in measures]
    switches = {one.name: one.value for one in read if one.definition == _SWITCHES}
    copy = settings.paths.temporary / "whatif.duckdb"
    with journal.exclusive(settings.paths.lock, purpose="whatif"):
        state = build_state.ready(settings)
        if state["rules"]["definitions_hash"] != build_state.definitions_hash():
            raise UsageError(
                "the build was made with other definitions than these", remedy="run `caseness build` first"
            )
        in_force = state["rules"].get("pathway_switches", {})
        other = settings.model_copy(update={"pathway": {**in_force, **switches}})
        before = _results(settings, settings.paths.current, period)
        missing = [name for name in wanted if name not in before]
        if missing:
            raise UsageError(
                f"{missing[0]} has no result in the period {period}", remedy="ask for one of its periods: --period"
            )
        try:
            say("copying the build")
            settings.paths.temporary.mkdir(parents=True, exist_ok=True)
            build_state.copied(settings, state, copy)
            with warehouse.writer(copy, settings) as connection:
                for one in read:
                    if one.definition != _SWITCHES:
                        _apply(connection, one)
            say("computing the measures anew")
            run_dbt(
                ["run", "--full-refresh", "--select", *_selection(read)],
                database=copy,
                settings=other,
                variables={
                    "as_of_date": state["rules"]["as_of_date"],
                    "dates_are_calendar": dates_are_calendar(settings),
                },
            )
            after = _results(settings, copy, period)
        finally:
            warehouse.remove_database(copy)
            shutil.rmtree(settings.paths.temporary, ignore_errors=True)
            settings.paths.temporary.mkdir(parents=True, exist_ok=True)
        journal.append(settings.paths.journal, "whatif", build_id=state["build_id"], changes=len(read))
    rows = [
        {
            "measure_id": name,
            "as_it_is": before[name],
            "as_it_would_be": after[name],
            **_difference(before, after, name),
        }
        for name in before
        if (name in wanted if wanted else before[name] != after[name])
    ]
    return {
        "build_id": state["build_id"],
        "period_id": period,
        "changes": [
            {
                "definition": one.definition,
                "name": one.name,
                "was": in_force.get(one.name, one.was),
                "is": f"{one.comparator or ''}{one.value}",
            }
            for one in read
        ],
        "measures": rows,
        "measures_of_the_period": len(before),
        "measures_changed": sum(before[name] != after[name] for name in before),
        "seconds": round(time.monotonic() - started, 2),
    }


def _read(text: str) -> _Change:
    """``NAME=VALUE``; the name decides which definition it is a row of."""
    match = _FORM.match(text)
    if not match:
        raise UsageError(
            "a change is NAME=VALUE, or NAME with >=, >, <= or < and a value",
            remedy="for example: --set gad7_nhs_caseness=10 or --set change_rule=children",
        )
    name, sign, value = match.groups()
    options = [row for row in definitions(_SWITCHES) if row["switch_id"] == name]
    if options:
        if sign != "=" or value not in {row["option"] for row in options}:
            known = ", ".join(row["option"] for row in options)
            raise UsageError(f"the switch {name} has no such option", remedy=f"options: {known}")
        was = next(row["option"] for row in options if row["is_default"] == "true")
        return _Change(_SWITCHES, name, None, value, was)
    for definition, (key, column) in _NUMBERED.items():
        for row in definitions(definition):
            if row[key] == name:
                if not _NUMBER.match(value):
                    raise UsageError(f"{name} takes a number", remedy=f"it is {row[column]} now")
                comparator = None if sign == "=" else sign
                return _Change(definition, name, comparator, value, row["comparator"] + row[column])
    names = [row[key] for definition, (key, _) in _NUMBERED.items() for row in definitions(definition)]
    names += dict.fromkeys(row["switch_id"] for row in definitions(_SWITCHES))
    raise UsageError("nothing of this name can be changed", remedy="known: " + ", ".join(names))


def _apply(connection: Any, change: _Change) -> None:
    key, column = _NUMBERED[change.definition]
    table = f"intermediate.{change.definition}"
    connection.execute(f"update {table} set {column} = ? where {key} = ?", [float(change.value), change.name])
    if change.comparator:
        connection.execute(f"update {table} set comparator = ? where {key} = ?", [change.comparator, change.name])


def _selection(changes: Sequence[_Change]) -> list[str]:
    """Models between what changed and the measures. A switch may be read anywhere in the pathway."""
    seeds = {one.definition for one in changes if one.definition != _SWITCHES}
    found = {f"{seed}+,+measure_results" for seed in seeds}
    if any(one.definition == _SWITCHES for one in changes):
        found.add("int_assessments_assigned+,+measure_results")  # the first model that reads a switch
    return sorted(found)


def _results(settings: Settings, file: Any, period: str) -> dict[str, dict[str, Any]]:
    """Measures of a period, by name."""
    with warehouse.reader(file, settings, with_deliveries=True) as connection:
        rows = connection.execute(
            f"select measure_id, {', '.join(_COUNTS)} from marts.measure_results where period_id = ? order by 1",
            [period],
        ).fetchall()
        if not rows:
            known = connection.execute("select distinct period_id from marts.measure_results order by 1").fetchall()
            raise UsageError("there is no such period", remedy="periods: " + ", ".join(row[0] for row in known))
    return {name: dict(zip(_COUNTS, rest, strict=True)) for name, *rest in rows}


def _difference(before: dict[str, Any], after: dict[str, Any], name: str) -> dict[str, float | None]:
    old, new = before[name]["rate_percent"], after[name]["rate_percent"]
    return {"difference_percentage_points": None if old is None or new is None else new - old}
