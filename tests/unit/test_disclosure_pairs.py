"""Groups of two columns are attacked with the groups of each; the truth makes the attack faster and never kinder."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pytest

from caseness.dbt_runner import cohort_groups, publication_rows
from caseness.disclosure import attack as attack_engine
from caseness.disclosure import outcomes_audit, scopes
from caseness.disclosure.attack import Cell, Profile, Programme, Relation, System, attack, disclosure_profile
from caseness.disclosure.union import Published, systems, union_system

PROFILES = ("opensafely", "nhs_mh", "cms11", "midpoint6")
RECOVERY = "nhs_tt_recovery"
DAY = dt.date(2025, 3, 31)


def _row(dimension: str, value: str, count: int, profile: Profile) -> dict[str, Any]:
    """A denominator as it is published, with half of it in the numerator."""
    shown, status = profile.published(count)
    first, _, second = value.partition(" + ")
    return {
        "measure_id": RECOVERY,
        "period_id": "all",
        "period_start": dt.date(2024, 4, 1),
        "period_end": DAY,
        "group_dimension": dimension,
        "group_value": value,
        "first_group_value": first,
        "second_group_value": second or None,
        "denominator_count": shown,
        "denominator_status": status,
        "numerator_count": None,
        "numerator_status": "not_applicable",
    }


def _published(table: np.ndarray, profile: Profile, *, has_pairs: bool = True) -> Published:
    """A table of sex and age with its margins, each rounded once."""
    groups = [_row("sex", f"s{i}", int(table[i].sum()), profile) for i in range(table.shape[0])]
    groups += [_row("age_band", f"a{j}", int(table[:, j].sum()), profile) for j in range(table.shape[1])]
    if has_pairs:
        places = itertools.product(range(table.shape[0]), range(table.shape[1]))
        groups += [_row("sex+age_band", f"s{i} + a{j}", int(table[i, j]), profile) for i, j in places]
    whole = [_row("", "", int(table.sum()), profile)]
    return Published("r", "b", DAY, profile, whole, groups)


def _exact(name: str) -> Profile:
    """Small counts hidden and nothing rounded: the usual dashboard, which is known to fail."""
    return replace(disclosure_profile(name), rounding_base=1, rounding_mode="nearest", redact_at_or_below=4)


def test_a_table_of_two_columns_gives_its_small_cells_to_whoever_subtracts() -> None:
    table = np.array([[30, 2], [3, 50]])
    safe = attack(union_system([_published(table, _exact("opensafely"), has_pairs=False)]), seconds=60)
    assert safe.protected_cells == 0
    found = attack(union_system([_published(table, _exact("opensafely"))]), seconds=60)
    assert found.recovered_exactly == 2  # the whole alone would tell no more than their sum
    assert {hit[3:5] for hit in found.hits} == {("sex+age_band", "s0 + a1"), ("sex+age_band", "s1 + a0")}


def test_tables_with_a_common_column_are_one_system() -> None:
    published = _published(np.array([[30, 20], [40, 50]]), disclosure_profile("opensafely"))
    assert list(systems([published])) == [("age_band", "sex", "sex+age_band")]
    apart = _published(np.array([[30, 20], [40, 50]]), disclosure_profile("opensafely"), has_pairs=False)
    assert list(systems([apart])) == [("age_band",), ("sex",)]


@pytest.mark.parametrize("profile", [*(disclosure_profile(name) for name in PROFILES), _exact("opensafely")],
                         ids=[*PROFILES, "exact margins"])  # fmt: skip
def test_the_truth_makes_no_count_safer(profile: Profile) -> None:
    """What the attacker knows without the truth is what is told with it."""
    chance = np.random.default_rng(3)
    told = 0
    for _ in range(12):
        table = chance.poisson(chance.gamma(1.2, 10.0, size=(3, 4)))
        (built,) = [system for system, _ in systems([_published(table, profile)]).values()]
        without = attack(built, seconds=60)
        start = "2024-04-01"
        built.truth = {("b", "denominator", RECOVERY, "all", "all", start): int(table.sum())}
        for i, j in itertools.product(range(3), range(4)):
            built.truth["b", "denominator", RECOVERY, "sex+age_band", f"s{i} + a{j}", start] = int(table[i, j])
        for i in range(3):
            built.truth["b", "denominator", RECOVERY, "sex", f"s{i}", start] = int(table[i].sum())
        for j in range(4):
            built.truth["b", "denominator", RECOVERY, "age_band", f"a{j}", start] = int(table[:, j].sum())
        numerators = {part: 0 for cell in built.cells for part in cell.parts if part[1] == "numerator"}
        built.truth |= numerators
        with_it = attack(built, seconds=60)
        assert with_it.hits == without.hits
        told += len(without.hits)
    if profile.rounding_base == 1:
        assert told > 20  # otherwise nothing would be compared


def test_a_truth_that_breaks_a_published_count_is_no_solution() -> None:
    system = System("x", [Cell(("a",), 8, 12, (("a",),)), Cell(("b",), 1, 7, (("b",),), is_protected=True)])
    system.relations = [Relation(((("a",), 1), (("b",), 1)), 14, 14)]
    programme = Programme(system, slack=0)
    assert programme.solution_of({("a",): 10, ("b",): 4}) is not None
    assert programme.solution_of({("a",): 10, ("b",): 5}) is None
    assert programme.solution_of({("a",): 10}) is None


def test_the_attacker_allows_for_few_people_with_many_courses_in_no_other_count() -> None:
    """Ten courses of three people are hidden beside a count of four: of that one it knows that it is at most seven."""
    cells = [
        Cell(("many",), 1, 7, (("many",),), is_protected=True),
        Cell(("small",), 1, 7, (("small",),), is_protected=True),
        Cell(("rest",), 6, 6, (("rest",),)),
    ]
    tied = Relation(((("small",), 1), (("rest",), 1)), 13, 14)  # 7 or 8 but for the rule, which leaves 7
    system = System("x", cells, relations=[tied])
    system.truth = {("many",): 10, ("small",): 7, ("rest",): 6}
    found = attack(system, seconds=30)
    assert found.hits == {("small",): 0}
    system.truth = {}
    assert attack(system, seconds=30).hits == {("small",): 0}


def test_what_is_too_large_to_solve_and_not_shown_safe_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack_engine, "_LARGE", 0)
    built = union_system([_published(np.array([[30, 2], [40, 50]]), _exact("opensafely"))])
    found = attack(built, seconds=60)
    assert found.unanswered == 1
    assert not found.is_safe
    assert list(found.hits.values()) == [None]  # what is dropped goes by the hits


# --- published examples ---------------------------------------------------------------------------------------------


def test_a_total_less_the_shown_rows_is_the_hidden_one() -> None:
    """OpenSAFELY's first case of secondary disclosure: the rest of a total of which one row is hidden is 1."""
    rows = [Cell((str(n),), count, count, ((str(n),),)) for n, count in enumerate((12, 20, 9))]
    hidden = Cell(("hidden",), 1, 7, (("hidden",),), is_protected=True)
    total = Cell(("total",), 42, 42, (*(cell.parts[0] for cell in rows), ("hidden",)))
    assert attack(System("total", [*rows, hidden, total]), seconds=30).recovered_exactly == 1


