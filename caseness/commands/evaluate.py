"""``caseness evaluate``: population trajectories of the current build, as a result table that publish reads.

Beside it, for the evaluator and not for release, how many courses changed by each rule of clinical significance.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from caseness import build_state, journal, warehouse
from caseness.settings import Settings
from efficacy.change_classes import change_classes
from efficacy.trajectories import trajectory_means

_STARTERS = """
    select referral_id, person_id, main_modality from marts.episodes where has_started_treatment order by referral_id
"""
# Week 0 is the baseline: the last valid score at or before the first treatment.
_SCORES = """
    select
        referral_id,
        instrument_code,
        case when is_baseline then 0 else week_of_treatment end as week_of_treatment,
        total_prorated as total,
        is_prorated
    from marts.trajectories
    where instrument_code in ('PHQ-9', 'GAD-7') and (is_baseline or week_of_treatment > 0)
    order by referral_id, instrument_code, week_of_treatment
"""
# Courses that began treatment; a last score that is missing or blocked leaves the pair incomplete.
_CHANGES = """
    select
        changes.referral_id as subject_id,
        changes.instrument_code,
        changes.first_score as pre,
        changes.last_score as post,
        changes.is_pair_complete
    from marts.course_changes as changes
    inner join marts.episodes as episodes on changes.referral_id = episodes.referral_id
    where episodes.has_started_treatment
    order by changes.referral_id, changes.instrument_code
"""


@dataclass(frozen=True)
class EvaluateReport:
    """What was estimated."""

    build_id: str
    starters: int
    scores: int
    estimates: int
    estimates_fitted: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return dict(vars(self))


def run_evaluate(*, settings: Settings, progress: Callable[[str], None] | None = None) -> EvaluateReport:
    """Write ``trajectory_means.parquet`` and ``change_classes.parquet`` to ``build/results``.

    Raises ``NotReadyError`` without a build.
    """
    say = progress or (lambda message: None)
    started = time.monotonic()
    with journal.exclusive(settings.paths.lock, purpose="evaluate"):
        state = build_state.ready(settings, is_deep=True)
        with warehouse.reader(settings.paths.current, settings, with_deliveries=True) as connection:
            starters = connection.execute(_STARTERS).df()
            scores = connection.execute(_SCORES).df()
            courses = connection.execute(_CHANGES).df()
        say(f"fitting trajectories of {len(starters):,} courses")
        means = trajectory_means(scores, starters)
        classes = change_classes(courses)
        settings.paths.results.mkdir(parents=True, exist_ok=True)
        for name, table in (("trajectory_means", means), ("change_classes", classes)):
            table["build_id"] = pd.Series(state["build_id"], index=table.index, dtype="string")
            content = io.BytesIO()
            table.to_parquet(content, index=False)
            journal.write_atomically(settings.paths.results / f"{name}.parquet", content.getvalue())
        fitted = int((means["model_status"] == "fitted").sum())
        journal.append(settings.paths.journal, "evaluate", build_id=state["build_id"], estimates=len(means))
    return EvaluateReport(
        state["build_id"], len(starters), len(scores), len(means), fitted, round(time.monotonic() - started, 2)
    )
