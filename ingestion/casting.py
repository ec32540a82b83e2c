"""From text to the contract's types, whole columns at a time; what does not fit is listed by row, column and rule."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from functools import cache

import polars as pl

from caseness.settings import Settings
from ingestion import clinical_codes, deidentification
from ingestion.batches import SHARED_ROW
from ingestion.contracts import Column, Contract
from ingestion.exact_forms import distinct, has_form, nulls, plain_numbers, split_times
from ingestion.pseudonyms import Pseudonymiser
from ingestion.reading import ROW_NUMBER
from screening.definitions import definitions

_POLARS_TYPES: dict[str, pl.DataType] = {
    "varchar": pl.String(),
    "integer": pl.Int32(),
    "double": pl.Float64(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us"),
    "boolean": pl.Boolean(),
    "bigint": pl.Int64(),
}
_LATEST_POSSIBLE_YEAR = "2100-01-01"
# (?-u) keeps \d to the ASCII digits: full-width digits would pass otherwise, and then fail to be numbers.
_TIMESTAMP = r"(?-u)^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?$"
_OFFSET = r"(?-u)(Z|[+-]\d{2}:\d{2})$"
_INTEGER = r"(?-u)^-?(0|[1-9]\d{0,8})$"
_DECIMAL = r"(?-u)^-?(0|[1-9]\d{0,8})(\.\d{1,17})?$"
_DATE_FORM = "0000-00-00"
_LAST_YEAR, _LARGEST_WHOLE = 9999, 999_999_999  # of the forms above
_USUAL_TIMES = tuple(
    "0000-00-00T00:00:00" + tail for tail in ("Z", "+00:00", ".000Z", ".000+00:00", "", ".000000Z", ".000000+00:00")
)
_FEW_TEXTS = ("boolean", "pattern", "time_zone")
_PARTIAL_DATE = r"(?-u)^\d{4}(-\d{2})?$"


def polars_type(duckdb_type: str) -> pl.DataType:
    """The polars type a landed DuckDB type is written as."""
    return _POLARS_TYPES[duckdb_type]


@dataclass(frozen=True)
class Cast:
    """A typed frame (all rows, in order) and the problems found in it."""

    frame: pl.DataFrame
    problems: pl.DataFrame  # source_row_number, column_name, rule


def empty_problems() -> pl.DataFrame:
    """No problems, typed."""
    return pl.DataFrame(schema={ROW_NUMBER: pl.Int64, "column_name": pl.String, "rule": pl.String})


def cast(
    text: pl.DataFrame,
    contract: Contract,
    *,
    settings: Settings,
    pseudonymiser: Pseudonymiser,
    namespace: str,
    time_zone: str | None,
    shared: pl.DataFrame | None = None,
) -> Cast:
    """Apply ``contract`` to a text frame (columns by source name plus ``source_row_number``).

    Whole numbers, days and booleans may come as such where the contract wants them. Columns that the frame lacks are
    missing; columns of ``shared`` are cast once and then repeated, as the frame's ``shared_row`` says (``Batch``).
    Values that break a rule become missing and are listed once each. The de-identification profile in force
    alters the contract and may move dates; ``RefusedFile`` for what it rules out.
    """
    deidentification.check_profile(text, contract, settings)
    contract = deidentification.contract_for(contract, settings)
    rows = text.get_column(ROW_NUMBER)
    landed: dict[str, pl.Series] = {}
    problems: list[pl.DataFrame] = []

    def complain(mask: pl.Series, column: Column, rule: str) -> None:
        if mask.any():
            numbers = rows.filter(mask)
            problems.append(
                pl.DataFrame({ROW_NUMBER: numbers}).with_columns(
                    pl.lit(column.name).alias("column_name"), pl.lit(rule).alias("rule")
                )
            )

    for column in contract.columns:
        done = _column(
            column,
            text,
            shared,
            settings=settings,
            pseudonymiser=pseudonymiser,
            namespace=namespace,
            time_zone=time_zone,
        )
        for rule, mask in done.faults:
            complain(mask, column, rule)
        if column.landed_name is not None:
            landed[column.landed_name] = done.typed.cast(_POLARS_TYPES[column.landed_type]).alias(column.landed_name)
        if column.local_date_as and done.local_date is not None:
            landed[column.local_date_as] = done.local_date.alias(column.local_date_as)
    frame = pl.DataFrame([*landed.values(), rows])
    problems.extend(_row_rules(frame, text, contract))
    ownerless = deidentification.rows_without_shift(frame, contract, settings)
    if ownerless is not None:
        complain(
            ownerless, next(c for c in contract.columns if c.landed_name == "person_token"), "shift_without_person"
        )
    frame = deidentification.shift_dates(frame, contract, settings=settings, pseudonymiser=pseudonymiser)
    return Cast(frame, pl.concat(problems) if problems else empty_problems())


def cast_tokens(
    text: pl.DataFrame,
    contract: Contract,
    *,
    settings: Settings,
    pseudonymiser: Pseudonymiser,
    namespace: str,
    shared: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The tokens alone that ``cast`` would land, row by row in the same order: what another key makes of the codes."""
    contract = deidentification.contract_for(contract, settings)
    landed = [text.get_column(ROW_NUMBER)]
    for column in contract.columns:
        if column.landed_name in deidentification.tokens_of(contract):
            done = _column(
                column,
                text,
                shared,
                settings=settings,
                pseudonymiser=pseudonymiser,
                namespace=namespace,
                time_zone=None,
            )
            landed.append(done.typed.cast(pl.String).alias(column.landed_name))
    return pl.DataFrame(landed)


