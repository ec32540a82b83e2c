"""Licensed value-set expansions, which are not shipped: checked strictly, kept in ``value_sets/`` of the home.

A file is one value set or several: CSV with the columns of ``value_set_members.csv``, a FHIR ValueSet with its
expansion, or the workbook in which the Value Set Authority Center (VSAC) gives one out. Each set lands as one CSV of
its own, named by its OID (its name where it has none).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

import ingestion
from caseness import warehouse
from caseness.errors import RefusedInputError, UsageError
from caseness.settings import Settings
from ingestion.files import SourceFile
from ingestion.problems import RefusedFile
from screening.definitions import definition_names, definitions

COLUMNS = ("value_set", "oid", "code_system", "code", "version", "source")
_OPTIONAL = {"source"}
_LARGEST_BYTES = 64 << 20
_MOST_CODES = 1_000_000
_FORMS = {
    "value_set": re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,.:/()&'_-]{0,119}"),
    "oid": re.compile(r"([0-2](\.[0-9]{1,20}){2,30})?"),
    "code_system": re.compile(r"[a-z][a-z0-9_]{1,39}"),
    "code": re.compile(r"[A-Za-z0-9][A-Za-z0-9./^-]{0,39}"),
    "version": re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:-]{0,39}"),
    "source": re.compile(r"[^\x00-\x1f]{0,200}"),
}
_OID_URL = re.compile(r"(?:urn:oid:|.*/ValueSet/)([0-2](?:\.[0-9]+){2,})$")
_SYSTEMS = {
    "http://snomed.info/sct": "snomed_ct",
    "http://loinc.org": "loinc",
    "http://hl7.org/fhir/sid/icd-10-cm": "icd_10_cm",
    "http://hl7.org/fhir/sid/icd-10": "icd_10",
    "http://hl7.org/fhir/sid/icd-9-cm": "icd_9_cm",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "rxnorm",
    "http://www.ama-assn.org/go/cpt": "cpt",
    "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "hcpcs",
    "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "hcpcs",
    "http://hl7.org/fhir/sid/cvx": "cvx",
}
# Code systems by the names VSAC gives them, letters and digits alone.
_VSAC_SYSTEMS = {
    "SNOMEDCT": "snomed_ct",
    "LOINC": "loinc",
    "ICD10CM": "icd_10_cm",
    "ICD10": "icd_10",
    "ICD9CM": "icd_9_cm",
    "ICD10PCS": "icd_10_pcs",
    "RXNORM": "rxnorm",
    "CPT": "cpt",
    "CPTCATII": "cpt",
    "HCPCS": "hcpcs",
    "HCPCSLEVELII": "hcpcs",
    "CVX": "cvx",
    "ACTCODE": "hl7_act_code",
}
_VSAC_FACTS = {"Value Set Name": "value_set", "OID": "oid", "Definition Version": "version"}
_VSAC_COLUMNS = {"Code": "code", "Code System": "code_system"}
_WHOLE_NUMBERS = {"snomed_ct", "rxnorm"}  # their codes are whole numbers that begin with no zero
_DIGITS_OF_A_NUMBER = 15  # that a spreadsheet keeps
Row = dict[str, str]


@dataclass(frozen=True)
class ValueSet:
    """One set that is loaded."""

    value_set: str
    oid: str
    version: str
    codes: int
    sha256: str


def load(paths: Sequence[Path], *, settings: Settings) -> dict[str, Any]:
    """Load every set of the files, all or none. A set of the same name and OID replaces the one before it."""
    sets: dict[str, list[Row]] = {}
    for path in paths:
        for row in _rows(path):
            sets.setdefault(_file_name(row), []).append(row)
    contents = {}
    for name, rows in sorted(sets.items()):
        if len({(row["value_set"], row["version"]) for row in rows}) > 1:
            raise _refused(name, "holds two names or two versions of one value set", "load one version at a time")
        contents[name] = _content(rows)
    loaded, known = [], []
    for name, content in contents.items():
        path = settings.paths.value_sets / f"{name}.csv"
        if path.exists() and path.read_bytes() == content:
            known.append(name)
            continue
        ingestion.write_sealed(settings, path, content, event="value_set", value_set=name, codes=len(sets[name]))
        loaded.append(name)
    return {"loaded": loaded, "already_loaded": known, "value_sets": [vars(item) for item in listed(settings)]}


def listed(settings: Settings) -> list[ValueSet]:
    """Every set that is loaded, in name order."""
    found = []
    for path in _files(settings):
        content = path.read_bytes()
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
        first = rows[0]
        digest = hashlib.sha256(content).hexdigest()
        found.append(ValueSet(first["value_set"], first["oid"], first["version"], len(rows), digest))
    return sorted(found, key=lambda item: (item.value_set, item.oid))


def seal(settings: Settings) -> str:
    """One hash over all that is loaded; a build under other value sets is another build."""
    digest = hashlib.sha256()
    for path in _files(settings):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def create_raw_table(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make ``raw.value_set_members``: what is shipped and what is loaded; a loaded set replaces a shipped one."""
    loaded = [row for path in _files(settings) for row in csv.DictReader(path.open(encoding="utf-8", newline=""))]
    replaced = {_file_name(row) for row in loaded}
    shipped = definitions("value_set_members") if "value_set_members" in definition_names() else []
    rows = [row for row in shipped if _file_name(row) not in replaced] + loaded
    frame = pl.DataFrame(
        [{name: row.get(name) or None for name in COLUMNS} for row in rows], schema=dict.fromkeys(COLUMNS, pl.String)
    )
    connection.register("value_sets_given", frame.to_arrow())
    connection.execute(f"create schema if not exists {warehouse.RAW_SCHEMA}")
    connection.execute("create or replace table raw.value_set_members as select * from value_sets_given")
    connection.unregister("value_sets_given")


