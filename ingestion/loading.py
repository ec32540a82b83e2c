"""One file on its way in: recognised, read strictly, checked, pseudonymised and written to parts nobody sees yet.

This runs in a child process with a limit on memory and time (``workers``): what comes from outside is parsed here and
nowhere else. The parent makes the result visible (``landing.commit``) or throws it away.
"""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from caseness.settings import Deidentification, IdentifierPolicy, Settings
from ingestion import clinical_codes, deidentification, landing, reading
from ingestion.batches import SHARED_ROW, Batch, ReadContext, Recognition, whole_text
from ingestion.casting import cast, cast_tokens, empty_problems
from ingestion.contracts import Contract, contracts
from ingestion.delivery import FILE_NAME, Delivery, read_delivery
from ingestion.erasure import Forgotten, hanging_columns, owner_mark
from ingestion.files import SourceFile
from ingestion.identifier_gate import ColumnJudge, looks_at
from ingestion.keys import earlier_keys
from ingestion.problems import NOT_CONTRACTED, REMEDIES, Problem, RefusedFile
from ingestion.pseudonyms import Key, Pseudonymiser, read_key
from ingestion.reading import ROW_NUMBER
from ingestion.reports import FileReport
from ingestion.rotation import namespace_mark
from ingestion.sources import Source, sources
from ingestion.stages import ahead, behind
from screening.definitions import definitions

_FIRST_ROWS = 5
_COMPARE: dict[str, Callable[[pl.Expr, float], pl.Expr]] = {
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
}


@dataclass(frozen=True)
class Overrides:
    """What the command line states instead of ``delivery.yml``."""

    person: str | None = None
    namespace: str | None = None
    source: str | None = None
    time_zone: str | None = None


@dataclass
class Prepared:
    """A file that was looked at. ``report`` is ``None`` for one that no source knows.

    ``entry`` is the manifest entry to commit; its parts lie under the temporary names in ``temporary``. What is said
    of forgotten people and of the owner under earlier keys is for the parent's memory alone.
    """

    label: str
    report: FileReport | None = None
    problems: list[Problem] = field(default_factory=list)
    entry: dict[str, Any] | None = None
    temporary: dict[str, str] = field(default_factory=dict)
    withdraws: list[str] = field(default_factory=list)
    people_of_erased: list[str] = field(default_factory=list)
    things_of_erased: list[str] = field(default_factory=list)
    former_owners: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    file: SourceFile
    source: Source
    recognition: Recognition
    delivery: Delivery
    members: str = ""  # seal of the site's own value sets, where the file may hold codes that they admit

    @property
    def source_name(self) -> str:
        return self.delivery.source or self.source.name

    @property
    def namespace(self) -> str:
        return self.delivery.namespace or self.source_name

    @property
    def is_namespace_stated(self) -> bool:
        """Whether the sender, or the command line, said whose person codes these are."""
        return bool(self.delivery.namespace or self.delivery.source)

    @property
    def contract_version(self) -> int:
        stream = self.recognition.stream
        return max(contracts()[name].version for name in ([stream] if stream else contracts()))

    def reading_id(self, sha256: str, key: Key) -> str:
        """One reading of one file's bytes; two deliveries of them may say different things of their time.

        Read under another contract, mapping, key or other value sets, the same bytes land as other rows.
        """
        return self._id_of(sha256, key, "")

    def load_id(self, sha256: str, key: Key) -> str:
        """One load: a reading, and what the delivery says of its time."""
        delivery = self.delivery
        stated = [str(value or "") for value in (delivery.stated_at, delivery.period_end, delivery.period_start)]
        return self._id_of(sha256, key, f"|{'|'.join(stated)}" if any(stated) else "")

    def _id_of(self, sha256: str, key: Key, statement: str) -> str:
        meaning = f"{self.source.name}.{self.contract_version}.{self.recognition.stream or 'all'}"
        meaning += f".{self.delivery.person or ''}"
        extra = [self.source.version, *(companion.sha256() for companion in self.recognition.companions)]
        extra += [f"key{key.version}"] if key.version > 1 else []
        extra += [f"members{self.members}"] if self.members else []
        meaning += "".join(f".{part}" for part in extra if part) + statement
        return landing.load_id_of(sha256, source=self.source_name, namespace=self.namespace, contract_version=meaning)


