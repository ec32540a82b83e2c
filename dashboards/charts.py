"""Charts of published tables. Colour is never the only cue: line styles, markers, hatching and text say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboards import words
from screening.definitions import default_rows

NAVY, TEAL, PLUM, ORANGE, GREY, LILAC = "#12436D", "#28A197", "#801650", "#F46A25", "#3D3D3D", "#A285D1"
_LABEL_FROM_PERCENT = 6
_MOST_QUARTERS = 14
_MIDDLE_PERCENT = 50
_ON_WHITE = "rgba(255,255,255,0.9)"
_FONT = "Arial, Helvetica, sans-serif"
_BAND_SHADES = {
    "minimal": ("#DCE8F2", "min", "#1d1d1b"),
    "mild": ("#9DBFDB", "mild", "#1d1d1b"),
    "moderate": ("#3F7BB0", "mod", "#ffffff"),
    "moderately_severe": ("#12436D", "m-s", "#ffffff"),
    "severe": ("#801650", "sev", "#ffffff"),
    "not_answered": ("#D9D9D9", "none", "#1d1d1b"),
}


def _finish(figure: go.Figure, *, height: int, title: str) -> go.Figure:
    """The look of every figure. The legend stands above the plot, where no axis label can come to lie on it.

    The title is kept beside the figure (``title_of``) and written by the page: in a narrow figure it would be cut.
    """
    figure.update_layout(
        meta={"title": title},
        font={"family": _FONT, "size": 13, "color": "#1d1d1b"},
        plot_bgcolor="#ffffff",
        paper_bgcolor="#ffffff",
        height=height,
        margin={"l": 10, "r": 10, "t": 16, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0, "title": None},
        hoverlabel={"font": {"family": _FONT}},
    )
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(automargin=True, gridcolor="#E5E5E5", linecolor="#6F777B", zeroline=False)
        update(tickfont={"color": GREY}, title_font={"color": GREY})
    return figure


def title_of(figure: go.Figure) -> str:
    """What a figure shows, in words."""
    return str(figure.layout.meta["title"])


def _values(figure: go.Figure, xs: Iterable[float], ys: Iterable[str]) -> None:
    """The value above each mark, on white, so that no reference line runs through it."""
    for x, y in zip(xs, ys, strict=True):
        figure.add_annotation(x=x, y=y, text=f"{x:.1f}", showarrow=False, yshift=17, borderpad=1, bgcolor=_ON_WHITE)


def _by_quarter(figure: go.Figure, labels: Iterable[str]) -> None:
    """Quarters under each other with their year, which fits a telephone; of many, the first of each year."""
    names = list(dict.fromkeys(labels))
    shown, texts = [], []
    for at, name in enumerate(names):
        year, quarter, *part = name.split()
        if len(names) > _MOST_QUARTERS and quarter != "Q1":
            continue
        is_first_alone = at == 0 and not any(" Q1" in other for other in names[:2])
        shown.append(name)
        below = [year if quarter == "Q1" or is_first_alone else "", *(["part"] if part else [])]
        texts.append("<br>".join([quarter, *below]))
    figure.update_xaxes(
        type="category",
        categoryorder="array",
        categoryarray=names,
        tickmode="array",
        tickvals=shown,
        ticktext=texts,
        tickangle=0,
    )


def wilson(numerator: float, denominator: float) -> tuple[float, float]:
    """95 % Wilson interval in percent (Wilson 1927), from counts."""
    z = 1.959963984540054
    if denominator <= 0:
        return math.nan, math.nan
    share = numerator / denominator
    centre = (share + z * z / (2 * denominator)) / (1 + z * z / denominator)
    half = z * math.sqrt(share * (1 - share) / denominator + z * z / (4 * denominator**2)) / (1 + z * z / denominator)
    return 100 * (centre - half), 100 * (centre + half)


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _intervals(frame: pd.DataFrame) -> tuple[list[float], list[float]]:
    low, high = [], []
    for row in _rows(frame):
        if row.rate_status == "shown":
            bounds = wilson(row.numerator_count, row.denominator_count)
            low.append(max(row.rate_percent - bounds[0], 0.0))
            high.append(max(bounds[1] - row.rate_percent, 0.0))
        else:
            low.append(0.0)
            high.append(0.0)
    return low, high


def against_national(frame: pd.DataFrame) -> go.Figure:
    """Service rate with its interval, England's figure and the standard, one line per measure."""
    frame = frame.iloc[::-1]
    shown = frame[frame["rate_status"] == "shown"]
    low, high = _intervals(shown)
    labels = [_wrapped(name) for name in shown["name"]]
    figure = go.Figure()
    figure.add_scatter(
        x=shown["rate_percent"],
        y=labels,
        mode="markers",
        name="This service",
        marker={"color": NAVY, "size": 12, "symbol": "circle"},
        error_x={"type": "data", "array": high, "arrayminus": low, "color": NAVY},
        cliponaxis=False,
    )
    for column, name, colour, symbol in (
        ("national_percent", "England", ORANGE, "diamond-open"),
        ("standard_percent", "National standard", GREY, "line-ns-open"),
    ):
        own = frame.dropna(subset=[column])
        figure.add_scatter(
            x=own[column],
            y=[_wrapped(value) for value in own["name"]],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 13, "symbol": symbol, "line": {"width": 3, "color": colour}},
        )
    _values(figure, shown["rate_percent"], labels)
    hidden = frame[frame["rate_status"] != "shown"]
    beside = hidden[["national_percent", "standard_percent"]].min(axis=1) < _MIDDLE_PERCENT
    for is_low, at in ((False, 0), (True, 100)):  # never where a yardstick stands
        own = hidden[beside == is_low]
        _say_why(figure, [_wrapped(name) for name in own["name"]], own["rate_status"], at=at)
    figure.update_xaxes(title="percent", range=[-2, 106])
    order = [_wrapped(name) for name in frame["name"]]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order)
    return _finish(figure, height=110 + 58 * len(frame), title="Measures against the national figures")


