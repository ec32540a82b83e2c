"""What the figures draw, from frames made here."""

from __future__ import annotations

import math

import pandas as pd

from dashboards import charts


def _flow(cells: list[tuple[str, str, float | None, str]]) -> pd.DataFrame:
    columns = ["from_band", "to_band", "episodes_count", "episodes_status"]
    frame = pd.DataFrame(cells, columns=columns).assign(from_week=0, to_week=4)
    frame["episodes_count"] = frame["episodes_count"].astype("Int64")
    return frame


def test_bars_of_the_severity_flow_are_whole_and_say_what_is_hidden() -> None:
    figure = charts.severity_flow(
        _flow(
            [
                ("minimal", "minimal", 30, "shown"),
                ("minimal", "mild", 10, "shown"),
                ("minimal", "moderate", 0, "zero"),
                ("minimal", "not_answered", 40, "shown"),
                ("mild", "minimal", 20, "shown"),
                ("mild", "severe", None, "suppressed"),
                ("moderate", "mild", 0, "zero"),
                ("severe", "severe", None, "suppressed"),
            ]
        ),
        "PHQ-9",
    )
    drawn: dict[str, float] = {}
    for bar in (trace for trace in figure.data if trace.type == "bar"):
        for start, share in zip(bar.y, bar.x, strict=True):
            assert not math.isnan(share), "a gap breaks the stack"
            drawn[start] = drawn.get(start, 0) + share
    assert drawn == {"week 0, minimal": 100, "week 0, mild *": 100, "week 0, moderate": 0, "week 0, severe *": 0}
    (words,) = [trace for trace in figure.data if trace.type == "scatter"]
    assert dict(zip(words.y, words.text, strict=True)) == {
        "week 0, moderate": "nobody",
        "week 0, severe *": "suppressed",
    }
    shares = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in figure.data if trace.type == "bar"}
    assert shares["then minimal (min)"]["week 0, minimal"] == 37.5
    assert shares["then no answer (none)"]["week 0, minimal"] == 50
