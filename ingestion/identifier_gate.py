"""The identifier gate: the contract is closed, and what lies outside it is named by class and count, never shown.

Two questions. A column outside the contract is refused whatever it holds; ``describe`` only says what it looks like.
A column of the contract is admitted value by value, so identifiers that fit its bounds or pattern would pass:
``ColumnJudge`` looks at whole columns, since one short number or code cannot be told from an identifier.
"""

from __future__ import annotations

import csv
import functools
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
import polars as pl

from ingestion.contracts import Column, Contract, contracts

_JUDGED_KINDS = ("integer", "decimal", "pattern", "clinical_code")
_NAME_RULES = ("column_word", "column_part")

# Bounds of the judgement of a column, measured on step, heart-rate, sleep and total columns (test_identifier_gate.py).
_FEWEST_VALUES = 20  # below it a share says little
_DOMINANT_SHARE = 0.9  # of the values that have one width, as postcodes have and counts have not
_CONSTANT_SHARE = 0.9  # of the people whose value never changes, as an address does not and a count does
_FEWEST_PEOPLE = 5
_ROWS_OF_A_PERSON = 3
_FEWEST_DIFFERENT = 5  # one or two values for everybody are a default, not an address
_ROUND_SHARE = 0.6  # prices and durations end in 0 or 5, one postcode in five does
_POSTCODE_WIDTHS = (3, 4, 5)
_HIGH_COUNT = 40_000  # 2 of 5 five-digit ZIPs lie below it, nearly all step counts do
_HIGH_SHARE = 0.2
_LEADING_ZERO_SHARE = 0.02
_LONG_NUMBER = 9  # characters; longer than any contracted number
_SHORT_DIGITS, _LARGEST_SHORT = 6, 999_999
_CHANCE_SHARE = 0.1  # of random numbers that pass a check digit
_CHANCE_DEVIATIONS = 4.0
_ROWS_SAMPLED = 5_000  # of a batch
_PEOPLE_OF_A_BATCH = 2_000
_PEOPLE_KEPT = 20_000
_DIFFERENT_KEPT = 200_000
_NEUTRAL_NAME = "a column whose name may be a value"


@dataclass(frozen=True)
class GateFinding:
    """A contracted column that carries identifiers: which, of what class, by which rule, in how many values."""

    stream: str
    column: str
    identifier_class: str
    rule: str
    count: int
    share: float

    def says(self) -> str:
        """The finding in words, without a value."""
        return (
            f"column {self.column!r} carries what looks like identifiers ({self.identifier_class}, by {self.rule}) "
            f"in {self.count} values ({self.share:.0%})"
        )


