"""Whole blocks of QuestionnaireResponse lines at once; what is not plain is left to ``questionnaires``, line by line.

What a form, a status or an answer means is asked of ``questionnaires`` once for each distinct one, so both ways say
the same (``test_fhir_response_blocks.py`` holds them against each other). A block is read here only when every line
is one object of fields that stand in ``_SCHEMA``, each once and none null; ``None`` means: read it line by line. A
response that needs its surroundings, or that breaks a rule, is named in ``Read.odd`` and read line by line too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ingestion.batches import SHARED_ROW
from ingestion.exact_forms import distinct
from ingestion.json_blocks import line_ends
from ingestion.reading import ROW_NUMBER
from ingestion.sources.fhir.elements import Resource, source, word
from ingestion.sources.fhir.instruments import asked, code_in, codes_of, items_by_code, totals
from ingestion.sources.fhir.questionnaires import (
    ANSWERS,
    MISSING,
    TOTALS,
    Answer,
    Form,
    Forms,
    answer_of,
    as_meant_by,
)
from ingestion.sources.fhir.surroundings import Reading

Numbers = Any  # a numpy array
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,8})")
_KIND = "QuestionnaireResponse"
_CHUNK_BYTES = 1 << 20
_LARGEST_EXACT = 2.0**53
_MOST_CODES = 62  # of one block; their presence is a set of bits
_DAY_LENGTH = 10
_LARGEST_NUMBER = 1 << 62
_LARGEST_TABLE = 1 << 20  # of numbers that are looked up rather than sorted

_TEXT = pa.string()
_EXTENSIONS = pa.list_(pa.struct([("url", _TEXT), ("valueDecimal", pa.float64()), ("valueInteger", pa.int64())]))
_TAG = pa.struct([("system", _TEXT), ("version", _TEXT), ("code", _TEXT), ("display", _TEXT)])
_CODING = pa.struct([*_TAG, ("userSelected", pa.bool_()), ("extension", _EXTENSIONS)])
_REFERENCE = pa.struct([("reference", _TEXT), ("type", _TEXT), ("display", _TEXT)])
_ANSWER_TEXTS = ("valueString", "valueDate", "valueDateTime", "valueTime", "valueUri")
_ANSWER = pa.struct(
    [
        ("valueCoding", _CODING),
        ("valueInteger", pa.int64()),
        ("valueDecimal", pa.float64()),
        ("valueBoolean", pa.bool_()),
        ("extension", _EXTENSIONS),
        *((name, _TEXT) for name in _ANSWER_TEXTS),
    ]
)
_ITEM = pa.struct([("linkId", _TEXT), ("definition", _TEXT), ("text", _TEXT), ("answer", pa.list_(_ANSWER))])
_SCHEMA = pa.schema(
    [
        ("resourceType", _TEXT),
        ("id", _TEXT),
        (
            "meta",
            pa.struct(
                [
                    ("versionId", _TEXT),
                    ("lastUpdated", _TEXT),
                    ("source", _TEXT),
                    ("profile", pa.list_(_TEXT)),
                    ("tag", pa.list_(_TAG)),
                    ("security", pa.list_(_TAG)),
                ]
            ),
        ),
        ("language", _TEXT),
        ("text", pa.struct([("status", _TEXT), ("div", _TEXT)])),
        ("questionnaire", _TEXT),
        ("status", _TEXT),
        ("subject", _REFERENCE),
        ("encounter", _REFERENCE),
        ("author", _REFERENCE),
        ("source", _REFERENCE),
        ("authored", _TEXT),
        ("item", pa.list_(_ITEM)),
    ]
)
# How an item list opens, how two items meet, and how list and response end, in the two ways software writes JSON.
_WRITTEN = (
    ('"item":[', '{"linkId":"', '},{"linkId":"', "}]}\n"),
    ('"item": [', '{"linkId": "', '}, {"linkId": "', "}]}\n"),
)
_NAMED = (
    ("text", "div"),
    ("subject", "display"),
    ("encounter", "display"),
    ("author", "display"),
    ("source", "display"),
)


@dataclass(frozen=True)
class Read:
    """A block: rows of the streams, what the rows of a response share, how many lines it had, and those to be read
    one by one.
    """

    frames: dict[str, pl.DataFrame]
    shared: pl.DataFrame
    lines: int
    identifier_fields: Counter[str]
    odd: list[tuple[int, int, int]]  # line (from 0), first byte, last byte


@dataclass(frozen=True)
class _Items:
    """Items of a block, of which most say what another says as well: the different ones, and which of them stands
    where in which response.
    """

    different: pa.StructArray
    place: Numbers
    response: Numbers


@dataclass
class _Responses:
    """Responses of a block as columns; ``is_odd`` grows as their parts are looked at."""

    table: pa.Table
    items: _Items
    is_odd: Numbers

    def texts(self, *path: str) -> pl.Series:
        """A text of each response; null where it has none."""
        return _strings(_at(self.table, *path)).alias(path[-1])


def read_block(block: bytes, first: int, reading: Reading, forms: Forms) -> Read | None:
    """The block's plain responses as rows, or ``None``. ``first`` is how many lines stood before."""
    ends = line_ends(block)
    responses = None if ends is None else _responses(block, ends)
    if responses is None or ends is None:
        return None
    base = _base(responses, reading)
    answered = _answers(responses, reading, forms)
    if answered is None:
        return None
    frames = {}
    for stream, (rows, columns) in answered.items():
        kept = ~responses.is_odd[rows]
        rows = pl.Series(SHARED_ROW, rows[kept].astype(np.uint32))
        if len(rows):
            numbers = (rows.cast(pl.Int64) + (first + 1)).alias(ROW_NUMBER)
            frames[stream] = pl.DataFrame([*(column.filter(pl.Series(kept)) for column in columns), rows, numbers])
    odd = np.flatnonzero(responses.is_odd)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = list(zip(odd.tolist(), starts[odd].tolist(), ends[odd].tolist(), strict=True))
    return Read(frames, pl.DataFrame(base), len(ends), _never_read(responses), lines)


