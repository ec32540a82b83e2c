"""Questionnaires: forms and observations to answers and totals of the instruments we know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import orjson

from ingestion.batches import Row
from ingestion.sources.fhir.elements import (
    Resource,
    codings,
    listed,
    mapping,
    moment,
    number,
    objects,
    plain_quantity,
    reference_of,
    source,
    text,
    word,
)
from ingestion.sources.fhir.instruments import (
    asked,
    code_in,
    codes_of,
    item_bounds,
    items_by_code,
    panel_in,
    panels,
    totals,
)
from ingestion.sources.fhir.surroundings import Reading, absent_reason, last_updated
from screening.definitions import definitions

ANSWERS, TOTALS = "questionnaire_answers", "questionnaire_totals"
_SCORED = "scored_value"


class Answer(NamedTuple):
    """What an answer says: its state, its value and kind, or the rule it breaks."""

    state: str | None
    value: str | None = None
    kind: str | None = None
    rule: str | None = None


MISSING = Answer("missing")


@dataclass(frozen=True)
class Form:
    """What a Questionnaire adds to its responses: codes of its panel and items, weights of its options."""

    panel: frozenset[str] = frozenset()
    codes: dict[str, str] | None = None  # linkId -> code
    weights: dict[tuple[str, str], str] | None = None  # (linkId, option) -> weight


_NO_FORM = Form()


@cache
def _known_answers() -> dict[tuple[str | None, str], Answer]:
    """(system, code) -> what it says. A code sent without its system is taken at its word."""
    found: dict[tuple[str | None, str], Answer] = {}
    for row in definitions("answer_codes"):
        value = row["answer_value"] or None
        answer = Answer(row["answer_state"], value, _SCORED if value else None)
        found[row["code_system"], row["code"]] = answer
        found.setdefault((None, row["code"]), answer)
    return found


@cache
def _uncoded_answers() -> dict[tuple[str, int, str], str]:
    """(instrument, item, bare number) -> state, where a product uses a number for what is no answer."""
    return {
        (row["instrument_code"], int(row["item_number"]), row["answer_value"]): row["answer_state"]
        for row in definitions("uncoded_answers")
    }


@cache
def _weight_urls() -> frozenset[str]:
    return frozenset(source()["weight_extensions"])


@cache
def _refused_values() -> tuple[str, ...]:
    return tuple(source()["answer_values_refused"])


@cache
def _never_read() -> tuple[str, ...]:
    return tuple(source()["answer_identifier_fields"])


def _weight(element: Resource) -> str | None:
    for extension in listed(element.get("extension")):
        if mapping(extension).get("url") in _weight_urls():
            found = number(extension.get("valueDecimal", extension.get("valueInteger")))
            if found is not None:
                return found
    return None


def answer_of(element: Resource, *, around: Sequence[Any] = (), form: Form = _NO_FORM, link: str = "") -> Answer:
    """What one answer, component or observation says.

    A code of an answer list has one meaning, so it wins over a weight written beside it; the form's own weights come
    last. ``around`` are the elements that may say why there is no value.
    """
    coded = objects(element.get("valueCoding")) or codings(element.get("valueCodeableConcept"))
    coded = coded or codings(element.get("dataAbsentReason"))
    if coded:
        known = _known_answers()
        for coding in coded:
            if (said := known.get((text(coding.get("system")), str(coding.get("code"))))) is not None:
                return said
        weights = form.weights or {}
        for coding in coded:
            weight = _weight(coding) or weights.get((link, str(coding.get("code"))))
            if weight is not None:
                return Answer("answered", weight, _SCORED)
        weight = _weight(element)
        return Answer("answered", weight, _SCORED) if weight is not None else Answer(None, rule="unknown_code")
    for name in ("valueInteger", "valueDecimal"):
        if name in element:
            value = number(element[name])
            return Answer("answered", value) if value is not None else Answer(None, rule="answer_form")
    if "valueQuantity" in element:
        value = plain_quantity(element["valueQuantity"])
        return Answer("answered", value) if value is not None else Answer(None, rule="answer_form")
    if "valueBoolean" in element:
        return Answer("answered", str(int(element["valueBoolean"] is True)), "boolean")
    if any(name in element for name in _refused_values()):
        return Answer(None, rule="answer_form")
    primitives = (element.get("_valueCoding"), element.get("_valueInteger"))
    reason = absent_reason(source()["absent_reason_extension"], element, *primitives, *around)
    if reason is not None:
        absent = _known_answers().get((source()["absent_reason_system"], reason))
        return absent if absent is not None else Answer(None, rule="unknown_code")
    return MISSING


def as_meant_by(answer: Answer, instrument: str, item: int) -> Answer:
    """The answer as this item means it."""
    if answer.kind == "boolean":
        is_yes_or_no = item_bounds(instrument) == (0, 1)
        return Answer("answered", answer.value, _SCORED) if is_yes_or_no else Answer(None, rule="answer_form")
    if answer.kind is None and answer.value is not None:
        state = _uncoded_answers().get((instrument, item, answer.value))
        return Answer(state) if state is not None else answer
    return answer


# --- forms --------------------------------------------------------------------------------------------------------


def form_of(questionnaire: Resource) -> Form:
    """Codes and weights of a Questionnaire."""
    system = source()["item_code_system"]
    found_codes: dict[str, str] = {}
    weights: dict[tuple[str, str], str] = {}
    panel = {str(c.get("code")) for c in objects(questionnaire.get("code")) if c.get("system") == system}
    lists = {f"#{one.get('id')}": one for one in objects(questionnaire.get("contained"))}
    for item in _walk(questionnaire.get("item")):
        link = str(item.get("linkId"))
        for coding in objects(item.get("code")):
            if coding.get("system") == system:
                found_codes.setdefault(link, str(coding.get("code")))
        for option in objects(item.get("answerOption")):
            coding = mapping(option.get("valueCoding"))
            weight = _weight(option) or _weight(coding)
            if weight is not None:
                weights[link, str(coding.get("code"))] = weight
        for concept in _concepts(lists.get(str(item.get("answerValueSet")))):
            if (weight := _weight(concept)) is not None:
                weights.setdefault((link, str(concept.get("code"))), weight)
    panel |= {code for code in found_codes.values() if code in panels()}
    return Form(frozenset(panel), found_codes, weights)


def _concepts(value_set: Resource | None) -> Iterator[Resource]:
    if value_set is not None:
        for include in objects(mapping(value_set.get("compose")).get("include")):
            yield from objects(include.get("concept"))
        yield from objects(mapping(value_set.get("expansion")).get("contains"))


class Forms:
    """Forms already looked up, by the address their responses name."""

    def __init__(self) -> None:
        self._forms: dict[str, Form] = {}

    def of(self, resource: Resource, reading: Reading) -> Form:
        """The form of a response: contained in it, or beside it in its bundle or file."""
        address = text(resource.get("questionnaire"))
        if address is None:
            return _NO_FORM
        if address.startswith("#"):
            own = reading.around.find("Questionnaire", address, resource)
            if own is None:
                return _NO_FORM
            lists = [*listed(own.get("contained")), *listed(resource.get("contained"))]
            return form_of({**own, "contained": lists})
        if address not in self._forms:
            beside = reading.around.find("Questionnaire", address, resource)
            form = form_of(beside) if beside else _NO_FORM
            self._forms[address] = Form(form.panel | panel_in(address), form.codes, form.weights)
        return self._forms[address]


def _walk(items: Any) -> Iterator[Resource]:
    for item in listed(items):
        if isinstance(item, dict):
            yield item
            if "item" in item:
                yield from _walk(item["item"])
            for answer in listed(item.get("answer")):
                if isinstance(answer, dict) and "item" in answer:
                    yield from _walk(answer["item"])


# --- responses ----------------------------------------------------------------------------------------------------


def questionnaire_response(resource: Resource, reading: Reading, forms: Forms) -> None:
    """A filled-in form: one row for each item of each instrument it asks, answered or not, and its totals."""
    status, authored = resource.get("status"), text(resource.get("authored"))
    base: Row = {
        "person_code": reading.owner(resource, "subject"),
        "contact_code": reading.contact(resource),
        "answered_at": moment(authored, reading.time_zone),
        "response_status": source()["statuses"]["QuestionnaireResponse"].get(status) or word(status),
        "recorded_at": last_updated(resource) or moment(authored, reading.time_zone),
    }
    form = forms.of(resource, reading)
    by_link = form.codes or {}
    found: dict[str, Answer] = {}
    for item in _walk(resource.get("item")):
        link = str(item.get("linkId"))
        answers = [answer for answer in listed(item.get("answer")) if isinstance(answer, dict)]
        for answer in answers:
            for name in _never_read():
                if name in answer:
                    reading.never_read(f"QuestionnaireResponse.item.answer.{name}")
        code = by_link.get(link) or code_in(link)
        if code is None or (code not in items_by_code() and code not in totals()):
            continue
        if code in found or len(answers) > 1:
            reading.fault("item.answer", "answer_repeated")
        given = answers[0] if answers else {}
        found.setdefault(code, answer_of(given, around=(item,), form=form, link=link))
    if reading.own_id is None:
        base["response_code"] = _code_without_id(resource, base)
    else:
        base["response_code"] = reading.own_id
    if not add_answers(found, form.panel, base, reading):
        reading.fault("item", "not_contracted")


def add_answers(found: dict[str, Answer], panel: frozenset[str], base: Row, reading: Reading) -> bool:
    """Rows of the instruments that a form asks; false when it asks none.

    A form is stated whole: an item of its instruments that does not stand in it has no answer. A total alone says
    nothing of items.
    """
    instruments = asked(frozenset(found), panel)
    for instrument, present in instruments:
        numbers = codes_of(instrument) if present or not found else {}
        if present or not found:
            for code, item in numbers.items():
                answer = as_meant_by(found.get(code, MISSING), instrument, item)
                if answer.rule is not None:
                    reading.fault("item.answer", answer.rule)
                    continue
                reading.add(
                    ANSWERS,
                    {
                        **base,
                        "instrument_code": instrument,
                        "item_number": str(item),
                        "answer_state": answer.state,
                        "answer_value": answer.value,
                        "answer_value_kind": answer.kind,
                    },
                )
    has_total = False
    for code, instrument in totals().items():
        total = found.get(code)
        if total is None:
            continue
        has_total = True
        if total.rule is not None:
            reading.fault("item.answer", total.rule)
        elif total.value is not None:
            reading.add(TOTALS, {**base, "instrument_code": instrument, "total_value": total.value})
    return bool(instruments) or has_total


def _code_without_id(resource: Resource, base: Row) -> str:
    """Person, encounter and time; where no person is named, the content, so that two strangers' forms stay two."""
    if base["person_code"] is None:
        return hashlib.sha256(orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return "|".join(str(base[key]) for key in ("person_code", "contact_code", "answered_at"))


def response_behind(resource: Resource, reading: Reading) -> str | None:
    """The response that an observation was derived from: its answers and totals are that response's."""
    for entry in objects(resource.get("derivedFrom")):
        reference = reference_of(entry)
        if reference is not None and "QuestionnaireResponse/" in reference:
            return reading.id_of(reference)
    return None
