"""Can I trust the data: what the quality rules found."""

import pandas as pd
import streamlit as st

from dashboards import frame, queries, words

release = frame.current_release()
st.title("Can I trust the data")
frame.banner(release)
rows = queries.data_quality(release.settings, release.file)
passed, failed = int((rows["status"] == "passed").sum()), int(rows["status"].isin(["failed", "error"]).sum())
columns = st.columns(3)
columns[0].metric("Rules passed", passed, border=True)
columns[1].metric("Rules failed", failed, border=True)
columns[2].metric("Not applicable", int((rows["status"] == "not_applicable").sum()), border=True)
st.write(
    "A failed fatal rule stops publication, so none is here. Conventions point at something the sender should mend; "
    "characterizations describe the data and set no bar to cross."
)
table = rows[["status", "severity"]].copy()
table["status"] = [status.replace("_", " ") for status in table["status"]]
table["rule"] = [words.readable(rule) for rule in rows["rule_id"]]
table["where"] = rows["table_name"]
table["rows failed"] = frame.count_column(rows, "rows_failed")
table["rows checked"] = frame.count_column(
    rows.rename(columns={"rows_checked_about": "rows_checked_count"}), "rows_checked"
)
table["why"], table["what to do"] = rows["reason"], rows["remedy"]
told = pd.DataFrame(
    {
        "rule": [
            f"**{rule}**  \n{status}"
            + ("" if failed_rows == "not applicable" else f", {failed_rows} of {checked} rows, to the nearest hundred")
            for rule, status, failed_rows, checked in zip(
                table["rule"], table["status"], table["rows failed"], table["rows checked"], strict=True
            )
        ],
        "why, and what to do": [
            f"{words.escaped(row.reason)}.  \nWhat to do: {words.escaped(row.remedy)}.  \n"
            f"({row.severity}, {words.escaped(row.table_name)})"
            for row in rows.itertuples()
        ],
    }
)
st.table(told.set_index("rule"))  # wraps every text, where a scrolling grid would cut it
hidden = words.suppression_words(rows["rows_failed_status"], release.profile)
st.markdown(
    f"**n** {len(rows)} rules · **Period** all deliveries up to {release.facts['as_of_date']}  \n"
    f"**Suppressed** {hidden}"
)
st.download_button(
    "Download CSV",
    data=f"# release {release.facts['release_id']}\n" + table.to_csv(index=False),
    file_name=f"{release.facts['release_id']}_data_quality.csv",
    mime="text/csv",
)
