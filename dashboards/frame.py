"""What every page shares: the release it shows, and the frame around a figure (n, period, method, suppression, CSV)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from caseness.settings import Settings
from dashboards import charts, queries, words

_CHART = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


@dataclass(frozen=True)
class Release:
    """The release a page shows."""

    settings: Settings
    file: Path
    facts: dict[str, str]

    @property
    def profile(self) -> str:
        """Name of the disclosure profile."""
        return self.facts["disclosure_profile"]


def current_release() -> Release:
    """The current release, or a page that says what to do and stops."""
    settings = Settings()
    file = queries.release_file(settings)
    if file is None and settings.paths.current_release.exists():
        st.title("The release has no such file")
        st.write(f"Nothing of the current release is for the scope {words.escaped(settings.scope)!r}. Set another:")
        st.code('scope = "public"   # in caseness.toml', language="toml")
        st.stop()
    if file is None:
        st.title("Nothing is published yet")
        st.write("The dashboard shows releases only. Publish one, then reload this page:")
        st.code("caseness run PATH...", language="shell")
        st.stop()
        raise RuntimeError("the page has stopped")
    return Release(settings, file, queries.metadata(settings, file))


def banner(release: Release) -> None:
    """Where the figures come from, and that nobody has signed in."""
    facts = release.facts
    st.caption(
        f"Release **{facts['release_id']}** · data up to **{facts['as_of_date']}** · disclosure profile "
        f"**{facts['disclosure_profile']}** ({facts['disclosure_rule'].lower()}) · {facts['statement']}"
        + ("" if facts.get("scope", "public") == "public" else f" · for **{words.escaped(facts['scope'])}** alone")
    )
    st.caption("Local view without sign-in: do not put this address on a network.")


def figure(
    chart: go.Figure,
    table: pd.DataFrame,
    *,
    key: str,
    n: str,
    period: str,
    method: str,
    hidden: str,
    release: Release,
    caution: str = "",
) -> None:
    """A chart with n, period, method, what was suppressed, its table and a CSV that carries the same notes.

    ``caution`` is what would mislead a reader who opens nothing: it stands right under the chart.
    """
    st.markdown(f"**{charts.title_of(chart)}**")
    st.plotly_chart(chart, width="stretch", key=f"chart_{key}", config=_CHART)
    if caution:
        st.markdown(f"**Caution** {caution}")
    st.markdown(f"**n** {n} · **Period** {period}  \n**Suppressed** {hidden}")
    with st.expander("Method"):
        st.write(method)
    with st.expander("Table"):
        st.dataframe(table, hide_index=True, width="stretch")
    facts = release.facts
    notes = [
        f"# release {facts['release_id']}, data up to {facts['as_of_date']}, profile {facts['disclosure_profile']}",
        f"# n: {n}",
        f"# period: {period}",
        f"# suppressed: {hidden}",
        f"# method: {method}",
        *([f"# caution: {caution}"] if caution else []),
        "# where a figure comes from: `caseness cohort` names it, `caseness trace` follows it to the files",
    ]
    st.download_button(
        "Download CSV",
        data="\n".join(notes) + "\n" + table.to_csv(index=False),
        file_name=f"{facts['release_id']}_{key}.csv",
        mime="text/csv",
        key=f"csv_{key}",
    )


def count_column(frame: pd.DataFrame, name: str) -> list[str]:
    """A published count column in words."""
    pairs = zip(frame[f"{name}_count"], frame[f"{name}_status"], strict=True)
    return [words.count_words(count, status) for count, status in pairs]


def rate_column(frame: pd.DataFrame) -> list[str]:
    """The rate column in words."""
    return [
        words.rate_words(rate, status) for rate, status in zip(frame["rate_percent"], frame["rate_status"], strict=True)
    ]
