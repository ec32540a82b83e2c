"""The door: what is given is listed, read in child processes, and committed load by load, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from caseness import home, journal
from caseness.errors import DiskFullError, UsageError
from caseness.settings import Deidentification, Settings
from ingestion import landing, reading
from ingestion.contracts import contracts
from ingestion.deidentification import check_one_date_form
from ingestion.delivery import FILE_NAME, check_name
from ingestion.erasure import keep_out, settle, sweep
from ingestion.files import SourceFile, files_in, is_archive
from ingestion.keys import earlier_keys, ensure_key
from ingestion.landing import Manifest
from ingestion.loading import Overrides, refuse_whole
from ingestion.problems import Problem
from ingestion.pseudonyms import Pseudonymiser, read_key
from ingestion.refusals import leave_trace, write_receipt
from ingestion.reports import FileReport, IngestReport
from ingestion.sources import sources
from ingestion.sources.fhir.elements import plain_id
from ingestion.workers import WorkerLostError, Workers

Progress = Callable[[str], None]
_NOT_LOADED = {"withdrawn": "withdrawn", "superseded": "already_loaded"}
_UNREADABLE_REMEDY = "send the file to whoever looks after caseness, or in another format"


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

    Files are read by child processes, several at once, each within the settings' limits of memory and time; what they
    prepared is committed here, one load after the other. Raises ``DamagedHomeError`` when receipts, manifest and parts
    disagree, ``LockedError`` when another process writes.
    """
    if settings.deidentification is Deidentification.EXPERT_DETERMINATION and not settings.expert_report:
        raise UsageError(
            "the profile expert_determination needs the reference of the expert's report",
            remedy="set expert_report in caseness.toml",
        )
    overrides = Overrides(
        person=person,
        namespace=check_name(namespace, "namespace"),
        source=check_name(source, "source"),
        time_zone=time_zone,
    )
    sources(settings.paths.sources)  # a home's own mapping that is wrong says so before any file is read
    report = IngestReport()
    with journal.exclusive(settings.paths.lock, purpose="ingest"):
        home.begin(settings)
        manifest = settle(settings)
        known = {entry["load_id"] for entry in manifest.entries()}
        check_one_date_form(settings, manifest.entries())
        ensure_key(settings)
        given = _files(paths)
        say = progress or (lambda message: None)
        with Workers(settings, files=len(given)) as workers:
            opened = list(_archives_opened(given, workers, report, overrides))
            for file in given:
                if is_archive(file) and (
                    refused := next((one for one in report.files if one.file == file.label), None)
                ):
                    leave_trace(file, refused, manifest, settings)
            answers = workers.answers(
                opened,
                do="load",
                overrides=asdict(overrides),
                say=lambda file, rows: say(f"reading {file.label}: {rows:,} rows"),
            )
            for done, (file, answer) in enumerate(answers, start=1):
                _finish(file, answer, report, manifest, settings, overrides)
                say(f"{done} of {len(opened)} files: {file.label}")
        write_receipt(report, settings, known=known)
        sweep(settings, manifest)
    return report.in_name_order()


def _files(paths: Sequence[Path]) -> list[SourceFile]:
    found: list[SourceFile] = []
    for path in paths:
        if not path.is_dir() and not path.is_file():
            raise UsageError(f"there is no file or folder {path.name!r}", remedy="check the path")
        found.extend(files_in(path))
    return found


def _archives_opened(
    given: Sequence[SourceFile], workers: Workers, report: IngestReport, overrides: Overrides
) -> Iterator[SourceFile]:
    """The files as given, each archive in its place as the files it holds; one that may do harm is refused."""
    archives = [file for file in given if is_archive(file)]
    members: dict[Path, list[SourceFile]] = {}
    for file, answer in workers.answers(archives, do="list", overrides={}):
        _stop_when_full(answer)
        if isinstance(answer, WorkerLostError) or "members" not in answer:
            report.problems.append(_problem(file, answer))
            report.files.append(_refused(file, overrides))
            continue
        members[file.path] = [SourceFile(file.path, f"{file.label}/{name}", name) for name in answer["members"]]
    for file in given:
        if is_archive(file):
            yield from members.get(file.path, ())
        else:
            yield file


