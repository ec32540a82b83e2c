"""The generic mapping: files that ``source.yml`` alone describes, whole columns at a time."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import Any

import orjson
import polars as pl

from ingestion import reading
from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.files import SourceFile
from ingestion.reading import ROW_NUMBER, CsvForm
from ingestion.sources.columns import in_slices, known_columns
from ingestion.sources.mapping_language import (
    Condition,
    Expression,
    FileMap,
    Mapping,
    Output,
    has_time,
    parse_mapping,
)
from ingestion.trailers import Trailer

Fault = tuple[int, str, str]
_NUMBER = r"^[+-]?\d{1,15}(\.\d{1,18})?$"
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_EXACT = Context(prec=60)
_READ_WHOLE = ("parquet", "xlsx")


@cache
def _parsed(body: bytes) -> Mapping:
    return parse_mapping(orjson.loads(body))


def _mapping(context: ReadContext) -> Mapping:
    return _parsed(orjson.dumps(context.spec, option=orjson.OPT_NON_STR_KEYS))


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """By the file patterns of the mapping, and by the header where the mapping names columns of it."""
    for number, kind in enumerate(_mapping(context).files):
        if not kind.pattern.search(file.label) or (kind.form in _READ_WHOLE and file.name.endswith(".gz")):
            continue
        if kind.header_has:
            header = reading.read_csv_header(file, limit_bytes=context.limit_bytes, form=_csv_form(kind))
            if not set(kind.header_has) <= set(header):
                continue
        streams = {output.stream for output in kind.streams}
        stream = streams.pop() if len(streams) == 1 else None
        return Recognition(kind.form, stream, {"file": number}, trailer_lines=int(kind.trailer is not None))
    return None


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """The file's rows as the mapping says. A row that lands nowhere is outside the contract, and is counted so."""
    mapping = _mapping(context)
    kind = mapping.files[recognition.detail["file"]]
    trailer = Trailer(kind.trailer) if kind.trailer is not None else None
    rows = 0
    for frame, faults in _slices(_frames(file, kind, context, trailer), kind):
        batch = Batch(records=len(frame) + len({number for number, _, rule in faults if rule == "invalid_record"}))
        rows += batch.records
        frame = _checked(frame, kind, batch, context)
        used = set(frame.columns)
        batch.faults = [fault for fault in faults if not fault[1] or fault[1] in used]
        _land(frame, kind, mapping, batch)
        yield batch
    if trailer is not None:
        trailer.check(rows)


def _slices(
    frames: Iterator[tuple[pl.DataFrame, list[Fault]]], kind: FileMap
) -> Iterator[tuple[pl.DataFrame, list[Fault]]]:
    for frame, faults in frames:
        given = frame.columns
        fan_out = sum(len(output.unpivot.names(given)) if output.unpivot else 1 for output in kind.streams)
        for number, part in enumerate(in_slices(frame, fan_out)):
            if len(part) == len(frame):
                yield part, faults
                continue
            here = set(part.get_column(ROW_NUMBER))
            yield (
                part,
                [fault for fault in faults if fault[0] in here or (number == 0 and fault[2] == "invalid_record")],
            )


def _csv_form(kind: FileMap) -> CsvForm:
    return CsvForm(kind.delimiter, kind.encoding, kind.line_breaks_in_fields)


def _frames(
    file: SourceFile, kind: FileMap, context: ReadContext, trailer: Trailer | None
) -> Iterator[tuple[pl.DataFrame, list[Fault]]]:
    limit, known = context.limit_bytes, sorted(kind.columns_read([]))
    if kind.form == "csv":
        form = _csv_form(kind)
        for frame in reading.read_csv(file, limit_bytes=limit, known=known, form=form, trailer=trailer):
            yield frame, []
    elif kind.form == "parquet":
        for frame in reading.read_parquet(file, limit_bytes=limit, known=known):
            yield frame, []
    elif kind.form == "xlsx":
        from ingestion.spreadsheets import read_xlsx  # openpyxl is slow to load, and few files need it

        for frame, errors in read_xlsx(file, sheet=kind.sheet, limit_bytes=limit, known=known):
            yield frame, [(number, column, "error_cell") for number, column in errors]
    else:
        for frame, broken in reading.read_ndjson(file, limit_bytes=limit, trailer=trailer):
            yield frame, [(number, "", "invalid_record") for number in broken]


