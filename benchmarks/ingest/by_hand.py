"""The alternative: what a careful analyst writes in DuckDB SQL to make the door's checks on one contract file.

The same checks and no others: types in their exact written form, enumerations, bounds, real dates, times with an
offset, required columns, patterns, code lengths, keyed hashes of the code columns (two nested SHA-256), the file's
hash, typed Parquet in zstd, and the list of quarantined rows by position, column and rule. What it leaves out: refusal
of damaged, mixed or ragged files beyond what DuckDB's own reader refuses, limits of memory and time, receipts.

``python -m benchmarks.ingest.by_hand FILE SQL`` runs a script that ``script`` wrote, as a process of its own.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_KEY = ("0123456789abcdef" * 4, "fedcba9876543210" * 4)
_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$"
_INTEGER = r"^-?(0|[1-9]\d{0,8})$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_ITEM_STATES = "'answered','missing','refused','not_applicable','not_asked'"
_STATUSES = "'completed','in_progress','amended','entered_in_error'"
_KINDS = "'mood_check_in','meditation','mindfulness','cbt_exercise','education','app_open','screen_time'"
_INSTRUMENTS = "'PHQ-9','PHQ-2','PHQ-8','PHQ-4','GAD-7','GAD-2','WSAS','CORE-10','WHO-5','PCL-5','AUDIT-C','AUDIT'"

# column: (kind, required, what the kind needs)
_COLUMNS: dict[str, dict[str, tuple[str, bool, str]]] = {
    "questionnaire_answers": {
        "response_code": ("token", True, "response"),
        "person_code": ("token", False, "person"),
        "referral_code": ("token", False, "referral"),
        "contact_code": ("token", False, "contact"),
        "instrument_code": ("enumeration", True, _INSTRUMENTS),
        "item_number": ("integer", True, "between 1 and 60"),
        "answer_state": ("enumeration", True, _ITEM_STATES),
        "answer_value": ("integer", False, "between -99 and 999"),
        "answer_value_kind": ("enumeration", False, "'scored_value','answer_position'"),
        "answered_at": ("timestamp", True, "answered_local_date"),
        "response_status": ("enumeration", True, _STATUSES),
        "recorded_at": ("timestamp", False, ""),
    },
    "wearable_daily": {
        "person_code": ("token", True, "person"),
        "local_date": ("date", True, ""),
        "device_kind": ("enumeration", True, "'watch','ring','band','phone'"),
        "steps": ("integer", False, "between 0 and 100000"),
        "resting_heart_rate_bpm": ("integer", False, "between 25 and 240"),
        "sleep_minutes": ("integer", False, "between 0 and 1440"),
        "wear_minutes": ("integer", False, "between 0 and 1440"),
        "recorded_at": ("timestamp", False, ""),
    },
    "app_events": {
        "event_code": ("token", True, "event"),
        "person_code": ("token", True, "person"),
        "event_type": ("enumeration", True, _KINDS),
        "product_code": ("pattern", True, "[a-z]{2,12}_[0-9]{1,3}"),
        "product_version": ("pattern", False, r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}"),
        "occurred_at": ("timestamp", True, "occurred_local_date"),
        "duration_minutes": ("integer", False, "between 0 and 1440"),
        "mood_score": ("integer", False, "between 0 and 10"),
        "recorded_at": ("timestamp", False, ""),
    },
}


def script(stream: str, file: Path, folder: Path, *, threads: int, is_hashed_by_row: bool) -> str:
    """The SQL for one file; results go to ``folder``. Codes are hashed row by row, or once for each distinct code."""
    columns = _COLUMNS[stream]
    tested, checked, good, joins, hashes, listed = [], [], [], [], [], []
    for name, (kind, is_required, needs) in columns.items():
        is_typed = file.suffix == ".parquet" and kind in ("integer", "date")
        tests, value, test = _bounded(name, kind, needs) if is_typed else _typed(name, kind, needs)
        tested += [name, *tests]
        required = f"when {name} is null then 'required' " if is_required else ""
        checked += [f"{value} as {name}_typed", f"case {required}{test} end as {name}_fault"]
        listed.append(
            f"select rowid + 1 as source_row_number, '{name}' as c, {name}_fault as rule "
            f"from checked where {name}_fault is not null"
        )
        if kind == "token" and is_hashed_by_row:
            good.append(f"{_hashed(f'{name}_typed', needs)} as {name}")
        elif kind == "token":
            hashes.append(
                f"create temp table {name}_tokens as select code, {_hashed('code', needs)} as token "
                f"from (select distinct {name}_typed as code from checked where {name}_typed is not null);"
            )
            joins.append(f"left join {name}_tokens on {name}_tokens.code = {name}_typed")
            good.append(f"{name}_tokens.token as {name}")
        else:
            good.append(f"{name}_typed as {name}")
        if kind == "timestamp" and needs:
            checked.append(f"try_cast({name}[1:10] as date) as {needs}")
            good.append(needs)
    bad = " or ".join(f"{name}_fault is not null" for name in columns)
    if stream == "questionnaire_answers":
        wrong = "(answer_state_typed = 'answered') != (answer_value_typed is not null)"
        bad += f" or {wrong}"
        listed.append(f"select rowid + 1, 'answer_value', 'answer_consistency' from checked where {wrong}")
    return f"""
