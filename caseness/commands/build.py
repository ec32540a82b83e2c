"""``caseness build``: from landed parts to marts, in a file that takes the current build's place when it is whole."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

import ingestion
from caseness import __version__, build_state, content, journal, value_sets, warehouse
from caseness.build_state import RULES_OF_EVERYONE, definitions_hash, read_build_state
from caseness.dbt_runner import DbtSummary, TransformError, models_by_person, run_dbt
from caseness.errors import NotReadyError, UsageError
from caseness.pathway_switches import chosen_switches
from caseness.settings import Deidentification, Settings
from ingestion.deidentification import check_one_date_form, date_form, dates_are_calendar
from ingestion.rotation import check_one_key
from screening.definitions import definitions

Progress = Callable[[str], None]
_FINANCIAL_YEAR_START_MONTH = 4
_CONFIDENCE_RULE = "confidence_level"
_PERIOD_COLUMNS = ("period_id", "period_kind", "period_label", "period_start", "period_end")
_MEMBERS = "measure_members"
# A large delivery is built in steps, each with everything that its last models read and no earlier step made. A table
# keeps in memory what was deleted from it until the database is closed, and it is closed after each step.
_TOUCHED = "+int_people_touched"
_STEPS = (
    ("+int_assessments_assigned",),
    ("+int_episode_scores", "+int_scores_valued"),
    ("+int_scores_spanned", "+int_session_steps_compared", "+int_course_events_judged"),
    ("+assessments", "+assessment_judgements"),
    ("+int_episodes_flagged", "+episodes", "+int_depression_totals_submitted"),
    ("+trajectories", "+session_scores"),
    ("+course_changes", "+trajectory_events"),
)
_OF_TOUCHED_PEOPLE = "person_id in (select person_id from intermediate.int_people_touched)"
# What the engine keeps in memory of the rows deleted from all tables by person, until a database is closed, for each
# row landed (measured: 1.7 GB for 46 million); beyond this share of its memory, models run one at a time.
_BYTES_KEPT_A_ROW = 40
_SHARE_KEPT = 0.25
_WITHOUT_SEEDS = ("--exclude-resource-type", "seed")
_TESTS_OF_ALL_THEY_READ = ("--indirect-selection", "cautious")
_FORM_STREAMS = ("questionnaire_answers", "questionnaire_totals")
_DELETIONS = "record_deletions"
_SERVICE_DATES = (
    ("referrals", "referral_received_date"),
    ("referrals", "discharge_date"),
    ("care_contacts", "contact_local_date"),
    ("questionnaire_answers", "answered_local_date"),
    ("questionnaire_totals", "answered_local_date"),
)
_OBSERVED_DATES = (*_SERVICE_DATES, ("coded_observations", "effective_local_date"))


@dataclass(frozen=True)
class Period:
    """A span of days that measures are computed for, both ends included."""

    period_id: str
    period_kind: str
    period_label: str
    period_start: dt.date
    period_end: dt.date


@dataclass
class BuildReport:
    """What a build did."""

    build_id: str
    content_hash: str
    as_of_date: dt.date
    is_full_build: bool
    loads: int
    periods: int
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    slowest: list[tuple[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return {**vars(self), "as_of_date": self.as_of_date.isoformat()}


def run_build(
    *,
    settings: Settings,
    measurement_periods: Sequence[str] = (),
    full_refresh: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Build the warehouse from every landed part. The current build is untouched unless all models and tests pass.

    ``measurement_periods`` are ``START/END`` in ISO dates; they are kept for later builds. Raises ``NotReadyError``
    when nothing has been ingested, ``TransformError`` when a model or test fails.
    """
    say = progress or (lambda message: None)
    started = time.monotonic()
    paths = settings.paths
    added = [_parse_period(text) for text in measurement_periods]
    with journal.exclusive(paths.lock, purpose="build"):
        try:
            report = _built(settings, added, full_refresh, say)
        finally:
            shutil.rmtree(paths.temporary, ignore_errors=True)
            paths.temporary.mkdir(parents=True, exist_ok=True)
    report.seconds = round(time.monotonic() - started, 2)
    return report