def _say_why(figure: go.Figure, names: Sequence[str], statuses: Iterable[str], *, at: int = 0) -> None:
    """The status of a value that is not shown, as text on its line; on white, so that no line runs through it."""
    if not names:
        return
    said = [status.replace("_", " ") for status in statuses]
    figure.add_scatter(
        x=[at] * len(names),
        y=names,
        mode="markers",
        marker={"opacity": 0},
        text=said,
        hoverinfo="skip",
        showlegend=False,
    )
    for name, text in zip(names, said, strict=True):
        anchor = "left" if at == 0 else "right"
        figure.add_annotation(x=at, y=name, text=text, showarrow=False, xanchor=anchor, bgcolor=_ON_WHITE)


def _wrapped(text: str) -> str:
    words_left, lines = text.split(), [""]
    for word in words_left:
        if len(lines[-1]) + len(word) > 18 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def over_time(frame: pd.DataFrame, name: str, national: float | None) -> go.Figure:
    """A measure by quarter of discharge, with intervals; hidden quarters leave a gap."""
    low, high = _intervals(frame)
    rates = frame["rate_percent"].where(frame["rate_status"] == "shown")
    figure = go.Figure()
    figure.add_scatter(
        x=frame["period_label"],
        y=rates,
        mode="lines+markers",
        name="This service",
        connectgaps=False,
        line={"color": NAVY, "width": 3},
        marker={"size": 9},
        error_y={"type": "data", "array": high, "arrayminus": low, "color": NAVY},
    )
    hidden = frame[frame["rate_status"] == "suppressed"]
    if len(hidden):
        figure.add_scatter(
            x=hidden["period_label"],
            y=[0] * len(hidden),
            mode="markers",
            name="suppressed",
            marker={"symbol": "x-thin-open", "color": GREY, "size": 10, "line": {"width": 2}},
            cliponaxis=False,
            hoverinfo="skip",
        )
    if national is not None and not pd.isna(national):
        figure.add_scatter(
            x=frame["period_label"],
            y=[national] * len(frame),
            mode="lines",
            name=f"England {national:g} %",
            line={"color": ORANGE, "dash": "dash", "width": 2},
            hoverinfo="skip",
        )
    figure.update_yaxes(title="percent", rangemode="tozero")
    _by_quarter(figure, frame["period_label"])
    return _finish(figure, height=380, title=f"{name} by quarter of discharge")


