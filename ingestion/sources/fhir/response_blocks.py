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
        (
            "item",
            pa.list_(
                pa.struct([("linkId", _TEXT), ("definition", _TEXT), ("text", _TEXT), ("answer", pa.list_(_ANSWER))])
            ),
        ),
    ]
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


@dataclass
class _Responses:
    """Responses of a block as columns; ``is_odd`` grows as their parts are looked at."""

    table: pa.Table
    is_odd: Numbers

    def texts(self, *path: str) -> pl.Series:
        """A text of each response; null where it has none."""
        found = pl.from_arrow(_at(self.table, *path))
        assert isinstance(found, pl.Series)  # noqa: S101 - an array is a series
        return found.alias(path[-1])


def read_block(block: bytes, first: int, reading: Reading, forms: Forms) -> Read | None:
    """The block's plain responses as rows, or ``None``. ``first`` is how many lines stood before."""
    ends = None if b"null" in block else line_ends(block)
    table = None if ends is None else _table(block, len(ends))
    if table is None or ends is None:
        return None
    responses = _Responses(table, np.zeros(len(table), dtype=bool))
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


def _table(block: bytes, lines: int) -> pa.Table | None:
    try:
        table = pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(block_size=_CHUNK_BYTES),
            parse_options=pj.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    if len(table) != lines or not pc.all(pc.equal(table.column("resourceType"), _KIND), skip_nulls=False).as_py():
        return None
    return table.combine_chunks()


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
    responses.is_odd |= own_id.is_null().to_numpy() | _at(responses.table, "item").is_null().to_numpy(False)
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
    items, of_items = _flat(_at(responses.table, "item"))
    answers, of_answers = _flat(_fields(items)["answer"])
    is_plain = is_plain[of_items[of_answers]]
    for name, values in _fields(answers).items():
        if name in source()["answer_identifier_fields"] and values.null_count < len(values):
            found[f"{_KIND}.item.answer.{name}"] = int((values.is_valid().to_numpy(False) & is_plain).sum())
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
    items, of_items = _flat(_at(responses.table, "item"))
    links, link_texts = _coded(_fields(items)["linkId"])
    answers, of_answers = _flat(_fields(items)["answer"])
    if _holds_what_is_no_number(answers):
        return None
    answer = np.full(len(items), -1, dtype=np.int64)
    answer[of_answers] = np.arange(len(answers))
    responses.is_odd[of_items[np.bincount(of_answers, minlength=len(items)) > 1]] = True
    kinds = _kinds_of_answer(answers, responses.is_odd, of_items[of_answers])
    meanings: list[_Meaning | None] = []
    different, meaning = np.unique(
        _joined((address[of_items], links, np.where(answer < 0, -1, kinds[answer] if len(kinds) else -1))),
        return_index=True,
        return_inverse=True,
    )[1:]
    for at in different.tolist():
        link = link_texts[links[at]] if links[at] >= 0 else str(None)
        given = _plain(answers[int(answer[at])].as_py()) if answer[at] >= 0 else {}
        meanings.append(_meaning(form_of[address[of_items[at]]], link, given))
    codes = sorted({one.code for one in meanings if one})
    if len(codes) > _MOST_CODES:
        return None
    places = np.array([codes.index(one.code) if one else -1 for one in meanings], dtype=np.int64)
    is_known = places[meaning] >= 0 if len(meaning) else np.zeros(0, dtype=bool)
    said = np.full((len(responses.is_odd), max(1, len(codes))), -1, dtype=np.int64)
    at_code = (of_items[is_known], places[meaning[is_known]])
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
    places, plan_of = np.unique(_joined((address, bits)), return_index=True, return_inverse=True)[1:]
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


def _kinds_of_answer(answers: pa.StructArray, is_odd: Numbers, of_response: Numbers) -> Numbers:
    """A number for each answer, alike where they say the same."""
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
        is_odd[of_response[columns[-1] > 1]] = True
        flat, of_answer = _flat(extensions)
        for values in _fields(flat).values():
            column = np.full(len(answers), -2, dtype=np.int64)
            column[of_answer] = _coded(values)[0]
            columns.append(column)
    numbers = fields["valueDecimal"]
    if numbers.null_count < len(numbers):
        is_long = pc.fill_null(pc.greater_equal(pc.abs(numbers), _LARGEST_EXACT), False).to_numpy(False)
        is_odd[of_response[is_long]] = True
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
    different, places = np.unique(column, return_inverse=True)
    return places, len(different)


def _each(places: Numbers, function: Any) -> Numbers:
    """A function of whole numbers, asked once for each distinct one."""
    different, inverse = np.unique(places, return_inverse=True)
    return np.array([function(one) for one in different.tolist()], dtype=np.int64)[inverse]


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
