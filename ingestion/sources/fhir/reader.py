"""FHIR R4: resources to rows of the contracts. Only contracted fields are read; everything else stays in the file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

import orjson

from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.files import WHOLE_DOCUMENT_LIMIT_BYTES, SourceFile, open_bytes
from ingestion.problems import RefusedFile
from ingestion.reading import block_records, read_ndjson_blocks, read_ndjson_records
from ingestion.sources.fhir import resources
from ingestion.sources.fhir.elements import Resource, codings, listed, mapping, plain_id, source, text
from ingestion.sources.fhir.observations import measured_codes, observation
from ingestion.sources.fhir.questionnaires import Forms, questionnaire_response
from ingestion.sources.fhir.response_blocks import read_block
from ingestion.sources.fhir.surroundings import Reading, Surroundings, last_updated

_HEAD_BYTES = 64 << 10
_HEAD_RECORDS = 20
_BATCH_RECORDS = 20_000
_BLOCK_BYTES = 12 << 20  # a form of many words makes few rows
_SEARCHED_BYTES = 1 << 20
_BLOCKS_IN_VAIN = 3  # after as many, a file is read record by record
_DELETE = "DELETE"
# Around a record of a bundle everything is at hand; a file of lines is searched once, for these kinds only.
_AROUND_IN_BUNDLES = ("Questionnaire", "Medication", "Condition", "Patient")
Handler = Callable[[Resource, Reading], None]


class _Entry(NamedTuple):
    """One row of a file: a resource with its address in the bundle, or a deletion."""

    number: int
    resource: Resource | None
    address: str | None = None
    deleted: str | None = None  # what a DELETE names
    deleted_at: str | None = None


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """Whether the file carries FHIR's own signature for a bundle or a contracted resource."""
    name = re.search(str(context.spec["file_names"]), file.name)
    if not name:
        return None
    known = {*context.spec["resources"], "Bundle"}
    try:
        if name["form"] == "ndjson":
            head = islice(read_ndjson_records(file, limit_bytes=context.limit_bytes), _HEAD_RECORDS)
            kinds = (record.get("resourceType") for _, record in head if isinstance(record, dict))
            supporting = context.spec["supporting_resources"]
            is_known = next((kind in known for kind in kinds if kind not in supporting), False)
        else:
            with open_bytes(file, limit_bytes=context.limit_bytes) as stream:
                head_bytes = stream.read(_HEAD_BYTES)
            found = re.search(rb'"resourceType"\s*:\s*"([A-Za-z]+)"', head_bytes)
            is_known = found is not None and found.group(1).decode() in known
    except RefusedFile:
        is_known = any(file.name.startswith(resource) for resource in known)
    return Recognition(form=name["form"]) if is_known else None


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """Batches of a file's resources. Raises ``RefusedFile`` when it is not JSON, or cut off."""
    time_zone, measured = context.delivery.time_zone, measured_codes(context.value_sets)
    if recognition.form == "ndjson":
        around = Surroundings(partial(_supporting, file, context), context.spec["supporting_resources"])
        reading = Reading(around, time_zone, measured, context.delivery.person)
        yield from _line_batches(file, reading, limit_bytes=context.limit_bytes)
        return
    entries = list(_bundle_entries(file, limit_bytes=context.limit_bytes))
    reading = Reading(_surroundings(entries), time_zone, measured, context.delivery.person)
    yield from _batches(entries, reading, _handlers(Forms()))
    yield reading.batch


def _batches(entries: Iterable[_Entry], reading: Reading, handlers: dict[str, Handler]) -> Iterator[Batch]:
    """Full batches of entries; the last one is still with ``reading``."""
    for entry in entries:
        reading.batch.records += 1
        _read_entry(entry, reading, handlers)
        if reading.batch.records >= _BATCH_RECORDS:
            yield reading.batch
            reading.batch = Batch()