def _built(settings: Settings, added: Sequence[Period], full_refresh: bool, say: Progress) -> BuildReport:
    """Everything a build does while it holds the home's lock; what it leaves in the temporary folder is removed."""
    paths = settings.paths
    switches = chosen_switches(settings)
    ingestion.settle(settings, is_deep=True)
    parts = ingestion.landed_parts(settings)
    loads = [entry for entry in ingestion.manifest_entries(settings) if entry["load_status"] == "loaded"]
    if not loads:
        raise NotReadyError("nothing has been ingested yet", remedy="run `caseness ingest PATH...` first")
    check_one_date_form(settings, loads)
    check_one_key(loads)
    state = {} if full_refresh else read_build_state(settings)
    erasures = ingestion.erasures(settings)
    shutil.rmtree(paths.temporary, ignore_errors=True)  # what a process that was stopped has left
    paths.temporary.mkdir(parents=True, exist_ok=True)
    building = paths.temporary / "building.duckdb"
    with warehouse.writer(paths.temporary / "scratch.duckdb", settings) as scratch:
        _create_views(scratch, parts, settings)
        as_of_date = _as_of_date(scratch, settings, loads)
        periods = _periods(scratch, settings, as_of_date, added)
    (paths.temporary / "scratch.duckdb").unlink()
    hash_of_definitions = definitions_hash()
    rules = {
        "definitions_hash": hash_of_definitions,
        "periods": [period.period_id for period in periods],
        "as_of_date": as_of_date.isoformat(),
        "value_sets": value_sets.seal(settings),
        "date_form": date_form(settings),
        "pathway_switches": switches,
    }
    is_full = (
        "sha256" not in state
        or any(state["rules"].get(name) != rules[name] for name in RULES_OF_EVERYONE)
        or state.get("erasures", 0) < erasures
        or not set(state.get("load_ids", [])) <= {entry["load_id"] for entry in loads}
    )
    rows_by_load = {entry["load_id"]: sum(part["rows"] for part in entry["parts"].values()) for entry in loads}
    if is_full:  # whatever stands there was made otherwise, or is what a full build is to mend
        warehouse.remove_database(building)
        build_state.remove_previous(settings)
        base: dict[str, Any] = {}
    else:
        base = build_state.base_of_next(settings, state, building, rows_by_load)
    known = set(base.get("load_ids", []))
    say("transforming everyone" if is_full else "transforming the people the new deliveries touch")
    with warehouse.writer(building, settings) as connection:
        _create_views(connection, parts, settings)
        _create_periods(connection, periods)
        _create_quantiles(connection)
        _create_touched(connection, parts, known, settings)
    summary, sums = _transformed(
        settings, building, as_of_date, base, is_large=_is_large(settings, sum(rows_by_load.values()))
    )
    with warehouse.writer(building, settings) as connection:
        rows = _mart_rows(connection)
    if any(rows[table] != found.rows for table, found in sums.items()):
        raise TransformError(
            "rows of people whom no delivery touches have come or gone",
            remedy="run `caseness build --full-refresh`, and tell the project",
        )
    hash_of_content = content.hash_of(sums)
    build_id = _build_id(rules, loads, erasures)
    new_state = {
        "build_id": build_id,
        "code_version": __version__,
        "load_ids": sorted(entry["load_id"] for entry in loads),
        "rules": rules,
        "deidentification": settings.deidentification.value,
        "erasures": erasures,
        "content_hash": hash_of_content,
        "content": {table: found.as_json() for table, found in sums.items()},
    }
    build_state.put_in_place(settings, building, new_state, keep_previous=not is_full)
    journal.append(
        paths.journal,
        "build",
        build_id=build_id,
        loads=len(loads),
        is_full_build=is_full,
        content_hash=hash_of_content,
    )
    return BuildReport(
        build_id=build_id,
        content_hash=hash_of_content,
        as_of_date=as_of_date,
        is_full_build=is_full,
        loads=len(loads),
        periods=len(periods),
        rows=rows,
        nodes=summary.nodes,
        slowest=[(name, round(seconds, 2)) for name, seconds in summary.slowest],
    )


def _is_large(settings: Settings, rows: int) -> bool:
    """Whether the models have to run one at a time, so that each has the memory to itself."""
    return rows * _BYTES_KEPT_A_ROW > settings.memory_limit_megabytes * 1_000_000 * _SHARE_KEPT


