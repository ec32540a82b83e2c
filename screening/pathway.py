"""The adult pathway of NHS Talking Therapies in Python, every open point a switch: the twin of the warehouse's SQL.

Courses and scores come as frames and go as frames, so that one reading of the rules after another can be computed from
the same build (``caseness reconcile``), and so that what SQL says has something to agree with. Thresholds, windows and
the options of the switches are definition rows. Method: NHS England Talking Therapies metadata, annual 2024-25 and
monthly (M021 to M351), and the national SQL; what each switch leaves open is in ``pathway_switches.csv``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from screening.definitions import definitions

_COMPARE = {">=": pl.Expr.ge, ">": pl.Expr.gt, "<=": pl.Expr.le, "<": pl.Expr.lt}
_AUTHORITY = "nhs_tt"
_DEPRESSION, _ANXIETY = "PHQ-9", "GAD-7"
_HUNDRED = 100
_JUDGED = ("instrument_code", "first_hundredths", "last_hundredths")
_SCALES = ("phq9", "anxiety")
PAIRING_SWITCHES = ("first_score", "scores_after_discharge", "item_policy", "threshold_version_date")
_NO_DATE_LIMIT = "9999-12-31"


class UnknownOptionError(ValueError):
    """A switch or an option that ``pathway_switches.csv`` does not have."""


@cache
def default_options() -> Mapping[str, str]:
    """The option of each switch that holds unless another is chosen."""
    return {row["switch_id"]: row["option"] for row in definitions("pathway_switches") if row["is_default"] == "true"}


@cache
def _known_options() -> frozenset[tuple[str, str]]:
    return frozenset((row["switch_id"], row["option"]) for row in definitions("pathway_switches"))


@dataclass(frozen=True)
class PathwayRules:
    """One reading of the pathway: options that differ from the default, and threshold rows that differ from the file.

    ``thresholds`` maps a ``threshold_id`` to (comparator, value) in its place. Raises ``UnknownOptionError``.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for switch, option in self.options.items():
            if (switch, option) not in _known_options():
                raise UnknownOptionError(f"{switch}={option}")

    def option(self, switch: str) -> str:
        """The option chosen for a switch."""
        return self.options.get(switch) or default_options()[switch]


def classed(courses: pl.DataFrame, scores: pl.DataFrame, rules: PathwayRules) -> pl.DataFrame:
    """Each course with its first and last scores, caseness, change class and outcome under ``rules``.

    ``courses``: one row per referral with ``referral_id, problem_code, referral_received_date, discharge_date,
    treatment_contacts`` (count). ``scores``: one row per referral, instrument and response with ``referral_id,
    instrument_code, response_id, answered_at, is_after_discharge, is_follow_up, is_by_first_treatment, is_valid,
    measure_hundredths_complete_case, measure_hundredths_prorated`` (hundredths of a point, so that totals with decimals
    compare exactly). Comes back one row per referral, in the order given.
    """
    return judged(with_scores(courses, scores, rules), rules)


def with_scores(courses: pl.DataFrame, scores: pl.DataFrame, rules: PathwayRules) -> pl.DataFrame:
    """Courses with ``<scale>_first_hundredths`` and ``_last_`` of PHQ-9, GAD-7 and the disorder's own measure.

    Of the rules only those of ``PAIRING_SWITCHES`` matter here.
    """
    is_at_discharge = rules.option("threshold_version_date") == "discharge"
    received = pl.col("referral_received_date")
    dated = pl.coalesce("discharge_date", "referral_received_date") if is_at_discharge else received
    courses = courses.with_columns(dated.alias("_threshold_date"))
    paired = paired_scores(scores, rules).select("referral_id", "instrument_code", "first_score", "last_score")
    wide = courses.with_columns(
        _adsm_of("problem_code").alias("adsm_instrument_code"),
        pl.lit(_DEPRESSION).alias("phq9_instrument_code"),
        pl.lit(_ANXIETY).alias("gad7_instrument_code"),
    )
    for scale in ("phq9", "gad7", "adsm"):
        wide = wide.join(
            paired.rename({"first_score": f"{scale}_first_hundredths", "last_score": f"{scale}_last_hundredths"}),
            left_on=["referral_id", f"{scale}_instrument_code"],
            right_on=["referral_id", "instrument_code"],
            how="left",
            maintain_order="left",
        )
    return wide


def judged(courses: pl.DataFrame, rules: PathwayRules) -> pl.DataFrame:
    """Courses of ``with_scores`` with their caseness, change class and outcome under ``rules``.

    Of the rules not those of ``PAIRING_SWITCHES``, which ``with_scores`` has followed.
    """
    is_adsm = (
        pl.col("adsm_first_hundredths").is_not_null() & pl.col("adsm_last_hundredths").is_not_null()
        if rules.option("anxiety_measure") == "adsm_pair_else_gad7"
        else pl.lit(value=False)
    )
    anxious = courses.with_columns(
        pl.when(is_adsm).then(f"adsm_{name}").otherwise(f"gad7_{name}").alias(f"anxiety_{name}")
        for name in ("instrument_code", "first_hundredths", "last_hundredths")
    )
    return _classed(_with_questions(anxious, rules), rules)


