"""REDCap flat exports: items and totals of questionnaires, found by the data dictionary. Nothing else is read.

A row is a record in an event, or one instance of a repeating instrument. Fields the dictionary marks as identifiers are
never read, whatever their name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from pydantic import model_validator

from ingestion import reading
from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.contracts import contracts
from ingestion.files import SourceFile
from ingestion.problems import RefusedFile
from ingestion.reading import ROW_NUMBER, CsvForm
from ingestion.sources.columns import in_slices, known_columns
from ingestion.sources.mapping_language import Part, Pattern, Text, checked
from screening.definitions import definitions

_EVENT = ("redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance")
_OWN = (*_EVENT, "redcap_data_access_group", "redcap_survey_identifier")
_NOT_ITEMS = ("checkbox", "notes", "file", "descriptive")
_DICTIONARY_FORM = CsvForm(has_line_breaks_in_fields=True)
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_FIX_DICTIONARY = "download the dictionary of the same project again and send it beside the export"


class InstrumentFields(Part):
    """How a project names the fields of one instrument."""

    instrument_code: str
    item: Pattern
    total: Pattern
    answered: Pattern
    source: str

    @model_validator(mode="after")
    def _is_known(self) -> InstrumentFields:
        known = [row["instrument_code"] for row in definitions("instruments")]
        if self.instrument_code not in known:
            raise ValueError(f"there is no instrument {self.instrument_code!r}; there are {', '.join(known)}")
        if not next(
            row["item_count"] for row in definitions("instruments") if row["instrument_code"] == self.instrument_code
        ):
            raise ValueError(
                f"the items of {self.instrument_code} are not defined here: map its total only, as a stream"
            )
        if "item" not in self.item.groupindex:
            raise ValueError("`item:` needs the group (?P<item>...), the item's place on the form")
        return self


class RedcapSpec(Part):
    """The ``source.yml`` of a REDCap project."""

    source: str
    version: int
    description: str
    citation: str = ""
    reader: str | None = None
    data_file: Pattern
    dictionary_file: str
    dictionary_columns: dict[str, list[str]]
    instruments: list[InstrumentFields]
    statuses: dict[str, str]
    missing_codes: dict[str, list[Text]]

    @model_validator(mode="after")
    def _is_whole(self) -> RedcapSpec:
        if "project" not in self.data_file.groupindex:
            raise ValueError("`data_file:` needs the group (?P<project>...)")
        needed = {"field", "form", "type", "choices", "identifier"}
        if set(self.dictionary_columns) != needed:
            raise ValueError(f"`dictionary_columns:` names {', '.join(sorted(needed))}")
        states = next(c for c in contracts()["questionnaire_answers"].columns if c.name == "answer_state").values
        unknown = sorted(set(self.missing_codes) - set(states))
        if unknown:
            raise ValueError(f"`missing_codes:` names {', '.join(unknown)}; it may be {', '.join(states)}")
        return self


@dataclass
class _Form:
    """One instrument on one form of the project: its fields."""

    form: str
    instrument_code: str
    items: dict[str, str] = field(default_factory=dict)  # field -> item number
    total: str | None = None
    answered: str | None = None


@dataclass
class _Project:
    """What the dictionary says: the record's own field, the forms that hold instruments, every other known column."""

    record: str
    forms: list[_Form]
    known: set[str]
    checkboxes: set[str]

    def is_known(self, column: str) -> bool:
        """Whether REDCap itself or the dictionary explains a column of the export."""
        return column in self.known or column.partition("___")[0] in self.checkboxes