@cache
def _rules() -> tuple[dict[str, str], ...]:
    text = files("ingestion").joinpath("identifier_rules.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _minimum_share(rule: str) -> float:
    return next(float(row["minimum_share"]) for row in _rules() if row["rule"] == rule)


# --- names of columns ---------------------------------------------------------------------------------------------


def _normalise(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def class_of_name(name: str) -> str | None:
    """The identifier class a column's name points to, by words (contained) and parts (whole), or ``None``."""
    normal = _normalise(name)
    parts = set(normal.split("_"))
    for rule in _rules():
        words = rule["rule"].split("|")
        if rule["rule_kind"] == "column_word" and any(word in normal for word in words):
            return rule["identifier_class"]
        if rule["rule_kind"] == "column_part" and parts & set(words):
            return rule["identifier_class"]
    return None


@cache
def _words_of_headers() -> frozenset[str]:
    """Words that column names are made of: those of the contracts and of the rules."""
    names = [column.name for contract in contracts().values() for column in contract.columns]
    names += [rule["rule"].replace("|", "_") for rule in _rules() if rule["rule_kind"] in _NAME_RULES]
    return frozenset(part for name in names for part in name.split("_"))


def is_printable_name(name: str) -> bool:
    """Whether a column's name can only be a name: a file without a header line has values where its names should be.

    It is when its words are those of columns, or when it is written as a name and holds at least one such word.
    """
    parts = {part for part in _normalise(name).split("_") if not part.isdigit()}
    known = parts & _words_of_headers()
    is_written_as_name = re.fullmatch(
        r"(?!.*[0-9]{2})[a-z][a-z0-9]*(?:_[a-z0-9]+){0,7}|[a-z]+(?:[A-Z][a-z]+){1,5}", name
    )
    is_told = bool(parts) and (known == parts or bool(is_written_as_name and any(len(part) > 2 for part in known)))
    is_plain = re.fullmatch(r"[A-Za-z0-9_ .-]{1,60}", name)
    return bool(is_plain) and is_told and _class_of_one(name) is None


def printable_name(name: str) -> str:
    """``column 'NAME'`` when the name can only be a name, else a neutral phrase."""
    return f"column {name!r}" if is_printable_name(name) else _NEUTRAL_NAME


@lru_cache(maxsize=1000)
def _class_of_one(text: str) -> str | None:
    return class_of_values(pl.Series([text], dtype=pl.String))


def describe(name: str, values: pl.Series | None = None) -> str:
    """An uncontracted column in words: its name where that may be told, and its class, or that it is simply unknown."""
    found = class_of_name(name) or (class_of_values(values) if values is not None else None)
    said = f"looks like an identifier ({found})" if found else "is not in the contract"
    return f"{printable_name(name)} {said}"


# --- checks of values, whole columns at a time --------------------------------------------------------------------


def is_nhs_number(text: str) -> bool:
    """Modulus 11 over ten digits: weights 10 to 2, check digit 11 - (sum mod 11), 11 counts as 0, 10 is invalid."""
    return bool(_passes_modulus_11(pl.Series([re.sub(r"[\s-]", "", text)], dtype=pl.String))[0])


def _digit(values: pl.Expr, place: int) -> pl.Expr:
    return values.str.slice(place, 1).cast(pl.Int32, strict=False)


def _holds(values: pl.Series, shape: str, test: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """Which values have ``shape`` and pass ``test``; the test is made on those of the shape only."""
    shaped = values.str.contains(shape).fill_null(False)
    if not shaped.any():
        return shaped
    tested = pl.DataFrame({"text": values, "is_shaped": shaped})
    return tested.select(
        pl.when("is_shaped").then(test(pl.when("is_shaped").then(pl.col("text")))).otherwise(False).fill_null(False)
    ).to_series()


def _passes_modulus_11(values: pl.Series) -> pl.Series:
    def test(text: pl.Expr) -> pl.Expr:
        check = 11 - pl.sum_horizontal(_digit(text, place) * (10 - place) for place in range(9)) % 11
        return pl.when(check == 11).then(0).otherwise(check) == _digit(text, 9)

    return _holds(values, r"(?-u)^\d{10}$", test)


def _nhs_numbers(values: pl.Series) -> pl.Series:
    """Valid numbers in allocated ranges: England and Wales 4 and 6 to 7088, Northern Ireland 32 to 39, test numbers 9,
    and Scotland's CHI, which begins with a day and a month of birth.
    """
    plain = values.str.replace_all(r"[\s-]", "")
    allocated = plain.str.contains(r"^(?:4|6|70[0-8]|3[2-9]|9|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])\d\d)")
    return _passes_modulus_11(plain) & allocated.fill_null(False)


def _passes_luhn(values: pl.Series, shape: str) -> pl.Series:
    def test(text: pl.Expr) -> pl.Expr:
        backwards = text.str.reverse()
        total: pl.Expr = pl.lit(0)
        for place in range(19):
            digit = _digit(backwards, place).fill_null(0)
            doubled = digit * 2
            total = total + (digit if place % 2 == 0 else doubled - 9 * (doubled > 9).cast(pl.Int32))
        return total % 10 == 0

    return _holds(values.str.replace_all(r"[\s-]", ""), shape, test)


def _ibans(values: pl.Series) -> pl.Series:
    plain = values.str.replace_all(r"\s", "").str.to_uppercase()
    shaped = plain.str.contains(r"(?-u)^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$").fill_null(False)
    if not shaped.any():
        return shaped
    letters = {chr(65 + number): str(10 + number) for number in range(26)}
    moved = (plain.str.slice(4) + plain.str.slice(0, 4)).set(~shaped, None).str.replace_many(letters)
    remainder = pl.Series([0] * len(values), dtype=pl.Int64)
    for first in range(0, 64, 8):  # eight digits at a time fit a whole number with the remainder before them
        piece = moved.str.slice(first, 8)
        number = piece.cast(pl.Int64, strict=False).fill_null(0)
        remainder = (remainder * 10 ** piece.str.len_bytes().fill_null(0).cast(pl.Int64) + number) % 97
    return shaped & (remainder == 1)


def _letters_and_digits(values: pl.Series, shape: str, letters: str) -> pl.Series:
    plain = values.str.to_lowercase()
    return (plain.str.contains(shape) & plain.str.contains(letters) & plain.str.contains(r"\d")).fill_null(False)


_CHECKS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "nhs_number": _nhs_numbers,
    "luhn": lambda values: _passes_luhn(values, r"(?-u)^\d{13,19}$"),
    "imei": lambda values: _passes_luhn(values, r"(?-u)^\d{15}$"),
    "iban": _ibans,
    "hex16": lambda values: _letters_and_digits(values, "^[0-9a-f]{16}$", "[a-f]"),
    "vin": lambda values: _letters_and_digits(values, "^[a-hj-npr-z0-9]{17}$", "[a-hj-npr-z]"),
}
_BY_CHANCE = ("nhs_number", "luhn", "imei")


def _views(values: pl.Series) -> list[pl.Series]:
    """The values as they are, and where they are such, without spaces between characters and unpacked from base64."""
    plain = values.str.normalize("NFKC").str.strip_chars()
    views = [plain]
    spaced = plain.str.contains(r"^(?:. ){3,}.$")
    if spaced.any():
        views.append(plain.set(~spaced, None).str.replace_all(r"(.) ", "${1}"))
    packed = plain.str.contains(r"^[A-Za-z0-9+/]{8,}={0,2}$") & (plain.str.len_bytes() % 4 == 0)
    if packed.any():
        unpacked = plain.set(~packed, None).str.decode("base64", strict=False)
        is_text = unpacked.bin.encode("hex").str.contains("^(?:[2-6][0-9a-f]|7[0-9a-e])+$").fill_null(False)
        views.append(unpacked.set(~is_text, None).cast(pl.String))
    return views


def _hits(views: list[pl.Series], rule: dict[str, str]) -> pl.Series:
    """Which values a rule names, in any of their views."""
    found = []
    for view in views:
        hit = _CHECKS[rule["rule"]](view) if rule["rule_kind"] == "value_check" else view.str.contains(rule["rule"])
        found.append(hit.fill_null(False))
    return functools.reduce(operator.or_, found)


def _value_rules(*scopes: str) -> list[dict[str, str]]:
    kinds = ("value_pattern", "value_check")
    return [
        row for row in _rules() if row["rule_kind"] in kinds and row["scope"] in scopes and row["rule"] != "distinct"
    ]


def class_of_values(values: pl.Series) -> str | None:
    """The identifier class the values of an uncontracted column look like, or ``None``."""
    present = values.drop_nulls().cast(pl.String)
    present = present.filter(present.str.strip_chars() != "")
    if present.is_empty():
        return None
    counts = present.value_counts(name="count")
    views = _views(counts.get_column(present.name))
    for rule in _value_rules("any", "uncontracted"):
        hit = _hits(views, rule)
        if hit.any() and int(counts.filter(hit).get_column("count").sum()) >= float(rule["minimum_share"]) * len(
            present
        ):
            return rule["identifier_class"]
    if len(present) >= _FEWEST_VALUES and len(counts) > _minimum_share("distinct") * len(present):
        return "unique_code"
    return None


# --- columns of the contract --------------------------------------------------------------------------------------


@dataclass
class _Numbers:
    """What is remembered of a number column: how wide its values are, and whether a person's value ever changes."""

    values: int = 0
    widths: dict[int, int] = field(default_factory=lambda: dict.fromkeys(_POSTCODE_WIDTHS, 0))
    leading_zeros: int = 0
    high: int = 0
    round_high: int = 0
    short_digit_strings: int = 0
    long_values: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.String))
    long_count: int = 0
    people: pl.DataFrame | None = None
    one_person_in: int = 1

    def add(self, facts: dict[str, int]) -> None:
        """Add the counts of a batch."""
        for name in ("values", "leading_zeros", "high", "round_high", "long_count"):
            setattr(self, name, getattr(self, name) + facts[name])
        for width in self.widths:
            self.widths[width] += facts[f"width_{width}"]

    def observe_people(self, people: pl.Series, values: pl.Series, step: int) -> None:
        """Remember the least and greatest hash of each sampled person's values: equal when the value never changed."""
        seen = people.gather_every(step).n_unique()
        while self.one_person_in * _PEOPLE_OF_A_BATCH < seen:
            self.one_person_in *= 2
        sample = pl.DataFrame({"who": people.hash(seed=1), "text": values})
        sample = sample.filter((pl.col("who") % self.one_person_in == 0) & pl.col("text").is_not_null())
        sample = sample.with_columns(pl.col("text").cast(pl.String))
        fresh = (
            sample.with_columns(pl.col("text").hash(seed=2).alias("value"))
            .group_by("who")
            .agg(
                pl.col("value").min().alias("least"),
                pl.col("value").max().alias("greatest"),
                pl.len().cast(pl.Int64).alias("rows"),
                pl.col("text").first().str.slice(-1).is_in(["0", "5"]).alias("is_round"),
            )
        )
        if self.people is not None:
            fresh = (
                pl.concat([self.people, fresh])
                .group_by("who", maintain_order=True)
                .agg(pl.col("least").min(), pl.col("greatest").max(), pl.col("rows").sum(), pl.col("is_round").first())
            )
        while len(fresh) > _PEOPLE_KEPT:
            self.one_person_in *= 2
            fresh = fresh.filter(pl.col("who") % self.one_person_in == 0)
        self.people = fresh.filter(pl.col("who") % self.one_person_in == 0)

    def is_of_one_width(self) -> bool:
        """Whether nearly all values have one of the widths of postcodes."""
        return any(count >= _DOMINANT_SHARE * self.values for count in self.widths.values())