def test_two_hidden_in_every_line_are_not_enough() -> None:
    """sdcTable's example: rows w + x less what is shown make 236, columns a + c make 189; the difference is w/b, 47."""
    names = ("wa", "wb", "xa", "xc")
    cells = [Cell((name,), 0, 1000, ((name,),), is_protected=name == "wb") for name in names]
    rows = Relation(tuple(((name,), 1) for name in names), 236, 236)
    columns = Relation(tuple(((name,), 1) for name in ("wa", "xa", "xc")), 189, 189)
    known = attack(System("line by line", cells, relations=[rows, columns]), seconds=30)
    assert (known.recovered_exactly, known.protected_cells) == (1, 1)
    # One more hidden in its column, and the rows tell less.
    wider = [*cells, Cell(("xb",), 0, 1000, (("xb",),))]
    rows = Relation((*rows.terms, (("xb",), 1)), 330, 330)
    assert attack(System("one more hidden", wider, relations=[rows, columns]), seconds=30).is_safe


# --- declared rows --------------------------------------------------------------------------------------------------


def test_no_table_has_more_than_three_dimensions() -> None:
    for row in publication_rows():
        assert len(row["dimensions"].split(" x ")) <= 3 or row["table_name"] == "pub_severity_flow", row
    assert all(1 <= len(group["columns"]) <= 2 for group in cohort_groups())


def test_a_site_gets_its_own_rows_and_nobody_elses() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema publication")
        connection.execute(
            "create table publication.pub_outcomes_by_group as select * from (values "
            "('service_code', 'a', null, 'all'), ('service_code', 'a', null, 'quarter'), "
            "('service_code', 'b', null, 'quarter'), ('sex', 'female', null, 'all'), "
            "('service_code', 'not recorded', null, 'quarter'), ('sex', 'female', null, 'quarter')"
            ") as t(group_dimension, first_group_value, second_group_value, period_kind)"
        )
        found = scopes.scopes(connection)
        rows = {
            scope: connection.execute(
                "select first_group_value, period_kind from publication.pub_outcomes_by_group "
                f"where {condition} order by all"
            ).fetchall()
            for scope, condition in found.items()
        }
    public = [("a", "all"), ("female", "all")]
    assert rows == {
        "public": public,
        "site_a": sorted([*public, ("a", "quarter")]),
        "site_b": sorted([*public, ("b", "quarter")]),
    }
    assert scopes.layer_of("service_code", "quarter") == 2
    assert scopes.layer_of("service_code", "all") == 0
    assert scopes.layer_of("age_band+sex", "all") == 1


def test_what_a_layer_tells_costs_that_layer() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema publication")
        connection.execute(
            "create table publication.pub_outcomes_by_group as select * from (values "
            "('m', 'sex', 'all'), ('m', 'age_band+sex', 'all'), ('n', 'age_band+sex', 'all'), "
            "('m', 'service_code+main_modality', 'all')) as t(measure_id, group_dimension, period_kind)"
        )
        assert outcomes_audit._layer_dropped(connection, 1, {("m", "sex", "all")}) == [("m", "age_band+sex", "all")]
        assert outcomes_audit._layer_dropped(connection, 1, {("m", "sex", "all")}) == [
            ("m", "service_code+main_modality", "all")
        ]
        assert outcomes_audit._layer_dropped(connection, 1, {("m", "sex", "all")}) == [("n", "age_band+sex", "all")]
        assert connection.execute(
            "select measure_id, group_dimension from publication.pub_outcomes_by_group"
        ).fetchall() == [("m", "sex")]