def _file_name(row: Row) -> str:
    """The OID, or the name as a file may be called."""
    return row["oid"] or re.sub(r"[^a-z0-9]+", "_", row["value_set"].lower()).strip("_")


def _files(settings: Settings) -> list[Path]:
    folder = settings.paths.value_sets
    return sorted(folder.glob("*.csv")) if folder.is_dir() else []


def _refused(where: str, what: str, remedy: str) -> RefusedInputError:
    return RefusedInputError(f"{where} {what}; nothing was loaded", remedy=remedy)


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise UsageError(f"there is no file {path.name!r}", remedy="check the path")
    if path.stat().st_size > _LARGEST_BYTES:
        raise _refused(path.name, "is larger than a value set can be", "load the sets one by one")
    if path.suffix.lower() == ".xlsx":
        placed = _vsac_rows(path)
    else:
        rows = _fhir_rows(path.name, _text(path)) if path.suffix == ".json" else _csv_rows(path.name, _text(path))
        placed = [(f"{path.name}, code {number}", row) for number, row in enumerate(rows, start=1)]
    if not placed:
        raise _refused(path.name, "holds no code", "export the expansion, not the definition")
    if len(placed) > _MOST_CODES:
        raise _refused(path.name, "holds more codes than a value set can", "load the sets one by one")
    return [_checked(where, row) for where, row in placed]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path.name, "is not UTF-8", "export it as UTF-8") from error


