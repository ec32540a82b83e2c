"""What ``source.yml`` may say: files to streams, by data alone. Written down with an example in docs/sources.md.

A mapping is checked as a whole when it is read. What is wrong names its key and what to write instead, before any file
is opened.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from caseness.errors import UsageError
from ingestion.contracts import Column, contracts

REMEDY = "see docs/sources.md, which explains every key with an example"
_MOST_MESSAGES = 3
_LONGEST_SCALE = 12
_TIME_DIRECTIVES = ("%H", "%I", "%T", "%R")
_UNSAFE_DIRECTIVES = {
    "%y": "%Y, because two digits do not name a century",
    "%z": "no offset: such times are ISO already",
}


def _plain(value: Any) -> Any:
    """YAML numbers as the text they are written as; a YAML yes, no, on or off is a trap and is named."""
    if isinstance(value, bool):
        raise ValueError('put it in quotes: YAML reads yes, no, on, off, true and false as a truth value ("yes")')
    return str(value) if isinstance(value, int | Decimal) else value


def _constant(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else _plain(value)


def _plain_keys(value: Any) -> Any:
    return {_plain(key): item for key, item in value.items()} if isinstance(value, dict) else value


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("write a regular expression in single quotes")
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"this is not a regular expression ({error.msg})") from error


def _decimal(value: Any) -> Any:
    try:
        return Decimal(str(value)) if not isinstance(value, bool) else value
    except InvalidOperation as error:
        raise ValueError("write a decimal number, such as 60 or '0.001'") from error


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


Model = TypeVar("Model", bound=BaseModel)
Text = Annotated[str, BeforeValidator(_plain)]
Constant = Annotated[str, BeforeValidator(_constant)]
Pattern = Annotated[re.Pattern[str], BeforeValidator(_pattern)]
Number = Annotated[Decimal, BeforeValidator(_decimal)]
Codes = Annotated[dict[str, Text | None], BeforeValidator(_plain_keys)]
Columns = Annotated[list[Text], BeforeValidator(_one_or_many)]


class Part(BaseModel):
    """A part of a ``source.yml``: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=False)


class CodeList(Part):
    """Codes that several columns share, with where they come from."""

    source: str
    codes: Codes


class Condition(Part):
    """A test of one column: ``present``, ``equals``, ``in`` or ``not_in``."""

    column: Text
    present: bool | None = None
    equals: Text | None = None
    in_: list[Text] | None = Field(default=None, alias="in")
    not_in: list[Text] | None = None
    code_list: str | None = None

    @model_validator(mode="after")
    def _has_one_test(self) -> Condition:
        tests = (self.present, self.equals, self.in_, self.not_in, self.code_list)
        if sum(test is not None for test in tests) != 1:
            raise ValueError("write exactly one of present, equals, in, not_in, code_list")
        return self


