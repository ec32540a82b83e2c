"""Events over a course of treatment: sudden gains, sustained remission, relapse, early response.

The same rules as the warehouse's SQL, written again from ``trajectory_rules.csv``, for scores that are not in it.
Comparisons are exact. Sources: Tang and DeRubeis (1999, J Consult Clin Psychol 67) for the sudden gain, Delgadillo et
al. (2014) for the early response; sustained remission and relapse are ours. measures.md 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from efficacy.exact_numbers import Number, exact, meets
from screening.definitions import definitions


@dataclass(frozen=True)
class Criterion:
    """A comparator and a limit as an exact fraction."""

    comparator: str
    limit: Fraction

    def holds(self, value: Fraction | int, of: Fraction | int = 1) -> bool:
        """Whether ``value`` meets the limit, taken as a share of ``of``."""
        return meets(Fraction(value), self.comparator, self.limit * of)


Rules = Mapping[str, Mapping[str, Criterion]]


def trajectory_rules(instrument_code: str) -> dict[str, dict[str, Criterion]]:
    """Rows of ``trajectory_rules.csv`` of an instrument: kind of event -> criterion; without rows, empty."""
    found: dict[str, dict[str, Criterion]] = {}
    for row in definitions("trajectory_rules"):
        if row["instrument_code"] == instrument_code:
            limit = Fraction(int(row["threshold_numerator"]), int(row["threshold_denominator"]))
            found.setdefault(row["event_kind"], {})[row["criterion"]] = Criterion(row["comparator"], limit)
    return found


def sudden_gain_steps(
    scores: pd.DataFrame, *, higher_is: str, criteria: Mapping[str, Criterion], column: str = "score"
) -> pd.DataFrame:
    """Every step between consecutive sessions, judged by the three criteria.

    ``scores``: one row per subject and session (``subject_id``, ``session_number``, ``column``; a missing score is no
    score). ``criteria``: points, share, t and sessions, as ``trajectory_rules(...)["sudden_gain"]``. Returns
    ``subject_id``, ``from_session``, ``improvement`` (points), ``t_value``, ``is_assessable`` (all sessions on each
    side have a score), ``is_points_met``, ``is_share_met``, ``is_t_met``, ``is_sudden_gain``. t is Student's, of the
    two sides with pooled variance; where neither side varies it is infinite. Its critical value belongs to three
    sessions on each side (4 degrees of freedom). Raises ``ValueError`` for a session given twice.
    """
    rows = []
    sign = 1 if higher_is == "worse" else -1
    there = scores[scores[column].notna()]
    if there.duplicated(["subject_id", "session_number"]).any():
        raise ValueError("a session is given twice")
    for subject, own in there.groupby("subject_id", sort=True):
        values = {int(session): exact(value) for session, value in zip(own["session_number"], own[column], strict=True)}
        for session in sorted(values):
            if session + 1 in values:
                step = _step(values, session, sign, criteria)
                rows.append({"subject_id": subject, "from_session": session, **step})
    names = ["subject_id", "from_session", "improvement", "t_value", "is_assessable", "is_points_met"]
    return pd.DataFrame(rows, columns=[*names, "is_share_met", "is_t_met", "is_sudden_gain"])


def _step(
    values: Mapping[int, Fraction], session: int, sign: int, criteria: Mapping[str, Criterion]
) -> dict[str, object]:
    sides = int(criteria["sessions"].limit)
    before = [values[number] for number in range(session - sides + 1, session + 1) if number in values]
    after = [values[number] for number in range(session + 1, session + sides + 1) if number in values]
    improvement = sign * (values[session] - values[session + 1])
    is_assessable = len(before) == len(after) == sides
    is_points, is_share = criteria["points"].holds(improvement), criteria["share"].holds(improvement, values[session])
    squared = _t_squared(before, after, sign) if is_assessable else None
    size = math.nan if squared is None else float(squared)
    limit = criteria["t"].limit
    is_t = squared == math.inf or (
        isinstance(squared, Fraction) and squared > 0 and criteria["t"].holds(squared, limit)
    )
    return {
        "improvement": float(improvement),
        "t_value": math.copysign(math.sqrt(abs(size)), size),
        "is_assessable": is_assessable,
        "is_points_met": is_points,
        "is_share_met": is_share,
        "is_t_met": is_t,
        "is_sudden_gain": is_assessable and is_points and is_share and is_t,
    }


def _t_squared(before: list[Fraction], after: list[Fraction], sign: int) -> Fraction | float:
    """Student's t, squared, with the sign of the improvement: exact, since t itself is a root."""
    means = [sum(side, Fraction(0)) / len(side) for side in (before, after)]
    scatter = sum(
        (
            sum(((value - mean) ** 2 for value in side), Fraction(0))
            for side, mean in zip((before, after), means, strict=True)
        ),
        Fraction(0),
    )
    gain = sign * (means[0] - means[1])
    if scatter == 0:
        return math.inf if gain > 0 else -math.inf if gain < 0 else Fraction(0)
    pooled = scatter / (len(before) + len(after) - 2)
    squared = gain**2 / (pooled * (Fraction(1, len(before)) + Fraction(1, len(after))))
    return squared if gain >= 0 else -squared