def prepare(
    file: SourceFile,
    *,
    settings: Settings,
    overrides: Overrides,
    progress: Callable[[int], None] | None = None,
    hashed: tuple[list[int], str] | None = None,
) -> Prepared:
    """Read one file into parts under temporary names. Never raises for what the file holds: it is refused instead.

    ``hashed`` is what the file's hash was in a certain state; it counts while the file is still in that state.
    """
    prepared = Prepared(file.label)
    try:
        delivery = read_delivery(file).with_overrides(**vars(overrides))
        if file.name == FILE_NAME:
            prepared.withdraws = list(delivery.withdraws)
            return prepared
        found = _recognise(file, delivery, settings)
        if found is None:
            return prepared
        before = file.state()
        sha256 = hashed[1] if hashed and tuple(hashed[0]) == before else file.sha256()
    except RefusedFile as refusal:
        if file.name != FILE_NAME:
            name = overrides.source or "unknown"
            prepared.report = FileReport(file.label, name, overrides.namespace or name, "refused", "")
        prepared.problems.append(refusal.problem(file.label))
        return prepared
    key = read_key(settings)
    load_id = found.load_id(sha256, key)
    report = FileReport(file.label, found.source_name, found.namespace, "loaded", load_id)
    report.is_namespace_stated = found.is_namespace_stated
    prepared.report = report
    for load_id in (report.load_id, found.reading_id(sha256, key)):
        known = landing.entry_of(settings, load_id)
        status = _status_of_known(known, found, settings)
        if status is not None:
            report.status, report.load_id = status, load_id
            return prepared
    _load(found, prepared, report, sha256, before, key, settings=settings, progress=progress)
    return prepared


def _status_of_known(known: dict[str, Any] | None, found: _Found, settings: Settings) -> str | None:
    """Why a file need not be read: what it holds is loaded under a statement as late, or it was withdrawn."""
    if known is None:
        return None
    if known["load_status"] == "loaded" and landing.statement_of(known) >= landing.statement_of(
        _statement(found.delivery)
    ):
        return "already_loaded"
    is_withdrawn = known["load_status"] == "withdrawn" and landing.is_withdrawn(settings, known["source_file_sha256"])
    return "withdrawn" if is_withdrawn else None


def _statement(delivery: Delivery) -> dict[str, Any]:
    stated = delivery.stated_at
    return {
        "period_start": delivery.period_start.isoformat() if delivery.period_start else None,
        "period_end": delivery.period_end.isoformat() if delivery.period_end else None,
        "delivered_at": stated.isoformat(timespec="seconds") if stated else None,
    }


def _recognise(file: SourceFile, delivery: Delivery, settings: Settings) -> _Found | None:
    """The first source that knows the file; one that goes by the name alone only where no other does."""
    by_name: _Found | None = None
    for source in sources(settings.paths.sources):
        context = ReadContext(source.spec, delivery, settings)
        recognition = source.reader.recognises(file, context)
        if recognition is None:
            continue
        found = _Found(file, source, recognition, delivery, _members_that_count(recognition, settings))
        if not recognition.is_by_name_alone:
            return found
        by_name = by_name or found
    return by_name


def _members_that_count(recognition: Recognition, settings: Settings) -> str:
    streams = [contracts()[recognition.stream]] if recognition.stream else contracts().values()
    has_codes = any(column.kind == "clinical_code" for contract in streams for column in contract.columns)
    return clinical_codes.members_seal(settings.paths.value_sets) if has_codes else ""