@dataclass(frozen=True)
class _Done:
    """A column as it lands, and which rows break which rule."""

    typed: pl.Series
    faults: list[tuple[str, pl.Series]]
    local_date: pl.Series | None

    def repeated(self, places: pl.Series) -> _Done:
        """The column of rows that share its values."""
        faults = [(rule, mask.gather(places)) for rule, mask in self.faults if mask.any()]
        local_date = None if self.local_date is None else self.local_date.gather(places)
        return _Done(self.typed.gather(places), faults, local_date)


def _column(
    column: Column,
    text: pl.DataFrame,
    shared: pl.DataFrame | None,
    *,
    settings: Settings,
    pseudonymiser: Pseudonymiser,
    namespace: str,
    time_zone: str | None,
) -> _Done:
    """One column of a frame, by its kind and by what every column is asked; one that rows share is cast once."""
    if shared is not None and column.name in shared.columns:
        done = _column(
            column,
            shared,
            None,
            settings=settings,
            pseudonymiser=pseudonymiser,
            namespace=namespace,
            time_zone=time_zone,
        )
        return done.repeated(text.get_column(SHARED_ROW))
    values = (
        text.get_column(column.name)
        if column.name in text.columns
        else pl.Series(column.name, dtype=pl.String).clear(len(text))
    )
    typed, faults, local_date = deidentification.typed(
        values, column, text, settings=settings, namespace=namespace
    ) or _typed(values, column, text, pseudonymiser=pseudonymiser, namespace=namespace, time_zone=time_zone)
    if column.kind == "clinical_code":
        typed, faults = _clinical_codes(values, column, text, settings)
    found = [("required", values.is_null())] if column.is_required else []
    found += [(rule, mask.fill_null(False) & values.is_not_null()) for rule, mask in faults]
    if column.kind in ("date", "timestamp") and column.is_service_date:
        early = (typed.dt.date() if column.kind == "timestamp" else typed) < settings.programme_start_date
        early = early.fill_null(False)
        found.append(("before_programme_start", early))
        if early.any():  # where only the field becomes missing, what may be a birth date must not stay
            typed = typed.set(early, None)
            local_date = None if local_date is None else local_date.set(early, None)
    return _Done(typed, found, local_date)


@cache
def _instruments_with_reversed_items() -> list[str]:
    """Where a scored value and a position on the form differ; elsewhere both mean the same."""
    rows = definitions("instrument_items")
    return sorted({row["instrument_code"] for row in rows if row["is_reverse_keyed"] == "true"})


@cache
def _instruments_without_items() -> list[str]:
    """Those of which only totals are known: nothing says what an answer to them is worth."""
    return sorted(row["instrument_code"] for row in definitions("instruments") if not row["item_count"])


@cache
def _instruments_without_total() -> list[str]:
    """Those whose answers add up to no total: scales, or levels of a risk."""
    return sorted(row["instrument_code"] for row in definitions("instruments") if row["has_total"] == "false")


