"""What the user sees: progress on stderr, one line of JSON last on stdout, plain errors, logs free of values."""

from __future__ import annotations

import datetime as dt
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from caseness.errors import CasenessError
from caseness.settings import Settings

_LOG_SIZE_LIMIT = 10_000_000


class TimeLimitError(CasenessError):
    """A step took longer than ``step_timeout_seconds``."""

    exit_code = 8


class Voice:
    """Speaks on stderr (unless quiet) and answers on stdout."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self.errors = Console(stderr=True, highlight=False)
        self.out = Console(highlight=False, soft_wrap=True)

    @property
    def width(self) -> int:
        """Columns of the screen, or what is usual where there is none."""
        return self.out.width

    @contextmanager
    def working(self, title: str) -> Iterator[Callable[[str], None]]:
        """A spinner with the step's latest message; gives the ``progress`` callable that the commands take."""
        if self.quiet:
            yield lambda message: None
            return
        started = time.monotonic()
        with self.errors.status(f"{title} ...") as status:

            def say(message: str) -> None:
                status.update(f"{title}: {message} ({time.monotonic() - started:.0f} s)")
                if not self.errors.is_terminal:
                    self.errors.print(f"{title}: {message}", markup=False)

            yield say

    def note(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            self.errors.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A line that stands beside an answer and must not be missed: on stderr, quiet or not."""
        self.errors.print(f"caseness: {text}", markup=False, soft_wrap=True)

    def answer(self, body: Any, *, text: str | Table | None = None) -> None:
        """The result: one line of JSON under ``--json``, words or a table otherwise."""
        if self.as_json:
            print(orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS, default=str).decode(), flush=True)
        elif text is not None:
            self.out.print(text, markup=False) if isinstance(text, str) else self.out.print(text, soft_wrap=False)

    def fail(self, error: CasenessError) -> None:
        """What is wrong and what to do about it."""
        if self.as_json:
            self.tell_fault(error)
        self.errors.print(f"caseness: {error.message}", markup=False, soft_wrap=True)
        if error.remedy:
            self.errors.print(f"  what to do: {error.remedy}", markup=False, soft_wrap=True)

    def tell_fault(self, error: CasenessError) -> None:
        """The one line of JSON that ends a command which could not do its work."""
        body = {"error": error.message, "remedy": error.remedy, "exit_code": error.exit_code}
        print(orjson.dumps(body).decode(), flush=True)


def simple_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A table for people; numbers to the right."""
    table = Table(title=title, title_justify="left", show_edge=False)
    for position, name in enumerate(columns):
        is_number = bool(rows) and all(row[position].replace(",", "").replace(".", "").isdigit() for row in rows)
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def fits(columns: list[str], rows: list[list[str]], width: int) -> bool:
    """Whether a table shows every column whole within ``width``."""
    widest = [
        max(cell_len(line) for row in [columns, *rows] for line in row[at].split("\n")) for at in range(len(columns))
    ]
    return sum(widest) + 3 * len(columns) <= width


def records(columns: list[str], rows: list[list[str]]) -> str:
    """Each row as a block of lines, one a column: what a table too wide for the screen is shown as."""
    longest = max(cell_len(name) for name in columns)
    names = [name + " " * (longest - cell_len(name)) for name in columns]
    blocks = []
    for number, row in enumerate(rows, start=1):
        pairs = [f"{name}  {cell}".rstrip() for name, cell in zip(names, row, strict=True)]
        blocks.append("\n".join([f"-- row {number}", *pairs]))
    return "\n".join(blocks)


@contextmanager
def time_limit(seconds: int, step: str) -> Iterator[None]:
    """Stop a step that takes longer than ``seconds``. What it had not finished is as if it had not begun."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError(
            f"{step} took longer than {seconds} s and was stopped",
            remedy="raise step_timeout_seconds, or give it more memory and threads",
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def log(settings: Settings, command: str, **facts: Any) -> None:
    """One JSON line: what ran, how long, how it ended. Never a value, a file name or a statement.

    A line that cannot be written (a full disk, a folder of another user) does not take the answer away.
    """
    folder = settings.paths.logs
    line = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), "command": command, **facts}
    with suppress(OSError):  # a full disk must not hide what the command has to say
        if not folder.exists():
            return
        path = folder / "caseness.jsonl"
        if path.exists() and path.stat().st_size > _LOG_SIZE_LIMIT:
            path.replace(folder / "caseness.1.jsonl")
        with path.open("ab") as handle:
            handle.write(orjson.dumps(line) + b"\n")