# --- from bytes to columns ----------------------------------------------------------------------------------------


def _responses(block: bytes, ends: Numbers) -> _Responses | None:
    """A block as columns; each different item is parsed once where items can be told apart as texts."""
    found = next((found for style in _WRITTEN if (found := _by_different_items(block, ends, style))), None)
    if found is not None:
        return found
    table = _table(block, _SCHEMA, len(ends))
    if table is None or not _is_all_of_kind(table):
        return None
    items = _at(table, "item")
    flat, response = _flat(items)
    odd = items.is_null().to_numpy(False)
    return _Responses(table, _Items(flat, np.arange(len(flat)), response), odd)


def _by_different_items(block: bytes, ends: Numbers, style: tuple[str, str, str, str]) -> _Responses | None:
    """Lines cut where their item list opens and where its items meet.

    Sound without a look at the brackets: a head with an empty list put in has to be one object of known fields, of
    which only the item's name ends so, and each piece has to be one object. Then so is what they were cut from, with
    these items in this order.
    """
    opens, begins, meets, closes = style
    starts = np.concatenate(([0], ends[:-1] + 1, [len(block)])).astype(np.int64)
    lines = _strings(pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(starts), pa.py_buffer(block)))
    if opens + begins not in lines[0]:
        return None
    heads, lists = lines.str.splitn(opens, 2).struct.unnest().get_columns()
    del lines  # each step is as large as the block
    if not (lists.str.starts_with(begins) & lists.str.ends_with(closes)).fill_null(False).all():
        return None
    lists = lists.str.slice(len(begins)).str.strip_suffix(closes).str.split(meets)
    counts = lists.list.len().to_numpy()
    different, place = distinct(lists.explode())
    del lists
    head_block = (heads + opens + closes[1:]).str.join("").item().encode()
    del heads
    table = _table(head_block, _SCHEMA, len(ends))
    item_block = (begins + different + closes[:1] + "\n").str.join("").item().encode()
    items = _table(item_block, pa.schema(_ITEM), len(different))
    if table is None or items is None or not _is_all_of_kind(table):
        return None
    struct = items.to_struct_array().combine_chunks()
    found = _Items(struct, place.to_numpy(), np.repeat(np.arange(len(ends)), counts))
    return _Responses(table, found, np.zeros(len(ends), dtype=bool))


