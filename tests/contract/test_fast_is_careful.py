"""The fast ways of reading and casting give what the careful ways give, on files that were made to tell them apart."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from caseness.settings import Settings
from ingestion import casting, json_blocks, reading
from ingestion.contracts import Column, Contract, contracts
from ingestion.exact_forms import distinct, has_form
from ingestion.files import SourceFile
from ingestion.problems import RefusedFile
from ingestion.pseudonyms import Pseudonymiser
from ingestion.reading import ROW_NUMBER

MANY = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
_TRICKY = "0123456789-+:.TZ tz,/e_٣５\n\r\té"


def _near(*forms: str) -> st.SearchStrategy[str]:
    """Texts of some forms, whole or with a character changed, put in or taken out."""

    def changed(draw: Any) -> str:
        text = list(draw(st.sampled_from(forms)))
        for _ in range(draw(st.integers(0, 2))):
            at = draw(st.integers(0, len(text)))
            kind = draw(st.integers(0, 2))
            letter = draw(st.sampled_from(_TRICKY))
            text[at : at + (kind > 0)] = [] if kind == 2 else [letter]
        return "".join(text)

    return st.composite(changed)()


TIMES = _near(
    "2024-03-01T10:00:00Z", "2024-02-30T10:00:00Z", "2024-03-01T23:59:60Z", "2024-03-01T10:00:00+01:00",
    "2024-03-01T10:00:00-14:00", "2024-03-01T10:00:00+14:01", "2024-03-01T10:00:00+05:99", "2024-03-01T10:00:00",
    "2024-03-31T01:30:00", "2024-10-27T01:30:00", "2024-03-01T10:00", "2024-03-01T10:00Z", "2024-03-01T24:00:00Z",
    "2024-03-01T10:00:00.5Z", "2024-03-01T10:00:00.123Z", "1969-12-31T23:59:59.999Z", "2024-03-01T10:00:00.123456Z",
    "2024-03-01T10:00:00.123+02:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
    "2024-03-01 10:00:00Z", "2024-03-01T10:00:00+0100", "2024-03-01T10:00:00z", "2099-12-31T23:59:59-12:00",
)  # fmt: skip
DATES = _near(
    "2024-03-01", "2024-02-30", "2023-02-29", "0000-01-01", "1849-12-31", "2100-01-01", "2024-3-1", "2024-03-1"
)
NUMBERS = _near("0", "-0", "7", "007", "+5", " 5", "5 ", "-12", "999999999", "1000000000", "1e2", "1.0", "1_000", "")
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,8})\Z")
COLUMN = Column(name="x", landed_name="x", kind="integer", description="", minimum="-99", maximum="99999")


def _missing_or(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[str | None]]:
    return st.lists(st.none() | texts, max_size=12)


def _series(values: list[str | None]) -> pl.Series:
    return pl.Series("x", values, dtype=pl.String)


@MANY
@given(_missing_or(DATES))
def test_a_fixed_form_is_what_the_expression_says(values: list[str | None]) -> None:
    said = _series(values).str.contains(r"(?-u)^\d{4}-\d{2}-\d{2}$").fill_null(False)
    assert_series_equal(has_form(_series(values), "0000-00-00"), said, check_names=False)


@MANY
@given(_missing_or(TIMES), st.sampled_from([None, "Europe/London", "America/New_York"]))
@example([None], None)
@example([], "Europe/London")
def test_times_of_usual_forms_are_read_as_those_of_any_form(values: list[str | None], time_zone: str | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fast = casting._timestamps(_series(values), time_zone)
        patch.setattr(casting, "_USUAL_TIMES", ())
        careful = casting._timestamps(_series(values), time_zone)
    _assert_same(fast, careful)


def _assert_same(fast: casting.Typed, careful: casting.Typed) -> None:
    assert_series_equal(fast[0], careful[0], check_names=False)
    for (rule, mask), (same, other) in zip(fast[1], careful[1], strict=True):
        assert rule == same
        assert_series_equal(mask.fill_null(False), other.fill_null(False), check_names=False)
    if fast[2] is not None or careful[2] is not None:
        assert_series_equal(fast[2], careful[2], check_names=False)


@MANY
@given(_missing_or(NUMBERS | TIMES), st.sampled_from(["integer", "pattern", "boolean"]))
@example([None], "integer")
@example([], "pattern")
def test_judging_each_text_once_is_judging_each_row(values: list[str | None], kind: str) -> None:
    column = Column(**{**vars(COLUMN), "kind": kind, "pattern": "[0-9]{1,3}"})
    texts, places = distinct(_series(values))
    typed, faults, _ = casting._typed_text(texts, column)
    once = typed.gather(places), [(rule, mask.gather(places) & places.is_not_null()) for rule, mask in faults], None
    each, rules, _ = casting._typed_text(_series(values), column)
    present = _series(values).is_not_null()
    _assert_same(once, (each, [(rule, mask.fill_null(False) & present) for rule, mask in rules], None))


def test_what_is_written_plainly_is_what_the_expression_says() -> None:
    """Every text of up to four letters that a number, or what a converter takes for one, may be made of."""
    letters = "0179+-eE._ ,xX\t٣²"
    texts = ["".join(letter) for size in range(1, 5) for letter in itertools.product(letters, repeat=size)]
    texts += ["", "999999999", "1000000000", "2147483647", "2147483648", "-999999999", "0999999999"]
    fits, typed = casting._whole_numbers(_series([*texts, None]))
    said = _series([*texts, None]).str.contains(casting._INTEGER)
    assert_series_equal(fits.fill_null(False), said.fill_null(False), check_names=False)
    assert [number for number in typed if number is not None] == [int(text) for text in texts if INTEGER.match(text)]


# --- files --------------------------------------------------------------------------------------------------------

Said = tuple[list[tuple[pl.DataFrame, list[int]]], tuple[str, int | None, str | None] | None]


def _said(frames: Iterator[tuple[pl.DataFrame, list[int]]]) -> Said:
    """Everything a reader says of a file, or why it refuses it."""
    found = []
    try:
        for frame in frames:
            found.append(frame)
    except RefusedFile as refusal:
        return found, (refusal.rule, refusal.row, refusal.column)
    return found, None


def _cast(said: Said, contract: Contract, home: Path) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    frames, problems, broken = [], [], []
    for frame, faults in said[0]:
        known = [column.name for column in contract.columns if column.name in frame.columns]
        done = casting.cast(
            frame.select(*known, ROW_NUMBER),
            contract,
            settings=Settings(home=home),
            pseudonymiser=Pseudonymiser(b"k" * 32, "default"),
            namespace="n",
            time_zone="Europe/London",
        )
        frames.append(done.frame)
        problems.append(done.problems)
        broken += faults
    if not frames:
        return pl.DataFrame(), pl.DataFrame(), broken
    return pl.concat(frames), pl.concat(problems).sort(ROW_NUMBER, "column_name", "rule"), broken


_CELLS = st.sampled_from(
    [
        "",
        "W1",
        "2024-03-01",
        "watch",
        "5000",
        "007",
        "x" * 40,
        "é",
        " ",
        "a b",
        "a;b",
        "-1",
        "2024-03-01T10:00:00Z",
        "\t",
    ]
)
_CSV_LINES = st.lists(st.lists(_CELLS, min_size=4, max_size=4).map(",".join), max_size=8)
_CSV_FAULTS = st.sampled_from(
    ["", "", "", "a,b", "a,b,c,d,e", ",,,", '"a,b",c,d,e', '"a""b",c,d,e', 'a"b,c,d,e', "\r", "#"]
)


@MANY
@given(_CSV_LINES, _CSV_FAULTS, st.integers(0, 8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_plain_csv_is_read_as_any_csv(
    tmp_path: Path, lines: list[str], fault: str, at: int, end: str, is_ended: bool
) -> None:
    if fault:
        lines = [*lines[:at], fault, *lines[at:]]
    path = tmp_path / "wearable_daily.csv"
    text = end.join(["person_code,local_date,device_kind,steps", *lines]) + (end if is_ended else "")
    path.write_bytes(text.encode())
    contract = contracts()["wearable_daily"]
    file = SourceFile(path, path.name)

    def read() -> Said:
        return _said((frame, []) for frame in reading.read_csv(file, limit_bytes=1 << 20))

    with pytest.MonkeyPatch.context() as patch:
        fast = read()
        patch.setattr(reading, "_plain_frame", lambda *_: None)
        careful = read()
    assert fast[1] == careful[1]
    for (frame, _), (other, _) in zip(fast[0], careful[0], strict=True):
        assert_frame_equal(frame, other)
    assert_frame_equal(_cast(fast, contract, tmp_path)[0], _cast(careful, contract, tmp_path)[0])


_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, False, "", "W1", "é", "a\"b", "a\\b", "\u2028", "\x7f", "true", "watch", "2024-03-01", "5000",
        "007", 0, 1, -1, 5000, 10**9, 2**53, 2**53 + 1, 2**63, 2**64, 2**64 + 1, 0.5, 1.0, -0.0, 1e300, 12.25,
        [], ["a"], {}, {"a": 1},
    ]
)  # fmt: skip
_KEYS = ["person_code", "response_code", "instrument_code", "total_value", "answered_at", "response_status"]
_GOOD = {
    "response_code": "Q1", "person_code": "P1", "instrument_code": "PHQ-9", "total_value": 12,
    "answered_at": "2024-03-01T10:00:00Z", "response_status": "completed",
}  # fmt: skip
_RECORDS = st.lists(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=2), min_size=1, max_size=6)
_RAW = st.sampled_from(
    [
        "", " ", "null", "17", "[]", "{}", '{"person_code":"P1","person_code":"P2"}',
        '{"person_code":"P1"}{"person_code":"P2"}',
        '{"person_code":"P1",}', "{not json", '{"mood":1}', '{"person_code":NaN}', '{"total_value":NaN}',
        '{"total_value":-0}', '{"total_value":1E2}', '{"total_value":12345678901234567890123}', '{"total_value":007}',
        '{"person_code":"\\u0041"}', '{"person_code":"\\ud800"}', ' {"person_code":"P1"} ', '{"person_code":"P\t1"}',
        '{"response_code":12345678901234567}', '{"total_value":0.1234567890123456789}', '{"person_code":"a"} ,',
        '{ "person_code" : "P1" , "total_value" : 1.50 }', '\r{"person_code":"P1"}', '{"person_code":\r"P1"}',
    ]
)  # fmt: skip


@MANY
@given(_RECORDS, st.none() | _RAW, st.integers(0, 6), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_plain_json_blocks_are_read_as_any_json(
    tmp_path: Path, changes: list[dict[str, Any]], raw: str | None, at: int, end: str, is_ended: bool, is_spaced: bool
) -> None:
    separators = (", ", ": ") if is_spaced else (",", ":")
    lines = [json.dumps({**_GOOD, **change}, ensure_ascii=False, separators=separators) for change in changes]
    if raw is not None:
        lines = [*lines[:at], raw, *lines[at:]]
    path = tmp_path / "questionnaire_totals.ndjson"
    path.write_bytes((end.join(lines) + (end if is_ended else "")).encode())
    contract = contracts()["questionnaire_totals"]
    file = SourceFile(path, path.name)
    fast = _said(reading.read_ndjson(file, limit_bytes=1 << 20, contract=contract))
    careful = _said(reading.read_ndjson(file, limit_bytes=1 << 20))
    assert fast[1] == careful[1]
    frame, problems, broken = _cast(fast, contract, tmp_path)
    other, told, skipped = _cast(careful, contract, tmp_path)
    assert broken == skipped
    assert_frame_equal(frame, other)
    assert_frame_equal(problems, told)


def test_plain_blocks_take_the_fast_way() -> None:
    """Otherwise the tests above would compare the careful way with itself."""
    block = b"".join(json.dumps(_GOOD).encode() + b"\n" for _ in range(3))
    frame = json_blocks.read_block(block, contracts()["questionnaire_totals"])
    assert frame is not None
    assert frame["total_value"].to_list() == ["12"] * 3


@pytest.mark.parametrize(
    "line",
    [
        '{"person_code":"P1","person_code":"P2"}',
        '{"person_code": "P1", "perso\\u006e_code": "P2"}',
        '{"person_code":18446744073709551617}',
        '{"total_value":1e17}',
    ],
)
def test_a_record_that_reading_would_change_is_quarantined(tmp_path: Path, line: str) -> None:
    path = tmp_path / "questionnaire_totals.ndjson"
    path.write_text(json.dumps(_GOOD) + "\n" + line + "\n", encoding="utf-8")
    contract = contracts()["questionnaire_totals"]
    found = _said(reading.read_ndjson(SourceFile(path, path.name), limit_bytes=1 << 20, contract=contract))
    assert [faults for _, faults in found[0]] == [[2]]
