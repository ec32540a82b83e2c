"""Forty-nine malformed shapes that readers of the field take silently, and what the door does with each of them.

An expectation is the rule that refuses the file, or the rules that quarantine rows with the numbers of rows admitted
and quarantined. ``read`` means that the shape is sound and every row arrives as it was sent.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingestion
from caseness.settings import Settings
from tests.fixtures.small_service import home_settings

_HEADER = "person_code,local_date,device_kind,steps"
_ROW = "W1,2024-03-01,watch,5000"
_OBJECT = {"person_code": "W1", "local_date": "2024-03-01", "device_kind": "watch", "steps": 5000}


def _csv(*lines: str, header: str = _HEADER, end: str = "\n") -> bytes:
    return (end.join((header, *lines)) + end).encode()


def _lines(*objects: Any) -> bytes:
    return "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in objects).encode()


def _table(**changes: pa.Array) -> bytes:
    columns = {name: pa.array([str(value)] * 2) for name, value in _OBJECT.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({**columns, **changes}), sink)
    return bytes(sink.getvalue())


def _odd(**changes: Any) -> bytes:
    return _lines(_OBJECT, {**_OBJECT, **changes})


# number, what it is, file, bytes, refused by | quarantined {rule: rows}, rows admitted
SHAPES: list[tuple[int, str, str, bytes, str | dict[str, int], int]] = [
    (1, "NUL byte in a field", "csv", _csv("W1,2024-03-01,wa\0tch,1"), "nul_byte", 0),
    (2, "byte order mark", "csv", b"\xef\xbb\xbf" + _csv(_ROW), {}, 1),
    (3, "UTF-16", "csv", _csv(_ROW).decode().encode("utf-16"), "encoding", 0),
    (4, "Latin-1", "csv", _csv("W\xe9,2024-03-01,watch,1").decode().encode("latin-1"), "encoding", 0),
    (5, "ragged rows", "csv", _csv(_ROW, "W1,2024-03-01", _ROW, _ROW + ",7"), "ragged_row", 0),
    (6, "duplicate header", "csv", _csv(_ROW + ",1", header=_HEADER + ",steps"), "duplicate_header", 0),
    (7, "unterminated quote", "csv", _csv(_ROW, 'W1,2024-03-01,"watch,1'), "quoting", 0),
    (8, "empty file", "csv", b"", "empty", 0),
    (9, "header only", "csv", _csv(), {}, 0),
    (10, "field of 3 MB", "csv", _csv("W" * (3 << 20) + ",2024-03-01,watch,1"), "field_too_long", 0),
    (11, "text in a number column at row 60,001", "csv", _csv(*[_ROW] * 60_000, "W1,2024-03-01,watch,many"),
     {"integer": 1}, 60_000),
    (12, "mixed line ends", "csv", _csv(_ROW) + b"W2,2024-03-01,watch,1\r\n", "line_ends", 0),
    (13, "sep= first line", "csv", b"sep=;\n" + _csv(_ROW), "ragged_row", 0),
    (14, "a total as footer", "csv", _csv(_ROW, "Total,,,5000"), {"required": 1}, 1),
    (15, "day-first dates", "csv", _csv("W1,03/04/2024,watch,1", "W1,13/04/2024,watch,1"), {"date": 2}, 0),
    (16, "leading zeros in a number", "csv", _csv("W1,2024-03-01,watch,0012"), {"integer": 1}, 0),
    (17, "last line cut inside a field", "csv", _csv(_ROW) + b"W1,2024-03-01,watch,5", "truncated", 0),
    (18, "the words NULL, NA, nan, None", "csv",
     _csv(*(f"W1,2024-03-01,watch,{w}" for w in ("NULL", "NA", "nan", "None"))),
     {"integer": 4}, 0),
    (19, "lone carriage returns", "csv", _csv(_ROW, _ROW, end="\r"), "truncated", 0),
    (20, "blank line", "csv", _csv(_ROW, "", _ROW), "ragged_row", 0),
    (21, "line break inside quotes", "csv", _csv('W1,2024-03-01,"wa\ntch",1'), "quoting", 0),
    (22, "quote inside an unquoted field", "csv", _csv('W1,2024-03-01,wa"t"ch,1'), "quoting", 0),
    (23, "quoted as RFC 4180 has it", "csv", _csv('"W1","2024-03-01","watch","5000"'), {}, 1),
    (24, "semicolons", "csv", _csv(_ROW.replace(",", ";"), header=_HEADER.replace(",", ";")), "header", 0),
    (25, "tabs", "csv", _csv(_ROW.replace(",", "\t"), header=_HEADER.replace(",", "\t")), "header", 0),
    (26, "no header", "csv", _csv(_ROW, header=_ROW), "header", 0),
    (27, "blanks around column names", "csv", _csv(_ROW, header=_HEADER.replace(",", ", ")), "header", 0),
    (28, "column names in capitals", "csv", _csv(_ROW, header=_HEADER.upper()), "header", 0),
    (29, "a comma as decimal mark", "csv", _csv('W1,2024-03-01,watch,"5,5"'), {"integer": 1}, 0),
    (30, "thousands separated", "csv", _csv('W1,2024-03-01,watch,"5,000"'), {"integer": 1}, 0),
    (31, "a number beyond 2^53", "csv", _csv("W1,2024-03-01,watch,9007199254740993"), {"integer": 1}, 0),
    (32, "exponent", "csv", _csv("W1,2024-03-01,watch,5e3"), {"integer": 1}, 0),
    (33, "full-width digits", "csv", _csv("W1,2024-03-01,watch,５０００"), {"integer": 1}, 0),
    (34, "a date that does not exist", "csv", _csv("W1,2023-02-29,watch,1"), {"date": 1}, 0),
    (35, "year 24", "csv", _csv("W1,0024-03-01,watch,1"), {"range": 1}, 0),
    (36, "year 9999", "csv", _csv("W1,9999-12-31,watch,1"), {"range": 1}, 0),
    (37, "injection in the header", "csv",
     _csv(_ROW + ",1", header=_HEADER + ',"x"" from (select 1) t; drop table v; --"'),
     "unknown_column", 0),
    (38, "formula in a field", "csv", _csv("=cmd|' /C calc'!A0,2024-03-01,=1+1,1"), {"unknown_code": 1}, 0),
    (39, "gzip cut short", "csv.gz", gzip.compress(_csv(*[_ROW] * 500))[:-12], "archive", 0),
    (40, "gzip that is none", "csv.gz", _csv(_ROW), "archive", 0),
    (41, "an array in place of lines", "ndjson", json.dumps([_OBJECT, _OBJECT]).encode() + b"\n",
     {"invalid_record": 1}, 0),
    (42, "a nested value", "ndjson", _odd(steps={"value": 5000}), {"invalid_record": 1}, 1),
    (43, "NaN, which is not JSON", "ndjson", _lines(_OBJECT, json.dumps(_OBJECT).replace("5000", "NaN")),
     "invalid_json", 0),
    (44, "last object cut off", "ndjson", _lines(_OBJECT) + json.dumps(_OBJECT)[:-9].encode(), "truncated", 0),
    (45, "a code as a number beyond 2^64", "ndjson",
     _lines(_OBJECT, json.dumps(_OBJECT).replace('"W1"', "99999999999999999999")),
     {"invalid_record": 1}, 1),
    (47, "parquet without its footer", "parquet", _table()[:-40], "parquet", 0),
    (48, "a nested parquet column", "parquet", _table(steps=pa.array([[1], [2]])), "parquet", 0),
    (46, "a key twice in one object", "ndjson", _lines(_OBJECT, json.dumps(_OBJECT)[:-1] + ', "steps": 1}'),
     {"invalid_record": 1}, 1),
    (49, "a parquet column of bytes", "parquet", _table(steps=pa.array([b"\xff", b"1"])), "parquet", 0),
]  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_settings(tmp_path / "home")


@pytest.mark.parametrize(
    ("ending", "content", "expected", "admitted"),
    [pytest.param(*shape[2:], id=f"{shape[0]}-{shape[1].replace(' ', '-')}") for shape in SHAPES],
)
def test_no_shape_is_taken_silently(
    tmp_path: Path, settings: Settings, ending: str, content: bytes, expected: str | dict[str, int], admitted: int
) -> None:
    path = tmp_path / f"wearable_daily.{ending}"
    path.write_bytes(content)
    report = ingestion.ingest([path], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert report["rows_admitted"] == admitted
    if isinstance(expected, str):
        assert [problem["rule"] for problem in report["problems"]] == [expected]
        assert report["files_refused"] == 1
    else:
        assert report["problems"] == []
        assert {rule: report["quarantined_by_rule"].get(rule, 0) for rule in expected} == expected
        assert report["rows_quarantined"] == max(expected.values(), default=0)
    landed = [pl.read_parquet(part) for part in ingestion.landed_parts(settings)["wearable_daily"]]
    assert sum(len(frame) for frame in landed) == admitted
    for frame in landed:
        assert set(frame["steps"].unique()) == {5000}


def test_none_is_forgotten() -> None:
    assert sorted(shape[0] for shape in SHAPES) == list(range(1, 50))
