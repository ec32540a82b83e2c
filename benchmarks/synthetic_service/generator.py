"""The synthetic service: who is referred, how treatment goes, what is written down, and what goes wrong on the way.

The model, in one paragraph. A referral has a latent PHQ-9 and GAD-7 level; treatment moves it every week by the effect
of its modality (``effects.csv``), less in more deprived areas, more or less by therapist, with a season on top. A form
shows the latent level with binomial item noise. Drop-out after a session depends on the score that was just
*observed* and on deprivation (missing at random), so that a likelihood model of all starters can recover the true mean
while the mean of those still answering can not.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.synthetic_service import exports, oracle

SEED = 20260101
END_DATE = dt.date(2026, 10, 31)
_EPOCH = dt.date(1970, 1, 1)
_WEEKS_OF_TRUTH = 13
_ITEMS = {"PHQ-9": 9, "GAD-7": 7, "WSAS": 5}
_ITEM_WEIGHTS = {
    "PHQ-9": np.array([1.06, 1.10, 1.22, 1.30, 0.98, 1.08, 0.96, 0.74, 0.56]),
    "GAD-7": np.array([1.10, 1.10, 1.14, 1.06, 0.86, 0.98, 0.76]),
    "WSAS": np.array([1.0, 0.95, 1.1, 1.0, 0.95]),
}
_TOP = {"PHQ-9": 3, "GAD-7": 3, "WSAS": 8}


@dataclass
class GenerationReport:
    """What was written."""

    target: str
    people: int
    referrals: int
    contacts: int
    responses: int
    rows: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return dict(vars(self))


def modality_effects() -> list[dict[str, Any]]:
    """The assumed effects, one row per modality."""
    text = files("benchmarks.synthetic_service").joinpath("effects.csv").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = []
    for row in csv.DictReader(text.splitlines()):
        numbers = {key: float(value) for key, value in row.items() if key not in ("modality", "vendor", "source")}
        rows.append({"modality": row["modality"], "vendor": row["vendor"], **numbers})
    return rows


def generate(
    *,
    target: Path,
    people: int = 20_000,
    years: int = 3,
    seed: int = SEED,
    end_date: dt.date = END_DATE,
    progress: Callable[[str], None] | None = None,
) -> GenerationReport:
    """Write ``target/exports`` and ``target/truth``; the same arguments write the same bytes."""
    say = progress or (lambda message: None)
    if people < 1 or years < 1:
        raise ValueError("people and years must be at least 1")
    rng = np.random.default_rng(seed)
    effects = modality_effects()
    say("inventing people and referrals")
    crowd = _people(rng, people, end_date)
    referrals = _referrals(rng, crowd, effects, years, end_date)
    say("treating them")
    contacts, responses, latent = _treat(rng, referrals, crowd, effects, end_date)
    answers = _answers(rng, responses, referrals)
    truth = target / "truth"
    truth.mkdir(parents=True, exist_ok=True)
    say("writing exports")
    rows = exports.write(
        target / "exports",
        rng=rng,
        crowd=crowd,
        referrals=referrals,
        contacts=contacts,
        responses=responses,
        answers=answers,
        end_date=end_date,
    )
    say("writing the truth")
    expected = oracle.expected_results(referrals, contacts, responses, answers)
    (truth / "expected.json").write_text(json.dumps(expected, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (truth / "effects.json").write_text(
        json.dumps(
            {
                "seed": seed,
                "people": people,
                "years": years,
                "end_date": end_date.isoformat(),
                "modalities": effects,
                "mechanism": "drop-out depends on the last observed PHQ-9 and on deprivation (missing at random)",
                "mean_of_all_starters": latent,
            },
            indent=2,
            sort_keys=True,
        )
        + "\n",
        encoding="utf-8",
    )
    return GenerationReport(str(target), people, len(referrals), len(contacts), len(responses), rows)


def _days(day: dt.date) -> int:
    return (day - _EPOCH).days


def _people(rng: np.random.Generator, people: int, end_date: dt.date) -> pl.DataFrame:
    age = np.clip(rng.gamma(5.2, 7.4, people) + 12, 17, 96)
    decile = rng.choice(np.arange(1, 11), people, p=np.array([13, 12.5, 12, 11, 10, 9.5, 9, 8.5, 7.5, 7]) / 100)
    ethnicity = rng.choice(
        ["A", "B", "C", "D", "F", "G", "H", "J", "K", "L", "M", "N", "P", "R", "S", "Z", "99"],
        people,
        p=np.array([66, 1.5, 6.5, 1.2, 1.0, 1.2, 3.0, 3.2, 1.3, 1.6, 1.6, 2.6, 0.8, 0.7, 1.3, 3.5, 3.0]) / 100,
    )
    return pl.DataFrame(
        {
            "person": np.arange(people),
            "birth_day": (_days(end_date) - 550 - age * 365.25).astype(np.int64),
            "sex": rng.choice(["female", "male", "other", "unknown"], people, p=[0.655, 0.325, 0.012, 0.008]),
            "ethnicity_code": ethnicity,
            "imd_decile": decile,
            "has_decile": rng.random(people) > 0.04,
            "rurality": rng.choice(["urban", "rural"], people, p=[0.82, 0.18]),
            "is_working": rng.random(people) < 0.78,
            "frailty": rng.normal(0, 1, people),
        }
    )


def _referrals(
    rng: np.random.Generator, crowd: pl.DataFrame, effects: list[dict[str, Any]], years: int, end_date: dt.date
) -> pl.DataFrame:
    """One row per referral. About one person in eleven comes back."""
    people = len(crowd)
    returning = np.flatnonzero(rng.random(people) < 0.09)
    person = np.concatenate([np.arange(people), returning])
    count = len(person)
    span = 365 * years
    days = np.arange(span)
    start = _days(end_date) - span
    season = 1 + 0.16 * np.cos(2 * np.pi * ((start + days) % 365.25 - 20) / 365.25)
    weekday = np.where((start + days + 3) % 7 < 5, 1.0, 0.18)
    received = start + rng.choice(days, count, p=season * weekday / (season * weekday).sum())
    kind = rng.choice(len(effects), count, p=np.array([row["share"] for row in effects]))
    decile = crowd["imd_decile"].to_numpy()[person]
    frailty = crowd["frailty"].to_numpy()[person]
    shared = rng.normal(0, 1, count)
    phq = 13.4 + 0.22 * (5.5 - decile) + 2.6 * shared + 1.8 * frailty + rng.normal(0, 2.6, count)
    gad = 11.6 + 0.16 * (5.5 - decile) + 2.4 * shared + 1.2 * frailty + rng.normal(0, 2.3, count)
    wait = np.round(rng.gamma(1.7, np.array([row["mean_wait_days"] for row in effects])[kind] / 1.7)).astype(np.int64)
    low = np.array([row["sessions_low"] for row in effects])[kind]
    high = np.array([row["sessions_high"] for row in effects])[kind]
    service = 1 + (person * 7919 + kind) % 6
    return pl.DataFrame(
        {
            "referral": np.arange(count),
            "person": person,
            "kind": kind,
            "modality": np.array([row["modality"] for row in effects])[kind],
            "vendor": np.array([row["vendor"] for row in effects])[kind],
            "service_code": [f"service_{number:02d}" for number in service],
            "received_day": received,
            "wait_days": wait,
            "is_starting": rng.random(count) < np.where(wait > 60, 0.62, 0.82),
            "planned_sessions": rng.integers(low.astype(int), high.astype(int) + 1),
            "therapist": service * 100 + rng.integers(0, 18, count),
            "phq9_level": np.clip(phq, 1.0, 26.0),
            "gad7_level": np.clip(gad, 1.0, 20.5),
            "problem_code": rng.choice(
                ["F32", "F33", "F411", "F410", "F401", "F431", "F42"],
                count,
                p=[0.30, 0.12, 0.30, 0.08, 0.06, 0.08, 0.06],
            ),
            "referral_source": rng.choice(["self", "gp", "other"], count, p=[0.68, 0.26, 0.06]),
        }
    )


def _levels(
    referrals: pl.DataFrame, decile: np.ndarray, therapist_effect: np.ndarray, effects: list[dict[str, Any]], week: Any
) -> dict[str, np.ndarray]:
    """Latent level of each instrument after ``week`` weeks of treatment (scalar or one value per referral)."""
    kind = referrals["kind"].to_numpy()
    equity = 1 + 0.05 * (decile - 5.5)
    dose = 24.0 * (1 - np.exp(-np.asarray(week, dtype=float) / 9.0))
    levels = {}
    for name, column, top in (("PHQ-9", "phq9", 27.0), ("GAD-7", "gad7", 21.0)):
        weekly = np.array([row[f"weekly_change_{column}"] for row in effects])[kind]
        change = weekly * equity * (1 + 0.15 * therapist_effect) * dose
        levels[name] = np.clip(referrals[f"{column}_level"].to_numpy() + change, 0.4, top - 0.5)
    return levels


def _treat(
    rng: np.random.Generator,
    referrals: pl.DataFrame,
    crowd: pl.DataFrame,
    effects: list[dict[str, Any]],
    end_date: dt.date,
) -> tuple[pl.DataFrame, pl.DataFrame, list[dict[str, Any]]]:
    """Contacts and responses session by session; and the mean every starter would have had, week by week."""
    count = len(referrals)
    last_day = _days(end_date)
    decile = crowd["imd_decile"].to_numpy()[referrals["person"].to_numpy()]
    working = crowd["is_working"].to_numpy()[referrals["person"].to_numpy()]
    by_therapist = rng.normal(0, 1, 1000)
    therapist_effect = by_therapist[referrals["therapist"].to_numpy()]
    planned = referrals["planned_sessions"].to_numpy()
    day = referrals["received_day"].to_numpy() + referrals["wait_days"].to_numpy()
    active = referrals["is_starting"].to_numpy() & (day <= last_day)
    first_treatment = np.full(count, -1)
    discharge = np.full(count, -1)
    reason = np.full(count, "", dtype=object)
    contacts: list[pl.DataFrame] = []
    responses: list[pl.DataFrame] = []
    never = ~referrals["is_starting"].to_numpy()
    discharge[never] = day[never] + 7
    reason[never] = rng.choice(["declined", "not_suitable", "referred_on"], never.sum(), p=[0.6, 0.2, 0.2])
    next_contact = 0
    for session in range(1, int(planned.max()) + 1):
        who = np.flatnonzero(active)
        if len(who) == 0:
            break
        attendance = rng.choice([5, 6, 3, 2, 4, 7], len(who), p=[0.84, 0.03, 0.065, 0.04, 0.02, 0.005])
        attended = (attendance == 5) | (attendance == 6)
        kinds = np.full(len(who), "02", dtype=object)
        if session == 1:
            kinds = np.where(rng.random(len(who)) < 0.2, "01", "03").astype(object)
        treats = attended & (kinds != "01")
        fresh = treats & (first_treatment[who] < 0)
        first_treatment[who[fresh]] = day[who[fresh]]
        numbers = next_contact + np.arange(len(who))
        next_contact += len(who)
        minutes = rng.integers(25, 61, len(who))
        contacts.append(
            pl.DataFrame(
                {
                    "contact": numbers,
                    "referral": who,
                    "day": day[who],
                    "minute": rng.integers(9 * 60, 17 * 60, len(who)),
                    "attendance_code": attendance,
                    "appointment_type": kinds.astype(str),
                    "duration_minutes": np.where(attended, minutes, 0),
                }
            )
        )
        started = first_treatment[who] >= 0
        weeks = np.where(started, (day[who] - first_treatment[who]) / 7.0, 0.0)
        levels = _levels(referrals[who], decile[who], therapist_effect[who], effects, weeks)
        season = 0.7 * np.cos(2 * np.pi * (day[who] % 365.25 - 20) / 365.25)
        observed = {}
        for instrument, share in (("PHQ-9", 0.955), ("GAD-7", 0.95), ("WSAS", 0.9)):
            asked = attended & (rng.random(len(who)) < share)
            if instrument == "WSAS":
                if (session - 1) % 4:
                    continue
                level = np.clip(levels["PHQ-9"] * 1.3, 1, 39)
            else:
                level = np.clip(levels[instrument] + season, 0.3, _ITEMS[instrument] * 3 - 0.4)
            items = _items(rng, instrument, level)
            observed[instrument] = items.sum(axis=1)
            kept = np.flatnonzero(asked)
            frame = {
                "referral": who[kept],
                "contact": numbers[kept],
                "instrument_code": np.full(len(kept), instrument),
                "day": day[who[kept]],
                "is_working": working[who[kept]],
                "latent": level[kept],
            }
            columns = {f"item_{number}": np.full(len(kept), -1) for number in range(1, 10)}
            columns.update({f"item_{n + 1}": items[kept, n] for n in range(items.shape[1])})
            responses.append(pl.DataFrame({**frame, **columns}))
        finished = session >= planned[who]
        leaving = rng.random(len(who)) < 1 / (
            1 + np.exp(3.05 - 0.13 * (observed["PHQ-9"] - 11) - 0.07 * (5.5 - decile[who]) - 0.8 * ~attended)
        )
        gone = finished | leaving
        gap = rng.integers(3, 15, len(who))
        discharge[who[gone]] = (day[who] + gap)[gone]
        reason[who[gone]] = np.where(finished, "completed", "dropped_out")[gone]
        active[who[gone]] = False
        day[who] = day[who] + rng.choice([5, 6, 7, 7, 7, 8, 9, 14], len(who))
        active &= day <= last_day
    follow = np.flatnonzero((reason == "completed") & (rng.random(count) < 0.1) & (discharge > 0))
    contacts.append(
        pl.DataFrame(
            {
                "contact": next_contact + np.arange(len(follow)),
                "referral": follow,
                "day": discharge[follow] - 1,
                "minute": np.full(len(follow), 600),
                "attendance_code": np.full(len(follow), 5),
                "appointment_type": np.full(len(follow), "06"),
                "duration_minutes": np.full(len(follow), 20),
            }
        ).filter(pl.col("day") <= last_day)
    )
    told = discharge <= last_day
    updated = referrals.with_columns(
        pl.Series("discharge_day", np.where((discharge > 0) & told, discharge, -1)),
        pl.Series("discharge_reason", np.where((discharge > 0) & told, reason, "").astype(str)),
        pl.Series("first_treatment_day", first_treatment),
    )
    for name in updated.columns[-3:]:
        referrals.insert_column(len(referrals.columns), updated[name])
    all_contacts = pl.concat(contacts)
    latent = _true_means(referrals, all_contacts, decile, therapist_effect, effects)
    all_responses = pl.concat(responses).with_row_index("response").with_columns(pl.col("response").cast(pl.Int64))
    return all_contacts, all_responses, latent


def _true_means(
    referrals: pl.DataFrame,
    contacts: pl.DataFrame,
    decile: np.ndarray,
    therapist_effect: np.ndarray,
    effects: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Expected total of every starter in each week had nobody left, season aside.

    A week is seven days and forms come at its beginning; the level is taken at the mean day on which forms of that week
    were filled in, so that it is the quantity a mean by week estimates.
    """
    started = referrals["first_treatment_day"].to_numpy() >= 0
    modality = referrals["modality"].to_numpy()
    since = (
        contacts.filter(pl.col("attendance_code").is_in([5, 6]) & (pl.col("appointment_type") != "06"))
        .join(referrals.select("referral", "first_treatment_day"), on="referral")
        .filter((pl.col("first_treatment_day") >= 0) & (pl.col("day") >= pl.col("first_treatment_day")))
        .with_columns((pl.col("day") - pl.col("first_treatment_day")).alias("since"))
        .with_columns((pl.col("since") // 7).alias("week"))
    )
    moments = {row[0]: row[1] / 7 for row in since.group_by("week").agg(pl.col("since").mean()).iter_rows()}
    moments[0] = 0.0
    rows = []
    for week in range(_WEEKS_OF_TRUTH):
        levels = _levels(referrals, decile, therapist_effect, effects, moments.get(week, float(week)))
        for instrument, level in levels.items():
            expected = 3 * _item_shares(instrument, level).sum(axis=1)
            for stratum in ("all", *(row["modality"] for row in effects)):
                chosen = started if stratum == "all" else started & (modality == stratum)
                if chosen.any():
                    rows.append(
                        {
                            "instrument_code": instrument,
                            "stratum": stratum,
                            "week_of_treatment": week,
                            "starters": int(chosen.sum()),
                            "mean": round(float(expected[chosen].mean()), 4),
                        }
                    )
    return rows


def _item_shares(instrument: str, level: np.ndarray) -> np.ndarray:
    weights = _ITEM_WEIGHTS[instrument]
    top = _TOP[instrument] * _ITEMS[instrument]
    shares: np.ndarray = np.clip(level[:, None] / top * weights[None, :] / weights.mean(), 0.0, 0.98)
    return shares


def _items(rng: np.random.Generator, instrument: str, level: np.ndarray) -> np.ndarray:
    items: np.ndarray = rng.binomial(_TOP[instrument], _item_shares(instrument, level))
    return items


def _answers(rng: np.random.Generator, responses: pl.DataFrame, referrals: pl.DataFrame) -> pl.DataFrame:
    """One row per item of each response: answered, missing, refused or not applicable; a few out of range.

    The app reports totals, in which an impossible item could not be seen, so it has none.
    """
    vendor = responses.join(referrals.select("referral", "vendor"), on="referral", how="left", maintain_order="left")
    by_item = pl.Series("by_item", vendor["vendor"] != "mood_app")
    responses = responses.with_columns(by_item)
    long = (
        responses.unpivot(
            index=["response", "instrument_code", "is_working", "by_item"],
            on=[f"item_{number}" for number in range(1, 10)],
            variable_name="item",
            value_name="answer_value",
        )
        .filter(pl.col("answer_value") >= 0)
        .with_columns(pl.col("item").str.strip_prefix("item_").cast(pl.Int64).alias("item_number"))
        .sort("response", "item_number")
    )
    luck = rng.random(len(long))
    sensitive = (long["instrument_code"] == "PHQ-9").to_numpy() & (long["item_number"] == 9).to_numpy()
    jobless = (
        (long["instrument_code"] == "WSAS").to_numpy()
        & (long["item_number"] == 1).to_numpy()
        & ~long["is_working"].to_numpy()
    )
    state = np.where(luck < 0.004, "missing", "answered")
    state = np.where(sensitive & (luck > 0.992), "refused", state)
    state = np.where(jobless, "not_applicable", state)
    value = long["answer_value"].to_numpy().copy()
    impossible = (luck > 0.5) & (luck < 0.50004) & long["by_item"].to_numpy()
    value = np.where(impossible, 7 + 2 * (long["instrument_code"] == "WSAS").to_numpy(), value)
    return long.with_columns(
        pl.Series("answer_state", state),
        pl.Series("answer_value", np.where(state == "answered", value, -1)),
    ).select("response", "instrument_code", "item_number", "answer_state", "answer_value")