@dataclass
class _Codes:
    """What is remembered of a code column: its different values and how often each occurs, up to a limit."""

    values: int = 0
    counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"text": pl.String, "count": pl.Int64}))


def looks_at(contract: Contract) -> set[str]:
    """The columns of a contract that a ``ColumnJudge`` needs to see."""
    return {column.name for column in contract.columns if column.kind in _JUDGED_KINDS} | (
        {person} if (person := _person_column(contract)) else set()
    )


class ColumnJudge:
    """Looks at the contracted columns of one file, batch by batch, and says at the end which carry identifiers.

    Only columns that admit numbers or codes are looked at: tokens, enumerations, dates and booleans are closed. What is
    kept between batches is bounded: a sample of people, and the different codes of a column up to a limit.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], _Numbers] = {}
        self._codes: dict[tuple[str, str], _Codes] = {}
        self._clinical: set[tuple[str, str]] = set()

    def observe(self, text: pl.DataFrame, contract: Contract, *, admitted: pl.DataFrame | None = None) -> None:
        """Take in a batch of columns, as ``cast`` gets them.

        Numbers are judged by a sample of all rows, since a postcode's leading zero is a fault of its own; codes by the
        rows that are ``admitted`` (all, unless given), since a code without its form comes in nowhere.
        """
        if text.is_empty():
            return
        known = set(text.columns)
        has_code_system = any(column.name == "code_system" for column in contract.columns)
        numbers = []
        for column in contract.columns:
            if column.kind not in _JUDGED_KINDS or column.name not in known or column.landed_name is None:
                continue
            place = (contract.stream, column.name)
            if column.kind in ("integer", "decimal"):
                if not _is_narrow(column):
                    numbers.append(column)
                continue
            if column.kind == "clinical_code" or has_code_system:
                self._clinical.add(place)
            coded = text if admitted is None else admitted
            self._observe_codes(self._codes.setdefault(place, _Codes()), coded.get_column(column.name))
        if numbers:
            self._observe_numbers(text, contract, numbers)

    def _observe_codes(self, codes: _Codes, values: pl.Series) -> None:
        codes.values += len(values) - values.null_count()
        if len(codes.counts) >= _DIFFERENT_KEPT:
            return
        fresh = values.drop_nulls().alias("text").value_counts(name="count").cast({"count": pl.Int64})
        codes.counts = pl.concat([codes.counts, fresh]).group_by("text").agg(pl.col("count").sum())

    def _observe_numbers(self, text: pl.DataFrame, contract: Contract, columns: list[Column]) -> None:
        """Widths and heights of a random sample of rows; where they look like postcodes, also a sample of people."""
        step = max(1, len(text) // _ROWS_SAMPLED)
        sample = text.select(column.name for column in columns)
        if step > 1:  # drawn at random: an even step would never see what stands in every other row
            drawn = np.random.default_rng(len(text)).choice(len(text), len(text) // step, replace=False)
            sample = sample[np.sort(drawn)]
        sample = sample.cast(pl.String)
        found = sample.select(_facts(column.name) for column in columns).row(0, named=True)
        person = _person_column(contract)
        for column in columns:
            facts = {name: count * step for name, count in found[column.name].items()}
            state = self._numbers.setdefault((contract.stream, column.name), _Numbers())
            state.add(facts)
            values = text.get_column(column.name)
            if column.kind == "integer":
                state.short_digit_strings += int(_is_short(values).sum())
            if facts["long_count"] and len(state.long_values) < _FEWEST_VALUES * 50:
                written = values.cast(pl.String)
                long = written.filter(written.str.len_bytes() >= _LONG_NUMBER).head(_FEWEST_VALUES * 50)
                state.long_values = pl.concat([state.long_values, long.alias("")])
            has_one_width = max(facts[f"width_{n}"] for n in _POSTCODE_WIDTHS) >= _DOMINANT_SHARE * facts["values"]
            is_place = column.kind == "decimal" and facts["wide"] >= _DOMINANT_SHARE * facts["values"]
            if person is not None and person in text.columns and facts["values"] and (has_one_width or is_place):
                state.observe_people(text.get_column(person), values, step)

    @property
    def short_digit_strings(self) -> dict[str, int]:
        """Strings of one to six digits in bounded whole-number columns, by ``stream.column``: told apart from whole
        identifiers, since a short number cannot be told from a count by its value.
        """
        return {
            f"{stream}.{column}": state.short_digit_strings
            for (stream, column), state in sorted(self._numbers.items())
            if state.short_digit_strings
        }

    def finish(self) -> list[GateFinding]:
        """The columns that carry identifiers. A file with a finding is to be refused."""
        found = []
        for (stream, column), numbers in sorted(self._numbers.items()):
            told = _long_numbers(numbers) or _postcodes(numbers)
            if told:
                found.append(GateFinding(stream, column, *told))
        for (stream, column), codes in sorted(self._codes.items()):
            coded = _identifiers_among(codes, is_clinical=(stream, column) in self._clinical)
            if coded:
                found.append(GateFinding(stream, column, *coded))
        return found


Told = tuple[str, str, int, float]


def _person_column(contract: Contract) -> str | None:
    own = (column for column in contract.columns if column.kind == "token" and not column.namespace_column)
    return next((column.name for column in own if column.landed_name == "person_token"), None)


def _is_short(values: pl.Series) -> pl.Series:
    """Which values are written with up to six digits."""
    if values.dtype != pl.String:
        return values.is_between(0, _LARGEST_SHORT)
    return (values.str.len_bytes() <= _SHORT_DIGITS) & ~values.str.starts_with("-")


def _is_narrow(column: Column) -> bool:
    """Whether a column's bounds leave no room for the shortest postcode."""
    return column.maximum is not None and float(column.maximum) < 100


