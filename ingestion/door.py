"""The door: a file is recognised, read strictly, checked against its contract, pseudonymised and landed, or refused."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from caseness import journal
from caseness.errors import UsageError
from caseness.settings import Deidentification, IdentifierPolicy, Settings
from ingestion import identifier_gate, landing, reading
from ingestion.casting import cast, empty_problems
from ingestion.contracts import Contract, contracts
from ingestion.delivery import FILE_NAME, Delivery, check_name, read_delivery
from ingestion.problems import Problem, RefusedFile
from ingestion.pseudonyms import Pseudonymiser, create_key, read_key
from ingestion.reading import ROW_NUMBER
from ingestion.sources.fhir import reader as fhir
from screening.definitions import definitions

Progress = Callable[[str], None]
_COMPARE: dict[str, Callable[[pl.Expr, float], pl.Expr]] = {
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
}


@dataclass
class FileReport:
    """What happened to one file."""

    file: str
    source: str
    namespace: str
    status: str  # loaded, already_loaded, refused
    load_id: str
    rows_in: int = 0
    rows_admitted: int = 0
    rows_quarantined: int = 0
    fields_made_missing: int = 0
    fields_never_read: dict[str, int] = field(default_factory=dict)
    rows_landed: dict[str, int] = field(default_factory=dict)
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    positive_risk_items_held_back: int = 0


@dataclass
class IngestReport:
    """What happened to a delivery: rows in = rows admitted + rows quarantined, file by file and source by source."""

    files: list[FileReport] = field(default_factory=list)
    files_unrecognised: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def _sum(self, name: str) -> int:
        return sum(int(getattr(file, name)) for file in self.files)

    def _count(self, status: str) -> int:
        return sum(file.status == status for file in self.files)

    @property
    def files_refused(self) -> int:
        """Files of which nothing was loaded."""
        return self._count("refused")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        by_rule: Counter[str] = Counter()
        sources: dict[tuple[str, str], list[FileReport]] = {}
        for file in self.files:
            by_rule.update(file.quarantined_by_rule)
            sources.setdefault((file.source, file.namespace), []).append(file)
        return {
            "rows_in": self._sum("rows_in"),
            "rows_admitted": self._sum("rows_admitted"),
            "rows_quarantined": self._sum("rows_quarantined"),
            "files_loaded": self._count("loaded"),
            "files_already_loaded": self._count("already_loaded"),
            "files_refused": self.files_refused,
            "files_unrecognised": self.files_unrecognised,
            "fields_made_missing": self._sum("fields_made_missing"),
            "quarantined_by_rule": dict(sorted(by_rule.items())),
            "positive_risk_items_held_back": self._sum("positive_risk_items_held_back"),
            "sources": [
                {
                    "source": source,
                    "namespace": namespace,
                    "rows_in": sum(file.rows_in for file in group),
                    "rows_admitted": sum(file.rows_admitted for file in group),
                    "rows_quarantined": sum(file.rows_quarantined for file in group),
                    "rows_landed": dict(sum((Counter(file.rows_landed) for file in group), Counter())),
                    "files": [vars(file) for file in group],
                }
                for (source, namespace), group in sorted(sources.items())
            ],
            "problems": [problem.as_dict() for problem in self.problems],
        }


@dataclass(frozen=True)
class _Recognised:
    path: Path
    label: str
    format: str  # caseness or fhir
    form: str  # csv, ndjson, parquet, json
    stream: str | None
    delivery: Delivery

    @property
    def source(self) -> str:
        return self.delivery.source or self.format

    @property
    def namespace(self) -> str:
        return self.delivery.namespace or self.source


@cache
def _own_file_names() -> re.Pattern[str]:
    text = files("ingestion.sources.caseness").joinpath("source.yml").read_text(encoding="utf-8")
    return re.compile(yaml.safe_load(text)["file_names"].format(streams="|".join(sorted(contracts()))))


def _files_in(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
                if file.is_file() and not file.is_symlink() and not hidden and file.name != FILE_NAME:
                    yield file, str(file.relative_to(path))
        elif path.is_file():
            yield path, path.name
        else:
            raise UsageError(f"there is no file or folder {path.name!r}", remedy="check the path")


def ingest(
    paths: Sequence[Path],
    *,
    settings: Settings,
    person: str | None = None,
    namespace: str | None = None,
    source: str | None = None,
    time_zone: str | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Land every file under ``paths``; a refused file never stops the others.

    Raises ``DamagedHomeError`` when receipts, manifest and parts disagree, ``LockedError`` when another process writes.
    """
    if settings.deidentification is Deidentification.EXPERT_DETERMINATION and not settings.expert_report:
        raise UsageError(
            "the profile expert_determination needs the reference of the expert's report",
            remedy="set expert_report in caseness.toml",
        )
    report = IngestReport()
    say = progress or (lambda message: None)
    with journal.exclusive(settings.paths.lock, purpose="ingest"):
        landing.reconcile(settings)
        create_key(settings)
        pseudonymiser = Pseudonymiser(read_key(settings), settings.project)
        overrides = {
            "person": person,
            "namespace": check_name(namespace, "namespace"),
            "source": check_name(source, "source"),
            "time_zone": time_zone,
        }
        for path, label in _files_in(paths):
            try:
                found = _recognise(path, label, overrides, settings)
            except RefusedFile as refusal:
                report.problems.append(refusal.problem(label))
                report.files.append(FileReport(label, source or "unknown", namespace or "unknown", "refused", ""))
                continue
            if found is None:
                report.files_unrecognised.append(label)
                continue
            say(f"reading {label}")
            _load(found, settings=settings, pseudonymiser=pseudonymiser, report=report)
    return report