def _strings(values: pa.Array) -> pl.Series:
    found = pl.from_arrow(values)
    assert isinstance(found, pl.Series)  # noqa: S101 - an array is a series
    return found


def _table(block: bytes, schema: pa.Schema, lines: int) -> pa.Table | None:
    """A block of JSON lines as a table of one chunk; ``None`` where it is not as many objects of just these fields.

    A null is not told from a field that is not there, so a block that may hold one is not read.
    """
    if b"null" in block:
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(block_size=_CHUNK_BYTES),
            parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    return table.combine_chunks() if len(table) == lines else None


def _is_all_of_kind(table: pa.Table) -> bool:
    return bool(pc.all(pc.equal(table.column("resourceType"), _KIND), skip_nulls=False).as_py())


def _at(table: pa.Table, *path: str) -> pa.Array:
    """One array of a table, through structs; null where any struct on the way is."""
    found = table.column(path[0]).chunk(0)
    for name in path[1:]:
        found = _fields(found)[name]
    return found


def _fields(struct: pa.StructArray) -> dict[str, pa.Array]:
    return dict(zip((field.name for field in struct.type), struct.flatten(), strict=True))


# --- what a response says of itself -------------------------------------------------------------------------------


def _base(responses: _Responses, reading: Reading) -> list[pl.Series]:
    """Columns of a response. One without an id, a time or items is odd, and so is one that is known by a day alone."""
    own_id = _ids(responses, "id")
    authored, updated = responses.texts("authored"), responses.texts("meta", "lastUpdated")
    responses.is_odd |= own_id.is_null().to_numpy()
    responses.is_odd |= (authored.is_null() | (authored.str.len_chars() == _DAY_LENGTH)).to_numpy()
    if reading.person is not None:
        person = pl.Series([reading.person]).new_from_index(0, len(own_id))
    else:
        person = _ids(responses, "subject", "reference")
    contact = _ids(responses, "encounter", "reference")
    statuses = source()["statuses"][_KIND]
    status, stated = _coded(_at(responses.table, "status"))
    said = pl.Series([statuses.get(one) or word(one) for one in stated] + [None], dtype=pl.String)
    for texts in (authored, updated):
        responses.is_odd |= (texts == "").fill_null(False).to_numpy()
    return [
        person.alias("person_code"),
        contact.alias("contact_code"),
        authored.alias("answered_at"),
        said.gather(np.where(status < 0, len(stated), status).astype(np.uint32)).alias("response_status"),
        updated.zip_with(updated.is_not_null(), authored).alias("recorded_at"),
        own_id.alias("response_code"),
    ]


def _ids(responses: _Responses, *path: str) -> pl.Series:
    """Ids without type and address. A search, a version or an empty text is odd."""
    texts = responses.texts(*path)
    is_odd = texts.str.contains("?", literal=True) | texts.str.contains("/_history/", literal=True)
    plain = texts.str.strip_prefix("urn:uuid:").str.extract("([^/]+)$")
    is_odd = (is_odd | (plain.is_null() & texts.is_not_null())).fill_null(False)
    responses.is_odd |= is_odd.to_numpy()
    return plain


def _never_read(responses: _Responses) -> Counter[str]:
    """Fields that hold an identity or free text, of the responses that are read here."""
    found: Counter[str] = Counter()
    is_plain = ~responses.is_odd
    for path in _NAMED:
        values = _at(responses.table, *path)
        if values.null_count < len(values):
            is_given = pc.fill_null(pc.not_equal(values, ""), False).to_numpy(False)
            found[f"{_KIND}.{'.'.join(path)}"] = int((is_given & is_plain).sum())
    items = responses.items
    answers, of_answers = _flat(_fields(items.different)["answer"])
    is_plain = is_plain[items.response]
    for name, values in _fields(answers).items():
        if name in source()["answer_identifier_fields"] and values.null_count < len(values):
            given = np.bincount(of_answers[values.is_valid().to_numpy(False)], minlength=len(items.different))
            found[f"{_KIND}.item.answer.{name}"] = int(given[items.place[is_plain]].sum())
    return +found


