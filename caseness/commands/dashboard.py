"""``caseness dashboard``: Streamlit over the current release, on loopback, without usage statistics."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from caseness.settings import Settings


def run_dashboard(*, settings: Settings, port: int = 8501, address: str = "127.0.0.1") -> int:
    """Serve until stopped; returns the server's exit code."""
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
    try:
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own words only
    except KeyboardInterrupt:
        return 0
