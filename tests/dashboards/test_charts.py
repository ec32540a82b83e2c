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


def _quarters(count: int) -> pd.DataFrame:
    labels = [f"{2023 + (at + 3) // 4} Q{(at + 3) % 4 + 1}" for at in range(count)]
    labels[0], labels[-1] = f"{labels[0]} (part)", f"{labels[-1]} (part)"
    return pd.DataFrame(
        {"period_label": labels, "rate_percent": 50.0, "rate_status": "shown", "numerator_count": 10}
    ).assign(denominator_count=20)


def test_quarters_are_written_so_that_they_fit_a_telephone() -> None:
    figure = charts.over_time(_quarters(13), "Recovery", 50.5)
    assert list(figure.layout.xaxis.ticktext[:3]) == ["Q4<br><br>part", "Q1<br>2024", "Q2<br>"]
    assert figure.layout.xaxis.tickangle == 0
    assert figure.layout.legend.yanchor == "bottom" and figure.layout.legend.y > 1
    many = charts.over_time(_quarters(40), "Recovery", 50.5)
    assert set(many.layout.xaxis.ticktext) == {f"Q1<br>{year}" for year in range(2024, 2034)}
    assert charts.title_of(many) == "Recovery by quarter of discharge"


def test_values_stand_on_white_above_the_reference_line() -> None:
    frame = _quarters(2).assign(group_value=["female", "male"])
    figure = charts.by_group(frame, "Recovery", "Sex", 50.0)
    values = [note for note in figure.layout.annotations if note.text == "50.0"]
    assert len(values) == 2
    assert all(note.bgcolor and note.yshift > 0 for note in values)
    assert [shape.layer for shape in figure.layout.shapes] == ["below"]


def test_a_hidden_value_is_told_where_no_yardstick_stands() -> None:
    frame = pd.DataFrame(
        {
            "name": ["Low", "High", "None"],
            "rate_percent": [None, None, None],
            "rate_status": "suppressed",
            "numerator_count": None,
            "denominator_count": None,
            "national_percent": [5.8, 90.0, None],
            "standard_percent": [None, None, None],
        }
    )
    figure = charts.against_national(frame)
    told = {note.y: note.x for note in figure.layout.annotations}
    assert told == {"Low": 100, "High": 0, "None": 0}