def paired_scores(scores: pl.DataFrame, rules: PathwayRules) -> pl.DataFrame:
    """First and last score of each referral and instrument with their responses, null where there is none.

    The first is the earliest valid score. The last is the latest attempt, if that is a score and not the only one: an
    invalid latest attempt blocks, because the score before it could show an improvement that was lost.
    """
    counted = scores
    if rules.option("scores_after_discharge") == "never":
        counted = counted.filter(~pl.col("is_after_discharge") & ~pl.col("is_follow_up"))
    by_policy = {"complete_case": "measure_hundredths_complete_case", "prorate_2": "measure_hundredths_prorated"}
    value = pl.col(by_policy[rules.option("item_policy")])
    counted = counted.with_columns(value.alias("value"), (value.is_not_null() & pl.col("is_valid")).alias("is_score"))
    counted = counted.filter(value.is_not_null() | ~pl.col("is_valid"))
    keys = ["referral_id", "instrument_code"]
    may_be_first = pl.col("is_score")
    if rules.option("first_score") == "first_by_first_treatment":
        may_be_first &= pl.col("is_by_first_treatment").fill_null(value=False)
    first = (
        counted.filter(may_be_first)
        .sort([*keys, "answered_at", "response_id"])
        .group_by(keys, maintain_order=True)
        .agg(pl.col("value").first().alias("first_score"), pl.col("response_id").first().alias("first_response_id"))
    )
    enough = _rule("minimum_scores_for_last")
    has_last = pl.col("is_score").last() & _meets(pl.col("is_score").sum(), *enough)
    last = (
        counted.sort([*keys, "answered_at", "response_id"])
        .group_by(keys, maintain_order=True)
        .agg(
            pl.when(has_last).then(pl.col("value").last()).alias("last_score"),
            pl.when(has_last).then(pl.col("response_id").last()).alias("last_response_id"),
        )
    )
    return last.join(first, on=keys, how="left")


def judged_by(threshold_id: str, value: pl.Expr, whole: pl.Expr | None = None) -> pl.Expr:
    """Whether a value in hundredths meets one threshold row; with ``whole``, whether value/whole does."""
    (row,) = [row for row in definitions("thresholds") if row["threshold_id"] == threshold_id]
    threshold = float(row["threshold_value"])
    return _COMPARE[row["comparator"]](value, _HUNDRED * threshold if whole is None else whole * threshold)


def threshold_version_start(day: pl.Expr) -> pl.Expr:
    """The first day of the stretch of days, holding ``day``, over which no threshold changes: its days are alike."""
    rows = [*filter(_is_of_the_pathway, definitions("thresholds")), *definitions("adsm")]
    changes = {dt.date.fromisoformat(row["valid_from"]) for row in rows}
    changes |= {dt.date.fromisoformat(row["valid_to"]) + dt.timedelta(days=1) for row in rows if row["valid_to"]}
    found: pl.Expr = pl.when(day.is_not_null()).then(pl.lit(dt.date.min))
    for change in sorted(changes):
        found = pl.when(day >= pl.lit(change)).then(pl.lit(change)).otherwise(found)
    return found


def _adsm_of(column: str) -> pl.Expr:
    """The disorder's own anxiety measure by the beginning of the problem's code; the longest beginning wins."""
    found: pl.Expr = pl.lit(None, dtype=pl.String)
    for row in sorted(definitions("adsm"), key=lambda row: len(row["code_prefix"])):
        begins = pl.col(column).str.starts_with(row["code_prefix"])
        found = pl.when(begins & _is_in_force(row)).then(pl.lit(row["instrument_code"])).otherwise(found)
    return found


def _is_in_force(row: Mapping[str, str]) -> pl.Expr:
    """Whether a dated row holds on ``_threshold_date``."""
    first = pl.lit(row["valid_from"]).str.to_date()
    last = pl.lit(row["valid_to"] or _NO_DATE_LIMIT).str.to_date()
    return pl.col("_threshold_date").is_between(first, last)


def _rule(rule_id: str) -> tuple[str, float]:
    (row,) = [row for row in definitions("pathway_rules") if row["rule_id"] == rule_id]
    return row["comparator"], float(row["threshold_value"])


def _meets(value: pl.Expr, comparator: str, threshold: float) -> pl.Expr:
    return _COMPARE[comparator](value, threshold)


def _is_of_the_pathway(threshold: Mapping[str, str]) -> bool:
    return threshold["authority"] == _AUTHORITY and threshold["is_default"] == "true" and not threshold["scale_code"]


