"""The clinical manual: every drawn table of ``tests/spec``, with what its module and its comment say of it.

The pages are the tests' own tables, read from their source: a case that is not tested cannot be printed here.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from docs.tables import MADE, table, table_of
from screening.definitions import definitions
from screening.scoring import AnswerState, score

_SPEC = Path(__file__).parents[1] / "tests" / "spec"


@dataclass(frozen=True)
class _Drawn:
    """One drawn table of a module."""

    name: str
    about: str
    rows: list[list[str]]


def manual_pages() -> dict[str, str]:
    """File name -> text: ``manual.md`` and one page a module of the specification in ``manual/``."""
    found, lines = {}, []
    for path in sorted(_SPEC.glob("test_*.py")):
        tables = _tables(path)
        if not tables:
            continue
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title, _, rest = said.partition("\n")
        name = path.stem.removeprefix("test_")
        found[f"manual/{name}.md"] = _page(title, rest.strip(), tables, path.name)
        count = sum(len(drawn.rows) - 1 for drawn in tables)
        lines.append([f"[{name.replace('_', ' ')}](manual/{name}.md)", title, len(tables), count])
    parts = [
        "# Clinical manual\n\n",
        MADE,
        "How sheets are scored, courses classed and measures counted, by the cases that the tests run through the "
        "warehouse. A rule that moves turns one of these cases red.\n\n",
        table(["page", "what it draws", "tables", "cases"], lines),
        "\n",
        _scoring(),
    ]
    return {"manual.md": "".join(parts), **found}


def _tables(path: Path) -> list[_Drawn]:
    """Module-level texts that are tables: a line of names, then lines of as many words."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    found = []
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
            continue
        target = node.targets[0]
        if not (isinstance(target, ast.Name) and target.id.isupper() and isinstance(node.value.value, str)):
            continue
        rows = [line.split() for line in node.value.value.strip().splitlines() if line.strip()]
        if len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
            found.append(_Drawn(target.id, _comment_above(lines, node.lineno - 1), rows))
    return found


def _comment_above(lines: list[str], place: int) -> str:
    said: list[str] = []
    while place and lines[place - 1].startswith("#"):
        place -= 1
        said.insert(0, lines[place].lstrip("# "))
    return " ".join(said)


def _page(title: str, rest: str, tables: list[_Drawn], file: str) -> str:
    parts = [f"# {title}\n\n", MADE]
    if rest:
        parts.append(f"{rest}\n\n")
    for drawn in tables:
        parts.append(f"## {drawn.name.replace('_', ' ').capitalize()}\n\n")
        if drawn.about:
            parts.append(f"{drawn.about}\n\n")
        parts.append(table(drawn.rows[0], drawn.rows[1:]) + "\n")
    parts.append(f"Run by `tests/spec/{file}`.\n")
    return "".join(parts)


def _scoring() -> str:
    """Answer sheets with what Python makes of them now, bands and completeness."""
    from tests.spec import test_scoring

    parts = ["## Scoring\n\nEach row runs through Python and through the warehouse in the tests. "]
    parts.append("`-` missing, `r` refused, `n` not applicable, `.` not asked.\n\n")
    states = {"r": AnswerState.REFUSED, "n": AnswerState.NOT_APPLICABLE, ".": AnswerState.NOT_ASKED, "-": None}
    rows: list[list[object]] = []
    for line in test_scoring.CASES.strip().splitlines()[1:]:
        instrument, answers = line.split()[:2]
        found = score(instrument, [states[part] if part in states else int(part) for part in answers.split(",")])
        rows.append(
            [
                instrument,
                f"`{answers}`",
                found.total_complete_case,
                found.total_prorated,
                found.severity_band,
                found.risk_item_status,
            ]
        )
    parts.append(table(["instrument", "answers", "complete-case total", "prorated total", "band", "item 9"], rows))
    bands = definitions("severity_bands")
    parts.append("\n## Bands\n\n" + table_of([name for name in bands[0] if name != "definition_version"], bands))
    policies = definitions("completeness_policies")
    names = ["policy_code", "instrument_code", "minimum_items_answered", "method", "source"]
    parts.append("\n## Completeness\n\n" + table_of(names, policies))
    return "".join(parts)
