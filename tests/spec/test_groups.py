"""Groups and periods, drawn: who is in which, at the edges.

Sources: ethnic groups, NHS Talking Therapies metadata M206-M210; age groups, its annual metadata (Under 18, 18 to 25,
26 to 64, 65 to 74; 75 to 89 and 90 and over are one group here); deprivation fifths of the English index, 1 the most
deprived; the financial year begins on 1 April.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.fixtures.service import Service, contact, drawn, person, referral, total

# The day of referral is 2025-01-06.
AGES = """
born       age  band
2007-01-07 17   under_18
2007-01-06 18   18_to_25
1999-01-07 25   18_to_25
1999-01-06 26   26_to_64
1960-01-07 64   26_to_64
1960-01-06 65   65_to_74
1959-01-06 66   65_to_74
1950-01-07 74   65_to_74
1950-01-06 75   75_and_over
1930-01-06 95   75_and_over
none       none none
"""
ETHNIC_GROUPS = {
    "White": "ABC",
    "Mixed": "DEFG",
    "Asian or Asian British": "HJKL",
    "Black or Black British": "MNP",
    "Other": "RS",
    "Not stated": "Z",
}
FIFTHS = {1: (1, 2), 2: (3, 4), 3: (5, 6), 4: (7, 8), 5: (9, 10)}

# Discharges around the ends of a quarter, of a financial year, and of the days the data speak for (2026-06-30).
PERIODS = """
discharged year    quarter  custom all
2025-03-31 fy_2024 q_2025_1 no     yes
2025-04-01 fy_2025 q_2025_2 yes    yes
2025-06-30 fy_2025 q_2025_2 yes    yes
2025-07-01 fy_2025 q_2025_3 no     yes
2025-12-31 fy_2025 q_2025_4 no     yes
2026-01-01 fy_2025 q_2026_1 no     yes
2026-03-31 fy_2025 q_2026_1 no     yes
2026-04-01 fy_2026 q_2026_2 no     yes
2026-06-30 fy_2026 q_2026_2 no     yes
2026-07-01 none    none     no     no
"""
# Covers of one person each, and the payer of a course referred on 2025-01-06. A person may have two covers, or a cover
# that a later statement corrects.
COVERS = """
person    start      end        status           payer           recorded   expected
running   2025-01-01 none       active           medicare        2025-02-01 medicare
first_day 2025-01-06 none       active           commercial      2025-02-01 commercial
last_day  2024-01-01 2025-01-06 active           medicaid        2025-02-01 medicaid
over      2024-01-01 2025-01-05 active           medicaid        2025-02-01 none
later     2025-01-07 none       active           medicaid        2025-02-01 none
undated   none       none       active           public_national 2025-02-01 public_national
cancelled 2024-01-01 none       cancelled        medicare        2025-02-01 none
unstated  2024-01-01 none       active           none            2025-02-01 none
two       2020-01-01 none       active           public_national 2025-02-01 self_pay
two       2024-01-01 none       active           self_pay        2025-02-01 self_pay
two_known 2020-01-01 none       active           commercial      2025-02-01 commercial
two_known 2024-01-01 none       active           none            2025-02-01 commercial
corrected 2024-01-01 none       active           medicare        2025-02-01 none
corrected 2024-01-01 none       entered_in_error medicare        2025-03-01 none
changed   2024-01-01 none       active           medicare        2025-02-01 medicaid
changed   2024-01-01 none       active           medicaid        2025-03-01 medicaid
"""
# Rates of two spans with a few courses each: nobody recovered of three; nobody at caseness, so no rate.
SPANS = """
case     discharged phq9  gad7
unwell_1 2024-01-10 20>20 12>12
unwell_2 2024-01-20 20>18 12>12
unwell_3 2024-01-31 15>12 12>12
well_1   2024-02-01 5>3   4>3
well_2   2024-02-29 9>9   7>7
"""


def _course(made: dict[str, list[dict[str, Any]]], code: str, received: str, discharged: str, **who: Any) -> None:
    made["people"].append(person("p_" + code, **who))
    made["referrals"].append(referral(code, received, discharged))
    for number in (1, 2):
        day = (dt.date.fromisoformat(received) + dt.timedelta(days=number)).isoformat()
        made["care_contacts"].append(contact(f"{code}_{number}", code, day))


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery."""
    names = ("people", "referrals", "care_contacts", "questionnaire_totals", "coverages")
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    day = "2025-01-06"
    for number, case in enumerate(drawn(COVERS)):
        owner = f"cover_{case['person']}"
        if all(row["person_code"] != f"p_{owner}" for row in made["people"]):
            _course(made, owner, day, "2025-02-28")
        is_one_cover = case["person"] in ("corrected", "changed")
        cover = {
            "coverage_code": owner if is_one_cover else f"{owner}_{number}",
            "person_code": f"p_{owner}",
            "payer_category": case["payer"],
            "coverage_status": case["status"],
            "coverage_start_date": case["start"],
            "coverage_end_date": case["end"],
            "recorded_at": f"{case['recorded']}T12:00:00Z",
        }
        made["coverages"].append({name: "" if value == "none" else value for name, value in cover.items()})
    for case in drawn(AGES):
        _course(made, f"born_{case['born']}", day, "2025-02-28", birth_date=case["born"].replace("none", ""))
    for code in [*"".join(ETHNIC_GROUPS.values()), "99", ""]:
        _course(made, f"ethnic_{code}", day, "2025-02-28", ethnicity_code=code)
    for decile in range(1, 11):
        _course(made, f"decile_{decile}", day, "2025-02-28", imd_decile=decile)
    for case in drawn(PERIODS):
        _course(made, f"left_{case['discharged']}", day, case["discharged"])
    for case in drawn(SPANS):
        _course(made, case["case"], "2023-12-04", case["discharged"])
        for instrument, scores in (("PHQ-9", case["phq9"]), ("GAD-7", case["gad7"])):
            for when, value in zip(("2023-12-05", "2023-12-12"), scores.split(">"), strict=True):
                row = total(f"{case['case']}{instrument}{when}", case["case"], instrument, int(value), when)
                made["questionnaire_totals"].append(row)
    return made


