"""FHIR resources, drawn one by one: what lands of each, what is held back and by which rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ingestion
from caseness.settings import IdentifierPolicy, Settings
from screening.definitions import definitions

Resource = dict[str, Any]
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
ICD_10_CM, RXNORM, CPT = (
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://www.ama-assn.org/go/cpt",
)
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
ORDINAL = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
WEIGHT = "http://hl7.org/fhir/StructureDefinition/itemWeight"
PHQ9 = ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8")
GAD7 = ("69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7")
SUBJECT = {"reference": "Patient/p1"}
NOON = "2024-03-01T12:00:00Z"


@dataclass(frozen=True)
class Landed:
    """What the door made of a delivery."""

    report: dict[str, Any]
    settings: Settings

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """Landed rows of a stream in the order of the file."""
        parts = ingestion.landed_parts(self.settings).get(stream, [])
        return [row for part in parts for row in pl.read_parquet(part).iter_rows(named=True)]

    def one(self, stream: str) -> dict[str, Any]:
        """The only row of a stream."""
        (row,) = self.rows(stream)
        return row

    def facts(self, stream: str, *names: str) -> list[Any]:
        """Some columns of a stream's rows; of one column its values."""
        found = [tuple(row[name] for name in names) for row in self.rows(stream)]
        return [row[0] for row in found] if len(names) == 1 else found

    @property
    def rules(self) -> dict[str, int]:
        """Rows held back by rule."""
        found: dict[str, int] = self.report["quarantined_by_rule"]
        return found

    @property
    def lost_fields(self) -> list[tuple[str, str]]:
        """(column, rule) of fields that became missing while the record was kept."""
        parts = ingestion.quarantine_parts(self.settings)
        rows = [row for part in parts for row in pl.read_parquet(part).iter_rows(named=True)]
        return sorted((row["column_name"], row["rule"]) for row in rows if not row["is_row_quarantined"])