def _recognise(path: Path, label: str, overrides: dict[str, str | None], settings: Settings) -> _Recognised | None:
    match = _own_file_names().match(path.name)
    limit = settings.file_size_limit_megabytes << 20
    delivery = read_delivery(path.parent).with_overrides(**overrides)
    if match and not (match["form"] == "parquet" and match["gz"]):
        return _Recognised(path, label, "caseness", match["form"], match["stream"], delivery)
    name = re.search(str(fhir.source()["file_names"]), path.name)
    if name and fhir.is_fhir(path, limit_bytes=limit):
        return _Recognised(path, label, "fhir", name["form"], None, delivery)
    return None


def _contract_version(found: _Recognised) -> int:
    streams = [found.stream] if found.stream else list(contracts())
    return max(contracts()[stream].version for stream in streams if stream)


def _load(found: _Recognised, *, settings: Settings, pseudonymiser: Pseudonymiser, report: IngestReport) -> None:
    sha256 = landing.sha256_of(found.path)
    version = _contract_version(found)
    load_id = landing.load_id_of(
        sha256,
        source=found.source,
        namespace=found.namespace,
        contract_version=f"{found.format}.{version}.{found.stream or 'all'}.{found.delivery.person or ''}",
    )
    file = FileReport(found.label, found.source, found.namespace, "loaded", load_id)
    report.files.append(file)
    entry_path = settings.paths.manifest / f"{load_id}.json"
    if entry_path.exists():
        known = next(e for e in landing.manifest_entries(settings) if e["load_id"] == load_id)
        if known["load_status"] == "loaded":
            file.status = "already_loaded"
            return
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)
    loading = _Loading(found, file, settings, pseudonymiser, found.delivery.delivered_at or now)
    writer = landing.PartWriter(settings, source=found.source, load_id=load_id)
    parts: dict[str, int] = {}
    try:
        for stream, frame in loading.run():
            writer.write(stream, frame)
        loading.finish()
        names = writer.commit()
        parts = {name: writer.rows[name.split("/")[0]] for name in names}
        file.rows_landed = dict(sorted(writer.rows.items()))
    except RefusedFile as refusal:
        writer.discard()
        loading.refuse()
        report.problems.append(refusal.problem(found.label))
    except BaseException:
        writer.discard()
        raise
    quarantine = landing.write_quarantine(settings, load_id, loading.quarantine_rows())
    landing.commit_entry(
        settings,
        {
            "load_id": load_id,
            "load_status": file.status,
            "source_name": found.source,
            "namespace": found.namespace,
            "format": found.format,
            "stream": found.stream or "several",
            "file_label": Path(found.label).suffix.lstrip(".") or "file",
            "source_file_sha256": sha256,
            "contract_version": version,
            "deidentification": settings.deidentification.value,
            "period_start": found.delivery.period_start,
            "period_end": found.delivery.period_end,
            "delivered_at": loading.delivered_at.isoformat(timespec="seconds"),
            "loaded_at": now.isoformat(timespec="seconds"),
            "rows_in": file.rows_in,
            "rows_admitted": file.rows_admitted,
            "rows_quarantined": file.rows_quarantined,
            "quarantined_by_rule": file.quarantined_by_rule,
            "positive_risk_items_held_back": file.positive_risk_items_held_back,
            "parts": parts,
            "quarantine": quarantine,
        },
    )


