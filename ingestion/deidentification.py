"""The three de-identification profiles: which dates and person codes a delivery may carry, and how they land.

``limited_data_set``: dates as they are, keyed tokens. ``expert_determination``: the same, or with ``date_shift_weeks``
all dates of a person moved by one whole number of weeks, so that intervals and weekdays stay. ``safe_harbor``: no date
finer than a year; ``X_days_from_index`` takes the place of a date column ``X``, and the person code is the sender's own
random code. Under a shift and under ``safe_harbor`` dates are no calendar dates, and what needs a calendar is not
computable.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import polars as pl

from caseness.errors import UsageError
from caseness.settings import Deidentification, Settings
from ingestion.contracts import Column, Contract, contracts
from ingestion.problems import RefusedFile
from ingestion.pseudonyms import Pseudonymiser
from ingestion.reading import ROW_NUMBER
from screening.definitions import definitions

DAYS_SUFFIX = "_days_from_index"
BIRTH_DATE, BIRTH_YEAR, INDEX_YEAR = "birth_date", "birth_year", "index_year"
PERSON_TOKEN = "person_token"  # noqa: S105 - the name of a column
_DATED = ("date", "timestamp")
_NOBODY = "nobody"
_LINKS = "person_links"
_SENDER_TOKEN = "s1_"  # noqa: S105 - a prefix
# 128 bits or more as hexadecimal digits, or a UUID of version 4 (the version that is drawn at random).
_RANDOM_CODE = "^(?:[0-9a-f]{32,64}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$"
_TEXT_IN_HEXADECIMAL = "^(?:[2-6][0-9a-f]|7[0-9a-e])+$"
_YEAR = "^(?:19|20)[0-9]{2}$"

Typed = tuple[pl.Series, list[tuple[str, pl.Series]], pl.Series | None]


@cache
def _rule(rule_id: str) -> str:
    return next(row["rule_value"] for row in definitions("deidentification_rules") if row["rule_id"] == rule_id)


def index_day() -> dt.date:
    """The day that day 0 lands on under ``safe_harbor``: the origin of an axis, no calendar date."""
    return dt.date.fromisoformat(_rule("index_day"))


def date_form(settings: Settings) -> str:
    """How dates land: ``calendar``, ``shifted_by_up_to_N_weeks`` or ``days_from_index``."""
    if settings.deidentification is Deidentification.SAFE_HARBOR:
        return "days_from_index"
    return f"shifted_by_up_to_{settings.date_shift_weeks}_weeks" if settings.date_shift_weeks else "calendar"


def dates_are_calendar(settings: Settings) -> bool:
    """Whether landed dates are the days on which things happened."""
    return date_form(settings) == "calendar"


def manifest_facts(settings: Settings) -> dict[str, str]:
    """What a manifest entry says of the profile its rows were admitted under."""
    return {"deidentification": settings.deidentification.value, "date_form": date_form(settings)}


def check_one_date_form(settings: Settings, entries: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``UsageError`` when a load of this home has dates of another form than the settings ask for.

    Dates of two forms cannot stand on one axis: intervals between them would be wrong.
    """
    wanted = date_form(settings)
    for entry in entries:
        if entry.get("load_status") != "loaded":
            continue
        if entry.get("date_form", _form_of_older_entry(entry)) != wanted:
            raise UsageError(
                "this home holds deliveries whose dates were admitted under another de-identification profile",
                remedy="use a home of its own for each profile and each date_shift_weeks",
            )


def _form_of_older_entry(entry: Mapping[str, Any]) -> str:
    is_safe_harbor = entry.get("deidentification") == Deidentification.SAFE_HARBOR.value
    return "days_from_index" if is_safe_harbor else "calendar"


# --- the contract under a profile ---------------------------------------------------------------------------------


