"""``python -m benchmarks.ingest``: the door beside the alternatives, each a whole process; a table, or ``--json``.

Contract files run beside hand-written DuckDB SQL with the same checks (``by_hand``), questionnaire responses in FHIR
beside DuckDB's ``read_json`` of the same file. The two take turns, so that a machine that slows down slows both; a
ratio is the median of the ratios pair by pair. ``--memory`` shows the most that parent and child hold together.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.ingest import by_hand, generators
from benchmarks.ingest.processes import Run, run
from caseness.settings import default_threads

_FORMS = ("csv", "ndjson", "parquet")
_ALLOWED = {"csv": 1.5, "ndjson": 1.5, "parquet": 1.5, "fhir": 3.0}
_MOST_MEGABYTES = 600
_FHIR = "QuestionnaireResponse"


def door(file: Path, folder: Path) -> tuple[Run, dict[str, Any]]:
    """``caseness ingest`` of one file into a new home; its run and its report."""
    command = [sys.executable, "-m", "caseness.cli", "--home", str(folder / "home"), "--json", "ingest", str(file)]
    done = run(command)
    return done, json.loads(done.output.splitlines()[-1])


def duckdb_sql(file: Path, folder: Path) -> tuple[Run, dict[str, Any]]:
    """The hand-written SQL, codes hashed once for each distinct code, which is the faster way."""
    sql = folder / "by_hand.sql"
    stream = file.name.split(".")[0]
    text = by_hand.script(stream, file, folder, threads=default_threads(), is_hashed_by_row=False)
    sql.write_text(text, encoding="utf-8")
    done = run([sys.executable, "-m", "benchmarks.ingest.by_hand", str(file), str(sql)])
    admitted = pl.scan_parquet(folder / "part.parquet").select(pl.len()).collect().item()
    return done, {"rows_admitted": admitted}


def duckdb_json(file: Path, folder: Path) -> tuple[Run, dict[str, Any]]:
    """DuckDB's own reading of nested JSON into a table, nothing checked."""
    sql = f"set threads = {default_threads()}; create table responses as select * from read_json('{file}')"
    return run([sys.executable, "-c", f"import duckdb; duckdb.connect().execute({sql!r})"]), {}


def beside(
    file: Path, rows: int, other: Callable[[Path, Path], tuple[Run, dict[str, Any]]], *, repeats: int, allowed: float
) -> dict[str, Any]:
    """The door and its alternative in turn; medians, and the median of their ratios."""
    ours: list[Run] = []
    theirs: list[Run] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            done, facts = other(file, Path(folder))
            theirs.append(done)
        with tempfile.TemporaryDirectory() as folder:
            done, report = door(file, Path(folder))
            ours.append(done)
        if report["rows_in"] != rows or facts.get("rows_admitted", report["rows_admitted"]) != report["rows_admitted"]:
            raise SystemExit(f"{file.name}: the two do not agree on rows: {report['rows_in']} in, {facts}")
    megabytes = file.stat().st_size / 1e6
    seconds = statistics.median(one.seconds for one in ours)
    return {
        "file": file.name,
        "megabytes": round(megabytes, 1),
        "rows": rows,
        "rows_quarantined": report["rows_quarantined"],
        "seconds": round(seconds, 2),
        "megabytes_per_second": round(megabytes / seconds, 1),
        "rows_per_second": round(rows / seconds),
        "processor_seconds": round(statistics.median(one.processor_seconds for one in ours), 2),
        "peak_megabytes": round(max(one.peak_megabytes for one in ours)),
        "other_seconds": round(statistics.median(one.seconds for one in theirs), 2),
        "other_processor_seconds": round(statistics.median(one.processor_seconds for one in theirs), 2),
        "other_peak_megabytes": round(max(one.peak_megabytes for one in theirs)),
        "ratio": round(statistics.median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)), 2),
        "allowed_ratio": allowed,
    }


def memory(folder: Path, forms: Sequence[str], stream: str, megabytes: Sequence[float]) -> list[dict[str, Any]]:
    """The most memory of the door for inputs of growing size; each input is removed after its run."""
    found = []
    for form in forms:
        for size in megabytes:
            file = folder / (f"{_FHIR}.ndjson" if form == "fhir" else f"{stream}.{form}")
            if form == "fhir":
                rows = generators.write_questionnaire_responses(file, megabytes=size)
            else:
                rows = generators.write_stream(file, stream, megabytes=size)
            with tempfile.TemporaryDirectory(dir=folder) as home:
                done, report = door(file, Path(home))
            found.append(
                {
                    "file": file.name,
                    "megabytes": round(file.stat().st_size / 1e6, 1),
                    "rows": rows,
                    "seconds": round(done.seconds, 1),
                    "megabytes_per_second": round(file.stat().st_size / 1e6 / done.seconds, 1),
                    "peak_megabytes": round(done.peak_megabytes),
                    "allowed_megabytes": _MOST_MEGABYTES,
                }
            )
            file.unlink()
            if report["rows_in"] != rows:
                raise SystemExit(f"{file.name}: {rows} rows were written, {report['rows_in']} read")
    return found


def _table(rows: Sequence[dict[str, Any]]) -> str:
    names = list(rows[0]) if rows else []
    cells = [names, *([f"{row[name]}" for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def main() -> int:
    """Run what was asked; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--forms", nargs="*", default=[*_FORMS, "fhir"], choices=[*_FORMS, "fhir"])
    parser.add_argument("--streams", nargs="*", default=list(generators.STREAMS), choices=list(generators.STREAMS))
    parser.add_argument("--megabytes", type=float, default=200, help="size of each input (Parquet: of its rows as CSV)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=float, nargs="*", help="megabytes of the inputs for the memory of the door")
    parser.add_argument("--folder", type=Path, help="where inputs are written (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="caseness-ingest-", dir=given.folder))
    rows: list[dict[str, Any]] = []
    try:
        if given.memory is not None:
            rows = memory(work, given.forms, given.streams[0], given.memory)
        else:
            for form in given.forms:
                for stream in [_FHIR] if form == "fhir" else given.streams:
                    file = work / f"{stream}.{'ndjson' if form == 'fhir' else form}"
                    if form == "fhir":
                        count = generators.write_questionnaire_responses(file, megabytes=given.megabytes)
                    else:
                        count = generators.write_stream(file, stream, megabytes=given.megabytes)
                    other = duckdb_json if form == "fhir" else duckdb_sql
                    rows.append(beside(file, count, other, repeats=given.repeats, allowed=_ALLOWED[form]))
                    file.unlink()
    finally:
        shutil.rmtree(work)
    print(json.dumps(rows) if given.json else _table(rows))
    is_kept = all(row["peak_megabytes"] < _MOST_MEGABYTES for row in rows)
    is_kept = is_kept and all(row["ratio"] <= row["allowed_ratio"] for row in rows if "ratio" in row)
    return 0 if is_kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
