"""FHIR R4: resources to rows of the contracts. Only contracted fields are read; everything else stays in the file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
import yaml

from ingestion.batches import Batch, ReadContext, Recognition, Row
from ingestion.files import WHOLE_DOCUMENT_LIMIT_BYTES, SourceFile, open_bytes
from ingestion.problems import RefusedFile
from ingestion.reading import read_ndjson_records
from screening.definitions import definitions

Resource = dict[str, Any]
_HEAD_BYTES = 64 << 10
_BATCH_RECORDS = 20_000
_LOINC = "http://loinc.org"
_ORDINAL = re.compile(r"/(ordinalValue|itemWeight|iso21090-CO-value)$")
_LINK_ID = re.compile(r"^/?(?:[^/]+/)*(\d{3,6}-\d)$")


@cache
def source() -> dict[str, Any]:
    """The source's mapping."""
    text = files(__package__).joinpath("source.yml").read_text(encoding="utf-8")
    body: dict[str, Any] = yaml.safe_load(text)
    return body


@cache
def _instruments() -> dict[str, tuple[tuple[str, int], ...]]:
    """Item LOINC -> (instrument, item number), smallest instrument first."""
    sizes = {row["instrument_code"]: int(row["item_count"]) for row in definitions("instruments")}
    found: dict[str, list[tuple[str, int]]] = {}
    for row in definitions("instrument_items"):
        if row["loinc_code"]:
            found.setdefault(row["loinc_code"], []).append((row["instrument_code"], int(row["item_number"])))
    return {code: tuple(sorted(items, key=lambda item: sizes[item[0]])) for code, items in found.items()}


@cache
def _by_loinc(column: str) -> dict[str, str]:
    return {row[column]: row["instrument_code"] for row in definitions("instruments") if row[column]}


@cache
def _answers() -> dict[str, tuple[str, str]]:
    return {row["code"]: (row["answer_state"], row["answer_value"]) for row in definitions("answer_codes")}


@cache
def _item_counts() -> dict[str, int]:
    return {row["instrument_code"]: int(row["item_count"]) for row in definitions("instruments")}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _reference(resource: Resource, field_name: str) -> str | None:
    """The id a reference points to: ``Patient/x``, ``urn:uuid:x`` and an absolute address give ``x``."""
    value = resource.get(field_name)
    reference = _text(value.get("reference")) if isinstance(value, dict) else None
    return plain_id(reference)


def plain_id(reference: str | None) -> str | None:
    """An id without resource type, address or ``urn:uuid:``."""
    if reference is None:
        return None
    return reference.removeprefix("urn:uuid:").split("/_history/")[0].rsplit("/", 1)[-1] or None


def _codings(resource: Resource, field_name: str) -> list[Resource]:
    value = resource.get(field_name)
    return [c for c in _as_list(value.get("coding")) if isinstance(c, dict)] if isinstance(value, dict) else []


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """Whether the file carries FHIR's own signature for a bundle or a contracted resource."""
    name = re.search(str(context.spec["file_names"]), file.name)
    if not name:
        return None
    known = {*context.spec["resources"], "Bundle"}
    try:
        if name["form"] == "ndjson":
            _, record = next(read_ndjson_records(file, limit_bytes=context.limit_bytes))
            is_known = isinstance(record, dict) and record.get("resourceType") in known
        else:
            with open_bytes(file, limit_bytes=context.limit_bytes) as stream:
                head = stream.read(_HEAD_BYTES)
            found = re.search(rb'"resourceType"\s*:\s*"([A-Za-z]+)"', head)
            is_known = found is not None and found.group(1).decode() in known
    except RefusedFile:
        is_known = any(file.name.startswith(resource) for resource in known)
    return Recognition(form=name["form"]) if is_known else None


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """Batches of a file's resources. Raises ``RefusedFile`` when it is not JSON, or cut off."""
    batch = Batch()
    for number, resource in _records(file, recognition.form, limit_bytes=context.limit_bytes):
        batch.records += 1
        if resource is None:
            batch.faults.append((number, "resourceType", "invalid_record"))
        else:
            _read_resource(resource, number, batch)
        if batch.records >= _BATCH_RECORDS:
            yield batch
            batch = Batch()
    yield batch


def _records(file: SourceFile, form: str, *, limit_bytes: int) -> Iterator[tuple[int, Resource | None]]:
    if form == "ndjson":
        yield from read_ndjson_records(file, limit_bytes=limit_bytes)
        return
    with open_bytes(file, limit_bytes=min(limit_bytes, WHOLE_DOCUMENT_LIMIT_BYTES)) as stream:
        content = stream.read()
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RefusedFile("json", "the file is not valid JSON, or is cut off", remedy="send the file again") from error
    if not isinstance(body, dict):
        raise RefusedFile("json", "the file is not a resource or a bundle", remedy="send a FHIR bundle or resource")
    if body.get("resourceType") != "Bundle":
        yield 1, body
        return
    for number, entry in enumerate(_as_list(body.get("entry")), start=1):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        yield number, resource if isinstance(resource, dict) else None


