"""A command as a whole process: seconds from start to end, and the most memory it and its children held together."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_SECONDS = 0.02
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Run:
    """One finished run."""

    seconds: float
    processor_seconds: float
    peak_megabytes: float
    output: str


def run(command: Sequence[str], *, environment: dict[str, str] | None = None) -> Run:
    """Run to the end; raises ``CalledProcessError`` when it fails. Memory is looked at every 20 ms (Linux)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - commands of the benchmark itself
        command, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}, text=True
    )
    peak = 0
    while True:
        try:
            output, _ = process.communicate(timeout=_LOOK_EVERY_SECONDS)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, sum(_resident_bytes(number) for number in _family(process.pid)))
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), output)
    return Run(seconds, used, peak / 1e6, output)


def _family(process_id: int) -> list[int]:
    """A process and everything it started."""
    found, waiting = [], [process_id]
    while waiting:
        number = waiting.pop()
        found.append(number)
        for task in Path(f"/proc/{number}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def _resident_bytes(process_id: int) -> int:
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