# --- what it answers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Meaning:
    """What one distinct pair of a question and an answer says: the item's code, and its answer."""

    code: str
    answer: Answer


def _answers(
    responses: _Responses, reading: Reading, forms: Forms
) -> dict[str, tuple[Numbers, list[pl.Series]]] | None:
    """Of each stream: the response of every row, and the columns that are not the response's own."""
    address, form_of = _forms(responses, reading, forms)
    items = responses.items
    links, link_texts = _coded(_fields(items.different)["linkId"])
    answers, of_answers = _flat(_fields(items.different)["answer"])
    if _holds_what_is_no_number(answers):
        return None
    answer = np.full(len(items.different), -1, dtype=np.int64)
    answer[of_answers] = np.arange(len(answers))
    is_odd = np.bincount(of_answers, minlength=len(items.different)) > 1
    kinds = _kinds_of_answer(answers, is_odd, of_answers)
    responses.is_odd[items.response[is_odd[items.place]]] = True
    says = _dense(_joined((links, np.where(answer < 0, -1, kinds[answer] if len(kinds) else -1))))[0]
    meanings: list[_Meaning | None] = []
    different, meaning = _distinct(_joined((address[items.response], says[items.place])))
    for at in different.tolist():
        item = int(items.place[at])
        link = link_texts[links[item]] if links[item] >= 0 else str(None)
        given = _plain(answers[int(answer[item])].as_py()) if answer[item] >= 0 else {}
        meanings.append(_meaning(form_of[address[items.response[at]]], link, given))
    codes = sorted({one.code for one in meanings if one})
    if len(codes) > _MOST_CODES:
        return None
    places = np.array([codes.index(one.code) if one else -1 for one in meanings], dtype=np.int64)
    is_known = places[meaning] >= 0 if len(meaning) else np.zeros(0, dtype=bool)
    said = np.full((len(responses.is_odd), max(1, len(codes))), -1, dtype=np.int64)
    at_code = (items.response[is_known], places[meaning[is_known]])
    times = np.zeros_like(said)
    np.add.at(times, at_code, 1)
    responses.is_odd |= (times > 1).any(axis=1)
    said[at_code] = meaning[is_known]
    return _rows(responses, said, codes, meanings, address, form_of)


def _rows(
    responses: _Responses,
    said: Numbers,
    codes: list[str],
    meanings: list[_Meaning | None],
    address: Numbers,
    form_of: list[Form],
) -> dict[str, tuple[Numbers, list[pl.Series]]]:
    """Rows plan by plan, where a plan is one set of codes on one form."""
    final = _Interned()
    bits = (said >= 0).astype(np.int64) @ (1 << np.arange(said.shape[1], dtype=np.int64))
    places, plan_of = _distinct(_joined((address, bits)))
    parts: list[tuple[Numbers, Numbers, Numbers]] = []
    asked_items: list[tuple[str, int]] = []
    total_rows: list[tuple[Numbers, Numbers]] = []
    for plan, place in enumerate(places.tolist()):
        of_plan = np.flatnonzero((plan_of == plan) & ~responses.is_odd)
        if not len(of_plan):
            continue
        found = {code: at for at, code in enumerate(codes) if said[place, at] >= 0}
        has_rows = False
        for instrument, present in asked(frozenset(found), form_of[address[place]].panel):
            has_rows = True
            for code, item in (codes_of(instrument) if present or not found else {}).items():
                asked_items.append((instrument, item))
                given = said[of_plan, found[code]] if code in found else np.full(len(of_plan), -1)
                answered = _each(
                    given, lambda one, asks=asked_items[-1]: final.of(as_meant_by(_said(meanings, one), *asks))
                )
                parts.append((of_plan, np.full(len(of_plan), len(asked_items) - 1), answered))
        for code, instrument in totals().items():
            if code in found:
                has_rows = True
                given = _each(
                    said[of_plan, found[code]],
                    lambda one, name=instrument: final.of(_said(meanings, one), name),
                )
                total_rows.append((of_plan, given))
        if not has_rows:
            responses.is_odd[of_plan] = True
    return dict(_streams(responses, final, parts, asked_items, total_rows))