def check(spec: dict[str, Any]) -> None:
    """Judge the ``source.yml``. Raises ``UsageError``."""
    checked(RedcapSpec, spec)


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """By the name REDCap gives an export; the dictionaries of the same project beside it are its companions."""
    spec = checked(RedcapSpec, context.spec)
    match = spec.data_file.fullmatch(file.name)
    if match is None:
        return None
    pattern = spec.dictionary_file.replace("{project}", re.escape(match["project"]))
    return Recognition("csv", None, {}, tuple(file.siblings(re.compile(pattern))))


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """The export's rows; one that holds no answer is outside the contract."""
    spec = checked(RedcapSpec, context.spec)
    if len(recognition.companions) != 1:
        raise RefusedFile(
            "missing_companion",
            f"{len(recognition.companions) or 'no'} data dictionaries of the project lie beside the export, not one",
            remedy="send the export with the dictionary that was current when it was made",
        )
    project = _project(recognition.companions[0], spec, context)
    fan_out = sum(len(form.items) + 1 for form in project.forms)
    for frame in reading.read_csv(file, limit_bytes=context.limit_bytes, form=_DICTIONARY_FORM):
        for part in in_slices(frame, fan_out):
            batch = Batch(records=len(part))
            _land(_columns(part, project, batch, context), project, spec, batch)
            yield batch


def _project(file: SourceFile, spec: RedcapSpec, context: ReadContext) -> _Project:
    table = pl.concat(reading.read_csv(file, limit_bytes=context.limit_bytes, form=_DICTIONARY_FORM))
    names = {}
    for what, options in spec.dictionary_columns.items():
        found = [name for name in options if name in table.columns]
        if not found:
            raise RefusedFile("dictionary", f"the data dictionary has no column for {what}", remedy=_FIX_DICTIONARY)
        names[what] = found[0]
    rows = [{what: row[name] or "" for what, name in names.items()} for row in table.iter_rows(named=True)]
    if not rows or not rows[0]["field"]:
        raise RefusedFile("dictionary", "the data dictionary lists no field", remedy=_FIX_DICTIONARY)
    forms: dict[tuple[str, str], _Form] = {}
    for row in rows:
        if row["identifier"].strip().lower() != "y" and row["type"] not in _NOT_ITEMS:
            _assign(row, spec, forms)
    record = rows[0]["field"]
    form_names = {row["form"] for row in rows}
    known = {row["field"] for row in rows} | {record, *_OWN}
    known |= {f"{form}_{ending}" for form in form_names for ending in ("complete", "timestamp")}
    checkboxes = {row["field"] for row in rows if row["type"] == "checkbox"}
    return _Project(record, [form for form in forms.values() if form.items or form.total], known, checkboxes)


def _assign(row: Mapping[str, str], spec: RedcapSpec, forms: dict[tuple[str, str], _Form]) -> None:
    """Give a field of the dictionary its part in an instrument, where its name says so."""
    for instrument in spec.instruments:
        form = forms.setdefault(
            (row["form"], instrument.instrument_code), _Form(row["form"], instrument.instrument_code)
        )
        if match := instrument.item.fullmatch(row["field"]):
            if match["item"] in form.items.values():
                message = f"two fields of the form are item {match['item']} of {instrument.instrument_code}"
                raise RefusedFile("dictionary", message, remedy="say which one it is by the patterns in source.yml")
            _check_choices(row, instrument.instrument_code, spec)
            form.items[row["field"]] = match["item"]
        elif instrument.total.fullmatch(row["field"]):
            form.total = row["field"]
        elif instrument.answered.fullmatch(row["field"]):
            form.answered = row["field"]


def _check_choices(row: Mapping[str, str], instrument: str, spec: RedcapSpec) -> None:
    """The answers a field offers have to be the instrument's own values, or every score is shifted."""
    if row["type"] not in ("radio", "dropdown"):
        return
    offered = {choice.partition(",")[0].strip() for choice in row["choices"].split("|")}
    offered -= {code for codes in spec.missing_codes.values() for code in codes}
    scale = next(entry for entry in definitions("instruments") if entry["instrument_code"] == instrument)
    expected = {str(value) for value in range(int(scale["item_min"]), int(scale["item_max"]) + 1)}
    if offered != expected:
        raise RefusedFile(
            "answer_codes",
            f"field {row['field']!r} does not offer the answers {', '.join(sorted(expected))} of {instrument}",
            remedy="recode the field in REDCap, or list the project's missing data codes in source.yml",
            column=row["field"],
        )


