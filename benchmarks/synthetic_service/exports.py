"""The vendors' files: two deliveries of a talking-therapy service in CSV, a remote clinic in Parquet, an app in NDJSON,
wearables in Parquet and a health record in FHIR NDJSON; each with namespaces, late and corrected rows of its own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import orjson
import polars as pl

_LOINC_TOTAL = {"PHQ-9": "44261-6", "GAD-7": "70274-6"}
_LATE_DAYS = 31


def write(
    folder: Path,
    *,
    rng: np.random.Generator,
    crowd: pl.DataFrame,
    referrals: pl.DataFrame,
    contacts: pl.DataFrame,
    responses: pl.DataFrame,
    answers: pl.DataFrame,
    end_date: dt.date,
) -> dict[str, int]:
    """Write every vendor's folder under ``folder``; returns rows by ``vendor/delivery/file``."""
    written: dict[str, int] = {}
    start = end_date - dt.timedelta(days=365 * 12)
    people = _people(crowd)
    for vendor in ("talking_service", "remote_clinic", "mood_app"):
        own = referrals.filter(pl.col("vendor") == vendor)
        tables = _tables(rng, vendor, own, people, contacts, responses, answers)
        if vendor == "talking_service":
            first, second = _in_two_deliveries(rng, tables, end_date)
            late = end_date - dt.timedelta(days=_LATE_DAYS)
            written |= _write_csv(folder / vendor / "main", first, vendor, start, late)
            written |= _write_csv(folder / vendor / "monthly_update", second, vendor, start, end_date)
        elif vendor == "remote_clinic":
            written |= _write_parquet(folder / vendor, tables, vendor, start, end_date)
        else:
            events = _app_events(rng, own, end_date)
            del tables["questionnaire_answers"]
            written |= _write_ndjson(folder / vendor, {**tables, "app_events": events}, vendor, start, end_date)
    written |= _write_parquet(
        folder / "wearables", _wearables(rng, crowd, referrals, end_date), "wearables", start, end_date
    )
    written |= _write_fhir(folder / "health_record", rng, crowd, referrals, end_date)
    return written


def _date(column: str) -> pl.Expr:
    return pl.when(pl.col(column) >= 0).then(pl.col(column).cast(pl.Int32).cast(pl.Date))


def _code(prefix: str, column: str) -> pl.Expr:
    return pl.concat_str(pl.lit(prefix), pl.col(column).cast(pl.String))


def _at(day: str, minute: pl.Expr) -> pl.Expr:
    return (pl.col(day).cast(pl.Int32).cast(pl.Date).cast(pl.Datetime("us")) + pl.duration(minutes=minute)).dt.strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def _people(crowd: pl.DataFrame) -> pl.DataFrame:
    return crowd.select(
        "person",
        pl.col("birth_day").cast(pl.Int32).cast(pl.Date).alias("birth_date"),
        "sex",
        "ethnicity_code",
        pl.when(pl.col("has_decile")).then(pl.col("imd_decile")).alias("imd_decile"),
        "rurality",
        pl.lit("Europe/London").alias("time_zone"),
    )