def _streams(
    responses: _Responses,
    final: _Interned,
    parts: list[tuple[Numbers, Numbers, Numbers]],
    asked_items: list[tuple[str, int]],
    total_rows: list[tuple[Numbers, Numbers]],
) -> Iterator[tuple[str, tuple[Numbers, list[pl.Series]]]]:
    breaks_rule = np.array([answer.rule is not None for answer, _ in final.found], dtype=bool)
    for rows, given in [(rows, given) for rows, _, given in parts] + total_rows:
        responses.is_odd[rows[breaks_rule[given]]] = True
    if parts:
        rows, question, given = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(rows, kind="stable")  # within a response the questions come in their order
        rows, question, given = rows[order], question[order], given[order]
        yield (
            ANSWERS,
            (
                rows,
                [
                    _picked("instrument_code", [instrument for instrument, _ in asked_items], question),
                    _picked("item_number", [item for _, item in asked_items], question),
                    _picked("answer_state", [answer.state for answer, _ in final.found], given),
                    _picked("answer_value", _as_numbers([answer.value for answer, _ in final.found]), given),
                    _picked("answer_value_kind", [answer.kind for answer, _ in final.found], given),
                ],
            ),
        )
    if total_rows:
        rows, given = (np.concatenate(columns) for columns in zip(*total_rows, strict=True))
        has_value = np.array([answer.value is not None for answer, _ in final.found], dtype=bool)[given]
        rows, given = rows[has_value], given[has_value]
        order = np.argsort(rows, kind="stable")
        yield (
            TOTALS,
            (
                rows[order],
                [
                    _picked("instrument_code", [instrument for _, instrument in final.found], given[order]),
                    _picked("total_value", [answer.value for answer, _ in final.found], given[order]),
                ],
            ),
        )


class _Interned:
    """Answers as they are meant, each once."""

    def __init__(self) -> None:
        self.found: list[tuple[Answer, str | None]] = []
        self._places: dict[tuple[Answer, str | None], int] = {}

    def of(self, answer: Answer, instrument: str | None = None) -> int:
        """The place of an answer (of a total: with its instrument)."""
        place = self._places.setdefault((answer, instrument), len(self.found))
        if place == len(self.found):
            self.found.append((answer, instrument))
        return place


def _forms(responses: _Responses, reading: Reading, forms: Forms) -> tuple[Numbers, list[Form]]:
    """The form of each response, by place; the last one is for a response that names none."""
    places, addresses = _coded(_at(responses.table, "questionnaire"))
    return places, [forms.of({"questionnaire": address}, reading) for address in [*addresses, None]]


def _meaning(form: Form, link: str, given: Resource) -> _Meaning | None:
    code = (form.codes or {}).get(link) or code_in(link)
    if code is None or (code not in items_by_code() and code not in totals()):
        return None
    return _Meaning(code, answer_of(given, form=form, link=link))


def _said(meanings: list[_Meaning | None], place: int) -> Answer:
    found = meanings[place] if place >= 0 else None
    return found.answer if found else MISSING


def _holds_what_is_no_number(answers: pa.StructArray) -> bool:
    """NaN or Infinity, which this parser takes for numbers: they are no JSON, and the file is refused for them."""
    fields = _fields(answers)
    extensions = (fields["extension"], _fields(fields["valueCoding"])["extension"])
    numbers = [fields["valueDecimal"], *(_fields(_flat(one)[0])["valueDecimal"] for one in extensions)]
    return any(
        values.null_count < len(values) and not pc.all(pc.is_finite(values.drop_null())).as_py() for values in numbers
    )


