"""The only SQL of the dashboard. Opens a release read-only and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from caseness import warehouse
from caseness.settings import Settings

GROUPS = {
    "main_modality": "Main modality",
    "service_code": "Service",
    "age_band": "Age",
    "sex": "Sex",
    "ethnic_group": "Ethnic group",
    "imd_quintile": "Deprivation fifth (1 = most deprived)",
    "rurality": "Rurality",
    "severity_band_first": "First PHQ-9 band",
    "payer_category": "Payer",
    "main_product": "Product used most",
}


def release_file(settings: Settings) -> Path | None:
    """The file of the current release for the scope in force, or None when there is none."""
    pointer = settings.paths.current_release
    if not pointer.exists():
        return None
    body = json.loads(pointer.read_text(encoding="utf-8"))
    file = settings.paths.releases / str(body["files"].get(settings.scope, ""))
    return file if file.is_file() else None


def _ask(settings: Settings, file: Path, statement: str, *values: str) -> pd.DataFrame:
    with warehouse.reader(file, settings, missing="nothing is published yet") as connection:
        return connection.execute(statement, list(values)).df()


def metadata(settings: Settings, file: Path) -> dict[str, str]:
    """Facts of the release: key -> value."""
    frame = _ask(settings, file, "select key, value from release_metadata")
    return dict(zip(frame["key"], frame["value"], strict=True))


def periods(settings: Settings, file: Path) -> pd.DataFrame:
    """One row per published period, the whole first, newest years and quarters next."""
    return _ask(
        settings,
        file,
        """
        select distinct period_id, period_kind, period_label, period_start, period_end from pub_service_overview
        order by case period_kind when 'all' then 0 when 'custom' then 1 when 'financial_year' then 2 else 3 end,
            period_start desc
        """,
    )


def overview(settings: Settings, file: Path, period_id: str) -> pd.DataFrame:
    """One row per measure of the whole service in a period, with the national figures beside it."""
    return _ask(
        settings,
        file,
        """
        with latest as (
            -- The newest figure that is not younger than the period it stands beside; else the oldest there is.
            select * from pub_benchmarks
            qualify row_number() over (
                partition by measure_id, benchmark_kind
                order by coalesce(period_start > (
                    select max(period_end) from pub_service_overview where period_id = $1
                ), false), period_start desc nulls last
            ) = 1
        )
        select
            measures.name, measures.higher_is, measures.formula, measures.denominator_text, measures.caveat,
            results.*, national.benchmark_percent as national_percent, standard.benchmark_percent as standard_percent,
            national.period_start as national_start, national.period_end as national_end
        from pub_service_overview as results
        inner join pub_measures as measures on results.measure_id = measures.measure_id
        left join latest as national
            on results.measure_id = national.measure_id and national.benchmark_kind = 'national_result'
        left join latest as standard
            on results.measure_id = standard.measure_id and standard.benchmark_kind = 'standard'
        where results.period_id = $1
        order by measures.higher_is, measures.name
        """,
        period_id,
    )


def measure_over_time(settings: Settings, file: Path, measure_id: str) -> pd.DataFrame:
    """One row per quarter for a measure of the whole service."""
    return _ask(
        settings,
        file,
        "select * from pub_service_overview where measure_id = ? and period_kind = 'quarter' order by period_start",
        measure_id,
    )


def activity(settings: Settings, file: Path) -> pd.DataFrame:
    """One row per quarter and stage of care."""
    return _ask(settings, file, "select * from pub_activity where period_kind = 'quarter' order by period_start, stage")


def measures(settings: Settings, file: Path) -> pd.DataFrame:
    """One row per measure definition."""
    return _ask(settings, file, "select * from pub_measures order by name")


def outcomes_by_group(settings: Settings, file: Path, dimension: str, measure_id: str, period_id: str) -> pd.DataFrame:
    """One row per group value; empty when the release does not publish this detail."""
    return _ask(
        settings,
        file,
        """
        select * from pub_outcomes_by_group
        where group_dimension = ? and measure_id = ? and period_id = ? order by group_value
        """,
        dimension,
        measure_id,
        period_id,
    )


def within(settings: Settings, file: Path, dimension: str, measure_id: str, period_id: str) -> dict[str, list[str]]:
    """Columns by which the groups of a column are published once more, each with its values."""
    frame = _ask(
        settings,
        file,
        """
        select distinct group_dimension, first_group_value, second_group_value from pub_outcomes_by_group
        where second_group_value is not null and measure_id = ? and period_id = ? order by all
        """,
        measure_id,
        period_id,
    )
    found: dict[str, set[str]] = {}
    for pair, first, second in frame.itertuples(index=False):
        one, other = str(pair).split("+")
        if dimension in (one, other):
            column, value = (other, second) if one == dimension else (one, first)
            found.setdefault(column, set()).add(str(value))
    return {column: sorted(found[column]) for column in GROUPS if column in found}


def outcomes_within(
    settings: Settings, file: Path, dimension: str, column: str, value: str, measure_id: str, period_id: str
) -> pd.DataFrame:
    """One row per group value among those who have a value of another column."""
    return _ask(
        settings,
        file,
        """
        select * replace (
            case when split_part(group_dimension, '+', 1) = $1 then first_group_value else second_group_value end
                as group_value
        )
        from pub_outcomes_by_group
        where
            measure_id = $4 and period_id = $5
            and (
                (group_dimension = $1 || '+' || $2 and second_group_value = $3)
                or (group_dimension = $2 || '+' || $1 and first_group_value = $3)
            )
        order by group_value
        """,
        dimension,
        column,
        value,
        measure_id,
        period_id,
    )


def published_groups(settings: Settings, file: Path, measure_id: str) -> list[str]:
    """Group dimensions that the release publishes for a measure."""
    frame = _ask(
        settings, file, "select distinct group_dimension from pub_outcomes_by_group where measure_id = ?", measure_id
    )
    return [group for group in GROUPS if group in set(frame["group_dimension"])]


def group_periods(settings: Settings, file: Path) -> pd.DataFrame:
    """One row per period that groups are published for."""
    return _ask(
        settings,
        file,
        "select distinct period_id, period_label, period_start, period_end from pub_outcomes_by_group "
        "order by case period_id when 'all' then 0 else 1 end, period_start desc",
    )


def trajectories(settings: Settings, file: Path, instrument_code: str, stratum: str) -> pd.DataFrame:
    """One row per week of treatment. ``stratum`` is ``all`` or a modality."""
    return _ask(
        settings,
        file,
        "select * from pub_trajectories where instrument_code = ? and stratum_value = ? order by week_of_treatment",
        instrument_code,
        stratum,
    )


def strata(settings: Settings, file: Path) -> list[str]:
    """Published strata, the whole first."""
    frame = _ask(
        settings,
        file,
        "select distinct stratum_value, stratum_dimension from pub_trajectories "
        "order by case stratum_dimension when 'all' then 0 else 1 end, stratum_value",
    )
    return [str(value) for value in frame["stratum_value"]]


def score_completeness(settings: Settings, file: Path, instrument_code: str) -> dict[str, tuple[int | None, str]]:
    """How many scores of an instrument are complete, prorated or sent as a total only: count and status by kind."""
    rows = _ask(
        settings,
        file,
        "select completeness, scores_count, scores_status from pub_score_completeness where instrument_code = ?",
        instrument_code,
    )
    return {
        str(row["completeness"]): (
            None if row["scores_status"] == "suppressed" else int(row["scores_count"] or 0),
            str(row["scores_status"]),
        )
        for _, row in rows.iterrows()
    }


def severity_flow(settings: Settings, file: Path, instrument_code: str) -> pd.DataFrame:
    """One row per pair of weeks and pair of bands."""
    return _ask(
        settings, file, "select * from pub_severity_flow where instrument_code = ? order by from_week", instrument_code
    )


def data_quality(settings: Settings, file: Path) -> pd.DataFrame:
    """One row per quality rule, failures first."""
    return _ask(
        settings,
        file,
        "select * from pub_data_quality order by "
        "case status when 'error' then 0 when 'failed' then 1 when 'passed' then 2 else 3 end, severity, rule_id",
    )


def benchmarks(settings: Settings, file: Path) -> pd.DataFrame:
    """One row per benchmark with its source."""
    return _ask(settings, file, "select * from pub_benchmarks order by measure_id, benchmark_kind")
