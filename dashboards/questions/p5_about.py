"""How was this made: definitions, benchmarks and the release."""

import pandas as pd
import streamlit as st

from dashboards import frame, queries, words

release = frame.current_release()
st.title("How was this made")
frame.banner(release)
st.subheader("Measures")
measures = queries.measures(release.settings, release.file)
for row in measures.itertuples():
    with st.expander(f"{row.name} (version {row.definition_version})"):
        st.markdown(
            f"**Formula** {row.formula}  \n**Denominator** {row.denominator_text}  \n**Caution** {row.caveat}  \n"
            f"**Source** {row.source}"
        )
st.subheader("Published figures beside ours")
benchmarks = queries.benchmarks(release.settings, release.file)
names = dict(zip(measures["measure_id"], measures["name"], strict=True))
published = pd.DataFrame(
    {
        "measure": benchmarks["measure_id"].map(names),
        "what": benchmarks["benchmark_kind"].str.replace("_", " "),
        "percent": [words.percent_words(percent) for percent in benchmarks["benchmark_percent"]],
        "area": benchmarks["area"],
        "from": pd.to_datetime(benchmarks["period_start"]).dt.date,
        "to": pd.to_datetime(benchmarks["period_end"]).dt.date,
        "source": benchmarks["source"],
    }
)
st.table(published.set_index("measure"))
st.subheader("This release")
facts = pd.DataFrame(
    [(name.replace("_", " "), words.escaped(value)) for name, value in sorted(release.facts.items())],
    columns=["fact", "value"],
)
st.table(facts.set_index("fact"))
st.write(
    "Every count was rounded once from its own true value; every rate is computed from rounded counts; counts that are "
    "too small, and outcomes that nearly everyone or nearly no one of a group has, are suppressed. The manifest beside "
    "the release names its inputs by hash and says what the attacker found."
)