def _row_rules(frame: pl.DataFrame, text: pl.DataFrame, contract: Contract) -> list[pl.DataFrame]:
    """Rules that need two columns of a row. A value that was given and is no number is told once, as that."""
    found = []
    if contract.stream == "questionnaire_answers":
        none = pl.Series([False] * len(text), dtype=pl.Boolean)
        is_given = text.get_column("answer_value").is_not_null() if "answer_value" in text.columns else none
        wrong = frame.filter((pl.col("answer_state") == "answered") != is_given)
        found.append((wrong.get_column(ROW_NUMBER), "answer_value", "answer_consistency"))
        unstated = frame.filter(
            (pl.col("answer_state") == "answered")
            & pl.col("answer_value_kind").is_null()
            & pl.col("instrument_code").is_in(_instruments_with_reversed_items())
        )
        found.append((unstated.get_column(ROW_NUMBER), "answer_value_kind", "answer_kind_unstated"))
        undefined = frame.filter(pl.col("instrument_code").is_in(_instruments_without_items()))
        found.append((undefined.get_column(ROW_NUMBER), "instrument_code", "items_not_defined"))
    if contract.stream == "questionnaire_totals":
        undefined = frame.filter(pl.col("instrument_code").is_in(_instruments_without_total()))
        found.append((undefined.get_column(ROW_NUMBER), "instrument_code", "total_not_defined"))
    if contract.stream == "person_links":
        wrong = frame.filter(pl.col("person_token") == pl.col("linked_person_token"))
        found.append((wrong.get_column(ROW_NUMBER), "linked_person_code", "link_to_itself"))
    return [
        pl.DataFrame({ROW_NUMBER: numbers}).with_columns(pl.lit(name).alias("column_name"), pl.lit(rule).alias("rule"))
        for numbers, name, rule in found
        if len(numbers)
    ]


Typed = tuple[pl.Series, list[tuple[str, pl.Series]], pl.Series | None]


def _typed(
    values: pl.Series,
    column: Column,
    text: pl.DataFrame,
    *,
    pseudonymiser: Pseudonymiser,
    namespace: str,
    time_zone: str | None,
) -> Typed:
    if column.kind in _FEW_TEXTS and values.dtype == pl.String:
        texts, places = distinct(values)
        typed, faults, _ = _typed_text(texts, column)
        return typed.gather(places), [(rule, mask.gather(places)) for rule, mask in faults], None
    if column.kind == "token":
        return _tokens(values, column, text, pseudonymiser=pseudonymiser, namespace=namespace)
    if column.kind == "timestamp":
        return _timestamps(values, time_zone)
    if column.kind == "date":
        return _dates(values, column)
    return _typed_text(values, column)


def _typed_text(values: pl.Series, column: Column) -> Typed:
    """Kinds that are judged by a value's text alone."""
    if column.kind in ("integer", "decimal"):
        return _numbers(values, column)
    if column.kind == "boolean" and values.dtype == pl.Boolean:
        return values, [], None
    if column.kind == "boolean":
        known = values.is_in(["true", "false"])
        return (values == "true").set(~known.fill_null(False), None), [("boolean", ~known)], None
    if column.kind == "enumeration":
        known = values.is_in(list(column.values))
        kept = values.set(~known.fill_null(False), None)
        return kept, [("unknown_code", ~known)], None
    if column.kind == "clinical_code":
        return values, [], None  # judged with its system, by the caller
    if column.kind == "time_zone":
        known = values.is_in(sorted(zoneinfo.available_timezones()))
        return values.set(~known.fill_null(False), None), [("time_zone", ~known)], None
    fits = values.str.contains(f"^(?:{column.pattern})$")
    return values.set(~fits.fill_null(False), None), [("pattern", ~fits)], None


def _clinical_codes(
    values: pl.Series, column: Column, text: pl.DataFrame, settings: Settings
) -> tuple[pl.Series, list[tuple[str, pl.Series]]]:
    systems = (
        text.get_column(column.system_column)
        if column.system_column in text.columns
        else pl.Series([None] * len(text), dtype=pl.String)
    )
    return clinical_codes.check_codes(values, systems, extra=clinical_codes.local_members(settings.paths.value_sets))