def _judged(value: pl.Expr, instrument: pl.Expr, purpose: str, rules: PathwayRules, *, is_strict: bool) -> pl.Expr:
    """A value against the threshold that was in force on ``_threshold_date``; null where there is none."""
    found: pl.Expr = pl.lit(None, dtype=pl.Boolean)
    for row in definitions("thresholds"):
        if row["purpose"] != purpose or not _is_of_the_pathway(row):
            continue
        comparator, threshold = rules.thresholds.get(
            row["threshold_id"], (row["comparator"], float(row["threshold_value"]))
        )
        if is_strict:
            comparator = ">"
        is_in_force = (instrument == row["instrument_code"]) & _is_in_force(row)
        found = pl.when(is_in_force).then(_meets(value, comparator, round(_HUNDRED * threshold))).otherwise(found)
    return found


def _with_questions(courses: pl.DataFrame, rules: PathwayRules) -> pl.DataFrame:
    """Each question of each scale is true, false, or null where a score is missing."""
    is_strict = rules.option("reliable_change_comparator") == "more_than"
    asked = []
    for scale in _SCALES:
        instrument, first, last = (pl.col(f"{scale}_{name}") for name in _JUDGED)
        asked += [
            _judged(first, instrument, "caseness", rules, is_strict=False).alias(f"is_{scale}_first_at_caseness"),
            _judged(last, instrument, "caseness", rules, is_strict=False).alias(f"is_{scale}_last_at_caseness"),
            _judged(first - last, instrument, "reliable_change", rules, is_strict=is_strict).alias(f"has_{scale}_drop"),
            _judged(last - first, instrument, "reliable_change", rules, is_strict=is_strict).alias(f"has_{scale}_rise"),
        ]
    return courses.with_columns(asked)


def _either(names: Sequence[str], *, is_missing_false: bool = False) -> pl.Expr:
    columns = [pl.col(name).fill_null(value=False) if is_missing_false else pl.col(name) for name in names]
    return columns[0] | columns[1]


def _classed(courses: pl.DataFrame, rules: PathwayRules) -> pl.DataFrame:
    first, last = ([f"is_{scale}_{name}_at_caseness" for scale in _SCALES] for name in ("first", "last"))
    has_both_first = pl.all_horizontal(pl.col(f"{scale}_first_hundredths").is_not_null() for scale in _SCALES)
    is_case, is_still_case = _either(first), _either(last)
    caseness = (
        pl.when(is_case)
        .then(pl.lit("at_caseness"))
        .when(~is_case)
        .then(pl.lit("not_at_caseness"))
        .otherwise(pl.lit("not_assessable"))
    )
    if rules.option("one_first_score_missing") == "not_assessable":
        caseness = pl.when(has_both_first).then(caseness).otherwise(pl.lit("not_assessable"))
    pairs = [
        pl.col(f"{scale}_first_hundredths").is_not_null() & pl.col(f"{scale}_last_hundredths").is_not_null()
        for scale in _SCALES
    ]
    is_by_pair = rules.option("change_with_fewer_scores") == "by_the_paired_scale"
    drop = _either([f"has_{scale}_drop" for scale in _SCALES], is_missing_false=True)
    rise = _either([f"has_{scale}_rise" for scale in _SCALES], is_missing_false=True)
    is_children = rules.option("change_rule") == "children"
    change = (
        pl.when(~(pairs[0] | pairs[1] if is_by_pair else pairs[0] & pairs[1]))
        .then(pl.lit("not_assessable"))
        .when(drop & ~rise)
        .then(pl.lit("reliable_improvement"))
        .when(rise if is_children else rise & ~drop)
        .then(pl.lit("reliable_deterioration"))
        .otherwise(pl.lit("no_reliable_change"))
    )
    finished = pl.col("discharge_date").is_not_null() & _meets(
        pl.col("treatment_contacts"), *_rule("finished_course_minimum_treatments")
    )
    courses = courses.with_columns(
        finished.alias("has_finished_course"), caseness.alias("caseness_status"), change.alias("change_class")
    )
    is_finished, is_at = pl.col("has_finished_course"), pl.col("caseness_status") == "at_caseness"
    courses = courses.with_columns(
        (is_at & ~is_still_case).fill_null(value=False).alias("is_case_no_longer"),
        (is_finished & is_at & ~is_still_case).fill_null(value=False).alias("has_recovered"),
        (pl.col("caseness_status") == "not_at_caseness").alias("is_not_at_caseness"),
        is_at.alias("is_at_caseness"),
        (is_finished & (pl.col("change_class") == "reliable_improvement")).alias("is_reliably_improved"),
        (is_finished & (pl.col("change_class") == "reliable_deterioration")).alias("is_reliably_deteriorated"),
        (is_finished & (pl.col("change_class") == "no_reliable_change")).alias("has_no_reliable_change"),
    )
    return courses.with_columns(
        (pl.col("has_recovered") & pl.col("is_reliably_improved")).alias("is_reliably_recovered")
    )
