"""Inputs of any size, written chunk by chunk: the contract's own files, and questionnaire responses as FHIR NDJSON.

About one row in a thousand breaks a rule, so that quarantine is part of every timing. One seed, one file.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

CHUNK_ROWS = 200_000
_BAD_SHARE = 0.001
_EPOCH = dt.date(2021, 1, 1)
_ITEMS = (
    ("44250-9", "Little interest or pleasure in doing things?"),
    ("44255-8", "Feeling down, depressed, or hopeless?"),
    ("44259-0", "Trouble falling or staying asleep, or sleeping too much"),
    ("44254-1", "Feeling tired or having little energy"),
    ("44251-7", "Poor appetite or overeating"),
    ("44258-2", "Feeling bad about yourself-or that you are a failure or have let yourself or your family down"),
    ("44252-5", "Trouble concentrating on things, such as reading the newspaper or watching television"),
    ("44253-3", "Moving or speaking so slowly that other people could have noticed. Or the opposite"),
    ("44260-8", "Thoughts that you would be better off dead, or of hurting yourself in some way"),
)
_ANSWERS = (
    ("LA6568-5", "Not at all"),
    ("LA6569-3", "Several days"),
    ("LA6570-1", "More than half the days"),
    ("LA6571-9", "Nearly every day"),
)


def _code(prefix: str, numbers: np.ndarray) -> pl.Series:
    return pl.Series([prefix]).gather(np.zeros(len(numbers), dtype=np.uint32)) + pl.Series(numbers).cast(pl.String)


def _times(rng: np.random.Generator, days: np.ndarray) -> pl.Series:
    seconds = (days.astype(np.int64) * 86_400 + rng.integers(8 * 3600, 20 * 3600, len(days))) * 1_000_000
    start = dt.datetime.combine(_EPOCH, dt.time())
    times = pl.Series(seconds).cast(pl.Duration("us")) + start
    return times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def _spoilt(rng: np.random.Generator, values: pl.Series, bad: str) -> pl.Series:
    return values.cast(pl.String).set(pl.Series(rng.random(len(values)) < _BAD_SHARE), bad)


def questionnaire_answers(rng: np.random.Generator, first: int, rows: int) -> pl.DataFrame:
    """One row per item: nine rows a response, some ten responses a person."""
    number = np.arange(first, first + rows)
    response = number // 9
    person = response // 10
    days = response % 1500
    per_response = np.unique(response)
    answered = _times(np.random.default_rng(first), per_response % 1500).gather(response - per_response[0])
    missing = pl.Series(rng.random(rows) < 0.02)
    return pl.DataFrame(
        {
            "response_code": _code("RESP-", response + 1_000_000),
            "person_code": _code("P", person + 1_000_000),
            "referral_code": _code("REF", person + 3_000_000),
            "contact_code": _code("C", response + 5_000_000),
            "instrument_code": pl.Series(["PHQ-9"]).gather(np.zeros(rows, dtype=np.uint32)),
            "item_number": pl.Series(number % 9 + 1),
            "answer_state": pl.Series(["answered"]).gather(np.zeros(rows, dtype=np.uint32)).set(missing, "missing"),
            "answer_value": pl.Series(rng.integers(0, 4, rows)).set(missing, None),
            "answer_value_kind": pl.Series(["scored_value"]).gather(np.zeros(rows, dtype=np.uint32)),
            "answered_at": answered,
            "response_status": _spoilt(rng, pl.Series(["completed"] * rows), "done"),
            "recorded_at": _times(rng, days),
        }
    )


def wearable_daily(rng: np.random.Generator, first: int, rows: int) -> pl.DataFrame:
    """One row per person and day: a year a person."""
    number = np.arange(first, first + rows)
    person, day = number // 365, number % 365
    return pl.DataFrame(
        {
            "person_code": _code("W", person + 100_000),
            "local_date": (pl.Series(day).cast(pl.Duration("ms")) * 86_400_000 + _EPOCH).cast(pl.Date),
            "device_kind": pl.Series(["watch", "ring", "band", "phone"]).gather(person % 4),
            "steps": pl.Series(rng.integers(0, 30_000, rows) + (rng.random(rows) < _BAD_SHARE) * 200_000),
            "resting_heart_rate_bpm": pl.Series(rng.integers(45, 90, rows)),
            "sleep_minutes": pl.Series(rng.integers(180, 640, rows)),
            "wear_minutes": pl.Series(rng.integers(300, 1440, rows)),
            "recorded_at": _times(rng, day),
        }
    )


def app_events(rng: np.random.Generator, first: int, rows: int) -> pl.DataFrame:
    """One row per event: every row has a code of its own, the hardest case for pseudonyms."""
    number = np.arange(first, first + rows)
    kinds = ["mood_check_in", "meditation", "mindfulness", "cbt_exercise", "education", "app_open", "screen_time"]
    kind = pl.Series(kinds).gather(rng.integers(0, len(kinds), rows))
    return pl.DataFrame(
        {
            "event_code": _code("E", number + 10_000_000),
            "person_code": _code("P", number // 40 + 1_000_000),
            "event_type": kind,
            "product_code": pl.Series(["chat_01", "mood_02", "vr_03"]).gather(rng.integers(0, 3, rows)),
            "product_version": pl.Series(["3.1.0", "3.2.0", "4.0.1"]).gather(rng.integers(0, 3, rows)),
            "occurred_at": _times(rng, number % 900),
            "duration_minutes": pl.Series(rng.integers(1, 60, rows)).set(kind == "app_open", None),
            "mood_score": _mood(rng, kind),
            "recorded_at": _times(rng, number % 900),
        }
    )


def _mood(rng: np.random.Generator, kind: pl.Series) -> pl.Series:
    score = rng.integers(0, 11, len(kind)) + (rng.random(len(kind)) < _BAD_SHARE) * 11
    return pl.Series(score).set(kind != "mood_check_in", None)


STREAMS: dict[str, Callable[[np.random.Generator, int, int], pl.DataFrame]] = {
    "questionnaire_answers": questionnaire_answers,
    "wearable_daily": wearable_daily,
    "app_events": app_events,
}


def write_stream(path: Path, stream: str, *, megabytes: float, seed: int = 1) -> int:
    """Write a contract file of about ``megabytes`` (Parquet: as many rows as a CSV of that size); its rows."""
    make, rng, form = STREAMS[stream], np.random.default_rng(seed), path.suffix
    wanted = int(megabytes * 1e6)
    probe = make(np.random.default_rng(seed), 0, 20_000)
    as_text = probe.write_ndjson() if form == ".ndjson" else probe.write_csv()
    total = max(1, wanted * len(probe) // len(as_text))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        writer = None
        for first in range(0, total, CHUNK_ROWS):
            frame = make(rng, first, min(CHUNK_ROWS, total - first))
            if form == ".csv":
                frame.write_csv(handle, include_header=first == 0)
            elif form == ".ndjson":
                frame.with_columns(pl.col(pl.Date).cast(pl.String)).write_ndjson(handle)
            else:
                table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or pq.ParquetWriter(handle, table.schema, compression="zstd")
                writer.write_table(table)
        if writer is not None:
            writer.close()
    return total


def write_questionnaire_responses(path: Path, *, megabytes: float, seed: int = 1) -> int:
    """Write PHQ-9 forms as FHIR R4 NDJSON, with the wording that real exports repeat; returns how many."""
    rng = np.random.default_rng(seed)
    start = dt.datetime.combine(_EPOCH, dt.time(9))
    choices = [
        json.dumps({"valueCoding": {"system": "http://loinc.org", "code": code, "display": display}})
        for code, display in _ANSWERS
    ]
    items = [(link, json.dumps(text)) for link, text in _ITEMS]
    written, number = 0, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as handle:
        while written < megabytes * 1e6:
            lines = []
            for picks in rng.integers(0, len(choices), (2000, len(items))).tolist():
                at = (start + dt.timedelta(minutes=number * 7)).isoformat()
                status = "completed" if number % 1000 else "unheard-of"
                body = ",".join(
                    f'{{"linkId":"/{link}","text":{text},"answer":[{choices[pick]}]}}'
                    for (link, text), pick in zip(items, picks, strict=True)
                )
                lines.append(
                    f'{{"resourceType":"QuestionnaireResponse","id":"qr-{number}","meta":{{"versionId":"1",'
                    f'"lastUpdated":"{at}Z"}},"questionnaire":"http://loinc.org/q/44249-1","status":"{status}",'
                    f'"subject":{{"reference":"Patient/p{number // 10}"}},'
                    f'"encounter":{{"reference":"Encounter/e{number}"}},"authored":"{at}Z","item":[{body}]}}\n'
                )
                number += 1
            block = "".join(lines)
            handle.write(block)
            written += len(block)
    return number