Door = Callable[..., Landed]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Resources through the door: as a bundle, as entries of a bundle as they are, or as lines."""

    def go(*given: Resource, form: str = "bundle", delivery: str | None = None, **options: Any) -> Landed:
        folder = tmp_path / "delivery"
        folder.mkdir()
        if form == "ndjson":
            (folder / "export.ndjson").write_text("".join(json.dumps(one) + "\n" for one in given))
        else:
            entries = list(given) if form == "entries" else [{"resource": one} for one in given]
            body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            (folder / "export.json").write_text(json.dumps(body))
        if delivery is not None:
            (folder / "delivery.yml").write_text(delivery)
        settings = Settings(home=tmp_path / "home", identifiers=IdentifierPolicy.DROP)
        report = ingestion.ingest([folder], settings=settings, **options).as_dict()
        assert report["rows_in"] == len(given) == report["rows_admitted"] + report["rows_quarantined"]
        assert not report["problems"]
        return Landed(report, settings)

    return go


def concept(system: str, *codes: str) -> Resource:
    return {"coding": [{"system": system, "code": code} for code in codes]}


def response(*items: Resource, **fields: Any) -> Resource:
    whole: Resource = {
        "resourceType": "QuestionnaireResponse",
        "id": "q1",
        "status": "completed",
        "subject": SUBJECT,
        "authored": NOON,
        "item": list(items),
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def item(link: str, *answers: Resource, **fields: Any) -> Resource:
    return {"linkId": link, "answer": list(answers), **fields}


def phq9(*values: int, **fields: Any) -> Resource:
    return response(*(item(code, {"valueInteger": value}) for code, value in zip(PHQ9, values, strict=False)), **fields)


def resource(kind: str, **fields: Any) -> Resource:
    owner = {} if kind in ("Patient", "Coverage") else {"subject": SUBJECT}
    return {"resourceType": kind, "id": f"{kind}-1", **owner, **fields}


def answers(landed: Landed) -> dict[int, tuple[str, int | None]]:
    return {
        row["item_number"]: (row["answer_state"], row["answer_value"]) for row in landed.rows("questionnaire_answers")
    }


# --- questionnaire responses: where an answer stands --------------------------------------------------------------


def test_items_in_groups_and_under_answers_are_found(door: Door) -> None:
    under = item("69722-7", {"valueCoding": {"code": "LA6572-7"}, "item": [item(PHQ9[1], {"valueInteger": 2})]})
    group = {"linkId": "g", "item": [{"linkId": "h", "item": [item(PHQ9[0], {"valueInteger": 1}), under]}]}
    landed = door(response(group, questionnaire="http://loinc.org/q/55757-9|1.0"))
    assert landed.facts("questionnaire_answers", "instrument_code", "item_number", "answer_value") == [
        ("PHQ-2", 1, 1),
        ("PHQ-2", 2, 2),
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"valueCoding": {"system": LOINC, "code": "LA6570-1"}}, ("answered", 2), id="answer code"),
        pytest.param({"valueCoding": {"code": "LA6570-1"}}, ("answered", 2), id="answer code without its system"),
        pytest.param(
            {"valueCoding": {"code": "often", "extension": [{"url": ORDINAL, "valueDecimal": 2}]}},
            ("answered", 2),
            id="ordinalValue on the coding",
        ),
        pytest.param(
            {"valueCoding": {"code": "often"}, "extension": [{"url": WEIGHT, "valueDecimal": 2.0}]},
            ("answered", 2),
            id="itemWeight on the answer",
        ),
        pytest.param(
            {"valueCoding": {"code": "LA6570-1", "extension": [{"url": ORDINAL, "valueDecimal": 3}]}},
            ("answered", 2),
            id="an answer code wins over a weight beside it",
        ),
        pytest.param({"valueInteger": 2}, ("answered", 2), id="integer"),
        pytest.param({"valueDecimal": 2.0}, ("answered", 2), id="whole decimal"),
        pytest.param({"valueQuantity": {"value": 2, "code": "{score}"}}, ("answered", 2), id="quantity"),
        pytest.param({"valueInteger": 300}, ("answered", 300), id="out of range, as submitted"),
        pytest.param(
            {"valueCoding": {"system": ABSENT_SYSTEM, "code": "asked-declined"}}, ("refused", None), id="declined"
        ),
        pytest.param(
            {"extension": [{"url": ABSENT, "valueCode": "asked-declined"}]}, ("refused", None), id="declined, extension"
        ),
        pytest.param(
            {"_valueInteger": {"extension": [{"url": ABSENT, "valueCode": "not-asked"}]}},
            ("not_asked", None),
            id="not asked, extension of the value",
        ),
        pytest.param({}, ("missing", None), id="an answer without a value"),
    ],
)
def test_an_answer_says(door: Door, answer: Resource, expected: tuple[str, int | None]) -> None:
    landed = door(response(item(PHQ9[0], answer), item(PHQ9[1], {"valueInteger": 0})))
    assert answers(landed) == {1: expected, 2: ("answered", 0)}


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        pytest.param({"valueString": "2"}, "answer_form", id="a number as text"),
        pytest.param({"valueBoolean": True}, "answer_form", id="yes to an item of four answers"),
        pytest.param({"valueQuantity": {"value": 2, "comparator": ">"}}, "answer_form", id="more than two"),
        pytest.param({"valueQuantity": {"value": 2, "code": "mg"}}, "answer_form", id="two milligrams"),
        pytest.param({"valueDecimal": 1.5}, "integer", id="half an answer"),
        pytest.param({"valueCoding": {"code": "LA6570-1-unlinked"}}, "unknown_code", id="a code nobody defined"),
        pytest.param({"valueCoding": {"system": "urn:x", "code": "LA6570-1"}}, "unknown_code", id="of another system"),
    ],
)
def test_an_answer_that_cannot_be_read_holds_its_form_back(door: Door, answer: Resource, rule: str) -> None:
    landed = door(response(item(PHQ9[0], answer), item(PHQ9[8], {"valueInteger": 3})))
    assert landed.rules[rule] == landed.report["rows_quarantined"] == 1
    assert not landed.rows("questionnaire_answers")
    assert landed.report["positive_risk_items_held_back"] == 1


def test_two_answers_to_one_item_are_not_one(door: Door) -> None:
    twice = response(item(PHQ9[0], {"valueInteger": 1}, {"valueInteger": 2}))
    again = response(item(PHQ9[0], {"valueInteger": 1}), item(PHQ9[0], {"valueInteger": 2}), id="q2")
    assert door(twice, again).rules == {"answer_repeated": 2}


def test_a_refusal_that_looks_like_a_score_is_one_for_item_nine_only(door: Door) -> None:
    """Apple sends 4 for "prefer not to answer", allowed for item 9 alone; elsewhere 4 stays what was submitted."""
    landed = door(phq9(1, 4, 0, 0, 0, 0, 0, 0, 4))
    assert answers(landed)[2] == ("answered", 4)
    assert answers(landed)[9] == ("refused", None)


def test_a_coded_answer_with_the_weight_four_is_no_refusal(door: Door) -> None:
    coded = {"valueCoding": {"code": "x", "extension": [{"url": ORDINAL, "valueDecimal": 4}]}}
    assert answers(door(response(item(PHQ9[8], coded))))[9] == ("answered", 4)


def test_a_form_is_stated_whole(door: Door) -> None:
    """An item that does not stand in it has no answer, so that an amendment can take one back."""
    first = phq9(1, 1, 1, 1, 1, 1, 1, 1, 1, meta={"versionId": "1", "lastUpdated": "2024-03-01T12:00:05Z"})
    second = phq9(
        *(1,) * 8,
        status="amended",
        questionnaire="http://loinc.org/q/44249-1",
        meta={"versionId": "2", "lastUpdated": "2024-03-02T08:00:00Z"},
    )
    landed = door(first, second, form="ndjson")
    ninth = [row for row in landed.rows("questionnaire_answers") if row["item_number"] == 9]
    assert len({row["response_id"] for row in ninth}) == 1
    latest = max(ninth, key=lambda row: row["recorded_at"])
    assert (latest["response_status"], latest["answer_state"]) == ("amended", "missing")


def test_versions_without_times_are_told_apart_by_their_number(door: Door) -> None:
    """A history bundle lists the newest first; the file's order must not decide."""
    new, old = phq9(2, 2, meta={"versionId": "10"}), phq9(1, 1, meta={"versionId": "9"})
    landed = door(new, old)
    assert landed.rules == {"superseded_version": 1}
    assert landed.facts("questionnaire_answers", "answer_value") == [2, 2]


def test_one_id_twice_in_a_bundle_is_two_statements(door: Door) -> None:
    landed = door(phq9(1, 1), phq9(2, 2))
    assert landed.facts("questionnaire_answers", "answer_value", "source_row_number") == [
        (1, 1),
        (1, 1),
        (2, 2),
        (2, 2),
    ]
    assert len(set(landed.facts("questionnaire_answers", "response_id"))) == 1


