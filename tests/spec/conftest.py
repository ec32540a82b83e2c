"""One delivery and one build for the specification tables: each module draws its cases, all are built together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.service import Service

# Spans that the tables of the groups and of the published counts are asked over.
PERIODS = (
    "2025-04-01/2025-06-30",
    "2024-01-01/2024-01-31",
    "2024-02-01/2024-02-29",
    "2024-03-01/2024-03-31",
    "2024-04-01/2024-04-30",
    "2024-05-01/2024-05-31",
    "2024-06-01/2024-06-30",
)


@pytest.fixture(scope="session")
def specified(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The built warehouse of every drawn table of this folder that has no build of its own."""
    from tests.spec import (
        test_companion_instruments,
        test_groups,
        test_instrument_rows,
        test_pathway_contacts,
        test_publication_counts,
        test_scoring,
        test_totals_only,
    )

    folder = tmp_path_factory.mktemp("specified")
    service = Service(folder / "home")
    streams: dict[str, list[dict[str, Any]]] = {}
    modules = (
        test_scoring,
        test_instrument_rows,
        test_totals_only,
        test_companion_instruments,
        test_pathway_contacts,
        test_groups,
        test_publication_counts,
    )
    for module in modules:
        for name, rows in module.streams().items():
            streams.setdefault(name, []).extend(rows)
    report = service.deliver(folder / "in", streams)
    assert report["rows_quarantined"] == 0
    service.build(measurement_periods=PERIODS)
    return service
