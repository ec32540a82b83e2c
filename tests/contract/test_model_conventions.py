"""The models' contract with engines and readers: portable SQL, no clinical number in it, and dbt's conventions kept."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from caseness.dbt_runner import project_folder, run_dbt
from caseness.settings import Settings
from tests.fixtures.small_service import home_settings

Manifest = dict[str, Any]
_LAYERS = {
    "staging": r"stg_[a-z]+__[a-z_]+",
    "intermediate": r"int_[a-z_]+",
    "marts": r"(?!stg_|int_|pub_)[a-z_]+",
    "publication": r"(pub|cells|cohort|disclosed)_[a-z_]+",
}
_NOT_PORTABLE = {
    "a cast by ::": r"::",
    "FILTER (": r"\bfilter\s*\(",
    "QUALIFY": r"\bqualify\b",
    "GROUP BY ALL": r"\bgroup\s+by\s+all\b",
    "ORDER BY ALL": r"\border\s+by\s+all\b",
    "EXCLUDE": r"\bexclude\b",
    "select * replace": r"\*\s+replace\s*\(",
}
# Arithmetic, not medicine. What stands here beside 0, 1, 2 and 100.0 is listed with the model it belongs to.
_NUMBERS_ANYWHERE = {"0", "1", "2", "100.0"}
_NUMBERS_LISTED = {
    ("trajectories", "7.0"),  # days in a week
    ("int_scores_valued", "7.0"),  # days in a week
    ("severity_transitions", "7.0"),  # days in a week
    ("app_engagement", "7.0"),  # days in a week
    ("cells_severity_flow", "7"),  # days in a week
    ("referral_groups", "7"),  # days in a week
}
_SETTINGS_OF_TEMPLATES = {("int_people_linked", "rounds")}  # rounds of label propagation, unrolled at compile time


def _compile(home: Path, target: str, *, is_for_touched_people: bool = False) -> Manifest:
    settings: Settings = home_settings(home)
    for folder in settings.paths.folders():
        folder.mkdir(parents=True, exist_ok=True)
    offline = ["--no-introspect", "--no-populate-cache"] if target == "cluster" else []
    run_dbt(
        ["compile", *offline],
        database=settings.paths.temporary / "none.duckdb",
        settings=settings,
        target=target,
        variables={"is_for_touched_people": is_for_touched_people},
    )
    manifest: Manifest = json.loads((settings.paths.dbt_target / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _models(manifest: Manifest) -> dict[str, Manifest]:
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The project compiled for the warehouse."""
    return _compile(tmp_path_factory.mktemp("warehouse") / "home", "warehouse")


@pytest.fixture(scope="module", params=["full", "incremental"])
def cluster_manifest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manifest]:
    """The project compiled for Spark without a cluster: the driver is a stub, relations exist or do not as told."""
    connections = pytest.importorskip("dbt.adapters.spark.connections")
    impl = pytest.importorskip("dbt.adapters.spark.impl")

    def get_relation(adapter: Any, database: str, schema: str, identifier: str) -> Any:
        if request.param == "full":
            return None
        return adapter.Relation.create(database=database, schema=schema, identifier=identifier, type="table")

    with pytest.MonkeyPatch.context() as patch:
        for driver in ("hive", "ThriftState", "THttpClient"):
            patch.setattr(connections, driver, types.SimpleNamespace(), raising=False)
        patch.setattr(impl.SparkAdapter, "get_relation", get_relation)
        home = tmp_path_factory.mktemp("cluster") / "home"
        yield _compile(home, "cluster", is_for_touched_people=request.param == "incremental")


def test_every_model_compiled_for_a_cluster_is_spark_sql(cluster_manifest: Manifest, manifest: Manifest) -> None:
    compiled = _models(cluster_manifest)
    assert compiled.keys() == _models(manifest).keys()
    assert len(compiled) > 40
    for name, node in compiled.items():
        tree = sqlglot.parse_one(node["compiled_code"], read="spark")
        assert isinstance(tree, exp.Query), name
        unknown = {call.name.lower() for call in tree.find_all(exp.Anonymous)}
        assert not unknown, f"{name} calls {unknown}, which Spark does not know"
        for kind in tree.find_all(exp.DataType):
            is_bare = kind.this == exp.DataType.Type.VARCHAR and not kind.expressions
            assert not is_bare, f"{name} casts to varchar without a length"


def test_the_incremental_form_reads_only_the_touched_people(cluster_manifest: Manifest) -> None:
    """The stub decides which branch is compiled; both were, so both were parsed."""
    text = "".join(node["compiled_code"] for node in _models(cluster_manifest).values())
    restricted = text.count("select person_id from intermediate.int_people_touched")
    assert restricted == 0 or restricted > 20


def test_engine_macros_differ_and_nothing_else_does(cluster_manifest: Manifest) -> None:
    """What only DuckDB has must come from macros/engine, which have a Spark twin."""
    for name, node in _models(cluster_manifest).items():
        for call in (r"\barg_max\s*\(", r"\bdate_diff\s*\(", r"//", r"\blist\s*\(", r"\bstruct_pack\s*\("):
            assert not re.search(call, node["compiled_code"]), f"{name} holds {call} on a cluster"


