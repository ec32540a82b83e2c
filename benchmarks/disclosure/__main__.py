"""``python -m benchmarks.disclosure``: the attacker of ``publish`` on random tables, rule by rule (or ``--json``).

Every rule is attacked on the same tables with all their margins. The share of cells of 1 to 4 that the attacker knows
exactly, or to within one, shows that the attacker works (on the rules that are known to fail) and that a profile holds.
As ``publish`` does, a profile drops the groups of most columns of a table that is hit, and attacks again what is left:
the columns ``released`` say what is known then, and how many tables lost something.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.disclosure.tables import Rule, random_table, system_of
from caseness.disclosure.attack import attack, disclosure_profile

_PROFILES = ("opensafely", "nhs_mh", "cms11", "midpoint6")
_SHAPES = ((4, 5), (3, 3, 4))
_SMALL = 4
_SECONDS_A_TABLE = 20.0


def rules() -> list[Rule]:
    """The profiles, and ways of publishing that are known to fail."""
    nhs = disclosure_profile("nhs_mh")
    return [
        Rule("small counts hidden, margins exact"),
        Rule("the same, one more hidden a line", is_complemented=True),
        *(Rule(name, disclosure_profile(name)) for name in _PROFILES),
        Rule("nhs_mh + raw % of shown cells", nhs, percent_decimals=0),
        Rule("nhs_mh + raw % of shown cells, 1 decimal", nhs, percent_decimals=1),
        Rule("nhs_mh + raw % of all cells", nhs, percent_decimals=0, percent_of_hidden=True),
        Rule("nhs_mh + raw % of all cells, 1 decimal", nhs, percent_decimals=1, percent_of_hidden=True),
    ]


def attacked(rule: Rule, shape: tuple[int, ...], *, tables: int, seed: int) -> dict[str, Any]:
    """One rule on ``tables`` random tables of a shape."""
    chance = np.random.default_rng(seed)
    small = max(_SMALL, rule.profile.redact_at_or_below) if rule.profile else _SMALL
    started = time.monotonic()
    made = [random_table(shape, chance) for _ in range(tables)]
    found = [attack(system_of(table, rule, small=small), seconds=_SECONDS_A_TABLE) for table in made]
    left, coarsened = [], 0
    for table, report in zip(made, found, strict=True):
        columns = table.ndim
        while rule.profile is not None and rule.percent_decimals is None and not report.is_safe and columns > 0:
            columns -= 1
            report = attack(system_of(table, rule, small=small, columns=columns), seconds=_SECONDS_A_TABLE)
        coarsened += columns < table.ndim
        left.append(report)
    cells = sum(report.protected_cells for report in found)
    exact = sum(report.recovered_exactly for report in found)
    near = exact + sum(report.recovered_within_one for report in found)
    return {
        "shape": "x".join(map(str, shape)),
        "rule": rule.name,
        "tables": tables,
        "protected_counts": f"1 to {small}",
        "protected_cells": cells,
        "recovered_exactly_percent": round(100 * exact / cells, 1),
        "interval_of_at_most_one_percent": round(100 * near / cells, 1),
        "unanswered": sum(report.unanswered for report in found),
        "contradictions": sum(report.contradictions for report in found),
        "released_coarser": coarsened,
        "released_exact": sum(report.recovered_exactly for report in left),
        "released_within_one": sum(report.recovered_within_one for report in left),
        "released_unanswered": sum(report.unanswered for report in left),
        "seconds": round(time.monotonic() - started, 1),
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    names = list(rows[0])
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def main() -> int:
    """Attack; 1 when a profile gives a protected count away."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disclosure", description=__doc__)
    parser.add_argument("--tables", type=int, default=60, help="random tables of each shape")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [attacked(rule, shape, tables=given.tables, seed=given.seed) for shape in _SHAPES for rule in rules()]
    print(json.dumps(rows) if given.json else _table(rows))
    own = [row for row in rows if row["rule"] in _PROFILES]
    known = ("released_exact", "released_within_one", "released_unanswered")
    return int(any(row[name] for row in own for name in known))


if __name__ == "__main__":
    raise SystemExit(main())