def _read_resource(resource: Resource, number: int, batch: Batch) -> None:
    kind = resource.get("resourceType")
    handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
    if handler is None:
        batch.faults.append((number, "resourceType", "not_contracted"))
        return
    fields = source()["identifier_fields"]
    for path in (*fields["any"], *fields.get(kind, ())):
        if count := _count(resource, path.split(".")):
            batch.identifier_fields[f"{kind}.{path}"] += count
    handler(resource, number, batch)


def _count(value: Any, path: list[str]) -> int:
    if isinstance(value, list):
        return sum(_count(item, path) for item in value)
    if not path:
        return int(value not in (None, "", {}))
    return _count(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else 0


def _own_id(resource: Resource) -> str | None:
    return plain_id(_text(resource.get("id")))


def _patient(resource: Resource, number: int, batch: Batch) -> None:
    gender = resource.get("gender")
    deceased = _text(resource.get("deceasedDateTime"))
    batch.add(
        "people",
        number,
        {
            "person_code": _own_id(resource),
            "birth_date": _text(resource.get("birthDate")),
            "sex": gender if isinstance(gender, str) else None,
            "deceased_date": deceased[:10] if deceased else None,
        },
    )


def _encounter(resource: Resource, number: int, batch: Batch) -> None:
    period = resource.get("period")
    batch.add(
        "care_contacts",
        number,
        {
            "contact_code": _own_id(resource),
            "person_code": _reference(resource, "subject"),
            "contact_at": _text(period.get("start")) if isinstance(period, dict) else None,
            "record_status": "entered_in_error" if resource.get("status") == "entered-in-error" else "active",
        },
    )


def _condition(resource: Resource, number: int, batch: Batch) -> None:
    systems = source()["code_systems"]
    coding = next((c for c in _codings(resource, "code") if c.get("system") in systems), None)
    if coding is None:
        batch.faults.append((number, "code", "not_contracted"))
        return
    onset, end = _text(resource.get("onsetDateTime")), _text(resource.get("abatementDateTime"))
    verification = next((_text(c.get("code")) for c in _codings(resource, "verificationStatus")), None)
    batch.add(
        "diagnoses",
        number,
        {
            "diagnosis_code_id": _own_id(resource),
            "person_code": _reference(resource, "subject"),
            "contact_code": _reference(resource, "encounter"),
            "code_system": systems[coding["system"]],
            "code": _text(coding.get("code")),
            "clinical_status": next((_text(c.get("code")) for c in _codings(resource, "clinicalStatus")), None),
            "verification_status": verification.replace("-", "_") if verification else None,
            "onset_date": onset[:10] if onset else None,
            "abatement_date": end[:10] if end else None,
        },
    )


def _observation(resource: Resource, number: int, batch: Batch) -> None:
    loincs = [c.get("code") for c in _codings(resource, "code") if c.get("system") == _LOINC]
    totals, items = _by_loinc("loinc_total"), _instruments()
    total = next((totals[code] for code in loincs if code in totals), None)
    item = next((items[code][-1] for code in loincs if code in items), None)
    if total is None and item is None:
        batch.faults.append((number, "code", "not_contracted"))
        return
    base = _response_base(resource, resource.get("effectiveDateTime"), "Observation")
    if total is not None:
        quantity = resource.get("valueQuantity")
        value = quantity.get("value") if isinstance(quantity, dict) else resource.get("valueInteger")
        batch.add(
            "questionnaire_totals",
            number,
            {**base, "response_code": _own_id(resource), "instrument_code": total, "total_value": _number(value)},
        )
    elif item is not None:
        state, value = _answer(resource)
        if state is None:
            batch.faults.append((number, "value", "unknown_code"))
            return
        # Items sent one by one belong together when they share person, encounter and time.
        response = "|".join(str(base[key]) for key in ("person_code", "contact_code", "answered_at"))
        batch.add(
            "questionnaire_answers",
            number,
            {
                **base,
                "response_code": f"{response}|{item[0]}",
                "instrument_code": item[0],
                "item_number": str(item[1]),
                "answer_state": state,
                "answer_value": value,
            },
        )


def _response_base(resource: Resource, answered_at: Any, kind: str) -> Row:
    status = resource.get("status")
    return {
        "person_code": _reference(resource, "subject"),
        "contact_code": _reference(resource, "encounter"),
        "answered_at": _text(answered_at),
        "response_status": source()["statuses"][kind].get(status, status) if isinstance(status, str) else None,
        "recorded_at": _text(resource.get("issued")) if kind == "Observation" else None,
    }


def _number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if float(value).is_integer() else str(value)


def _answer(answer: Resource) -> tuple[str | None, str | None]:
    """State and value of one answer; state ``None`` for a code that nobody defined.

    A LOINC answer code has one meaning, so it wins over a weight written beside it.
    """
    coding = answer.get("valueCoding")
    if coding is None and _codings(answer, "valueCodeableConcept"):
        coding = _codings(answer, "valueCodeableConcept")[0]
    if coding is None and _codings(answer, "dataAbsentReason"):
        coding = _codings(answer, "dataAbsentReason")[0]
    if isinstance(coding, dict):
        known = _answers().get(str(coding.get("code")))
        if known:
            return known[0], known[1] or None
        for extension in _as_list(coding.get("extension")):
            if isinstance(extension, dict) and _ORDINAL.search(str(extension.get("url"))):
                weight = _number(extension.get("valueDecimal", extension.get("valueInteger")))
                if weight is not None:
                    return "answered", weight
        return None, None
    quantity = answer.get("valueQuantity")
    for value in (
        answer.get("valueInteger"),
        answer.get("valueDecimal"),
        quantity.get("value") if isinstance(quantity, dict) else None,
    ):
        if (text := _number(value)) is not None:
            return "answered", text
    return "missing", None


def _walk(items: Any) -> Iterator[Resource]:
    for item in _as_list(items):
        if isinstance(item, dict):
            yield item
            yield from _walk(item.get("item"))
            for answer in _as_list(item.get("answer")):
                if isinstance(answer, dict):
                    yield from _walk(answer.get("item"))


def _questionnaire_response(resource: Resource, number: int, batch: Batch) -> None:
    base = _response_base(resource, resource.get("authored"), "QuestionnaireResponse")
    base["recorded_at"] = base["answered_at"] if resource.get("status") != "amended" else _last_updated(resource)
    items: list[tuple[str, Resource]] = []
    for item in _walk(resource.get("item")):
        if link := _LINK_ID.match(str(item.get("linkId"))):
            items.append((link.group(1), item))
    codes = {code for code, _ in items}
    instrument = _instrument_of(str(resource.get("questionnaire") or ""), codes)
    totals = _by_loinc("loinc_total")
    if instrument is None and not codes & set(totals):
        batch.faults.append((number, "item", "not_contracted"))
        return
    base["response_code"] = _own_id(resource) or _code_without_id(resource, base)
    rows: list[tuple[str, Row]] = []
    numbers = {code: dict(_instruments().get(code, ())).get(instrument or "") for code in codes}
    for code, item in items:
        answers = [a for a in _as_list(item.get("answer")) if isinstance(a, dict)]
        state, value = _answer(answers[0]) if answers else ("missing", None)
        if code in totals and answers:
            rows.append(("questionnaire_totals", {**base, "instrument_code": totals[code], "total_value": value}))
        elif numbers.get(code) is not None:
            if state is None or len(answers) > 1:
                batch.faults.append((number, "item.answer", "unknown_code"))
                continue
            rows.append(
                (
                    "questionnaire_answers",
                    {
                        **base,
                        "instrument_code": instrument,
                        "item_number": str(numbers[code]),
                        "answer_state": state,
                        "answer_value": value,
                    },
                )
            )
    for stream, row in rows:
        batch.add(stream, number, row)


def _code_without_id(resource: Resource, base: Row) -> str:
    """Person, encounter and time; where no person is named, the content, so that two strangers' forms stay two."""
    if base["person_code"] is None:
        return hashlib.sha256(orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return "|".join(str(base[key]) for key in ("person_code", "contact_code", "answered_at"))


def _last_updated(resource: Resource) -> str | None:
    meta = resource.get("meta")
    return _text(meta.get("lastUpdated")) if isinstance(meta, dict) else None


def _instrument_of(questionnaire: str, codes: set[str]) -> str | None:
    """The instrument the questionnaire's own code names, else the smallest one that asks every item present."""
    for panel, instrument in _by_loinc("loinc_panel").items():
        if panel in questionnaire:
            return instrument
    asked = {code for code in codes if code in _instruments()}
    if not asked:
        return None
    candidates = set.intersection(*({name for name, _ in _instruments()[code]} for code in asked))
    return min(candidates, key=lambda name: _item_counts()[name]) if candidates else None


_HANDLERS: dict[str, Callable[[Resource, int, Batch], None]] = {
    "Patient": _patient,
    "Encounter": _encounter,
    "Condition": _condition,
    "Observation": _observation,
    "QuestionnaireResponse": _questionnaire_response,
}
