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
from caseness import build_state, content, home, journal, warehouse
from caseness.commands.initialise import is_home
from caseness.errors import CasenessError, LockedError
from caseness.release import release_faults
from caseness.settings import Deidentification, Settings
from ingestion.pseudonyms import key_findings
from ingestion.rotation import rotation_findings

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
    if not is_home(settings):
        return [Finding("home", "note", "there is no home yet", "run `caseness init`")]
    try:
        home.check(settings)
    except CasenessError as error:
        return [Finding("home", "problem", error.message, error.remedy)]
    found = [Finding("home", "good", "the home exists")]
    if settings.home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found = [Finding("home", "note", "others on this machine can look into the home", "chmod 700 the home folder")]
    try:
        with journal.exclusive(settings.paths.lock, purpose="doctor"):
            receipts = sum(1 for _ in journal.read(settings.paths.journal))
            ingestion.reconcile(settings, is_deep=True)
        found.append(Finding("journal", "good", f"{receipts} receipts, unbroken; manifest, parts and marks agree"))
    except LockedError as error:
        found.append(Finding("journal", "note", "another process is writing, so nothing was compared", error.remedy))
    except CasenessError as error:
        found.append(Finding("journal", "problem", error.message, error.remedy))
        return found
    if refused := ingestion.refusal_words(settings):
        found.append(Finding("deliveries", "note", refused, ingestion.REFUSAL_REMEDY))
    return found


def _key(settings: Settings) -> list[Finding]:
    facts = [*key_findings(settings), *rotation_findings(settings)]
    found = [Finding("key", fact.state, fact.says, fact.remedy) for fact in facts]
    if settings.deidentification is Deidentification.EXPERT_DETERMINATION and not settings.expert_report:
        found.append(Finding("profile", "problem", "no expert's report is referenced", "set expert_report"))
    return found


def _work(settings: Settings) -> list[Finding]:
    return [*_build(settings), *_releases(settings)]


def _build(settings: Settings) -> list[Finding]:
    try:
        if not build_state.read_build_state(settings):
            return [Finding("build", "note", "nothing has been built yet", "run `caseness run PATH...`")]
        state = build_state.ready(settings, is_deep=True)
        loads = {row["load_id"] for row in ingestion.manifest_entries(settings) if row["load_status"] == "loaded"}
        with warehouse.reader(settings.paths.current, settings) as connection:
            found = content.content_hash(connection)
    except CasenessError as error:
        return [Finding("build", "problem", error.message, error.remedy)]
    if found != state["content_hash"]:  # that of a large build is carried on from delivery to delivery
        says = "the content hash that the build states is not that of its rows"
        return [Finding("build", "problem", says, "run `caseness build --full-refresh`, and tell the project")]
    if loads != set(state["load_ids"]):
        waiting, gone = len(loads - set(state["load_ids"])), len(set(state["load_ids"]) - loads)
        says = f"{waiting} files are landed but not built, {gone} were taken out"
        return [Finding("build", "note", says, "run `caseness build`")]
    return [Finding("build", "good", f"build {state['build_id']} holds every landed file, as it was written")]


def _releases(settings: Settings) -> list[Finding]:
    faults = release_faults(settings)
    if faults is None:
        return [Finding("release", "note", "nothing is published", "run `caseness publish`")]
    if faults:
        return [Finding("release", "problem", fault, "publish it anew with `caseness publish`") for fault in faults]
    return [Finding("release", "good", "there is a published release; every release is as it was written")]