def test_every_model_compiled_for_the_warehouse_parses(manifest: Manifest) -> None:
    for name, node in _models(manifest).items():
        assert isinstance(sqlglot.parse_one(node["compiled_code"], read="duckdb"), exp.Query), name


def _sources() -> list[Path]:
    folder = project_folder()
    found = [
        *(folder / "models").rglob("*.sql"),
        *(folder / "macros").rglob("*.sql"),
        *(folder / "tests").rglob("*.sql"),
    ]
    assert len(found) > 60
    return sorted(found)


def _without_comments_and_texts(sql: str) -> str:
    sql = re.sub(r"\{#.*?#\}", " ", sql, flags=re.DOTALL)
    sql = re.sub(r"--[^\n]*", " ", sql)
    return re.sub(r"'[^']*'", "''", sql)


@pytest.mark.parametrize("what", sorted(_NOT_PORTABLE))
def test_no_source_uses_what_one_engine_has(what: str) -> None:
    for path in _sources():
        found = re.search(
            _NOT_PORTABLE[what], _without_comments_and_texts(path.read_text(encoding="utf-8")), re.IGNORECASE
        )
        assert not found, f"{path.name} uses {what}"


def _numbers(sql: str) -> Iterator[str]:
    for literal in sqlglot.parse_one(sql, read="duckdb").find_all(exp.Literal):
        if not literal.is_string and not literal.find_ancestor(exp.DataType):
            yield literal.this


def test_no_model_holds_a_clinical_number(manifest: Manifest) -> None:
    found = {(name, number) for name, node in _models(manifest).items() for number in _numbers(node["compiled_code"])}
    others = {(name, number) for name, number in found if number not in _NUMBERS_ANYWHERE}
    assert others == _NUMBERS_LISTED


def test_no_text_in_a_model_is_a_number_in_disguise(manifest: Manifest) -> None:
    """``cast('42' as integer)`` would pass the test above."""
    for name, node in _models(manifest).items():
        for literal in sqlglot.parse_one(node["compiled_code"], read="duckdb").find_all(exp.Literal):
            assert not (literal.is_string and re.fullmatch(r"-?\d+(\.\d+)?", literal.this)), name


def test_no_template_sets_a_number() -> None:
    found = set()
    for path in _sources():
        for name in re.findall(r"\{%-?\s*set\s+(\w+)\s*=\s*-?\d", path.read_text(encoding="utf-8")):
            found.add((path.stem, name))
    assert found == _SETTINGS_OF_TEMPLATES


def test_the_number_check_sees_a_threshold() -> None:
    threshold = "select phq9_first >= 10 as is_at_caseness, cast(x as varchar(5)) as y from t"
    assert list(_numbers(threshold)) == ["10"]


def test_every_model_says_what_a_row_is(manifest: Manifest) -> None:
    for name, node in _models(manifest).items():
        assert node["description"].startswith("One row per "), name


def test_names_tell_the_layer(manifest: Manifest) -> None:
    for name, node in _models(manifest).items():
        layer = Path(node["path"]).parts[0]
        assert re.fullmatch(_LAYERS[layer], name), f"{name} in {layer}"
        # A staging model of what check and evaluate wrote lives with the publication that reads it.
        assert node["schema"] == ("publication" if "publication" in node["tags"] else layer), name


def test_only_staging_reads_sources(manifest: Manifest) -> None:
    for name, node in _models(manifest).items():
        reads = [parent for parent in node["depends_on"]["nodes"] if parent.startswith("source.")]
        is_staging = Path(node["path"]).parts[0] == "staging"
        assert bool(reads) == is_staging, name
        assert len(reads) == (1 if is_staging else 0), name
        assert ("source(" in node["raw_code"]) == is_staging, name


def test_layers_only_look_back(manifest: Manifest) -> None:
    order = ["staging", "intermediate", "marts", "publication"]
    models = {node["unique_id"]: order.index(Path(node["path"]).parts[0]) for node in _models(manifest).values()}
    for node in _models(manifest).values():
        for parent in node["depends_on"]["nodes"]:
            if parent in models:
                assert models[parent] <= models[node["unique_id"]], f"{node['name']} reads {parent}"


def test_every_model_ends_with_its_final_step(manifest: Manifest) -> None:
    for name, node in _models(manifest).items():
        assert node["raw_code"].rstrip().splitlines()[-1] == "select * from final", name


def test_every_mart_keeps_a_contract_and_a_key(manifest: Manifest) -> None:
    tested = {
        test["attached_node"]
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test" and (test.get("test_metadata") or {}).get("name") == "unique_key"
    }
    for name, node in _models(manifest).items():
        if Path(node["path"]).parts[0] == "marts":
            assert node["config"]["contract"]["enforced"], name
            assert all(column["data_type"] for column in node["columns"].values()), name
            # A view has the key of the tables it reads; testing it would list all of its rows in every build.
            assert node["unique_id"] in tested or node["config"]["materialized"] == "view", name
