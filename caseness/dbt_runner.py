"""dbt, run in this process and kept quiet: no usage statistics, target and log in the home folder."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path
from typing import Any

from caseness.errors import CasenessError
from caseness.pathway_switches import chosen_switches, stated
from caseness.settings import Settings

_MADE_BY_DBT = "partial_parse.msgpack"
_SLOWEST = 8


class TransformError(CasenessError):
    """A model or test of the warehouse failed; the current build is untouched."""

    exit_code = 4


@dataclass(frozen=True)
class DbtSummary:
    """How many nodes of each kind ran, and how long the slowest took."""

    nodes: dict[str, int]
    seconds: float
    slowest: list[tuple[str, float]]

    def with_more(self, later: DbtSummary) -> DbtSummary:
        """Both of two commands as one."""
        kinds = {*self.nodes, *later.nodes}
        slowest = sorted((*self.slowest, *later.slowest), key=lambda item: -item[1])[:_SLOWEST]
        nodes = {kind: self.nodes.get(kind, 0) + later.nodes.get(kind, 0) for kind in sorted(kinds)}
        return DbtSummary(nodes, self.seconds + later.seconds, slowest)


def project_folder() -> Path:
    """Where the dbt project lies, in a checkout or in an installed wheel."""
    return Path(str(files("dbt_project")))


def publication_rows() -> list[dict[str, str]]:
    """The declared tables and slices, from ``publication_tables.csv``."""
    return _seed("publication_tables")


def coarsening_rows() -> list[dict[str, str]]:
    """What a table gives up when the audit finds something in it, step by step, from ``publication_coarsening.csv``."""
    return _seed("publication_coarsening")


def flow_week_rows() -> list[dict[str, str]]:
    """Weeks that severity flows go from and to, and over how many weeks a band is looked for."""
    return _seed("flow_weeks")


def _seed(name: str) -> list[dict[str, str]]:
    text = project_folder().joinpath("seeds", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def cohort_groups() -> list[dict[str, list[str]]]:
    """The declared groups: their columns, one or two of ``cohort_episodes``, and the kinds of period of any scope."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in publication_rows():
        if row["slice_column"] == "group_dimension":
            name = row["slice_value"]
            group = found.setdefault(name, {"columns": name.split("+"), "period_kinds": []})
            group["period_kinds"] += row["period_kinds"].split("+")
    return list(found.values())


