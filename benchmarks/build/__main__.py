"""``python -m benchmarks.build``: the build beside hand-written queries for the same results; a table, or ``--json``.

For each order of the rows: exports are written and ingested, ``caseness build`` runs as a whole process, the queries
(``by_hand``) run over the same landed files as a process of their own with the same threads and memory, and the results
are compared row by row, both ways. Then two deliveries of some of the people come in; the builds after them are timed,
and the last one is compared again. 1 is returned when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.build import by_hand
from benchmarks.build.generator import ORDERS, write_exports
from benchmarks.ingest.processes import Run, run
from caseness.settings import Settings

_ALLOWED_RATIO = 3.0
_ALLOWED_DELIVERY_SHARE = 0.1
_MOST_MEGABYTES = 8000
_DELIVERED_SHARE = 0.003
# The first after a build of everyone copies it; those that follow are added to the build before the current one.
_DELIVERIES = 2


def _caseness(home: Path, *arguments: str) -> tuple[Run, dict[str, Any]]:
    """A command of caseness on a home as a process; its run and its report."""
    done = run([sys.executable, "-m", "caseness.cli", "--home", str(home), "--json", *arguments])
    return done, json.loads(done.output.splitlines()[-1])


def _queries(home: Path, work: Path) -> tuple[Run, dict[str, float], dict[str, tuple[int, int]]]:
    """The hand-written queries on a home: their run, seconds by query, and rows that differ by result."""
    database = work / "by_hand.duckdb"
    done = run([sys.executable, "-m", "benchmarks.build.by_hand", str(home), str(database)])
    differing = by_hand.differences(Settings(home=home), database)
    database.unlink()
    return done, json.loads(done.output.splitlines()[-1]), differing


def _delivered(
    home: Path, exports: Path, people: int, first_person: int, order: str, items_share: float
) -> tuple[Run, dict[str, Any]]:
    """A delivery of some people, ingested; the build after it."""
    write_exports(
        exports, people=people, first_person=first_person, order=order, items_share=items_share, is_increment=True
    )
    _caseness(home, "ingest", str(exports))
    return _caseness(home, "build")


def measured(work: Path, *, people: int, order: str, items_share: float) -> dict[str, Any]:
    """One order of the rows: full build, queries, delivery; seconds, megabytes, ratios, rows that differ."""
    home = work / "home"
    rows = write_exports(work / "whole", people=people, order=order, items_share=items_share)
    ingest, _ = _caseness(home, "ingest", str(work / "whole"))
    shutil.rmtree(work / "whole")
    build, report = _caseness(home, "build")
    queries, by_query, differing = _queries(home, work)
    seconds_by_hand = sum(by_query.values())

    delivered = max(1, round(people * _DELIVERED_SHARE))
    deliveries = [
        _delivered(home, work / f"day_{number}", delivered, number * delivered, order, items_share)
        for number in range(_DELIVERIES)
    ]
    _, _, differing_later = _queries(home, work)
    return {
        "order": order,
        "people": people,
        "rows": sum(rows.values()),
        "ingest_seconds": round(ingest.seconds, 1),
        "build_seconds": round(build.seconds, 1),
        "build_peak_megabytes": round(build.peak_megabytes),
        "by_hand_seconds": round(seconds_by_hand, 2),
        "by_hand_peak_megabytes": round(queries.peak_megabytes),
        "ratio": round(build.seconds / seconds_by_hand, 2),
        "delivered_people": delivered,
        "first_delivery_seconds": round(deliveries[0][0].seconds, 1),
        "delivery_seconds": round(deliveries[-1][0].seconds, 1),
        "is_delivery_full_build": any(told["is_full_build"] for _, told in deliveries),
        "delivery_share": round(deliveries[-1][0].seconds / build.seconds, 3),
        "rows_differing": sum(sum(pair) for pair in (*differing.values(), *differing_later.values())),
        "differing_by_result": {"full": differing, "delivery": differing_later},
        "slowest": report["slowest"],
        "delivery_peak_megabytes": round(max(done.peak_megabytes for done, _ in deliveries)),
        "delivery_slowest": deliveries[-1][1]["slowest"],
        "by_query": {name: round(seconds, 2) for name, seconds in by_query.items()},
    }


def is_kept(result: dict[str, Any]) -> bool:
    """Whether a result keeps every promise: ratio, memory, share of a delivery, equal rows."""
    return bool(
        result["ratio"] <= _ALLOWED_RATIO
        and result["build_peak_megabytes"] < _MOST_MEGABYTES
        and result["delivery_share"] <= _ALLOWED_DELIVERY_SHARE
        and result["rows_differing"] == 0
    )


def _told(result: dict[str, Any]) -> str:
    allowed = {
        "ratio": f"at most {_ALLOWED_RATIO:g}",
        "build_peak_megabytes": f"below {_MOST_MEGABYTES}",
        "delivery_share": f"at most {_ALLOWED_DELIVERY_SHARE:g}",
        "rows_differing": "0",
    }
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key} {part}" for key, part in value.items())
        elif isinstance(value, list):
            text = ", ".join(f"{key} {part}" for key, part in value)
        else:
            text = f"{value}"
        lines.append(f"{name:24}{text}" + (f"  (allowed: {allowed[name]})" if name in allowed else ""))
    return "\n".join(lines)


def main() -> int:
    """Run what was asked; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=__doc__)
    parser.add_argument("--people", type=int, default=2_000_000, help="each has ten questionnaires and one episode")
    parser.add_argument("--order", default="both", choices=[*ORDERS, "both"])
    parser.add_argument("--items-share", type=float, default=0.1, help="share of questionnaires that come as items")
    parser.add_argument("--home-folder", type=Path, help="where homes are made (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results = []
    for order in ORDERS if given.order == "both" else (given.order,):
        work = Path(tempfile.mkdtemp(prefix=f"caseness-build-{order}-", dir=given.home_folder))
        try:
            results.append(measured(work, people=given.people, order=order, items_share=given.items_share))
        finally:
            shutil.rmtree(work)
    print(json.dumps(results) if given.json else "\n\n".join(_told(one) for one in results))
    return 0 if all(is_kept(one) for one in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
