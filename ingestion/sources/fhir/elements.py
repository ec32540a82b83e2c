"""FHIR data types as the contracts want them: references, codes, days and numbers. No clinical code stands here."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from ingestion import clinical_codes
from ingestion.contracts import contracts

Resource = dict[str, Any]
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY_LENGTH = 10
_NOTHING: Resource = {}


@cache
def source() -> dict[str, Any]:
    """The source's mapping."""
    text = files(__package__).joinpath("source.yml").read_text(encoding="utf-8")
    body: dict[str, Any] = yaml.safe_load(text)
    return body


def listed(value: Any) -> list[Any]:
    """A list, or none."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Resource]:
    """The objects of a list; one that stands alone is a list of one."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping(value: Any) -> Resource:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else _NOTHING


def text(value: Any) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def word(value: Any) -> str | None:
    """A code of FHIR's own as the contracts write it."""
    return value.replace("-", "_") if isinstance(value, str) and value else None


def boolean(value: Any) -> str | None:
    """True or false as the contracts write it."""
    return ("true" if value else "false") if isinstance(value, bool) else None


# --- references ---------------------------------------------------------------------------------------------------


def plain_id(reference: str | None) -> str | None:
    """An id without resource type, address, version or ``urn:uuid:``; ``None`` for a search in place of an id."""
    if reference is None or "?" in reference:
        return None
    return reference.removeprefix("urn:uuid:").split("/_history/")[0].rsplit("/", 1)[-1] or None


def reference_of(value: Any) -> str | None:
    """The text of a reference."""
    return text(value.get("reference")) if isinstance(value, dict) else None


# --- codes --------------------------------------------------------------------------------------------------------


def codings(concept: Any) -> list[Resource]:
    """Codings of one concept or several."""
    return [coding for one in objects(concept) for coding in objects(one.get("coding"))]


@cache
def _contracted(stream: str, column: str) -> dict[str, str]:
    """Address -> code system, of the systems a column admits."""
    (found,) = (entry for entry in contracts()[stream].columns if entry.name == column)
    return {url: system for url, system in clinical_codes.system_of_address().items() if system in found.values}


def codes(stream: str, found: list[Resource], column: str = "code_system") -> list[tuple[str, str]]:
    """(code system, code) of the codings whose system the stream's column admits, each once, in order."""
    systems = _contracted(stream, column)
    pairs = []
    for coding in found:
        system, code = systems.get(coding.get("system") or ""), coding.get("code")
        if system is not None and isinstance(code, str) and code and (system, code) not in pairs:
            pairs.append((system, code))
    return pairs


def first_code(stream: str, concept: Any, column: str) -> tuple[str | None, str | None]:
    """The first coding that the stream's column admits."""
    return next(iter(codes(stream, codings(concept), column)), (None, None))


def first_word(concept: Any, words: dict[str, str]) -> str | None:
    """The contract's word for the first coding that has one."""
    return next((words[c["code"]] for c in codings(concept) if c.get("code") in words), None)


# --- days and times -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=100_000)
def moment(value: str | None, time_zone: str | None) -> str | None:
    """A time as sent; a day alone becomes its first moment, so that the local day stays the day that was stated.

    Without a time zone from the delivery that moment is told in UTC. A year or a month alone stays what it is: the
    contract refuses it by a rule of its own.
    """
    if value is None or not _DAY.fullmatch(value):
        return value
    if time_zone is None:
        return f"{value}T00:00:00Z"
    try:
        start = dt.datetime.fromisoformat(value).replace(tzinfo=zoneinfo.ZoneInfo(time_zone))
    except ValueError:
        return f"{value}T00:00:00"
    return start.isoformat()


def day(value: str | None) -> str | None:
    """The local day of a time, as stated."""
    return value[:_DAY_LENGTH] if value else None


def has_time(value: str | None) -> bool:
    """Whether more than a day is stated."""
    return value is not None and len(value) > _DAY_LENGTH


@cache
def _age_units() -> dict[str, str]:
    units: dict[str, str] = source()["age_units"]
    return units


def age_later(birth_date: str | None, age: Resource) -> str | None:
    """The first day of an age, from a whole birth date and a whole number of a unit; else ``None``."""
    unit, value = _age_units().get(str(age.get("code") or age.get("unit"))), age.get("value")
    if birth_date is None or not isinstance(value, int | float) or unit is None or "comparator" in age:
        return None
    try:
        born, count = dt.date.fromisoformat(birth_date), int(value)
        if count != value or count < 0 or not _DAY.fullmatch(birth_date):
            return None
        if unit in ("weeks", "days"):
            return (born + dt.timedelta(**{unit: count})).isoformat()
        months = born.year * 12 + born.month - 1 + (count * 12 if unit == "years" else count)
        first = dt.date(months // 12, months % 12 + 1, 1)
        following = dt.date((months + 1) // 12, (months + 1) % 12 + 1, 1)
    except (ValueError, OverflowError):
        return None
    return min(first + dt.timedelta(days=born.day - 1), following - dt.timedelta(days=1)).isoformat()


# --- numbers ------------------------------------------------------------------------------------------------------


def number(value: Any) -> str | None:
    """A number as the contracts write it: whole where it is whole."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if float(value).is_integer() else str(value)


@cache
def _score_units() -> frozenset[str]:
    return frozenset(source()["score_units"])


def plain_quantity(value: Any) -> str | None:
    """The number of a quantity that has no unit and is exact."""
    quantity = mapping(value)
    if "comparator" in quantity or (quantity.get("code") is not None and quantity["code"] not in _score_units()):
        return None
    return number(quantity.get("value"))
