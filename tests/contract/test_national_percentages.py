"""The measures' arithmetic against NHS England's own: official counts in, official percentages out, every row."""

from __future__ import annotations

from pathlib import Path

import duckdb
import jinja2
import polars as pl
import pytest

from caseness.dbt_runner import project_folder
from screening.definitions import definitions

# How the official file names what our flags name.
_OFFICIAL_COUNT = {
    "has_finished_course": "finished_course_treatment",
    "is_not_at_caseness": "not_at_caseness",
    "has_recovered": "recovery",
    "is_reliably_recovered": "reliable_recovery",
    "is_reliably_improved": "improvement",
    "is_reliably_deteriorated": "deterioration",
    "has_no_reliable_change": "no_reliable_change",
}
_MEASURES = (
    "nhs_tt_recovery",
    "nhs_tt_reliable_recovery",
    "nhs_tt_reliable_improvement",
    "nhs_tt_reliable_deterioration",
    "nhs_tt_no_reliable_change",
)
_TOLERANCE = 0.05 + 1e-9  # half of the one decimal that is printed
_ROWS = 787  # rows of the file that carry a percentage and its counts


def _macro(numerator: str, denominator: str, exclusions: str) -> str:
    """``measure_rate_percent`` of dbt_project/macros/rules.sql, rendered as dbt renders it."""
    text = (project_folder() / "macros" / "rules.sql").read_text(encoding="utf-8")
    module = jinja2.Environment(autoescape=False).from_string(text).module
    return str(module.measure_rate_percent(numerator, denominator, exclusions))  # type: ignore[attr-defined]


def _measure(measure_id: str) -> dict[str, str]:
    return next(row for row in definitions("measures") if row["measure_id"] == measure_id)


def _counts_of(measure: dict[str, str]) -> tuple[str, str, str]:
    numerator = _OFFICIAL_COUNT[measure["numerator_flag"]]
    denominator = f"count_{_OFFICIAL_COUNT[measure['denominator_flag']]}"
    excluded = measure["denominator_exclusion_flag"]
    return numerator, denominator, f"count_{_OFFICIAL_COUNT[excluded]}" if excluded else "0"


@pytest.fixture(scope="module")
def england(shared_data: Path) -> pl.DataFrame:
    """England by variable, one row a cell, one column a figure."""
    path = shared_data / "nhs_talking_therapies" / "england_main_measures_2017-18_to_2024-25.csv.gz"
    long = pl.read_csv(path, infer_schema=False)
    cell = [name for name in long.columns if name not in ("measure_name", "measure_statistic", "value")]
    long = long.with_columns(
        pl.concat_str("measure_statistic", pl.lit("_"), "measure_name").alias("figure"),
        pl.col("value").cast(pl.Float64, strict=False),
    )
    assert not long.select([*cell, "figure"]).is_duplicated().any()
    return long.pivot(on="figure", index=cell, values="value")