def _facts(name: str) -> pl.Expr:
    value = pl.col(name)
    width = value.str.len_bytes()
    number = value.cast(pl.UInt32, strict=False)
    is_high = (number >= _HIGH_COUNT) & (width == 5)
    facts = {
        "values": value.is_not_null(),
        "leading_zeros": value.str.starts_with("0") & (width > 1) & number.is_not_null(),
        "high": is_high,
        "round_high": is_high & (number % 5 == 0),
        "long_count": width >= _LONG_NUMBER,
        "wide": width >= 6,
        **{f"width_{n}": (width == n) & number.is_not_null() for n in _POSTCODE_WIDTHS},
    }
    return pl.struct([is_so.sum().cast(pl.Int64).alias(fact) for fact, is_so in facts.items()]).alias(name)


def _long_numbers(state: _Numbers) -> Told | None:
    """Numbers too long for the column: none is admitted, but the sender should know what they are."""
    if state.long_count < 4 or state.long_count < _minimum_share("nhs_number") * state.values:
        return None
    found = class_of_values(state.long_values)
    return (found, "long numbers", state.long_count, state.long_count / state.values) if found else None


def _postcodes(state: _Numbers) -> Told | None:
    """Postcodes and places that pose as bounded numbers: written in one width, and constant within a person."""
    n = state.values
    if n < _FEWEST_VALUES:
        return None
    if state.is_of_one_width() and state.leading_zeros >= _LEADING_ZERO_SHARE * n:
        return "geography", "one width with leading zeros", max(state.widths.values()), max(state.widths.values()) / n
    five = state.widths[5]
    if (
        five >= _DOMINANT_SHARE * n
        and state.high >= _HIGH_SHARE * n
        and state.round_high <= _ROUND_SHARE * max(state.high, 1)
    ):
        return "geography", "five digits spread like postcodes", five, five / n
    if state.people is None:
        return None
    several = state.people.filter(pl.col("rows") >= _ROWS_OF_A_PERSON)
    constant = several.filter(pl.col("least") == pl.col("greatest"))
    different = constant.unique("least")
    if (
        len(several) >= _FEWEST_PEOPLE
        and len(constant) >= _CONSTANT_SHARE * len(several)
        and len(different) >= _FEWEST_DIFFERENT
        and int(different.get_column("is_round").sum()) <= _ROUND_SHARE * len(different)
    ):
        return "geography", "a value that never changes within a person", n, len(constant) / len(several)
    return None


