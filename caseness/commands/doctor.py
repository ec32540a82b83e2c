"""``caseness doctor``: what is missing or misconfigured, in plain words."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import stat
import sys
from dataclasses import dataclass
from typing import Any

import ingestion
from caseness import journal
from caseness.commands.build import read_build_state
from caseness.errors import CasenessError
from caseness.settings import Deidentification, Settings
from ingestion.landing import part_stem

_PINNED = {"duckdb": "1.5.", "dbt-core": "1.11.", "great-expectations": "1.24.", "streamlit": "1.67."}
_LOW_DISK_GIGABYTES = 5


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``good``, ``note`` (works, but know it) or ``problem`` (mend it)."""

    topic: str
    state: str
    says: str
    remedy: str = ""


def run_doctor(*, settings: Settings) -> list[Finding]:
    """Look at machine, versions, home, key, journal, build and release."""
    findings = [*_machine(settings), *_versions(), *_home(settings), *_key(settings), *_work(settings)]
    return findings


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """The findings as JSON-ready facts."""
    problems = sum(finding.state == "problem" for finding in findings)
    return {"problems": problems, "findings": [vars(finding) for finding in findings]}


def _machine(settings: Settings) -> list[Finding]:
    found = []
    system = platform.system()
    if system == "Linux":
        found.append(Finding("system", "good", "Linux, the system caseness is tested on"))
    elif system == "Darwin":
        found.append(Finding("system", "note", "macOS: expected to work, not tested by our CI"))
    else:
        found.append(Finding("system", "problem", f"{system} is not supported", "use Linux, macOS or WSL 2"))
    version = sys.version_info
    state = "good" if (3, 11) <= version[:2] <= (3, 13) else "problem"
    found.append(
        Finding("python", state, f"Python {version.major}.{version.minor}", "" if state == "good" else "use 3.11")
    )
    where = settings.home
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free / 1e9
    low = free < _LOW_DISK_GIGABYTES
    found.append(
        Finding(
            "disk",
            "problem" if low else "good",
            f"{free:.0f} GB free where the home lies",
            "a build needs about twice the size of the parts" if low else "",
        )
    )
    return found


def _versions() -> list[Finding]:
    found = []
    for name, prefix in _PINNED.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, "problem", "not installed", "install from requirements.lock"))
            continue
        good = version.startswith(prefix)
        found.append(
            Finding(name, "good" if good else "problem", version, "" if good else f"caseness is tested with {prefix}x")
        )
    return found


def _home(settings: Settings) -> list[Finding]:
    if not settings.home.exists():
        return [Finding("home", "note", "there is no home yet", "run `caseness init`")]
    found = [Finding("home", "good", "the home exists")]
    try:
        receipts = sum(1 for _ in journal.read(settings.paths.journal))
        ingestion.reconcile(settings)
        found.append(Finding("journal", "good", f"{receipts} receipts, unbroken; manifest and parts agree with them"))
    except CasenessError as error:
        found.append(Finding("journal", "problem", error.message, error.remedy))
    return found


def _key(settings: Settings) -> list[Finding]:
    path = settings.key_file or settings.paths.keys / "pseudonym.key"
    if not path.exists():
        return [Finding("key", "note", "there is no pseudonym key yet", "`caseness init` makes one")]
    found = []
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(Finding("key", "problem", "others on this machine can read the key", "chmod 600 the key file"))
    if settings.key_file is None:
        found.append(
            Finding(
                "key",
                "note",
                "the key lies in the home, beside the data it protects",
                "for shared data, keep it elsewhere and set key_file",
            )
        )
    if settings.deidentification is Deidentification.EXPERT_DETERMINATION and not settings.expert_report:
        found.append(Finding("profile", "problem", "no expert's report is referenced", "set expert_report"))
    return found or [Finding("key", "good", "the key is private")]


def _work(settings: Settings) -> list[Finding]:
    state = read_build_state(settings)
    if not state:
        return [Finding("build", "note", "nothing has been built yet", "run `caseness run PATH...`")]
    loads = {part_stem(row) for row in ingestion.manifest_entries(settings) if row["load_status"] == "loaded"}
    waiting = len(loads - set(state["load_ids"]))
    found = [
        Finding("build", "note", f"{waiting} files are landed but not built", "run `caseness build`")
        if waiting
        else Finding("build", "good", f"build {state['build_id']} holds every landed file")
    ]
    if settings.paths.current_release.exists():
        found.append(Finding("release", "good", "there is a published release"))
    else:
        found.append(Finding("release", "note", "nothing is published", "run `caseness publish`"))
    return found