def _transformed(
    settings: Settings, building: Path, as_of_date: dt.date, base: dict[str, Any], *, is_large: bool
) -> tuple[DbtSummary, dict[str, content.TableSums]]:
    """Run the models; what ran, and the sums of the marts. ``base`` is what the database was made from so far.

    Where deliveries are added to a large base, tables by person are not read again for the people nobody touched: what
    the touched ones came to before is taken from the sums of the base, and what they come to now is added.
    """
    variables = {
        "as_of_date": as_of_date.isoformat(),
        "dates_are_calendar": dates_are_calendar(settings),
        "is_for_touched_people": bool(base),
    }

    def run(*words: str) -> DbtSummary:
        return run_dbt(
            ["build", *words],
            database=building,
            settings=settings,
            variables=variables,
            is_one_at_a_time=is_large,
        )

    if not base:
        summary = run("--exclude", "tag:publication", "--full-refresh")
        with warehouse.writer(building, settings) as connection:
            return summary, content.table_sums(connection)
    # Definitions are rows of the base already.
    if not is_large:  # everything is read again faster than asked about
        summary = run("--exclude", "tag:publication", *_WITHOUT_SEEDS)
        with warehouse.writer(building, settings) as connection:
            return summary, content.table_sums(connection)
    # A test runs once, with the last of the models that it reads.
    first = run("--select", _TOUCHED, *_WITHOUT_SEEDS, *_TESTS_OF_ALL_THEY_READ)
    known = base.get("content", {}) if base.get("code_version") == __version__ else {}
    by_person = [table for table in models_by_person(settings, content.SCHEMA) if table in known]
    with warehouse.writer(building, settings) as connection:
        before = content.table_sums(connection, by_person, where=_OF_TOUCHED_PEOPLE)
    summary, made = first, [_TOUCHED]
    for step in _STEPS:
        wanted = ("--select", *step, "--exclude", *made, *_WITHOUT_SEEDS, *_TESTS_OF_ALL_THEY_READ)
        summary, made = summary.with_more(run(*wanted)), [*made, *step]
    rest = run("--exclude", "tag:publication", *made, *_WITHOUT_SEEDS, *_TESTS_OF_ALL_THEY_READ)
    with warehouse.writer(building, settings) as connection:
        after = content.table_sums(connection, by_person, where=_OF_TOUCHED_PEOPLE)
        sums = content.table_sums(connection, set(content.tables(connection)) - set(by_person))
    for table in by_person:
        sums[table] = content.TableSums.from_json(known[table]) - before[table] + after[table]
    return summary.with_more(rest), sums


def _create_views(connection: duckdb.DuckDBPyConnection, parts: dict[str, list[Path]], settings: Settings) -> None:
    streams = ingestion.raw_streams()
    for stream, columns in streams.items():
        if stream not in ("deliveries", "quarantined_rows"):
            warehouse.create_raw_view(connection, stream, columns, parts.get(stream, []))
    warehouse.create_raw_view(
        connection, "quarantined_rows", streams["quarantined_rows"], ingestion.quarantine_parts(settings)
    )
    value_sets.create_raw_table(connection, settings)
    connection.register("deliveries_given", ingestion.deliveries_table(settings))
    chosen = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in streams["deliveries"].items())
    connection.execute(f"create or replace table raw.deliveries as select {chosen} from deliveries_given")
    connection.unregister("deliveries_given")


def _create_periods(connection: duckdb.DuckDBPyConnection, periods: Sequence[Period]) -> None:
    connection.execute(
        "create or replace table raw.measurement_periods ("
        "period_id varchar, period_kind varchar, period_label varchar, period_start date, period_end date)"
    )
    connection.executemany(
        "insert into raw.measurement_periods values (?, ?, ?, ?, ?)",
        [[getattr(period, name) for name in _PERIOD_COLUMNS] for period in periods],
    )


def _create_quantiles(connection: duckdb.DuckDBPyConnection) -> None:
    """Quantiles of the normal distribution for the levels of ``analysis_rules.csv``: SQL has no inverse of it."""
    normal = statistics.NormalDist()
    levels = {row["rule_id"]: float(row["rule_value"]) for row in definitions("analysis_rules")}
    connection.execute(
        "create or replace table raw.interval_quantiles ("
        "rule_id varchar, confidence_level double, normal_quantile double)"
    )
    connection.executemany(
        "insert into raw.interval_quantiles values (?, ?, ?)",
        [[name, level, normal.inv_cdf((1 + level) / 2)] for name, level in levels.items() if name == _CONFIDENCE_RULE],
    )


