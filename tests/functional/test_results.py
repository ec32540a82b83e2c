"""``results``: what the build says of a measure, by group; the groups of a measure are together what the measure is."""

from __future__ import annotations

import pytest

from caseness.commands.results import run_results
from caseness.errors import UsageError
from caseness.telling import results_words
from caseness.warehouse import reader
from screening.definitions import definitions
from tests.conftest import Synthetic

_OF_REFERRALS = {
    "sex",
    "age_band",
    "ethnic_group",
    "imd_quintile",
    "rurality",
    "main_modality",
    "service_code",
    "severity_band_first",
    "payer_category",
    "main_product",
}
_OF_PEOPLE = {"sex", "ethnic_group", "imd_quintile", "rurality"}


def test_the_groups_of_every_measure_add_up_to_its_result(synthetic: Synthetic) -> None:
    sums = """
        select measure_id, period_id, group_dimension, sum(initial_population_count), sum(denominator_count),
            sum(denominator_exclusion_count), sum(numerator_count), count(*) = count(distinct group_value)
        from marts.measure_group_results group by all
    """
    wholes = """
        select measure_id, period_id, initial_population_count, denominator_count, denominator_exclusion_count,
            numerator_count
        from marts.measure_results
    """
    with reader(synthetic.settings.paths.current, synthetic.settings, with_deliveries=True) as connection:
        groups = connection.execute(sums).fetchall()
        whole = {row[:2]: row[2:] for row in connection.execute(wholes).fetchall()}
    of_people = {row["measure_id"] for row in definitions("measures") if row["subject_type"] == "person"}
    told = {(measure, period, column) for measure, period, column, *_ in groups}
    assert told == {
        (measure, period, column)
        for measure, period in whole
        for column in (_OF_PEOPLE if measure in of_people else _OF_REFERRALS)
    }
    for measure, period, column, *counts, is_each_once in groups:
        assert tuple(counts) == whole[measure, period], (measure, period, column)
        assert is_each_once, (measure, period, column)
    assert sum(row[4] or 0 for row in groups) > 10_000


def test_the_rates_of_groups_are_those_of_their_courses(synthetic: Synthetic) -> None:
    """Counted again from the courses themselves, by two columns that are nobody's flag."""
    body = run_results("recovery", settings=synthetic.settings, by="sex")
    again = """
        select coalesce(sex, 'not recorded'),
            count(*) filter (has_finished_course and not is_not_at_caseness),
            count(*) filter (has_finished_course and has_recovered)
        from marts.episodes group by all order by all
    """
    with reader(synthetic.settings.paths.current, synthetic.settings) as connection:
        expected = connection.execute(again).fetchall()
    found = [(row["group_value"], row["denominator_count"], row["numerator_count"]) for row in body["rows"]]
    assert found == expected
    for row in body["rows"]:
        if row["denominator_count"]:
            assert row["rate_percent"] == pytest.approx(100 * row["numerator_count"] / row["denominator_count"])
            assert row["rate_lower_percent"] <= row["rate_percent"] <= row["rate_upper_percent"]
        else:
            assert (row["rate_percent"], row["result_status"]) == (None, "no_denominator")
    assert body["whole"]["denominator_count"] == sum(row["denominator_count"] for row in body["rows"])
    words = results_words(body)
    assert "not protected against disclosure" in words
    assert "95 % Wilson interval" in words
    assert f"{body['period_start']} to {body['period_end']}" in words
    assert body["formula"] in words


def test_every_measure_of_a_period_is_told(synthetic: Synthetic) -> None:
    body = run_results(None, settings=synthetic.settings)
    measures = [row["measure_id"] for row in body["rows"]]
    assert measures == sorted(measures)
    assert "nhs_tt_recovery" in measures
    lines = results_words(body).splitlines()
    assert len(lines) == len(measures) + 2
    by_name = {line.split()[0]: line for line in lines[1:]}
    for row in body["rows"]:
        is_unread = row["exclusion_list_status"] in ("not_read", "read_in_part")
        assert ("exclusions" in by_name[row["measure_id"]]) == is_unread


def test_counts_so_far_and_turned_switches_are_told() -> None:
    row = {
        "measure_id": "cms159",
        "initial_population_count": 12,
        "denominator_count": 10,
        "denominator_exclusion_count": 2,
        "numerator_count": 3,
        "rate_percent": None,
        "result_status": "partial_period",
        "pathway_switches": "change_rule=children",
        "exclusion_list_status": "read",
    }
    empty = row | {"denominator_count": 0, "numerator_count": 0, "result_status": "no_denominator"}
    unknown = row | dict.fromkeys(("denominator_count", "numerator_count", "denominator_exclusion_count"))
    body = {
        **dict.fromkeys(("measure_id", "name", "formula", "by", "whole", "period_start", "period_end", "as_of_date")),
        **{"period_id": "cy_2026", "build_id": "b", "confidence_level": 0.95, "interval_method": "Wilson"},
        "rows": [row, empty, unknown | {"result_status": "not_computable"}],
    }
    told = [line.strip() for line in results_words(body).splitlines()[1:4]]
    assert told[0] == "cms159  partial period: 3 of 10 so far, 2 left out [switches: change_rule=children]"
    assert told[1].startswith("cms159  no denominator, 2 left out")
    assert told[2].startswith("cms159  not computable [")


@pytest.mark.parametrize(
    ("measure", "options", "says"),
    [
        ("recovry", {}, "no measure of this name"),
        ("recovery", {"period": "fy_1900"}, "no such period"),
        ("recovery", {"by": "shoe_size"}, "no such group"),
        (None, {"by": "sex"}, "groups are told of one measure"),
    ],
)
def test_what_is_not_there_is_named(
    synthetic: Synthetic, measure: str | None, options: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        run_results(measure, settings=synthetic.settings, **options)
