"""Archives that would do harm: bombs, names that lead out, links, doubles. Refused within limits, nothing written."""

from __future__ import annotations

import io
import json
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import ingestion
from caseness.settings import Settings
from tests.fixtures.small_service import home_settings, snapshot

_CSV = b"person_code,local_date,device_kind,steps\nW1,2024-03-01,watch,5000\n"
_NAME = "wearable_daily.csv"


def _packed(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return sink.getvalue()


def _named(name: str) -> bytes:
    """An archive whose member has exactly this name, whatever the library would make of it."""
    shorter = _packed(("x" * len(name.encode()), _CSV))
    return shorter.replace(b"x" * len(name.encode()), name.encode())


def _link() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        entry = zipfile.ZipInfo(_NAME)
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/hostname")
    return sink.getvalue()


def _lying_size(*, stated: int) -> bytes:
    packed = bytearray(_packed((_NAME, _CSV * 2000)))
    central = packed.rindex(b"PK\x01\x02")
    struct.pack_into("<I", packed, central + 24, stated)
    return bytes(packed)


def _encrypted() -> bytes:
    packed = bytearray(_packed((_NAME, _CSV)))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + at] |= 1
    return bytes(packed)


def _wrong_checksum() -> bytes:
    packed = bytearray(_packed((_NAME, _CSV), method=zipfile.ZIP_STORED))
    packed[packed.index(b"W1,2024") + 1] ^= 1
    return bytes(packed)


def _overlapping() -> bytes:
    """Two names over the same bytes: the second central entry points at the first member's data."""
    packed = bytearray(_packed(("wearable_daily_a.csv", _CSV), ("wearable_daily_b.csv", _CSV)))
    second = packed.rindex(b"PK\x01\x02")
    struct.pack_into("<I", packed, second + 42, 0)
    return bytes(packed)


def _huge_directory() -> bytes:
    packed = bytearray(_packed((_NAME, _CSV)))
    struct.pack_into("<I", packed, packed.rindex(b"PK\x05\x06") + 12, 1 << 30)
    return bytes(packed)


def _deflate64() -> bytes:
    packed = bytearray(_packed((_NAME, _CSV)))
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", packed, packed.index(mark) + at, 9)
    return bytes(packed)


def _bomb(megabytes: int) -> bytes:
    return _packed((_NAME, b"\0" * (megabytes << 20)))


def _nested(depth: int) -> bytes:
    content = _packed((_NAME, _CSV))
    for level in range(depth):
        content = _packed((f"level_{level}.zip", content))
    return content


# id, bytes, the rule that refuses the archive (None: nothing in it is recognised and nothing is loaded)
HARMFUL: list[tuple[str, Callable[[], bytes], str | None]] = [
    ("bomb-of-200-megabytes", lambda: _bomb(200), "archive_size"),
    ("bomb-of-one-gigabyte", lambda: _bomb(1024), "archive_size"),
    ("many-small-bombs", lambda: _packed(*((f"wearable_daily_{n}.csv", b"0" * (3 << 20)) for n in range(40))),
     "archive_size"),
    ("nested-three-deep", lambda: _nested(3), None),
    ("nested-thirty-deep", lambda: _nested(30), None),
    ("climbs-out", lambda: _named("../../wearable_daily.csv"), "archive_name"),
    ("climbs-out-inside", lambda: _named("a/../../wearable_daily.csv"), "archive_name"),
    ("ends-in-dots", lambda: _named("wearable_daily.csv/.."), "archive_name"),
    ("absolute", lambda: _named("/srv/wearable_daily.csv"), "archive_name"),
    ("drive", lambda: _named("C:\\wearable_daily.csv"), "archive_name"),
    ("drive-with-slash", lambda: _named("C:/wearable_daily.csv"), "archive_name"),
    ("backslashes", lambda: _named("..\\..\\wearable_daily.csv"), "archive_name"),
    ("line-break-in-name", lambda: _named("wearable_daily\n.csv"), "archive_name"),
    ("escape-in-name", lambda: _named("wearable_\x1b[2Jdaily.csv"), "archive_name"),
    ("nul-in-name", lambda: _named("wearable_daily.csv\0.exe"), "archive_name"),
    ("blank-name", lambda: _named("   "), "archive_name"),
    ("the-same-name-twice", lambda: _packed((_NAME, _CSV), (_NAME, _CSV + _CSV)), "archive_name"),
    ("two-names-by-case", lambda: _packed((_NAME, _CSV), (_NAME.upper(), _CSV)), "archive_name"),
    ("link", _link, "archive_link"),
    ("encrypted", _encrypted, "archive_encrypted"),
    ("size-stated-too-small", lambda: _lying_size(stated=10), "archive"),
    ("size-stated-too-great", lambda: _lying_size(stated=(1 << 32) - 2), "archive_size"),
    ("wrong-checksum", _wrong_checksum, "archive"),
    ("overlapping-members", _overlapping, "archive_overlap"),
    ("directory-of-one-gigabyte", _huge_directory, "archive_members"),
    ("unknown-compression", _deflate64, "archive"),
    ("cut-in-half", lambda: _packed((_NAME, _CSV * 500))[: 200], "archive"),
    ("empty", lambda: b"", "archive"),
    ("not-an-archive", lambda: _CSV, "archive"),
    ("only-a-directory-record", lambda: b"PK\x05\x06" + b"\0" * 18, None),
    ("a-deflate-stream-alone", lambda: zlib.compress(_CSV), "archive"),
    ("too-many-members", lambda: _packed(*((f"n{n}.txt", b"") for n in range(20_001))), "archive_members"),
]  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_settings(tmp_path / "home", file_memory_limit_megabytes=512)


@pytest.mark.parametrize(("make", "rule"), [pytest.param(make, rule, id=name) for name, make, rule in HARMFUL])
def test_a_harmful_archive_is_refused_and_nothing_is_written(
    tmp_path: Path, settings: Settings, make: Callable[[], bytes], rule: str | None
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "export.zip").write_bytes(make())
    started = time.monotonic()
    report = ingestion.ingest([folder], settings=settings).as_dict()
    assert time.monotonic() - started < 10
    rules = {problem["rule"] for problem in report["problems"]}
    assert rules == ({rule} if rule else set())
    assert report["rows_admitted"] == 0
    assert not [name for name in snapshot(settings.home) if name.startswith("landing/parts")]
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside <= {"in", "home", "pseudonym.key"}


def test_an_honest_archive_is_read_member_by_member(tmp_path: Path, settings: Settings) -> None:
    delivery = b"source: clinic\nnamespace: clinic\nperiod_end: 2024-03-31\n"
    packed = _packed(
        ("export/wearable_daily.csv", _CSV),
        ("export/delivery.yml", delivery),
        ("export/notes.txt", b"nothing of ours"),
        ("__MACOSX/export/._wearable_daily.csv", b"\0"),
    )
    (tmp_path / "export.zip").write_bytes(packed)
    report = ingestion.ingest([tmp_path / "export.zip"], settings=settings).as_dict()
    assert (report["rows_in"], report["rows_admitted"]) == (1, 1)
    assert report["sources"][0]["source"] == "clinic"
    assert report["files_unrecognised"] == ["export.zip/export/notes.txt"]
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / _NAME).write_bytes(_CSV)
    (loose / "delivery.yml").write_bytes(delivery)
    again = ingestion.ingest([loose], settings=settings).as_dict()
    assert again["files_already_loaded"] == 1, "the same bytes are the same load, packed or not"
    assert "export" not in json.dumps(ingestion.manifest_entries(settings))
