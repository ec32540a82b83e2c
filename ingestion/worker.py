"""The child process that touches foreign bytes: one line of JSON in for a file, one line out for what was found.

Started by ``workers``. It can end at any moment, by a limit or by a reader's fault, and nothing but its own temporary
files has happened.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PROGRESS_SECONDS = 1.0


def _die_with_parent() -> None:
    """A parent that is killed must not leave a writer behind (Linux; elsewhere the closed pipe ends the child)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve files until standard input closes."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not be taken for an answer
    from caseness.errors import is_disk_full
    from caseness.settings import Settings
    from ingestion import landing
    from ingestion.files import SourceFile, members_of
    from ingestion.loading import Overrides, prepare
    from ingestion.problems import RefusedFile

    def say(body: dict[str, Any]) -> None:
        out.write(json.dumps(body) + "\n")
        out.flush()

    say({"ready": True})
    for line in sys.stdin:
        task = json.loads(line)
        settings = Settings.model_validate(task["settings"])
        file = SourceFile(Path(task["path"]), task["label"], task["member"])
        last = time.monotonic()

        def progress(rows: int) -> None:
            nonlocal last
            if time.monotonic() - last > _PROGRESS_SECONDS:
                last = time.monotonic()
                say({"rows": rows})

        try:
            if task["do"] == "list":
                limit = settings.file_size_limit_megabytes << 20
                say({"members": [member.member for member in members_of(file, limit_bytes=limit)]})
                continue
            prepared = prepare(
                file,
                settings=settings,
                overrides=Overrides(**task["overrides"]),
                progress=progress,
                hashed=task.get("hashed"),
            )
            say({"prepared": asdict(prepared)})
        except RefusedFile as refusal:
            say({"refused": asdict(refusal.problem(file.label))})
        except MemoryError:
            raise SystemExit(1) from None
        except Exception as error:  # a reader's own fault refuses its file; the message could hold a value, so it stays
            if is_disk_full(error):
                landing.remove_temporary(settings, os.getpid())
            say({"failed": type(error).__name__, "at": _place_of(error), "is_disk_full": is_disk_full(error)})


def _place_of(error: BaseException) -> str:
    """Where in our own code it happened: module and line, never a value."""
    place, at = "", error.__traceback__
    while at is not None:
        name = at.tb_frame.f_globals.get("__name__", "")
        if name.startswith("ingestion"):
            place = f"{name}:{at.tb_lineno}"
        at = at.tb_next
    return place


if __name__ == "__main__":
    main()