def _columns(frame: pl.DataFrame, project: _Project, batch: Batch, context: ReadContext) -> pl.DataFrame:
    wanted = {project.record}
    optional = set(_EVENT)
    for form in project.forms:
        wanted |= {*form.items, f"{form.form}_complete"}
        optional |= {name for name in (form.total, form.answered, f"{form.form}_timestamp") if name}
    # An export may hold some of a project's forms; a form is there with all of its items or not at all.
    absent = {
        name
        for form in project.forms
        if not set(form.items) & set(frame.columns)
        for name in (*form.items, f"{form.form}_complete")
    }
    return known_columns(
        frame,
        wanted | optional,
        is_never_read=project.is_known,
        optional=optional | absent,
        known_by="the data dictionary",
        batch=batch,
        context=context,
    )


def _land(frame: pl.DataFrame, project: _Project, spec: RedcapSpec, batch: Batch) -> None:
    answers: list[pl.DataFrame] = []
    totals: list[pl.DataFrame] = []
    for form in project.forms:
        rows = _response(frame, form, project, spec)
        if form.items:
            is_answered = pl.any_horizontal(pl.col(name).is_not_null() for name in form.items)
            answers.append(_answers(rows.filter(is_answered), form, spec))
        if form.total:
            totals.append(_totals(rows.filter(pl.col(form.total).is_not_null()), form))
    landed = [part.get_column(ROW_NUMBER) for part in (*answers, *totals)]
    batch.frames = {
        stream: pl.concat(parts)
        for stream, parts in (("questionnaire_answers", answers), ("questionnaire_totals", totals))
        if parts
    }
    seen = pl.concat(landed).unique() if landed else pl.Series(ROW_NUMBER, [], dtype=pl.Int64)
    nowhere = frame.filter(~pl.col(ROW_NUMBER).is_in(seen.implode())).get_column(ROW_NUMBER)
    batch.faults.extend((number, "", "not_contracted") for number in nowhere)


def _moment(column: str) -> pl.Expr:
    """A REDCap time as ISO text, a day as noon of it; ``[not completed]`` and anything else stays missing."""
    value = pl.col(column).str.replace(" ", "T", literal=True)
    return (
        pl.when(value.str.contains(_DAY))
        .then(value + "T12:00:00")
        .when(value.str.contains(r"^\d{4}-\d{2}-\d{2}T"))
        .then(value)
    )


def _response(frame: pl.DataFrame, form: _Form, project: _Project, spec: RedcapSpec) -> pl.DataFrame:
    parts = [pl.col(name).fill_null("") for name in (project.record, *_EVENT)]
    times = [_moment(name) for name in (f"{form.form}_timestamp", form.answered) if name in frame.columns]
    status = pl.col(f"{form.form}_complete").fill_null("0")
    return frame.with_columns(
        pl.when(pl.col(project.record).is_not_null())
        .then(pl.concat_str([*parts, pl.lit(form.form)], separator="|"))
        .alias("response_code"),
        pl.col(project.record).alias("person_code"),
        pl.lit(form.instrument_code).alias("instrument_code"),
        (pl.coalesce(times) if times else pl.lit(None, dtype=pl.String)).alias("answered_at"),
        status.replace_strict(spec.statuses, default=status, return_dtype=pl.String).alias("response_status"),
    )


_RESPONSE = ["response_code", "person_code", "instrument_code", "answered_at", "response_status", ROW_NUMBER]


def _answers(rows: pl.DataFrame, form: _Form, spec: RedcapSpec) -> pl.DataFrame:
    states = {code: state for state, codes in spec.missing_codes.items() for code in codes}
    long = rows.unpivot(list(form.items), index=_RESPONSE, variable_name="field", value_name="value")
    value = pl.col("value")
    state = value.replace_strict(list(states), list(states.values()), default="answered", return_dtype=pl.String)
    return long.select(
        *_RESPONSE,
        pl.col("field").replace_strict(form.items, return_dtype=pl.String).alias("item_number"),
        pl.when(value.is_null()).then(pl.lit("missing")).otherwise(state).alias("answer_state"),
        pl.when(~value.is_in(list(states))).then(value).alias("answer_value"),
        pl.lit("scored_value").alias("answer_value_kind"),
    )


def _totals(rows: pl.DataFrame, form: _Form) -> pl.DataFrame:
    return rows.select(*_RESPONSE, pl.col(form.total or "").alias("total_value"))
