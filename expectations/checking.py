"""Rules of ``rules.csv`` as Great Expectations suites. Only counts are asked for; no value of the data comes back."""

from __future__ import annotations

import csv
import datetime as dt
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from caseness import warehouse
from caseness.settings import Settings
from screening.definitions import definitions

Rule = dict[str, str]
_COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
_UNLINKED = "unlinked"
_NOT_STATED = ("load_id", "source_name", "source_row_number")


@dataclass(frozen=True)
class Finding:
    """What one rule found. ``failed_share`` is None where nothing was checked.

    ``people_checked`` and ``people_failed_at_least`` count the people behind the rows, since one person's eight forms
    are one person; they equal the rows in a table that holds no person.
    """

    rule_id: str
    table_name: str
    column_name: str
    check_kind: str
    severity: str
    rows_checked: int | None
    rows_failed: int | None
    people_checked: int | None
    people_failed_at_least: int | None
    failed_share: float | None
    threshold_share: float
    status: str  # passed, failed, not_applicable, error
    reason: str
    example: str
    remedy: str


@dataclass
class CheckReport:
    """All findings of a build, one per rule."""

    build_id: str
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[dict[str, str]] = field(default_factory=list)  # what no rule can see: message and remedy

    def count(self, status: str) -> int:
        """Number of rules that ended so."""
        return sum(finding.status == status for finding in self.findings)

    @property
    def fatal_failed(self) -> list[str]:
        """Rules that stop a publication."""
        return [f.rule_id for f in self.findings if f.severity == "fatal" and f.status in ("failed", "error")]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return {
            "build_id": self.build_id,
            "rules_checked": len(self.findings),
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "not_applicable": self.count("not_applicable"),
            "errors": self.count("error"),
            "fatal_failed": self.fatal_failed,
            "seconds": self.seconds,
            "findings": [vars(finding) for finding in self.findings],
            "notes": self.notes,
        }


