"""Names that mean something to a shell, a pattern, SQL or a terminal: they are names, or the file is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.commands.sql import run_sql
from caseness.settings import Settings
from tests.fixtures.depth import times
from tests.fixtures.small_service import Course, home_settings, write_delivery

_LINE = "W1,2024-03-01,watch,5000"
_HEADER = ["person_code", "local_date", "device_kind", "steps"]
_PIECES = [
    '" from (select 1) t; drop table raw.people; --', "'; drop schema marts cascade; --", "*", "?", "[a-z]", "{a,b}",
    "$(id)", "`id`", "%s%n", "../..", "\\..\\", "a\tb", "\x1b[31m", "é",
    "名前", "\u202egnp.", " ", ".", "-rf", "--home",
    "read_csv('/etc/passwd')", "x" * 180, "NULL", "nan", "1e9", "=cmd|' /C calc'!A0", "<script>alert(1)</script>",
    "{{ var('x') }}", "{% raw %}", "a.b.c", ";", "|", "&&", "\u0000".replace("\0", "%00"), "select", "person_code",
]  # fmt: skip


def _hostile(chance: random.Random) -> str:
    text = "".join(chance.choice(_PIECES) for _ in range(chance.randint(1, 3)))
    return text.replace("/", "_").replace("\n", "_")[:120] or "x"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_settings(tmp_path / "home")


def _schema(settings: Settings) -> object:
    query = (
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        "where table_schema in ('raw', 'staging', 'intermediate', 'marts') order by all"
    )
    return run_sql(query, settings=settings)


def test_hostile_file_column_and_value_names_change_nothing(tmp_path: Path, settings: Settings) -> None:
    ingestion.ingest([write_delivery(tmp_path / "sound", [Course("1")])], settings=settings)
    run_build(settings=settings)
    before = _schema(settings)
    chance, folder = random.Random("names"), tmp_path / "in"
    folder.mkdir()
    files = 0
    for number in range(times(60, deep=500)):
        name, kind = _hostile(chance), number % 4
        header, line = list(_HEADER), _LINE
        if kind == 0:  # in the file's name
            path = folder / f"wearable_daily_{number}.{name}"[:200]
        elif kind == 1:  # a file's name that a pattern would take for others
            path = folder / f"wearable_daily_{number}[{chance.randrange(9)}]*.csv"
        else:
            path = folder / f"wearable_daily_{number}.csv"
        if kind == 2:  # a column's name
            header.append('"' + name.replace('"', '""') + '"')
            line += ",1"
        if kind == 3:  # a category's value
            line = f'W1,2024-03-01,"{name.replace(chr(34), chr(34) * 2)}",5000'
        try:
            path.write_text(",".join(header) + "\n" + line + "\n", encoding="utf-8")
            files += 1
        except OSError:
            continue
    report = ingestion.ingest([folder], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    told = sum(len(source["files"]) for source in report["sources"]) + len(report["files_unrecognised"])
    assert told == files
    assert not [p for p in report["problems"] if p["rule"] in ("reader_failed", "reader_died")]
    stored = json.dumps(ingestion.manifest_entries(settings)) + settings.paths.journal.read_text()
    assert "drop table" not in stored
    assert "passwd" not in stored
    run_build(settings=settings)
    assert _schema(settings) == before


def test_a_file_name_is_never_a_pattern(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["wearable_daily_*.csv", "wearable_daily_a.csv", "wearable_daily_b.csv", "wearable_daily_[ab].csv"]
    for number, name in enumerate(names):
        line = f"W{number},2024-03-01,watch,5000"
        (folder / name).write_text(",".join(_HEADER) + "\n" + line + "\n", encoding="utf-8")
    report = ingestion.ingest([folder / names[0]], settings=settings).as_dict()
    assert report["rows_in"] == 1 or report["files_unrecognised"] == [names[0]]