def _load(
    found: _Found,
    prepared: Prepared,
    report: FileReport,
    sha256: str,
    before: tuple[int, int, int],
    key: Key,
    *,
    settings: Settings,
    progress: Callable[[int], None] | None,
) -> None:
    earlier = [Pseudonymiser(older, settings.project) for older in earlier_keys(settings, key.version)]
    loading = _Loading(found, report, settings, Pseudonymiser(key, settings.project), earlier)
    writer = landing.PartWriter(settings, source=found.source_name, load_id=report.load_id)
    parts: dict[str, dict[str, Any]] = {}
    try:
        with behind(writer.write) as write:
            for stream, frame in loading.run():
                write(stream, frame)
                if progress is not None:
                    progress(report.rows_in)
        loading.finish()
        if found.file.state() != before:
            raise RefusedFile("changed", "the file changed while it was read", remedy="send it once it is complete")
        parts, prepared.temporary = writer.close()
        report.rows_landed = dict(sorted(writer.rows.items()))
    except RefusedFile as refusal:
        writer.discard()
        loading.refuse()
        prepared.problems.append(refusal.problem(report.file))
    except BaseException:
        writer.discard()
        raise
    quarantined = loading.quarantine_rows()
    report.faults = faults_by_rule(quarantined)
    quarantine, temporary = landing.write_quarantine(settings, report.load_id, quarantined)
    if temporary:
        prepared.temporary[str(quarantine["name"])] = temporary
    prepared.people_of_erased = sorted(loading.people_of_erased)
    prepared.things_of_erased = sorted(loading.things_of_erased)
    prepared.former_owners = loading.former_owners
    prepared.entry = {
        "manifest_version": landing.MANIFEST_VERSION,
        "load_id": report.load_id,
        "reading_id": found.reading_id(sha256, key),
        "load_status": report.status,
        "source_name": found.source_name,
        "namespace": found.namespace,
        "format": found.source.name,
        "stream": found.recognition.stream or "several",
        "file_label": found.file.name.rpartition(".")[2] or "file",
        "source_file_sha256": sha256,
        "owner": loading.owner,
        "contract_version": found.contract_version,
        "key_version": key.version,
        "deidentification": settings.deidentification.value,
        **deidentification.manifest_facts(settings),
        **_statement(found.delivery),
        "loaded_at": dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        "rows_in": report.rows_in,
        "rows_admitted": report.rows_admitted,
        "rows_quarantined": report.rows_quarantined,
        "quarantined_by_rule": report.quarantined_by_rule,
        "positive_risk_items_held_back": report.positive_risk_items_held_back,
        "parts": parts,
        "quarantine": quarantine or None,
        **({"linked_namespaces": sorted(loading.linked_namespaces)} if loading.linked_namespaces else {}),
    }