@pytest.mark.parametrize(
    ("status", "lands_as"),
    [
        ("completed", "completed"),
        ("in-progress", "in_progress"),
        ("stopped", "in_progress"),
        ("amended", "amended"),
        ("entered-in-error", "entered_in_error"),
    ],
)
def test_the_status_of_a_form_is_kept(door: Door, status: str, lands_as: str) -> None:
    assert set(door(phq9(1, 2, status=status)).facts("questionnaire_answers", "response_status")) == {lands_as}


def test_an_empty_form_is_a_form_without_answers(door: Door) -> None:
    empty = response(questionnaire="http://loinc.org/q/69737-5", item=None)
    unknown = response(questionnaire="http://example.org/q/7", id="q2")
    landed = door(empty, unknown)
    assert answers(landed) == dict.fromkeys(range(1, 8), ("missing", None))
    assert landed.rules == {"not_contracted": 1}


def test_two_instruments_on_one_form(door: Door) -> None:
    landed = door(response(*(item(code, {"valueInteger": 1}) for code in (*PHQ9, *GAD7))))
    counts = pl.Series(landed.facts("questionnaire_answers", "instrument_code")).value_counts(sort=True)
    assert dict(counts.iter_rows()) == {"PHQ-9": 9, "GAD-7": 7}


def test_an_embedded_total_stands_beside_the_answers(door: Door) -> None:
    total = item("/44261-6", {"valueDecimal": 15})
    landed = door(response(*(item(f"/{code}", {"valueInteger": 1}) for code in PHQ9), total))
    assert len(landed.rows("questionnaire_answers")) == 9
    row = landed.one("questionnaire_totals")
    assert (row["instrument_code"], row["total_value"]) == ("PHQ-9", 15.0)
    assert row["response_id"] in landed.facts("questionnaire_answers", "response_id")


def test_a_total_alone_says_nothing_of_items(door: Door) -> None:
    landed = door(response(item("44261-6", {"valueInteger": 15}), questionnaire="http://loinc.org/q/44249-1"))
    assert not landed.rows("questionnaire_answers")
    assert landed.facts("questionnaire_totals", "total_value") == [15.0]


def test_an_item_that_is_linked_to_nothing_is_not_the_item(door: Door) -> None:
    broken = [item(f"{PHQ9[0]}-unlinked", {"valueInteger": 3}), *(item(code, {"valueInteger": 0}) for code in PHQ9[1:])]
    assert answers(door(response(*broken)))[1] == ("missing", None)


# --- questionnaires that say what their items are -----------------------------------------------------------------


def _questionnaire(**fields: Any) -> Resource:
    options = [
        {
            "valueCoding": {"system": "http://example.org/often", "code": word},
            "extension": [{"url": ORDINAL, "valueDecimal": weight}],
        }
        for weight, word in enumerate(("never", "some", "many", "all"))
    ]
    items = [
        {"linkId": f"Q{n}", "type": "choice", "code": [{"system": LOINC, "code": code}], "answerOption": options}
        for n, code in enumerate(PHQ9[:2], start=1)
    ]
    url = "http://example.org/Questionnaire/two"
    return {"resourceType": "Questionnaire", "id": "two", "url": url, "status": "active", "item": items, **fields}


def _words(*words: str, **fields: Any) -> Resource:
    coded = ({"valueCoding": {"system": "http://example.org/often", "code": word}} for word in words)
    return response(*(item(f"Q{n}", answer) for n, answer in enumerate(coded, start=1)), **fields)


