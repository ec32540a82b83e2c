"""Sources: one folder each. ``source.yml`` says which files are its own; a reader only where the format demands one.

A home may hold sources of its own in ``sources/<name>/source.yml``: a mapping is data, so it needs no code and no
release. A reader is a module with ``recognises(file, context)`` and ``read(file, recognition, context)``; where a
folder has none, the generic mapping reads the file as ``source.yml`` says. A home's mapping may name a shipped reader
(``reader: redcap``) to give it its own rows.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol, cast

import yaml

from caseness.errors import UsageError
from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.files import SourceFile

SPEC_NAME = "source.yml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")


class Reader(Protocol):
    """How a source's files are read."""

    def recognises(self, file: SourceFile, context: ReadContext) -> Recognition | None:
        """What the file is to this source, or ``None``."""

    def read(self, file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
        """The file's rows, batch by batch. Raises ``RefusedFile`` when it is not what it says."""


@dataclass(frozen=True)
class Source:
    """One source: its name, what ``source.yml`` says, and its reader."""

    name: str
    spec: dict[str, Any]
    reader: Reader

    @property
    def version(self) -> str:
        """Version of the mapping; a changed mapping reads a file anew."""
        return str(self.spec.get("version", ""))


def load_spec(folder: Traversable) -> dict[str, Any]:
    """``source.yml`` of a folder. Raises ``UsageError`` when it is not a mapping that names its source."""
    try:
        body = yaml.load(folder.joinpath(SPEC_NAME).read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - as safe
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder.name}/{SPEC_NAME} is not readable YAML", remedy="see docs/sources.md") from error
    if not isinstance(body, dict) or not _NAME.match(str(body.get("source", ""))):
        raise UsageError(f"{folder.name}/{SPEC_NAME} does not name its source", remedy="add `source: plain_name`")
    return cast(dict[str, Any], body)


@cache
def _packaged() -> tuple[Source, ...]:
    found = []
    for folder in sorted(files(__package__).iterdir(), key=lambda item: item.name):
        if not folder.is_dir() or not folder.joinpath(SPEC_NAME).is_file():
            continue
        spec = load_spec(folder)
        has_reader = folder.joinpath("reader.py").is_file()
        found.append(_source(spec, folder.name if has_reader else None))
    return tuple(found)


def _source(spec: dict[str, Any], reader: str | None) -> Source:
    """A source whose ``source.yml`` its reader has found right. Raises ``UsageError`` otherwise."""
    module = importlib.import_module(f"{__package__}.{reader}.reader" if reader else f"{__package__}.mapping")
    if hasattr(module, "check"):
        module.check(spec)
    return Source(spec["source"], spec, cast(Reader, module))


def _reader_of_home(spec: dict[str, Any]) -> str | None:
    name = spec.get("reader")
    if name is None:
        return None
    shared = [folder.name for folder in files(__package__).iterdir() if folder.joinpath("reader.py").is_file()]
    if name not in shared:
        raise UsageError(
            f"{spec['source']}/{SPEC_NAME}: there is no reader of that name",
            remedy=f"readers are {', '.join(sorted(shared))}; leave `reader:` out for a mapping",
        )
    return str(name)


def sources(home_sources: Path | None = None) -> tuple[Source, ...]:
    """Every source in the order they are asked: a home's own mappings first, then those that are shipped."""
    own = []
    if home_sources is not None and home_sources.is_dir():
        for folder in sorted(home_sources.iterdir()):
            if (folder / SPEC_NAME).is_file():
                spec = load_spec(folder)
                own.append(_source(spec, _reader_of_home(spec)))
    return (*own, *_packaged())
