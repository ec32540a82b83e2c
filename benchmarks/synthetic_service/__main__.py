"""``python -m benchmarks.synthetic_service TARGET``: write the exports and the truth of a synthetic service."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path

from benchmarks.synthetic_service.generator import END_DATE, SEED, generate

parser = argparse.ArgumentParser(prog="python -m benchmarks.synthetic_service", description=__doc__)
parser.add_argument("target", type=Path, help="folder to write exports/ and truth/ into")
parser.add_argument("--people", type=int, default=20_000)
parser.add_argument("--years", type=int, default=3)
parser.add_argument("--seed", type=int, default=SEED)
parser.add_argument("--end-date", type=dt.date.fromisoformat, default=END_DATE)
given = parser.parse_args()
report = generate(target=given.target, people=given.people, years=given.years, seed=given.seed, end_date=given.end_date)
print(json.dumps(report.as_dict()))