STAGES = {
    "referrals_received": (NAVY, "solid", "circle"),
    "first_treatments": (TEAL, "dash", "square"),
    "finished_courses": (ORANGE, "dot", "diamond"),
}


def activity(frame: pd.DataFrame) -> go.Figure:
    """Counts by quarter and stage of care."""
    figure = go.Figure()
    for stage, (colour, dash, symbol) in STAGES.items():
        own = frame[frame["stage"] == stage]
        if own.empty:  # not in this release, which is not none
            continue
        figure.add_scatter(
            x=own["period_label"],
            y=own["episodes_count"],
            mode="lines+markers",
            name=words.readable(stage),
            line={"color": colour, "dash": dash, "width": 3},
            marker={"symbol": symbol, "size": 9},
            connectgaps=False,
            cliponaxis=False,
        )
    figure.update_yaxes(title="episodes", rangemode="tozero")
    _by_quarter(figure, frame["period_label"])
    return _finish(figure, height=400, title="Activity by quarter")


def trajectory(frame: pd.DataFrame, instrument: str, stratum: str) -> go.Figure:
    """Both means by week with their intervals and the caseness line."""
    model = frame[frame["model_status"] == "shown"]
    seen = frame[frame["observed_mean_status"] == "shown"]
    # A line breaks where a week is hidden or not in the release.
    weeks = pd.Index(words.trajectory_weeks())
    by_week = {
        name: own.set_index("week_of_treatment").reindex(weeks) for name, own in (("model", model), ("seen", seen))
    }
    figure = go.Figure()
    figure.add_scatter(
        x=[*model["week_of_treatment"], *model["week_of_treatment"][::-1]],
        y=[*model["model_ci_high"], *model["model_ci_low"][::-1]],
        fill="toself",
        fillcolor="rgba(18,67,109,0.18)",
        line={"width": 0},
        hoverinfo="skip",
        name="95 % interval of the model mean",
    )
    figure.add_scatter(
        x=weeks,
        y=by_week["model"]["model_mean"],
        mode="lines+markers",
        name="All starters (model)",
        line={"color": NAVY, "width": 3},
        marker={"symbol": "circle", "size": 8},
    )
    figure.add_scatter(
        x=weeks,
        y=by_week["seen"]["observed_mean"],
        mode="lines+markers",
        name="Those still answering",
        line={"color": ORANGE, "width": 3, "dash": "dash"},
        marker={"symbol": "diamond", "size": 8},
        error_y={
            "type": "data",
            "array": by_week["seen"]["observed_ci_high"] - by_week["seen"]["observed_mean"],
            "arrayminus": by_week["seen"]["observed_mean"] - by_week["seen"]["observed_ci_low"],
            "color": ORANGE,
        },
    )
    for row in default_rows("thresholds", instrument):
        if row["purpose"] == "caseness":
            line = float(row["threshold_value"])
            figure.add_hline(y=line, line={"color": GREY, "dash": "dot", "width": 2})
            figure.add_annotation(
                x=1,
                xref="paper",
                xanchor="right",
                y=line,
                yanchor="bottom",
                showarrow=False,
                text=f"caseness {line:g}",
                bgcolor=_ON_WHITE,
            )
    figure.update_xaxes(title="week of treatment", dtick=2)
    figure.update_yaxes(title=f"mean {instrument} (score points)", rangemode="tozero")
    return _finish(figure, height=460, title=f"{instrument}: {words.readable(stratum).lower()}, by week of treatment")


