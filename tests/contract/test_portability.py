"""Every model compiles to SQL that Spark can parse too, reads alike, and holds no clinical number."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from caseness.dbt_runner import project_folder, run_dbt
from caseness.settings import Settings
from screening.definitions import definitions

MODELS = sorted((project_folder() / "models").rglob("*.sql"))
_ENGINE_WORDS = re.compile(
    r"::|\bfilter\s*\(|\bqualify\b|group by all|\bexclude\s*\(|\barg_(min|max)\s*\(|"
    r"\bdate_diff\s*\(|\blist_\w+\(|\bcurrent_date\b",
    re.IGNORECASE,
)
_ALLOWED = {"0", "1", "7", "7.0", "100.0"}  # nothing, one, days of a week, percent


def _bare(path: Path) -> str:
    """The model's SQL without Jinja, comments, texts and type lengths."""
    text = re.sub(r"\{[#%{].*?[#%}]\}", " ", path.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"--.*", " ", text)
    text = re.sub(r"'[^']*'", " ", text)
    return re.sub(r"varchar\(\d+\)|decimal\(\d+, ?\d+\)", " ", text)


@cache
def _manifest(folder: str) -> dict[str, Any]:
    settings = Settings(home=Path(folder))
    settings.paths.temporary.mkdir(parents=True, exist_ok=True)
    run_dbt(["parse"], database=settings.paths.temporary / "none.duckdb", settings=settings)
    body: dict[str, Any] = json.loads((settings.paths.dbt_target / "manifest.json").read_text(encoding="utf-8"))
    return body


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _manifest(str(tmp_path_factory.mktemp("manifest")))


def test_every_model_parses_as_spark(tmp_path: Path) -> None:
    """Compiled for the cluster: dispatched macros give Spark's functions, the rest must be common SQL."""
    settings = Settings(home=tmp_path)
    settings.paths.temporary.mkdir(parents=True)
    run_dbt(
        ["compile", "--no-populate-cache", "--no-introspect"],
        database=settings.paths.temporary / "none.duckdb",
        settings=settings,
        target="cluster",
    )
    compiled = sorted((settings.paths.dbt_target / "compiled").rglob("models/**/*.sql"))
    assert len(compiled) == len(MODELS)
    for path in compiled:
        text = path.read_text(encoding="utf-8")
        assert sqlglot.parse_one(text, read="spark", error_level=sqlglot.ErrorLevel.RAISE), path.name
        assert not re.search(r"\b(arg_max|arg_min|date_diff)\s*\(|//", re.sub(r"--.*", "", text)), path.name


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_models_read_alike(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.rstrip().endswith("select * from final")
    assert not _ENGINE_WORDS.search(_bare(path)), _ENGINE_WORDS.search(_bare(path))
    if "source(" in text:
        assert path.parent.name == "staging"
    prefix = {"staging": "stg_", "intermediate": "int_"}.get(path.parent.name)
    assert prefix is None or path.name.startswith(prefix)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_models_hold_no_clinical_number(path: Path) -> None:
    numbers = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", _bare(path)))
    assert numbers <= _ALLOWED, numbers - _ALLOWED


def test_every_model_says_what_one_row_is(manifest: dict[str, Any]) -> None:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) == len(MODELS)
    assert [node["name"] for node in models if not node["description"].startswith("One row per")] == []
    marts = [node for node in models if node["schema"] == "marts"]
    assert [node["name"] for node in marts if not node["contract"]["enforced"]] == []


def test_definitions_carry_version_and_source() -> None:
    folder = project_folder().parent / "screening" / "definitions"
    for path in sorted(folder.glob("*.csv")):
        for row in definitions(path.stem):
            assert row["source"], path.name
            if path.stem != "measure_benchmarks":
                assert int(row["definition_version"]) >= 1, path.name