def _tables(
    rng: np.random.Generator,
    vendor: str,
    own: pl.DataFrame,
    people: pl.DataFrame,
    contacts: pl.DataFrame,
    responses: pl.DataFrame,
    answers: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    known = own.select("person").unique(maintain_order=True)
    roster = people.join(known, on="person", how="semi").with_columns(_code("P", "person").alias("person_code"))
    lead = ["person_code", "birth_date", "sex", "ethnicity_code", "imd_decile", "rurality", "time_zone"]
    named = own.select(
        pl.col("referral"),
        _code("R", "referral").alias("referral_code"),
        _code("P", "person").alias("person_code"),
        "modality",
        _code("T", "therapist").alias("therapist_code"),
    )
    referral_rows = own.select(
        _code("R", "referral").alias("referral_code"),
        _code("P", "person").alias("person_code"),
        "service_code",
        _date("received_day").alias("referral_received_date"),
        _date("discharge_day").alias("discharge_date"),
        pl.when(pl.col("discharge_reason") != "").then(pl.col("discharge_reason")).alias("discharge_reason"),
        "problem_code",
        "referral_source",
        pl.lit("active").alias("record_status"),
        _at("received_day", pl.lit(720)).alias("recorded_at"),
    )
    seen = contacts.join(named, on="referral", how="inner", maintain_order="left")
    contact_rows = seen.select(
        _code("C", "contact").alias("contact_code"),
        "referral_code",
        "person_code",
        _at("day", pl.col("minute")).alias("contact_at"),
        pl.col("attendance_code"),
        pl.lit(True).alias("is_planned"),
        "appointment_type",
        "modality",
        "duration_minutes",
        "therapist_code",
        pl.lit("active").alias("record_status"),
        _at("day", pl.lit(1200)).alias("recorded_at"),
    )
    minutes = contacts.select("contact", "minute")
    filled = (
        responses.join(named.drop("modality", "therapist_code"), on="referral", how="inner", maintain_order="left")
        .join(minutes, on="contact", how="left", maintain_order="left")
        .with_columns(
            _code("Q", "response").alias("response_code"),
            _code("C", "contact").alias("contact_code"),
            _at("day", pl.col("minute")).alias("answered_at"),
            pl.lit("completed").alias("response_status"),
            _at("day", pl.lit(1200)).alias("recorded_at"),
        )
    )
    head = ["response", "response_code", "person_code", "referral_code", "contact_code"]
    answer_rows = filled.select(*head, "answered_at", "response_status", "recorded_at").join(
        answers, on="response", how="inner", maintain_order="left"
    )
    answer_rows = answer_rows.select(
        *head[1:],
        "instrument_code",
        "item_number",
        "answer_state",
        pl.when(pl.col("answer_state") == "answered").then(pl.col("answer_value")).alias("answer_value"),
        pl.lit("scored_value").alias("answer_value_kind"),
        "answered_at",
        "response_status",
        "recorded_at",
    )
    tables = {
        "people": roster.select(lead).sort("person_code"),
        "referrals": referral_rows,
        "care_contacts": contact_rows,
        "questionnaire_answers": answer_rows,
    }
    if vendor == "mood_app":
        tables["questionnaire_totals"] = _totals(filled, answers)
        shared = pl.Series("shared", rng.random(len(roster)) < 0.5)
        tables["person_links"] = roster.filter(shared).select(
            "person_code",
            pl.col("person_code").alias("linked_person_code"),
            pl.lit("talking_service").alias("linked_namespace"),
            pl.lit("2026-09-01T08:00:00Z").alias("recorded_at"),
        )
    return tables


def _totals(filled: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The app reports a total only when every item was answered."""
    totals = answers.group_by("response", maintain_order=True).agg(
        pl.col("answer_value").sum().alias("total_value"),
        (pl.col("answer_state") == "answered").all().alias("is_whole"),
    )
    return (
        filled.join(totals, on="response", how="inner", maintain_order="left")
        .filter(pl.col("is_whole"))
        .select(
            "response_code",
            "person_code",
            "referral_code",
            "contact_code",
            "instrument_code",
            "total_value",
            "answered_at",
            "response_status",
            "recorded_at",
        )
    )


def _in_two_deliveries(
    rng: np.random.Generator, tables: dict[str, pl.DataFrame], end_date: dt.date
) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    """The last month comes second, with corrections, voided rows, duplicates, ownerless rows and unreadable ones."""
    cut = (end_date - dt.timedelta(days=_LATE_DAYS)).isoformat()
    later = end_date.isoformat() + "T20:00:00Z"
    first = dict(tables)
    second: dict[str, pl.DataFrame] = {}
    referrals = tables["referrals"]
    known = referrals.filter(pl.col("referral_received_date").cast(pl.String) <= cut)
    changed = known.filter(pl.col("discharge_date").cast(pl.String) > cut).with_columns(
        pl.lit(later).alias("recorded_at")
    )
    first["referrals"] = known.with_columns(
        pl.when(pl.col("discharge_date").cast(pl.String) <= cut).then(pl.col("discharge_date")).alias("discharge_date"),
        pl.when(pl.col("discharge_date").cast(pl.String) <= cut)
        .then(pl.col("discharge_reason"))
        .alias("discharge_reason"),
    )
    new = referrals.filter(pl.col("referral_received_date").cast(pl.String) > cut)
    second["referrals"] = pl.concat([new, changed])
    ghosts = (
        tables["care_contacts"]
        .head(40)
        .with_columns(pl.concat_str(pl.lit("G"), pl.col("contact_code")).alias("contact_code"))
    )
    contacts = tables["care_contacts"]
    early = contacts["contact_at"].str.slice(0, 10) <= cut
    first["care_contacts"] = pl.concat([contacts.filter(early), ghosts])
    second["care_contacts"] = pl.concat(
        [
            contacts.filter(~early),
            ghosts.with_columns(pl.lit("entered_in_error").alias("record_status"), pl.lit(later).alias("recorded_at")),
        ]
    )
    answers = tables["questionnaire_answers"].with_columns(pl.col("answer_value").cast(pl.String))
    late = answers["answered_at"].str.slice(0, 10) > cut
    early_answers = answers.filter(~late)
    whole = early_answers.filter((pl.col("answer_state") == "answered") & (pl.col("instrument_code") != "WSAS"))
    wrong = whole.sample(n=min(240, len(whole)), seed=int(rng.integers(2**31)), shuffle=False)
    key = ["response_code", "instrument_code", "item_number"]
    corrected = wrong.with_columns(pl.lit(later).alias("recorded_at"), pl.lit("amended").alias("response_status"))
    misread = wrong.with_columns(
        pl.when(pl.col("answer_value") == "0").then(pl.lit("3")).otherwise(pl.lit("0")).alias("answer_value")
    )
    kept = early_answers.join(wrong.select(key), on=key, how="anti", maintain_order="left")
    doubled = kept.head(300)
    ownerless = kept.head(90).with_columns(
        pl.concat_str(pl.lit("U"), pl.col("response_code")).alias("response_code"),
        pl.lit(None, dtype=pl.String).alias("person_code"),
        pl.lit(None, dtype=pl.String).alias("referral_code"),
        pl.lit(None, dtype=pl.String).alias("contact_code"),
    )
    unreadable = kept.head(25).with_columns(
        pl.concat_str(pl.lit("X"), pl.col("response_code")).alias("response_code"),
        pl.lit("two").alias("answer_value"),
    )
    first["questionnaire_answers"] = pl.concat([kept, misread, doubled, ownerless, unreadable])
    second["questionnaire_answers"] = pl.concat([answers.filter(late), corrected])
    return first, second


def _app_events(rng: np.random.Generator, own: pl.DataFrame, end_date: dt.date) -> pl.DataFrame:
    """Use falls with the weeks since the first day."""
    started = own.filter(pl.col("first_treatment_day") >= 0)
    per_person = rng.poisson(34, len(started))
    index = np.repeat(np.arange(len(started)), per_person)
    day = started["first_treatment_day"].to_numpy()[index] + rng.exponential(21, len(index)).astype(np.int64)
    kinds = np.array(
        ["mood_check_in", "meditation", "mindfulness", "cbt_exercise", "education", "app_open", "screen_time"]
    )
    kind = rng.choice(kinds, len(index), p=[0.26, 0.12, 0.08, 0.14, 0.06, 0.28, 0.06])
    mood = np.clip(np.round(5 + rng.normal(0, 2, len(index))), 0, 10).astype(np.int64)
    frame = pl.DataFrame(
        {
            "event": np.arange(len(index)),
            "person_code": np.array([f"P{number}" for number in started["person"]])[index] if len(index) else [],
            "event_type": kind,
            "product_code": np.where(started["modality"].to_numpy()[index] == "chatbot", "chat_01", "mood_02"),
            "product_version": rng.choice(["3.1.0", "3.2.0", "4.0.1"], len(index)),
            "day": day,
            "minute": rng.integers(9 * 60, 19 * 60, len(index)),
            "duration_minutes": rng.integers(1, 26, len(index)),
            "mood_score": mood,
        }
    ).filter(pl.col("day").cast(pl.Int32).cast(pl.Date) <= end_date)
    return frame.select(
        _code("E", "event").alias("event_code"),
        "person_code",
        "event_type",
        "product_code",
        "product_version",
        _at("day", pl.col("minute")).alias("occurred_at"),
        pl.when(pl.col("event_type") != "app_open").then(pl.col("duration_minutes")).alias("duration_minutes"),
        pl.when(pl.col("event_type") == "mood_check_in").then(pl.col("mood_score")).alias("mood_score"),
    )


def _wearables(
    rng: np.random.Generator, crowd: pl.DataFrame, referrals: pl.DataFrame, end_date: dt.date
) -> dict[str, pl.DataFrame]:
    wearers = np.flatnonzero(rng.random(len(crowd)) < 0.05)
    days = 90
    person = np.repeat(wearers, days)
    day = np.tile(np.arange(days), len(wearers))
    worn = rng.random(len(person)) < 0.8
    person, day = person[worn], day[worn]
    last = (end_date - dt.date(1970, 1, 1)).days
    daily = pl.DataFrame(
        {
            "person_code": [f"W{number}" for number in person],
            "local_date": pl.Series(last - day, dtype=pl.Int32).cast(pl.Date),
            "device_kind": np.array(["watch", "ring", "band"])[person % 3],
            "steps": np.clip(rng.gamma(3.2, 2200, len(person)), 0, 60000).astype(np.int64),
            "resting_heart_rate_bpm": np.clip(rng.normal(66, 8, len(person)), 38, 120).astype(np.int64),
            "sleep_minutes": np.clip(rng.normal(410, 70, len(person)), 0, 900).astype(np.int64),
            "wear_minutes": np.clip(rng.normal(1150, 180, len(person)), 60, 1440).astype(np.int64),
        }
    )
    vendor = referrals.unique("person", keep="first", maintain_order=True).select("person", "vendor")
    links = (
        pl.DataFrame({"person": wearers})
        .join(vendor, on="person", how="inner", maintain_order="left")
        .select(
            _code("W", "person").alias("person_code"),
            _code("P", "person").alias("linked_person_code"),
            pl.col("vendor").alias("linked_namespace"),
        )
    )
    return {"wearable_daily": daily, "person_links": links}


def _delivery(folder: Path, source: str, start: dt.date, end: dt.date, rows: dict[str, int] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"source: {source}",
        f"namespace: {source}",
        "time_zone: Europe/London",
        f"period_start: {start.isoformat()}",
        f"period_end: {end.isoformat()}",
        f"delivered_at: {end.isoformat()}T22:00:00Z",
    ]
    if rows:
        lines += ["row_count:", *(f"  {name}: {count}" for name, count in rows.items())]
    (folder / "delivery.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_csv(
    folder: Path, tables: dict[str, pl.DataFrame], source: str, start: dt.date, end: dt.date
) -> dict[str, int]:
    rows = {f"{name}.csv": len(table) for name, table in tables.items()}
    _delivery(folder, source, start, end, rows)
    for name, table in tables.items():
        table.write_csv(folder / f"{name}.csv")
    return {f"{source}/{folder.name}/{name}": count for name, count in rows.items()}


def _write_parquet(
    folder: Path, tables: dict[str, pl.DataFrame], source: str, start: dt.date, end: dt.date
) -> dict[str, int]:
    _delivery(folder, source, start, end)
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    return {f"{source}/{name}.parquet": len(table) for name, table in tables.items()}


def _write_ndjson(
    folder: Path, tables: dict[str, pl.DataFrame], source: str, start: dt.date, end: dt.date
) -> dict[str, int]:
    _delivery(folder, source, start, end)
    for name, table in tables.items():
        dated = table.with_columns(pl.col(pl.Date).cast(pl.String))
        dated.write_ndjson(folder / f"{name}.ndjson")
    return {f"{source}/{name}.ndjson": len(table) for name, table in tables.items()}


def _write_fhir(
    folder: Path, rng: np.random.Generator, crowd: pl.DataFrame, referrals: pl.DataFrame, end_date: dt.date
) -> dict[str, int]:
    """A practice that screens some of the people before they are referred. Free of names, as it should be."""
    _delivery(folder, "health_record", end_date - dt.timedelta(days=365 * 12), end_date)
    # Someone with two referrals could be screened inside the other one, where the score would count.
    first = referrals.filter(pl.col("person").is_unique())
    chosen = first.filter(pl.Series("chosen", rng.random(len(first)) < 0.06))
    born = crowd["birth_day"].to_numpy()
    sexes = crowd["sex"].to_list()
    epoch = dt.date(1970, 1, 1)
    patients, observations, links = [], [], []
    noise = rng.binomial(27, 0.5, len(chosen))
    before = rng.integers(5, 40, len(chosen))
    for position, row in enumerate(chosen.iter_rows(named=True)):
        person = row["person"]
        reference = f"H{person}"
        day = epoch + dt.timedelta(days=int(row["received_day"] - before[position]))
        patients.append(
            {
                "resourceType": "Patient",
                "id": reference,
                "gender": sexes[person],
                "birthDate": (epoch + dt.timedelta(days=int(born[person]))).isoformat(),
            }
        )
        level = {"PHQ-9": row["phq9_level"], "GAD-7": row["gad7_level"]}
        for instrument, code in _LOINC_TOTAL.items():
            top = 27 if instrument == "PHQ-9" else 21
            value = int(np.clip(round(level[instrument] + (noise[position] - 13.5) / 3), 0, top))
            observations.append(
                {
                    "resourceType": "Observation",
                    "id": f"{reference}-{instrument}",
                    "status": "final",
                    "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                    "subject": {"reference": f"Patient/{reference}"},
                    "effectiveDateTime": f"{day.isoformat()}T10:00:00Z",
                    "valueInteger": value,
                }
            )
        links.append({"person_code": reference, "linked_person_code": f"P{person}", "linked_namespace": row["vendor"]})
    for name, resources in (("Patient", patients), ("Observation", observations)):
        (folder / f"{name}.ndjson").write_bytes(b"".join(orjson.dumps(body) + b"\n" for body in resources))
    (folder / "person_links.ndjson").write_bytes(b"".join(orjson.dumps(body) + b"\n" for body in links))
    return {
        "health_record/Patient.ndjson": len(patients),
        "health_record/Observation.ndjson": len(observations),
        "health_record/person_links.ndjson": len(links),
    }