def _numbers(values: pl.Series, column: Column) -> Typed:
    fits, typed = (
        _whole_numbers(values) if column.kind == "integer" else _shaped_numbers(values, _DECIMAL, pl.Float64())
    )
    outside = nulls(values, pl.Boolean).fill_null(False)
    if column.minimum is not None:
        outside = outside | (typed.cast(pl.Float64) < float(column.minimum)).fill_null(False)
    if column.maximum is not None:
        outside = outside | (typed.cast(pl.Float64) > float(column.maximum)).fill_null(False)
    return typed.set(outside, None) if outside.any() else typed, [(column.kind, ~fits), ("range", outside)], None


def _whole_numbers(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Which texts are whole numbers, and the numbers: at once where they are written plainly, else by their shape.

    Numbers that the file types itself are judged as their shortest texts would be.
    """
    if values.dtype != pl.String:
        fits = values.is_between(-_LARGEST_WHOLE, _LARGEST_WHOLE)
        return fits, (values if fits.all() else values.set(~fits, None)).cast(pl.Int32)
    plain, typed = plain_numbers(values)
    odd = ~plain & values.is_not_null()
    if not odd.any():
        return plain, typed
    fits, numbers = _shaped_numbers(values.filter(odd), _INTEGER, pl.Int32())
    rows = odd.arg_true()
    return plain.scatter(rows, fits), typed.scatter(rows, numbers)


def _shaped_numbers(values: pl.Series, shape: str, kind: pl.DataType) -> tuple[pl.Series, pl.Series]:
    fits = values.str.contains(shape)
    return fits, values.set(~fits.fill_null(False), None).cast(kind)


def _dates(values: pl.Series, column: Column) -> Typed:
    if values.dtype == pl.Date:
        typed = values if values.dt.year().is_between(0, _LAST_YEAR).all() else _of_four_digits(values)
        is_partial = nulls(values, pl.Boolean).fill_null(False)
    else:
        is_shaped = has_form(values, _DATE_FORM)
        shaped = values if is_shaped.all() else values.set(~is_shaped, None)
        typed = shaped.str.to_date("%Y-%m-%d", strict=False)
        is_partial = _is_partial_date(values, typed)
    wrong = typed.is_null()
    bounds = pl.Series([column.minimum or "1850-01-01", _LATEST_POSSIBLE_YEAR]).str.to_date("%Y-%m-%d")
    outside = ((typed < bounds[0]) | (typed >= bounds[1])).fill_null(False)
    faults = [("partial_date", is_partial), ("date", wrong & ~is_partial), ("range", outside)]
    return typed.set(outside, None) if outside.any() else typed, faults, None


def _is_partial_date(values: pl.Series, typed: pl.Series) -> pl.Series:
    """Which texts that became no date are a year or a month; only those are looked at, as they are few."""
    odd = typed.is_null() & values.is_not_null()
    none = pl.Series([False]).new_from_index(0, len(values))
    if not odd.any():
        return none
    return none.scatter(odd.arg_true(), values.filter(odd).str.contains(_PARTIAL_DATE))


def _of_four_digits(days: pl.Series) -> pl.Series:
    return days.set(~days.dt.year().is_between(0, _LAST_YEAR), None)


def _timestamps(values: pl.Series, time_zone: str | None) -> Typed:
    name = values.name
    work = _clocks(values)
    lacks = work.get_column("is_shaped") & work.get_column("offset_minutes").is_null()
    from_zone = (
        pl.col("local")
        .dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
        .dt.replace_time_zone(None)
        if time_zone and lacks.any()
        else pl.lit(None, dtype=pl.Datetime("us"))
    )
    work = work.with_columns(
        pl.when(pl.col("is_shaped") & (pl.col("offset_minutes").abs() <= 14 * 60))
        .then(pl.col("local") - pl.duration(minutes=pl.col("offset_minutes")))
        .when(lacks)
        .then(from_zone)
        .alias("utc")
    )
    wrong = work.get_column("utc").is_null()
    lacks_offset = lacks & wrong
    outside = (work.get_column("utc").dt.year() >= int(_LATEST_POSSIBLE_YEAR[:4])).fill_null(False)
    utc = work.get_column("utc").alias(name)
    local_date = work.get_column("local").dt.date().set(wrong, None)
    is_partial = _is_partial_date(values, utc)
    faults = [
        ("partial_date", is_partial),
        ("timestamp", wrong & ~lacks_offset & ~is_partial),
        ("timestamp_offset", lacks_offset),
        ("range", outside),
    ]
    return utc, faults, local_date


def _clocks(values: pl.Series) -> pl.DataFrame:
    """Whether each text is a time, the time on its clock without fractions, and its offset where it states one."""
    left = values
    found: list[pl.DataFrame] = []
    for form in _USUAL_TIMES:
        if left.null_count() == len(left):
            break
        is_shaped, local, minutes = split_times(left, form)
        if is_shaped.any():
            found.append(pl.DataFrame({"is_shaped": is_shaped, "local": local, "offset_minutes": minutes}))
            left = left.set(is_shaped, None)
    if not found or left.null_count() < len(left):
        found.append(_clocks_of_any_form(left))
    if len(found) == 1:
        return found[0]
    return pl.DataFrame(
        {
            "is_shaped": pl.select(pl.any_horizontal(*(part.get_column("is_shaped") for part in found))).to_series(),
            **{
                name: pl.select(pl.coalesce(*(part.get_column(name) for part in found))).to_series()
                for name in ("local", "offset_minutes")
            },
        }
    )


def _clocks_of_any_form(values: pl.Series) -> pl.DataFrame:
    work = pl.DataFrame({"text": values}).with_columns(
        pl.col("text").str.contains(_TIMESTAMP).fill_null(False).alias("is_shaped"),
        pl.col("text").str.extract(_OFFSET, 1).alias("offset"),
        pl.col("text").str.extract(r"(?-u)^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?)", 1).alias("clock"),
    )
    return work.select(
        "is_shaped",
        pl.when(pl.col("is_shaped") & (pl.col("clock").str.len_bytes() == len("2000-01-01T00:00")))
        .then(pl.col("clock") + ":00")
        .when("is_shaped")
        .then(pl.col("clock"))
        .str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")
        .alias("local"),
        pl.when("is_shaped")
        .then(
            pl.when(pl.col("offset") == "Z")
            .then(0)
            .otherwise(
                pl.when(pl.col("offset").str.starts_with("-")).then(-1).otherwise(1)
                * (
                    pl.col("offset").str.slice(1, 2).cast(pl.Int32, strict=False) * 60
                    + pl.col("offset").str.slice(4, 2).cast(pl.Int32, strict=False)
                )
            )
        )
        .alias("offset_minutes"),
    )


def _tokens(
    values: pl.Series, column: Column, text: pl.DataFrame, *, pseudonymiser: Pseudonymiser, namespace: str
) -> Typed:
    kind = column.token_kind or column.name
    if column.namespace_column or column.kind_column:
        return _tokens_by_row(values, column, text, pseudonymiser=pseudonymiser, namespace=namespace)
    codes, places = distinct(values)
    fits = _is_code(codes)
    made = nulls(codes, pl.String)
    if fits.any():
        tokens = pseudonymiser.token_series(codes.filter(fits), kind=kind, namespace=namespace)
        made = made.scatter(fits.arg_true(), tokens)
    return made.gather(places).alias(values.name), [("code_length", (~fits).gather(places))], None


def _is_code(values: pl.Series) -> pl.Series:
    return values.str.contains(r"^[^\x00-\x1f\x7f]{1,128}$") & (values.str.strip_chars() != "")


def _tokens_by_row(
    values: pl.Series, column: Column, text: pl.DataFrame, *, pseudonymiser: Pseudonymiser, namespace: str
) -> Typed:
    """Where another column says whose code it is, or of what kind."""
    fits = _is_code(values)
    kinds = text.get_column(column.kind_column) if column.kind_column else pl.lit(column.token_kind or column.name)
    spaces = text.get_column(column.namespace_column) if column.namespace_column else pl.lit(namespace)
    work = pl.DataFrame({"code": values.set(~fits.fill_null(False), None)})
    work = work.with_columns(kinds.alias("kind"), spaces.alias("namespace"))
    tokens: list[pl.DataFrame] = []
    for (space, kind), group in work.drop_nulls().unique().group_by("namespace", "kind"):
        found = pseudonymiser.token_series(group.get_column("code"), kind=str(kind), namespace=str(space))
        tokens.append(group.with_columns(found.alias("token")))
    if not tokens:
        return nulls(values, pl.String), [("code_length", ~fits)], None
    joined = work.join(pl.concat(tokens), on=["code", "namespace", "kind"], how="left", maintain_order="left")
    return joined.get_column("token").alias(values.name), [("code_length", ~fits)], None
