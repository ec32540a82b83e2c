"""NHANES items through the whole way: the published prevalence of a PHQ-9 of 10 or more (NCHS Data Brief 303)."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import ingestion
from tests.fixtures.service import Service

_ITEMS = [f"DPQ0{number}0" for number in range(1, 10)]
_REFUSED, _DO_NOT_KNOW = "7", "9"


def test_prevalence_of_depression_2013_to_2016(shared_data: Path, tmp_path: Path) -> None:
    raw = pl.read_csv(shared_data / "nhanes_phq9" / "nhanes_dpq_2007_2013_2015.csv.gz", infer_schema=False)
    adults = raw.filter(
        pl.col("cycle").is_in(["2013-14", "2015-16"]) & (pl.col("RIDAGEYR").cast(pl.Float64) >= 20)
    ).with_columns(pl.concat_str(pl.lit("n"), "SEQN").alias("person_code"))
    assert len(adults) > 9000
    answers = (
        adults.unpivot(index="person_code", on=_ITEMS, variable_name="item", value_name="value")
        .with_columns(
            pl.col("item").str.slice(4, 1).cast(pl.Int64).alias("item_number"),
            pl.col("value").cast(pl.Float64).cast(pl.Int64).cast(pl.String).alias("value"),
        )
        .select(
            pl.concat_str(pl.lit("q"), "person_code").alias("response_code"),
            "person_code",
            pl.lit("PHQ-9").alias("instrument_code"),
            "item_number",
            pl.when(pl.col("value") == _REFUSED)
            .then(pl.lit("refused"))
            .when(pl.col("value").is_null() | (pl.col("value") == _DO_NOT_KNOW))
            .then(pl.lit("missing"))
            .otherwise(pl.lit("answered"))
            .alias("answer_state"),
            pl.when(pl.col("value").is_in(["0", "1", "2", "3"]))
            .then(pl.col("value").cast(pl.Int64))
            .alias("answer_value"),
            pl.lit("scored_value").alias("answer_value_kind"),
            pl.lit("2016-01-01T12:00:00Z").alias("answered_at"),
            pl.lit("completed").alias("response_status"),
        )
    )
    folder = tmp_path / "in"
    folder.mkdir()
    answers.write_parquet(folder / "questionnaire_answers.parquet")
    (folder / "delivery.yml").write_text("source: small\ntime_zone: America/New_York\n", encoding="utf-8")
    service = Service(tmp_path / "home")
    report = ingestion.ingest([folder], settings=service.settings).as_dict()
    assert report["rows_quarantined"] == 0
    service.build()
    tokens = service.tokens(*adults["person_code"])
    scored = dict(
        service.ask("select person_id, is_screen_positive from marts.assessments where total_complete_case is not null")
    )
    found = adults.with_columns(
        pl.col("person_code")
        .replace_strict({code: scored.get(token) for code, token in tokens.items()})
        .alias("positive"),
        pl.col("WTMEC2YR").cast(pl.Float64).alias("weight"),
    ).filter(pl.col("positive").is_not_null() & (pl.col("weight") > 0))

    def percent(frame: pl.DataFrame) -> float:
        return 100 * frame.filter(pl.col("positive"))["weight"].sum() / frame["weight"].sum()

    assert round(percent(found), 1) == pytest.approx(8.1)
    assert round(percent(found.filter(pl.col("RIAGENDR") == "2")), 1) == pytest.approx(10.4)
    assert round(percent(found.filter(pl.col("RIAGENDR") == "1")), 1) == pytest.approx(5.5)