@pytest.fixture(scope="module")
def found(specified: Service) -> dict[str, tuple[Any, ...]]:
    """Age, age band, ethnic group and deprivation fifth of each case."""
    codes = [row["person_code"] for row in streams()["people"]]
    tokens = specified.tokens(*codes)
    rows = specified.of_people(
        "select person_id, age_years_at_referral, age_band, ethnic_group, imd_quintile from marts.episodes"
    )
    return {code.removeprefix("p_"): rows[token][0] for code, token in tokens.items()}


@pytest.mark.parametrize("case", drawn(AGES), ids=lambda case: f"born {case['born']}")
def test_age_bands(case: dict[str, str], found: dict[str, tuple[Any, ...]]) -> None:
    age, band = found[f"born_{case['born']}"][:2]
    assert (str(age).lower(), str(band).lower().replace(" ", "_")) == (case["age"], case["band"])


@pytest.mark.parametrize("group", list(ETHNIC_GROUPS))
def test_ethnic_groups(group: str, found: dict[str, tuple[Any, ...]]) -> None:
    assert {code: found[f"ethnic_{code}"][2] for code in ETHNIC_GROUPS[group]} == dict.fromkeys(
        ETHNIC_GROUPS[group], group
    )


def test_an_ethnic_category_that_is_not_known_or_not_given(found: dict[str, tuple[Any, ...]]) -> None:
    assert (found["ethnic_99"][2], found["ethnic_"][2]) == ("Not known", None)


@pytest.mark.parametrize("fifth", list(FIFTHS))
def test_deprivation_fifths(fifth: int, found: dict[str, tuple[Any, ...]]) -> None:
    assert [found[f"decile_{decile}"][3] for decile in FIFTHS[fifth]] == [fifth, fifth]


