"""Questionnaire responses read block by block land what they land when they are read one by one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caseness.settings import Settings
from ingestion.batches import Batch, ReadContext, Recognition, whole_text
from ingestion.delivery import Delivery
from ingestion.files import SourceFile
from ingestion.problems import RefusedFile
from ingestion.reading import ROW_NUMBER
from ingestion.sources import sources
from ingestion.sources.fhir import reader, response_blocks

Resource = dict[str, Any]
LOINC = "http://loinc.org"
PHQ9 = ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8")
GAD7 = ("69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7")
TOTALS = ("44261-6", "70274-6")
ORDINAL = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
MANY = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

_CODED: list[Resource] = [
    {"valueCoding": {"system": LOINC, "code": code, "display": "as often as that"}}
    for code in ("LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9")
]
_UNUSUAL: list[Any] = [
    {"valueInteger": 2},
    {"valueInteger": -1},
    {"valueInteger": 12345678901234567890},
    {"valueInteger": 1.0},
    {"valueDecimal": 2.0},
    {"valueDecimal": 2.5},
    {"valueDecimal": 3},
    {"valueDecimal": 2**53 + 1},
    {"valueDecimal": -0.0},
    {"valueBoolean": True},
    {"valueBoolean": False},
    {"valueString": "words of their own"},
    {"valueString": ""},
    {"valueDate": "2024-01-01"},
    {"valueUri": "urn:x"},
    {"valueQuantity": {"value": 2}},
    {"valueCoding": {}},
    {"valueCoding": {"code": "LA6569-3"}},
    {"valueCoding": {"system": "http://elsewhere", "code": "LA6569-3"}},
    {"valueCoding": {"system": LOINC, "code": "LA0000-0"}},
    {"valueCoding": {"code": "x", "extension": [{"url": ORDINAL, "valueDecimal": 2}]}},
    {"valueCoding": {"code": "x", "extension": [{"url": ORDINAL, "valueInteger": 3}]}},
    {"valueCoding": {"code": "x", "extension": [{"url": "http://else", "valueInteger": 3}]}},
    {"valueCoding": {"code": "x", "extension": [{"url": "http://else"}, {"url": ORDINAL, "valueDecimal": 1}]}},
    {"extension": [{"url": ORDINAL, "valueDecimal": 1}], "valueCoding": {"code": "x"}},
    {
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "asked-declined"}
        ]
    },
    {"valueCoding": {"code": "x", "extension": [{"url": ORDINAL, "valueInteger": 1}]}},
    {
        "valueCoding": {
            "code": "x",
            "extension": [{"url": ORDINAL, "valueInteger": 3}, {"url": ORDINAL, "valueInteger": 1}],
        }
    },
    {"valueCoding": {"code": "x", "extension": [{"url": ORDINAL, "valueInteger": n} for n in (2, 1)]}},
    {"valueCoding": {"code": "x", "extension": []}},
    {"valueInteger": None},
    {},
    None,
]
_ANSWERS = st.sampled_from(_CODED) | st.sampled_from(_CODED) | st.sampled_from(_UNUSUAL)
_LINKS = st.sampled_from([*(f"/{code}" for code in (*PHQ9, *GAD7)), "/phq/44250-9", "44250-9", "q1", "", *TOTALS])
_ITEM = st.fixed_dictionaries(
    {"linkId": _LINKS},
    optional={
        "text": st.just("How often?"),
        "answer": st.lists(_ANSWERS, max_size=2) | st.lists(_ANSWERS, min_size=1, max_size=1),
        "definition": st.just("http://d"),
        "item": st.just([]),
    },
)


def _whole(codes: tuple[str, ...]) -> st.SearchStrategy[list[Resource]]:
    """A form filled in as forms are."""
    answers = st.lists(st.sampled_from(_CODED), min_size=len(codes), max_size=len(codes))
    return answers.map(
        lambda given: [{"linkId": f"/{c}", "text": "?", "answer": [one]} for c, one in zip(codes, given, strict=True)]
    )


_WHOLE = st.one_of(_whole(PHQ9), _whole(GAD7), _whole(PHQ9[:2]), _whole((*PHQ9, *GAD7)))
_ITEMS = st.one_of(
    _WHOLE, _WHOLE, st.lists(_ITEM, max_size=5), st.tuples(_WHOLE, _ITEM).map(lambda two: [*two[0], two[1]])
)
_PATIENTS: list[Any] = [
        {"reference": "Patient/p1"}, {"reference": "Patient/p2", "type": "Patient"}, {"reference": "p3"}, {},
        {"reference": "Patient/p1", "display": "Zwanariel Q"}, {"reference": "Patient/p1", "display": ""},
        {"reference": "https://ehr.example/fhir/Patient/p4"}, {"reference": "urn:uuid:77"}, {"reference": ""},
        {"reference": "Patient/p1/_history/2"}, {"reference": "Patient?identifier=1"}, {"reference": "Patient/"},
        {"reference": "#inside"}, {"identifier": {"value": "1"}}, {"reference": 7}, [], None,
    ]  # fmt: skip
_TIMES: list[Any] = ["2024-03-01", "2024", "2024-03", "2024-03-01T12:00", "", "soon", None]
_PLAIN = st.fixed_dictionaries(
    {
        "resourceType": st.just("QuestionnaireResponse"),
        "id": st.text("abc123-.", min_size=1, max_size=5),
        "status": st.sampled_from(["completed", "amended", "in-progress", "entered-in-error"]),
        "subject": st.just({"reference": "Patient/p1"}),
        "encounter": st.just({"reference": "Encounter/e1"}),
        "authored": st.just("2024-03-01T12:00:00Z"),
        "item": _WHOLE,
    }
)
_CHANGES: dict[str, list[Any]] = {
    "resourceType": ["Patient", "Questionnaire", None, 1],
    "id": ["", "a/b", "a?b", None, 7, "urn:uuid:1", "x/_history/1"],
    "status": ["", "unheard-of", None, "completed"],
    "subject": _PATIENTS,
    "encounter": _PATIENTS,
    "author": _PATIENTS,
    "source": _PATIENTS,
    "authored": _TIMES,
    "meta": [
            {"lastUpdated": "2024-03-02T00:00:00Z"}, {"lastUpdated": ""}, {"lastUpdated": 5}, {}, None,
            {"versionId": "1", "profile": ["http://p"], "tag": [{"code": "x"}], "source": "#a"},
        ],
    "questionnaire": [
        "http://loinc.org/q/44249-1", "http://loinc.org/q/69737-5", "http://q|2", "", "#inside", None, 7, "q#x"],
    "item": [[], [{}], [{"linkId": "q1", "answer": [{"valueInteger": 1}]}]],
    "text": [{"status": "generated", "div": "<div>Zwanariel</div>"}, {"div": ""}, {}, None],
    "language": ["en"],
    "identifier": [{"value": "Zwanariel"}],
    "extension": [[{"url": "http://x", "valueString": "y"}]],
    "contained": [[{"resourceType": "Questionnaire", "id": "inside", "url": "x"}]],
}  # fmt: skip
_ONE_CHANGE = st.sampled_from(sorted(_CHANGES)).flatmap(
    lambda name: st.sampled_from([{name: value} for value in _CHANGES[name]])
)
_ITEMS_CHANGED = _ITEMS.map(lambda items: {"item": items})
_ODD = st.tuples(_PLAIN, _ONE_CHANGE | _ITEMS_CHANGED, st.just({}) | _ONE_CHANGE).map(
    lambda three: three[0] | three[1] | three[2]
)
_WRITINGS = ("wide", "close", "items first")
_BESIDE: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"resourceType": "Patient", "id": "p1", "gender": "female"},
        {
            "resourceType": "Questionnaire", "id": "q", "url": "http://q",
            "item": [
                {"linkId": "q1", "code": [{"system": LOINC, "code": "44250-9"}],
                 "answerOption": [{"valueCoding": {"code": "x", "extension": [{"url": ORDINAL, "valueDecimal": 3}]}}]}
            ],
        },
        None, 7, [], {},
    ]
)  # fmt: skip


def _batches(file: SourceFile, home: Path, *, person: str | None) -> Iterator[Batch]:
    (fhir,) = (source for source in sources() if source.name == "fhir")
    context = ReadContext(fhir.spec, Delivery(person=person, time_zone="Europe/London"), Settings(home=home))
    yield from reader.read(file, Recognition(form="ndjson"), context)


def _said(file: SourceFile, home: Path, *, person: str | None) -> dict[str, Any]:
    """Everything the reader says of a file: rows in order by stream, counts and faults, or why it is refused."""
    rows: dict[str, list[Any]] = {}
    said: dict[str, Any] = {"records": 0, "faults": [], "lost": [], "never_read": {}}
    try:
        for batch in _batches(file, home, person=person):
            said["records"] += batch.records
            said["faults"] += sorted(batch.faults)
            said["lost"] += batch.lost_fields
            for name, count in batch.identifier_fields.items():
                said["never_read"][name] = said["never_read"].get(name, 0) + count
            for stream, text in batch.texts().items():
                frame = whole_text(text, batch.shared.get(stream))
                frame = frame.with_columns(pl.all().exclude(ROW_NUMBER).cast(pl.String))
                rows.setdefault(stream, []).extend(frame.select(sorted(frame.columns)).to_dicts())
    except RefusedFile as refusal:
        return {"refused": (refusal.rule, refusal.row)}
    held = {number for number, _, _ in said["faults"]}
    texts = {
        stream: [{k: v for k, v in row.items() if v is not None} for row in of_stream if row[ROW_NUMBER] not in held]
        for stream, of_stream in rows.items()
    }
    return {**said, "rows": {stream: of_stream for stream, of_stream in texts.items() if of_stream}}


def _both(tmp_path: Path, content: bytes, *, person: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    path = tmp_path / "QuestionnaireResponse.ndjson"
    path.write_bytes(content)
    file = SourceFile(path, path.name)
    with pytest.MonkeyPatch.context() as patch:
        at_once = _said(file, tmp_path, person=person)
        patch.setattr(reader, "_BLOCKS_IN_VAIN", 0)
        return at_once, _said(file, tmp_path, person=person)


def _dumped(one: Any, *, writing: str, is_escaped: bool = False) -> str:
    """One line as different software writes it; where the items come first, a block takes no item for another."""
    if writing == "items first" and isinstance(one, dict) and "item" in one:
        one = {"item": one["item"], **one}
    separators = (",", ":") if writing == "close" else None
    return json.dumps(one, ensure_ascii=is_escaped, separators=separators)


def _bare(value: Any) -> Any:
    """Mostly without nulls, since one of them sends its whole block to be read line by line."""
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items() if one is not None}
    return [_bare(one) for one in value if one is not None] if isinstance(value, list) else value


@MANY
@given(
    st.lists(_PLAIN | _ODD, min_size=1, max_size=8),
    st.lists(_BESIDE, max_size=1),
    st.sampled_from([None, None, "p9"]),
    st.booleans(),
    st.sampled_from(_WRITINGS),
)
def test_a_block_says_what_its_lines_say(
    tmp_path: Path, resources: list[Resource], beside: list[Any], person: str | None, is_escaped: bool, writing: str
) -> None:
    lines = [_dumped(_bare(one), writing=writing, is_escaped=is_escaped) for one in resources]
    lines += [_dumped(one, writing=writing) for one in beside]
    at_once, one_by_one = _both(tmp_path, ("\n".join(lines) + "\n").encode(), person=person)
    assert at_once == one_by_one


@MANY
@given(
    st.lists(_ITEMS, min_size=1, max_size=6),
    st.sampled_from(["http://loinc.org/q/44249-1", "http://q", None]),
    st.sampled_from(_WRITINGS),
)
def test_items_of_any_kind(tmp_path: Path, of_forms: list[list[Resource]], address: str | None, writing: str) -> None:
    plain = {"resourceType": "QuestionnaireResponse", "status": "completed", "subject": {"reference": "Patient/p"}}
    lines = [
        _dumped(
            {**plain, "id": f"r{n}", "authored": "2024-03-01T12:00:00Z"}
            | ({"questionnaire": address} if address else {})
            | {"item": _bare(items)},
            writing=writing,
        )
        for n, items in enumerate(of_forms)
    ]
    at_once, one_by_one = _both(tmp_path, ("\n".join(lines) + "\n").encode())
    assert at_once == one_by_one


def _form(own_id: str, picks: list[int]) -> Resource:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": own_id,
        "questionnaire": "http://loinc.org/q/44249-1",
        "status": "completed",
        "subject": {"reference": f"Patient/{own_id}"},
        "authored": "2024-03-01T12:00:00Z",
        "item": [{"linkId": f"/{c}", "answer": [_CODED[pick]]} for c, pick in zip(PHQ9, picks, strict=True)],
    }


def _is_of_the_schema(answer: Any) -> bool:
    """Whether an answer leaves its block to be read at once."""
    form = {**_form("r", [0] * 9), "item": [{"linkId": "q", "answer": [answer]}]}
    block = json.dumps(form).encode() + b"\n"
    return answer is not None and response_blocks._table(block, response_blocks._SCHEMA, 1) is not None


@pytest.mark.parametrize("is_turned", [False, True])
def test_every_answer_beside_every_other(tmp_path: Path, is_turned: bool) -> None:
    """All pairs in one block, so that answers taken for alike show, whichever comes first."""
    answers = [answer for answer in (*_CODED, *_UNUSUAL) if _is_of_the_schema(answer)]
    assert len(answers) > 25
    if is_turned:
        answers.reverse()
    forms = []
    for number, (one, other) in enumerate(itertools.product(answers, answers)):
        form = _form(f"r{number}", [number % 4] * 9)
        form["item"][0]["answer"], form["item"][1]["answer"] = [one], [other]
        form["item"].append({"linkId": TOTALS[0], "answer": [other]})
        forms.append(form)
    at_once, one_by_one = _both(tmp_path, _lines(forms))
    assert at_once == one_by_one
    assert len(at_once["rows"]["questionnaire_totals"]) > len(answers)


@pytest.mark.parametrize("answer", [answer for answer in _UNUSUAL if not _is_of_the_schema(answer)], ids=str)
def test_every_answer_that_a_block_does_not_know(tmp_path: Path, answer: Any) -> None:
    form = _form("r2", [1] * 9)
    form["item"][0]["answer"] = [answer]
    at_once, one_by_one = _both(tmp_path, _lines([_form("r1", [1] * 9), form]))
    assert at_once == one_by_one


def _lines(forms: list[Resource], writing: str = "wide") -> bytes:
    return "".join(_dumped(form, writing=writing) + "\n" for form in forms).encode()


_TRAPS = [
    '{"id":"a","item":[',
    '"item":[{"linkId":"/44250-9"',
    '},{"linkId":"/44255-8',
    "}]}",
    '\\"item\\":[',
    '"item": [{"linkId": "',
    '}, {"linkId": "',
    "\\",
]


@pytest.mark.parametrize("writing", _WRITINGS)
@pytest.mark.parametrize("trap", _TRAPS)
def test_what_looks_like_an_item_in_a_text_is_none(tmp_path: Path, trap: str, writing: str) -> None:
    def changes(form: Resource) -> list[Resource]:
        first = form["item"][0]
        return [
            form | {"language": trap},
            form | {"questionnaire": trap},
            form | {"item": [first | {"text": trap}, *form["item"][1:]]},
            form | {"item": [*form["item"][1:], first | {"text": trap}]},
            form | {"item": [first | {"linkId": trap}, *form["item"][1:]]},
            form | {"item": [{"text": f"ab{first['linkId']}", "answer": first["answer"]}, *form["item"][1:]]},
            form | {"item": [first | {"definition": trap, "answer": [{"valueString": trap}]}, *form["item"][1:]]},
            form | {"item": [first | {"item": form["item"][1:3]}, *form["item"][3:]]},
            form | {"item": [{"linkId": "group", "item": form["item"]}]},
            form | {"item": [*form["item"], {"linkId": "group", "item": form["item"][:2]}]},
        ]

    for odd in changes(_form("r2", [2] * 9)):
        for forms in ([_form("r1", [1] * 9), odd], [odd, _form("r3", [3] * 9)], [odd]):
            at_once, one_by_one = _both(tmp_path, _lines(forms, writing))
            assert at_once == one_by_one


@pytest.mark.parametrize(
    "head",
    [
        '{"id":"r","id\\"item":[', '{"resourceType":"QuestionnaireResponse","x\\"item":[', '{"item":[],"item":[',
        '{"contained":[{"item":[', '{"id":"r","item":[{"linkId":"a"}],"item":[', '["item":[', '{"id":"item":[',
    ],
)  # fmt: skip
def test_an_item_list_that_is_none(tmp_path: Path, head: str) -> None:
    whole = _lines([_form("r1", [1] * 9)], "close").decode()
    start, _, items = whole.partition('"item":[')
    for raw in (head + items, head.replace("{", start, 1) + items):
        for lines in ([whole, raw], [raw, whole], [raw]):
            at_once, one_by_one = _both(tmp_path, "".join(lines).encode())
            assert at_once == one_by_one


@pytest.mark.parametrize(("writing", "is_told_apart"), [("wide", True), ("close", True), ("items first", False)])
def test_each_different_item_is_read_once(writing: str, is_told_apart: bool) -> None:
    forms = [_form(f"r{n}", [(n + at) % 4 for at in range(9)]) for n in range(20)]
    block = _lines(forms, writing)
    responses = response_blocks._responses(block, response_blocks.line_ends(block))
    assert responses is not None
    assert len(responses.items.place) == 180
    assert len(responses.items.different) == (36 if is_told_apart else 180)


def test_two_answers_to_one_question_hold_the_form_back(tmp_path: Path) -> None:
    forms = [_form(f"r{n}", [1] * 9) for n in range(3)]
    forms[1]["item"][4]["answer"] = [_CODED[0], _CODED[3]]
    at_once, one_by_one = _both(tmp_path, _lines(forms))
    assert at_once == one_by_one
    assert at_once["faults"] == [(2, "item.answer", "answer_repeated")]


def test_what_is_never_read_is_counted_once_in_an_odd_response_too(tmp_path: Path) -> None:
    forms = [_form(f"r{n}", [1] * 9) | {"subject": {"reference": "p", "display": "Zwanariel"}} for n in range(3)]
    forms[1]["item"] = [*forms[1]["item"], {"linkId": "note", "answer": [{"valueString": "words"}]}]
    forms[2]["item"] = [*forms[2]["item"] * 2, {"linkId": "note", "answer": [{"valueString": "words"}]}]
    at_once, one_by_one = _both(tmp_path, _lines(forms))
    assert at_once == one_by_one
    counted = {"QuestionnaireResponse.subject.display": 3, "QuestionnaireResponse.item.answer.valueString": 2}
    assert at_once["never_read"] == counted


@pytest.mark.parametrize("left_out", [(), ("item",), ("authored",), ("item", "authored")])
def test_an_error_without_content_is_a_deletion(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    form = {name: value for name, value in _form("r2", [1] * 9).items() if name not in left_out}
    at_once, one_by_one = _both(tmp_path, _lines([_form("r1", [1] * 9), form | {"status": "entered-in-error"}]))
    assert at_once == one_by_one
    assert ("record_deletions" in at_once["rows"]) is bool(left_out)


@pytest.mark.parametrize("name", sorted(_CHANGES))
def test_every_change_of_a_response(tmp_path: Path, name: str) -> None:
    for person in (None, "p9"):
        for value in _CHANGES[name]:
            forms = [_form("r1", [1] * 9), _form("r2", [2] * 9) | {name: value}, _form("r3", [3] * 9)]
            without = [{key: one for key, one in form.items() if key != name} for form in forms]
            for sent in (forms, [*forms, *without], without):
                at_once, one_by_one = _both(tmp_path, _lines(sent), person=person)
                assert at_once == one_by_one, (name, value)


@pytest.mark.parametrize(
    "raw",
    [
        "", " ", "{", "[]", "{}{}", '{"resourceType":"QuestionnaireResponse"}',
        '{"resourceType":"QuestionnaireResponse",}',
        *(
            '{"resourceType":"QuestionnaireResponse","id":"n","status":"completed","authored":"2024-03-01T12:00:00Z",'
            f'"item":[{{"linkId":"/44250-9","answer":[{{"valueDecimal":{word}}}]}}]}}'
            for word in ("NaN", "-NaN", "Infinity", "-Infinity", "Inf", " NaN")
        ),
        '{"resourceType":"QuestionnaireResponse","id":"n","status":"completed","authored":"2024-03-01T12:00:00Z",'
        '"item":[{"linkId":"q","answer":[{"valueCoding":{"code":"x","extension":[{"url":"u","valueDecimal":NaN}]}}]}]}',
        '{"resourceType":"Patient","resourceType":"QuestionnaireResponse","id":"1"}', '{"a":"\\ud800"}', '{"a":"\t"}',
        '{"resourceType":"QuestionnaireResponse","id":"a\\u0000b","status":"completed"}', '{"a":NaN}', '{"a":1e999}',
        2 * '{"resourceType":"QuestionnaireResponse","id":"t","status":"completed","authored":"2024-03-01T12:00:00Z"}',
    ],
)  # fmt: skip
def test_lines_that_are_no_plain_objects(tmp_path: Path, raw: str) -> None:
    plain = json.dumps(_form("r1", [0] * 9))
    for lines in itertools.permutations([plain, raw, json.dumps(_form("r2", [3] * 9))]):
        for end in ("\n", "\r\n"):
            at_once, one_by_one = _both(tmp_path, (end.join(lines) + end).encode())
            assert at_once == one_by_one


def test_plain_forms_are_read_at_once_and_only_the_odd_one_apart(tmp_path: Path) -> None:
    """Otherwise the tests above would compare reading one by one with itself."""
    forms = [_form(f"r{n}", [(n + at) % 4 for at in range(9)]) for n in range(20)]
    forms[7]["item"] *= 2  # every answer twice
    path = tmp_path / "QuestionnaireResponse.ndjson"
    path.write_bytes(_lines(forms))
    (batch, _) = _batches(SourceFile(path, path.name), tmp_path, person=None)
    (frame,) = batch.frames.values()
    assert len(frame) == 19 * 9
    assert {number for number, _, _ in batch.faults} == {8}
    assert frame.filter(frame[ROW_NUMBER] == 3)["answer_value"].to_list() == [
        2,
        3,
        0,
        1,
        2,
        3,
        0,
        1,
        2,
    ]
