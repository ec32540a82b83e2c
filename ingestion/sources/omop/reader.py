"""OMOP CDM tables to rows of the contracts. Concept ids mean what the delivery's own CONCEPT.csv says they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl

from ingestion import reading
from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.files import SourceFile, open_bytes
from ingestion.problems import RefusedFile
from ingestion.reading import BLOCK_BYTES, ROW_NUMBER, CsvForm
from ingestion.sources.columns import in_slices, known_columns
from screening.definitions import definitions

_NO_CONCEPT = "0"
_NEEDS_NO_CONCEPTS = ("person", "death")
_CONCEPT_COLUMNS = ["concept_id", "vocabulary_id", "concept_code"]
_DAYTIME = "T12:00:00"
_NUMBER = r"^-?\d+(\.\d+)?$"
Spec = dict[str, Any]


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """By table name and by the key columns of the table in its header."""
    match = re.match(str(context.spec["file_name"]), file.name, re.IGNORECASE)
    if match is None:
        return None
    table = match["table"].lower()
    delimiter = _delimiter(file, context)
    header = reading.read_csv_header(file, limit_bytes=context.limit_bytes, form=CsvForm(delimiter))
    if not set(context.spec["tables"][table]["read"][:2]) <= {name.lower() for name in header}:
        return None
    wanted = {"person": "death", "death": "person"}.get(table)
    pattern = rf"{wanted}\.csv(\.gz)?" if wanted else str(context.spec["concept_file"])
    beside = file.siblings(re.compile(pattern, re.IGNORECASE))
    return Recognition("csv", None, {"table": table, "delimiter": delimiter}, tuple(beside[:1]))


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """The table's rows; a row that cannot be translated is quarantined, never guessed."""
    table, delimiter = recognition.detail["table"], recognition.detail["delimiter"]
    beside = recognition.companions[0] if recognition.companions else None
    if beside is None and table != "person":
        needed = "PERSON.csv" if table == "death" else "CONCEPT.csv"
        raise RefusedFile(
            "missing_companion",
            f"{needed} is not beside the table",
            remedy=f"send {needed} of the same delivery with it",
        )
    if table in _NEEDS_NO_CONCEPTS:
        concepts, other = _concept_frame([]), _other(beside, context)
    else:
        concepts, other = _concepts(beside, context) if beside else _concept_frame([]), None
    for frame in reading.read_csv(file, limit_bytes=context.limit_bytes, form=CsvForm(delimiter)):
        for part in in_slices(frame, 1):
            batch = Batch(records=len(part))
            rows = _Rows(_columns(part, table, batch, context), batch, concepts, context.spec, other)
            _HANDLERS[table](rows)
            yield batch


def _delimiter(file: SourceFile, context: ReadContext) -> str:
    """CDM exports are comma separated, vocabularies from Athena tab separated; the header line tells which."""
    line = reading.read_csv_header(file, limit_bytes=context.limit_bytes, form=CsvForm("\t"))
    return "\t" if len(line) > 1 else ","


def _columns(frame: pl.DataFrame, table: str, batch: Batch, context: ReadContext) -> pl.DataFrame:
    listed = context.spec["tables"][table]
    plain = frame.rename({name: name.lower() for name in frame.columns})
    return known_columns(
        plain,
        listed["read"],
        is_never_read=lambda name: name in listed["never_read"],
        optional=listed["read"][2:],
        known_by="the CDM 5.4 table",
        batch=batch,
        context=context,
    )


def _other(beside: SourceFile | None, context: ReadContext) -> pl.DataFrame | None:
    """PERSON beside DEATH, or DEATH beside PERSON: one statement of a person needs both."""
    if beside is None:
        return None
    table = "person" if beside.name.lower().startswith("person") else "death"
    form = CsvForm(_delimiter(beside, context))
    frames = [
        _columns(frame, table, Batch(), context)
        for frame in reading.read_csv(beside, limit_bytes=context.limit_bytes, form=form)
    ]
    return pl.concat(frames).drop(ROW_NUMBER).unique("person_id", keep="last", maintain_order=True)


