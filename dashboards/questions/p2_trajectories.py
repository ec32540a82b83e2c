"""Who gets better: PHQ-9 and GAD-7 of the population over the weeks of treatment."""

import streamlit as st

from dashboards import charts, frame, queries, words

release = frame.current_release()
st.title("Who gets better")
frame.banner(release)
left, right = st.columns(2)
instrument = left.segmented_control("Instrument", ["PHQ-9", "GAD-7"], default="PHQ-9") or "PHQ-9"
stratum = right.selectbox(
    "Main modality",
    queries.strata(release.settings, release.file),
    format_func=lambda value: "All starters" if value == "all" else words.readable(value),
)
weeks = queries.trajectories(release.settings, release.file, instrument, stratum)
if weeks.empty:
    st.info(
        "This release has no trajectories: either no course of treatment had a score during treatment (forms count "
        "once they belong to a referral with treatment contacts), or the audit dropped them because hidden numbers "
        "could be worked out."
    )
    st.stop()
table = weeks[["week_of_treatment"]].rename(columns={"week_of_treatment": "week"})
table["scores"] = frame.count_column(weeks, "observed")
for kind, status in (("observed", "observed_mean_status"), ("model", "model_status")):
    table[f"{kind} mean (95 % interval)"] = [
        f"{row[f'{kind}_mean']:.1f} ({row[f'{kind}_ci_low']:.1f} to {row[f'{kind}_ci_high']:.1f})"
        if row[status] == "shown"
        else row[status].replace("_", " ")
        for _, row in weeks.iterrows()
    ]
first = weeks.iloc[0]
frame.figure(
    charts.trajectory(weeks, instrument, "all starters" if stratum == "all" else stratum),
    table,
    key="trajectory",
    n=words.count_words(first["starters_count"], first["starters_status"])
    + " courses that began treatment; scores by week in the table",
    period=f"{release.facts['data_period_start']} to {release.facts['data_period_end']}",
    method=words.TRAJECTORY_NOTE
    + " "
    + str(first["method"])
    + " "
    + words.completeness_words(queries.score_completeness(release.settings, release.file, instrument)),
    hidden=words.suppression_words(weeks["model_status"], release.profile)
    + words.absent_words(set(weeks["week_of_treatment"]), words.trajectory_weeks(), "weeks"),
    release=release,
    caution=words.TRAJECTORY_CAUTION,
)
if not weeks["model_status"].isin(["shown", "suppressed"]).any():
    st.info(
        "No model mean here: each week it stands on needs enough scores, and each pair of weeks enough courses with "
        "scores in both."
    )
st.subheader("Severity bands over the weeks")
flow = queries.severity_flow(release.settings, release.file, instrument)
if flow.empty:
    st.info(
        "Not in this release: either no course began long enough ago, or the audit found that hidden counts could be "
        "worked out from it. The trajectories above are nearest."
    )
else:
    table = flow[["from_week", "to_week", "from_band", "to_band"]].copy()
    table["from_band"] = [words.readable(band) for band in table["from_band"]]
    table["to_band"] = [words.readable(band) for band in table["to_band"]]
    table["courses"] = frame.count_column(flow, "episodes")
    starts = flow[flow["from_week"] == 0]
    is_partly_hidden = bool((flow["episodes_status"] == "suppressed").any())
    frame.figure(
        charts.severity_flow(flow, instrument),
        table,
        key="severity_flow",
        n=words.sum_words(starts["episodes_count"], starts["episodes_status"], "courses at week 0"),
        period=f"{release.facts['data_period_start']} to {release.facts['data_period_end']}",
        method=words.FLOW_NOTE,
        hidden=words.suppression_words(flow["episodes_status"], release.profile),
        release=release,
        caution=words.FLOW_CAUTION if is_partly_hidden else "",
    )