class _Loading:
    """One file on its way in: counts, faults and typed frames."""

    def __init__(
        self,
        found: _Found,
        file: FileReport,
        settings: Settings,
        pseudonymiser: Pseudonymiser,
        earlier: Sequence[Pseudonymiser],
    ) -> None:
        self._found = found
        self._file = file
        self._settings = settings
        self._pseudonymiser = pseudonymiser
        self._limit = settings.file_size_limit_megabytes << 20
        self._faults: list[pl.DataFrame] = []
        self._outside: Counter[str] = Counter()
        self._positive_risk_seen = 0
        self._judge = ColumnJudge()
        self._forgotten = Forgotten.read(settings)
        # Marks of forgotten people may be of tokens under an earlier key, so the codes are asked under each.
        self._earlier = earlier if self._forgotten.people else ()
        self.people_of_erased: set[str] = set()
        self.things_of_erased: set[str] = set()
        self.linked_namespaces: set[str] = set()
        self.owner: str | None = None
        self.former_owners: list[str] = []
        if found.delivery.person is not None:
            self._name_owner(found.delivery.person, earlier)

    def run(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Typed, admitted rows by stream."""
        found = self._found
        context = ReadContext(found.source.spec, found.delivery, self._settings)
        for batch in ahead(found.source.reader.read(found.file, found.recognition, context)):
            self._file.rows_in += batch.records
            self._outside.update(batch.identifier_fields)
            self._fault_rows(found.recognition.stream or "several", batch.faults)
            self._lost_fields(batch)
            yield from self._admit(batch, {number for number, _, _ in batch.faults})

    def finish(self) -> None:
        """What can only be judged once the whole file has been read."""
        if self._outside and self._settings.identifiers is IdentifierPolicy.REFUSE:
            counts = ", ".join(f"{name}: {count}" for name, count in sorted(self._outside.items()))
            raise RefusedFile(
                "identifier_fields",
                f"the file carries fields that identify people or hold free text ({counts})",
                remedy="leave these fields out, or set identifiers = 'drop' so that they are never read",
            )
        if findings := self._judge.finish():
            raise RefusedFile(
                "identifier_values",
                "; ".join(finding.says() for finding in findings),
                remedy="send the column as the contract has it, without what identifies people",
                column=findings[0].column,
            )
        self._file.short_digit_strings = self._judge.short_digit_strings
        announced = self._found.delivery.row_count.get(self._found.file.name)
        if announced is not None and announced != self._file.rows_in:
            raise RefusedFile(
                "row_count",
                f"{FILE_NAME} announces {announced} rows, the file holds {self._file.rows_in}",
                remedy="send the file again, whole",
            )
        self._file.fields_never_read = dict(sorted(self._outside.items()))

    def refuse(self) -> None:
        """Turn the counts into those of a refused file: every row of it is quarantined."""
        lines = reading.count_rows(self._found.file, self._form, limit_bytes=self._limit)
        refuse_whole(self._file, rows=lines - self._found.recognition.trailer_lines)
        self._file.positive_risk_items_held_back = self._positive_risk_seen
        self._faults = []

    def _name_owner(self, person: str, earlier: Sequence[Pseudonymiser]) -> None:
        """Token of the person the whole file belongs to, as the delivery says, and what earlier keys made of them."""
        token, *former = (
            one.tokens([person], kind="person", namespace=self._found.namespace)[0]
            for one in (self._pseudonymiser, *earlier)
        )
        forgotten = self._forgotten
        if any(map(forgotten.holds, former)):
            self.people_of_erased.add(token)
            forgotten = forgotten.with_marks([token])
        self.owner = owner_mark(token, forgotten)
        self.former_owners = [owner_mark(one, forgotten) for one in former]

    @property
    def _form(self) -> str:
        return self._found.recognition.form

    def quarantine_rows(self) -> pl.DataFrame:
        """Positions and rules of everything that was not admitted as sent."""
        faults = pl.concat(self._faults) if self._faults else pl.DataFrame()
        if faults.is_empty():
            return faults
        return faults.with_columns(
            pl.lit(self._file.load_id).alias("load_id"), pl.lit(self._found.source_name).alias("source_name")
        )

    def _fault_rows(self, stream: str, faults: list[tuple[int, str, str]]) -> None:
        if not faults:
            return
        self._file.rows_quarantined += len({number for number, _, _ in faults})
        for _, rule in {(number, rule) for number, _, rule in faults}:
            self._file.quarantined_by_rule[rule] = self._file.quarantined_by_rule.get(rule, 0) + 1
        self._faults.append(
            pl.DataFrame(
                faults, schema={ROW_NUMBER: pl.Int64, "column_name": pl.String, "rule": pl.String}, orient="row"
            ).with_columns(pl.lit(stream).alias("stream"), pl.lit(True).alias("is_row_quarantined"))
        )

    def _lost_fields(self, batch: Batch) -> None:
        if batch.lost_fields:
            self._file.fields_made_missing += len(batch.lost_fields)
            self._faults.append(
                pl.DataFrame(
                    [(number, name, rule, stream) for number, stream, name, rule in batch.lost_fields],
                    schema={ROW_NUMBER: pl.Int64, "column_name": pl.String, "rule": pl.String, "stream": pl.String},
                    orient="row",
                ).with_columns(pl.lit(False).alias("is_row_quarantined"))
            )

    def _admit(self, batch: Batch, held: set[int]) -> Iterator[tuple[str, pl.DataFrame]]:
        """Cast every stream of a batch; a record with a fault in one stream is held back in all of them."""
        texts = batch.texts()
        casts, problems = {}, []
        at_risk = _rows_of_positive_risk_items(texts.get("questionnaire_answers"))
        self._positive_risk_seen += len(at_risk)
        if held:
            self._file.positive_risk_items_held_back += int(at_risk.is_in(sorted(held)).sum())
        for stream, text in texts.items():
            contract = contracts()[stream]
            shared = batch.shared.get(stream) if SHARED_ROW in text.columns else None
            if held:
                text = text.filter(~pl.col(ROW_NUMBER).is_in(sorted(held)))
            if self._settings.deidentification is Deidentification.SAFE_HARBOR:  # its rules look across columns
                text, shared = whole_text(text, shared), None
            named = text.columns if shared is None else [*text.columns, *shared.columns]
            if self._found.delivery.person and "person_code" not in named:
                text = text.with_columns(pl.lit(self._found.delivery.person).alias("person_code"))
            done = cast(
                text,
                contract,
                settings=self._settings,
                pseudonymiser=self._pseudonymiser,
                namespace=self._found.namespace,
                time_zone=self._found.delivery.time_zone,
                shared=shared,
            )
            before = [
                cast_tokens(
                    text,
                    contract,
                    settings=self._settings,
                    pseudonymiser=one,
                    namespace=self._found.namespace,
                    shared=shared,
                )
                for one in self._earlier
            ]
            problems.append(self._erased(stream, done.frame, before))
            casts[stream], left_out = _leave_out_rows_without_code(done.frame, contract)
            faulty = done.problems.get_column(ROW_NUMBER).unique()
            judged = deidentification.contract_for(contract, self._settings)
            if shared is not None:
                text = whole_text(text, shared.select(looks_at(judged) & set(shared.columns)))
            admitted = text.filter(~pl.col(ROW_NUMBER).is_in(faulty.implode())) if len(faulty) else text
            self._judge.observe(text, judged, admitted=admitted)
            self._note_linked_namespaces(admitted, judged)
            key_names = [column.name for column in contract.columns if column.is_required]
            keeps = pl.lit(contract.keeps_row_with_bad_value) & ~pl.col("column_name").is_in(key_names)
            if len(left_out):
                keeps = keeps | ((pl.col("column_name") == "code") & pl.col(ROW_NUMBER).is_in(left_out.implode()))
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
        if len(bad_rows) and len(at_risk):
            lost = at_risk.is_in(bad_rows.implode())
            self._file.positive_risk_items_held_back += int(lost.sum())
        stated = self._found.delivery.stated_at
        for stream, frame in casts.items():
            kept = frame.filter(~pl.col(ROW_NUMBER).is_in(bad_rows.implode())) if len(bad_rows) else frame
            yield (
                stream,
                kept.with_columns(
                    pl.lit(self._file.load_id).alias("load_id"),
                    pl.lit(self._found.source_name).alias("source_name"),
                    pl.lit(stated, dtype=pl.Datetime("us")).alias("delivered_at"),
                ),
            )

    def _note_linked_namespaces(self, admitted: pl.DataFrame, contract: Contract) -> None:
        """Whose codes the rows name beside their own: these namespaces have to stand under the same key."""
        for column in contract.columns:
            if column.kind == "token" and column.namespace_column in admitted.columns:
                names = set(admitted.get_column(column.namespace_column).drop_nulls().unique().to_list())
                self.linked_namespaces |= {namespace_mark(name) for name in names - {self._found.namespace}}

    def _erased(self, stream: str, frame: pl.DataFrame, earlier: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Rows of people who were removed from the warehouse; what they say is theirs is noted, by token.

        ``earlier`` are the same rows under earlier keys; whom only these tell is noted as well.
        """
        forgotten = self._forgotten
        numbers = forgotten.erased_rows(frame, ROW_NUMBER) if forgotten.people else pl.Series([], dtype=pl.Int64)
        for older in earlier:
            numbers = pl.concat([numbers, forgotten.erased_rows(older, ROW_NUMBER)]).unique()
            self.people_of_erased |= forgotten.people_told_by(older, frame)
        if len(numbers):
            theirs = frame.filter(pl.col(ROW_NUMBER).is_in(numbers.implode()))
            for name in hanging_columns() & set(frame.columns):
                self.things_of_erased |= set(theirs.get_column(name).drop_nulls().unique().to_list())
        return pl.DataFrame({ROW_NUMBER: numbers.cast(pl.Int64)}).with_columns(
            pl.lit("person_code").alias("column_name"),
            pl.lit("erased_person").alias("rule"),
            pl.lit(stream).alias("stream"),
            pl.lit(True).alias("is_row_quarantined"),
        )


def _leave_out_rows_without_code(frame: pl.DataFrame, contract: Contract) -> tuple[pl.DataFrame, pl.Series]:
    """A code that its system does not admit costs a record that code, not its other codes nor the record itself.

    Where a record must keep a code (``row_is_left_out_beside_another``), one without any is judged as it stands.
    Returns the rows kept and the records that lost a row.
    """
    is_lost = pl.col("code").is_null() if contract.without_code else pl.lit(False)
    if contract.without_code == "row_is_left_out_beside_another":
        is_lost = is_lost & pl.col("code").is_not_null().any().over(ROW_NUMBER)
    if not contract.without_code or frame.is_empty():
        return frame, pl.Series(ROW_NUMBER, [], dtype=pl.Int64)
    judged = frame.with_columns(is_lost.alias("is_lost"))
    lost = judged.filter("is_lost").get_column(ROW_NUMBER).unique()
    return judged.filter(~pl.col("is_lost")).drop("is_lost"), lost


def refuse_whole(file: FileReport, *, rows: int) -> None:
    """The counts of a refused file: every row of it is quarantined, none is landed."""
    file.rows_in = max(file.rows_in, rows)
    file.status = "refused"
    file.rows_admitted = 0
    file.rows_quarantined = file.rows_in
    file.rows_landed = {}
    file.fields_made_missing = 0
    file.quarantined_by_rule = {"file_refused": file.rows_in} if file.rows_in else {}


def faults_by_rule(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Faults of one file by stream, rule and column: how many rows, which come first, what follows from it."""
    if rows.is_empty():
        return []
    grouped = (
        rows.unique(["stream", "rule", "column_name", ROW_NUMBER, "is_row_quarantined"])
        .group_by("stream", "rule", "column_name", "is_row_quarantined")
        .agg(pl.len().alias("rows"), pl.col(ROW_NUMBER).sort().head(_FIRST_ROWS).alias("first_rows"))
        .sort("stream", "rule", "column_name", "is_row_quarantined")
    )
    return [
        {
            "stream": row["stream"],
            "rule": row["rule"],
            "column": row["column_name"],
            "rows": row["rows"],
            "first_rows": row["first_rows"],
            "consequence": _consequence(row["rule"], is_row_quarantined=row["is_row_quarantined"]),
            "remedy": REMEDIES.get(row["rule"], "see the contract"),
        }
        for row in grouped.iter_rows(named=True)
    ]


def quarantined_faults(settings: Settings, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Faults of one load of the manifest, as its ingest reported them."""
    found = landing.quarantine_parts(settings, [entry])
    return faults_by_rule(pl.read_parquet(found[0])) if found else []


def _consequence(rule: str, *, is_row_quarantined: bool) -> str:
    if rule == NOT_CONTRACTED:
        return "not_read"
    return "row_quarantined" if is_row_quarantined else "field_made_missing"


def _is_any_of(values: pl.Series, numbers: Sequence[str]) -> pl.Series:
    """Whether each value is one of a few short numbers; comparing one by one is faster here than a set."""
    wanted = pl.Series(numbers).cast(values.dtype)
    found: pl.Series = functools.reduce(operator.or_, (values == number for number in wanted))
    return found.fill_null(False)


@functools.cache
def _ends_of_reversed_items() -> dict[tuple[str, str], int]:
    """(instrument, item) -> lowest plus highest answer, of the items whose place runs against their value."""
    ends = {
        row["instrument_code"]: int(row["item_min"]) + int(row["item_max"])
        for row in definitions("instruments")
        if row["item_count"]
    }
    return {
        (row["instrument_code"], row["item_number"]): ends[row["instrument_code"]]
        for row in definitions("instrument_items")
        if row["is_reverse_keyed"] == "true"
    }


def _rows_of_positive_risk_items(answers: pl.DataFrame | None) -> pl.Series:
    """The row of each positive answer to a risk item, read leniently because the row may not be admitted."""
    needed = ["instrument_code", "item_number", "answer_value"]
    if answers is None or answers.is_empty() or not set(needed) <= set(answers.columns):
        return pl.Series(ROW_NUMBER, [], dtype=pl.Int64)
    rules = definitions("risk_items")
    numbers = sorted({row["item_number"] for row in rules})
    kind = pl.col("answer_value_kind") if "answer_value_kind" in answers.columns else pl.lit(None, dtype=pl.String)
    asked = answers.select(*needed, kind.alias("answer_value_kind"), ROW_NUMBER).filter(
        _is_any_of(answers.get_column("item_number"), numbers)
    )
    asked = asked.filter(pl.col("instrument_code").is_in(sorted({row["instrument_code"] for row in rules})))
    asked = asked.with_columns(pl.col("item_number").cast(pl.String))
    value = pl.col("answer_value").cast(pl.Float64, strict=False)
    is_place = (pl.col("answer_value_kind") == "answer_position").fill_null(False)
    is_positive = pl.lit(False)
    for row in rules:
        ends = _ends_of_reversed_items().get((row["instrument_code"], row["item_number"]))
        scored = value if ends is None else pl.when(is_place).then(ends - value).otherwise(value)
        is_positive = is_positive | (
            (pl.col("instrument_code") == row["instrument_code"])
            & (pl.col("item_number") == row["item_number"])
            & _COMPARE[row["comparator"]](scored, float(row["threshold_value"]))
        )
    return asked.filter(is_positive.fill_null(False)).get_column(ROW_NUMBER)
