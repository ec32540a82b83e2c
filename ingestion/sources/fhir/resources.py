"""People, cover, contacts, diagnoses, procedures and requests: one function a kind of resource."""

from __future__ import annotations

from functools import cache

from ingestion.batches import Row
from ingestion.sources.fhir.elements import (
    Resource,
    age_later,
    boolean,
    codes,
    codings,
    day,
    first_code,
    first_word,
    has_time,
    mapping,
    moment,
    number,
    objects,
    reference_of,
    source,
    text,
    word,
)
from ingestion.sources.fhir.surroundings import Reading, last_updated
from screening.definitions import definitions


def patient(resource: Resource, reading: Reading) -> None:
    """A person. A death without a day is a death all the same."""
    died_on = text(resource.get("deceasedDateTime"))
    died = "true" if died_on else boolean(resource.get("deceasedBoolean"))
    reading.add(
        "people",
        {
            "person_code": reading.person or reading.own_id,
            "birth_date": text(resource.get("birthDate")),
            "sex": text(resource.get("gender")),
            "ethnicity_code": _ethnicity(resource),
            "is_deceased": died,
            "deceased_date": day(died_on),
            "recorded_at": last_updated(resource),
        },
    )


def _ethnicity(resource: Resource) -> str | None:
    urls = source()["ethnicity_extensions"]
    for extension in objects(resource.get("extension")):
        if extension.get("url") in urls:
            return next((text(c.get("code")) for c in codings(extension.get("valueCodeableConcept"))), None)
    return None


@cache
def _payers() -> list[tuple[str, str, bool, str | None, str | None]]:
    """Longest code first: a beginning counts only where nothing longer is known."""
    rows = sorted(definitions("payer_categories"), key=lambda row: -len(row["code"]))
    return [
        (
            row["fhir_url"],
            row["code"],
            row["is_beginning"] == "true",
            row["payer_category"] or None,
            row["plan_kind"] or None,
        )
        for row in rows
    ]


@cache
def _payer(system: str, code: str) -> tuple[str | None, str | None] | None:
    for url, known, is_beginning, category, plan in _payers():
        if url == system and (code == known or (is_beginning and code.startswith(known))):
            return category, plan
    return None


def coverage(resource: Resource, reading: Reading) -> None:
    """A cover. Its number, its group and its holder are never read."""
    stated = codings(resource.get("type"))
    known = [found for c in stated if (found := _payer(str(c.get("system")), str(c.get("code"))))]
    if stated and not known:
        reading.fault("type", "unknown_code")
    period = mapping(resource.get("period"))
    reading.add(
        "coverages",
        {
            "coverage_code": reading.own_id,
            "person_code": reading.owner(resource, "beneficiary"),
            "payer_category": next((category for category, _ in known if category), None),
            "plan_kind": next((plan for _, plan in known if plan), None),
            "coverage_status": word(resource.get("status")),
            "coverage_start_date": day(text(period.get("start"))),
            "coverage_end_date": day(text(period.get("end"))),
            "recorded_at": last_updated(resource),
        },
    )


def encounter(resource: Resource, reading: Reading) -> None:
    """A contact and its codes."""
    period = mapping(resource.get("period"))
    status = resource.get("status")
    in_error = status == source()["entered_in_error"]
    base: Row = {
        "contact_code": reading.own_id,
        "person_code": reading.owner(resource, "subject"),
        "record_status": "entered_in_error" if in_error else "active",
        "recorded_at": last_updated(resource),
    }
    reading.add(
        "care_contacts",
        {
            **base,
            "contact_at": moment(text(period.get("start")), reading.time_zone),
            "contact_end_at": moment(text(period.get("end")), reading.time_zone),
            "contact_status": source()["statuses"]["Encounter"].get(status) or word(status),
        },
    )
    roles = {
        "class": objects(resource.get("class")),
        "type": codings(resource.get("type")),
        "service_type": codings(resource.get("serviceType")),
        "reason": codings(resource.get("reasonCode")),
        "discharge_disposition": codings(mapping(resource.get("hospitalization")).get("dischargeDisposition")),
        "diagnosis": _diagnoses_of(resource, reading),
    }
    for role, found in roles.items():
        for system, code in codes("contact_codes", found) if found else ():
            reading.add("contact_codes", {**base, "code_role": role, "code_system": system, "code": code})


def _diagnoses_of(resource: Resource, reading: Reading) -> list[Resource]:
    """Codes of the conditions a contact names, where they came in the same bundle."""
    found = []
    for entry in objects(resource.get("diagnosis")):
        condition = reading.around.find("Condition", reference_of(entry.get("condition")), resource)
        found += codings(condition.get("code")) if condition else []
    return found