def _create_touched(
    connection: duckdb.DuckDBPyConnection, parts: dict[str, list[Path]], known: set[str], settings: Settings
) -> None:
    """People in the parts of loads that the build they are added to does not know; parts are named by their load."""
    fresh = {
        stream: _read([part for part in found if part.name.split(".")[0] not in known])
        for stream, found in parts.items()
        if any(part.name.split(".")[0] not in known for part in found)
    }
    selects = ["select 'unlinked' as person_token"]
    owner = "select referrals.person_token from {read} as given inner join raw.referrals as referrals "
    owner += "on given.referral_id = referrals.referral_id where given.person_token is null"
    for stream, columns in ingestion.raw_streams().items():
        if stream not in fresh:
            continue
        for column in ("person_token", "linked_person_token"):
            if column in columns:
                selects.append(f"select {column} from {fresh[stream]}")
        if stream != "referrals" and {"person_token", "referral_id"} <= columns.keys():
            selects.append(owner.format(read=fresh[stream]))
    if known:  # who had a record before does not matter where nobody's rows stand yet
        selects += _owners_of_deleted(connection, parts, fresh)
        selects += _owners_of_forms(fresh)
    union = " union all ".join(selects)
    connection.execute(
        "create or replace table raw.touched_people as "
        f"select distinct person_token from ({union}) as people where person_token is not null"
    )


def _read(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(warehouse.quote_literal(str(part)) for part in files)}])"


def _owners_of_deleted(
    connection: duckdb.DuckDBPyConnection, parts: dict[str, list[Path]], fresh: dict[str, str]
) -> list[str]:
    """A deletion names a record and no person: whoever stated the record is touched by it."""
    if _DELETIONS not in fresh:
        return []
    kinds = connection.execute(f"select distinct record_kind from {fresh[_DELETIONS]}").fetchall()
    return [
        f"select person_token from {_read(parts[stream])} where {kind}_id in "
        f"(select record_id from {fresh[_DELETIONS]} where record_kind = '{kind}')"
        for stream, columns in ingestion.raw_streams().items()
        for (kind,) in sorted(kinds)
        if parts.get(stream) and "person_token" in columns and f"{kind}_id" in columns
    ]


def _owners_of_forms(fresh: dict[str, str]) -> list[str]:
    """Whoever any statement of a form names, in either stream, where a delivery states it anew or deletes it.

    A form may name nobody and be somebody's by its referral. Those that name nobody are written anew each time, and so
    are the people whom another statement of them names.
    """
    ids = [f"select response_id from {fresh[stream]}" for stream in _FORM_STREAMS if stream in fresh]
    if _DELETIONS in fresh:
        ids.append(f"select record_id from {fresh[_DELETIONS]} where record_kind = 'response'")
    ids += [f"select response_id from raw.{stream} where person_token is null" for stream in _FORM_STREAMS]
    return [
        "select coalesce(given.person_token, referrals.person_token) as person_token "
        f"from raw.{stream} as given left join raw.referrals as referrals "
        "on case when given.person_token is null then given.referral_id end = referrals.referral_id "
        f"where given.response_id in ({' union all '.join(ids)})"
        for stream in _FORM_STREAMS
    ]


def _as_of_date(connection: duckdb.DuckDBPyConnection, settings: Settings, loads: Sequence[dict[str, Any]]) -> dt.date:
    """The last day the data speak for. Where dates are no calendar dates it is the last day of their own axis."""
    if dates_are_calendar(settings):
        return settings.as_of_date or _newest_day(connection, loads)
    newest = [
        connection.execute(f"select max({column}) from raw.{stream}").fetchone() for stream, column in _SERVICE_DATES
    ]
    found = [row[0] for row in newest if row and row[0] is not None]
    return max(found) if found else dt.date.today()


def _newest_day(connection: duckdb.DuckDBPyConnection, loads: Sequence[dict[str, Any]]) -> dt.date:
    """The newest delivery's period end; where none states one, the newest day of the data up to the last load."""
    stated = [dt.date.fromisoformat(entry["period_end"]) for entry in loads if entry.get("period_end")]
    if stated:
        return max(stated)
    loaded = max(dt.datetime.fromisoformat(entry["loaded_at"]) for entry in loads).date()
    days = [
        connection.execute(f"select max({column}) from raw.{stream} where {column} <= ?", [loaded]).fetchone()
        for stream, column in _SERVICE_DATES
    ]
    found = [row[0] for row in days if row and row[0] is not None]
    return max(found) if found else loaded


def _parse_period(text: str) -> Period:
    first, separator, last = text.partition("/")
    try:
        start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    except ValueError:
        separator = ""
    if not separator or end < start:
        raise UsageError(
            "a measurement period is START/END with ISO dates, START first",
            remedy="for example --measurement-period 2026-01-01/2026-12-31",
        )
    return Period(f"custom_{start}_{end}", "custom", f"{start} to {end}", start, end)