def _line_batches(file: SourceFile, reading: Reading, *, limit_bytes: int) -> Iterator[Batch]:
    """A file of lines: blocks of plain responses at once, everything else record by record."""
    forms = Forms()
    handlers = _handlers(forms)
    in_vain = 0
    for block, first in read_ndjson_blocks(file, limit_bytes=limit_bytes, block_bytes=_BLOCK_BYTES):
        plain = read_block(block, first, reading, forms) if in_vain < _BLOCKS_IN_VAIN else None
        if plain is None:
            in_vain += 1
            entries = (_Entry(number, resource) for number, _, resource in block_records(block, first))
            yield from _batches(entries, reading, handlers)
            continue
        if reading.batch.records:
            yield reading.batch
            reading.batch = Batch()
        reading.batch.identifier_fields.update(plain.identifier_fields)
        reading.batch.frames = plain.frames
        reading.batch.shared = dict.fromkeys(plain.frames, plain.shared)
        for number, start, end in plain.odd:
            for line_number, _, resource in block_records(block[start : end + 1], first + number):
                _read_entry(_Entry(line_number, resource), reading, handlers)
        reading.batch.records = plain.lines
        yield reading.batch
        reading.batch = Batch()
        in_vain = 0 if 2 * len(plain.odd) < plain.lines else in_vain + 1
    yield reading.batch


# --- bundles ------------------------------------------------------------------------------------------------------


def _bundle_entries(file: SourceFile, *, limit_bytes: int) -> Iterator[_Entry]:
    with open_bytes(file, limit_bytes=min(limit_bytes, WHOLE_DOCUMENT_LIMIT_BYTES)) as stream:
        content = stream.read()
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RefusedFile("json", "the file is not valid JSON, or is cut off", remedy="send the file again") from error
    if not isinstance(body, dict):
        raise RefusedFile("json", "the file is not a resource or a bundle", remedy="send a FHIR bundle or resource")
    if body.get("resourceType") != "Bundle":
        yield _Entry(1, body)
        return
    sent_at = text(body.get("timestamp")) or last_updated(body)
    for number, entry in enumerate(listed(body.get("entry")), start=1):
        one = mapping(entry)
        request, resource = mapping(one.get("request")), one.get("resource")
        address = text(one.get("fullUrl"))
        if request.get("method") == _DELETE:
            at = text(mapping(one.get("response")).get("lastModified")) or sent_at
            yield _Entry(number, None, address, text(request.get("url")) or "", at)
        else:
            yield _Entry(number, resource if isinstance(resource, dict) else None, address)


def _surroundings(entries: list[_Entry]) -> Surroundings:
    around = Surroundings(
        lambda: ((entry.address, entry.resource) for entry in entries if entry.resource), _AROUND_IN_BUNDLES
    )
    versions: dict[tuple[str, str], list[tuple[int, str | None, int]]] = defaultdict(list)
    for entry in entries:
        if entry.resource is None:
            continue
        own_id = text(entry.resource.get("id"))
        if entry.address is not None and own_id is not None and plain_id(entry.address) != own_id:
            around.aliases[entry.address] = own_id
        version = str(mapping(entry.resource.get("meta")).get("versionId"))
        if own_id is not None and version.isdecimal() and len(version) < _LONGEST_VERSION:
            key = (str(entry.resource.get("resourceType")), own_id)
            versions[key].append((int(version), last_updated(entry.resource), entry.number))
    around.superseded = frozenset(
        number
        for statements in versions.values()
        for version, updated, number in statements
        # Where the times tell the versions apart, both are stated and the later one counts.
        if any(other > version and (updated is None or at == updated) for other, at, _ in statements)
    )
    return around


_LONGEST_VERSION = 18


def _supporting(file: SourceFile, context: ReadContext) -> Iterator[tuple[None, Resource]]:
    """The lines of a file that others of it refer to; the rest is not parsed."""
    marks = [f'"{kind}"'.encode() for kind in context.spec["supporting_resources"]]
    if not _holds_any(file, marks, limit_bytes=context.limit_bytes):
        return
    with open_bytes(file, limit_bytes=context.limit_bytes) as stream:
        for line in stream:
            if any(mark in line for mark in marks):
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue  # the reading proper refuses the file
                if isinstance(record, dict):
                    yield None, record


