"""``caseness reconcile``: which documented readings of the rules give a claimed rate, and what makes up the gap."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

from caseness import build_state, journal, warehouse
from caseness.commands.explain import measure_row
from caseness.errors import NotReadyError, UsageError
from caseness.figures import ALSO_CALLED
from caseness.pathway_switches import stated
from caseness.settings import Settings
from ingestion.deidentification import dates_are_calendar
from screening.claims import Claim, Departure, Figure, Readings, measures_with_readings, official_reading, readings
from screening.definitions import definitions

_COURSES = """
    select
        referrals.referral_id, referrals.problem_code, referrals.referral_received_date, referrals.discharge_date,
        contacts.treatment_contacts, contacts.first_treatment_date
    from intermediate.int_referrals_current as referrals
    inner join intermediate.int_episodes_contacts as contacts on referrals.referral_id = contacts.referral_id
    inner join marts.episodes as episodes on referrals.referral_id = episodes.referral_id
    where {where}
    order by referrals.referral_id
"""
_SCORES = """
    select
        scores.referral_id, scores.instrument_code, scores.response_id, scores.answered_at, scores.is_after_discharge,
        scores.is_follow_up, scores.is_by_first_treatment, scores.is_valid, scores.measure_hundredths_complete_case,
        scores.measure_hundredths_prorated
    from intermediate.int_episode_scores as scores
    inner join marts.episodes as episodes on scores.referral_id = episodes.referral_id
    where {where}
"""
_FILTERS = (
    "service_code",
    "main_modality",
    "severity_band_first",
    "age_band",
    "sex",
    "ethnic_group",
    "imd_quintile",
    "rurality",
    "referral_source",
)
_CAUTION = (
    "a reading that gives the figure is no proof that it was used: ask for definition, denominator and period. "
    "The counts are exact and not for release"
)
_MOST_TOLD = 10
_NEAREST_TOLD = 3


def run_reconcile(
    claimed: str,
    *,
    settings: Settings,
    measure: str = "recovery",
    period: str = "all",
    where: Sequence[str] = (),
    denominator: int | None = None,
    most_departures: int | None = 3,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compute the claim's measure under every documented reading, from the current build.

    ``period``: a period of the build, or START/END in ISO dates. ``where``: COLUMN=VALUE of ``episodes``. Raises
    ``UsageError`` for a claim, measure, period or filter that is none, ``NotReadyError`` without a build.
    """
    started = time.monotonic()
    claim = _claim(claimed, denominator)
    measure_id = measure_row(measure)["measure_id"]
    if measure_id not in measures_with_readings():
        raise UsageError(
            "the readings of this measure are not documented", remedy="known: " + ", ".join(measures_with_readings())
        )
    state = build_state.ready(settings)
    if state["rules"]["definitions_hash"] != build_state.definitions_hash():
        raise NotReadyError("the build was made with other definitions than these", remedy="run `caseness build` first")
    with warehouse.reader(settings.paths.current, settings, with_deliveries=True) as connection:
        span = _span(connection, period, settings)
        condition, values = _condition(connection, where)
        courses = connection.execute(_COURSES.format(where=condition), values).pl()
        scores = connection.execute(_SCORES.format(where=condition), values).pl()
    columns = sorted(one.partition("=")[0].strip() for one in where)
    journal.append(
        settings.paths.journal, "reconcile", build_id=state["build_id"], measure_id=measure_id, filters=columns
    )
    computed = readings(
        courses,
        scores,
        measure_id=measure_id,
        period=span,
        until=dt.date.fromisoformat(state["rules"]["as_of_date"]),
        most_departures=most_departures,
        without=_without(period, settings),
        progress=progress,
    )
    body = _found(computed, claim, measure_id)
    return {
        "measure_id": measure_id,
        "claimed_percent": claim.percent,
        "claimed_to_digits": claim.digits,
        "claimed_denominator": claim.denominator,
        "period_start": span[0].isoformat(),
        "period_end": span[1].isoformat(),
        "where": list(where),
        "build_id": state["build_id"],
        "pathway_switches_of_the_build": stated(state["rules"]["pathway_switches"]),
        "courses": courses.height,
        "most_departures": most_departures,
        **body,
        "caution": _CAUTION,
        "seconds": round(time.monotonic() - started, 2),
    }