def condition(resource: Resource, reading: Reading) -> None:
    """A diagnosis, once for each of its codes."""
    found = codes("diagnoses", codings(resource.get("code")))
    if not found:
        reading.fault("code", "not_contracted")
        return
    onset, end = _onset(resource, "onset", "start", reading), _onset(resource, "abatement", "end", reading)
    base: Row = {
        "diagnosis_code_id": reading.own_id,
        "person_code": reading.owner(resource, "subject"),
        "contact_code": reading.contact(resource),
        "diagnosis_category": first_word(resource.get("category"), source()["categories"]["Condition"]),
        "clinical_status": word(next((c.get("code") for c in codings(resource.get("clinicalStatus"))), None)),
        "verification_status": word(next((c.get("code") for c in codings(resource.get("verificationStatus"))), None)),
        "recorded_date": day(text(resource.get("recordedDate"))),
        "onset_date": day(onset),
        "onset_at": onset if has_time(onset) else None,
        "abatement_date": day(end),
        "abatement_at": end if has_time(end) else None,
        "recorded_at": last_updated(resource),
    }
    for system, code in found:
        reading.add("diagnoses", {**base, "code_system": system, "code": code})


def _onset(resource: Resource, name: str, bound: str, reading: Reading) -> str | None:
    """A day or time; of a period its bound; of an age the day it was reached, where the birth date came along."""
    stated = text(resource.get(f"{name}DateTime")) or text(mapping(resource.get(f"{name}Period")).get(bound))
    if stated is not None:
        return stated
    age = resource.get(f"{name}Age")
    if isinstance(age, dict):
        person = reading.around.find("Patient", reference_of(resource.get("subject")), resource) or {}
        stated = age_later(text(person.get("birthDate")), age)
    if stated is None and any(f"{name}{kind}" in resource for kind in ("Age", "Range", "String")):
        reading.lose("diagnoses", f"{name}_date", "not_a_day")
    return stated


def procedure(resource: Resource, reading: Reading) -> None:
    """A procedure, done or not, once for each of its codes."""
    found = codes("procedures", codings(resource.get("code")))
    if not found:
        reading.fault("code", "not_contracted")
        return
    period = mapping(resource.get("performedPeriod"))
    start = text(resource.get("performedDateTime")) or text(period.get("start"))
    if start is None and any(f"performed{kind}" in resource for kind in ("Age", "Range", "String")):
        reading.lose("procedures", "performed_start_at", "not_a_day")
    reason_system, reason = first_code("procedures", resource.get("statusReason"), "not_done_reason_code_system")
    base: Row = {
        "procedure_record_code": reading.own_id,
        "person_code": reading.owner(resource, "subject"),
        "contact_code": reading.contact(resource),
        "procedure_status": word(resource.get("status")),
        "performed_start_at": moment(start, reading.time_zone),
        "performed_end_at": moment(text(period.get("end")), reading.time_zone),
        "not_done_reason_code_system": reason_system,
        "not_done_reason_code": reason,
        "recorded_at": last_updated(resource),
    }
    for system, code in found:
        reading.add("procedures", {**base, "code_system": system, "code": code})


def service_request(resource: Resource, reading: Reading) -> None:
    """A request for a service, once for each of its codes."""
    _request(resource, codings(resource.get("code")), "service_requests", "service_request_code", {}, reading)


def medication_request(resource: Resource, reading: Reading) -> None:
    """A request for a medication, once for each of its codes; the medication may stand beside it in the bundle."""
    found = codings(resource.get("medicationCodeableConcept"))
    if not found and "medicationReference" in resource:
        medication = reading.around.find("Medication", reference_of(resource["medicationReference"]), resource)
        if medication is None:
            reading.fault("medicationReference", "reference_unresolved")
            return
        found = codings(medication.get("code"))
    supply = {"supply_days": _supply_days(mapping(resource.get("dispenseRequest")))}
    _request(resource, found, "medications", "medication_request_code", supply, reading)


def _request(
    resource: Resource, coded: list[Resource], stream: str, id_column: str, extra: Row, reading: Reading
) -> None:
    found = codes(stream, coded)
    if not found:
        reading.fault("code", "not_contracted")
        return
    reason_system, reason = first_code(stream, resource.get("reasonCode"), "reason_code_system")
    if reason is None:
        reason_system, reason = first_code(stream, reason_extension(resource), "reason_code_system")
    base: Row = {
        id_column: reading.own_id,
        "person_code": reading.owner(resource, "subject"),
        "contact_code": reading.contact(resource),
        "request_status": word(resource.get("status")),
        "request_intent": word(resource.get("intent")),
        "is_do_not_perform": boolean(resource.get("doNotPerform")),
        "authored_at": moment(text(resource.get("authoredOn")), reading.time_zone),
        "reason_code_system": reason_system,
        "reason_code": reason,
        "recorded_at": last_updated(resource),
        **extra,
    }
    for system, code in found:
        reading.add(stream, {**base, "code_system": system, "code": code})


def reason_extension(resource: Resource) -> list[Resource]:
    """Why something was not done, where a profile says so in an extension."""
    urls = source()["reason_extensions"]
    return [
        mapping(extension.get("valueCodeableConcept"))
        for extension in objects(resource.get("extension"))
        if extension.get("url") in urls
    ]


def _supply_days(dispense: Resource) -> str | None:
    supply = mapping(dispense.get("expectedSupplyDuration"))
    days, value = source()["days_per_unit"].get(supply.get("code") or supply.get("unit")), supply.get("value")
    if days is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    total = number(value * days)
    return total if total is not None and "." not in total else None
