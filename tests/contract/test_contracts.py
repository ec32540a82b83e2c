"""Every stream contract is closed: no type, bound or pattern leaves room for an identifier or a sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from caseness.dbt_runner import project_folder
from ingestion.clinical_codes import code_systems
from ingestion.contracts import LOAD_METADATA, Column, Contract, contracts

CONTRACTS = sorted(contracts())
_CLOSED = {
    "token",
    "enumeration",
    "pattern",
    "time_zone",
    "integer",
    "decimal",
    "date",
    "timestamp",
    "boolean",
    "clinical_code",
}
_FAMILIES = {"people", "care", "outcomes", "app", "wearables", "quality"}
_LARGEST = 999_999  # six digits: no telephone, record or account number fits
# The unit of a column ends its name; a count of steps is its own unit.
_UNIT_ENDINGS = {
    "minutes": "_minutes",
    "seconds": "_seconds",
    "milliseconds": "_milliseconds",
    "days": "_days",
    "beats per minute": "_bpm",
    "metres": "_metres",
    "kilocalories": "_kilocalories",
    "minor units": "_minor_units",
    "percent": "_percent",
    "share": "_share",
    "steps": "steps",
}
_WITHOUT_A_UNIT = re.compile(
    r".*_(count|number|score|value|decile|year)|hierarchy_step|suds_\w+|bat_step_\w+|value_number"
)
# One of each shape, synthetic: reserved telephone ranges, example domains, published test numbers.
IDENTIFIERS = {
    "email": "jane.doe@example.org",
    "telephone": "07700900123",
    "telephone, international": "+447700900123",
    "telephone, American": "202-555-0143",
    "telephone, with dots": "202.555.0143",
    "telephone, seven digits": "5550143",
    "NHS number": "9434765919",
    "NHS number, spaced": "943 476 5919",
    "social security number": "123-45-6789",
    "social security number, plain": "123456789",
    "national insurance number": "QQ123456C",
    "Medicare number": "1EG4TE5MK73",
    "postcode": "M1 1AA",
    "postcode without its space": "M11AA",
    "postcode, longer": "SW1A1AA",
    "postcode, lower case": "sw1a1aa",
    "postcode, six characters": "B338TH",
    "ZIP code": "90210",
    "ZIP+4": "90210-1234",
    "IP address": "192.0.2.17",
    "IP address, version 6": "2001:db8::1",
    "URL": "https://example.org/p/17",
    "UUID": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "IBAN": "GB82WEST12345698765432",
    "card number": "4111111111111111",
    "MAC address": "00:00:5E:00:53:01",
    "name": "Jane Doe",
    "name, lower case": "jane doe",
    "name, capitals": "JANE DOE",
    "birth date": "1980-05-17",
    "birth date, plain": "19800517",
    "sentence": "she said that nothing helps",
}


def _body(stream: str) -> dict[str, Any]:
    path = project_folder().parent / "ingestion" / "contracts" / f"{stream}.yml"
    body: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return body


def _columns() -> list[tuple[Contract, Column]]:
    return [(contract, column) for contract in contracts().values() for column in contract.columns]


def _sources() -> set[str]:
    text = (project_folder() / "models" / "staging" / "_sources.yml").read_text(encoding="utf-8")
    (raw,) = (source for source in yaml.safe_load(text)["sources"] if source["name"] == "raw")
    return {table["name"] for table in raw["tables"]}


def _staging_of(stream: str) -> list[Path]:
    wanted = f"source('raw', '{stream}')"
    folder = project_folder() / "models" / "staging"
    return [path for path in folder.glob("stg_*.sql") if wanted in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("stream", CONTRACTS)
def test_a_contract_states_its_grain_and_its_key(stream: str) -> None:
    contract = contracts()[stream]
    assert contract.stream == stream
    assert contract.version >= 1
    assert contract.description.startswith("One row per ")
    assert contract.key
    assert set(contract.key) <= contract.landed_columns.keys() - LOAD_METADATA.keys()
    needed = {column.landed_name for column in contract.columns if column.is_required}
    assert set(contract.key) <= needed, "a part of the key may be missing"
    names = [column.name for column in contract.columns]
    assert len(names) == len(set(names))
    assert "recorded_at" in names
    assert all(column.description for column in contract.columns)


@pytest.mark.parametrize(
    ("contract", "column"), _columns(), ids=lambda item: getattr(item, "stream", None) or item.name
)
def test_a_column_is_closed(contract: Contract, column: Column) -> None:
    assert column.kind in _CLOSED
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    if column.kind == "enumeration":
        assert column.values
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", value) for value in column.values)
    if column.kind == "pattern":
        assert column.pattern
        assert "." not in re.sub(r"\\\.|\[[^]]*\]", "", column.pattern), "a dot stands for any character"
        assert not re.search(r"[*+]|\{\d+,\}", column.pattern), "a pattern without an upper bound"
    if column.kind == "token":
        assert column.token_kind
        assert column.landed_name
        assert column.landed_name.endswith(("_id", "_token"))
    if column.kind in ("integer", "decimal"):
        assert column.minimum is not None
        assert column.maximum is not None
        assert -_LARGEST <= float(column.minimum) < float(column.maximum) <= _LARGEST
        if column.unit:
            assert column.name.endswith(_UNIT_ENDINGS[column.unit])
        else:
            assert _WITHOUT_A_UNIT.fullmatch(column.name)
    if column.kind == "timestamp":
        assert column.name.endswith("_at")
    if column.kind == "date":
        assert column.name.endswith("_date")
    if column.kind == "boolean":
        assert column.name.startswith(("is_", "has_"))
    if column.kind == "clinical_code":
        (system,) = (other for other in contract.columns if other.name == column.system_column)
        assert system.kind == "enumeration"
        assert set(system.values) <= code_systems().keys()
        assert system.is_required == column.is_required


@pytest.mark.parametrize("shape", sorted(IDENTIFIERS))
def test_no_pattern_admits_an_identifier(shape: str) -> None:
    patterns = {
        (contract.stream, column.name): column.pattern
        for contract, column in _columns()
        if column.pattern and column.landed_name  # the namespace of a link is read and not kept
    }
    assert len(patterns) > 10
    found = [where for where, pattern in patterns.items() if re.fullmatch(pattern, IDENTIFIERS[shape])]
    assert not found


def test_the_shapes_would_be_seen() -> None:
    """The pattern that a problem code once had admitted a postcode."""
    assert re.fullmatch("[A-Z][0-9]{2}[0-9A-Z]{0,2}", IDENTIFIERS["postcode without its space"])


@pytest.mark.parametrize("stream", CONTRACTS)
def test_a_stream_has_a_source_entry_and_a_staging_view(stream: str) -> None:
    assert stream in _sources()
    (path,) = _staging_of(stream)
    family = path.stem.removeprefix("stg_").split("__")[0]
    assert family in _FAMILIES
    selected = re.findall(r"^ {8}(\w+),?$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert selected == list(contracts()[stream].landed_columns), "the view and the contract name the same columns"


@pytest.mark.parametrize("stream", CONTRACTS)
def test_a_contract_holds_no_key_that_nothing_reads(stream: str) -> None:
    body = _body(stream)
    assert body.keys() <= {"stream", "version", "description", "key", "bad_value", "without_code", "columns"}
    known = {
        "name",
        "lands_as",
        "lands_as_type",
        "type",
        "kind",
        "required",
        "values",
        "values_from",
        "min",
        "max",
        "unit",
        "pattern",
        "system_column",
        "namespace_column",
        "kind_column",
        "local_date_as",
        "is_service_date",
        "description",
    }
    for column in body["columns"]:
        assert column.keys() <= known, column["name"]


def test_the_architecture_page_lists_every_stream_with_its_columns() -> None:
    page = (project_folder().parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    text = page.split("## Streams (contracts)")[1].split("\n## ")[0]
    for stream, contract in contracts().items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{stream}` |"))
        missing = [name for name in contract.landed_columns if name not in LOAD_METADATA and f"`{name}`" not in line]
        assert not missing, (stream, missing)
