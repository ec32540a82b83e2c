"""Labels and method notes. A number that is not shown is a word: suppressed, none, or not applicable."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from screening.definitions import default_rows, definitions

BANDS = {
    "minimal": "Minimal",
    "mild": "Mild",
    "moderate": "Moderate",
    "moderately_severe": "Moderately severe",
    "severe": "Severe",
    "not_answered": "No answer",
}
NAMES = {"vr_exposure": "VR exposure", "self_guided_app": "Self-guided app", "in_person": "In person"}
STAGES = {
    "referrals_received": "Referrals received",
    "first_treatments": "First treatments",
    "finished_courses": "Finished courses",
    "discharged": "Discharged",
}
TRAJECTORY_CAUTION = (
    "The mean of those still answering leaves out everyone who stopped, and people tend to stop for a reason. Neither "
    "line is compared with people who had no treatment."
)
TRAJECTORY_NOTE = (
    "The model mean is of all who started: a likelihood model of every score (multivariate normal over weeks, "
    "unstructured covariance), valid if, given the scores seen, stopping does not depend on the scores not seen "
    "(missing at random). "
    "Bands and whiskers are 95 % intervals. Week 0 is the last score at or before the first treatment."
)
FLOW_NOTE = (
    "Where people of each band stand four weeks later. 'No answer' counts those without a score in the two weeks "
    "before. Only courses that began long enough ago are in it."
)
NOT_AT_THIS_DETAIL = "Not published at this detail: the audit found that hidden counts could be worked out from it."
FLOW_CAUTION = "A row with * has a suppressed part: its shares are of the counts shown, not of everyone in it."
NO_COURSES = (
    "This release has no finished courses. Courses are made of referrals with their discharge, and of contacts; none "
    "of the deliveries behind this release brought them, or none has finished yet. What was delivered is described on "
    "the page Can I trust the data."
)
OVERVIEW_NOTE = (
    "Rates are computed from the rounded counts. The national figure is England's, for the year it names. 95 % Wilson "
    "intervals use the rounded counts."
)
OVERVIEW_CAUTION = "England's figure is a yardstick, not an adjusted comparison: case mix differs."
GROUP_NOTE = "The line is the whole service; intervals are 95 % Wilson."
# How a group is told, where its name does not say it.
GROUP_METHODS = {
    "age_band": "Age on the day of referral.",
    "main_modality": "The modality of most treatment contacts of the course.",
    "severity_band_first": "Band of the first PHQ-9 score of the course.",
    "payer_category": "Payer of the cover in force on the day of referral; of several the one that began last.",
    "main_product": "The product used in most weeks that begin between referral and discharge.",
}
GROUP_CAUTION = (
    "Unadjusted: groups differ in severity and circumstances, so a difference is an association, not an effect."
)


def readable(name: str) -> str:
    """A code as words."""
    return {**BANDS, **STAGES, **NAMES}.get(name, name.replace("_", " ").capitalize() if name.islower() else name)


def escaped(text: Any) -> str:
    """A text whose characters mean themselves in Markdown."""
    return re.sub(r"([\\`*_\[\]<>#$~|])", r"\\\1", str(text))


def count_words(count: Any, status: str) -> str:
    """A published count as the reader sees it."""
    if status == "suppressed":
        return "suppressed"
    if status == "not_applicable":
        return "not applicable"
    if status == "zero":
        return "none"
    return f"{int(count):,}"


def rate_words(rate: Any, status: str) -> str:
    """A published rate as the reader sees it."""
    if status == "shown" and not pd.isna(rate):
        return f"{rate:.1f} %"
    return "suppressed" if status == "suppressed" else "not applicable"


def sum_words(counts: pd.Series, statuses: pd.Series, what: str) -> str:
    """The sum of published counts, and how many counts it lacks because they are hidden."""
    if counts.empty:
        return f"{what}: not in this release"
    hidden = int((statuses == "suppressed").sum())
    total = int(counts.fillna(0).sum())
    if hidden and not total:
        return f"{what}: suppressed"
    lacks = f"; {hidden} suppressed {'count is' if hidden == 1 else 'counts are'} not in it" if hidden else ""
    return f"{total:,} {what} (sum of rounded counts{lacks})"


def finished_words(row: Any) -> str:
    """How many courses have finished, from the row of a measure that all of them are in."""
    if row is None:
        return "finished courses: not published"
    if row["denominator_status"] != "shown":
        return f"finished courses: {count_words(row['denominator_count'], row['denominator_status'])}"
    return f"{count_words(row['denominator_count'], 'shown')} finished courses"


def place_of(name: str, names: list[str]) -> int:
    """Where a list has ``name``, or its start."""
    return names.index(name) if name in names else 0


def has_courses(overview: pd.DataFrame) -> bool:
    """Whether any measure of the whole service has somebody in its denominator."""
    return bool(overview["denominator_status"].isin(["shown", "suppressed"]).any())


def percent_words(percent: Any) -> str:
    """A published percentage as written, or that there is none."""
    return "no figure" if percent is None or pd.isna(percent) else f"{percent:g} %"


def in_order(frame: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """Groups in the order of their definition (ages, severity), else by name; what was not recorded last."""
    if dimension == "age_band":
        bands = sorted(definitions("age_bands"), key=lambda row: int(row["band_order"]))
        known = [row["age_band"] for row in bands]
    elif dimension == "severity_band_first":
        bands = sorted(default_rows("severity_bands", "PHQ-9"), key=lambda row: int(row["band_order"]))
        known = [row["band"] for row in bands]
    else:
        known = []
    places = {name: place for place, name in enumerate(known)}

    def place(value: Any) -> tuple[bool, int, str]:
        return (str(value).lower() == "not recorded", places.get(str(value), len(places)), str(value).lower())

    order = sorted(range(len(frame)), key=lambda at: place(frame["group_value"].iloc[at]))
    return frame.iloc[order].reset_index(drop=True)


def suppression_words(statuses: pd.Series, profile: str) -> str:
    """What a figure hides."""
    hidden = int((statuses == "suppressed").sum())
    if hidden == 0:
        return f"Nothing in this figure is suppressed (profile {profile})."
    return f"{hidden} of {len(statuses)} values are suppressed so that nobody can be recognised (profile {profile})."


def trajectory_weeks() -> range:
    """The weeks that trajectories have rows for."""
    rows = definitions("analysis_rules")
    return range(next(int(row["rule_value"]) for row in rows if row["rule_id"] == "trajectory_last_week") + 1)


def absent_words(found: Collection[object], expected: Collection[object], what: str) -> str:
    """What a figure lacks because the release has no row of it, which is neither none nor suppressed."""
    lacking = [str(one) for one in expected if one not in found]
    return f" Not in this release, dropped by the audit: {what} {', '.join(lacking)}." if lacking and found else ""


def completeness_words(counts: Mapping[str, tuple[int | None, str]]) -> str:
    """How many scores lack items and were prorated, in words; suppressed, none and not published are told apart."""
    if "all" not in counts:
        return "How complete the forms are is not in this release."
    if len(counts) == 1:
        return f"Forms: {count_words(*counts['all'])}; how complete they are is not in this release."

    def number(kind: str) -> str:
        count, status = counts.get(kind, (0, "zero"))
        return "a suppressed number" if status == "suppressed" else f"{count or 0:,}"

    return (
        f"Of {number('all')} forms, {number('complete')} are complete, {number('prorated')} lack items and are "
        f"prorated, {number('total_only')} came as a total only."
    )
