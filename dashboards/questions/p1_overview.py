"""Where are we now: the measures of the whole service beside England's figures."""

import streamlit as st

from dashboards import charts, frame, queries, words

release = frame.current_release()
st.title("Where are we now")
frame.banner(release)
periods = queries.periods(release.settings, release.file)
labels = dict(zip(periods["period_id"], periods["period_label"], strict=True))
if not labels or not words.has_courses(queries.overview(release.settings, release.file, "all")):
    st.info(words.NO_COURSES)
    st.stop()
chosen = st.selectbox(
    "Period of discharge", list(labels), format_func=lambda key: "All: " + labels[key] if key == "all" else labels[key]
)
rows = queries.overview(release.settings, release.file, chosen)
headlines = ("nhs_tt_recovery", "nhs_tt_reliable_improvement", "nhs_tt_first_treatment_6_weeks")
by_measure = {row["measure_id"]: row for _, row in rows.iterrows()}
shown = [by_measure[measure] for measure in headlines if measure in by_measure]
for column, row in zip(st.columns(max(len(shown), 1)), shown, strict=False):
    column.metric(
        row["name"],
        words.rate_words(row["rate_percent"], row["rate_status"]),
        help=f"{row['formula']}. {row['caveat']}.",
        border=True,
    )
    column.caption(
        f"of {words.count_words(row['denominator_count'], row['denominator_status'])}; "
        f"England {words.percent_words(row['national_percent'])}"
    )
table = rows[["name"]].rename(columns={"name": "measure"})
table["rate"] = frame.rate_column(rows)
table["numerator"] = frame.count_column(rows, "numerator")
table["denominator"] = frame.count_column(rows, "denominator")
table["England percent"] = rows["national_percent"]
table["standard percent"] = rows["standard_percent"]
table["definition"] = rows["formula"]
frame.figure(
    charts.against_national(rows),
    table,
    key="overview",
    n=words.finished_words(by_measure.get("nhs_tt_reliable_improvement")),
    period=labels[chosen],
    method=words.OVERVIEW_NOTE,
    hidden=words.suppression_words(rows["rate_status"], release.profile),
    release=release,
    caution=words.OVERVIEW_CAUTION,
)
definitions = queries.measures(release.settings, release.file)
withheld = definitions.loc[~definitions["measure_id"].isin(rows["measure_id"]), "name"]
if len(withheld):
    st.info(f"{', '.join(withheld)}: {words.NOT_AT_THIS_DETAIL} Over all days every measure is published.")
st.subheader("Over time")
names = dict(zip(rows["measure_id"], rows["name"], strict=True))
measure = st.selectbox(
    "Measure", list(names), index=words.place_of("nhs_tt_recovery", list(names)), format_func=lambda key: names[key]
)
quarters = queries.measure_over_time(release.settings, release.file, measure)
national = by_measure[measure]["national_percent"]
if quarters.empty:
    st.info(f"By quarter: {words.NOT_AT_THIS_DETAIL}")
else:
    table = quarters[["period_label"]].rename(columns={"period_label": "quarter"})
    table["rate"], table["numerator"], table["denominator"] = (
        frame.rate_column(quarters),
        frame.count_column(quarters, "numerator"),
        frame.count_column(quarters, "denominator"),
    )
    frame.figure(
        charts.over_time(quarters, names[measure], national),
        table,
        key="over_time",
        n=words.sum_words(quarters["denominator_count"], quarters["denominator_status"], "in the denominators"),
        period="quarters of discharge; parts of a quarter say so",
        method=words.OVERVIEW_NOTE,
        hidden=words.suppression_words(quarters["rate_status"], release.profile),
        release=release,
        caution=words.OVERVIEW_CAUTION,
    )
st.subheader("Activity")
stages = queries.activity(release.settings, release.file)
table = stages[["period_label", "stage"]].rename(columns={"period_label": "quarter"})
table["stage"] = [words.readable(stage) for stage in table["stage"]]
table["episodes"] = frame.count_column(stages, "episodes")
received = stages[stages["stage"] == "referrals_received"]
frame.figure(
    charts.activity(stages),
    table,
    key="activity",
    n=words.sum_words(received["episodes_count"], received["episodes_status"], "referrals"),
    period="quarters of the event; parts of a quarter say so",
    method="Each stage is counted in the quarter in which it happened. The last quarters lack events still to come.",
    hidden=words.suppression_words(stages["episodes_status"], release.profile)
    + words.absent_words(
        {words.readable(stage) for stage in stages["stage"]},
        [words.readable(stage) for stage in charts.STAGES],
        "stages",
    ),
    release=release,
)