class _Loading:
    """One file on its way in: counts, faults and typed frames."""

    def __init__(
        self,
        found: _Recognised,
        file: FileReport,
        settings: Settings,
        pseudonymiser: Pseudonymiser,
        delivered_at: dt.datetime,
    ) -> None:
        self._found = found
        self._file = file
        self._settings = settings
        self._pseudonymiser = pseudonymiser
        self.delivered_at = delivered_at
        self._limit = settings.file_size_limit_megabytes << 20
        self._faults: list[pl.DataFrame] = []
        self._outside: Counter[str] = Counter()
        self._positive_risk_seen = 0

    def run(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Typed, admitted rows by stream."""
        if self._found.format == "fhir":
            yield from self._run_fhir()
        else:
            yield from self._run_own()

    def finish(self) -> None:
        """What can only be judged once the whole file has been read."""
        if self._outside and self._settings.identifiers is IdentifierPolicy.REFUSE:
            counts = ", ".join(f"{name}: {count}" for name, count in sorted(self._outside.items()))
            raise RefusedFile(
                "identifier_fields",
                f"the file carries fields that identify people or hold free text ({counts})",
                remedy="leave these fields out, or set identifiers = 'drop' so that they are never read",
            )
        announced = self._found.delivery.row_count.get(self._found.path.name)
        if announced is not None and announced != self._file.rows_in:
            raise RefusedFile(
                "row_count",
                f"{FILE_NAME} announces {announced} rows, the file holds {self._file.rows_in}",
                remedy="send the file again, whole",
            )
        self._file.fields_never_read = dict(sorted(self._outside.items()))

    def refuse(self) -> None:
        """Turn the counts into those of a refused file: every row of it is quarantined."""
        file = self._file
        counted = reading.count_rows(self._found.path, self._found.form, limit_bytes=self._limit)
        file.rows_in = max(file.rows_in, counted) if self._found.form != "json" else max(file.rows_in, 1)
        file.status = "refused"
        file.rows_admitted = 0
        file.rows_quarantined = file.rows_in
        file.rows_landed = {}
        file.fields_made_missing = 0
        file.quarantined_by_rule = {"file_refused": file.rows_in} if file.rows_in else {}
        file.positive_risk_items_held_back = self._positive_risk_seen
        self._faults = []

    def quarantine_rows(self) -> pl.DataFrame:
        """Positions and rules of everything that was not admitted as sent."""
        faults = pl.concat(self._faults) if self._faults else pl.DataFrame()
        if faults.is_empty():
            return faults
        return faults.with_columns(
            pl.lit(self._file.load_id).alias("load_id"), pl.lit(self._found.source).alias("source_name")
        )

    def _run_own(self) -> Iterator[tuple[str, pl.DataFrame]]:
        found = self._found
        contract = contracts()[found.stream or ""]
        frames: Iterator[pl.DataFrame]
        names = {column.name for column in contract.columns}
        if found.form == "csv":
            frames = reading.read_csv(found.path, limit_bytes=self._limit, known=names)
        elif found.form == "parquet":
            frames = reading.read_parquet(found.path, limit_bytes=self._limit, known=names)
        else:
            frames = self._ndjson_frames(contract)
        for text in frames:
            self._check_columns(text, contract)
            self._file.rows_in += len(text)
            yield from self._admit({contract.stream: text}, set())

    def _ndjson_frames(self, contract: Contract) -> Iterator[pl.DataFrame]:
        for frame, broken in reading.read_ndjson(self._found.path, limit_bytes=self._limit):
            self._file.rows_in += len(broken)
            self._fault_rows(contract.stream, [(number, "", "invalid_record") for number in broken])
            yield frame

    def _check_columns(self, text: pl.DataFrame, contract: Contract) -> None:
        known = {column.name for column in contract.columns}
        given = set(text.columns) - {ROW_NUMBER}
        if given and not given & known:
            raise RefusedFile(
                "header",
                "no column of the contract is there; the header line may be missing, or not comma separated",
                remedy=f"the columns of {contract.stream} are in the data dictionary",
            )
        for name in text.columns:
            if name in known or name == ROW_NUMBER:
                continue
            described = identifier_gate.describe(name, text.get_column(name))
            self._outside[f"{name!r} {described}"] += text.get_column(name).len() - text.get_column(name).null_count()
            if self._settings.identifiers is IdentifierPolicy.REFUSE:
                raise RefusedFile(
                    "unknown_column",
                    f"column {name!r} {described}",
                    remedy="leave the column out, or set identifiers = 'drop' so that it is never read",
                    column=name,
                )
        lacking = [column.name for column in contract.columns if column.is_required and column.name not in text.columns]
        if "person_code" in lacking and self._found.delivery.person:
            lacking.remove("person_code")
        if lacking and (len(text) or self._found.form == "csv"):
            raise RefusedFile(
                "missing_column",
                f"column {lacking[0]!r} is required and not there",
                remedy=f"the columns of {contract.stream} are in the data dictionary",
                column=lacking[0],
            )

    def _run_fhir(self) -> Iterator[tuple[str, pl.DataFrame]]:
        for batch in fhir.read(self._found.path, limit_bytes=self._limit):
            self._file.rows_in += batch.records
            self._outside.update(batch.identifier_fields)
            self._fault_rows("several", batch.faults)
            texts = {}
            for stream, rows in batch.rows.items():
                names = {column.name: pl.String for column in contracts()[stream].columns}
                texts[stream] = pl.DataFrame(rows, schema={**names, ROW_NUMBER: pl.Int64})
            yield from self._admit(texts, {number for number, _, _ in batch.faults})

    def _fault_rows(self, stream: str, faults: list[tuple[int, str, str]]) -> None:
        if not faults:
            return
        self._file.rows_quarantined += len({number for number, _, _ in faults})
        for _, _, rule in faults:
            self._file.quarantined_by_rule[rule] = self._file.quarantined_by_rule.get(rule, 0) + 1
        self._faults.append(
            pl.DataFrame(
                faults, schema={ROW_NUMBER: pl.Int64, "column_name": pl.String, "rule": pl.String}, orient="row"
            ).with_columns(pl.lit(stream).alias("stream"), pl.lit(True).alias("is_row_quarantined"))
        )

    def _admit(self, texts: dict[str, pl.DataFrame], held: set[int]) -> Iterator[tuple[str, pl.DataFrame]]:
        """Cast every stream of a batch; a record with a fault in one stream is held back in all of them."""
        casts, problems = {}, []
        self._positive_risk_seen += _positive_risk_items(texts.get("questionnaire_answers"))
        if held and "questionnaire_answers" in texts:
            answers = texts["questionnaire_answers"]
            self._file.positive_risk_items_held_back += _positive_risk_items(
                answers.filter(pl.col(ROW_NUMBER).is_in(sorted(held)))
            )
        for stream, text in texts.items():
            contract = contracts()[stream]
            if held:
                text = text.filter(~pl.col(ROW_NUMBER).is_in(sorted(held)))
            if self._found.delivery.person and "person_code" not in text.columns:
                text = text.with_columns(pl.lit(self._found.delivery.person).alias("person_code"))
            self._check_profile(text, contract)
            done = cast(
                text,
                contract,
                settings=self._settings,
                pseudonymiser=self._pseudonymiser,
                namespace=self._found.namespace,
                time_zone=self._found.delivery.time_zone,
            )
            casts[stream] = done.frame
            key_names = [column.name for column in contract.columns if column.is_required]
            keeps = pl.lit(contract.keeps_row_with_bad_value) & ~pl.col("column_name").is_in(key_names)
            problems.append(
                done.problems.with_columns(pl.lit(stream).alias("stream"), (~keeps).alias("is_row_quarantined"))
            )
        found = pl.concat(problems) if problems else empty_problems()
        bad = found.filter(pl.col("is_row_quarantined")) if len(found) else found
        bad_rows = bad.get_column(ROW_NUMBER).unique()
        if len(found):
            self._faults.append(found.select(ROW_NUMBER, "column_name", "rule", "stream", "is_row_quarantined"))
            self._file.fields_made_missing += len(found) - len(bad)
            for rule, count in bad.unique([ROW_NUMBER, "rule"]).group_by("rule").len().iter_rows():
                self._file.quarantined_by_rule[rule] = self._file.quarantined_by_rule.get(rule, 0) + count
        self._file.rows_quarantined += len(bad_rows)
        self._file.rows_admitted = self._file.rows_in - self._file.rows_quarantined
        if len(bad_rows) and "questionnaire_answers" in texts:
            answers = texts["questionnaire_answers"]
            lost = answers.filter(pl.col(ROW_NUMBER).is_in(bad_rows.implode()))
            self._file.positive_risk_items_held_back += _positive_risk_items(lost)
        for stream, frame in casts.items():
            kept = frame.filter(~pl.col(ROW_NUMBER).is_in(bad_rows.implode())) if len(bad_rows) else frame
            yield (
                stream,
                kept.with_columns(
                    pl.lit(self._file.load_id).alias("load_id"),
                    pl.lit(self._found.source).alias("source_name"),
                    pl.lit(self.delivered_at).cast(pl.Datetime("us")).alias("delivered_at"),
                ),
            )

    def _check_profile(self, text: pl.DataFrame, contract: Contract) -> None:
        if self._settings.deidentification is not Deidentification.SAFE_HARBOR:
            return
        dated = [
            column.name
            for column in contract.columns
            if column.kind in ("date", "timestamp")
            and column.name in text.columns
            and text.get_column(column.name).null_count() < len(text)
        ]
        if dated:
            raise RefusedFile(
                "safe_harbor_dates",
                f"the profile safe_harbor allows no date finer than a year; found in {', '.join(dated)}",
                remedy="deliver under limited_data_set with a data-use agreement, or leave dates out",
                column=dated[0],
            )


def _positive_risk_items(answers: pl.DataFrame | None) -> int:
    """How many answers to risk items are positive, read leniently because these rows were not admitted."""
    if (
        answers is None
        or answers.is_empty()
        or not {"instrument_code", "item_number", "answer_value"} <= set(answers.columns)
    ):
        return 0
    value = pl.col("answer_value").cast(pl.Float64, strict=False)
    is_positive = pl.lit(False)
    for row in definitions("risk_items"):
        is_positive = is_positive | (
            (pl.col("instrument_code") == row["instrument_code"])
            & (pl.col("item_number") == row["item_number"])
            & _COMPARE[row["comparator"]](value, float(row["threshold_value"]))
        )
    return answers.filter(is_positive.fill_null(False)).height


def person_tokens(
    source: str, ids: Sequence[str], *, settings: Settings, namespace: str | None = None
) -> dict[str, str]:
    """The pseudonym of each person code of a source (its namespace unless another is given)."""
    space = check_name(namespace or source, "namespace") or source
    pseudonymiser = Pseudonymiser(read_key(settings), settings.project)
    plain = [fhir.plain_id(code) or code if source == "fhir" else code for code in ids]
    return dict(zip(ids, pseudonymiser.tokens(plain, kind="person", namespace=space), strict=True))


def raw_streams() -> dict[str, dict[str, str]]:
    """Every raw stream with its landed columns and DuckDB types, deliveries and quarantine included."""
    return {
        **{stream: contract.landed_columns for stream, contract in contracts().items()},
        "deliveries": dict(landing.DELIVERY_COLUMNS),
        "quarantined_rows": dict(landing.QUARANTINE_COLUMNS),
    }
