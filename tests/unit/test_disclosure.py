"""Disclosure control: vectors of the profiles, an attacker that breaks the naive rule and not ours."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import numpy as np
import pytest

from caseness.dbt_runner import project_folder
from caseness.disclosure import checks
from caseness.disclosure.attack import AttackReport, Cell, System, attack, disclosure_profile
from caseness.disclosure.union import Published, union_system

VECTORS = {
    "opensafely": {0: 0, 1: None, 3: None, 7: None, 8: 10, 16: 15, 18: 20, 23: 25, 31: 30, 44: 45, 12: 10, 13: 15},
    "nhs_mh": {254: 255, 3: None, 0: None, 4: None, 5: 5, 7: 5, 8: 10, 12: 10, 13: 15},
    "midpoint6": {0: 0, 1: 3, 6: 3, 7: 9, 12: 9, 13: 15, 18: 15},
    "cms11": {0: 0, 1: None, 10: None, 11: 10, 14: 10, 15: 20, 24: 20, 25: 30},
}


def _asked(macro: str, arguments: list[str], profile: str, rows: list[tuple[int, ...]]) -> list[Any]:
    """A dbt macro itself, rendered and run by DuckDB over rows of its arguments."""
    folder = project_folder() / "macros"
    source = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("engine/arithmetic.sql", "disclosure/counts.sql")
    )

    class Adapter:
        def dispatch(self, name: str, package: str) -> Any:
            return lambda *words: template.module.__dict__["default__" + name](*words)

    class Package:
        def __getattr__(self, name: str) -> Any:
            return template.module.__dict__[name]

    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {"adapter": Adapter(), "caseness": Package(), "return": lambda text: text}
    template = environment.from_string(source)
    expression = template.module.__dict__[macro](*arguments)
    seed = folder.parent.parent / "screening" / "definitions" / "disclosure_profiles.csv"
    with duckdb.connect() as connection:
        connection.execute(
            f"create table profile as select * from read_csv('{seed}') where disclosure_profile = '{profile}'"
        )
        values = ", ".join(str((number, *row)) for number, row in enumerate(rows))
        found = connection.execute(
            f"select {expression} from (values {values}) as t(i, {', '.join(arguments)}) cross join profile order by i"
        ).fetchall()
    return [row[0] for row in found]


def _rounded(profile: str, counts: list[int], people: list[int] | None = None) -> list[int | None]:
    rows = list(zip(counts, people or counts, strict=True))
    return _asked("rounded_count", ["n", "p"], profile, rows)


@pytest.mark.parametrize(("profile", "margin"), [("opensafely", 7), ("nhs_mh", 4), ("cms11", 10), ("midpoint6", 6)])
def test_both_ends_of_a_group_are_hidden_by_courses_and_by_people(profile: str, margin: int) -> None:
    """A numerator, and the others, of at most the margin; courses, and the people they are of."""
    more = margin + 1
    rows = [(0, 0, 50, 50), (margin, margin, 50, 50), (50, margin, 50, 50), (50, 50, 0, 0), (50, 50, margin, margin)]
    rows += [(50, 50, 50, margin), (more, more, more, more), (0, 0, 0, 0)]
    found = _asked("tells_of_all_or_none", ["n", "np", "o", "op"], profile, rows)
    assert found == [True] * 6 + [False, False]


@pytest.mark.parametrize("profile", sorted(VECTORS))
def test_profiles_round_as_their_sources_say(profile: str) -> None:
    counts = list(VECTORS[profile])
    assert _rounded(profile, counts) == list(VECTORS[profile].values())


def test_a_count_is_judged_by_its_people_too() -> None:
    assert _rounded("opensafely", [12, 12], [7, 8]) == [None, 10]


@pytest.mark.parametrize("profile", sorted(VECTORS))
def test_the_attacker_knows_the_rule(profile: str) -> None:
    """Every true count lies in the interval the attacker infers from what is published of it."""
    rule = disclosure_profile(profile)
    for count, shown in zip(range(60), _rounded(profile, list(range(60))), strict=True):
        status = "suppressed" if shown is None else "zero" if count == 0 else "shown"
        low, high = rule.interval(shown, status, 10**6)
        assert low <= count <= high
        assert shown is None or rule.is_publishable(shown, status)


def _table(rng: np.random.Generator, profile: str | None) -> System:
    """A random 4 x 5 table with all margins, under a profile or under the naive rule (hide below 5, exact margins)."""
    truth = rng.negative_binomial(1, 0.08, size=(4, 5))
    whole = np.zeros((5, 6), dtype=int)
    whole[:4, :5], whole[:4, 5], whole[4, :5], whole[4, 5] = truth, truth.sum(1), truth.sum(0), truth.sum()
    shown = _rounded(profile, whole.reshape(-1).tolist()) if profile else []
    system = System("random")
    for i in range(5):
        for j in range(6):
            count, is_margin = int(whole[i, j]), i == 4 or j == 5
            rows, columns = (range(4) if i == 4 else [i]), (range(5) if j == 5 else [j])
            parts = tuple((str(r), str(c)) for r in rows for c in columns)
            if profile:
                value = shown[i * 6 + j]
                hidden = value is None
                status = "suppressed" if hidden else "zero" if count == 0 else "shown"
                low, high = disclosure_profile(profile).interval(value, status, 10**6)
            else:
                hidden = not is_margin and 0 < count < 5
                low, high = (1, 4) if hidden else (count, count)
            system.cells.append(Cell((str(i), str(j)), low, high, parts, is_protected=hidden))
    return system


def _recovered(profile: str | None, tables: int) -> tuple[int, int, int]:
    rng = np.random.default_rng(5)
    reports = [attack(_table(rng, profile), seconds=30) for _ in range(tables)]
    return (
        sum(one.protected_cells for one in reports),
        sum(one.recovered_exactly for one in reports),
        sum(one.recovered_within_one for one in reports),
    )


def test_the_attacker_breaks_the_usual_dashboard() -> None:
    protected, exactly, _ = _recovered(None, 20)
    assert protected > 40
    assert exactly / protected > 0.6


@pytest.mark.parametrize("profile", ["opensafely", "nhs_mh", "midpoint6", "cms11"])
def test_the_attacker_does_not_break_the_profiles(profile: str) -> None:
    """No count is recovered. Rounding margins from their own true counts lets a few be narrowed to two values under
    `opensafely` (interval width 1); those are what the audit of a release looks for and drops."""
    protected, exactly, within_one = _recovered(profile, 12)
    assert exactly == 0
    assert within_one <= 0.06 * protected


def test_forbidden_numbers_are_found() -> None:
    rule = disclosure_profile("opensafely")
    row = {"denominator_count": 100, "denominator_status": "shown", "numerator_count": 50, "numerator_status": "shown"}
    good = {**row, "rate_percent": 50.0, "rate_status": "shown"}
    assert checks.count_faults({"t": [good]}, rule) == []
    for broken in (
        {**good, "numerator_count": 51, "rate_percent": 51.0},  # not rounded
        {**good, "numerator_count": 5, "rate_percent": 5.0},  # a 5 can only be 6 or 7
        {**good, "rate_percent": 50.4},  # from raw counts
        {**good, "numerator_status": "suppressed"},  # hidden, and yet there
    ):
        assert checks.count_faults({"t": [broken]}, rule)


def test_a_release_without_years_is_attacked_too() -> None:
    """Where dates are no calendar dates, all days are the only period, and its cells still hold each other."""
    hidden = {"numerator_count": None, "numerator_status": "suppressed"}
    whole = {"period_id": "all", "period_kind": "all", "measure_id": "m", "denominator_count": 40}
    whole |= {"denominator_status": "shown", **hidden}
    whole |= {"period_start": dt.date(2000, 1, 1), "period_end": dt.date(2010, 12, 31)}
    groups = [
        {**whole, "group_dimension": "sex", "group_value": value, "denominator_count": 20}
        for value in ("female", "male")
    ]
    by_sex = _together([whole], groups)
    own = [cell for cell in by_sex.cells if not cell.less]
    assert [len(cell.parts) for cell in own] == [1] * 6
    tied = [relation for relation in by_sex.relations if (relation.low, relation.high) == (0, 0)]
    tied = [relation for relation in tied if {part[2] for part, _ in relation.terms} == {"m"}]
    assert [sorted(sign for _, sign in relation.terms) for relation in tied] == [[-1, 1, 1]] * 2  # groups and whole
    assert attack(by_sex, seconds=30).protected_cells == 6  # three hidden numerators, and the others of each


def test_undeclared_tables_are_found() -> None:
    assert checks.structure_faults({"pub_a": [], "people": []}, ["pub_a", "pub_b"]) == [
        "people is not a declared table",
        "pub_b is declared and missing",
    ]


def test_project_folder_holds_the_macros() -> None:
    assert Path(project_folder() / "macros" / "disclosure" / "counts.sql").is_file()


def _outcome(denominator: tuple[int | None, str], numerator: tuple[int | None, str], **where: Any) -> dict[str, Any]:
    day = {"period_start": dt.date(2024, 4, 1), "period_end": dt.date(2025, 3, 31)}
    base = {"measure_id": "recovery", "period_id": "all", "period_kind": "all", **day, **where}
    return {
        **base,
        "denominator_count": denominator[0],
        "denominator_status": denominator[1],
        "numerator_count": numerator[0],
        "numerator_status": numerator[1],
    }


def _together(overview: list[dict[str, Any]], groups: list[dict[str, Any]]) -> System:
    published = Published("r", "b", dt.date(2025, 3, 31), disclosure_profile("opensafely"), overview, groups)
    return union_system([published])


def _attacked(overview: list[dict[str, Any]], groups: list[dict[str, Any]]) -> AttackReport:
    return attack(_together(overview, groups), seconds=60)


def test_a_hidden_numerator_is_small_or_everybody_and_nothing_between() -> None:
    """58 to 62 in all less 48 to 52 of the others leave 6 to 14; of these the rule hides only 6 and 7."""
    group = {"group_dimension": "sex"}
    overview = [_outcome((200, "shown"), (60, "shown"))]
    groups = [
        _outcome((100, "shown"), (50, "shown"), **group, group_value="female"),
        _outcome((100, "shown"), (None, "suppressed"), **group, group_value="male"),
    ]
    found = _attacked(overview, groups)
    assert (found.protected_cells, found.recovered_exactly, found.recovered_within_one) == (2, 0, 1)
    groups[0]["numerator_count"] = 55
    assert _attacked(overview, groups).is_safe


def test_quarters_are_attacked_with_the_year_they_add_up_to() -> None:
    """Three quarters shown, the fourth hidden: 38 to 42 less at least 3 x 8 to 12 pin it to what is left."""
    starts = [dt.date(2024, 4, 1), dt.date(2024, 7, 1), dt.date(2024, 10, 1), dt.date(2025, 1, 1)]
    ends = [*(day - dt.timedelta(days=1) for day in starts[1:]), dt.date(2025, 3, 31)]
    counts = [(10, "shown"), (10, "shown"), (10, "shown"), (None, "suppressed")]
    quarters = [
        _outcome((50, "shown"), count, period_id=f"q{n}", period_kind="quarter", period_start=start, period_end=end)
        for n, (start, end, count) in enumerate(zip(starts, ends, counts, strict=True))
    ]
    whole = _outcome((200, "shown"), (45, "shown"))
    assert _attacked([whole, *quarters], []).is_broken  # 43 less 3 x 12 is 7 at least, and the rule hides 7 at most
    whole["numerator_count"] = 35
    assert _attacked([whole, *quarters], []).is_safe


def test_counts_that_contradict_the_rule_are_not_called_safe() -> None:
    impossible = [_outcome((100, "shown"), (None, "suppressed")), _outcome((50, "shown"), (None, "suppressed"))]
    found = _attacked(impossible, [])
    assert found.contradictions
    assert found.is_broken
    assert not found.is_safe


def test_what_a_manifest_says_of_accuracy_follows_from_published_numbers() -> None:
    profile = disclosure_profile("opensafely")
    row = {**_outcome((1045, "shown"), (1015, "shown")), "rate_percent": 97.1, "rate_status": "shown"}
    truths = [
        {
            "measure_id": "recovery",
            "period_id": "all",
            "numerator_count": n,
            "denominator_count": d,
            "rate_percent": 100 * n / d,
        }
        for n, d in ((1013, 1047), (1016, 1044))
    ]
    said = [checks.headline_accuracy([row], [truth], profile) for truth in truths]
    assert said[0].published() == said[1].published()
    assert said[0].measured_rate_error_percentage_points != said[1].measured_rate_error_percentage_points
    wrong = {**truths[0], "numerator_count": 1010, "rate_percent": 100 * 1010 / 1047}
    assert not checks.headline_accuracy([row], [wrong], profile).is_within_the_rule
