"""The mapping language: what a source.yml can say, what it is told when it is wrong, and that no row is lost."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import ingestion
from caseness.errors import UsageError
from caseness.settings import IdentifierPolicy
from ingestion.sources.mapping_language import parse_mapping
from tests.fixtures.mapped import home_with, read_file, write_xlsx

Spec = dict[str, Any]


def spec_of(*streams: Spec, **file: Any) -> Spec:
    kind = {"pattern": r"^f\.csv$", "form": "csv", **file, "streams": list(streams)}
    return {"source": "mine", "version": 1, "description": "Drawn for a test.", "files": [kind]}


def people(**columns: Any) -> Spec:
    return {"stream": "people", "columns": {"person_code": "id", **columns}}


def answers(**columns: Any) -> Spec:
    return {
        "stream": "questionnaire_answers",
        "columns": {
            "response_code": {"from": ["id", "day"], "join": "|"},
            "person_code": "id",
            "instrument_code": {"value": "PHQ-9"},
            "item_number": {"value": 1},
            "answer_state": {"from": "a", "states": {"refused": ["-77"]}},
            "answer_value": {"from": "a", "missing": ["-77"]},
            "answered_at": {"from": "day", "time": "12:00"},
            "response_status": {"value": "completed"},
            **columns,
        },
    }


def read(tmp_path: Path, spec: Spec, text: str, name: str = "f.csv", **settings: Any) -> Any:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_file(path, home_with(tmp_path, spec, **settings))


# --- column expressions -------------------------------------------------------------------------------------------


def test_codes_with_and_without_otherwise(tmp_path: Path) -> None:
    spec = spec_of(
        people(
            sex={"from": "s", "codes": {"M": "male", 2: "female"}},
            rurality={"from": "r", "codes": {"U": "urban"}, "otherwise": None},
        )
    )
    found = read(tmp_path, spec, "id,s,r\na,M,U\nb,2,x\nc,X,U\nd,,\n")
    assert found.of("people", "sex", "rurality") == [("male", "urban"), ("female", None), (None, None)]
    assert found.quarantined == [(3, "sex", "unknown_code")]


def test_a_list_of_codes_is_shared_and_a_constant_stands_alone(tmp_path: Path) -> None:
    spec = spec_of(people(sex={"from": "s", "code_list": "sexes"}, time_zone={"value": "Europe/London"}))
    spec["code_lists"] = {"sexes": {"source": "the clinic's manual", "codes": {"M": "male"}}}
    assert read(tmp_path, spec, "id,s\na,M\n").of("people", "sex", "time_zone") == [("male", "Europe/London")]


def test_missing_markers_of_the_file_and_of_a_column(tmp_path: Path) -> None:
    spec = spec_of(people(imd_decile="d", rurality={"from": "r", "missing": ["?"]}), missing=["NA", "-99"])
    found = read(tmp_path, spec, "id,d,r\na,NA,?\nb,-99,rural\nc,3,NA\n")
    assert found.of("people", "imd_decile", "rurality") == [(None, None), (None, "rural"), (3, None)]
    assert found.quarantined == [(3, "rurality", "unknown_code")]  # a person keeps the row without the value


def test_states_say_why_there_is_no_answer(tmp_path: Path) -> None:
    found = read(tmp_path, spec_of(answers()), "id,day,a\np,2024-01-01,2\nq,2024-01-01,-77\nr,2024-01-01,\n")
    assert found.of("questionnaire_answers", "answer_state", "answer_value") == [
        ("answered", 2),
        ("refused", None),
        ("missing", None),
    ]


def test_days_and_times_in_a_declared_format(tmp_path: Path) -> None:
    spec = spec_of(
        answers(answered_at={"from": "day", "date_format": "%d/%m/%Y", "time": "12:00"}),
        people(birth_date={"from": "born", "date_format": "%d.%m.%Y"}),
    )
    found = read(tmp_path, spec, "id,day,a,born\np,02/03/2024,2,31.12.1980\nq,2024-03-02,2,31.12.1980\n")
    assert found.of("questionnaire_answers", "answered_at") == [(dt.datetime(2024, 3, 2, 12),)]
    assert found.of("people", "birth_date") == [(dt.date(1980, 12, 31),)]
    assert found.quarantined == [(2, "answered_at", "date")]


def test_a_partial_day_is_never_completed(tmp_path: Path) -> None:
    found = read(tmp_path, spec_of(answers()), "id,day,a\np,2024-03,2\nq,2024-03-02T09:30,2\n")
    assert found.of("questionnaire_answers", "answered_at") == [(dt.datetime(2024, 3, 2, 9, 30),)]
    assert found.quarantined == [(1, "answered_at", "partial_date")]


@pytest.mark.parametrize(
    ("factor", "places", "sent", "landed"),
    [
        (60, 0, "0.1", 60 * 1 // 10),
        (60, 0, "1.05", 63),
        (1, 0, "2.5", 3),  # half up, where floats and bankers would say 2
        (1, 0, "0.49999999999999999", 0),
        (None, 0, "7893.0", 7893),
        ("0.001", 0, "1500", 2),
        (1, None, "7.10", None),  # 7.1 is no whole number; nothing is rounded that was not asked for
    ],
)
def test_arithmetic_is_exact(tmp_path: Path, factor: Any, places: int | None, sent: str, landed: int | None) -> None:
    steps: Spec = {"from": "n"}
    steps |= {} if factor is None else {"multiply": factor}
    steps |= {} if places is None else {"round": places}
    spec = spec_of({"stream": "wearable_daily", "columns": _WEARABLE | {"steps": steps}})
    found = read(tmp_path, spec, f"id,day,n\np,2024-03-01,{sent}\n")
    assert found.of("wearable_daily", "steps") == ([] if landed is None else [(landed,)])


_WEARABLE = {"person_code": "id", "local_date": "day", "device_kind": {"value": "watch"}}


def test_what_is_no_number_is_quarantined_and_zero_decimals_may_be_dropped(tmp_path: Path) -> None:
    columns = _WEARABLE | {
        "steps": {"from": "n", "multiply": 2},
        "sleep_minutes": {"from": "m", "drop_zero_decimals": True},
    }
    text = "id,day,n,m\np,2024-03-01,x,1\nq,2024-03-01,2,30.0\nr,2024-03-01,,30.5\ns,2024-03-01,1e3,\n"
    found = read(tmp_path, spec_of({"stream": "wearable_daily", "columns": columns}), text)
    assert found.of("wearable_daily", "steps", "sleep_minutes") == [(4, 30)]
    assert found.quarantined == [(1, "steps", "decimal"), (3, "sleep_minutes", "integer"), (4, "steps", "decimal")]


def test_joined_parts_are_all_there_unless_they_may_lack(tmp_path: Path) -> None:
    code = {"from": ["id", "visit"], "join": "|"}
    text = "id,day,a,visit\np,2024-03-01,2,\nq,2024-03-01,2,1\n,2024-03-01,2,\n"
    strict = read(tmp_path, spec_of(answers(response_code=code)), text)
    assert strict.quarantined == [(1, "response_code", "required"), (3, "response_code", "required")]
    lenient = read(tmp_path, spec_of(answers(response_code={**code, "may_lack_parts": True})), text)
    assert lenient.quarantined == [(3, "response_code", "required")]


# --- rows -----------------------------------------------------------------------------------------------------------


def test_many_columns_become_many_rows_of_one_source_row(tmp_path: Path) -> None:
    stream = answers(
        item_number="item",
        answer_state={"from": "answer", "states": {"refused": [7]}},
        answer_value={"from": "answer", "missing": [7]},
    )
    stream["unpivot"] = {"pattern": r"phq(\d)", "name": "item", "value": "answer"}
    found = read(tmp_path, spec_of(stream), "id,day,phq1,phq2,phq3\np,2024-03-01,0,7,\nq,2024-03-01,1,x,2\n")
    assert sorted(found.of("questionnaire_answers", "item_number", "answer_state", "answer_value")) == [
        (1, "answered", 0),
        (2, "refused", None),
        (3, "missing", None),
    ]
    assert found.quarantined == [(2, "answer_value", "integer")]
    assert (found.report.rows_in, found.report.rows_admitted, found.report.rows_quarantined) == (2, 1, 1)


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
def test_a_file_in_slices_is_the_same_file(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = {"stream": "wearable_daily", "columns": _WEARABLE | {"steps": "n"}}
    spec = spec_of(stream, pattern=rf"^f\.{form}$", form=form)
    rows = [[f"p{number}", "2024-03-01", str(number) if number % 3 else "x"] for number in range(10)]
    path = tmp_path / f"f.{form}"
    if form == "csv":
        path.write_text("\n".join(["id,day,n", *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    elif form == "ndjson":
        lines = [json.dumps(dict(zip(("id", "day", "n"), row, strict=True))) for row in rows]
        path.write_text("\n".join([*lines, "[]"]) + "\n", encoding="utf-8")
    else:
        error = '<c r="C8" t="e"><v>#N/A</v></c>'
        write_xlsx(path, {"Data": [["id", "day", "n"], *rows[:6], ["p6", "2024-03-01", error], *rows[7:]]})
    whole = read_file(path, home_with(tmp_path, spec))
    monkeypatch.setattr("ingestion.sources.columns._LANDED_ROWS_AT_ONCE", 3)
    sliced = read_file(path, home_with(tmp_path, spec))
    assert whole.report is not None and sliced.report is not None
    assert (sliced.report.rows_in, sliced.quarantined) == (whole.report.rows_in, whole.quarantined)
    assert sliced.of("wearable_daily", "source_row_number", "steps") == whole.of(
        "wearable_daily", "source_row_number", "steps"
    )
    assert whole.report.rows_in == 10 + (form == "ndjson")


@pytest.mark.parametrize(
    ("condition", "landed"),
    [
        ({"column": "kind", "equals": "p"}, ["a"]),
        ({"column": "kind", "in": ["p", "q"]}, ["a", "b"]),
        ({"column": "kind", "not_in": ["p"]}, ["b", "c"]),
        ({"column": "kind", "present": True}, ["a", "b"]),
        ({"column": "kind", "present": False}, ["c"]),
    ],
)
def test_conditions_choose_rows_and_the_others_are_counted(tmp_path: Path, condition: Spec, landed: list[str]) -> None:
    spec = spec_of(people(rurality="r") | {"when": [condition]})
    found = read(tmp_path, spec, "id,kind,r\na,p,urban\nb,q,urban\nc,,urban\n")
    numbers = ["abc".index(name) + 1 for name in landed]
    assert [row for (row,) in found.of("people", "source_row_number")] == numbers
    assert found.quarantined == [(row, "", "not_contracted") for row in (1, 2, 3) if row not in numbers]


def test_one_row_in_two_streams_is_held_back_in_both(tmp_path: Path) -> None:
    spec = spec_of(people(sex="s"), answers())
    found = read(tmp_path, spec, "id,s,day,a\np,male,2024-03-01,2\nq,female,2024-03-01,x\n")
    assert len(found.of("people", "sex")) == len(found.of("questionnaire_answers", "answer_value")) == 1


def test_a_column_is_known_or_the_file_is_refused(tmp_path: Path) -> None:
    spec = spec_of(people(), never_read=["full_name"], never_read_matching="^note_")
    text = "id,full_name,note_1\na,Ann Other,hello\n"
    assert read(tmp_path, spec, text).report.rows_admitted == 1
    worse = text.replace("note_1", "email")
    refused = read(tmp_path, spec, worse)
    assert refused.refused == ("unknown_column", "column 'email' looks like an identifier (email)")
    dropped = read(tmp_path, spec, worse, identifiers=IdentifierPolicy.DROP)
    assert dropped.report.rows_admitted == 1
    assert dropped.report.fields_never_read == {"column 'email' looks like an identifier (email)": 1}


def test_a_column_is_there_unless_it_is_optional(tmp_path: Path) -> None:
    assert read(tmp_path, spec_of(people(sex="s")), "id\na\n").refused[0] == "missing_column"
    assert read(tmp_path, spec_of(people(sex="s"), optional=["s"]), "id\na\n").of("people", "sex") == [(None,)]
    assert read(tmp_path, spec_of(people(sex="s")), "x;y\na;b\n").refused[0] == "header"


# --- forms ----------------------------------------------------------------------------------------------------------


def test_delimiter_encoding_and_line_breaks_are_declared(tmp_path: Path) -> None:
    spec = spec_of(people(sex="s"), delimiter=";", encoding="cp1252", line_breaks_in_fields=True, never_read=["n"])
    path = tmp_path / "f.csv"
    path.write_bytes('id;n;s\nä;"two\nlines";male\nb;x;female\n'.encode("cp1252"))
    found = read_file(path, home_with(tmp_path, spec))
    assert found.of("people", "source_row_number", "sex") == [(1, "male"), (2, "female")]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize(
    ("trailer", "refused"),
    [
        ("TRAILER|2\n", None),
        ("TRAILER|3\n", "row_count"),
        ("TRAILER|1\n", "row_count"),
        ("", "trailer"),
        ("TRAILER|\n", "trailer"),
        ("TRAILER|2", "trailer"),
        ("TRAILER|2\nx", "trailer"),
    ],
)
def test_a_trailer_counts_the_rows(tmp_path: Path, form: str, trailer: str, refused: str | None) -> None:
    spec = spec_of(people(), pattern=rf"^f\.{form}$", form=form, trailer=r"^TRAILER\|(\d*)$")
    body = "id\na\nb\n" if form == "csv" else '{"id":"a"}\n{"id":"b"}\n'
    found = read(tmp_path, spec, body + trailer, name=f"f.{form}")
    assert (found.refused[0] if found.refused else None) == refused
    if refused != "trailer":  # a file without its trailer is counted by its lines
        assert found.report.rows_in == 2


def test_ndjson_and_parquet_and_gzip_map_alike(tmp_path: Path) -> None:
    kinds = []
    for form in ("csv", "ndjson", "parquet"):
        kinds.append({"pattern": rf"f\.{form}(\.gz)?$", "form": form, "streams": [people(sex="s")]})
    spec = spec_of() | {"files": kinds}
    settings = home_with(tmp_path, spec)
    frame = pl.DataFrame({"id": ["a", "b"], "s": ["male", "X"]})
    frame.write_parquet(tmp_path / "f.parquet")
    (tmp_path / "f.csv.gz").write_bytes(gzip.compress(b"id,s\na,male\nb,X\n"))
    lines = [json.dumps(row) for row in frame.to_dicts()] + ["[1]"]
    (tmp_path / "f.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("f.csv.gz", "f.parquet", "f.ndjson"):
        found = read_file(tmp_path / name, settings)
        assert found.of("people", "sex") == [("male",), (None,)], name
        broken = [(3, "", "invalid_record")] if "ndjson" in name else []
        assert found.quarantined == [(2, "sex", "unknown_code"), *broken], name


def test_a_header_tells_whose_file_it_is(tmp_path: Path) -> None:
    spec = spec_of(people(), header_has=["id", "clinic"], never_read=["clinic"])
    assert read(tmp_path, spec, "id,clinic\na,b\n").report is not None
    assert read(tmp_path, spec, "id,other\na,b\n").report is None


# --- spreadsheets ---------------------------------------------------------------------------------------------------

_XLSX = {"pattern": r"^f\.xls[xm]$", "form": "xlsx"}


def _sheet_spec(**file: Any) -> Spec:
    stream = {
        "stream": "wearable_daily",
        "columns": _WEARABLE | {"steps": "n", "recorded_at": "at"},
    }
    return spec_of(stream, **_XLSX, optional=["n", "at"], **file)


def test_a_sheet_is_read_as_it_is_stored(tmp_path: Path) -> None:
    rows = [
        ["id", "day", "n", "at"],
        ["p", (45352, 1), 5000, (45352.75, 2)],
        [],
        [7, (45353, 1), '<c r="C4"><f>1+1</f><v>2</v></c>', "2024-03-02T09:00:00Z"],
        ["r", (45353, 1), '<c r="C5" t="e"><v>#DIV/0!</v></c>'],
        ["s", (45353, 1), (0.25, 3)],
        ["t", (45353, 1), 2.5],
    ]
    path = write_xlsx(tmp_path / "f.xlsx", {"Data": rows})
    found = read_file(path, home_with(tmp_path, _sheet_spec()))
    assert found.of("wearable_daily", "source_row_number", "local_date", "steps", "recorded_at") == [
        (1, dt.date(2024, 3, 1), 5000, dt.datetime(2024, 3, 1, 18)),
        (3, dt.date(2024, 3, 2), 2, dt.datetime(2024, 3, 2, 9)),
    ]
    assert found.quarantined == [(4, "n", "error_cell"), (5, "n", "error_cell"), (6, "steps", "integer")]
    assert found.report is not None and found.report.rows_in == 5


def test_a_truth_value_of_a_sheet(tmp_path: Path) -> None:
    stream = {
        "stream": "care_contacts",
        "columns": {"contact_code": "id", "contact_at": {"value": "2024-03-01T09:00:00Z"}, "is_planned": "planned"},
    }
    stream["columns"]["person_code"] = "id"  # type: ignore[index]
    rows = [["id", "planned"], ["p", '<c r="B2" t="b"><v>1</v></c>'], ["q", '<c r="B3" t="b"><v>0</v></c>']]
    path = write_xlsx(tmp_path / "f.xlsx", {"Data": rows})
    assert read_file(path, home_with(tmp_path, spec_of(stream, **_XLSX))).of("care_contacts", "is_planned") == [
        (True,),
        (False,),
    ]


@pytest.mark.parametrize(
    ("drawn", "spec", "refused"),
    [
        ({"after": '<mergeCells count="1"><mergeCell ref="A1:B1"/></mergeCells>'}, {}, "merged_cells"),
        ({"hidden": ["Data"]}, {}, "hidden_sheet"),
        ({"macros": True}, {}, "macros"),
        ({}, {"sheet": "Other"}, "sheet"),
        ({"before": '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'}, {}, "xlsx"),
        ({"before": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'}, {}, "xlsx"),
    ],
    ids=["merged", "hidden", "macros", "no-sheet", "entities", "external-entity"],
)
def test_what_is_no_plain_sheet_is_refused(tmp_path: Path, drawn: Spec, spec: Spec, refused: str) -> None:
    path = write_xlsx(tmp_path / "f.xlsx", {"Data": [["id", "day"], ["p", "2024-03-01"]]}, **drawn)
    found = read_file(path, home_with(tmp_path, _sheet_spec(**spec)))
    assert found.refused is not None and found.refused[0] == refused


def test_the_sheet_is_named_where_there_are_several(tmp_path: Path) -> None:
    sheets = {"Read me": [["x"]], "Data": [["id", "day"], ["p", "2024-03-01"]]}
    path = write_xlsx(tmp_path / "f.xlsx", sheets)
    assert read_file(path, home_with(tmp_path, _sheet_spec(sheet="Data"))).report.rows_admitted == 1  # type: ignore[union-attr]
    assert read_file(path, home_with(tmp_path, _sheet_spec())).refused == ("sheet", "the workbook has several sheets")


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ([], "empty"),
        ([[], ["id", "day"]], "header"),
        ([["id", "id"]], "duplicate_header"),
        ([["id", "day"], ["p", "2024-03-01", 5]], "ragged_row"),
    ],
)
def test_the_first_row_names_the_columns(tmp_path: Path, rows: list[list[object]], refused: str) -> None:
    path = write_xlsx(tmp_path / "f.xlsx", {"Data": rows})
    found = read_file(path, home_with(tmp_path, _sheet_spec()))
    assert found.refused is not None and found.refused[0] == refused


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\xd0\xcf\x11\xe0" + b"\0" * 600])
def test_what_is_no_workbook_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.xlsx").write_bytes(content)
    found = read_file(tmp_path / "f.xlsx", home_with(tmp_path, _sheet_spec()))
    assert found.refused is not None and found.refused[0] == "xlsx"


def test_a_workbook_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "f.xlsx", {"Data": [["id"]]}, after=" " * (80 << 20))
    found = read_file(path, home_with(tmp_path, _sheet_spec()))
    assert found.refused is not None and found.refused[0] == "archive_size"


# --- a mapping that is wrong ----------------------------------------------------------------------------------------


def _wrong(path: str, value: Any = None, *, drop: bool = False) -> Spec:
    """A right mapping with one thing changed: ``files.0.streams.0.columns.sex`` and so on."""
    spec = spec_of(
        people(sex={"from": "s", "codes": {"M": "male"}}),
        answers() | {"when": [{"column": "a", "present": True}]},
    )
    place: Any = spec
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    if drop:
        del place[last]
    else:
        place[last] = value
    return spec


_SEX = "files.0.streams.0.columns.sex"
WRONG = [
    ("files.0.form", "html", "files[0].form: write one of 'csv', 'ndjson', 'parquet' or 'xlsx'"),
    ("files.0.formm", "csv", "files[0].formm: there is no such key; check its spelling"),
    ("files.0.pattern", "(", "files[0].pattern: this is not a regular expression"),
    ("files.0.pattern", 5, "files[0].pattern: write a regular expression in single quotes"),
    ("files.0.delimiter", '"', "`delimiter:` cannot be a quote or a line end"),
    ("files.0.encoding", "klingon", "`encoding:` is not one that Python knows"),
    ("files.0.sheet", "Data", "`sheet:` goes with `form: xlsx`"),
    ("files.0.trailer", "^END$", "needs one group for the count|with one group for the count"),
    ("files.0.never_read", ["s"], "s: a column is either read or never read"),
    ("files.0.never_read", "s", "files[0].never_read: write a list here"),
    ("files.0.line_breaks_in_fields", "maybe", "files[0].line_breaks_in_fields: write true or false"),
    ("files.0.streams", [], "files[0].streams: this list may not be empty"),
    ("version", "new", "version: write a whole number"),
    ("files.0.streams.0.stream", "persons", "there is no stream 'persons'; streams are"),
    ("files.0.streams.0.columns.age", "s", "people has no column 'age'; it has"),
    (_SEX, {}, "write either `from:`"),
    (_SEX, {"from": "s", "value": "male"}, "write either `from:`"),
    (_SEX, {"value": "male", "missing": ["x"]}, "`value:` is a constant and stands alone"),
    (_SEX, {"from": ["s", "t"]}, "`join:` goes with several columns"),
    (_SEX, {"from": "s", "join": "|"}, "`join:` goes with several columns"),
    (_SEX, {"from": "s", "may_lack_parts": True}, "`may_lack_parts:` goes with `join:`"),
    (_SEX, {"from": "s", "otherwise": "male"}, "`otherwise:` goes with `codes:`"),
    (_SEX, {"from": "s", "codes": {"M": "male"}, "round": 0}, "write only one of codes"),
    (_SEX, {"from": "s", "codes": {True: "male"}}, "put it in quotes: YAML reads yes, no, on, off"),
    (_SEX, {"from": "s", "code_list": "sexes"}, "there is no list 'sexes' in `code_lists:`"),
    (_SEX, {"from": "s", "states": {"gone": ["1"]}}, "sex: `states:` names gone"),
    (_SEX, {"from": "s", "date_format": "%Y"}, "sex is a enumeration; `date_format:` does not make one"),
    (_SEX, {"from": "s", "multiply": 2}, "sex is a enumeration; `multiply:` and `round:` go with numbers"),
    (_SEX, {"from": "s", "multiply": "two"}, "write a decimal number"),
    (_SEX, {"from": "s", "time": "12:00"}, "sex is a enumeration; `time:` goes with times"),
    ("files.0.streams.0.columns.birth_date", {"from": "s", "date_format": "%d/%m/%y"}, "write %Y, because two digits"),
    ("files.0.streams.0.columns.birth_date", {"from": "s", "date_format": "%Y %H"}, "birth_date is a date"),
    ("files.0.streams.1.columns.answered_at", {"from": "day", "date_format": "%Y%m%d"}, "add `time:`, such as '12:00'"),
    ("files.0.streams.1.columns.answered_at", {"from": "day", "time": "noon"}, "write a time of day as HH:MM"),
    ("files.0.streams.1.when", [{"column": "a"}], "write exactly one of present, equals, in, not_in, code_list"),
    ("files.0.streams.1.when", [{"column": "a", "equals": "1", "in": ["2"]}], "write exactly one of present"),
    ("files.0.streams.1.unpivot", {"name": "n", "value": "v"}, "write either `columns:` or `pattern:`"),
    ("files.0.streams.1.unpivot", {"pattern": "a", "name": "n", "value": "v"}, "`pattern:` needs one group"),
    ("files.0.streams.1.unpivot", {"columns": ["a"], "name": "n", "value": "n"}, "two different columns"),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[words[:40] for _, _, words in WRONG])
def test_a_wrong_mapping_is_told_what_and_how(path: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_mapping(_wrong(path, value))
    assert any(part in str(raised.value) for part in words.split("|")), str(raised.value)
    assert str(raised.value).startswith("mine/source.yml: ")
    assert "docs/sources.md" in str(raised.value.remedy)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("version", "version: this key is needed and not there"),
        ("files.0.pattern", "files[0].pattern: this key is needed and not there"),
        ("files.0.streams.1.columns.item_number", "questionnaire_answers requires the column 'item_number'"),
    ],
)
def test_a_mapping_that_lacks_something_is_told(path: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_mapping(_wrong(path, drop=True))
    assert words in str(raised.value)


def test_a_wrong_mapping_stops_before_any_file_is_read(tmp_path: Path) -> None:
    settings = home_with(tmp_path, _wrong("files.0.form", "html"))
    (tmp_path / "f.csv").write_text("id\na\n", encoding="utf-8")
    with pytest.raises(UsageError, match="form"):
        ingestion.ingest([tmp_path / "f.csv"], settings=settings)


def test_a_mapping_in_the_home_reads_through_the_door(tmp_path: Path) -> None:
    settings = home_with(tmp_path, spec_of(people(sex="s")))
    (tmp_path / "f.csv").write_text("id,s\na,male\nb,female\n", encoding="utf-8")
    report = ingestion.ingest([tmp_path / "f.csv"], settings=settings).as_dict()
    assert (report["rows_in"], report["rows_admitted"]) == (2, 2)
    assert ingestion.ingest([tmp_path / "f.csv"], settings=settings).as_dict()["files_already_loaded"] == 1
    changed = spec_of(people(sex="s")) | {"version": 2}
    home_with(tmp_path, changed)
    assert ingestion.ingest([tmp_path / "f.csv"], settings=settings).as_dict()["files_loaded"] == 1


def test_the_example_of_the_manual_is_a_mapping(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in manual.split("```yaml\n")[1:]]
    specs = [block for block in blocks if block.startswith("source:")]
    assert specs
    sample = [block.split("```")[0] for block in manual.split("```csv\n")[1:]]
    path = tmp_path / "assessments_2024.csv"
    path.write_text(sample[0], encoding="utf-8")
    found = read_file(path, home_with(tmp_path, specs[0]))
    assert found.refused is None
    assert Counter(rule for _, _, rule in found.quarantined) == {"unknown_code": 1, "not_contracted": 1}
    assert {stream: len(rows) for stream, rows in found.landed.items()} == {
        "people": 2,
        "questionnaire_answers": 2 * 9,
        "questionnaire_totals": 1,
    }


# --- no row is lost -------------------------------------------------------------------------------------------------

_CELLS = st.sampled_from(["", "0", "3", "x", "-77", "NA", "2024-03-01", "2024-13-45", "male", "M", "p1", "p2", "9.50"])
_HOME = spec_of(
    people(
        sex={"from": "s", "codes": {"M": "male"}},
        birth_date={"from": "day", "date_format": "%Y-%m-%d"},
    )
    | {"when": [{"column": "s", "present": True}]},
    answers(item_number="item", answer_state={"from": "v", "states": {"refused": ["-77"]}}, answer_value={"from": "v"})
    | {
        "unpivot": {"columns": {"a": 1, "b": 2}, "name": "item", "value": "v"},
        "when": [{"column": "v", "not_in": ["x"]}],
    },
    missing=["NA"],
)


@hypothesis_settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(_CELLS, min_size=5, max_size=5), max_size=12))
def test_every_row_is_admitted_or_quarantined(tmp_path: Path, rows: list[list[str]]) -> None:
    lines = ["id,s,day,a,b", *(",".join(row) for row in rows)]
    found = read(tmp_path, _HOME, "\n".join(lines) + "\n")
    assert found.refused is None
    assert found.report.rows_in == len(rows)
    landed = {row["source_row_number"] for stream in found.landed.values() for row in stream}
    faulty = {number for number, _, _ in found.quarantined}
    assert landed | faulty == set(range(1, len(rows) + 1))
    assert len(landed) == found.report.rows_admitted


# --- samples of others ----------------------------------------------------------------------------------------------


def test_nhanes_by_a_mapping_alone(shared_data: Path, tmp_path: Path) -> None:
    refused, unknown = ["7", "7.0"], ["9", "9.0"]
    stream = {
        "stream": "questionnaire_answers",
        "unpivot": {"pattern": r"DPQ0([1-9])0", "name": "item", "value": "answer"},
        "columns": {
            "response_code": {"from": ["cycle", "SEQN"], "join": "|"},
            "person_code": "SEQN",
            "instrument_code": {"value": "PHQ-9"},
            "item_number": "item",
            "answer_state": {"from": "answer", "states": {"refused": refused, "missing": unknown}},
            "answer_value": {"from": "answer", "missing": [*refused, *unknown], "drop_zero_decimals": True},
            "answer_value_kind": {"value": "scored_value"},
            "answered_at": {"value": "2016-01-01T12:00:00Z"},
            "response_status": {"value": "completed"},
        },
    }
    rest = "^(DPQ100|RI[A-Z0-9]+|IND[A-Z0-9]+|WT[A-Z0-9]+|SDMV[A-Z]+)$"
    spec = spec_of(stream, pattern=r"nhanes.*\.csv\.gz$", never_read_matching=rest)
    path = shared_data / "nhanes_phq9" / "nhanes_dpq_2007_2013_2015.csv.gz"
    found = read_file(path, home_with(tmp_path, spec))
    raw = pl.read_csv(path).select(f"DPQ0{number}0" for number in range(1, 10)).unpivot()["value"]
    assert found.refused is None and found.quarantined == []
    assert found.report is not None and found.report.rows_admitted == 17_654
    states = Counter(state for (state,) in found.of("questionnaire_answers", "answer_state"))
    assert states == {
        "answered": int((raw <= 3).sum()),
        "refused": int((raw == 7).sum()),
        "missing": int((raw == 9).sum() + raw.null_count()),
    }


_SESSIONS = ["s0", *(f"s{number}" for number in range(1, 13)), "fu1", "fu2"]


def test_names_without_a_system_are_listed_one_by_one(shared_data: Path, tmp_path: Path) -> None:
    """The same 43 people with tidy and with untidy column names; BDI waits for a definition, so nothing is admitted."""
    seen = []
    for name in ("sgdata.csv", "sgdata_bad.csv"):
        path = shared_data / "trials" / "suddengains" / name
        header = path.read_text(encoding="utf-8").splitlines()[0].split(",")
        totals = {
            "stream": "questionnaire_totals",
            "unpivot": {"columns": dict(zip(header[1:16], _SESSIONS, strict=True)), "name": "session", "value": "bdi"},
            "when": [{"column": "bdi", "present": True}],
            "columns": {
                "response_code": {"from": ["id", "session"], "join": "|"},
                "person_code": {"from": "id", "drop_zero_decimals": True},
                "instrument_code": {"value": "BDI"},
                "total_value": "bdi",
                "answered_at": {"value": "2000-01-01T12:00:00Z"},
                "response_status": {"value": "completed"},
            },
        }
        spec = spec_of(totals, pattern=rf"^{name}$", never_read=header[16:])
        found = read_file(path, home_with(tmp_path, spec))
        assert found.report is not None
        assert (found.report.rows_in, found.report.rows_admitted) == (43, 0)
        seen.append(Counter(found.quarantined))
    assert seen[0] == seen[1]
    assert {rule for _, _, rule in seen[0]} == {"unknown_code"}
    assert sum(seen[0].values()) == sum(
        value != ""
        for line in (shared_data / "trials" / "suddengains" / "sgdata.csv").read_text(encoding="utf-8").splitlines()[1:]
        for value in line.split(",")[1:16]
    )
