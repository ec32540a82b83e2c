"""What a delivery's sender is told: rows in = rows admitted + rows quarantined, file by file and source by source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ingestion.problems import Problem


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