def _found(computed: Readings, claim: Claim, measure_id: str) -> dict[str, Any]:
    official = computed.official
    simplest = computed.simplest(claim)
    nearest = [] if simplest else computed.nearest(claim, _NEAREST_TOLD)
    rates = [figure.percent for figure in computed.figures.values() if figure.percent is not None]
    return {
        "official": {**_figure(official), "reading": official_reading(measure_id)},
        "gap_percentage_points": None if official.percent is None else claim.percent - official.percent,
        "readings_computed": len(computed.figures),
        "readings_with_a_denominator": len(rates),
        "lowest_percent": min(rates, default=None),
        "highest_percent": max(rates, default=None),
        "readings_that_give_it": len(computed.giving(claim)),
        "simplest_that_give_it": [_reading(computed, one) for one in simplest[:_MOST_TOLD]],
        "simplest_not_told": max(0, len(simplest) - _MOST_TOLD),
        "nearest": [_reading(computed, one) for one in nearest],
    }


def _reading(computed: Readings, reading: frozenset[Departure]) -> dict[str, Any]:
    parts = computed.contributions(reading)
    departures = [
        {
            "dimension": dimension,
            "reading": name,
            **_said(dimension, name),
            "contribution_percentage_points": None if parts is None else parts[dimension, name],
        }
        for dimension, name in (parts or dict.fromkeys(sorted(reading)))
    ]
    return {**_figure(computed.figures[reading]), "departures": departures}


def _said(dimension: str, name: str) -> dict[str, str]:
    """What the row of a reading says, and where it comes from."""
    for row in definitions("claim_readings"):
        if (row["dimension"], row["reading"]) == (dimension, name):
            return {"about": row["about"], "source": row["source"]}
    (row,) = [row for row in definitions("pathway_switches") if (row["switch_id"], row["option"]) == (dimension, name)]
    return {"about": row["about"], "source": row["source"]}


def _figure(figure: Figure) -> dict[str, Any]:
    lower, upper = _wilson(figure)
    return {
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        "rate_percent": figure.percent,
        "rate_lower_percent": lower,
        "rate_upper_percent": upper,
    }


def _wilson(figure: Figure) -> tuple[float | None, float | None]:
    """Wilson interval (Wilson 1927) at the confidence level of ``analysis_rules.csv``."""
    if not figure.denominator:
        return None, None
    from statsmodels.stats.proportion import proportion_confint

    (level,) = [
        float(row["rule_value"]) for row in definitions("analysis_rules") if row["rule_id"] == "confidence_level"
    ]
    lower, upper = proportion_confint(figure.numerator, figure.denominator, alpha=1 - level, method="wilson")
    return 100 * float(lower), 100 * float(upper)


def _without(period: str, settings: Settings) -> tuple[str, ...]:
    """Dimensions that say nothing: before and after all days there are none, and who has no calendar has no years."""
    if not dates_are_calendar(settings):
        return "window", "anchor"
    return ("window",) if period == "all" else ()


def _claim(text: str, denominator: int | None) -> Claim:
    try:
        claim = Claim.read(text, denominator)
        if 0 < claim.percent < 1 and "%" not in text:  # a share, most likely
            raise ValueError(text)
        return claim
    except ValueError:
        raise UsageError(
            "a claim is a rate in percent, from 0 to 100", remedy="for example: --claimed 62% or --claimed 62.4"
        ) from None


def _span(connection: Any, period: str, settings: Settings) -> tuple[dt.date, dt.date]:
    """First and last day of a period of the build, or of START/END."""
    rows = connection.execute("select period_id, period_start, period_end from raw.measurement_periods").fetchall()
    known = {name: (start, end) for name, start, end in rows}
    if period not in known and not dates_are_calendar(settings):
        raise UsageError(
            "the dates of this home are no calendar dates: only all days can be asked for", remedy="leave --period out"
        )
    if period in known:
        return known[period]
    try:
        start, end = (dt.date.fromisoformat(part) for part in period.split("/"))
    except ValueError:
        raise UsageError(
            "there is no such period", remedy="START/END in ISO dates, or one of: " + ", ".join(sorted(known))
        ) from None
    if end < start:
        raise UsageError("the period ends before it begins", remedy="START/END in ISO dates")
    return start, end


def _condition(connection: Any, where: Sequence[str]) -> tuple[str, list[str]]:
    """``where`` as SQL over ``episodes`` with its values apart."""
    parts, values = ["true"], []
    for one in where:
        name, sign, value = one.partition("=")
        column = ALSO_CALLED.get(name.strip(), name.strip())
        if not sign or column not in _FILTERS:
            raise UsageError("a filter is COLUMN=VALUE", remedy="columns: " + ", ".join(_FILTERS))
        found = {
            str(row[0])
            for row in connection.execute(f"select distinct {column} from marts.episodes").fetchall()
            if row[0] is not None
        }
        match = [known for known in found if known.casefold() == value.strip().casefold()]
        if not match:
            raise UsageError(f"nobody has this value of {column}", remedy="values: " + ", ".join(sorted(found)))
        parts.append(f"cast(episodes.{column} as varchar) = ?")
        values.append(match[0])
    return " and ".join(parts), values