@pytest.mark.parametrize("form", ["bundle", "ndjson"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_the_form_may_stand_beside_its_responses(door: Door, form: str, comes_first: bool) -> None:
    filled = _words("many", "never", questionnaire="http://example.org/Questionnaire/two|2.1")
    landed = door(*((_questionnaire(), filled) if comes_first else (filled, _questionnaire())), form=form)
    assert answers(landed) == {1: ("answered", 2), 2: ("answered", 0)}
    assert set(landed.facts("questionnaire_answers", "answer_value_kind")) == {"scored_value"}
    assert landed.rules == {"not_contracted": 1}  # the form itself


def test_the_form_may_be_contained_and_its_weights_in_a_list_of_its_own(door: Door) -> None:
    items = [
        {"linkId": "G", "item": [{**one, "answerValueSet": "#often", "answerOption": []}]}
        for one in _questionnaire()["item"]
    ]
    concepts = [
        {"code": word, "extension": [{"url": WEIGHT, "valueDecimal": weight}]}
        for weight, word in enumerate(("never", "some", "many", "all"))
    ]
    often = {"resourceType": "ValueSet", "id": "often", "compose": {"include": [{"concept": concepts}]}}
    contained = [_questionnaire(id="own", item=items), often]
    landed = door(_words("all", "some", questionnaire="#own", contained=contained), form="ndjson")
    assert answers(landed) == {1: ("answered", 3), 2: ("answered", 1)}


# --- examples of others, written out by hand ----------------------------------------------------------------------


def test_the_phr_guides_gad7_response(door: Door) -> None:
    """HL7 PHR IG (CC BY 4.0), QuestionnaireResponseScoredAssessmentGAD7Example."""
    words = ("LA6568-5", "LA6568-5", "LA6569-3", "LA6569-3", "LA6568-5", "LA6569-3", "LA6568-5")
    given = zip(GAD7, words, strict=True)
    example = response(
        *(item(code, {"valueCoding": {"system": LOINC, "code": word}}) for code, word in given),
        id="gad7",
        questionnaire="http://hl7.org/fhir/uv/phr/Questionnaire/gad7",
        authored="2024-12-01T12:00:00+09:00",
    )
    landed = door(example)
    assert [value for _, value in answers(landed).values()] == [0, 0, 1, 1, 0, 1, 0]
    assert {str(day) for day in landed.facts("questionnaire_answers", "answered_local_date")} == {"2024-12-01"}
    assert {str(at) for at in landed.facts("questionnaire_answers", "answered_at")} == {"2024-12-01 03:00:00"}


def test_items_6_and_7_of_the_gad7_are_not_swapped(door: Door) -> None:
    """Public code exists that has them swapped: 69689-8 asks of irritability (6), 69736-7 of fear (7)."""
    landed = door(
        response(
            *(item(code, {"valueInteger": 0}) for code in GAD7[:5]),
            item("69689-8", {"valueInteger": 2}),
            item("69736-7", {"valueInteger": 3}),
        )
    )
    found = answers(landed)
    assert (found[6], found[7]) == (("answered", 2), ("answered", 3))
    keys = {
        row["loinc_code"]: row["item_key"]
        for row in definitions("instrument_items")
        if row["instrument_code"] == "GAD-7"
    }
    assert (keys["69689-8"], keys["69736-7"]) == ("irritable", "afraid")


@pytest.mark.parametrize(
    ("code", "instrument"),
    [
        ("44261-6", "PHQ-9"),
        ("89204-2", "PHQ-9M"),
        ("55758-7", "PHQ-2"),
        ("70274-6", "GAD-7"),
        ("75626-2", "AUDIT-C"),
        ("101698-9", "PCL-5"),
    ],
)
def test_a_total_is_of_the_instrument_that_its_code_names(code: str, instrument: str, door: Door) -> None:
    landed = door(
        resource("Observation", status="final", code=concept(LOINC, code), effectiveDateTime=NOON, valueInteger=3)
    )
    assert landed.facts("questionnaire_totals", "instrument_code", "total_value") == [(instrument, 3.0)]


@pytest.mark.parametrize("code", ["70221-7", "99046-5", "93374-7"])
def test_a_code_that_is_not_confirmed_is_no_total(code: str, door: Door) -> None:
    """70221-7 is the PCL-C, not the PCL-5; 99046-5 is not verified; 93374-7 is a level, no total."""
    landed = door(
        resource("Observation", status="final", code=concept(LOINC, code), effectiveDateTime=NOON, valueInteger=3)
    )
    assert landed.rows("questionnaire_totals") == []
    assert landed.rules == {"not_contracted": 1}


def test_loinc_codes_stand_only_where_one_is_confirmed() -> None:
    coded = {
        row["instrument_code"]: (row["loinc_panel"], row["loinc_total"])
        for row in definitions("instruments")
        if row["loinc_panel"] or row["loinc_total"]
    }
    assert coded == {
        "PHQ-9": ("44249-1", "44261-6"),
        "PHQ-9M": ("", "89204-2"),
        "PHQ-2": ("55757-9", "55758-7"),
        "GAD-7": ("69737-5", "70274-6"),
        "AUDIT-C": ("72109-2", "75626-2"),
        "PCL-5": ("101697-1", "101698-9"),
        "EPDS": ("71354-5", ""),
    }
    items = {row["instrument_code"] for row in definitions("instrument_items") if row["loinc_code"]}
    assert items == {"PHQ-9", "PHQ-8", "PHQ-2", "GAD-7", "GAD-2", "AUDIT-C", "C-SSRS-SCREEN"}


def test_yes_and_no_of_the_screener_are_answers(door: Door) -> None:
    codes = ("93246-7", "93247-5", "93248-3", "93249-1", "93250-9", "93267-3", "93269-9")
    landed = door(response(*(item(code, {"valueBoolean": code == codes[3]}) for code in codes)))
    assert set(landed.facts("questionnaire_answers", "instrument_code")) == {"C-SSRS-SCREEN"}
    assert [answers(landed)[number] for number in range(1, 8)] == [
        ("answered", int(number == 4)) for number in range(1, 8)
    ]


def test_the_phr_guides_scored_assessment_belongs_to_its_response(door: Door) -> None:
    """HL7 PHR IG (CC BY 4.0), ScoredAssessmentPHQ9Example: the total is a component, and what it rests on is named."""
    observation = resource(
        "Observation",
        status="final",
        code=concept("http://hl7.org/fhir/uv/phr/CodeSystem/pghd", "phq9"),
        effectiveDateTime="2021-10-01",
        issued="2021-10-01T12:00:00+09:00",
        derivedFrom=[{"reference": "QuestionnaireResponse/q1"}],
        component=[
            {"code": concept(LOINC, "44261-6"), "valueInteger": 3},
            {"code": concept("http://hl7.org/x", "phq9Risk"), "valueCodeableConcept": concept("http://hl7.org/y", "m")},
        ],
    )
    landed = door(phq9(0, 0, 1, 1, 1, 0, 0, 0, 0), observation)
    row = landed.one("questionnaire_totals")
    assert (row["total_value"], str(row["answered_local_date"])) == (3.0, "2021-10-01")
    assert {row["response_id"]} == set(landed.facts("questionnaire_answers", "response_id"))


def test_the_sdc_guides_adaptive_response_tells_its_total_only(door: Door) -> None:
    """HL7 SDC (CC0): only the total of the contained form has a code. The guide's own weights give 4 for the last
    answer, which nobody may learn from here: an item without a code is not mapped."""
    form = {
        "resourceType": "Questionnaire",
        "id": "contained-adaptive-questionnaire-example-phq9",
        "item": [
            {
                "linkId": "H1/T1",
                "item": [
                    {"linkId": "H1/T1/Q9", "type": "choice", "answerValueSet": "#VSPHQ9"},
                    {"linkId": "H1/TS", "type": "quantity", "code": [{"system": LOINC, "code": "44261-6"}]},
                ],
            }
        ],
    }
    example = response(
        {
            "linkId": "H1/T1",
            "item": [
                item("H1/T1/Q9", {"valueCoding": {"code": "Several-days"}}),
                item("H1/TS", {"valueQuantity": {"value": 13, "code": "1", "system": "http://unitsofmeasure.org"}}),
            ],
        },
        contained=[form],
        questionnaire=f"#{form['id']}",
        subject={"reference": "http://example.org/fhir/Patient/proband"},
        authored="2019-08-21T20:36:57.544Z",
    )
    landed = door(example)
    assert landed.facts("questionnaire_totals", "total_value") == [13.0]
    assert not landed.rows("questionnaire_answers")


# --- observations -------------------------------------------------------------------------------------------------


def _total(**fields: Any) -> Resource:
    base = {"status": "final", "code": concept(LOINC, "44261-6"), "effectiveDateTime": NOON, "valueInteger": 12}
    whole = resource("Observation", **{**base, **fields})
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"effectiveDateTime": "2024-03-01T23:30:00-05:00"}, ("2024-03-02 04:30:00", "2024-03-01")),
        ({"effectiveDateTime": "2024-03-01"}, ("2024-03-01 00:00:00", "2024-03-01")),
        ({"effectiveDateTime": None, "effectiveInstant": NOON}, ("2024-03-01 12:00:00", "2024-03-01")),
        (
            {"effectiveDateTime": None, "effectivePeriod": {"start": NOON, "end": "2024-03-02T12:00:00Z"}},
            ("2024-03-01 12:00:00", "2024-03-01"),
        ),
    ],
    ids=["offset", "day alone", "instant", "period"],
)
def test_the_local_day_stays_as_stated(door: Door, fields: Resource, at: tuple[str, str]) -> None:
    row = door(_total(**fields)).one("questionnaire_totals")
    assert (str(row["answered_at"]), str(row["answered_local_date"])) == at


