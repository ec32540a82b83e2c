"""The generic mapping: files that ``source.yml`` alone describes."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.files import SourceFile


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """By the file patterns of the mapping."""
    return None


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """The file's rows as the mapping says."""
    yield Batch()