def _agreement(table: pl.DataFrame, official: str, formula: str) -> tuple[int, int]:
    """Rows with an official percentage, and rows where the formula gives it to the one decimal printed."""
    with duckdb.connect() as connection:
        connection.register("official_counts", table.to_arrow())
        row = connection.execute(
            f"select count(*), count(*) filter (where round({formula}, 1) = percentage_{official}) "
            f"from official_counts where percentage_{official} is not null"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _within(table: pl.DataFrame, official: str, formula: str) -> tuple[int, int]:
    """As ``_agreement``, by distance: rows where the formula is within 0.05 of the official percentage."""
    with duckdb.connect() as connection:
        connection.register("official_counts", table.to_arrow())
        row = connection.execute(
            f"select count(*), count(*) filter (where abs({formula} - percentage_{official}) <= {_TOLERANCE}) "
            f"from official_counts where percentage_{official} is not null"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def test_four_rates_of_every_row_within_the_tolerance(england: pl.DataFrame) -> None:
    """Recovery, reliable recovery, improvement and deterioration: 4 x 787 = 3,148 of 3,148."""
    found = []
    for measure_id in _MEASURES[:4]:
        numerator, denominator, exclusions = _counts_of(_measure(measure_id))
        found.append(_within(england, numerator, _macro(f"count_{numerator}", denominator, exclusions)))
    assert sum(rows for rows, _ in found) == sum(within for _, within in found) == 3148


def test_providers_percentages_lie_within_what_rounding_leaves(shared_data: Path) -> None:
    """Provider counts are rounded to 5 and percentages to 1: some counts behind them must give the percentage."""
    long = pl.read_csv(shared_data / "nhs_talking_therapies" / "providers_2024-25_totals.csv", infer_schema=False)
    table = long.with_columns(
        pl.concat_str("measure_statistic", pl.lit("_"), "measure_name").alias("figure"),
        pl.col("value").cast(pl.Float64, strict=False),
    ).pivot(on="figure", index="org_code", values="value")
    asked = 0
    for measure_id in _MEASURES:
        numerator, denominator, exclusions = _counts_of(_measure(measure_id))
        wide = table.select(
            f"count_{numerator}",
            denominator,
            (pl.lit(0.0) if exclusions == "0" else pl.col(exclusions)).alias("excluded"),
            f"percentage_{numerator}",
        ).drop_nulls()
        for count, whole, excluded, percent in wide.iter_rows():
            least, most = whole - excluded - 5, whole - excluded + 5
            if least <= 0:
                continue
            asked += 1
            assert 100 * (count - 2.5) / most - 0.5 <= percent <= 100 * (count + 2.5) / least + 0.5
    assert asked > 500


@pytest.mark.parametrize("measure_id", ["nhs_tt_therapy_recovery", "nhs_tt_therapy_reliable_recovery"])
def test_the_base_of_a_therapy_is_its_courses(measure_id: str) -> None:
    """CBT, England 2024-25: published 45.0, from 96,164 recovered, 233,776 courses of therapy, 19,999 not at caseness.

    283,698 are the finished courses with that therapy at their start or end: the base that looks right and is not.
    """
    measure = _measure(measure_id)
    assert (measure["subject_type"], measure["denominator_exclusion_flag"]) == (
        "course_of_therapy",
        "is_not_at_caseness",
    )
    with duckdb.connect() as connection:
        for base, percent in ((233_776, 45.0), (283_698, 36.5)):
            formula = _macro("96164", str(base), "19999")
            assert connection.execute(f"select round({formula}, 1)").fetchone() == (percent,)


@pytest.mark.parametrize("measure_id", _MEASURES)
def test_official_counts_give_the_official_percentage_in_every_row(england: pl.DataFrame, measure_id: str) -> None:
    numerator, denominator, exclusions = _counts_of(_measure(measure_id))
    formula = _macro(f"count_{numerator}", denominator, exclusions)
    assert _agreement(england, numerator, formula) == (_ROWS, _ROWS)


def test_denominators_that_look_right_do_not_reproduce_them(england: pl.DataFrame) -> None:
    """The column called at_caseness, and the finished courses whole, are what a reader would try first."""
    naive = _macro("count_recovery", "count_at_caseness", "0")
    assert _agreement(england, "recovery", naive)[1] < 300
    assert _within(england, "recovery", naive) == (_ROWS, 281)
    whole = _agreement(england, "recovery", _macro("count_recovery", "count_finished_course_treatment", "0"))
    assert whole[1] < 10
    reduced = _macro("count_improvement", "count_finished_course_treatment", "count_not_at_caseness")
    assert _agreement(england, "improvement", reduced)[1] < 10


@pytest.mark.parametrize("measure_id", _MEASURES)
def test_national_totals_of_eight_years(shared_data: Path, measure_id: str) -> None:
    totals = pl.read_csv(shared_data / "nhs_talking_therapies" / "england_totals.csv").pivot(
        on="measure", index="reporting_period", values="value"
    )
    numerator, denominator, exclusions = _counts_of(_measure(measure_id))
    assert _agreement(totals, numerator, _macro(f"count_{numerator}", denominator, exclusions)) == (8, 8)


def test_benchmarks_are_the_published_ones(shared_data: Path) -> None:
    """Five rates of eight years."""
    totals = pl.read_csv(shared_data / "nhs_talking_therapies" / "england_totals.csv")
    published = {(year, name): value for year, name, value in totals.iter_rows()}
    compared = set()
    for row in definitions("measure_benchmarks"):
        numerator = _OFFICIAL_COUNT.get(_measure(row["measure_id"])["numerator_flag"])
        if row["benchmark_kind"] == "national_result" and numerator:
            first, last = row["period_start"][:4], row["period_end"][2:4]
            assert float(row["benchmark_percent"]) == published[f"{first}-{last}", f"percentage_{numerator}"], row
            compared.add((row["measure_id"], first))
    assert len(compared) == 5 * 8


def test_standards_and_plans_say_that_they_are_unverified() -> None:
    """No text of them was read: what says standard or plan must carry the doubt, what was published must not."""
    rows = definitions("measure_benchmarks")
    assert {row["benchmark_kind"] for row in rows} == {"national_result", "standard", "plan"}
    for row in rows:
        is_published = row["benchmark_kind"] == "national_result"
        assert row["verification"] == ("read" if is_published else "unverified"), row
        assert is_published or "unverified" in row["source"], row
        assert row["period_start"] < row["period_end"], row


def test_a_rate_of_nobody_is_missing_and_not_zero() -> None:
    with duckdb.connect() as connection:
        for numerator, denominator, exclusions in ((0, 0, 0), (0, 5, 5), (0, 3, 4)):
            formula = _macro(str(numerator), str(denominator), str(exclusions))
            assert connection.execute(f"select {formula}").fetchone() == (None,)
        assert connection.execute(f"select {_macro('0', '5', '1')}").fetchone() == (0,)


def test_the_warehouse_uses_the_macro_that_is_tested_here() -> None:
    marts = project_folder() / "models" / "marts"
    for model in ("measure_results", "therapy_results", "measure_group_results"):
        assert "{{ result_columns(" in (marts / f"{model}.sql").read_text(encoding="utf-8"), model
    rules = " ".join((project_folder() / "macros" / "rules.sql").read_text(encoding="utf-8").split())
    shared = rules[rules.index("macro result_columns(") :]
    rate = "measure_rate_percent( 'numerator_count', 'stated_denominator_count', 'denominator_exclusion_count' )"
    assert rate in shared[: shared.index("endmacro")]