@cache
def rules() -> tuple[Rule, ...]:
    """Rows of ``rules.csv``."""
    text = files("expectations").joinpath("rules.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _parameters(rule: Rule) -> dict[str, str]:
    pairs = (part.partition("=") for part in rule["parameters"].split(";") if part)
    return {name: value for name, _, value in pairs}


def _where(rule: Rule) -> str:
    """The rows a rule is about, where it is not about all of its table."""
    kind, parameters = rule["check_kind"], _parameters(rule)
    if kind == "between_definition":
        return f"instrument_code = {warehouse.quote_literal(parameters['instrument'])}"
    if kind == "is_true_of_items":
        return "items_answered > 0"
    if kind == "is_whole_number":
        decimals = [row["instrument_code"] for row in definitions("instruments") if int(row["total_decimals"]) > 0]
        others = ", ".join(map(warehouse.quote_literal, decimals))
        return f"{warehouse.quote_identifier(rule['column_name'])} is not null and instrument_code not in ({others})"
    if kind == "within_total_range":
        return f"{warehouse.quote_identifier(rule['column_name'])} is not null"
    return ""


def _query(rule: Rule) -> str:
    """What the suite looks at: a table, some of its rows, or whether each of its values has a form."""
    where = _where(rule)
    if rule["check_kind"] == "statements_ordered":
        return _ordered_statements(rule)
    chosen = "*"
    if rule["check_kind"] == "matches":
        form = warehouse.quote_literal(_parameters(rule)["regex"])
        chosen = f"regexp_full_match({warehouse.quote_identifier(rule['column_name'])}, {form}) as has_form"
    if rule["check_kind"] == "is_whole_number":
        name = warehouse.quote_identifier(rule["column_name"])
        chosen = f"{name} = floor({name}) as has_form"
    if rule["check_kind"] == "within_total_range":
        chosen = f"{_within_total_range(rule['column_name'])} as has_form"
    return f"select {chosen} from {rule['table_name']}" + (f" where {where}" if where else "")


def _within_total_range(column: str) -> str:
    """Whether a total lies on the scale of its instrument."""
    name = warehouse.quote_identifier(column)
    told = []
    for row in definitions("instruments"):
        if row["has_total"] == "true":
            own = [f"instrument_code = {warehouse.quote_literal(row['instrument_code'])}"]
            own += [f"{name} >= {int(row['total_min'])}"] if row["total_min"] else []  # no bound is stated for some
            own += [f"{name} <= {int(row['total_max'])}"] if row["total_max"] else []
            told.append(f"({' and '.join(own)})")
    return " or ".join(told)


def _ordered_statements(rule: Rule) -> str:
    """For each key with several statements, whether its latest ones agree or are told apart by what they state."""
    table, keys = rule["table_name"], ", ".join(map(warehouse.quote_identifier, rule["column_name"].split(";")))
    latest = f"rank() over (partition by {keys} order by recorded_at desc nulls last, delivered_at desc nulls last)"
    return (
        f"select count(*) = 1 as is_ordered from (select distinct * exclude ({', '.join(_NOT_STATED)}) from {table} "
        f"semi join (select {keys} from {table} group by {keys} having count(*) > 1) as repeated using ({keys}) "
        f"qualify {latest} = 1) as latest group by {keys}"
    )


def _expectation(rule: Rule, as_of_date: dt.date) -> Any:
    """The Great Expectations form of a rule."""
    import great_expectations.expectations as gx

    kind, parameters = rule["check_kind"], _parameters(rule)
    columns = rule["column_name"].split(";") if rule["column_name"] else []
    shared = {"mostly": 1.0 - float(rule["threshold_share"]), "meta": {"rule_id": rule["rule_id"]}}
    if kind == "row_count_above_zero":
        return gx.ExpectTableRowCountToBeBetween(min_value=1, meta=shared["meta"])
    if kind == "unique":
        if len(columns) == 1:
            return gx.ExpectColumnValuesToBeUnique(column=columns[0], **shared)
        return gx.ExpectCompoundColumnsToBeUnique(column_list=columns, **shared)
    if kind == "not_null":
        return gx.ExpectColumnValuesToNotBeNull(column=columns[0], **shared)
    if kind == "between":
        low, high = float(parameters["min"]), float(parameters["max"])
        return gx.ExpectColumnValuesToBeBetween(column=columns[0], min_value=low, max_value=high, **shared)
    if kind == "between_definition":
        row = next(row for row in definitions("instruments") if row["instrument_code"] == parameters["instrument"])
        low, high = int(row["total_min"]), int(row["total_max"])
        return gx.ExpectColumnValuesToBeBetween(column=columns[0], min_value=low, max_value=high, **shared)
    if kind == "not_after_as_of_date":
        return gx.ExpectColumnValuesToBeBetween(column=columns[0], max_value=as_of_date, **shared)
    if kind == "column_at_most":
        return gx.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=columns[1], column_B=columns[0], or_equal=True, ignore_row_if="either_value_is_missing", **shared
        )
    if kind == "in_set":
        return gx.ExpectColumnValuesToBeInSet(column=columns[0], value_set=parameters["values"].split("|"), **shared)
    if kind == "not_unlinked":
        return gx.ExpectColumnValuesToNotBeInSet(column=columns[0], value_set=[_UNLINKED], **shared)
    if kind in ("is_true", "is_true_of_items", "is_false"):
        return gx.ExpectColumnValuesToBeInSet(column=columns[0], value_set=[kind != "is_false"], **shared)
    if kind == "statements_ordered":
        return gx.ExpectColumnValuesToBeInSet(column="is_ordered", value_set=[True], **shared)
    if kind in ("matches", "is_whole_number", "within_total_range"):
        return gx.ExpectColumnValuesToBeInSet(column="has_form", value_set=[True], **shared)
    raise ValueError(f"rules.csv: {rule['rule_id']} has a kind nobody knows: {kind}")