def test_a_day_alone_begins_where_the_delivery_is(door: Door) -> None:
    row = door(_total(effectiveDateTime="2024-07-01"), delivery="time_zone: Europe/London\n").one(
        "questionnaire_totals"
    )
    assert (str(row["answered_at"]), str(row["answered_local_date"])) == ("2024-06-30 23:00:00", "2024-07-01")


@pytest.mark.parametrize("stated", ["2024", "2024-03"])
def test_a_year_or_a_month_is_no_day(door: Door, stated: str) -> None:
    patient = resource("Patient", birthDate=stated, deceasedDateTime=stated)
    condition = resource("Condition", code=concept(SNOMED, "35489007"), onsetDateTime=stated)
    landed = door(patient, condition, _total(effectiveDateTime=stated))
    assert landed.rules == {"partial_date": 2}
    person = landed.one("people")
    assert (person["birth_date"], person["deceased_date"], person["is_deceased"]) == (None, None, True)
    assert landed.lost_fields == [("birth_date", "partial_date"), ("deceased_date", "partial_date")]


@pytest.mark.parametrize(
    ("status", "lands_as"),
    [
        ("final", "completed"),
        ("corrected", "amended"),
        ("preliminary", "in_progress"),
        ("cancelled", "entered_in_error"),
    ],
)
def test_the_status_of_a_total_is_kept(door: Door, status: str, lands_as: str) -> None:
    assert door(_total(status=status)).facts("questionnaire_totals", "response_status") == [lands_as]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "unknown"}, ("unknown", 12.0, None)),
        (
            {"valueInteger": None, "dataAbsentReason": concept(ABSENT_SYSTEM, "asked-declined")},
            ("final", None, "asked_declined"),
        ),
    ],
    ids=["status that says nothing", "no value"],
)
def test_a_total_that_does_not_stand_is_an_observation_only(
    door: Door, fields: Resource, expected: tuple[Any, ...]
) -> None:
    """It must not vanish, since the latest score decides, and a total stated earlier must not stand in for it."""
    landed = door(_total(**fields))
    assert landed.facts("coded_observations", "observation_status", "value_number", "value_absent_reason") == [expected]
    assert not landed.rows("questionnaire_totals")
    assert landed.facts("record_deletions", "record_kind") == ["response"]


@pytest.mark.parametrize(
    "value", [{"valueString": "12"}, {"valueQuantity": {"value": 12, "comparator": "<"}}], ids=["text", "less than"]
)
def test_a_total_that_is_no_exact_number_is_held_back(door: Door, value: Resource) -> None:
    assert door(_total(valueInteger=None, **value)).rules == {"answer_form": 1}


def test_an_observation_and_a_form_of_one_id_are_two_responses(door: Door) -> None:
    landed = door(phq9(1, 1, 1, 1, 1, 1, 1, 1, 1, id="7"), _total(id="7"))
    assert not set(landed.facts("questionnaire_totals", "response_id")) & set(
        landed.facts("questionnaire_answers", "response_id")
    )