def _finish(
    file: SourceFile,
    answer: dict[str, Any] | WorkerLostError,
    report: IngestReport,
    manifest: Manifest,
    settings: Settings,
    overrides: Overrides,
) -> None:
    _stop_when_full(answer)
    if isinstance(answer, WorkerLostError) or "prepared" not in answer:
        refused = _refused(file, overrides)
        form = file.plain_name.rpartition(".")[2]
        limit = settings.file_size_limit_megabytes << 20
        refuse_whole(refused, rows=reading.count_rows(file, form, limit_bytes=limit))
        report.problems.append(_problem(file, answer))
        report.files.append(refused)
        if (
            isinstance(answer, WorkerLostError) or "refused" in answer
        ):  # a fault of ours, or a full disk, is not a refusal
            leave_trace(file, refused, manifest, settings)
        if isinstance(answer, WorkerLostError):
            landing.remove_temporary(settings, answer.process_id)
        return
    prepared = answer["prepared"]
    report.problems.extend(Problem(**problem) for problem in prepared["problems"])
    for sha256 in prepared["withdraws"]:
        manifest.withdraw(sha256, reason=landing.WithdrawalReason.STATED_BY_SENDER)
    if prepared["report"] is None:
        if file.name != FILE_NAME:
            report.files_unrecognised.append(file.label)
        return
    found = FileReport(**prepared["report"])
    report.files.append(found)
    entry = prepared["entry"]
    if entry is None:
        if found.status == "refused":
            leave_trace(file, found, manifest, settings)
        return
    if prepared["people_of_erased"] or prepared["things_of_erased"]:
        keep_out(people=prepared["people_of_erased"], things=prepared["things_of_erased"], settings=settings)
    status = manifest.status_of(found.load_id)
    if found.status == "refused" and status in ("loaded", "refused"):
        landing.discard(prepared["temporary"])  # a refusal never replaces a load, and leaves its trace once
        return
    if status == "loaded":  # the same bytes twice in one delivery, read side by side
        landing.discard(prepared["temporary"])
        report.files[-1] = FileReport(found.file, found.source, found.namespace, "already_loaded", found.load_id)
        return
    status = manifest.commit(entry, prepared["temporary"], former_owners=prepared["former_owners"])
    if status in _NOT_LOADED:
        report.files[-1] = FileReport(found.file, found.source, found.namespace, _NOT_LOADED[status], found.load_id)


def _stop_when_full(answer: dict[str, Any] | WorkerLostError) -> None:
    """A reader that met a full disk says nothing against its file: the ingest stops, and the file can come again."""
    if not isinstance(answer, WorkerLostError) and answer.get("is_disk_full"):
        raise DiskFullError


def _refused(file: SourceFile, overrides: Overrides) -> FileReport:
    name = overrides.source or "unknown"
    return FileReport(file.label, name, overrides.namespace or name, "refused", "")


def _problem(file: SourceFile, answer: dict[str, Any] | WorkerLostError) -> Problem:
    if isinstance(answer, WorkerLostError):
        return answer.problem(file.label)
    if "refused" in answer:
        return Problem(**answer["refused"])
    what = f"the reader failed on the file ({answer['failed']} at {answer['at']})"
    return Problem(file.label, "reader_failed", what, _UNREADABLE_REMEDY)


def person_tokens(
    source: str,
    ids: Sequence[str],
    *,
    settings: Settings,
    namespace: str | None = None,
    key_version: int | None = None,
) -> dict[str, str]:
    """The pseudonym of each person code of a source (its namespace unless another is given).

    ``key_version`` asks for the tokens of an earlier key, which loads from before a rotation hold.
    """
    space = check_name(namespace or source, "namespace") or source
    key = read_key(settings)
    if key_version not in (None, key.version):
        key = next((one for one in earlier_keys(settings, key.version) if one.version == key_version), None) or key
        if key.version != key_version:
            raise UsageError(
                f"there is no pseudonym key of version {key_version}", remedy="`caseness doctor` says what is missing"
            )
    pseudonymiser = Pseudonymiser(key, settings.project)
    plain = [plain_id(code) or code if source == "fhir" else code for code in ids]
    return dict(zip(ids, pseudonymiser.tokens(plain, kind="person", namespace=space), strict=True))


def raw_streams() -> dict[str, dict[str, str]]:
    """Every raw stream with its landed columns and DuckDB types, deliveries and quarantine included."""
    return {
        **{stream: contract.landed_columns for stream, contract in contracts().items()},
        "deliveries": dict(landing.DELIVERY_COLUMNS),
        "quarantined_rows": dict(landing.QUARANTINE_COLUMNS),
    }
