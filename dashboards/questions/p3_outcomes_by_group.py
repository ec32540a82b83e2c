"""Who is left behind: outcomes by group."""

import streamlit as st

from dashboards import charts, frame, queries, words

release = frame.current_release()
st.title("Who is left behind")
frame.banner(release)
overall = queries.overview(release.settings, release.file, "all")
if not words.has_courses(overall):
    st.info(words.NO_COURSES)
    st.stop()
definitions = queries.measures(release.settings, release.file)
names = dict(zip(definitions["measure_id"], definitions["name"], strict=True))
one, two, three = st.columns(3)
published = queries.published_groups(release.settings, release.file, "nhs_tt_recovery")
first = list(queries.GROUPS).index(published[0]) if published else 0
group = one.selectbox("Group", list(queries.GROUPS), index=first, format_func=lambda key: queries.GROUPS[key])
measure = two.selectbox(
    "Measure", list(names), index=words.place_of("nhs_tt_recovery", list(names)), format_func=lambda key: names[key]
)
periods = queries.group_periods(release.settings, release.file)
labels = dict(zip(periods["period_id"], periods["period_label"], strict=True)) or {"all": "all"}
period = three.selectbox(
    "Period of discharge", list(labels), format_func=lambda key: "All: " + labels[key] if key == "all" else labels[key]
)
finer = queries.within(release.settings, release.file, group, measure, period)
choices = [("", ""), *((column, value) for column, values in finer.items() for value in values)]
among_column, among_value = st.selectbox(
    "Among",
    choices,
    format_func=lambda pair: f"{queries.GROUPS[pair[0]]}: {words.readable(pair[1])}" if pair[0] else "Everybody",
    help="Groups of two columns are published over all days, where they tell nothing of a small group.",
)
if among_column:
    rows = queries.outcomes_within(release.settings, release.file, group, among_column, among_value, measure, period)
else:
    rows = queries.outcomes_by_group(release.settings, release.file, group, measure, period)
if rows.empty:
    st.info(
        f"{words.NOT_AT_THIS_DETAIL} "
        "Choose another measure or group; the whole service is on the page Where are we now."
    )
    st.stop()
whole = queries.overview(release.settings, release.file, period)
rows = words.in_order(rows, group)
whole_rate = next(iter(whole.loc[whole["measure_id"] == measure, "rate_percent"]), None)
definition = definitions[definitions["measure_id"] == measure].iloc[0]
table = rows[["group_value"]].rename(columns={"group_value": queries.GROUPS[group]})
table[queries.GROUPS[group]] = [words.readable(str(value)) for value in rows["group_value"]]
table["rate"] = frame.rate_column(rows)
table["numerator"] = frame.count_column(rows, "numerator")
table["denominator"] = frame.count_column(rows, "denominator")
among = f" among {queries.GROUPS[among_column]}: {words.readable(among_value)}" if among_column else ""
frame.figure(
    charts.by_group(rows, names[measure] + among, queries.GROUPS[group], whole_rate),
    table,
    key=f"by_{group}" + (f"_among_{among_column}_{among_value}".replace(" ", "_") if among_column else ""),
    n=words.sum_words(rows["denominator_count"], rows["denominator_status"], "in the denominators" + among),
    period=labels[period],
    method=f"{definition['formula']}. {definition['denominator_text']}. {definition['caveat']}. {words.GROUP_NOTE} "
    + " ".join(words.GROUP_METHODS[column] for column in (group, among_column) if column in words.GROUP_METHODS),
    hidden=words.suppression_words(rows["rate_status"], release.profile),
    release=release,
    caution=words.GROUP_CAUTION,
)
