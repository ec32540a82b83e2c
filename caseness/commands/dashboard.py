"""``caseness dashboard``: Streamlit over the current release, on loopback, without usage statistics."""

from __future__ import annotations

import errno
import os
import socket
import sys
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from caseness.errors import DamagedHomeError, NotReadyError, UsageError
from caseness.release import current_file, release_faults
from caseness.settings import Settings


def check_release(settings: Settings) -> None:
    """Raises ``NotReadyError`` when there is nothing to show."""
    if not settings.paths.current_release.exists():
        raise NotReadyError("nothing is published yet", remedy="run `caseness run PATH...`, then the dashboard")


def check_port(port: int, address: str = "127.0.0.1") -> None:
    """Raises ``UsageError`` when nobody can listen on ``port``: in use, or reserved for the system."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            why = "in use already" if error.errno == errno.EADDRINUSE else "not open to you"
            raise UsageError(
                f"port {port} is {why}", remedy="stop what listens there, or choose another: --port 8600"
            ) from error


def run_dashboard(*, settings: Settings, port: int = 8501, address: str = "127.0.0.1") -> NoReturn:
    """Become the server: whoever stops this process stops the server, and nothing is left listening.

    What the server says goes to standard error; standard output is for answers.
    """
    check_port(port, address)
    current_file(settings, settings.scope)  # a scope that the release has not says so here
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