def test_a_panel_of_components_is_one_response(door: Door) -> None:
    parts = [{"code": concept(LOINC, code), "valueInteger": 2} for code in PHQ9[:8]]
    refused = {"code": concept(LOINC, PHQ9[8]), "dataAbsentReason": concept(ABSENT_SYSTEM, "asked-declined")}
    total = {"code": concept(LOINC, "44261-6"), "valueQuantity": {"value": 16, "code": "{score}"}}
    panel = _total(code=concept(LOINC, "44249-1"), valueInteger=None, component=[*parts, refused, total])
    landed = door(panel)
    assert answers(landed) == {**dict.fromkeys(range(1, 9), ("answered", 2)), 9: ("refused", None)}
    assert landed.facts("questionnaire_totals", "total_value") == [16.0]
    assert len(set(landed.facts("questionnaire_answers", "response_id"))) == 1


def test_items_sent_one_by_one_belong_together(door: Door) -> None:
    single = [
        _total(
            id=f"o{n}", code=concept(LOINC, code), valueInteger=None, valueCodeableConcept=concept(LOINC, "LA6569-3")
        )
        for n, code in enumerate(PHQ9)
    ]
    landed = door(*single)
    assert len(landed.rows("questionnaire_answers")) == 9
    assert len(set(landed.facts("questionnaire_answers", "response_id"))) == 1


def test_a_screening_result_and_a_refusal_of_it(door: Door) -> None:
    done = _total(id="s1", code=concept(LOINC, "73832-8"), valueInteger=None)
    done["valueCodeableConcept"] = concept(SNOMED, "428181000124104")
    refused = _total(id="s2", code=concept(LOINC, "73832-8"), valueInteger=None, effectiveDateTime=None)
    refused |= {
        "status": "cancelled",
        "issued": NOON,
        "extension": [
            {
                "url": "http://hl7.org/fhir/us/qicore/StructureDefinition/qicore-notDoneReason",
                "valueCodeableConcept": concept(SNOMED, "720834000"),
            }
        ],
    }
    weight = _total(id="s3", code=concept(LOINC, "29463-7"), valueInteger=None)
    weight["valueQuantity"] = {"value": 70, "code": "kg"}
    landed = door(done, refused, weight)
    assert landed.facts("coded_observations", "observation_status", "value_code", "not_done_reason_code") == [
        ("final", "428181000124104", None),
        ("cancelled", None, "720834000"),
    ]
    assert landed.rules == {"not_contracted": 1}


# --- people, cover, contacts, diagnoses, requests -----------------------------------------------------------------


def test_a_death_without_a_day_is_a_death(door: Door) -> None:
    people = [
        resource("Patient", id="a", deceasedBoolean=True),
        resource("Patient", id="b", deceasedDateTime="2024-03-01T10:00:00Z"),
        resource("Patient", id="c", deceasedBoolean=False),
        resource("Patient", id="d"),
    ]
    found = [(is_dead, str(day)) for is_dead, day in door(*people).facts("people", "is_deceased", "deceased_date")]
    assert found == [(True, "None"), (True, "2024-03-01"), (False, "None"), (None, "None")]


def test_the_british_ethnic_category_is_read(door: Door) -> None:
    extension = {
        "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-EthnicCategory",
        "valueCodeableConcept": concept("https://fhir.hl7.org.uk/CodeSystem/UKCore-EthnicCategory", "J"),
    }
    race = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": []}
    assert door(resource("Patient", extension=[race, extension])).facts("people", "ethnicity_code") == ["J"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1", ("medicare", None)),
        ("111", ("medicare", "managed_care")),
        ("81", ("self_pay", None)),
        ("5", ("commercial", None)),
        (None, (None, None)),
    ],
)
def test_a_cover_has_a_payer_and_no_number(door: Door, code: str | None, expected: tuple[Any, ...]) -> None:
    cover = resource(
        "Coverage",
        status="active",
        beneficiary=SUBJECT,
        subscriberId="123456789",
        period={"start": "2024-01-01", "end": "2024-12-31"},
        **({"type": concept("https://nahdo.org/sopt", code)} if code else {}),
    )
    landed = door(cover)
    row = landed.one("coverages")
    assert (row["payer_category"], row["plan_kind"]) == expected
    assert str(row["coverage_end_date"]) == "2024-12-31"
    assert landed.report["sources"][0]["files"][0]["fields_never_read"] == {"Coverage.subscriberId": 1}


def test_a_cover_of_a_kind_that_nobody_defined_is_held_back(door: Door) -> None:
    cover = resource("Coverage", status="active", beneficiary=SUBJECT, type=concept("http://example.org/plans", "x"))
    assert door(cover).rules == {"unknown_code": 1}


def _encounter(**fields: Any) -> Resource:
    period = {"start": "2024-03-01T23:30:00-05:00", "end": "2024-03-02T00:15:00-05:00"}
    base: Resource = {"status": "finished", "period": period}
    return resource("Encounter", **{**base, **fields})


