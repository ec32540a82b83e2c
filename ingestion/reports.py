"""What a delivery's sender is told: rows in = rows admitted + rows quarantined, file by file and source by source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ingestion.delivery import FILE_NAME
from ingestion.problems import Problem

_NAMES_TOLD = 3


def _some(names: list[str]) -> str:
    told = ", ".join(names[:_NAMES_TOLD])
    return told if len(names) <= _NAMES_TOLD else f"{told} and {len(names) - _NAMES_TOLD} more"


@dataclass
class FileReport:
    """What happened to one file."""

    file: str
    source: str
    namespace: str
    status: str  # loaded, already_loaded, refused, withdrawn
    load_id: str
    rows_in: int = 0
    rows_admitted: int = 0
    rows_quarantined: int = 0
    fields_made_missing: int = 0
    fields_never_read: dict[str, int] = field(default_factory=dict)
    rows_landed: dict[str, int] = field(default_factory=dict)
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    positive_risk_items_held_back: int = 0
    faults: list[dict[str, Any]] = field(default_factory=list)
    is_namespace_stated: bool = True
    was_refused_before: bool = False
    short_digit_strings: dict[str, int] = field(default_factory=dict)


@dataclass
class IngestReport:
    """What happened to everything that was given."""

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

    def faults(self) -> list[dict[str, Any]]:
        """What was not admitted as sent, by file, stream, rule and column, with the first row numbers and the remedy.

        ``load_id`` is the one in ``raw.quarantined_rows`` and ``raw.deliveries``.
        """
        return [
            {"file": file.file, "source": file.source, "load_id": file.load_id, **fault}
            for file in self.files
            for fault in file.faults
        ]

    def notes(self) -> list[dict[str, Any]]:
        """What the sender should know though nothing is wrong: by folder, the namespace that nobody stated."""
        found: dict[tuple[str, str], list[str]] = {}
        for file in self.files:
            if not file.is_namespace_stated and file.status != "refused":
                folder, _, name = file.file.rpartition("/")
                found.setdefault((folder, file.namespace), []).append(name)
        return [
            {
                "note": "namespace_not_stated",
                "folder": folder or ".",
                "namespace": namespace,
                "files": len(names),
                "message": (
                    f"no {FILE_NAME} says who sent {_some(names)}: their person codes count as namespace "
                    f"{namespace!r}, so the same code from another sender would be the same person"
                ),
                "remedy": f"write {FILE_NAME} with source and namespace (or give --source) and ingest into a new home",
            }
            for (folder, namespace), names in sorted(found.items())
        ]

    def in_name_order(self) -> IngestReport:
        """The same report whatever order the files were finished in."""
        self.files.sort(key=lambda file: file.file)
        self.files_unrecognised.sort()
        self.problems.sort(key=lambda problem: problem.file)
        return self

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
            "files_withdrawn": self._count("withdrawn"),
            "files_refused": self.files_refused,
            "files_refused_before": sum(file.was_refused_before for file in self.files),
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
                    "files": [
                        {name: value for name, value in vars(file).items() if name != "faults"} for file in group
                    ],
                }
                for (source, namespace), group in sorted(sources.items())
            ],
            "problems": [problem.as_dict() for problem in self.problems],
            "faults": self.faults(),
            "notes": self.notes(),
        }
