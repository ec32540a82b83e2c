"""``python -m tests.mutation [WORD...]``: break one rule at a time in a copy, and see that its test turns red.

Mutants are rows of ``mutants.yml``: a file, what stands there, what is put in its place, and the test that must fail.
Without words all run; a word chooses the mutants whose name holds it. ``--list`` only lists, ``--plain`` runs the named
tests on the unchanged copy. Exit code 1 when a mutant survives or no longer applies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Mutant:
    """One rule broken: every ``old`` of ``changes`` must stand in ``file`` and gives way to its ``new``."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    test: str


def mutants() -> list[Mutant]:
    """Rows of ``mutants.yml``."""
    rows = yaml.safe_load(Path(__file__).with_name("mutants.yml").read_text(encoding="utf-8"))
    return [
        Mutant(
            row["name"], row["file"], tuple((change["old"], change["new"]) for change in row["changes"]), row["test"]
        )
        for row in rows
    ]


def _copy(folder: Path) -> None:
    """Every file under version control, and new ones that are not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listing.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def _run(folder: Path, tests: str) -> str:
    """``killed`` when a test failed, ``survived`` when all passed, else what pytest said."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests.split()]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "timed out"
    if done.returncode == 0:
        return "survived"
    if any(line.startswith("FAILED") for line in done.stdout.splitlines()):
        return "killed"
    return "broke: " + " ".join(done.stdout.split())[-200:]


def _try(folder: Path, mutant: Mutant) -> str:
    path = folder / mutant.file
    before = path.read_text(encoding="utf-8")
    after = before
    for old, new in mutant.changes:
        if old not in after:
            return "does not apply: " + old
        after = after.replace(old, new)
    path.write_text(after, encoding="utf-8")
    try:
        return _run(folder, mutant.test)
    finally:
        path.write_text(before, encoding="utf-8")


def main(words: list[str]) -> int:
    """Run the chosen mutants, print a table, and say how many did not die."""
    wanted = [word for word in words if not word.startswith("--")]
    chosen = [one for one in mutants() if not wanted or any(word in one.name for word in wanted)]
    if "--list" in words:
        print("\n".join(f"{one.name}\t{one.test}" for one in chosen))
        return 0
    alive = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder = Path(temporary)
        _copy(folder)
        if "--plain" in words:
            files = dict.fromkeys(part.split("::")[0] for one in chosen for part in one.test.split() if "/" in part)
            says = _run(folder, " ".join(files))
            print("the unchanged copy: " + ("all passed" if says == "survived" else says))
            return int(says != "survived")
        for one in chosen:
            started = time.monotonic()
            says = _try(folder, one)
            alive += says != "killed"
            print(f"{says}\t{one.name}\t{one.test}\t{time.monotonic() - started:.0f} s", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants killed")
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
