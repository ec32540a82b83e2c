"""Mutated files: every row of a file is admitted or quarantined, or the file is refused whole; nothing else happens."""

from __future__ import annotations

import gzip
import io
import json
import random
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingestion
from caseness.settings import IdentifierPolicy
from ingestion import workers
from tests.fixtures.depth import times
from tests.fixtures.small_service import home_settings

_ROWS = [
    {
        "response_code": f"Q{n}",
        "person_code": f"P{n % 7}",
        "instrument_code": "PHQ-9",
        "item_number": str(1 + n % 9),
        "answer_state": "answered",
        "answer_value": str(n % 4),
        "answered_at": f"2024-03-{1 + n % 28:02d}T09:00:00+01:00",
        "response_status": "completed",
    }
    for n in range(24)
]
_CANARY = "Zwanariel"


def _csv() -> bytes:
    lines = [",".join(_ROWS[0]), *(",".join(row.values()) for row in _ROWS)]
    return ("\n".join(lines) + "\n").encode()


def _quoted() -> bytes:
    lines = [",".join(_ROWS[0]), *(",".join(f'"{value}"' for value in row.values()) for row in _ROWS)]
    return ("\r\n".join(lines) + "\r\n").encode()


def _ndjson() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in _ROWS).encode()


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: [row[name] for row in _ROWS] for name in _ROWS[0]}), sink)
    return bytes(sink.getvalue())


def _responses() -> list[dict[str, object]]:
    codes = ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8")
    return [
        {
            "resourceType": "QuestionnaireResponse",
            "id": f"r{n}",
            "status": "completed",
            "subject": {"reference": f"Patient/p{n}"},
            "authored": "2024-03-01T09:00:00Z",
            "item": [
                {"linkId": f"/44249-1/{code}", "answer": [{"valueCoding": {"code": "LA6570-1"}}]} for code in codes
            ],
        }
        for n in range(4)
    ]


def _fhir_ndjson() -> bytes:
    return "".join(json.dumps(resource) + "\n" for resource in _responses()).encode()


def _bundle() -> bytes:
    entries = [{"resource": resource} for resource in _responses()]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/questionnaire_answers.csv", _csv())
        archive.writestr("inner/questionnaire_answers_2.ndjson", _ndjson())
    return packed.getvalue()


KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "csv": ("questionnaire_answers.csv", _csv),
    "csv-quoted": ("questionnaire_answers.csv", _quoted),
    "csv-gz": ("questionnaire_answers.csv.gz", lambda: gzip.compress(_csv(), mtime=0)),
    "ndjson": ("questionnaire_answers.ndjson", _ndjson),
    "parquet": ("questionnaire_answers.parquet", _parquet),
    "fhir-ndjson": ("QuestionnaireResponse.ndjson", _fhir_ndjson),
    "fhir-bundle": ("Bundle.json", _bundle),
    "zip": ("export.zip", _zip),
}
_TOKENS = [
    b'"', b",", b"\n", b"\r\n", b"\r", b"\0", b"{", b"}", b"[", b"]", b":", b"\\", b"\xff\xfe", b"\xef\xbb\xbf",
    b"null", b"true", b"-1", b"1e999", b"99999999999999999999", b"NaN", b"\xc3\x28", b"'; drop table raw; --",
    b"=cmd()", "９".encode(), b'{"a":', b"a" * 70_000, b"2024-02-30", b"0024-01-01", _CANARY.encode(),
]  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one to eight faults: bytes flipped, cut, doubled, moved, or replaced by hostile ones."""
    body = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(body) + 1)
        kind = chance.randrange(7)
        if kind == 0 and body:
            body[at % len(body)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del body[at : at + chance.randint(1, 40)]
        elif kind == 2:
            body[at:at] = chance.choice(_TOKENS)
        elif kind == 3:
            piece = bytes(body[at : at + chance.randint(1, 200)])
            body[at:at] = piece * chance.randint(1, 3)
        elif kind == 4:
            del body[at:]
        elif kind == 5:
            body[at : at + chance.randint(0, 9)] = chance.choice(_TOKENS)
        else:
            body[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 6)))
    return bytes(body)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_lose_nothing_and_break_nothing(kind: str, tmp_path: Path) -> None:
    name, make = KINDS[kind]
    chance, count = random.Random(f"fuzz {kind}"), times(60, deep=2500)
    settings = home_settings(tmp_path / "home", identifiers=IdentifierPolicy.DROP, file_memory_limit_megabytes=512)
    content, streams = make(), ingestion.raw_streams()
    statuses: Counter[str] = Counter()
    for start in range(0, count, 250):
        folder = tmp_path / f"in_{start}"
        for number in range(start, min(start + 250, count)):
            path = folder / f"f{number}" / name
            path.parent.mkdir(parents=True)
            path.write_bytes(mutated(content, chance))
        began = time.monotonic()
        report = ingestion.ingest([folder], settings=settings).as_dict()
        assert time.monotonic() - began < 10 * min(250, count)
        assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
        for source in report["sources"]:
            for file in source["files"]:
                statuses[file["status"]] += 1
                assert file["rows_in"] == file["rows_admitted"] + file["rows_quarantined"], file
                assert file["status"] != "refused" or (file["rows_admitted"], file["rows_landed"]) == (0, {})
        bad = [p for p in report["problems"] if p["rule"] in ("reader_failed", "reader_died", "memory_limit")]
        assert bad == []
        assert _CANARY not in json.dumps(report)
    ingestion.reconcile(settings, is_deep=True)
    landed = sum(
        pq.ParquetFile(part).metadata.num_rows for p in ingestion.landed_parts(settings).values() for part in p
    )
    stated = sum(
        part["rows"]
        for entry in ingestion.manifest_entries(settings)
        if entry["load_status"] == "loaded"
        for part in entry["parts"].values()
    )
    assert landed == stated
    assert ingestion.raw_streams() == streams
    assert max((child.peak_bytes for child in workers._WARM), default=0) < 512 << 20
    assert statuses["refused"] and (statuses["loaded"] or kind in ("csv-gz", "parquet", "zip"))