def _identifiers_among(codes: _Codes, *, is_clinical: bool) -> Told | None:
    if not codes.values:
        return None
    views = _views(codes.counts.get_column("text"))
    # A clinical code has its system's form or is a member of a known set already; what is left to ask is chance.
    checks = [rule for rule in _value_rules("any", "code") if rule["rule"] in _BY_CHANCE]
    for rule in checks if is_clinical else _value_rules("any"):
        hit = _hits(views, rule)
        count = int(codes.counts.filter(hit).get_column("count").sum())
        needed = max(1.0, float(rule["minimum_share"]) * codes.values)
        if rule["rule"] in _BY_CHANCE:
            different = int(hit.sum())
            size = len(codes.counts)
            if different < _by_chance(size):
                continue
        if count >= needed:
            name = rule["rule"] if rule["rule_kind"] == "value_check" else "the form of a value"
            return rule["identifier_class"], name, count, count / codes.values
    if is_clinical:
        return None
    different = len(codes.counts)
    if codes.values >= _FEWEST_VALUES and different > _minimum_share("distinct") * codes.values:
        return "unique_code", "values that hardly repeat", different, different / codes.values
    if different >= _DIFFERENT_KEPT:
        return "unique_code", "more different values than any code list has", different, different / codes.values
    return None


def _by_chance(size: int) -> float:
    """How many of ``size`` different codes may pass a check digit by chance, generously."""
    spread = _CHANCE_DEVIATIONS * (size * _CHANCE_SHARE * (1 - _CHANCE_SHARE)) ** 0.5
    return max(4.0, float(size * _CHANCE_SHARE + spread))