def _kinds_of_answer(answers: pa.StructArray, is_odd: Numbers, of_item: Numbers) -> Numbers:
    """A number for each answer, alike where they say the same. Items whose answer is not plain become odd."""
    fields = _fields(answers)
    coding = _fields(fields["valueCoding"])
    columns = [fields["valueCoding"].is_valid().to_numpy(False).astype(np.int64)]
    columns += [_coded(coding[name])[0] for name in ("system", "code")]
    columns += [_coded(fields[name])[0] for name in ("valueInteger", "valueDecimal", "valueBoolean")]
    columns += [fields[name].is_valid().to_numpy(False).astype(np.int64) for name in _ANSWER_TEXTS]
    for extensions in (coding["extension"], fields["extension"]):
        if extensions.null_count == len(extensions):
            continue
        # how many there are is told apart too, or an answer with several might speak for one that has the last alone
        columns.append(pc.fill_null(pc.list_value_length(extensions), -1).to_numpy(False).astype(np.int64))
        is_odd[of_item[columns[-1] > 1]] = True
        flat, of_answer = _flat(extensions)
        for values in _fields(flat).values():
            column = np.full(len(answers), -2, dtype=np.int64)
            column[of_answer] = _coded(values)[0]
            columns.append(column)
    numbers = fields["valueDecimal"]
    if numbers.null_count < len(numbers):
        is_long = pc.fill_null(pc.greater_equal(pc.abs(numbers), _LARGEST_EXACT), False).to_numpy(False)
        is_odd[of_item[is_long]] = True
    return _joined(columns)


# --- arrays -------------------------------------------------------------------------------------------------------


def _flat(lists: pa.ListArray) -> tuple[pa.Array, Numbers]:
    """Elements of all lists, and the list of each."""
    return lists.flatten(), pc.list_parent_indices(lists).to_numpy(False)


def _coded(values: pa.Array) -> tuple[Numbers, list[Any]]:
    """The place of each value among the distinct ones, -1 where there is none; and those."""
    coded = values.dictionary_encode()
    return coded.indices.fill_null(-1).to_numpy(False).astype(np.int64), coded.dictionary.to_pylist()


def _joined(columns: Iterable[Numbers]) -> Numbers:
    """One number for each row of several columns of whole numbers, alike where all are."""
    joined, size = np.zeros(1, dtype=np.int64), 1
    for column in columns:
        if not len(column):
            return column
        least, span = int(column.min()), int(column.max()) - int(column.min()) + 1
        if size * span > _LARGEST_NUMBER:
            joined, size = _dense(joined)
        if size * span > _LARGEST_NUMBER:
            column, span = _dense(column)
            least = 0
        joined, size = joined * span + (column - least), size * span
    return joined


def _dense(column: Numbers) -> tuple[Numbers, int]:
    different, places = _distinct(column)
    return places, len(different)


def _distinct(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Where each different number stands, in the order of the numbers, and the place of each row's among them."""
    least = int(numbers.min()) if len(numbers) else 0
    span = int(numbers.max()) - least + 1 if len(numbers) else 0
    if span > _LARGEST_TABLE:
        return np.unique(numbers, return_index=True, return_inverse=True)[1:]
    numbers = numbers - least
    where = np.full(span, -1, dtype=np.int64)
    where[numbers] = np.arange(len(numbers))
    is_there = where >= 0
    return where[is_there], (np.cumsum(is_there) - 1)[numbers]


def _each(places: Numbers, function: Any) -> Numbers:
    """A function of whole numbers, asked once for each distinct one."""
    different, inverse = _distinct(places)
    return np.array([function(one) for one in places[different].tolist()], dtype=np.int64)[inverse]


def _picked(name: str, values: Sequence[str | int | None], places: Numbers) -> pl.Series:
    is_number = any(isinstance(value, int) for value in values)
    return pl.Series(name, values, dtype=pl.Int64 if is_number else pl.String).gather(places.astype(np.uint32))


def _as_numbers(values: list[str | None]) -> Sequence[str | int | None]:
    """The values as whole numbers where each is one, so that they need not be read again."""
    if all(value is None or _WHOLE.fullmatch(value) for value in values):
        return [None if value is None else int(value) for value in values]
    return values


def _plain(value: Any) -> Any:
    """An element as it was sent: without what is not there."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    return [_plain(one) for one in value] if isinstance(value, list) else value