def severity_flow(frame: pd.DataFrame, instrument: str) -> go.Figure:
    """Where each band stands four weeks later, as shares of the published counts; * marks a row with a hidden part."""
    order = [row["band"] for row in default_rows("severity_bands", instrument)]
    figure = go.Figure()
    frame = frame[frame["from_band"].isin(order)].copy()
    frame["start"] = [f"week {row.from_week}, {words.readable(row.from_band).lower()}" for row in _rows(frame)]
    is_shown = frame["episodes_status"].isin(["shown", "zero"])
    partly = set(frame.loc[~is_shown, "start"])
    partly_named = {f"{start} *" for start in partly}
    frame["start"] = [f"{start} *" if start in partly else start for start in frame["start"]]
    weeks = [frame[frame["from_week"] == week] for week in sorted(frame["from_week"].unique())]
    starts = [start for week in weeks for band in order for start in week.loc[week["from_band"] == band, "start"][:1]]
    shown = frame[is_shown]
    totals = shown.groupby("start")["episodes_count"].sum().astype(float).reindex(starts).fillna(0)
    empty = list(totals.index[totals == 0])
    _say_why(figure, empty, ["suppressed" if start in partly_named else "nobody" for start in empty])
    for band in [*order, "not_answered"]:
        own = shown[shown["to_band"] == band].set_index("start")["episodes_count"].reindex(starts).astype(float)
        share = (100 * own / totals.where(totals > 0)).fillna(0)  # a bar without length: a gap would break the stack
        colour, label, ink = _BAND_SHADES[band]
        figure.add_bar(
            y=starts,
            x=share,
            orientation="h",
            name=f"then {words.readable(band).lower()} ({label})",
            marker={"color": colour, "line": {"color": "#ffffff", "width": 1}},
            text=[label if value >= _LABEL_FROM_PERCENT else "" for value in share],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": ink, "size": 11},
            customdata=own.fillna(0),
            hovertemplate="%{y}<br>%{fullData.name}: %{x:.0f} % (%{customdata:,} courses)<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="percent of the counts shown", range=[0, 100])
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=starts[::-1])
    finished = _finish(figure, height=220 + 34 * len(starts), title=f"{instrument}: four weeks later")
    finished.update_layout(legend={"traceorder": "normal"})
    return finished


def by_group(frame: pd.DataFrame, measure: str, group: str, whole: float | None) -> go.Figure:
    """A measure by group with intervals, beside the whole service."""
    frame = frame.iloc[::-1]
    shown = frame[frame["rate_status"] == "shown"]
    low, high = _intervals(shown)
    names = {value: _wrapped(words.readable(str(value))) for value in frame["group_value"]}
    figure = go.Figure()
    figure.add_scatter(
        x=shown["rate_percent"],
        y=[names[value] for value in shown["group_value"]],
        mode="markers",
        name=measure,
        marker={"color": NAVY, "size": 12},
        error_x={"type": "data", "array": high, "arrayminus": low, "color": NAVY},
        showlegend=False,
        cliponaxis=False,
    )
    hidden = frame[frame["rate_status"] != "shown"]
    _say_why(figure, [names[value] for value in hidden["group_value"]], hidden["rate_status"])
    if whole is not None and not pd.isna(whole):
        figure.add_vline(x=whole, line={"color": ORANGE, "dash": "dash", "width": 2}, layer="below")
        figure.add_annotation(
            x=whole, y=1, yref="paper", yanchor="bottom", showarrow=False, text=f"whole service {whole:.1f} %"
        )
    _values(figure, shown["rate_percent"], [names[value] for value in shown["group_value"]])
    figure.update_xaxes(title="percent", rangemode="tozero")
    if shown.empty:
        figure.update_xaxes(range=[0, 100])
    order = [names[value] for value in frame["group_value"]]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order)
    figure = _finish(figure, height=150 + 48 * len(frame), title=f"{measure} by {group.lower()}")
    figure.update_layout(margin={"t": 40})
    return figure