@dataclass(frozen=True)
class Score:
    """A valid score: day of the course (whole days on any axis), session it belongs to, exact value."""

    day: int
    value: Number
    session: int | None = None


@dataclass(frozen=True)
class Event:
    """What happened: kind, day on which it was reached, day from which it is counted, size (points or days)."""

    kind: str
    day: int
    from_day: int
    size: float


def course_events(scores: list[Score], *, higher_is: str, rules: Rules) -> list[Event]:
    """Events of one course and instrument, by kind and day.

    ``scores``: one per day, in any order; of a session the last one counts. Sudden gains may be several. Of the others
    the first: sustained remission is two scores in remission far enough apart, with no more scores out of remission
    between them than the rule allows (none); relapse is the first score high enough after it; early response is the
    first of the early sessions that has improved enough on the first score.
    """
    ordered = sorted(scores, key=lambda score: score.day)
    if len({score.day for score in ordered}) < len(ordered):
        raise ValueError("a day is given twice")
    sessions = {score.session: score for score in ordered if score.session is not None}
    sign = 1 if higher_is == "worse" else -1
    events = []
    if "sudden_gain" in rules:
        frame = pd.DataFrame(
            [
                {"subject_id": 0, "session_number": number, "score": exact(one.value)}
                for number, one in sessions.items()
            ],
            columns=["subject_id", "session_number", "score"],
        )
        steps = sudden_gain_steps(frame, higher_is=higher_is, criteria=rules["sudden_gain"])
        for step in steps[steps["is_sudden_gain"]].to_dict("records"):
            before, after = sessions[int(step["from_session"])], sessions[int(step["from_session"]) + 1]
            events.append(Event("sudden_gain", after.day, before.day, float(step["improvement"])))
    if "sustained_remission" in rules:
        events += _remission(ordered, rules)
    if "early_response" in rules:
        early = rules["early_response"]
        for number, score in sorted(sessions.items()):
            gained = sign * (exact(ordered[0].value) - exact(score.value))
            if score.day > ordered[0].day and early["sessions"].holds(number) and early["points"].holds(gained):
                events.append(Event("early_response", score.day, ordered[0].day, float(gained)))
                break
    return sorted(events, key=lambda event: (event.kind, event.day))


def _remission(ordered: list[Score], rules: Rules) -> list[Event]:
    remission = rules["sustained_remission"]
    well = [remission["score"].holds(exact(score.value)) for score in ordered]
    for late, later in enumerate(ordered):
        for early, earlier in enumerate(ordered[:late]):
            between = sum(not state for state in well[early + 1 : late])
            if (
                well[early]
                and well[late]
                and remission["days"].holds(later.day - earlier.day)
                and remission["breaks"].holds(between)
            ):
                found = [Event("sustained_remission", later.day, earlier.day, float(later.day - earlier.day))]
                for score in ordered[late + 1 :]:
                    if "relapse" in rules and rules["relapse"]["score"].holds(exact(score.value)):
                        risen = abs(exact(score.value) - exact(later.value))
                        return [*found, Event("relapse", score.day, later.day, float(risen))]
                return found
    return []
