"""The interval of a rate against statsmodels, from the macro that the warehouse uses, and the level from its row."""

from __future__ import annotations

import itertools
import statistics

import duckdb
import jinja2
import pytest
from statsmodels.stats.proportion import proportion_confint

from caseness.dbt_runner import project_folder
from screening.definitions import definitions
from tests.fixtures.service import Service
from tests.fixtures.us_care import Record

_COUNTS = [(0, 1), (1, 1), (0, 7), (7, 7), (1, 3), (6, 31), (50, 100), (321061, 635185), (1, 2_000_000)]


def _bound(sign: str, numerator: int, denominator: int, quantile: float) -> str:
    text = (project_folder() / "macros" / "rules.sql").read_text(encoding="utf-8")
    module = jinja2.Environment(autoescape=False).from_string(text).module
    bound = module.wilson_bound_percent  # type: ignore[attr-defined]
    return str(bound(sign, str(numerator), str(denominator), repr(quantile)))


@pytest.mark.parametrize(
    ("counts", "level"), list(itertools.product(_COUNTS, (0.8, 0.95, 0.99))), ids=lambda value: str(value)
)
def test_the_macro_agrees_with_statsmodels(counts: tuple[int, int], level: float) -> None:
    numerator, denominator = counts
    quantile = statistics.NormalDist().inv_cdf((1 + level) / 2)
    bounds = ", ".join(_bound(sign, numerator, denominator, quantile) for sign in "-+")
    with duckdb.connect() as connection:
        found = connection.execute(f"select {bounds}").fetchone()
    expected = proportion_confint(numerator, denominator, alpha=1 - level, method="wilson")
    assert found == pytest.approx([100 * bound for bound in expected], abs=1e-9)
    assert found is not None
    assert 0 <= found[0] <= 100 * numerator / denominator <= found[1] <= 100


def test_nobody_has_no_interval() -> None:
    with duckdb.connect() as connection:
        found = connection.execute(f"select {_bound('-', 0, 0, 1.9)}, {_bound('+', 0, 0, 1.9)}").fetchone()
    assert found == (None, None)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Twelve people seen in 2026, seven of them screened; the data hold the first half of the year."""
    folder = tmp_path_factory.mktemp("intervals")
    service = Service(folder / "home")
    streams: dict[str, list[dict[str, object]]] = {}
    for number in range(12):
        record = Record(f"n{number}")
        record.person()
        record.visit("2026-02-02T10:00:00Z", "2026-02-02T11:00:00Z", "Contact or Office Visit")
        if number < 7:
            record.total("2026-02-02T10:00:00Z", 3)
        for stream, rows in record.rows.items():
            streams.setdefault(stream, []).extend(rows)
    assert service.deliver(folder / "in", streams)["rows_quarantined"] == 0
    service.build(measurement_periods=["2026-01-01/2026-06-30"])
    return service


def test_the_warehouse_gives_every_rate_its_interval(service: Service) -> None:
    (level,) = (
        float(row["rule_value"]) for row in definitions("analysis_rules") if row["rule_id"] == "confidence_level"
    )
    rows = service.ask(
        "select measure_id, period_id, result_status, numerator_count, denominator_count, rate_percent, "
        "rate_lower_percent, rate_upper_percent from marts.measure_results"
    )
    counted = {(name, period): (status, *counts) for name, period, status, *counts, _, _, _ in rows if counts[1]}
    assert counted == {
        ("hedis_dsf_e_screening", "custom_2026-01-01_2026-06-30"): ("computed", 7, 12),
        ("hedis_dsf_e_screening", "cy_2026"): ("partial_period", 7, 12),  # counts so far; who was not screened may be
    }
    for _, _, status, numerator, denominator, rate, *bounds in rows:
        if status == "computed":
            expected = proportion_confint(numerator, denominator, alpha=1 - level, method="wilson")
            assert bounds == pytest.approx([100 * bound for bound in expected], abs=1e-9)
            assert bounds[0] < rate < bounds[1]
        else:
            assert (rate, *bounds) == (None, None, None)