def _concept_frame(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(_CONCEPT_COLUMNS, pl.String), orient="row")


def _concepts(file: SourceFile, context: ReadContext) -> pl.DataFrame:
    """Ids, vocabularies and codes of the concepts. Names are never read: quotes in them are not escaped at Athena."""
    delimiter = _delimiter(file, context)
    if delimiter == ",":
        frames = reading.read_csv(file, limit_bytes=context.limit_bytes)
        parts = [_concept_part(frame) for frame in frames]
    else:
        parts = [_concept_part(frame) for frame in _unquoted(file, context)]
    return pl.concat(parts).unique("concept_id", keep="first", maintain_order=True)


def _concept_part(frame: pl.DataFrame) -> pl.DataFrame:
    plain = frame.rename({name: name.lower() for name in frame.columns})
    if not set(_CONCEPT_COLUMNS) <= set(plain.columns):
        raise RefusedFile("vocabulary", "CONCEPT.csv lacks its columns", remedy="send the CONCEPT table of the CDM")
    return plain.select(_CONCEPT_COLUMNS).drop_nulls()


def _unquoted(file: SourceFile, context: ReadContext) -> Iterator[pl.DataFrame]:
    """Blocks of a tab separated file in which a quote is a character like any other."""
    header: list[str] | None = None
    rest = b""
    with open_bytes(file, limit_bytes=context.limit_bytes) as stream:
        while chunk := stream.read(BLOCK_BYTES):
            head, _, rest = (rest + chunk).rpartition(b"\n")
            if header is None and head:
                line, _, head = head.partition(b"\n")
                header = line.decode("utf-8", errors="replace").rstrip("\r").split("\t")
            if head and header is not None:
                yield _tab_frame(head, header)
    if header is not None and rest:
        yield _tab_frame(rest, header)


def _tab_frame(block: bytes, header: list[str]) -> pl.DataFrame:
    try:
        return pl.read_csv(
            block, separator="\t", quote_char=None, has_header=False, new_columns=header, infer_schema=False
        ).select(pl.col(name).str.strip_suffix("\r") for name in header)
    except pl.exceptions.PolarsError as error:
        raise RefusedFile("vocabulary", "CONCEPT.csv is not readable", remedy="send it as Athena gives it") from error


@dataclass
class _Rows:
    """The rows of one table on their way; a row that a rule holds back takes no further part."""

    frame: pl.DataFrame
    batch: Batch
    concepts: pl.DataFrame
    spec: Spec
    other: pl.DataFrame | None

    def hold(self, condition: pl.Expr, column: str, rule: str) -> None:
        """Quarantine the rows of a condition."""
        is_held = condition.fill_null(False)
        self.batch.faults.extend((n, column, rule) for n in self.frame.filter(is_held).get_column(ROW_NUMBER))
        self.frame = self.frame.filter(~is_held)

    def land(self, stream: str, frame: pl.DataFrame, **columns: pl.Expr) -> None:
        """Rows of a stream from rows of the table."""
        made = frame.select(*(value.cast(pl.String).alias(name) for name, value in columns.items()), ROW_NUMBER)
        self.batch.frames[stream] = made

    def translate(self, column: str, prefix: str) -> None:
        """Add vocabulary and code of a concept column; both missing where the id is 0, absent or unknown."""
        named = self.concepts.rename({"vocabulary_id": f"{prefix}_vocabulary", "concept_code": f"{prefix}_code"})
        self.frame = self.frame.join(named, left_on=column, right_on="concept_id", how="left", maintain_order="left")

    def choose(self, name: str, systems: tuple[str, ...]) -> None:
        """``system`` and ``code`` of the standard concept, or of the source's own where that one is contracted.

        What names no concept of the delivery is an unknown code; what lies in another vocabulary is not contracted.
        """
        self.translate(f"{name}_concept_id", "standard")
        self.translate(f"{name}_source_concept_id", "own")
        listed = {vocabulary: code for vocabulary, code in self.spec["code_systems"].items() if code in systems}
        standard = _translated(pl.col("standard_vocabulary"), listed)
        own = _translated(pl.col("own_vocabulary"), listed)
        self.frame = self.frame.with_columns(
            pl.coalesce(standard, own).alias("system"),
            pl.when(standard.is_not_null())
            .then("standard_code")
            .when(own.is_not_null())
            .then("own_code")
            .alias("code"),
        )
        unnamed = pl.col("standard_vocabulary").is_null() & pl.col("own_vocabulary").is_null()
        self.hold(unnamed, f"{name}_concept_id", "unknown_code")
        self.hold(pl.col("system").is_null(), f"{name}_concept_id", "not_contracted")