def _stored_periods(settings: Settings) -> list[Period]:
    path = settings.paths.periods
    if not path.exists():
        return []
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [
        Period(
            row["period_id"],
            row["period_kind"],
            row["period_label"],
            dt.date.fromisoformat(row["period_start"]),
            dt.date.fromisoformat(row["period_end"]),
        )
        for row in rows
    ]


def _store_periods(settings: Settings, periods: Sequence[Period]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_PERIOD_COLUMNS)
    writer.writerows([getattr(period, name) for name in _PERIOD_COLUMNS] for period in periods)
    ingestion.write_sealed(settings, settings.paths.periods, text.getvalue().encode(), event="periods")


def _periods(
    connection: duckdb.DuckDBPyConnection, settings: Settings, as_of_date: dt.date, added: Sequence[Period]
) -> list[Period]:
    """All days, financial years and quarters from the first referral to ``as_of_date``, calendar years, and users' own.

    Calendar years begin with the first contact or score, since a record of care without referrals has years too.
    """
    stored = {period.period_id: period for period in (*_stored_periods(settings), *added)}
    if added:
        _store_periods(settings, list(stored.values()))
    row = connection.execute(
        "select min(referral_received_date) from raw.referrals where referral_received_date <= ?", [as_of_date]
    ).fetchone()
    first = row[0] if row and row[0] is not None else as_of_date
    is_calendar = dates_are_calendar(settings)
    label = f"{first} to {as_of_date}" if is_calendar else "all days (the dates are no calendar dates)"
    periods = [Period("all", "all", label, first, as_of_date)]
    if settings.deidentification is Deidentification.SAFE_HARBOR:  # days from an index know no years
        return [*periods, *sorted(stored.values(), key=lambda period: period.period_id)]
    year = first.year if first.month >= _FINANCIAL_YEAR_START_MONTH else first.year - 1
    while (start := dt.date(year, _FINANCIAL_YEAR_START_MONTH, 1)) <= as_of_date:
        end = dt.date(year + 1, _FINANCIAL_YEAR_START_MONTH, 1) - dt.timedelta(days=1)
        label = f"{year}-{(year + 1) % 100:02d}" + (" (part)" if start < first or end > as_of_date else "")
        periods.append(Period(f"fy_{year}", "financial_year", label, start, min(end, as_of_date)))
        year += 1
    quarter = dt.date(first.year, 3 * ((first.month - 1) // 3) + 1, 1)
    while quarter <= as_of_date:
        following = dt.date(quarter.year + quarter.month // 10, (quarter.month + 2) % 12 + 1, 1)
        number = (quarter.month - 1) // 3 + 1
        last = following - dt.timedelta(days=1)
        label = f"{quarter.year} Q{number}" + (" (part)" if quarter < first or last > as_of_date else "")
        periods.append(Period(f"q_{quarter.year}_{number}", "quarter", label, quarter, min(last, as_of_date)))
        quarter = following
    earliest = min([first, *_first_days(connection, as_of_date)])
    for calendar_year in range(earliest.year, as_of_date.year + 1):
        start, end = dt.date(calendar_year, 1, 1), dt.date(calendar_year, 12, 31)
        label = f"{calendar_year}" + (" (part)" if start < earliest or end > as_of_date else "")
        periods.append(Period(f"cy_{calendar_year}", "calendar_year", label, start, min(end, as_of_date)))
    return [*periods, *sorted(stored.values(), key=lambda period: period.period_id)]


def _first_days(connection: duckdb.DuckDBPyConnection, as_of_date: dt.date) -> list[dt.date]:
    rows = [
        connection.execute(f"select min({column}) from raw.{stream} where {column} <= ?", [as_of_date]).fetchone()
        for stream, column in _OBSERVED_DATES
    ]
    return [row[0] for row in rows if row and row[0] is not None]


def _build_id(rules: dict[str, Any], loads: Sequence[dict[str, Any]], erasures: int) -> str:
    body = json.dumps([rules, sorted(entry["load_id"] for entry in loads), erasures], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _mart_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows of each mart that is a table, and of the members, a view of many rows that their results have counted."""
    rows = {}
    for table in sorted({*content.tables(connection), _MEMBERS}):
        counting = (
            "select coalesce(sum(initial_population_count), 0) from marts.measure_results"
            if table == _MEMBERS
            else f"select count(*) from marts.{warehouse.quote_identifier(table)}"
        )
        row = connection.execute(counting).fetchone()
        rows[table] = int(row[0]) if row else 0
    return rows