def _checked(frame: pl.DataFrame, kind: FileMap, batch: Batch, context: ReadContext) -> pl.DataFrame:
    """The columns that are read; a batch of NDJSON may lack any of them."""
    wanted = kind.columns_read([name for name in frame.columns if name != ROW_NUMBER])
    return known_columns(
        frame,
        wanted,
        is_never_read=kind.is_never_read,
        optional=wanted if kind.form == "ndjson" else kind.optional,
        known_by="source.yml",
        batch=batch,
        context=context,
    )


def _land(frame: pl.DataFrame, kind: FileMap, mapping: Mapping, batch: Batch) -> None:
    landed = [pl.Series(ROW_NUMBER, [number for number, _, _ in batch.faults], dtype=pl.Int64)]
    frames: dict[str, list[pl.DataFrame]] = {}
    for output in kind.streams:
        rows = _unpivoted(frame, output)
        if output.when:
            rows = rows.filter([_holds(condition, kind, mapping) for condition in output.when])
        landed.append(rows.get_column(ROW_NUMBER))
        columns = []
        for name, expression in output.columns.items():
            values, problems = _made(rows, expression, kind, mapping)
            columns.append(values.alias(name))
            for rule, mask in problems:
                numbers = rows.get_column(ROW_NUMBER).filter(mask.fill_null(False)).unique()
                batch.faults.extend((number, name, rule) for number in numbers)
        frames.setdefault(output.stream, []).append(pl.DataFrame([*columns, rows.get_column(ROW_NUMBER)]))
    batch.frames = {stream: pl.concat(parts, how="diagonal") for stream, parts in frames.items()}
    nowhere = frame.filter(~pl.col(ROW_NUMBER).is_in(pl.concat(landed).unique().implode())).get_column(ROW_NUMBER)
    batch.faults.extend((number, "", "not_contracted") for number in nowhere)


def _unpivoted(frame: pl.DataFrame, output: Output) -> pl.DataFrame:
    if output.unpivot is None:
        return frame
    names = output.unpivot.names([name for name in frame.columns if name != ROW_NUMBER])
    keep = [name for name in frame.columns if name not in names]
    long = frame.unpivot(list(names), index=keep, variable_name=output.unpivot.name, value_name=output.unpivot.value)
    return long.with_columns(pl.col(output.unpivot.name).replace(names))


def _present(column: str, kind: FileMap, missing: list[str] | None = None) -> pl.Expr:
    markers = kind.missing if missing is None else missing
    value = pl.col(column)
    return pl.when(~value.is_in([marker for marker in markers if marker])).then(value) if markers else value


def _holds(condition: Condition, kind: FileMap, mapping: Mapping) -> pl.Expr:
    value = pl.col(condition.column)
    if condition.present is not None:
        found = _present(condition.column, kind).is_not_null()
        return found if condition.present else ~found
    if condition.equals is not None:
        return (value == condition.equals).fill_null(False)
    if condition.not_in is not None:
        return ~value.is_in(condition.not_in).fill_null(False)
    listed = list(mapping.code_lists[condition.code_list].codes) if condition.code_list else condition.in_ or []
    return value.is_in(listed).fill_null(False)


Made = tuple[pl.Series, list[tuple[str, pl.Series]]]


