"""``python -m benchmarks.disclosure.successive``: releases of one service as it goes on, each attacked with all before.

The exports of a synthetic service are delivered as they stood at the end of each of three quarters: what came later is
left out, and a course that went on has no discharge yet. Each is ingested, built, checked, evaluated and published into
one home, under one profile. Says how long each publication took, and what of the earlier ones it would have told.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks.ingest.processes import run
from benchmarks.synthetic_service.generator import SEED, generate

_DAYS = (dt.date(2026, 4, 30), dt.date(2026, 7, 31), dt.date(2026, 10, 31))
_ROW_DATES = (
    "referral_received_date",
    "contact_at",
    "answered_at",
    "occurred_at",
    "local_date",
    "effectiveDateTime",
)
_TOLD = (
    "protected_cells",
    "recovered_exactly",
    "recovered_within_one",
    "unanswered",
    "known_from_earlier_releases_alone",
)


def as_it_stood(exports: Path, target: Path, day: dt.date) -> None:
    """Write the exports without what came after a day."""
    for file in sorted(exports.rglob("*")):
        place = target / file.relative_to(exports)
        if file.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif file.suffix == ".csv":
            with (
                file.open(encoding="utf-8", newline="") as handle,
                place.open("w", encoding="utf-8", newline="") as out,
            ):
                reader = csv.DictReader(handle)
                writer = csv.DictWriter(out, fieldnames=list(reader.fieldnames or ()), lineterminator="\n")
                writer.writeheader()
                writer.writerows(_until(reader, day))
        elif file.suffix == ".ndjson":
            with file.open(encoding="utf-8") as handle, place.open("w", encoding="utf-8") as out:
                for row in _until((json.loads(line) for line in handle), day):
                    out.write(json.dumps(row, separators=(",", ":")) + "\n")
            if not place.stat().st_size:
                place.unlink()
        elif file.suffix == ".parquet":
            table = pl.read_parquet(file)
            pl.DataFrame(list(_until(table.iter_rows(named=True), day)), schema=table.schema).write_parquet(place)
        else:  # delivery.yml, whose counts and period are those of the whole
            stated = yaml.safe_load(file.read_text(encoding="utf-8"))
            kept = {key: stated[key] for key in ("source", "namespace", "time_zone")}
            place.write_text(yaml.safe_dump(kept), encoding="utf-8")


def _until(rows: Iterator[dict[str, Any]] | csv.DictReader[str], day: dt.date) -> Iterator[dict[str, Any]]:
    for row in rows:
        dated = next((str(row[name])[:10] for name in _ROW_DATES if row.get(name)), "")
        if dated > day.isoformat():
            continue
        discharged = row.get("discharge_date")
        if discharged and str(discharged)[:10] > day.isoformat():
            row = {**row, "discharge_date": None, "discharge_reason": None}
        elif discharged and row.get("recorded_at"):
            row = {**row, "recorded_at": f"{str(discharged)[:10]}T23:00:00Z"}
        yield row


def main() -> int:
    """Publish one after the other; 1 when anything of an earlier release was told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disclosure.successive", description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--profiles", nargs="+", default=["opensafely", "nhs_mh", "cms11", "midpoint6"])
    given = parser.parse_args()
    told = 0
    with tempfile.TemporaryDirectory(prefix="caseness-successive-") as name:
        folder = Path(name)
        generate(target=folder / "service", people=given.people, years=3, seed=SEED, end_date=_DAYS[-1])
        for profile in given.profiles:
            home = folder / profile
            for day in _DAYS:
                stood = folder / f"stood_{day.isoformat()}"
                if not stood.exists():
                    as_it_stood(folder / "service" / "exports", stood, day)
                caseness = [sys.executable, "-m", "caseness.cli", "--home", str(home), "--json"]
                settings = {"CASENESS_AS_OF_DATE": day.isoformat(), "CASENESS_DISCLOSURE_PROFILE": profile}
                run([*caseness, "ingest", str(stood)], environment=settings)
                for step in ("build", "check", "evaluate"):
                    run([*caseness, step], environment=settings)
                done = run([*caseness, "publish"], environment=settings)
                body = json.loads(done.output.splitlines()[-1])
                facts = {key: body["audit"][key] for key in _TOLD}
                told += sum(facts[key] for key in _TOLD[1:])
                facts |= {"dropped": len(body["dropped"]), "seconds": round(done.seconds, 1)}
                facts |= {"peak_megabytes": round(done.peak_megabytes)}
                print(json.dumps({"profile": profile, "as_of": day.isoformat(), **facts}), flush=True)
            shutil.rmtree(home)
    return int(told > 0)


if __name__ == "__main__":
    raise SystemExit(main())