def _csv_rows(name: str, text: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise _refused(name, "is not readable CSV", "export it as comma-separated values") from error
    given = set(reader.fieldnames or ())
    if given - set(COLUMNS) or set(COLUMNS) - given - _OPTIONAL or len(given) != len(reader.fieldnames or ()):
        raise _refused(name, "has other columns than a value set", f"write the columns {', '.join(COLUMNS[:-1])}")
    if any(None in row or None in row.values() for row in rows):
        raise _refused(name, "has a row with too many or too few fields", "export it again")
    return rows


def _fhir_rows(name: str, text: str) -> list[Row]:
    try:
        body = json.loads(text)
        if body["resourceType"] != "ValueSet":
            raise ValueError
        match = _OID_URL.match(str(body.get("url", "")))
        oid = match[1] if match else ""
        title = str(body.get("title") or body.get("name") or "")
        version = str(body.get("version") or body["expansion"].get("timestamp", "")[:10])
        known = definitions("code_systems") if "code_systems" in definition_names() else ()
        systems = _SYSTEMS | {row["fhir_url"]: row["code_system"] for row in known}
        return [
            {
                "value_set": title,
                "oid": oid,
                "code_system": systems.get(item["system"], item["system"]),
                "code": item["code"],
                "version": version,
                "source": "FHIR expansion",
            }
            for item in _contained(body["expansion"].get("contains", ()))
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(
            name, "is not a FHIR ValueSet with its expansion", "use $expand, then load the answer"
        ) from error


def _contained(items: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for item in items:
        if "code" in item and not item.get("abstract", False):
            yield item
        yield from _contained(item.get("contains", ()))


def _vsac_rows(path: Path) -> list[tuple[str, Row]]:
    """The codes of a workbook, each with its place: one table, and rows above it or elsewhere that say of which set."""
    from ingestion.spreadsheets import StoredNumber, read_sheets  # openpyxl is slow to load, and few files need it

    facts: Row = {}
    header: dict[str, int] = {}
    table = 0
    codes: list[tuple[str, Row]] = []
    try:
        for sheet, number, texts in read_sheets(SourceFile(path, path.name), limit_bytes=_LARGEST_BYTES):
            where = f"{path.name}, sheet {sheet}, row {number}"
            names = [(text or "").strip() for text in texts]
            if set(_VSAC_COLUMNS) <= set(names):
                if header:
                    raise _refused(where, "begins a second table of codes", "load the sets one by one")
                table, header = sheet, {column: names.index(name) for name, column in _VSAC_COLUMNS.items()}
            elif sheet == table:
                row = {column: _cell(names, place) for column, place in header.items()}
                row["code_system"] = _vsac_system(where, row["code_system"])
                if isinstance(_cell(texts, header["code"]), StoredNumber) and not _is_kept_by_a_number(row):
                    what = "holds a number, which keeps neither the zeros a code begins with nor all its digits"
                    raise _refused(f"{where}, Code", what, "load the workbook as VSAC gives it out, its codes as text")
                codes.append((where, row))
            elif (column := _VSAC_FACTS.get(names[0])) and facts.setdefault(column, _cell(names, 1)) != _cell(names, 1):
                raise _refused(where, f"says another {names[0]} than a row before", "load one value set at a time")
    except RefusedFile as refusal:
        where = path.name if refusal.row is None else f"{path.name}, row {refusal.row}"
        raise _refused(where, f"is no workbook to load: {refusal.message}", refusal.remedy) from refusal
    lacking = [name for name, column in _VSAC_FACTS.items() if not facts.get(column)]
    lacking += [] if header else list(_VSAC_COLUMNS)
    if lacking:
        raise _refused(path.name, f"does not say {', '.join(lacking)}", "load the workbook as VSAC gives it out")
    return [(where, {**facts, **row, "source": "VSAC expansion"}) for where, row in codes]


def _cell(texts: Sequence[str | None], place: int) -> str:
    return (texts[place] or "") if place < len(texts) else ""


def _vsac_system(where: str, name: str) -> str:
    system = _VSAC_SYSTEMS.get(re.sub(r"[^A-Z0-9]", "", name.upper()))
    if system is None:
        known = ", ".join(_VSAC_SYSTEMS)
        raise _refused(f"{where}, Code System", "names no code system that is known", f"known are {known}")
    return system


def _is_kept_by_a_number(row: Row) -> bool:
    """Whether a code comes out of a number as it went in: no zero before it, no digit too many."""
    return row["code_system"] in _WHOLE_NUMBERS and len(row["code"]) <= _DIGITS_OF_A_NUMBER


def _checked(where: str, row: Row) -> Row:
    checked = {column: (row.get(column) or "").strip() for column in COLUMNS}
    for column, form in _FORMS.items():
        if not form.fullmatch(checked[column]):
            names = sorted({row["code_system"] for row in definitions("code_systems")})
            known = f"; code systems: {', '.join(names)}" if column == "code_system" else ""
            raise _refused(where, f"has no valid {column}", "correct it at its source, load it again" + known)
    return checked


def _content(rows: list[Row]) -> bytes:
    unique = sorted({tuple(row[column] for column in COLUMNS) for row in rows})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(unique)
    return text.getvalue().encode()