@cache
def _relative(contract: Contract) -> Contract:
    columns: list[Column] = []
    for column in contract.columns:
        if column.kind == "token" and column.landed_name in (PERSON_TOKEN, f"linked_{PERSON_TOKEN}"):
            columns.append(replace(column, kind="sender_code"))
        elif column.kind in _DATED and column.name == BIRTH_DATE:
            columns.append(replace(column, name=BIRTH_YEAR, kind="birth_year", description="Year of birth."))
            columns.append(
                replace(
                    column,
                    name=INDEX_YEAR,
                    landed_name=None,
                    kind="index_year",
                    description="Year of the person's index day; without it no age can be told.",
                )
            )
        elif column.kind in _DATED:
            columns.append(
                replace(
                    column,
                    name=column.name + DAYS_SUFFIX,
                    kind="days_from_index",
                    minimum=_rule("earliest_day"),
                    maximum=_rule("latest_day"),
                    description=f"{column.description} In days from the person's index day.",
                )
            )
        else:
            columns.append(column)
    return replace(contract, columns=tuple(columns))


def contract_for(contract: Contract, settings: Settings) -> Contract:
    """The contract as the profile in force alters it; landed columns and their types stay the same."""
    return _relative(contract) if settings.deidentification is Deidentification.SAFE_HARBOR else contract


def check_profile(text: pl.DataFrame, contract: Contract, settings: Settings) -> None:
    """Raise ``RefusedFile`` when a batch holds what the profile in force rules out."""
    if settings.date_shift_weeks and contract.stream == _LINKS and len(text):
        raise RefusedFile(
            "date_shift_links",
            "person links cannot be admitted while dates are shifted: each of the two codes has a shift of its own",
            remedy="let the sender use one code for a person, or admit the delivery without date_shift_weeks",
        )
    if settings.deidentification is not Deidentification.SAFE_HARBOR:
        return
    dated = [
        column.name
        for column in contracts()[contract.stream].columns
        if column.kind in _DATED
        and column.name in text.columns
        and text.get_column(column.name).null_count() < len(text)
    ]
    if dated:
        raise RefusedFile(
            "safe_harbor_dates",
            f"the profile safe_harbor allows no date finer than a year; found in {', '.join(dated)}",
            remedy=f"send NAME{DAYS_SUFFIX} in place of a date, or deliver under limited_data_set with an agreement",
            column=dated[0],
        )


# --- columns that only safe_harbor has ----------------------------------------------------------------------------


def typed(values: pl.Series, column: Column, text: pl.DataFrame, *, settings: Settings, namespace: str) -> Typed | None:
    """A column of a kind that only ``safe_harbor`` has, with its faults; ``None`` for every other kind."""
    if column.kind == "sender_code":
        return _sender_codes(values, column, text, namespace)
    if column.kind == "days_from_index":
        return _days(values, column)
    if column.kind == "birth_year":
        return _birth_years(values, text, settings)
    if column.kind == "index_year":
        return values, [("year", ~values.str.contains(_YEAR))], None
    return None


def _sender_codes(values: pl.Series, column: Column, text: pl.DataFrame, namespace: str) -> Typed:
    """The sender's own random code. A code that was drawn at random has a form; what is typed or counted has not."""
    plain = values.str.strip_chars().str.to_lowercase()
    bare = plain.str.replace_all("-", "")
    is_random = (
        plain.str.contains(_RANDOM_CODE)
        & bare.str.contains("[a-f]")
        & bare.str.contains("[0-9]")
        & ~bare.str.contains(_TEXT_IN_HEXADECIMAL)
    ).fill_null(False)
    spaces = text.get_column(column.namespace_column) if column.namespace_column else pl.lit(namespace)
    token = pl.DataFrame({"code": bare.set(~is_random, None)}).select(
        pl.when(pl.col("code").is_not_null()).then(
            pl.concat_str(pl.lit(_SENDER_TOKEN), spaces, pl.lit("_"), pl.col("code"))
        )
    )
    return token.to_series().alias(values.name), [("random_code", ~is_random)], None


