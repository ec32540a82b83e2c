"""What the warehouse must find, computed from the truth with pandas and none of the warehouse's code."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

_ITEMS = {"PHQ-9": (9, 3), "GAD-7": (7, 3)}


def _rules() -> dict[tuple[str, str], int]:
    text = files("benchmarks.synthetic_service").joinpath("oracle_rules.csv").read_text(encoding="utf-8")
    return {(row["rule"], row["instrument_code"]): int(row["value"]) for row in csv.DictReader(text.splitlines())}


def expected_results(
    referrals: pl.DataFrame, contacts: pl.DataFrame, responses: pl.DataFrame, answers: pl.DataFrame
) -> dict[str, Any]:
    """Counts of finished courses and their outcomes over all discharges, and of contacts and responses."""
    rules = _rules()
    episodes = referrals.to_pandas().set_index("referral")
    seen = contacts.to_pandas()
    attended = seen[seen["attendance_code"].isin([5, 6])]
    treated = attended[attended["appointment_type"].isin(["02", "03", "05"])]
    episodes["treatment_contacts"] = treated.groupby("referral").size()
    episodes["treatment_contacts"] = episodes["treatment_contacts"].fillna(0)
    scores = _scores(responses, answers)
    for name, instrument in (("phq9", "PHQ-9"), ("gad7", "GAD-7")):
        own = scores[scores["instrument_code"] == instrument].sort_values(["referral", "day", "contact"])
        tried = own[own["total"].notna() | ~own["is_valid"]]
        good = own[own["total"].notna()]
        episodes[f"{name}_n"] = good.groupby("referral").size()
        episodes[f"{name}_first"] = good.groupby("referral")["total"].first()
        latest = tried.groupby("referral").tail(1).set_index("referral")["total"]
        episodes[f"{name}_last"] = latest.where(episodes[f"{name}_n"].reindex(latest.index) >= 2)
    done = episodes[
        (episodes["discharge_day"] > 0) & (episodes["treatment_contacts"] >= rules["minimum_treatment_contacts", ""])
    ].copy()
    phq, gad = rules["caseness", "PHQ-9"], rules["caseness", "GAD-7"]
    change_phq = done["phq9_first"] - done["phq9_last"]
    change_gad = done["gad7_first"] - done["gad7_last"]
    paired = change_phq.notna() & change_gad.notna()
    need_phq, need_gad = rules["reliable_change", "PHQ-9"], rules["reliable_change", "GAD-7"]
    better = (change_phq >= need_phq) | (change_gad >= need_gad)
    worse = (change_phq <= -need_phq) | (change_gad <= -need_gad)
    not_case = (done["phq9_first"] < phq) & (done["gad7_first"] < gad)
    case = (done["phq9_first"] >= phq) | (done["gad7_first"] >= gad)
    recovered = case & paired & (done["phq9_last"] < phq) & (done["gad7_last"] < gad)
    improved = paired & better & ~worse
    deteriorated = paired & worse & ~better
    return {
        "referrals": len(episodes),
        "contacts": len(seen),
        "responses": len(responses),
        "finished": len(done),
        "not_at_caseness": int(not_case.sum()),
        "recovered": int(recovered.sum()),
        "reliably_improved": int(improved.sum()),
        "reliably_deteriorated": int(deteriorated.sum()),
        "reliably_recovered": int((recovered & improved).sum()),
        "paired_both": int(paired.sum()),
        "recovery_denominator": int(len(done) - not_case.sum()),
    }


def _scores(responses: pl.DataFrame, answers: pl.DataFrame) -> pd.DataFrame:
    frame = answers.filter(pl.col("instrument_code") != "WSAS").to_pandas()
    top = frame["instrument_code"].map({name: bound for name, (_, bound) in _ITEMS.items()})
    frame["is_answered"] = frame["answer_state"] == "answered"
    frame["is_bad"] = frame["is_answered"] & (frame["answer_value"] > top)
    frame["counted"] = np.where(frame["is_answered"] & ~frame["is_bad"], frame["answer_value"], 0)
    grouped = frame.groupby(["response", "instrument_code"], as_index=False).agg(
        answered=("is_answered", "sum"), bad=("is_bad", "sum"), total=("counted", "sum")
    )
    expected = grouped["instrument_code"].map({name: count for name, (count, _) in _ITEMS.items()})
    grouped["is_valid"] = grouped["bad"] == 0
    grouped["total"] = grouped["total"].where((grouped["answered"] == expected) & grouped["is_valid"])
    keys = responses.select("response", "referral", "contact", "day").to_pandas()
    return grouped.merge(keys, on="response")
