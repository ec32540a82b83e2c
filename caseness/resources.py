"""How long a step took and how much memory it held at most."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


@dataclass
class StepCost:
    """Wall time and peak resident memory of one step; without /proc, the peak of the process so far."""

    step: str
    seconds: float = 0.0
    peak_megabytes: float = 0.0


def _peak_megabytes() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


@contextmanager
def measured(step: str) -> Iterator[StepCost]:
    """Time a step and take its peak memory."""
    cost = StepCost(step)
    with suppress(OSError):  # not Linux, or not allowed: the peak of the process so far is reported
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    started = time.monotonic()
    try:
        yield cost
    finally:
        cost.seconds = round(time.monotonic() - started, 2)
        cost.peak_megabytes = round(_peak_megabytes(), 1)