def _translated(column: pl.Expr, codes: dict[str, str]) -> pl.Expr:
    return column.replace_strict(list(codes), list(codes.values()), default=None, return_dtype=pl.String)


def _moment(name: str, day: str) -> pl.Expr:
    """The time as sent; where only the day is known, noon of it."""
    return pl.coalesce(pl.col(name).str.replace(" ", "T", literal=True), pl.col(day) + _DAYTIME)


def _there(column: str) -> pl.Expr:
    """A concept column that names a concept."""
    return pl.col(column).is_not_null() & (pl.col(column) != _NO_CONCEPT)


def _constant(rows: _Rows, name: str) -> pl.Expr:
    return pl.lit(rows.spec["statuses"][name])


def _person(rows: _Rows) -> None:
    deaths = rows.other.select("person_id", "death_date") if rows.other is not None else None
    if deaths is None:
        _people(rows, rows.frame.with_columns(pl.lit(None, dtype=pl.String).alias("death_date")))
    else:
        _people(rows, rows.frame.join(deaths, on="person_id", how="left", maintain_order="left"))


def _death(rows: _Rows) -> None:
    if rows.other is not None:
        _people(rows, rows.frame.join(rows.other, on="person_id", how="left", maintain_order="left"))


def _people(rows: _Rows, frame: pl.DataFrame) -> None:
    born = [pl.col("year_of_birth"), *(pl.col(part).str.zfill(2) for part in ("month_of_birth", "day_of_birth"))]
    rows.land(
        "people",
        frame,
        person_code=pl.col("person_id"),
        birth_date=pl.concat_str(born, separator="-"),
        sex=pl.col("gender_concept_id").replace(rows.spec["genders"]),
        deceased_date=pl.col("death_date"),
    )


def _visit(rows: _Rows) -> None:
    rows.translate("visit_concept_id", "visit")
    frame = rows.frame
    rows.land(
        "care_contacts",
        frame,
        contact_code=pl.col("visit_occurrence_id"),
        person_code=pl.col("person_id"),
        contact_at=_moment("visit_start_datetime", "visit_start_date"),
    )
    is_classed = (pl.col("visit_vocabulary") == "Visit") & pl.col("visit_code").is_in(list(rows.spec["visit_classes"]))
    rows.land(
        "contact_codes",
        frame.filter(is_classed.fill_null(False)),
        contact_code=pl.col("visit_occurrence_id"),
        person_code=pl.col("person_id"),
        code_role=pl.lit("class"),
        code_system=pl.lit("hl7_act_code"),
        code=_translated(pl.col("visit_code"), rows.spec["visit_classes"]),
    )


def _condition(rows: _Rows) -> None:
    rows.choose("condition", ("snomed_ct", "icd_10", "icd_10_cm"))
    rows.land(
        "diagnoses",
        rows.frame,
        diagnosis_code_id=pl.col("condition_occurrence_id"),
        person_code=pl.col("person_id"),
        contact_code=pl.col("visit_occurrence_id"),
        code_system=pl.col("system"),
        code=pl.col("code"),
        onset_date=pl.col("condition_start_date"),
        abatement_date=pl.col("condition_end_date"),
    )


