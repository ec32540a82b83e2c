"""Child processes that parse what comes from outside, within limits of memory and time, several at once."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

from caseness.settings import Settings
from ingestion.files import SourceFile
from ingestion.problems import RefusedFile

_LOOK_EVERY_SECONDS = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class WorkerLostError(RefusedFile):
    """A file whose reader broke a limit or died; the file is refused."""

    process_id: int = 0


def resident_bytes(process_id: int) -> int:
    """Memory a process holds, or 0 when the system does not tell."""
    try:
        if sys.platform == "linux":
            return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_BYTES
        found = subprocess.run(  # noqa: S603 - a number is all that is filled in
            ["/bin/ps", "-o", "rss=", "-p", str(process_id)], capture_output=True, check=False
        )
        return int(found.stdout or 0) << 10
    except (OSError, ValueError, IndexError):
        return 0


# A child dies with the thread that started it, so that thread must live as long as this process.
_SPAWNER = ThreadPoolExecutor(1, thread_name_prefix="spawning")


def _spawn(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ingestion.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


class Child:
    """One child process. Not shared between threads; it may serve one ingest after another."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.is_busy = False
        self._process: subprocess.Popen[bytes] | None = None
        self._spawning: Future[subprocess.Popen[bytes]] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.peak_bytes = 0

    def ask(self, task: dict[str, Any], settings: Settings, say: Callable[[int], None] | None = None) -> dict[str, Any]:
        """The child's answer to one task. Raises ``WorkerLostError`` when it broke a limit or died."""
        self.is_busy = True
        process = self._process or self._start()
        answer: dict[str, Any] | None = None
        started = time.monotonic()
        limit = settings.file_memory_limit_megabytes << 20
        try:
            self._send({**task, "settings": json.loads(settings.model_dump_json())})
            while answer is None:
                with contextlib.suppress(queue.Empty):
                    line = self._lines.get(timeout=_LOOK_EVERY_SECONDS)
                    if not line:
                        raise _died()
                    body = json.loads(line)
                    if "rows" in body and say is not None:
                        say(int(body["rows"]))
                    elif "rows" not in body:
                        answer = body
                held = resident_bytes(process.pid)
                self.peak_bytes = max(self.peak_bytes, held)
                if held > limit:
                    raise WorkerLostError("memory_limit", "reading the file takes too much memory", remedy=_REMEDY)
                if answer is None and time.monotonic() - started > settings.file_timeout_seconds:
                    raise WorkerLostError("time_limit", "reading the file takes too long", remedy=_REMEDY)
        except (WorkerLostError, BrokenPipeError, ValueError) as error:
            self.stop()
            lost = error if isinstance(error, WorkerLostError) else _died()
            lost.process_id = process.pid
            raise lost from error
        self.is_busy = False
        return answer

    @property
    def is_starting(self) -> bool:
        """Whether the process has been started and has not been asked anything yet."""
        return self._spawning is not None

    def begin(self) -> None:
        """Start the process and do not wait for it: it takes half a second to be ready."""
        if self._process is not None or self._spawning is not None:
            return
        environment = {**os.environ, "POLARS_MAX_THREADS": str(self.threads), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self._spawning = _SPAWNER.submit(_spawn, environment)

    def _start(self) -> subprocess.Popen[bytes]:
        self.begin()
        assert self._spawning is not None  # noqa: S101 - it has just begun
        process = self._spawning.result()
        self._process, self._spawning, self._lines = process, None, queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(process, self._lines), daemon=True).start()
        if b"ready" not in self._lines.get():
            raise WorkerLostError("reader_died", "the reader could not be started", remedy="run `caseness doctor`")
        return process

    @staticmethod
    def _listen(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
        for line in process.stdout:
            lines.put(line)
        lines.put(b"")

    def _send(self, body: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(json.dumps(body).encode() + b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End the child at once."""
        if self._spawning is not None:
            self._process, self._spawning = self._spawning.result(), None
        if self._process is None:
            return
        self.is_busy = False
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_WARM: list[Child] = []


def _taken(threads: int) -> Child:
    """A child from an ingest before, still warm, or a new one."""
    for child in _WARM:
        if child.threads == threads:
            _WARM.remove(child)
            child.peak_bytes = 0
            return child
    return Child(threads)


def _share(settings: Settings, files: int) -> tuple[int, int]:
    """How many children, and how many threads for each."""
    count = max(1, min(settings.threads, files))
    return count, max(1, settings.threads // count)


def start_early(settings: Settings, *, files: int) -> None:
    """Start the children that so many files will need, so that they get ready while their caller does."""
    count, threads = _share(settings, files)
    for _ in range(count - sum(child.threads == threads for child in _WARM)):
        child = Child(threads)
        child.begin()
        _WARM.append(child)


@atexit.register
def _stop_all() -> None:
    for child in _WARM:
        child.stop()


class Workers:
    """As many children as the settings' threads, fed file by file; answers come as they are ready."""

    def __init__(self, settings: Settings, *, files: int) -> None:
        count, threads = _share(settings, files)
        self._settings = settings
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._children = [_taken(threads) for _ in range(count)]
        for child in self._children:
            child.begin()
            self._idle.put(child)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="reading")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in self._children:
            if child.is_busy:
                child.stop()
            _WARM.append(child)

    @property
    def peak_bytes(self) -> int:
        """Most memory any one child held."""
        return max(child.peak_bytes for child in self._children)

    def answers(
        self,
        files: Sequence[SourceFile],
        *,
        do: str,
        overrides: dict[str, str | None],
        say: Callable[[SourceFile, int], None] | None = None,
    ) -> Iterator[tuple[SourceFile, dict[str, Any] | WorkerLostError]]:
        """Each file with its child's answer, in the order they are finished; few are waiting at any time."""
        waiting: dict[Future[dict[str, Any]], SourceFile] = {}
        left = iter(files)
        while True:
            while len(waiting) < 2 * len(self._children) and (file := next(left, None)) is not None:
                task = {"do": do, "path": str(file.path), "label": file.label, "member": file.member}
                waiting[self._pool.submit(self._one, {**task, "overrides": overrides}, file, say)] = file
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                file = waiting.pop(future)
                error = future.exception()
                if error is not None and not isinstance(error, WorkerLostError):
                    raise error
                yield file, error if isinstance(error, WorkerLostError) else future.result()

    def _one(
        self, task: dict[str, Any], file: SourceFile, say: Callable[[SourceFile, int], None] | None
    ) -> dict[str, Any]:
        child = self._idle.get()
        try:
            if child.is_starting and task["do"] == "load" and file.member is None:
                with contextlib.suppress(OSError, RefusedFile):
                    task = {**task, "hashed": [file.state(), file.sha256()]}
            return child.ask(task, self._settings, None if say is None else lambda rows: say(file, rows))
        finally:
            self._idle.put(child)


def _died() -> WorkerLostError:
    return WorkerLostError("reader_died", "the reader could not cope with the file", remedy=_REMEDY)


_REMEDY = "look at the file; if it is sound, send it in smaller pieces or raise file_memory_limit_megabytes"
