"""NHANES through the whole pipe: the national survey's depression prevalence to the decimal that NCHS prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.settings import Settings
from tests.fixtures.small_service import fetch, home_settings

_CYCLES = {"2013-14": "2014-06-30T12:00:00Z", "2015-16": "2016-06-30T12:00:00Z"}
_REFUSED, _DO_NOT_KNOW = 7, 9
_ADULT_AGE = 20
_SEX = {1: "male", 2: "female"}


@pytest.fixture(scope="module")
def survey(shared_data: Path) -> pl.DataFrame:
    """Participants of the two cycles of NCHS Data Brief 303."""
    table = pl.read_csv(shared_data / "nhanes_phq9" / "nhanes_dpq_2007_2013_2015.csv.gz")
    return table.filter(pl.col("cycle").is_in(list(_CYCLES))).with_columns(
        pl.concat_str(pl.lit("N"), pl.col("SEQN").cast(pl.String)).alias("person_code"),
        pl.col("cycle").replace_strict(_CYCLES).alias("answered_at"),
        pl.col("RIAGENDR").replace_strict(_SEX).alias("sex"),
    )


@pytest.fixture(scope="module")
def built(survey: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The survey written as a delivery by our contract, ingested and built."""
    folder = tmp_path_factory.mktemp("nhanes")
    delivery = folder / "in"
    delivery.mkdir()
    names = [f"DPQ0{item}0" for item in range(1, 10)]
    long = survey.unpivot(on=names, index=["person_code", "answered_at"], variable_name="item", value_name="code")
    is_answer = pl.col("code").is_between(0, 3)
    answers = long.select(
        pl.col("person_code").alias("response_code"),
        "person_code",
        pl.lit("PHQ-9").alias("instrument_code"),
        pl.col("item").str.slice(4, 1).alias("item_number"),
        pl.when(is_answer)
        .then(pl.lit("answered"))
        .when(pl.col("code") == _REFUSED)
        .then(pl.lit("refused"))
        .otherwise(pl.lit("missing"))
        .alias("answer_state"),
        pl.when(is_answer).then(pl.col("code")).alias("answer_value"),
        pl.lit("scored_value").alias("answer_value_kind"),
        "answered_at",
        pl.lit("completed").alias("response_status"),
    )
    answers.write_csv(delivery / "questionnaire_answers.csv")
    survey.select("person_code", "sex").write_csv(delivery / "people.csv")
    (delivery / "delivery.yml").write_text("source: nhanes\nnamespace: nhanes\nperiod_end: 2016-12-31\n")
    settings = home_settings(folder / "home")
    report = ingestion.ingest([delivery], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] == len(survey) * 10
    assert report["rows_quarantined"] == 0
    run_build(settings=settings)
    return settings


@pytest.fixture(scope="module")
def scored(survey: pl.DataFrame, built: Settings) -> pl.DataFrame:
    """Adults with their weight and the warehouse's result."""
    tokens = ingestion.person_tokens("nhanes", survey["person_code"].to_list(), settings=built)
    rows: list[tuple[Any, ...]] = fetch(
        built,
        "select assessments.person_id, people.sex as sex_built, total_complete_case, is_screen_positive, items_refused, "
        "items_missing from marts.assessments inner join marts.people using (person_id)",
    )
    names = ["person_id", "sex_built", "total_complete_case", "is_screen_positive", "items_refused", "items_missing"]
    results = pl.DataFrame(rows, schema=names, orient="row")
    keyed = survey.with_columns(pl.col("person_code").replace_strict(tokens).alias("person_id"))
    joined = keyed.join(results, on="person_id", how="inner")
    assert len(joined) == len(survey)
    assert (joined["sex"] == joined["sex_built"]).all()
    return joined


@pytest.mark.parametrize(("sex", "official"), [(None, 8.1), ("female", 10.4), ("male", 5.5)])
def test_the_prevalence_that_nchs_publishes(scored: pl.DataFrame, sex: str | None, official: float) -> None:
    adults = scored.filter((pl.col("RIDAGEYR") >= _ADULT_AGE) & pl.col("total_complete_case").is_not_null())
    group = adults.filter(pl.col("sex") == sex) if sex else adults
    weight = pl.col("WTMEC2YR")
    share = group.select((weight * pl.col("is_screen_positive").cast(pl.Float64)).sum() / weight.sum()).item()
    assert round(100 * share, 1) == official


def test_a_refusal_and_a_do_not_know_are_never_summed(scored: pl.DataFrame) -> None:
    """Summing the codes 7 and 9 would invent severe depression; here they cost the total and keep their own names."""
    names = [f"DPQ0{item}0" for item in range(1, 10)]
    refused = sum((scored[name] == _REFUSED).sum() for name in names)
    unknown = sum((scored[name] == _DO_NOT_KNOW).sum() + scored[name].null_count() for name in names)
    assert scored["items_refused"].sum() == refused > 0
    assert scored["items_missing"].sum() == unknown > 0
    incomplete = scored.filter(~pl.all_horizontal(pl.col(names).is_between(0, 3).fill_null(False)))
    assert incomplete["total_complete_case"].null_count() == len(incomplete) > 0
    assert incomplete["is_screen_positive"].null_count() == len(incomplete)
    whole = scored.filter(pl.col("total_complete_case").is_not_null())
    assert (whole["total_complete_case"] == whole.select(pl.sum_horizontal(names)).to_series()).all()


def test_how_many_adults_answered_everything(scored: pl.DataFrame) -> None:
    adults = scored.filter(pl.col("RIDAGEYR") >= _ADULT_AGE)
    assert (len(adults), adults["total_complete_case"].count()) == (11_062, 9_942)
