"""Where are we now: the measures of the whole service beside England's figures."""

import streamlit as st

from dashboards import charts, frame, queries, words

release = frame.current_release()
st.title("Where are we now")
frame.banner(release)
periods = queries.periods(release.settings, release.file)
labels = dict(zip(periods["period_id"], periods["period_label"], strict=True))
chosen = st.selectbox(
    "Period of discharge", list(labels), format_func=lambda key: "All: " + labels[key] if key == "all" else labels[key]
)
rows = queries.overview(release.settings, release.file, chosen)
finished = rows[rows["measure_id"] == "nhs_tt_reliable_improvement"].iloc[0]
columns = st.columns(3)
for column, measure in zip(
    columns, ("nhs_tt_recovery", "nhs_tt_reliable_improvement", "nhs_tt_first_treatment_6_weeks"), strict=True
):
    row = rows[rows["measure_id"] == measure].iloc[0]
    column.metric(
        row["name"],
        words.rate_words(row["rate_percent"], row["rate_status"]),
        help=f"{row['formula']}. {row['caveat']}.",
        border=True,
    )
    column.caption(
        f"of {words.count_words(row['denominator_count'], row['denominator_status'])}; "
        f"England {row['national_percent']:g} %"
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
    n=f"{words.count_words(finished['denominator_count'], finished['denominator_status'])} finished courses",
    period=labels[chosen],
    method=words.OVERVIEW_NOTE,
    hidden=words.suppression_words(rows["rate_status"], release.profile),
    release=release,
)
st.subheader("Over time")
names = dict(zip(rows["measure_id"], rows["name"], strict=True))
measure = st.selectbox(
    "Measure", list(names), index=list(names).index("nhs_tt_recovery"), format_func=lambda key: names[key]
)
quarters = queries.measure_over_time(release.settings, release.file, measure)
national = rows[rows["measure_id"] == measure].iloc[0]["national_percent"]
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
    n=f"{int(quarters['denominator_count'].fillna(0).sum()):,} in the denominators shown (sum of rounded counts)",
    period="quarters of discharge; parts of a quarter say so",
    method=words.OVERVIEW_NOTE,
    hidden=words.suppression_words(quarters["rate_status"], release.profile),
    release=release,
)
st.subheader("Activity")
stages = queries.activity(release.settings, release.file)
table = stages[["period_label", "stage"]].rename(columns={"period_label": "quarter"})
table["stage"] = [words.readable(stage) for stage in table["stage"]]
table["episodes"] = frame.count_column(stages, "episodes")
received = stages[stages["stage"] == "referrals_received"]["episodes_count"].fillna(0).sum()
frame.figure(
    charts.activity(stages),
    table,
    key="activity",
    n=f"{int(received):,} referrals (sum of rounded counts)",
    period="quarters of the event; parts of a quarter say so",
    method="Each stage is counted in the quarter in which it happened. The last quarters lack events still to come.",
    hidden=words.suppression_words(stages["episodes_status"], release.profile),
    release=release,
)
