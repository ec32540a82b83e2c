"""``caseness forget``: remove a person from parts and builds, and keep them out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ingestion
from caseness import build_state, home, journal
from caseness.commands.build import run_build
from caseness.errors import CasenessError, UsageError
from caseness.faults import fault_point
from caseness.settings import Settings
from ingestion import Erased, ErasureReason
from ingestion.rotation import key_versions_of

# A keyed token, or under safe_harbor the sender's own random code with its namespace.
_TOKEN = re.compile(r"p[1-9][0-9]{0,3}_[a-z2-7]{26}|s1_[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_KEYED = re.compile(r"p([1-9][0-9]{0,3})_")


@dataclass(frozen=True)
class ForgetReport:
    """What was removed. Counts only."""

    erased: Erased
    reason: str
    was_built_anew: bool
    other_key_versions: list[int]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return {
            **self.erased.as_dict(),
            "reason": self.reason,
            "was_built_anew": self.was_built_anew,
            "other_key_versions": self.other_key_versions,
        }


def run_forget(
    token: str, *, settings: Settings, reason: str = "erasure", progress: Callable[[str], None] | None = None
) -> ForgetReport:
    """Remove the person of ``token`` and every token linked to it. Running it again finishes what was interrupted.

    The parts are rewritten, the current build is replaced by a full one (or goes, when it cannot be made), results and
    working files are removed. Later deliveries of the person are quarantined by the rule ``erased_person``. Loads from
    before or after a rotation of the key know the person by another token: the report names their key versions.
    """
    say = progress or (lambda message: None)
    if not _TOKEN.fullmatch(token):
        raise UsageError("that is not a token", remedy="`caseness token --source NAME CODE` gives it")
    if reason not in list(ErasureReason):
        raise UsageError("the reason is not one of the codes", remedy="reasons: " + ", ".join(ErasureReason))
    paths = settings.paths
    with journal.exclusive(paths.lock, purpose="forget"):
        home.begin(settings)
        manifest = ingestion.settle(settings)
        say("removing the person's rows from the parts")
        erased = ingestion.forget(token, settings=settings, manifest=manifest, reason=ErasureReason(reason))
        others = [version for version in key_versions_of(manifest.entries()) if version != _key_version(token)]
        has_stale_build = _has_stale_build(settings)
        shutil.rmtree(paths.temporary, ignore_errors=True)
        build_state.remove_previous(settings)
        if has_stale_build:
            for folder in (paths.dbt_target, paths.results):
                shutil.rmtree(folder, ignore_errors=True)
            (paths.build / "check.html").unlink(missing_ok=True)
        fault_point("builds_removed")
    if has_stale_build:
        say("building anew without the person")
        try:
            run_build(settings=settings, full_refresh=True, progress=say)
        except BaseException as error:
            with journal.exclusive(paths.lock, purpose="forget"):
                build_state.remove_build(settings)
            if isinstance(error, CasenessError):
                raise type(error)(
                    f"the person is out of the parts, and the build that still held them was removed; {error.message}",
                    remedy="; ".join(filter(None, (error.remedy, "then run `caseness build`"))),
                ) from error
            raise
    return ForgetReport(erased, reason, has_stale_build, others if _key_version(token) else [])


def _key_version(token: str) -> int | None:
    """Version of the key that made a token; ``None`` for a code of the sender's own (safe_harbor)."""
    match = _KEYED.match(token)
    return int(match[1]) if match else None


def _has_stale_build(settings: Settings) -> bool:
    """Whether a build, or what is left of one, was made before the last removal."""
    paths = settings.paths
    if not any(path.exists() for path in (paths.current, paths.build_state, paths.next_build_state)):
        return False
    try:
        state = build_state.read_build_state(settings)
    except CasenessError:
        return True
    standing = {row["load_id"] for row in ingestion.manifest_entries(settings) if row["load_status"] == "loaded"}
    # What was withdrawn since the build is in no part, and the person may be in the build by it alone.
    return int(state.get("erasures", 0)) < ingestion.erasures(settings) or not set(state["load_ids"]) <= standing
