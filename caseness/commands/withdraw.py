"""``caseness withdraw``: take a delivered file back by its hash, before or after it came; and undo that."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import ingestion
from caseness import home, journal
from caseness.errors import UsageError
from caseness.settings import Settings
from ingestion.landing import WithdrawalReason

_SHA256 = re.compile(r"[0-9a-f]{64}")


def run_withdraw(
    file_or_sha256: str, *, settings: Settings, reason: str | None = None, is_undone: bool = False
) -> dict[str, Any]:
    """Withdraw a file, given itself or by its sha256. ``is_undone`` lets it come again; it has to be delivered then."""
    sha256 = _sha256(file_or_sha256)
    if is_undone == (reason is not None):
        raise UsageError("give --reason to withdraw a file, or --undo to let it come again", remedy=_reasons())
    if reason is not None and reason not in list(WithdrawalReason):
        raise UsageError("the reason is not one of the codes", remedy=_reasons())
    with journal.exclusive(settings.paths.lock, purpose="withdraw"):
        home.begin(settings)
        manifest = ingestion.settle(settings)
        if is_undone:
            return {"source_file_sha256": sha256, "was_withdrawn": manifest.admit_again(sha256), "loads_withdrawn": 0}
        known = manifest.of_file(sha256)
        loads = manifest.withdraw(sha256, reason=WithdrawalReason(str(reason)))
        return {"source_file_sha256": sha256, "was_known": bool(known), "loads_withdrawn": loads, "reason": reason}


def _reasons() -> str:
    return "reasons: " + ", ".join(WithdrawalReason)


def _sha256(given: str) -> str:
    path = Path(given)
    if path.is_file():
        if path.suffix == ".zip":
            raise UsageError(
                "an archive is withdrawn file by file",
                remedy="give the sha256 of each; raw.deliveries names them (source_file_sha256)",
            )
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    if not _SHA256.fullmatch(given):
        raise UsageError("that is neither a file nor a sha256", remedy="raw.deliveries names source_file_sha256")
    return given