def _drug(rows: _Rows) -> None:
    rows.choose("drug", ("rxnorm", "snomed_ct"))
    rows.land(
        "medications",
        rows.frame,
        medication_request_code=pl.col("drug_exposure_id"),
        person_code=pl.col("person_id"),
        contact_code=pl.col("visit_occurrence_id"),
        request_status=_constant(rows, "medication"),
        request_intent=_constant(rows, "medication_intent"),
        authored_at=_moment("drug_exposure_start_datetime", "drug_exposure_start_date"),
        code_system=pl.col("system"),
        code=pl.col("code"),
        supply_days=_plain_number("days_supply"),
    )


def _procedure(rows: _Rows) -> None:
    rows.choose("procedure", ("snomed_ct", "cpt", "hcpcs"))
    rows.land(
        "procedures",
        rows.frame,
        procedure_record_code=pl.col("procedure_occurrence_id"),
        person_code=pl.col("person_id"),
        contact_code=pl.col("visit_occurrence_id"),
        procedure_status=_constant(rows, "procedure"),
        performed_start_at=_moment("procedure_datetime", "procedure_date"),
        code_system=pl.col("system"),
        code=pl.col("code"),
    )


def _payer(rows: _Rows) -> None:
    rows.translate("payer_concept_id", "payer")
    rows.translate("payer_source_concept_id", "own")
    code = pl.coalesce(
        pl.when(pl.col("payer_vocabulary") == "SOPT").then("payer_code"),
        pl.when(pl.col("own_vocabulary") == "SOPT").then("own_code"),
    )
    rows.frame = rows.frame.with_columns(
        _translated(code.str.slice(0, 1), rows.spec["payer_categories"]).alias("category")
    )
    rows.hold(pl.col("category").is_null(), "payer_concept_id", "unknown_code")
    rows.land(
        "coverages",
        rows.frame,
        coverage_code=pl.col("payer_plan_period_id"),
        person_code=pl.col("person_id"),
        payer_category=pl.col("category"),
        coverage_status=_constant(rows, "coverage"),
        coverage_start_date=pl.col("payer_plan_period_start_date"),
        coverage_end_date=pl.col("payer_plan_period_end_date"),
    )


@cache
def _items() -> dict[str, tuple[str, str]]:
    """Item LOINC -> (instrument, item number): of the largest instrument that asks it, as FHIR items one by one."""
    sizes = {row["instrument_code"]: int(row["item_count"] or 0) for row in definitions("instruments")}
    found: dict[str, tuple[str, str]] = {}
    for row in sorted(definitions("instrument_items"), key=lambda row: sizes[row["instrument_code"]]):
        if row["loinc_code"]:
            found[row["loinc_code"]] = (row["instrument_code"], row["item_number"])
    return found


@cache
def _totals() -> dict[str, str]:
    return {row["loinc_total"]: row["instrument_code"] for row in definitions("instruments") if row["loinc_total"]}


@cache
def _answers() -> dict[str, str]:
    return {
        row["code"]: row["answer_value"] for row in definitions("answer_codes") if row["answer_state"] == "answered"
    }


def _plain_number(column: str) -> pl.Expr:
    return pl.col(column).str.replace(r"^(-?\d+)\.0+$", "$1")


