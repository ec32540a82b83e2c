"""REDCap exports: the dictionary finds the items, identifiers and text are never read, answers keep their meaning."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from caseness.errors import UsageError
from caseness.settings import IdentifierPolicy
from ingestion.sources import sources
from tests.fixtures.mapped import Read, home_with, read_file

_HEADER = [
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Identifier?",
]
_CHOICES = "0, Not at all | 1, Several days | 2, More than half the days | 3, Nearly every day"
_PHQ = [f"phq9_{number}" for number in range(1, 10)]
Field = tuple[str, str, str, str, str]  # name, form, type, choices, identifier
DICTIONARY: list[Field] = [
    ("record_id", "about", "text", "", ""),
    ("full_name", "about", "text", "", "y"),
    ("story", "about", "notes", "", ""),
    ("helps", "about", "checkbox", "1, Sport | 2, Friends", ""),
    *((name, "phq9", "radio", _CHOICES, "") for name in _PHQ),
    ("phq9_total", "phq9", "calc", "sum([phq9_1])", ""),
    ("phq9_date", "phq9", "text", "", ""),
]
_EVENT = ["redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance"]
COLUMNS = ["record_id", *_EVENT, "full_name", "story", "helps___1", "about_complete", *_PHQ]
COLUMNS += ["phq9_total", "phq9_date", "phq9_timestamp", "phq9_complete"]
_ABOUT = ["1", "baseline_arm_1", "", "", "Ann Other", "two\nlines", "1", "2", *[""] * 9, "", "", "", ""]


def form(
    record: str, instance: str, answers: str, *, total: str = "", day: str = "2024-03-01", stamp: str = ""
) -> list[str]:
    items = answers.split(" ") + [""] * (9 - len(answers.split(" ")))
    return [record, "baseline_arm_1", "phq9", instance, "", "", "", "", *items, total, day, stamp, "2"]


def text(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def export(
    folder: Path,
    rows: Sequence[Sequence[str]],
    *,
    dictionary: Sequence[Field] | None = None,
    columns: Sequence[str] = COLUMNS,
    dictionaries: int = 1,
) -> Path:
    listed = [
        [name, page, "", kind, "a label", choices, flag] for name, page, kind, choices, flag in dictionary or DICTIONARY
    ]
    for day in range(1, dictionaries + 1):
        path = folder / f"MyStudy_DataDictionary_2024-05-0{day}.csv"
        path.write_text(text([_HEADER, *listed]), encoding="utf-8")
    data = folder / "MyStudy_DATA_2024-05-02_1030.csv"
    data.write_text(text([columns, *rows]), encoding="utf-8")
    return data


def read(folder: Path, rows: Sequence[Sequence[str]], policy: str = "refuse", **drawn: object) -> Read:
    settings = home_with(folder, None, identifiers=IdentifierPolicy(policy))
    return read_file(export(folder, rows, **drawn), settings, time_zone="Europe/London")  # type: ignore[arg-type]


def test_repeating_instances_are_responses_of_one_person(tmp_path: Path) -> None:
    rows = [
        _ABOUT,
        form("1", "1", "0 1 2 3 0 0 0 0 0", total="6"),
        form("1", "2", "1 1 1 1 1 1 1 1 1", day="2024-03-15"),
    ]
    found = read(tmp_path, rows)
    assert found.report is not None
    assert (found.report.rows_in, found.report.rows_admitted, found.report.rows_quarantined) == (3, 2, 1)
    assert found.quarantined == [(1, "", "not_contracted")]  # the row of the form that asks nothing of ours
    answers = found.landed["questionnaire_answers"]
    assert len(answers) == 2 * 9
    assert len({row["response_id"] for row in answers}) == 2 and len({row["person_token"] for row in answers}) == 1
    assert found.of("questionnaire_totals", "instrument_code", "total_value") == [("PHQ-9", 6.0)]
    first = sorted((row["item_number"], row["answer_value"]) for row in answers if row["source_row_number"] == 2)
    assert [value for _, value in first] == [0, 1, 2, 3, 0, 0, 0, 0, 0]


def test_missing_data_codes_are_states_and_blanks_are_missing(tmp_path: Path) -> None:
    found = read(tmp_path, [form("1", "1", "0 NASK NI NA")])
    states = [state for _, state in sorted(found.of("questionnaire_answers", "item_number", "answer_state"))]
    assert states == ["answered", "not_asked", "missing", "not_applicable", *["missing"] * 5]


def test_labels_instead_of_values_are_quarantined(tmp_path: Path) -> None:
    rows = [form("1", "1", "0 1 2 3 0 0 0 0 0")]
    rows[0][COLUMNS.index("phq9_2")] = "Several days"
    found = read(tmp_path, rows)
    assert found.report is not None and found.report.rows_admitted == 0
    assert {rule for _, _, rule in found.quarantined} == {"integer"}


def test_the_survey_s_time_counts_before_the_day(tmp_path: Path) -> None:
    rows = [
        form("1", "1", "0", stamp="2024-07-01 09:15:00"),
        form("1", "2", "0", stamp="[not completed]"),
        form("1", "3", "0", day=""),
    ]
    found = read(tmp_path, rows)
    assert sorted(set(found.of("questionnaire_answers", "source_row_number", "answered_at"))) == [
        (1, dt.datetime(2024, 7, 1, 8, 15)),
        (2, dt.datetime(2024, 3, 1, 12)),
    ]
    assert {(row, column, rule) for row, column, rule in found.quarantined} == {(3, "answered_at", "required")}


@pytest.mark.parametrize(
    ("sent", "status"), [("0", "in_progress"), ("1", "completed"), ("2", "completed"), ("", "in_progress")]
)
def test_form_status(tmp_path: Path, sent: str, status: str) -> None:
    found = read(tmp_path, [[*form("1", "1", "0")[:-1], sent]])
    assert set(found.of("questionnaire_answers", "response_status")) == {(status,)}


def test_an_item_marked_as_identifier_is_never_read(tmp_path: Path) -> None:
    marked = [(n, f, t, c, "y") if n == "phq9_9" else (n, f, t, c, i) for n, f, t, c, i in DICTIONARY]
    found = read(tmp_path, [form("1", "1", "0 0 0 0 0 0 0 0 3")], dictionary=marked)
    assert sorted(number for (number,) in found.of("questionnaire_answers", "item_number")) == list(range(1, 9))


def test_no_identifier_or_text_reaches_a_part(tmp_path: Path) -> None:
    found = read(tmp_path, [_ABOUT, form("1", "1", "0")])
    assert found.refused is None
    stored = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert b"Ann Other" not in stored and b"two\nlines" not in stored
    assert "Ann Other" not in str(found)


def test_a_column_outside_the_dictionary(tmp_path: Path) -> None:
    columns = [*COLUMNS, "email"]
    rows = [[*form("1", "1", "0"), "a@b.org"]]
    refused = read(tmp_path, rows, columns=columns)
    assert refused.refused == ("unknown_column", "column 'email' looks like an identifier (email)")
    dropped = read(tmp_path, rows, policy="drop", columns=columns)
    assert dropped.report is not None and dropped.report.rows_admitted == 1


@pytest.mark.parametrize("choices", ["1, Not at all | 2, Several days | 3, More | 4, Nearly", "0, No | 1, Yes"])
def test_another_coding_than_the_instrument_s_refuses(tmp_path: Path, choices: str) -> None:
    recoded = [(n, f, t, choices if t == "radio" else c, i) for n, f, t, c, i in DICTIONARY]
    found = read(tmp_path, [form("1", "1", "1")], dictionary=recoded)
    assert found.refused is not None and found.refused[0] == "answer_codes"


def test_missing_codes_among_the_choices_are_no_other_coding(tmp_path: Path) -> None:
    extended = [(n, f, t, c + " | NI, No information" if t == "radio" else c, i) for n, f, t, c, i in DICTIONARY]
    assert read(tmp_path, [form("1", "1", "1")], dictionary=extended).refused is None


@pytest.mark.parametrize(("count", "words"), [(0, "no data dictionaries"), (2, "2 data dictionaries")])
def test_one_dictionary_lies_beside_the_export(tmp_path: Path, count: int, words: str) -> None:
    found = read(tmp_path, [form("1", "1", "0")], dictionaries=count)
    assert found.refused is not None and found.refused[0] == "missing_companion" and words in found.refused[1]


def test_another_dictionary_is_another_load(tmp_path: Path) -> None:
    first = read(tmp_path, [form("1", "1", "0")])
    changed = read(tmp_path, [form("1", "1", "0")], dictionary=[*DICTIONARY, ("more", "about", "text", "", "")])
    assert first.report is not None and changed.report is not None
    assert first.report.load_id != changed.report.load_id


def test_two_fields_cannot_be_one_item(tmp_path: Path) -> None:
    twice = [*DICTIONARY, ("phq_9_1", "phq9", "radio", _CHOICES, "")]
    found = read(tmp_path, [form("1", "1", "0")], dictionary=twice)
    assert found.refused is not None and found.refused[0] == "dictionary"


def test_an_export_may_lack_whole_forms_but_no_item(tmp_path: Path) -> None:
    columns = [name for name in COLUMNS if name != "phq9_5"]
    found = read(tmp_path, [form("1", "1", "0")[:-1]], columns=columns)
    assert found.refused == ("missing_column", "column 'phq9_5' is needed and not in the file")
    only = ["record_id", "helps___1", "about_complete"]
    found = read(tmp_path, [["1", "0", "2"]], columns=only)
    assert found.quarantined == [(1, "", "not_contracted")]


def test_a_project_with_other_names_brings_its_own_patterns(tmp_path: Path) -> None:
    shipped = next(source for source in sources() if source.name == "redcap").spec
    own = {**shipped, "source": "mine", "reader": "redcap"}
    own["instruments"] = [
        {
            "instrument_code": "PHQ-9",
            "item": r"mood_(?P<item>[1-9])",
            "total": "x",
            "answered": "phq9_date",
            "source": "us",
        }
    ]
    renamed = [(n.replace("phq9_", "mood_") if n in _PHQ else n, *rest) for n, *rest in DICTIONARY]
    columns = [name.replace("phq9_", "mood_") if name in _PHQ else name for name in COLUMNS]
    settings = home_with(tmp_path, yaml.safe_dump(own))
    path = export(tmp_path, [form("1", "1", "3")], dictionary=renamed, columns=columns)  # type: ignore[arg-type]
    found = read_file(path, settings)
    assert found.report is not None and found.report.source == "mine" and found.report.rows_admitted == 1


_NAMED = {"instrument_code": "PHQ-9", "item": "(?P<item>1)", "total": "t", "answered": "a", "source": "s"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reader": "excel"}, "there is no reader of that name"),
        ({"missing_codes": {"gone": []}}, "`missing_codes:` names gone; it may be"),
        ({"data_file": "x"}, "(?P<project>...)"),
        ({"instruments": [{**_NAMED, "instrument_code": "PHQ-7"}]}, "PHQ-7"),
        ({"instruments": [{**_NAMED, "item": "1"}]}, "(?P<item>...)"),
        ({"dictionary_columns": {}}, "`dictionary_columns:` names"),
    ],
)
def test_wrong_patterns_are_told(tmp_path: Path, change: dict[str, object], words: str) -> None:
    shipped = next(source for source in sources() if source.name == "redcap").spec
    settings = home_with(tmp_path, yaml.safe_dump({**shipped, "source": "mine", "reader": "redcap", **change}))
    with pytest.raises(UsageError) as raised:
        sources(settings.paths.sources)
    assert words in str(raised.value)
