"""``caseness run`` and ``caseness demo``: the whole way, step by step, with time and memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ingestion
from caseness.commands.build import run_build
from caseness.commands.check import run_check
from caseness.commands.evaluate import run_evaluate
from caseness.commands.initialise import run_init
from caseness.commands.publish import run_publish
from caseness.errors import UsageError
from caseness.resources import StepCost, measured
from caseness.settings import Settings

Working = Callable[[str], AbstractContextManager[Callable[[str], None]]]
_DEMO_MARK = ".caseness-demo"


@dataclass
class RunReport:
    """What each step did and what it cost."""

    steps: list[StepCost] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def files_refused(self) -> int:
        """Files the door refused."""
        return int(self.reports.get("ingest", {}).get("files_refused", 0))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return {
            "seconds": round(sum(step.seconds for step in self.steps), 2),
            "steps": [vars(step) for step in self.steps],
            **self.reports,
        }


def run_all(
    paths: Sequence[Path],
    *,
    settings: Settings,
    working: Working,
    measurement_periods: Sequence[str] = (),
    report: RunReport | None = None,
) -> RunReport:
    """Ingest, build, check, evaluate, publish. A refused file does not stop the others; a fatal rule stops publish."""
    report = report or RunReport()
    run_init(settings=settings)
    for name, step in (
        ("ingest", lambda say: ingestion.ingest(paths, settings=settings, progress=say)),
        ("build", lambda say: run_build(settings=settings, measurement_periods=measurement_periods, progress=say)),
        ("check", lambda say: run_check(settings=settings, progress=say)),
        ("evaluate", lambda say: run_evaluate(settings=settings, progress=say)),
        ("publish", lambda say: run_publish(settings=settings, progress=say)),
    ):
        with measured(name) as cost, working(name) as say:
            report.reports[name] = step(say).as_dict()
        report.steps.append(cost)
    return report


def run_demo(*, settings: Settings, people: int, years: int, seed: int | None, working: Working) -> RunReport:
    """Make an empty home, generate a synthetic service beside it and run the whole way on its exports."""
    from benchmarks.synthetic_service import generate
    from benchmarks.synthetic_service.generator import SEED

    home = settings.home
    if home.exists() and any(home.iterdir()) and not (home / _DEMO_MARK).exists():
        raise UsageError(
            "the demo starts from an empty home, and this one is not a demo's",
            remedy="give another --home, or none",
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / _DEMO_MARK).touch()
    report = RunReport()
    with measured("generate") as cost, working("generate") as say:
        generated = generate(
            target=home / "synthetic_service", people=people, years=years, seed=seed or SEED, progress=say
        )
        report.reports["generate"] = generated.as_dict()
    report.steps.append(cost)
    return run_all([home / "synthetic_service" / "exports"], settings=settings, working=working, report=report)
