"""``caseness check``: the quality rules on the current build; findings as rows and as a page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import ingestion
from caseness import build_state, journal
from caseness.settings import Settings
from expectations import CheckReport, check


def run_check(*, settings: Settings, progress: Callable[[str], None] | None = None) -> CheckReport:
    """Write ``build/results/check_findings.parquet`` and ``build/check.html``.

    A failed fatal rule stops publish, not this. Raises ``NotReadyError`` without a build.
    """
    import pandas as pd

    from expectations.page import page

    with journal.exclusive(settings.paths.lock, purpose="check"):
        state = build_state.ready(settings, is_deep=True)
        report = check(
            settings.paths.current,
            settings=settings,
            build_id=state["build_id"],
            as_of_date=dt.date.fromisoformat(state["rules"]["as_of_date"]),
            progress=progress,
        )
        if refused := ingestion.refusal_words(settings):
            report.notes.append({"message": refused, "remedy": ingestion.REFUSAL_REMEDY})
        frame = pd.DataFrame([vars(finding) for finding in report.findings])
        frame = frame.astype({"rows_checked": "Int64", "rows_failed": "Int64", "failed_share": "Float64"})
        frame["build_id"] = state["build_id"]
        settings.paths.results.mkdir(parents=True, exist_ok=True)
        target = settings.paths.results / "check_findings.parquet"
        temporary = target.with_suffix(".tmp")
        frame.to_parquet(temporary, index=False)
        temporary.replace(target)
        journal.write_atomically(settings.paths.build / "check.html", page(report).encode())
        journal.append(settings.paths.journal, "check", build_id=state["build_id"], fatal_failed=report.fatal_failed)
    return report
