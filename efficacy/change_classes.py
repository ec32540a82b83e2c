"""How many courses changed by each rule there is, instrument by instrument: what ``caseness evaluate`` writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from efficacy.clinical_significance import (
    CLASSES,
    NotComputableError,
    Parameters,
    anchor_change,
    class_shares,
    combined_change,
    count_pairs,
    direction,
    percentage_change,
)
from efficacy.course_events import trajectory_rules
from screening.definitions import default_rows, definitions

_TEXT = ("instrument_code", "completeness_policy", "approach", "method_id", "class_name", "class_status", "reason")
_COUNTS = (
    "class_count",
    "pairs_count",
    "undefined_count",
    "missing_pre_count",
    "missing_post_count",
    "missing_both_count",
)
_SHARES = ("share", "share_ci_low", "share_ci_high", "prorated_pairs_share")
COLUMNS = {
    **dict.fromkeys(_TEXT, "string"),
    **dict.fromkeys(_COUNTS, "Int64"),
    **dict.fromkeys(_SHARES, "float64"),
}


def change_classes(courses: pd.DataFrame, *, parameters: Mapping[str, Parameters] | None = None) -> pd.DataFrame:
    """One row per instrument, completeness policy, method and class, those with nobody included.

    ``courses``: one row per course and instrument: ``subject_id``, ``instrument_code``, ``pre``, ``post`` (either may
    be missing), ``is_pair_complete`` (neither score prorated). ``parameters``: reliability and norms by instrument;
    there is none without a source, and the six indices are then ``not_computable`` with the ``reason``.

    Approaches: ``combined`` (the index methods, five classes), ``anchor`` (points: the reliable change of the
    instrument and the MCID), ``percentage`` (response and the change people notice). Policy ``prorate_2`` takes every
    pair and prints which share of them holds a prorated score; ``complete_case`` takes the pairs without one, as a
    sensitivity (the others count as missing after). Shares are of complete pairs, with Wilson intervals; courses, not
    people, count.
    """
    rows: list[pd.DataFrame] = []
    for instrument, own in courses.groupby("instrument_code", sort=True):
        is_pair = own["pre"].notna() & own["post"].notna()
        is_complete = own["is_pair_complete"].astype("boolean").fillna(False).astype(bool)
        prorated = float((is_pair & ~is_complete).sum() / is_pair.sum()) if is_pair.any() else float("nan")
        for policy in ("prorate_2", "complete_case"):
            kept = own if policy == "prorate_2" else own.assign(post=own["post"].where(is_complete))
            for approach, method, judge, column in _rules(str(instrument), parameters or {}):
                frame = _shares(kept, judge, column, method if approach == "combined" else None)
                frame["instrument_code"], frame["completeness_policy"] = str(instrument), policy
                frame["approach"], frame["method_id"] = approach, method
                frame["prorated_pairs_share"] = prorated if policy == "prorate_2" else 0.0
                rows.append(frame[list(COLUMNS)].astype(COLUMNS))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)


_Judge = Callable[[pd.DataFrame], pd.DataFrame]


def _rules(instrument: str, parameters: Mapping[str, Parameters]) -> list[tuple[str, str, _Judge, str]]:
    """Approach, method, how it judges, and the column of its classes."""
    higher_is = direction(instrument)
    own = parameters.get(instrument, Parameters(higher_is))
    rules: list[tuple[str, str, _Judge, str]] = []
    for row in definitions("clinical_significance_methods"):
        method = row["method_id"]

        def by_index(pairs: pd.DataFrame, method: str = method) -> pd.DataFrame:
            if instrument in parameters:
                return combined_change(pairs, method=method, parameters=own)
            # Without parameters the answer is why not: two pairs tell it as well as a million, but two that begin alike
            # would say that the scores do not vary, whichever two come first.
            complete = pairs[pairs["pre"].notna() & pairs["post"].notna()]
            apart = complete.drop_duplicates("pre")
            there = (apart if len(apart) > 1 else complete).head(2)
            return combined_change(there, method=method, parameters=own)

        rules.append(("combined", method, by_index, "change_class"))
    for row in default_rows("thresholds", instrument):
        if row["valid_to"]:
            continue
        if row["purpose"] == "reliable_change":
            rules.append(_points(row["threshold_id"], higher_is, row["threshold_value"]))
        if row["purpose"] == "response_share":
            rules.append(_share(row["threshold_id"], higher_is, row["threshold_value"]))
    events = trajectory_rules(instrument)
    names = {
        row["event_kind"]: row["rule_id"]
        for row in definitions("trajectory_rules")
        if row["instrument_code"] == instrument
    }
    if "mcid" in events:
        rules.append(_points(names["mcid"], higher_is, str(events["mcid"]["points"].limit)))
    if "noticed_change" in events:
        rules.append(_share(names["noticed_change"], higher_is, str(events["noticed_change"]["share"].limit)))
    return rules


def _points(name: str, higher_is: str, points: str) -> tuple[str, str, _Judge, str]:
    return (
        "anchor",
        name,
        _once_a_pair(lambda pairs: anchor_change(pairs, higher_is=higher_is, points=points)),
        "change_direction",
    )


def _share(name: str, higher_is: str, share: str) -> tuple[str, str, _Judge, str]:
    return (
        "percentage",
        name,
        _once_a_pair(lambda pairs: percentage_change(pairs, higher_is=higher_is, share=share)),
        "change_direction",
    )


def _once_a_pair(judge: _Judge) -> _Judge:
    """Judge each pair of scores once: courses are many, and the pairs they can have are few."""

    def judged(pairs: pd.DataFrame) -> pd.DataFrame:
        told = judge(pairs.drop_duplicates(["pre", "post"]).reset_index(drop=True))
        added = [name for name in told.columns if name not in pairs.columns]
        return pairs.merge(told[["pre", "post", *added]], on=["pre", "post"], how="left")

    return judged


def _shares(pairs: pd.DataFrame, judge: _Judge, column: str, method: str | None) -> pd.DataFrame:
    try:
        return class_shares(judge(pairs), column=column, method=method).assign(reason=None)
    except NotComputableError as error:
        nothing = {"class_count": pd.NA, "share": float("nan"), "share_ci_low": float("nan")}
        counts = {**count_pairs(pairs), "undefined_count": 0, "class_status": "not_computable", "reason": str(error)}
        return pd.DataFrame(
            [{"class_name": name, **nothing, "share_ci_high": float("nan"), **counts} for name in CLASSES]
        )