class Expression(Part):
    """How one column of a stream is made."""

    from_: Columns | None = Field(default=None, alias="from")
    value: Constant | None = None
    join: str | None = None
    may_lack_parts: bool = False
    missing: list[Text] | None = None
    codes: Codes | None = None
    code_list: str | None = None
    otherwise: Text | None = None
    states: dict[str, list[Text]] | None = None
    date_format: str | None = None
    time: str | None = Field(default=None, pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")
    multiply: Number | None = None
    round: int | None = Field(default=None, ge=0, le=_LONGEST_SCALE)
    drop_zero_decimals: bool = False

    @property
    def has_otherwise(self) -> bool:
        """Whether a value is stated for unlisted codes; ``otherwise: null`` makes them missing."""
        return "otherwise" in self.model_fields_set

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"from": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_thing(self) -> Expression:
        if (self.from_ is None) == (self.value is None):
            raise ValueError("write either `from:` (a column, or several with `join:`) or `value:` (a constant)")
        if self.value is not None and len(self.model_fields_set) > 1:
            raise ValueError("`value:` is a constant and stands alone")
        if (len(self.from_ or ()) > 1) != (self.join is not None):
            raise ValueError("`join:` goes with several columns in `from:`, and several columns need it")
        if self.may_lack_parts and self.join is None:
            raise ValueError("`may_lack_parts:` goes with `join:`")
        steps = {
            "codes": self.codes is not None,
            "code_list": self.code_list is not None,
            "states": self.states is not None,
            "date_format": self.date_format is not None,
            "multiply, round": self.multiply is not None or self.round is not None,
            "drop_zero_decimals": self.drop_zero_decimals,
        }
        if sum(steps.values()) > 1:
            raise ValueError("write only one of " + "; ".join(steps))
        if self.has_otherwise and not (steps["codes"] or steps["code_list"]):
            raise ValueError("`otherwise:` goes with `codes:` or `code_list:`")
        for directive, instead in _UNSAFE_DIRECTIVES.items():
            if self.date_format and directive in self.date_format:
                raise ValueError(f"`date_format:` cannot hold {directive}; write {instead}")
        return self


class Unpivot(Part):
    """Many columns of a row as one row each; ``name`` and ``value`` are how expressions call the two new columns."""

    columns: Codes | None = None
    pattern: Pattern | None = None
    name: str
    value: str

    @model_validator(mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("columns"), list):
            return {**value, "columns": {_plain(name): _plain(name) for name in value["columns"]}}
        return value

    @model_validator(mode="after")
    def _has_columns(self) -> Unpivot:
        if (self.columns is None) == (self.pattern is None):
            raise ValueError("write either `columns:` or `pattern:`")
        if self.pattern is not None and self.pattern.groups != 1:
            raise ValueError("`pattern:` needs one group in brackets: what the column is called in `name`")
        if self.name == self.value:
            raise ValueError("`name:` and `value:` are two different columns")
        return self

    def names(self, given: list[str]) -> dict[str, str]:
        """Column -> what it is called, for the columns of a file."""
        if self.columns is not None:
            return {column: name or column for column, name in self.columns.items()}
        found = {name: self.pattern.fullmatch(name) for name in given} if self.pattern else {}
        return {name: match.group(1) for name, match in found.items() if match}


class Output(Part):
    """One stream made from a file: which rows, and how each column is made."""

    stream: str
    when: list[Condition] = []
    unpivot: Unpivot | None = None
    columns: dict[str, Expression]

    def _columns_read(self) -> Iterator[str]:
        for condition in self.when:
            yield condition.column
        for expression in self.columns.values():
            yield from expression.from_ or ()

    def columns_of(self, given: list[str]) -> set[str]:
        """The file's columns this output reads."""
        found = set(self._columns_read())
        if self.unpivot is not None:
            found = (found - {self.unpivot.name, self.unpivot.value}) | set(self.unpivot.names(given))
        return found

    @model_validator(mode="after")
    def _fits_contract(self) -> Output:
        contract = contracts().get(self.stream)
        if contract is None:
            raise ValueError(f"there is no stream {self.stream!r}; streams are {', '.join(contracts())}")
        columns = {column.name: column for column in contract.columns}
        for name in self.columns:
            if name not in columns:
                raise ValueError(f"{self.stream} has no column {name!r}; it has {', '.join(columns)}")
        for column in contract.columns:
            if column.is_required and column.name not in self.columns and column.name != "person_code":
                raise ValueError(f"{self.stream} requires the column {column.name!r}; say how it is made")
        for name, expression in self.columns.items():
            _check_kind(columns[name], expression)
        return self


def has_time(date_format: str) -> bool:
    """Whether a date format also holds a time of day."""
    return any(directive in date_format for directive in _TIME_DIRECTIVES)


def _check_kind(column: Column, expression: Expression) -> None:
    if expression.states is not None:
        unknown = sorted(set(expression.states) - set(column.values))
        if unknown or column.kind != "enumeration":
            raise ValueError(
                f"{column.name}: `states:` names {', '.join(unknown)}; it may be {', '.join(column.values)}"
            )
    if expression.date_format is not None:
        is_timed = has_time(expression.date_format)
        if column.kind == "timestamp" and not is_timed and expression.time is None:
            raise ValueError(f"{column.name} is a time and the format a day; add `time:`, such as '12:00'")
        if column.kind not in ("date", "timestamp") or (column.kind == "date" and is_timed):
            raise ValueError(f"{column.name} is a {column.kind}; `date_format:` does not make one")
    if expression.time is not None and column.kind != "timestamp":
        raise ValueError(f"{column.name} is a {column.kind}; `time:` goes with times")
    if (expression.multiply is not None or expression.round is not None) and column.kind not in ("integer", "decimal"):
        raise ValueError(f"{column.name} is a {column.kind}; `multiply:` and `round:` go with numbers")


class FileMap(Part):
    """One kind of file: how it is recognised and written, and the streams it holds."""

    pattern: Pattern
    form: Literal["csv", "ndjson", "parquet", "xlsx"]
    header_has: list[Text] = []
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    line_breaks_in_fields: bool = False
    sheet: str | None = None
    trailer: Pattern | None = None
    missing: list[Text] = []
    optional: list[Text] = []
    never_read: list[Text] = []
    never_read_matching: Pattern | None = None
    streams: list[Output] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_form(self) -> FileMap:
        for key in ("delimiter", "encoding", "line_breaks_in_fields", "header_has"):
            if key in self.model_fields_set and self.form != "csv":
                raise ValueError(f"`{key}:` goes with `form: csv`")
        if self.sheet is not None and self.form != "xlsx":
            raise ValueError("`sheet:` goes with `form: xlsx`")
        if self.trailer is not None and (self.form not in ("csv", "ndjson") or self.trailer.groups != 1):
            raise ValueError(
                r"`trailer:` goes with csv and ndjson and needs one group for the count: '^TRAILER\|(\d+)$'"
            )
        if self.delimiter in '"\r\n':
            raise ValueError("`delimiter:` cannot be a quote or a line end")
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ValueError("`encoding:` is not one that Python knows, such as utf-8 or cp1252") from error
        clash = sorted(set(self.never_read) & self.columns_read(self.never_read))
        if clash:
            raise ValueError(f"{', '.join(clash)}: a column is either read or never read")
        return self

    def columns_read(self, given: list[str]) -> set[str]:
        """The columns that some stream reads."""
        return set().union(*(output.columns_of(given) for output in self.streams))

    def is_never_read(self, column: str) -> bool:
        """Whether the mapping declares that it knows the column and leaves it."""
        if column in self.never_read:
            return True
        return self.never_read_matching is not None and self.never_read_matching.search(column) is not None


class Mapping(Part):
    """A whole ``source.yml`` of files that need no reader."""

    source: str
    version: int
    description: str
    code_lists: dict[str, CodeList] = {}
    files: list[FileMap] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_its_lists(self) -> Mapping:
        for file in self.files:
            for output in file.streams:
                named = [condition.code_list for condition in output.when]
                named += [expression.code_list for expression in output.columns.values()]
                for name in named:
                    if name is not None and name not in self.code_lists:
                        raise ValueError(f"there is no list {name!r} in `code_lists:`")
        return self


def parse_mapping(spec: dict[str, Any]) -> Mapping:
    """The mapping a ``source.yml`` holds. Raises ``UsageError`` that names each wrong key and what to write."""
    return checked(Mapping, spec)


def checked(model: type[Model], spec: dict[str, Any]) -> Model:
    """``spec`` as what a reader expects. Raises ``UsageError`` as above."""
    try:
        return model.model_validate(spec)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        lines = [f"{_place(fault['loc'])}: {_words(fault)}" for fault in faults[:_MOST_MESSAGES]]
        if len(faults) > _MOST_MESSAGES:
            lines.append(f"and {len(faults) - _MOST_MESSAGES} more")
        raise UsageError(f"{spec.get('source')}/source.yml: " + "; ".join(lines), remedy=REMEDY) from error


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda context: "this key is needed and not there",
    "extra_forbidden": lambda context: "there is no such key; check its spelling",
    "string_type": lambda context: "write text here, in quotes where it looks like a number or a date",
    "list_type": lambda context: "write a list here: [a, b]",
    "dict_type": lambda context: "write keys and values here",
    "model_type": lambda context: "write keys and values here",
    "bool_type": lambda context: "write true or false",
    "bool_parsing": lambda context: "write true or false",
    "int_type": lambda context: "write a whole number",
    "int_parsing": lambda context: "write a whole number",
    "literal_error": lambda context: f"write one of {context['expected']}",
    "too_short": lambda context: "this list may not be empty",
    "string_pattern_mismatch": lambda context: "write a time of day as HH:MM or HH:MM:SS, in quotes",
}


def _words(fault: Any) -> str:
    words = _WORDS.get(fault["type"])
    return words(fault.get("ctx", {})) if words else str(fault["msg"]).removeprefix("Value error, ")