set threads = {threads};
set TimeZone = 'UTC';
create temp table checked as
  select {", ".join(checked)} from (select {", ".join(tested)} from {_source(columns, file)});
{chr(10).join(hashes)}
copy (
  select checked.rowid + 1 as source_row_number, {", ".join(good)}
  from checked {" ".join(joins)} where not coalesce({bad}, false)
)
  to '{folder}/part.parquet' (format parquet, compression zstd);
copy ({" union all ".join(listed)}) to '{folder}/quarantine.parquet' (format parquet);
"""


def _source(columns: dict[str, tuple[str, bool, str]], file: Path) -> str:
    names = ", ".join(f"'{name}': 'VARCHAR'" for name in columns)
    if file.suffix == ".csv":
        return (
            f"read_csv('{file}', header = true, delim = ',', quote = '\"', escape = '\"', auto_detect = false, "
            f"strict_mode = true, null_padding = false, columns = {{{names}}})"
        )
    if file.suffix == ".ndjson":
        return f"read_json('{file}', format = 'newline_delimited', columns = {{{names}}})"
    return f"read_parquet('{file}')"


def _typed(name: str, kind: str, needs: str) -> tuple[list[str], str, str]:
    """Tests made once for each row, the typed value, and the `when ... then rule` that finds its fault."""
    fits, cast = f"{name}_fits", f"{name}_cast"
    if kind == "integer":
        return (
            [f"regexp_full_match({name}, '{_INTEGER}') as {fits}", f"try_cast({name} as integer) as {cast}"],
            f"case when {fits} then {cast} end",
            f"when not {fits} then 'integer' when not ({cast} {needs}) then 'range'",
        )
    if kind == "date":
        return (
            [f"regexp_full_match({name}, '{_DATE}') as {fits}", f"try_cast({name} as date) as {cast}"],
            f"case when {fits} then {cast} end",
            f"when not {fits} or ({name} is not null and {cast} is null) then 'date' "
            f"when not ({cast} between date '1850-01-01' and date '2099-12-31') then 'range'",
        )
    if kind == "timestamp":
        return (
            [f"regexp_full_match({name}, '{_TIME}') as {fits}", f"try_cast({name} as timestamp) as {cast}"],
            f"case when {fits} then {cast} end",
            f"when not {fits} or ({name} is not null and {cast} is null) then 'timestamp' "
            f"when {cast} >= timestamp '2100-01-01' then 'range'",
        )
    if kind == "enumeration":
        return (
            [f"{name} in ({needs}) as {fits}"],
            f"case when {fits} then {name} end",
            (f"when not {fits} then 'unknown_code'"),
        )
    rule, pattern, more = "pattern", needs, ""
    if kind == "token":
        rule, pattern, more = "code_length", r"[^\x00-\x1f\x7f]{1,128}", f" and trim({name}) != ''"
    tests = [f"regexp_full_match({name}, '{pattern}'){more} as {fits}"]
    return tests, f"case when {fits} then {name} end", f"when not {fits} then '{rule}'"


def _bounded(name: str, kind: str, needs: str) -> tuple[list[str], str, str]:
    """A column that a Parquet file already types: its bounds are all there is to test."""
    bounds = needs if kind == "integer" else "between date '1850-01-01' and date '2099-12-31'"
    return [], name, f"when not ({name} {bounds}) then 'range'"


def _hashed(name: str, kind: str) -> str:
    inner = f"sha256('{_KEY[0]}' || 'project/namespace/{kind}' || chr(31) || trim({name}))"
    return f"'p1_' || sha256('{_KEY[1]}' || {inner})[1:26]"


def main() -> None:
    """Hash the file, run the script."""
    import duckdb  # late, so that writing the script does not need it

    file, sql = Path(sys.argv[1]), Path(sys.argv[2])
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    connection = duckdb.connect()
    connection.execute(sql.read_text(encoding="utf-8"))
    print(digest)


if __name__ == "__main__":
    main()