def test_a_contact_has_its_codes_by_role(door: Door) -> None:
    depression = resource("Condition", id="c1", code=concept(SNOMED, "35489007"))
    contact = _encounter(
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
        type=[concept(CPT, "90791"), concept(SNOMED, "185317003")],
        serviceType=concept(SNOMED, "183524004"),
        reasonCode=[concept(ICD_10_CM, "F32.9")],
        hospitalization={"dischargeDisposition": concept(SNOMED, "428371000124100")},
        diagnosis=[{"condition": {"reference": "Condition/c1"}}],
    )
    landed = door(depression, contact)
    assert set(landed.facts("contact_codes", "code_role", "code_system", "code")) == {
        ("class", "hl7_act_code", "AMB"),
        ("type", "cpt", "90791"),
        ("type", "snomed_ct", "185317003"),
        ("service_type", "snomed_ct", "183524004"),
        ("reason", "icd_10_cm", "F32.9"),
        ("discharge_disposition", "snomed_ct", "428371000124100"),
        ("diagnosis", "snomed_ct", "35489007"),
    }
    row = landed.one("care_contacts")
    assert row["contact_status"] == "finished"
    assert (str(row["contact_local_date"]), str(row["contact_end_local_date"])) == ("2024-03-01", "2024-03-02")


def test_a_code_that_its_system_does_not_admit_costs_the_contact_that_code_only(door: Door) -> None:
    landed = door(_encounter(type=[concept(CPT, "90210"), concept(SNOMED, "185317003")]))
    assert landed.facts("contact_codes", "code") == ["185317003"]
    assert landed.lost_fields == [("code", "code_not_in_value_set")]
    assert landed.rules == {}


@pytest.mark.parametrize(
    ("status", "lands_as"), [("arrived", "in_progress"), ("onleave", "in_progress"), ("cancelled", "cancelled")]
)
def test_the_status_of_a_contact(door: Door, status: str, lands_as: str) -> None:
    assert door(_encounter(status=status)).facts("care_contacts", "contact_status") == [lands_as]


def test_a_diagnosis_lands_once_for_each_of_its_codes(door: Door) -> None:
    coded = {"coding": [*concept(SNOMED, "35489007")["coding"], *concept(ICD_10_CM, "F32.9", "F329")["coding"]]}
    status = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    condition = resource(
        "Condition",
        code=coded,
        category=[concept("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis")],
        clinicalStatus=concept(status, "recurrence"),
        verificationStatus=concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"),
        onsetPeriod={"start": "2024-03-01T10:00:00+02:00", "end": "2024-04-01"},
        abatementDateTime="2024-06-01",
        recordedDate="2024-03-05",
        encounter={"reference": "Encounter/e1"},
    )
    landed = door(condition)
    assert landed.facts("diagnoses", "code_system", "code") == [("snomed_ct", "35489007"), ("icd_10_cm", "F32.9")]
    assert landed.lost_fields == [("code", "code_form")]  # the form without its dot
    row = landed.rows("diagnoses")[0]
    assert (row["diagnosis_category"], row["clinical_status"]) == ("encounter_diagnosis", "recurrence")
    assert (str(row["onset_date"]), str(row["onset_at"])) == ("2024-03-01", "2024-03-01 08:00:00")
    assert (str(row["abatement_date"]), row["abatement_at"]) == ("2024-06-01", None)


def test_a_diagnosis_whose_every_code_is_refused_is_held_back(door: Door) -> None:
    own = resource("Condition", id="c1", code=concept("http://example.org/local", "depr"))
    bare = resource("Condition", id="c2", code=concept(ICD_10_CM, "F329"))
    assert door(own, bare).rules == {"not_contracted": 1, "code_form": 1}


@pytest.mark.parametrize(
    ("age", "day"), [({"value": 30, "code": "a"}, "2010-02-28"), ({"value": 2, "code": "wk"}, "1980-03-14")]
)
def test_an_onset_by_age_is_the_day_it_was_reached(door: Door, age: Resource, day: str) -> None:
    patient = resource("Patient", id="p1", birthDate="1980-02-29")
    landed = door(patient, resource("Condition", code=concept(SNOMED, "35489007"), onsetAge=age))
    assert [str(found) for found in landed.facts("diagnoses", "onset_date")] == [day]


def test_an_onset_that_is_no_day_is_told_and_the_diagnosis_kept(door: Door) -> None:
    alone = resource("Condition", code=concept(SNOMED, "35489007"), onsetAge={"value": 30, "code": "a"})
    landed = door(alone)
    assert landed.facts("diagnoses", "onset_date") == [None]
    assert landed.lost_fields == [("onset_date", "not_a_day")]


def test_a_procedure_done_and_one_not_done(door: Door) -> None:
    done = resource(
        "Procedure",
        id="a",
        status="completed",
        code=concept(SNOMED, "108313002"),
        performedPeriod={"start": NOON, "end": "2024-03-01T13:00:00Z"},
    )
    refused = resource(
        "Procedure",
        id="b",
        status="not-done",
        code=concept(SNOMED, "108313002"),
        performedDateTime="2024-03-01",
        statusReason=concept(SNOMED, "183932001"),
    )
    found = door(done, refused).facts("procedures", "procedure_status", "not_done_reason_code", "performed_local_date")
    assert [(status, reason, str(day)) for status, reason, day in found] == [
        ("completed", None, "2024-03-01"),
        ("not_done", "183932001", "2024-03-01"),
    ]


