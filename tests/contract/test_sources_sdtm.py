"""SDTM: test codes are items, the number is read and never the text, partial dates are never completed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

from tests.fixtures.mapped import Read, home_with, read_file

_HEADER = "STUDYID,DOMAIN,USUBJID,QSSEQ,QSTESTCD,QSTEST,QSCAT,QSORRES,QSSTRESC,QSSTRESN,QSSTAT,VISITNUM,QSDTC\n"


def qs(folder: Path, *rows: str) -> Read:
    path = folder / "qs.csv"
    path.write_text(_HEADER + "".join(f"S,QS,{row}\n" for row in rows), encoding="utf-8")
    return read_file(path, home_with(folder, None))


def row(code: str, value: str, *, text: str = "Several days", day: str = "2024-03-01", stat: str = "") -> str:
    return f"P1,1,{code},label,GAD-7 V2,{text},{value},{value},{stat},1,{day}"


def test_items_and_totals_come_from_the_number(tmp_path: Path) -> None:
    found = qs(tmp_path, row("GAD0201", "2", text="Not at all"), row("GAD0202", "1.0"), row("GAD0208", "15"))
    assert found.of("questionnaire_answers", "instrument_code", "item_number", "answer_value") == [
        ("GAD-7", 1, 2),
        ("GAD-7", 2, 1),
    ]
    assert found.of("questionnaire_totals", "instrument_code", "total_value") == [("GAD-7", 15.0)]
    responses = {r["response_id"] for stream in found.landed.values() for r in stream}
    assert len(responses) == 1


def test_an_item_that_was_not_done_is_missing(tmp_path: Path) -> None:
    found = qs(tmp_path, row("PHQ0109", "", text="", stat="NOT DONE"))
    assert found.of("questionnaire_answers", "instrument_code", "item_number", "answer_state") == [
        ("PHQ-9", 9, "missing")
    ]


def test_dates_are_whole_or_quarantined(tmp_path: Path) -> None:
    days = ["2024-03-01", "2024-03-01T09:30", "2024-03", "2024", ""]
    found = qs(tmp_path, *(row("GAD0201", "1", day=day) for day in days))
    assert found.of("questionnaire_answers", "answered_at") == [
        (dt.datetime(2024, 3, 1, 12),),
        (dt.datetime(2024, 3, 1, 9, 30),),
    ]
    assert found.quarantined == [
        (3, "answered_at", "partial_date"),
        (4, "answered_at", "partial_date"),
        (5, "answered_at", "required"),
    ]


def test_other_codes_are_unknown_and_the_difficulty_item_is_outside(tmp_path: Path) -> None:
    found = qs(tmp_path, row("GDS0201", "1"), row("PHQ0110", "1"))
    assert {(number, rule) for number, _, rule in found.quarantined} == {(1, "unknown_code"), (2, "not_contracted")}


def test_demographics(tmp_path: Path) -> None:
    path = tmp_path / "dm.csv"
    path.write_text(
        "STUDYID,DOMAIN,USUBJID,SEX,BRTHDTC,AGE\nS,DM,P1,F,1980-02-03,44\nS,DM,P2,M,1980-02,44\nS,DM,P3,X,,44\n",
        encoding="utf-8",
    )
    found = read_file(path, home_with(tmp_path, None))
    assert found.of("people", "sex", "birth_date") == [("female", dt.date(1980, 2, 3)), ("male", None)]
    assert found.quarantined == [(2, "birth_date", "partial_date"), (3, "sex", "unknown_code")]


def test_the_admiral_example(shared_data: Path, tmp_path: Path) -> None:
    found = read_file(shared_data / "trials" / "admiral_sdtm_qs" / "example_qs.csv", home_with(tmp_path, None))
    assert found.report is not None
    assert (found.report.rows_in, found.report.rows_admitted) == (161, 4 * 7 + 4 * 1)
    # GDS short form and sleeping problems wait for a definition.
    assert Counter(rule for _, column, rule in found.quarantined if column == "instrument_code") == {
        "unknown_code": 8 * 15 + 3 * 3
    }
    sums = Counter[str]()
    for answer in found.landed["questionnaire_answers"]:
        sums[answer["response_id"]] += answer["answer_value"]
    totals = {total["response_id"]: total["total_value"] for total in found.landed["questionnaire_totals"]}
    assert len(totals) == 4 and dict(sums) == totals