def check(
    database: Path,
    *,
    settings: Settings,
    build_id: str,
    as_of_date: dt.date,
    rule_rows: Sequence[Rule] | None = None,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Run every rule on ``database`` (opened read-only). A rule that cannot run is an ``error``, never a pass."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logging.disable(logging.WARNING)  # the library logs every step at INFO through the root logger
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from expectations import dialect

    say = progress or (lambda message: None)
    started = time.monotonic()
    dialect.register()
    chosen = list(rule_rows if rule_rows is not None else rules())
    with warehouse.reader(database, settings, with_deliveries=True) as connection:
        sizes = {rule["rule_id"]: _rows(connection, rule) for rule in chosen}
        people = {name: _people(connection, name) for name in {rule["table_name"] for rule in chosen}}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_sql(
        name="warehouse", connection_string=f"duckdb:///{database}?access_mode=read_only", create_temp_table=False
    )
    results: dict[str, Any] = {}
    groups: dict[str, list[Rule]] = {}
    for rule in chosen:
        if sizes[rule["rule_id"]] or rule["check_kind"] == "row_count_above_zero":
            groups.setdefault(_query(rule), []).append(rule)
    try:
        for number, (query, members) in enumerate(groups.items(), start=1):
            say(f"{members[0]['table_name']} ({number} of {len(groups)})")
            asset = source.add_query_asset(name=f"rows_{number}", query=query)
            batch = asset.add_batch_definition_whole_table(name="all").get_batch()
            suite = gx.ExpectationSuite(
                name=f"suite_{number}", expectations=[_expectation(rule, as_of_date) for rule in members]
            )
            for result in batch.validate(suite, result_format=_COUNTS_ONLY).results:
                results[result.expectation_config.meta["rule_id"]] = result
    finally:
        dialect.close_all()
        logging.disable(logging.NOTSET)
    findings = [
        _finding(rule, sizes[rule["rule_id"]], results.get(rule["rule_id"]), people[rule["table_name"]])
        for rule in chosen
    ]
    return CheckReport(build_id, findings, round(time.monotonic() - started, 2))


def _rows(connection: Any, rule: Rule) -> int:
    row = connection.execute(f"select count(*) from ({_query(rule)}) as rows_of_rule").fetchone()
    return int(row[0]) if row else 0


def _people(connection: Any, table: str) -> tuple[int, int] | None:
    """How many people a table is about and the most rows one of them has; ``None`` for a table without people."""
    schema, _, name = table.partition(".")
    columns = connection.execute(
        "select column_name from information_schema.columns where table_schema = ? and table_name = ? "
        "and column_name in ('person_id', 'person_token') order by column_name",
        [schema, name],
    ).fetchall()
    if not columns:
        return None
    person = columns[0][0]
    row = connection.execute(
        f"select count(*), max(rows_of_one) from (select count(*) as rows_of_one from {table} "
        f"where {person} is not null group by {person}) as of_people"
    ).fetchone()
    return (int(row[0]), int(row[1] or 1)) if row else (0, 1)


def _people_at_least(checked: int, size: int, people: tuple[int, int]) -> int:
    """How many people there must be in some rows of a table: each row left out is at most one person less."""
    everybody, most_rows = people
    return max(-(-checked // most_rows), min(checked, everybody - (size - checked)))


def _finding(rule: Rule, size: int, result: Any, people: tuple[int, int] | None) -> Finding:
    checked: int | None = size
    failed: int | None = None
    if result is None:
        status = "not_applicable" if size == 0 else "error"
        checked = 0 if size == 0 else None
    elif result.exception_info and _has_raised(result.exception_info):
        status, checked = "error", None
    else:
        status = "passed" if result.success else "failed"
        if rule["check_kind"] == "row_count_above_zero":
            failed = 0 if result.success else 1
        else:
            checked = size - int(result.result.get("missing_count") or 0)
            if rule["check_kind"] == "not_null":
                checked = size
            failed = int(result.result.get("unexpected_count") or 0)
            if checked == 0:
                status = "not_applicable"
    share = failed / checked if failed is not None and checked else None
    return Finding(
        rule_id=rule["rule_id"],
        table_name=rule["table_name"],
        column_name=rule["column_name"],
        check_kind=rule["check_kind"],
        severity=rule["severity"],
        rows_checked=checked,
        rows_failed=failed,
        people_checked=checked if people is None or checked is None else _people_at_least(checked, size, people),
        people_failed_at_least=failed if people is None or failed is None else -(-failed // people[1]),
        failed_share=share,
        threshold_share=float(rule["threshold_share"]),
        status=status,
        reason=rule["reason"],
        example=rule["example"],
        remedy=rule["remedy"],
    )


def _has_raised(info: dict[str, Any]) -> bool:
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(bool(part.get("raised_exception")) for part in info.values() if isinstance(part, dict))