def _holds_any(file: SourceFile, marks: list[bytes], *, limit_bytes: int) -> bool:
    """Whether the file names any of them at all; most do not, and need not be cut into lines."""
    overlap, before = max(map(len, marks)) - 1, b""
    with open_bytes(file, limit_bytes=limit_bytes) as stream:
        while chunk := stream.read(_SEARCHED_BYTES):
            seam = before + chunk[:overlap]
            if any(mark in chunk or mark in seam for mark in marks):
                return True
            before = chunk[-overlap:]
    return False


# --- records ------------------------------------------------------------------------------------------------------


def _read_entry(entry: _Entry, reading: Reading, handlers: dict[str, Handler]) -> None:
    reading.number = entry.number
    if entry.deleted is not None:
        _deletion(entry, reading)
        return
    resource = entry.resource
    if resource is None:
        reading.fault("resourceType", "invalid_record")
        return
    kind = resource.get("resourceType")
    handler = handlers.get(kind) if isinstance(kind, str) else None
    if handler is None or not isinstance(kind, str):
        reading.fault("resourceType", "not_contracted")
        return
    for name, path in _identifier_paths(kind):
        if path[0] in resource and (count := _count(resource, path)):
            reading.never_read(name, count)
    if entry.number in reading.around.superseded:
        reading.fault("meta", "superseded_version")
        return
    reading.own_id = plain_id(text(resource.get("id")) or entry.address)
    try:
        if _says_no_more_than_a_deletion(resource, kind):
            _withdraw(kind, reading.own_id, last_updated(resource), reading)
        else:
            handler(resource, reading)
    except TypeError:  # a list where FHIR has a code: what the record says is not known
        reading.fault("resourceType", "invalid_record")


def _deletion(entry: _Entry, reading: Reading) -> None:
    address, _, search = (entry.deleted or "").partition("?")
    *_, kind, own_id = ("", "", *address.split("/_history/")[0].split("/"))
    if search:
        kind = own_id
    if kind not in source()["deletions"]:
        reading.fault("request", "not_contracted")
    elif search or not own_id:
        reading.fault("request", "reference_unresolved")
    else:
        _withdraw(kind, own_id, entry.deleted_at, reading)


def _withdraw(kind: str, own_id: str | None, at: str | None, reading: Reading) -> None:
    """What a deleted record stated is taken back, under every id it may have landed with."""
    for record_kind, code in source()["deletions"][kind].items():
        record_code = code.format(id=own_id) if own_id is not None else None
        reading.add("record_deletions", {"record_kind": record_kind, "record_code": record_code, "recorded_at": at})


def _says_no_more_than_a_deletion(resource: Resource, kind: str) -> bool:
    needed = source()["content_fields"].get(kind)
    if needed is None or all(name in resource for name in needed):
        return False
    error = source()["entered_in_error"]
    return resource.get("status") == error or any(
        coding.get("code") == error for coding in codings(resource.get("verificationStatus"))
    )


@cache
def _identifier_paths(kind: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    fields = source()["identifier_fields"]
    return tuple((f"{kind}.{path}", tuple(path.split("."))) for path in (*fields["any"], *fields.get(kind, ())))


def _count(value: Any, path: tuple[str, ...]) -> int:
    if isinstance(value, list):
        return sum(_count(item, path) for item in value)
    if not path:
        return int(value not in (None, "", {}))
    return _count(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else 0


def _handlers(forms: Forms) -> dict[str, Handler]:
    """One function a kind of resource; forms are remembered within a file."""
    return {
        "Patient": resources.patient,
        "Coverage": resources.coverage,
        "Encounter": resources.encounter,
        "Condition": resources.condition,
        "Observation": observation,
        "QuestionnaireResponse": lambda resource, reading: questionnaire_response(resource, reading, forms),
        "Procedure": resources.procedure,
        "ServiceRequest": resources.service_request,
        "MedicationRequest": resources.medication_request,
    }
