"""England's published counts through the measure SQL reproduce England's published percentages."""

from __future__ import annotations

from pathlib import Path

import duckdb
import jinja2
import polars as pl
import pytest

from caseness.dbt_runner import project_folder
from screening.definitions import definitions

# Names of the official file: numerator, and the counts the denominator is made of.
OFFICIAL = {
    "nhs_tt_recovery": ("recovery", "is_not_at_caseness"),
    "nhs_tt_reliable_improvement": ("reliable_improvement", ""),
    "nhs_tt_reliable_recovery": ("reliable_recovery", "is_not_at_caseness"),
    "nhs_tt_reliable_deterioration": ("deterioration", ""),
}


def _macro(numerator: str, denominator: str, exclusions: str) -> str:
    source = (project_folder() / "macros" / "rules.sql").read_text(encoding="utf-8")
    module = jinja2.Environment().from_string(source).module
    return str(module.measure_rate_percent(numerator, denominator, exclusions))  # type: ignore[attr-defined]


def _wide(shared_data: Path) -> pl.DataFrame:
    file = shared_data / "nhs_talking_therapies" / "england_main_measures_2017-18_to_2024-25.csv.gz"
    long = pl.read_csv(file, infer_schema=False).with_columns(
        pl.concat_str("measure_name", "measure_statistic", separator=":").alias("name"),
        pl.col("value").cast(pl.Float64, strict=False),
    )
    keys = ["reporting_period", "org_type", "org_code", "variable_type", "variable_a", "variable_b"]
    return long.pivot(on="name", index=keys, values="value", aggregate_function="first")


@pytest.mark.parametrize("measure", sorted(OFFICIAL))
def test_percentages_are_reproduced(shared_data: Path, measure: str) -> None:
    wide = _wide(shared_data)
    numerator, exclusion = OFFICIAL[measure]
    row = next(row for row in definitions("measures") if row["measure_id"] == measure)
    assert row["denominator_exclusion_flag"] == exclusion, "the definition's denominator is what is tested"
    excluded = '"not_at_caseness:count"' if exclusion else "0"
    counts = [f"{numerator}:count", "finished_course_treatment:count", f"{numerator}:percentage"]
    counts += ["not_at_caseness:count"] if exclusion else []
    missing = [name for name in counts if name not in wide.columns]
    assert not missing, (missing, wide.columns)
    table = wide.drop_nulls(counts).to_arrow()
    with duckdb.connect() as connection:
        connection.register("official", table)
        rate = _macro(f'"{numerator}:count"', '"finished_course_treatment:count"', excluded)
        agree, naive, rows = connection.execute(
            f"""
            select
                count(*) filter (where abs(round({rate}, 1) - "{numerator}:percentage") < 0.051),
                count(*) filter (where abs(round(100.0 * "{numerator}:count" / nullif("finished_course_treatment:count", 0), 1)
                    - "{numerator}:percentage") < 0.051),
                count(*) from official where ({rate}) is not null
            """
        ).fetchone() or (0, 0, 0)
    assert rows > 500
    assert agree == rows
    if exclusion:
        assert naive < 0.6 * rows, "the naive denominator is another measure"