def _observed(table: str, rows: _Rows) -> None:
    """Measurements and observations: totals and items of instruments, other coded results, and what has no value."""
    rows.choose(table, ("loinc", "snomed_ct"))
    rows.translate("value_as_concept_id", "value")
    is_loinc = pl.col("system") == "loinc"
    items, totals, answers = _items(), _totals(), _answers()
    rows.frame = rows.frame.with_columns(
        pl.when(is_loinc).then(_translated(pl.col("code"), totals)).alias("total_of"),
        pl.when(is_loinc).then(_translated(pl.col("code"), {c: i[0] for c, i in items.items()})).alias("item_of"),
        pl.when(is_loinc).then(_translated(pl.col("code"), {c: i[1] for c, i in items.items()})).alias("item"),
        pl.when(pl.col("value_vocabulary") == "LOINC").then(_translated(pl.col("value_code"), answers)).alias("answer"),
        _moment(f"{table}_datetime", f"{table}_date").alias("at"),
        (_there("unit_concept_id") | pl.col("unit_source_value").is_not_null()).alias("has_unit"),
    )
    has_number, has_concept = pl.col("value_as_number").is_not_null(), _there("value_as_concept_id")
    is_scored = pl.col("total_of").is_not_null() | pl.col("item_of").is_not_null()
    rows.hold(is_loinc & ~has_number & ~has_concept, "value_as_number", "value_missing")
    rows.hold(pl.col("total_of").is_not_null() & ~has_number, "value_as_number", "value_missing")
    rows.hold(
        pl.col("item_of").is_not_null() & ~has_number & pl.col("answer").is_null(),
        "value_as_concept_id",
        "unknown_code",
    )
    rows.hold(~is_scored & (pl.col("has_unit") & has_number), "unit_concept_id", "not_contracted")
    systems = {vocabulary: rows.spec["code_systems"][vocabulary] for vocabulary in ("SNOMED", "LOINC")}
    rows.frame = rows.frame.with_columns(_translated(pl.col("value_vocabulary"), systems).alias("value_system"))
    unknown_value = ~is_scored & has_concept & pl.col("value_system").is_null()
    rows.hold(unknown_value, "value_as_concept_id", "unknown_code")
    rows.hold(has_number & ~pl.col("value_as_number").str.contains(_NUMBER), "value_as_number", "decimal")
    _land_observed(table, rows)


def _land_observed(table: str, rows: _Rows) -> None:
    record = pl.concat_str(pl.lit(table), pl.col(f"{table}_id"), separator="|")
    about = {"person_code": pl.col("person_id"), "contact_code": pl.col("visit_occurrence_id")}
    answered = {**about, "answered_at": pl.col("at"), "response_status": _constant(rows, "response")}
    is_total, is_item = pl.col("total_of").is_not_null(), pl.col("item_of").is_not_null()
    rows.land(
        "questionnaire_totals",
        rows.frame.filter(is_total),
        **answered,
        response_code=record,
        instrument_code=pl.col("total_of"),
        total_value=pl.col("value_as_number"),
    )
    # Items sent one by one belong together when they share person, visit and time.
    shared = [pl.col(name).fill_null("") for name in ("person_id", "visit_occurrence_id", "at", "item_of")]
    rows.land(
        "questionnaire_answers",
        rows.frame.filter(is_item & ~is_total),
        **answered,
        response_code=pl.concat_str(shared, separator="|"),
        instrument_code=pl.col("item_of"),
        item_number=pl.col("item"),
        answer_state=pl.lit("answered"),
        answer_value=pl.coalesce(_plain_number("value_as_number"), pl.col("answer")),
        answer_value_kind=pl.lit("scored_value"),
    )
    rows.land(
        "coded_observations",
        rows.frame.filter(~is_item & ~is_total),
        **about,
        observation_record_code=record,
        observation_status=_constant(rows, "observation"),
        code_system=pl.col("system"),
        code=pl.col("code"),
        value_code_system=pl.col("value_system"),
        value_code=pl.when(pl.col("value_system").is_not_null()).then("value_code"),
        value_number=pl.col("value_as_number"),
        effective_at=pl.col("at"),
    )


_HANDLERS: dict[str, Callable[[_Rows], None]] = {
    "person": _person,
    "death": _death,
    "visit_occurrence": _visit,
    "condition_occurrence": _condition,
    "drug_exposure": _drug,
    "procedure_occurrence": _procedure,
    "measurement": lambda rows: _observed("measurement", rows),
    "observation": lambda rows: _observed("observation", rows),
    "payer_plan_period": _payer,
}
