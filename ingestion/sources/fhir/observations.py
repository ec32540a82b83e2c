"""Observations: totals and items of instruments, and the coded results that measures ask for."""

from __future__ import annotations

from pathlib import Path

from ingestion import clinical_codes
from ingestion.batches import Row
from ingestion.sources.fhir.elements import (
    Resource,
    boolean,
    codes,
    codings,
    first_code,
    first_word,
    mapping,
    moment,
    number,
    objects,
    plain_quantity,
    source,
    text,
    word,
)
from ingestion.sources.fhir.instruments import items_by_code, panels, totals
from ingestion.sources.fhir.questionnaires import (
    ANSWERS,
    Answer,
    add_answers,
    answer_of,
    as_meant_by,
    response_behind,
)
from ingestion.sources.fhir.resources import reason_extension
from ingestion.sources.fhir.surroundings import Reading, last_updated

CODED = "coded_observations"


def measured_codes(value_sets: Path | None) -> frozenset[tuple[str, str]]:
    """(code system, code) of every value-set member: what a measure may ask of an observation."""
    local = clinical_codes.local_members(value_sets) if value_sets is not None else None
    rows = [*clinical_codes.known_members().iter_rows(), *(local.iter_rows() if local is not None else ())]
    return frozenset((str(system), str(code)) for system, code in rows)


def observation(resource: Resource, reading: Reading) -> None:
    """An observation, or several: its own code and those of its components are read alike.

    A total with a value is a questionnaire total. A total that has no value, or whose status does not say that it
    stands, is a coded observation only, and what was stated of it as a total before is withdrawn.
    """
    components = objects(resource.get("component"))
    parts = [(resource, codings(resource.get("code"))), *((one, codings(one.get("code"))) for one in components)]
    base = _response_base(resource, reading)
    loinc = source()["item_code_system"]
    found: dict[str, Answer] = {}
    panel: set[str] = set()
    is_read = False
    for element, coded in parts:
        is_total = False
        for code in (str(c.get("code")) for c in coded if c.get("system") == loinc):
            panel |= {code} & panels().keys()
            if code in totals():
                is_total = True
                answer = answer_of(element)
                if answer.rule == "answer_form":
                    reading.fault("value", answer.rule)
                elif answer.value is not None and base["response_status"] is not None:
                    found[code] = answer
                    continue
                if element is resource:
                    _withdraw_total(base, reading)
                is_read |= _coded(resource, element, [c for c in coded if c.get("code") == code], reading, always=True)
            elif code in items_by_code():
                found[code] = answer_of(element)
        is_read |= _coded(resource, element, [c for c in coded if not is_total or c.get("system") != loinc], reading)
    own_items = [c["code"] for c in parts[0][1] if c.get("system") == loinc and c.get("code") in items_by_code()]
    if own_items and not components:
        _single_item(own_items[0], found, base, reading)
    elif found:
        add_answers(found, frozenset(panel), base, reading)
    elif not is_read:
        reading.fault("code", "not_contracted")


def _response_base(resource: Resource, reading: Reading) -> Row:
    period = mapping(resource.get("effectivePeriod"))
    at = text(resource.get("effectiveDateTime")) or text(resource.get("effectiveInstant")) or text(period.get("start"))
    issued = text(resource.get("issued"))
    return {
        # Ids are unique by kind of resource only: an observation and a form may have the same.
        "response_code": response_behind(resource, reading) or f"Observation/{reading.own_id}",
        "person_code": reading.owner(resource, "subject"),
        "contact_code": reading.contact(resource),
        "answered_at": moment(at, reading.time_zone),
        "response_status": source()["statuses"]["Observation"].get(resource.get("status")),
        "recorded_at": last_updated(resource) or issued,
    }


def _single_item(code: str, found: dict[str, Answer], base: Row, reading: Reading) -> None:
    """Items sent one by one belong together when they share a form, or else person, encounter and time."""
    instrument, item = items_by_code()[code][-1]
    answer = as_meant_by(found[code], instrument, item)
    if answer.rule is not None:
        reading.fault("value", answer.rule)
        return
    response = base["response_code"]
    if response == f"Observation/{reading.own_id}":
        response = "|".join(str(base[key]) for key in ("person_code", "contact_code", "answered_at"))
        response = f"{response}|{instrument}"
    reading.add(
        ANSWERS,
        {
            **base,
            "response_code": response,
            "instrument_code": instrument,
            "item_number": str(item),
            "answer_state": answer.state,
            "answer_value": answer.value,
            "answer_value_kind": answer.kind,
        },
    )


def _withdraw_total(base: Row, reading: Reading) -> None:
    reading.add(
        "record_deletions",
        {"record_kind": "response", "record_code": base["response_code"], "recorded_at": base["recorded_at"]},
    )


def _coded(
    resource: Resource, element: Resource, coded: list[Resource], reading: Reading, *, always: bool = False
) -> bool:
    """Rows of the codes that a measure asks for; false when there are none."""
    found = [pair for pair in codes(CODED, coded) if always or pair in reading.measured]
    if not found:
        return False
    value_system, value = first_code(CODED, element.get("valueCodeableConcept"), "value_code_system")
    if value is None and "valueCodeableConcept" in element:
        reading.lose(CODED, "value_code", "unknown_code")
    value_number = number(element.get("valueInteger")) or plain_quantity(element.get("valueQuantity"))
    if value_number is None and "valueQuantity" in element:
        reading.lose(CODED, "value_number", "not_contracted")
    reason_system, reason = first_code(CODED, reason_extension(resource), "not_done_reason_code_system")
    absent_system = source()["absent_reason_system"]
    absent = [c for c in codings(element.get("dataAbsentReason")) if c.get("system") == absent_system]
    period = mapping(resource.get("effectivePeriod"))
    at = text(resource.get("effectiveDateTime")) or text(resource.get("effectiveInstant")) or text(period.get("start"))
    if at is None and "effectiveTiming" in resource:
        reading.lose(CODED, "effective_at", "not_a_day")
    issued = text(resource.get("issued"))
    row: Row = {
        "observation_record_code": reading.own_id,
        "person_code": reading.owner(resource, "subject"),
        "contact_code": reading.contact(resource),
        "observation_status": word(resource.get("status")),
        "observation_category": first_word(resource.get("category"), source()["categories"]["Observation"]),
        "value_code_system": value_system,
        "value_code": value,
        "is_value_true": boolean(element.get("valueBoolean")),
        "value_number": value_number,
        "value_absent_reason": word(absent[0].get("code")) if absent else None,
        "effective_at": moment(at, reading.time_zone),
        "effective_end_at": moment(text(period.get("end")), reading.time_zone),
        "issued_at": moment(issued, reading.time_zone),
        "not_done_reason_code_system": reason_system,
        "not_done_reason_code": reason,
        "recorded_at": last_updated(resource) or issued,
    }
    for system, code in found:
        reading.add(CODED, {**row, "code_system": system, "code": code})
    return True
