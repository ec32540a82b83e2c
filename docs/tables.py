"""Tables of a page, and the line that says a page is made."""

from __future__ import annotations

from collections.abc import Sequence

MADE = "<!-- made by ./dev docs; edit the rows, not this page -->\n\n"
_SHOWN = {"": "none", None: "none", True: "yes", False: "no"}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of the page; nothing is ``none``."""

    def cell(value: object) -> str:
        return str(_SHOWN.get(value, value) if isinstance(value, str | bool | None) else value).replace("|", "\\|")

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def table_of(names: Sequence[str], rows: Sequence[dict[str, str]]) -> str:
    """Some columns of definition rows."""
    return table(names, [[row[name] for name in names] for row in rows])