@pytest.mark.parametrize("case", drawn(COVERS), ids=lambda case: case["person"])
def test_the_payer_is_that_of_the_cover_in_force_on_the_day_of_referral(
    case: dict[str, str], specified: Service
) -> None:
    code = f"p_cover_{case['person']}"
    token = specified.tokens(code)[code]
    found = specified.ask(
        "select payers.payer_category from marts.episodes as episodes "
        "left join intermediate.int_episodes_payer as payers "
        f"on episodes.referral_id = payers.referral_id where episodes.person_id = '{token}'"
    )
    assert found == [(None if case["expected"] == "none" else case["expected"],)]


@pytest.mark.parametrize("case", drawn(PERIODS), ids=lambda case: case["discharged"])
def test_the_periods_of_a_discharge(case: dict[str, str], specified: Service) -> None:
    code = f"p_left_{case['discharged']}"
    token = specified.tokens(code)[code]
    held = {
        row[0]
        for row in specified.ask(
            "select period_id from marts.measure_members where measure_id = 'nhs_tt_reliable_improvement' "
            f"and person_id = '{token}'"
        )
    }
    expected = {case["year"], case["quarter"]} - {"none"}
    expected |= {"custom_2025-04-01_2025-06-30"} if case["custom"] == "yes" else set()
    expected |= {"all"} if case["all"] == "yes" else set()
    assert held == expected


def test_financial_years_and_quarters_have_these_days(specified: Service) -> None:
    found = specified.ask(
        "select period_id, cast(period_start as varchar), cast(period_end as varchar) from raw.measurement_periods "
        "where period_id in ('fy_2024', 'fy_2025', 'fy_2026', 'q_2025_1', 'q_2025_4') order by 1"
    )
    assert found == [
        ("fy_2024", "2024-04-01", "2025-03-31"),
        ("fy_2025", "2025-04-01", "2026-03-31"),
        ("fy_2026", "2026-04-01", "2026-06-30"),  # ends with the data
        ("q_2025_1", "2025-01-01", "2025-03-31"),
        ("q_2025_4", "2025-10-01", "2025-12-31"),
    ]


def _result(service: Service, period: str, measure: str) -> tuple[Any, ...]:
    (row,) = service.ask(
        "select denominator_count, numerator_count, rate_percent, result_status from marts.measure_results "
        f"where period_id = '{period}' and measure_id = '{measure}'"
    )
    return row


def test_nobody_recovered_is_zero_percent(specified: Service) -> None:
    january = "custom_2024-01-01_2024-01-31"
    assert _result(specified, january, "nhs_tt_recovery") == (3, 0, 0.0, "computed")


def test_a_rate_of_nobody_is_not_defined(specified: Service) -> None:
    february = "custom_2024-02-01_2024-02-29"
    assert _result(specified, february, "nhs_tt_recovery") == (2 - 2, 0, None, "no_denominator")
    assert _result(specified, february, "nhs_tt_not_at_caseness") == (2, 2, 100.0, "computed")


def test_results_count_the_members_they_do_not_list(specified: Service) -> None:
    """Members are a view; the counts of results are made from patterns of flags, and must be the same."""
    columns = "initial_population_count, denominator_count, denominator_exclusion_count, numerator_count"
    listed = specified.ask(
        "select measure_id, period_id, count(*), "
        "count(*) filter (is_in_denominator and not (is_denominator_exclusion or is_denominator_exception)), "
        "count(*) filter (is_in_denominator and (is_denominator_exclusion or is_denominator_exception)), "
        "count(*) filter (is_in_denominator and is_in_numerator) from marts.measure_members group by all order by all"
    )
    counted = specified.ask(
        f"select measure_id, period_id, {columns} from marts.measure_results "
        "where initial_population_count > 0 order by all"
    )
    assert len(listed) > 200
    assert listed == counted
    twice = "select measure_id, subject_id, period_id from marts.measure_members group by all having count(*) > 1"
    assert specified.ask(twice) == []