def test_requests_and_requests_that_something_is_not_done(door: Door) -> None:
    base: Resource = {"status": "active", "intent": "order", "authoredOn": NOON}
    referral = resource("ServiceRequest", code=concept(SNOMED, "183524004"), **base)
    not_done = resource(
        "ServiceRequest",
        code=concept(SNOMED, "183524004"),
        doNotPerform=True,
        reasonCode=[concept(SNOMED, "183932001")],
        **{**base, "intent": "original-order"},
    )
    medication = resource(
        "MedicationRequest",
        medicationCodeableConcept=concept(RXNORM, "1190110"),
        dispenseRequest={"expectedSupplyDuration": {"value": 4, "code": "wk"}},
        **base,
    )
    landed = door(referral, not_done, medication)
    assert landed.facts("service_requests", "request_intent", "is_do_not_perform", "reason_code") == [
        ("order", None, None),
        ("original_order", True, "183932001"),
    ]
    assert landed.facts("medications", "code", "supply_days", "request_status") == [("1190110", 28, "active")]


@pytest.mark.parametrize("form", ["bundle", "ndjson", "contained"])
def test_a_medication_may_stand_beside_its_request(door: Door, form: str) -> None:
    medication = {"resourceType": "Medication", "id": "m1", "code": concept(RXNORM, "1190110")}
    request = resource("MedicationRequest", status="active", intent="order", authoredOn=NOON)
    if form == "contained":
        landed = door({**request, "contained": [medication], "medicationReference": {"reference": "#m1"}})
    else:
        landed = door({**request, "medicationReference": {"reference": "Medication/m1"}}, medication, form=form)
    assert landed.facts("medications", "code") == ["1190110"]


def test_a_medication_that_did_not_come_along_is_told(door: Door) -> None:
    request = resource("MedicationRequest", status="active", intent="order", medicationReference={"reference": "M/1"})
    assert door(request).rules == {"reference_unresolved": 1}


# --- bundles ------------------------------------------------------------------------------------------------------


def test_an_address_in_a_bundle_is_the_resources_own_id(door: Door) -> None:
    patient = {"fullUrl": "urn:uuid:11111111-2222", "resource": resource("Patient", id="p1")}
    contact = {"fullUrl": "urn:uuid:3", "resource": _encounter(subject={"reference": "urn:uuid:11111111-2222"})}
    unnamed = {"fullUrl": "urn:uuid:44444444", "resource": {"resourceType": "Patient"}}
    landed = door(patient, contact, unnamed, form="entries")
    tokens = ingestion.person_tokens("fhir", ["p1", "44444444"], settings=landed.settings)
    assert landed.facts("people", "person_token") == [tokens["p1"], tokens["44444444"]]
    assert landed.facts("care_contacts", "person_token") == [tokens["p1"]]


def test_a_search_in_place_of_an_id_is_not_followed(door: Door) -> None:
    contact = _encounter(subject={"reference": "Patient?identifier=http://example.org|17"})
    unowned = phq9(1, 1, subject={"reference": "Patient?identifier=http://example.org|17"})
    assert door(contact, unowned).rules["reference_unresolved"] == 2


def test_deletions_name_the_record_by_the_id_it_landed_with(door: Door) -> None:
    def delete(url: str) -> Resource:
        return {"request": {"method": "DELETE", "url": url}}

    given = [
        {"resource": phq9(1, 1, id="q1")},
        {"resource": _total(id="o1")},
        {"resource": _encounter(id="e1")},
        delete("QuestionnaireResponse/q1"),
        delete("http://example.org/fhir/Observation/o1/_history/2"),
        delete("Encounter/e1"),
        delete("Claim/1"),
        delete("Observation?code=1"),
    ]
    landed = door(*given, form="entries")
    deleted = landed.facts("record_deletions", "record_kind", "record_id")
    assert [kind for kind, _ in deleted] == ["response", "observation", "response", "contact"]
    assert deleted[0][1] in landed.facts("questionnaire_answers", "response_id")
    assert deleted[2][1] in landed.facts("questionnaire_totals", "response_id")
    assert deleted[3][1] in landed.facts("care_contacts", "contact_id")
    assert landed.rules == {"not_contracted": 1, "reference_unresolved": 1}


def test_a_record_in_error_without_its_content_is_a_deletion(door: Door) -> None:
    bare = {"resourceType": "QuestionnaireResponse", "id": "q1", "status": "entered-in-error"}
    condition = resource(
        "Condition",
        verificationStatus=concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "entered-in-error"),
    )
    assert door(bare, condition).facts("record_deletions", "record_kind") == ["response", "diagnosis"]


def test_a_resource_of_a_wrong_shape_is_held_back_alone(door: Door) -> None:
    odd = {**_encounter(id="e2"), "status": ["finished"]}
    assert door(_encounter(id="e1"), odd).rules == {"invalid_record": 1}


def test_the_person_a_delivery_states_owns_its_records(door: Door) -> None:
    landed = door(resource("Patient", id="local-1"), _total(subject={"reference": "Patient/local-2"}), person="P7")
    token = ingestion.person_tokens("fhir", ["P7"], settings=landed.settings)["P7"]
    assert landed.facts("people", "person_token") == landed.facts("questionnaire_totals", "person_token") == [token]


def test_text_inside_an_answer_is_named_and_never_read(door: Door) -> None:
    deep = item("g", {"valueInteger": 1, "item": [item("why", {"valueString": "Zwanariel"})]})
    landed = door(response(deep, item(PHQ9[0], {"valueInteger": 1}), item(PHQ9[1], {"valueInteger": 1})))
    found = landed.report["sources"][0]["files"][0]["fields_never_read"]
    assert found == {"QuestionnaireResponse.item.answer.valueString": 1}
    assert len(landed.rows("questionnaire_answers")) == 2
