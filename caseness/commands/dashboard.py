"""``caseness dashboard``: Streamlit over the current release, on loopback, without usage statistics."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from caseness.errors import DamagedHomeError
from caseness.release import release_faults
from caseness.settings import Settings


def run_dashboard(*, settings: Settings, port: int = 8501, address: str = "127.0.0.1") -> NoReturn:
    """Become the server: whoever stops this process stops the server, and nothing is left listening.

    What the server says goes to standard error; standard output is for answers.
    """
    faults = release_faults(settings)
    if faults:
        raise DamagedHomeError("; ".join(faults[:3]), remedy="publish the release anew with `caseness publish`")
    script = Path(str(files("dashboards"))) / "app.py"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(script),
        f"--server.address={address}",
        f"--server.port={port}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=minimal",
        "--theme.base=light",
        "--theme.primaryColor=#12436D",
    ]
    environment = {**os.environ, "CASENESS_HOME": str(settings.home), "DO_NOT_TRACK": "1"}
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(sys.stderr.fileno(), 1)
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own words only, no shell