def run_dbt(
    arguments: Sequence[str],
    *,
    database: Path,
    settings: Settings,
    variables: Mapping[str, Any] | None = None,
    target: str = "warehouse",
    built: Path | None = None,
    is_one_at_a_time: bool = False,
) -> DbtSummary:
    """Run one dbt command against ``database``; ``built`` is what the target ``publication`` attaches to it.

    ``is_one_at_a_time``: each model has the memory to itself.
    Raises ``TransformError`` that names the failing nodes and what their engine said, without values.
    """
    paths = settings.paths
    switches = chosen_switches(settings)
    paths.dbt_target.mkdir(parents=True, exist_ok=True)
    environment = {
        "DO_NOT_TRACK": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "CASENESS_DBT_TARGET": target,
        "CASENESS_DBT_DATABASE": str(database),
        "CASENESS_DBT_THREADS": str(settings.threads),
        "CASENESS_DBT_MODELS_AT_ONCE": "1" if is_one_at_a_time else str(settings.threads),
        "CASENESS_DBT_MEMORY": f"{settings.memory_limit_megabytes}MB",
        "CASENESS_DBT_TEMPORARY": str(paths.temporary),
        "CASENESS_DBT_BUILT": str(built or ""),
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    called = sys.argv
    sys.argv = ["dbt", *arguments]  # dbt writes down how it was called, and a caller's words may hold a token
    try:
        from dbt.cli.main import dbtRunner

        parsed = _parsed(settings, database, target)
        if parsed is None:  # so that what lies there afterwards was parsed now
            (paths.dbt_target / _MADE_BY_DBT).unlink(missing_ok=True)
        command = [
            *arguments,
            "--project-dir",
            str(project_folder()),
            "--profiles-dir",
            str(project_folder()),
            "--target-path",
            str(paths.dbt_target),
            "--log-path",
            str(paths.logs),
            "--log-level",
            "none",
            "--log-level-file",
            "none",
            "--vars",
            json.dumps(
                {
                    "cohort_groups": cohort_groups(),
                    "pathway_switches": switches,
                    "pathway_switches_stated": stated(switches),
                    **(variables or {}),
                }
            ),
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            outcome = dbtRunner(manifest=parsed).invoke(command)
        if parsed is None:
            _keep_parsed(settings, database, target)
    finally:
        sys.argv = called
        _close_adapter()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return _summary(outcome)


def models_by_person(settings: Settings, schema: str) -> list[str]:
    """Tables of a schema that a delivery changes for the people it touches alone, as a home knew them last."""
    manifest = json.loads((settings.paths.dbt_target / "manifest.json").read_text(encoding="utf-8"))
    return sorted(
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and node["schema"] == schema
        and node["config"]["materialized"] == "incremental"
    )


def _parsed(settings: Settings, database: Path, target: str) -> Any:
    """The project as dbt parsed it for an earlier command, or nothing: parsing takes longer than a small build.

    What is parsed depends on the project's files and on the database's name; values of variables are read when a model
    runs. dbt's own cache asks for the same variables too, and every new day is another.
    """
    path = _parsed_file(settings, database, target)
    if not path.exists():
        return None
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    try:
        manifest = Manifest.from_msgpack(path.read_bytes(), decoder=extended_mashumuro_decoder)
        manifest.build_flat_graph()
    except Exception:
        return None
    return manifest


def _keep_parsed(settings: Settings, database: Path, target: str) -> None:
    """Keep what dbt has just parsed, in place of what was kept of an earlier state of the project."""
    made = settings.paths.dbt_target / _MADE_BY_DBT
    kept = _parsed_file(settings, database, target)
    if not made.exists():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    for stale in kept.parent.glob(f"{_kept_as(database, target)}-*.msgpack"):
        if settings.parse_cache is None:
            stale.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a full disk costs the cache, not the build
        beside = kept.with_suffix(f".{os.getpid()}")
        beside.write_bytes(made.read_bytes())
        os.replace(beside, kept)


def _kept_as(database: Path, target: str) -> str:
    return f"parsed-{target}-{database.stem}"


def _parsed_file(settings: Settings, database: Path, target: str) -> Path:
    folder = settings.parse_cache or settings.paths.dbt_target
    return folder / f"{_kept_as(database, target)}-{_project_hash(project_folder())}.msgpack"


@cache
def _project_hash(project: Path) -> str:
    """Hash of all that a parse depends on: the project's files and place, and the versions of dbt and its adapters."""
    versions = sorted(
        f"{found.name}={found.version}" for found in distributions() if found.name.lower().startswith("dbt")
    )
    digest = hashlib.sha256(json.dumps([versions, str(project), cohort_groups()]).encode())
    for folder in (project, Path(str(files("screening.definitions")))):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".csv", ".yml", ".sql") and "target" not in path.parts:
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _close_adapter() -> None:
    """Let go of the database: the adapter keeps one connection for the life of the process otherwise."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()


def _summary(outcome: Any) -> DbtSummary:
    results = list(getattr(outcome.result, "results", None) or [])
    failed = [result for result in results if str(result.status) in ("error", "fail", "runtime error")]
    if failed or not outcome.success:
        if failed:
            said = "; ".join(f"{result.node.name}: {_first_line(result.message)}" for result in failed[:5])
        else:
            said = _first_line(str(outcome.exception or "dbt stopped"))
        raise TransformError(
            f"the warehouse could not be built ({len(failed) or 1} failed): {said}",
            remedy="the current build is untouched; mend what is named and run `caseness build` again",
        )
    nodes: dict[str, int] = {}
    for result in results:
        kind = str(result.node.resource_type)
        nodes[kind] = nodes.get(kind, 0) + 1
    slowest = sorted(((result.node.name, result.execution_time) for result in results), key=lambda item: -item[1])
    return DbtSummary(nodes, sum(result.execution_time for result in results), slowest[:_SLOWEST])


def _first_line(message: str | None) -> str:
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] if lines else "no message"