def _days(values: pl.Series, column: Column) -> Typed:
    fits = values.str.contains(r"(?-u)^-?(?:0|[1-9]\d{0,5})$")
    days = values.set(~fits.fill_null(False), None).cast(pl.Int32)
    outside = ((days < int(column.minimum or 0)) | (days > int(column.maximum or 0))).fill_null(False)
    moved = pl.DataFrame({"days": days.set(outside, None)}).select(
        pl.lit(index_day()) + pl.duration(days=pl.col("days"))
    )
    local_date = moved.to_series().cast(pl.Date).alias(values.name)
    faults = [("days_from_index", ~fits), ("range", outside)]
    if column.landed_type == "timestamp":
        return local_date.cast(pl.Datetime("us")), faults, local_date
    return local_date, faults, None


def _birth_years(values: pl.Series, text: pl.DataFrame, settings: Settings) -> Typed:
    """Birth on the axis of the index day: the middle of a year that lies as far before it as the birth year does.

    Ages from it are right to the year. Without an index year no age can be told, and nothing lands.
    """
    fits = values.str.contains(_YEAR)
    year = values.set(~fits.fill_null(False), None).cast(pl.Int32)
    this_year = max(dt.date.today(), settings.as_of_date or dt.date.min).year
    is_too_old = (year < this_year - int(_rule("oldest_age"))).fill_null(False)
    given = (
        text.get_column(INDEX_YEAR) if INDEX_YEAR in text.columns else pl.Series([None] * len(values), dtype=pl.String)
    )
    index_year = given.set(~given.str.contains(_YEAR).fill_null(False), None).cast(pl.Int32)
    born = pl.DataFrame({"age": index_year - year.set(is_too_old, None)}).select(
        pl.when(pl.col("age") >= 0).then(pl.date(index_day().year - pl.col("age"), 7, 1))
    )
    outside = (index_year < year).fill_null(False)
    return born.to_series().alias(values.name), [("year", ~fits), ("oldest_age", is_too_old), ("range", outside)], None


# --- the shift of expert_determination ----------------------------------------------------------------------------


def rows_without_shift(frame: pl.DataFrame, contract: Contract, settings: Settings) -> pl.Series | None:
    """Which rows of a typed frame name another record but no person, when dates are to be shifted.

    Their own shift would differ from the one of the record they belong to, so intervals between them would be wrong.
    """
    if not settings.date_shift_weeks or PERSON_TOKEN not in frame.columns:
        return None
    others = [name for name in tokens_of(contract) if name not in contract.key and name != PERSON_TOKEN]
    if not others:
        return None
    names_another = pl.any_horizontal(pl.col(name).is_not_null() for name in others)
    return frame.select(pl.col(PERSON_TOKEN).is_null() & names_another).to_series()


def tokens_of(contract: Contract) -> list[str]:
    """Landed columns of a contract that hold tokens, of people and of things."""
    kinds = ("token", "sender_code")
    return [column.landed_name for column in contract.columns if column.kind in kinds and column.landed_name]


def shift_dates(
    frame: pl.DataFrame, contract: Contract, *, settings: Settings, pseudonymiser: Pseudonymiser
) -> pl.DataFrame:
    """Move every date and time of a typed frame by its person's shift; a row without a person by its own record's, and
    a row of nothing that has a code by one shift for all such rows.

    One whole number of weeks each, so that intervals are kept exactly and weekdays too.
    """
    dated = [name for name, kind in frame.schema.items() if kind in (pl.Date, pl.Datetime("us")) and name != ROW_NUMBER]
    tokens = tokens_of(contract)
    if not settings.date_shift_weeks or not dated or frame.is_empty():
        return frame
    order = sorted(tokens, key=lambda name: (name != PERSON_TOKEN, name not in contract.key))
    owned = frame.with_columns(pl.coalesce(*order, pl.lit(_NOBODY)).alias("shift_owner"))
    owners = owned.get_column("shift_owner").unique()
    shifts = pl.DataFrame(
        {"shift_owner": owners, "shift": pseudonymiser.shift_days(owners, weeks=settings.date_shift_weeks)}
    )
    moved = owned.join(shifts, on="shift_owner", how="left", maintain_order="left")
    return moved.with_columns(pl.col(dated) + pl.duration(days=pl.col("shift"))).select(frame.columns)
