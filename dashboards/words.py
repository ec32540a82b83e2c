"""Labels and method notes. A number that is not shown is a word: suppressed, none, or not applicable."""

from __future__ import annotations

from typing import Any

import pandas as pd

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
TRAJECTORY_NOTE = (
    "The mean of those still answering leaves out everyone who stopped, and people tend to stop for a reason. The "
    "model mean is of all who started: a likelihood model of every score (multivariate normal over weeks, unstructured "
    "covariance), valid if, given the scores seen, stopping does not depend on the scores not seen (missing at "
    "random). "
    "Bands and whiskers are 95 % intervals. Week 0 is the last score at or before the first treatment."
)
FLOW_NOTE = (
    "Where people of each band stand four weeks later. 'No answer' counts those without a score in the two weeks "
    "before. A row with * has a suppressed part: its shares are of the counts shown, not of everyone in it. "
    "Only courses that began long enough ago are in it."
)
OVERVIEW_NOTE = (
    "Rates are computed from the rounded counts. The national figure is England's, for the year it names; it is a "
    "yardstick, not an adjusted comparison: case mix differs. 95 % Wilson intervals use the rounded counts."
)
GROUP_NOTE = (
    "Unadjusted: groups differ in severity and circumstances, so a difference is an association, not an effect. "
    "The line is the whole service; intervals are 95 % Wilson."
)


def readable(name: str) -> str:
    """A code as words."""
    return {**BANDS, **STAGES, **NAMES}.get(name, name.replace("_", " ").capitalize() if name.islower() else name)


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


def suppression_words(statuses: pd.Series, profile: str) -> str:
    """What a figure hides."""
    hidden = int((statuses == "suppressed").sum())
    if hidden == 0:
        return f"Nothing in this figure is suppressed (profile {profile})."
    return f"{hidden} of {len(statuses)} values are suppressed so that nobody can be recognised (profile {profile})."