def _made(rows: pl.DataFrame, expression: Expression, kind: FileMap, mapping: Mapping) -> Made:
    """A column of a stream, and the rows in which it cannot be made."""
    if expression.value is not None:
        return pl.Series([expression.value], dtype=pl.String).new_from_index(0, len(rows)), []
    parts = [_present(name, kind, expression.missing) for name in expression.from_ or ()]
    if expression.join is None:
        text = rows.select(parts[0].alias("made")).to_series()
    elif expression.may_lack_parts:
        joined = pl.concat_str([part.fill_null("") for part in parts], separator=expression.join)
        is_there = pl.any_horizontal(part.is_not_null() for part in parts)
        text = rows.select(pl.when(is_there).then(joined).alias("made")).to_series()
    else:
        text = rows.select(pl.concat_str(parts, separator=expression.join).alias("made")).to_series()
    codes = mapping.code_lists[expression.code_list].codes if expression.code_list else expression.codes
    if codes is not None:
        return _coded(text, codes, expression)
    if expression.states is not None:
        return _state(text, expression.states), []
    if expression.date_format is not None:
        return _dated(text, expression)
    if expression.multiply is not None or expression.round is not None:
        return _scaled(text, expression.multiply or Decimal(1), expression.round)
    if expression.drop_zero_decimals:
        return text.str.replace(r"^(-?\d+)\.0+$", "$1"), []
    return _with_time(text, expression.time), []


def _coded(text: pl.Series, codes: dict[str, str | None], expression: Expression) -> Made:
    known = text.is_in(list(codes)).fill_null(False)
    otherwise = expression.otherwise if expression.has_otherwise else None
    made = text.replace_strict(list(codes), list(codes.values()), default=otherwise, return_dtype=pl.String)
    made = made.set(text.is_null(), None) if text.null_count() else made
    return made, [] if expression.has_otherwise else [("unknown_code", ~known & text.is_not_null())]


def _state(text: pl.Series, states: dict[str, list[str]]) -> pl.Series:
    listed = {code: state for state, codes in states.items() for code in codes}
    made = text.replace_strict(list(listed), list(listed.values()), default="answered", return_dtype=pl.String)
    return made.set(text.is_null(), "missing") if text.null_count() else made


def _dated(text: pl.Series, expression: Expression) -> Made:
    if has_time(expression.date_format or ""):
        moment = text.str.to_datetime(expression.date_format, strict=False, time_unit="us")
        made = moment.dt.strftime("%Y-%m-%dT%H:%M:%S")
    else:
        made = text.str.to_date(expression.date_format, strict=False).dt.strftime("%Y-%m-%d")
    return _with_time(made, expression.time), [("date", made.is_null() & text.is_not_null())]


def _with_time(text: pl.Series, time: str | None) -> pl.Series:
    """A day alone gets the declared time of day; anything else stays as it is, for the contract to judge."""
    if time is None:
        return text
    frame = pl.DataFrame({"text": text})
    value = pl.col("text")
    made = pl.when(value.str.contains(_DAY)).then(value + f"T{time}").otherwise(value)
    return frame.select(made).to_series()


def _scaled(text: pl.Series, factor: Decimal, places: int | None) -> Made:
    """Exact decimal arithmetic, half up, once for each different value."""
    fits = text.str.contains(_NUMBER).fill_null(False)
    different = text.filter(fits).unique().to_list()
    made = [_product(value, factor, places) for value in different]
    if not different:
        return text.clear(len(text)), [("decimal", ~fits & text.is_not_null())]
    scaled = text.replace_strict(different, made, default=None, return_dtype=pl.String)
    return scaled, [("decimal", ~fits & text.is_not_null())]


def _product(value: str, factor: Decimal, places: int | None) -> str:
    found = _EXACT.multiply(Decimal(value), factor)
    if places is not None:
        found = found.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=_EXACT)
    text = format(found, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def check(spec: dict[str, Any]) -> None:
    """Judge a ``source.yml`` before any file is read. Raises ``UsageError``."""
    parse_mapping(spec)
