"""``python -m benchmarks.disclosure.large_release --home HOME``: `publish` of a build of millions of courses, timed.

HOME holds a checked and evaluated build (such as the demo's). Its marts are repeated, each time with other people and
courses, until they hold as many courses as asked for; the copy is published as a whole process. Counts grow with it, so
fewer are small than in the build it was made from: this measures the work of making the tables, beside the audit's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ingest.processes import run
from caseness import build_state, warehouse
from caseness.settings import Settings

# Members are a view over what the intermediate tables say.
_TABLES = (
    "marts.episodes",
    "marts.assessments",
    "marts.trajectories",
    "marts.app_engagement",
    "intermediate.int_referrals_current",
    "intermediate.int_episodes_contacts",
    "intermediate.int_episodes_flagged",
    "intermediate.int_courses_of_therapy",
)
_KEYS = ("referral_id", "person_id", "course_of_therapy_id", "assessment_id", "response_id", "contact_id")
_MOST_SECONDS, _MOST_MEGABYTES = 120, 4096


def repeat(settings: Settings, episodes: int) -> int:
    """Repeat the marts of a home in place until they hold so many episodes; how many they hold."""
    state = build_state.ready(settings)
    built = settings.paths.temporary / "repeated.duckdb"
    build_state.copied(settings, state, built)
    with warehouse.writer(built, settings) as connection:
        (held,) = connection.execute("select count(*) from marts.episodes").fetchone() or (0,)
        times = -(-episodes // held)
        for table in _TABLES:
            described = connection.execute(f"describe {table}").fetchall()
            columns = [f"{name} || '_' || turn.n as {name}" if name in _KEYS else str(name) for name, *_ in described]
            connection.execute(
                f"insert into {table} select {', '.join(columns)} from {table}, range(1, {times}) as turn(n)"
            )
        counts = [
            row[0]
            for row in connection.execute("describe marts.measure_results").fetchall()
            if row[0].endswith("_count")
        ]
        connection.execute("update marts.measure_results set " + ", ".join(f"{c} = {c} * {times}" for c in counts))
    build_state.put_in_place(settings, built, state)
    return int(held * times)


def main() -> int:
    """Repeat, publish, print; 1 when it takes more time or memory than promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disclosure.large_release", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path, help="where the copy of the home is made (default: a temporary folder)")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="caseness-release-", dir=given.folder))
    try:
        shutil.copytree(given.home, folder / "home")
        shutil.rmtree(folder / "home" / "releases", ignore_errors=True)
        episodes = repeat(Settings(home=folder / "home"), given.episodes)
        command = [sys.executable, "-m", "caseness.cli", "--home", str(folder / "home"), "--json", "publish"]
        done = run(command)
        body: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    finally:
        shutil.rmtree(folder)
    facts = {
        "episodes": episodes,
        "seconds": round(done.seconds, 1),
        "audit_seconds": body["audit"]["seconds"],
        "peak_megabytes": round(done.peak_megabytes),
        "published_rows": sum(body["tables"].values()),
        "dropped": len(body["dropped"]),
    }
    print(json.dumps(facts, indent=2))
    return int(done.seconds > _MOST_SECONDS or done.peak_megabytes > _MOST_MEGABYTES)


if __name__ == "__main__":
    raise SystemExit(main())
