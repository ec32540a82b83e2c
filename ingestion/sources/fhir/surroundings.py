"""What stands around a record: its bundle or file, looked at only when the record's meaning depends on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ingestion.batches import Batch, Row
from ingestion.sources.fhir.elements import Resource, listed, mapping, objects, plain_id, reference_of, text


class Surroundings:
    """Resources that others refer to, by kind and id; ``load`` is called once, on the first question."""

    def __init__(self, load: Callable[[], Iterable[tuple[str | None, Resource]]], kinds: Iterable[str]) -> None:
        self._load = load
        self._kinds = frozenset(kinds)
        self._found: dict[str, dict[str, Resource]] | None = None
        self.aliases: dict[str, str] = {}  # the address an entry has in its bundle -> the resource's own id
        self.superseded: frozenset[int] = frozenset()  # entries of which a later version stands in the same bundle

    def find(self, kind: str, reference: str | None, inside: Resource) -> Resource | None:
        """The resource of a kind that a reference, or an address with its version, points to."""
        if reference is None:
            return None
        if reference.startswith("#"):
            contained = objects(inside.get("contained"))
            return next((one for one in contained if one.get("id") == reference[1:]), None)
        if self._found is None:
            self._found = defaultdict(dict)
            for address, resource in self._load():
                if (name := resource.get("resourceType")) in self._kinds:
                    for key in (plain_id(address), text(resource.get("id")), text(resource.get("url"))):
                        if key is not None:
                            self._found[name][key] = resource
        known = self._found.get(kind)
        if not known:
            return None
        address = reference.split("|")[0].split("#")[0]
        return known.get(address) or known.get(plain_id(address) or "")


@dataclass
class Reading:
    """One file on its way through: where a record's rows go, and what stands around it."""

    around: Surroundings
    time_zone: str | None
    measured: frozenset[tuple[str, str]]  # codes that a measure may ask of an observation
    person: str | None = None  # whose the whole delivery is, where it says so
    batch: Batch = field(default_factory=Batch)
    number: int = 0
    own_id: str | None = None

    def add(self, stream: str, row: Row) -> None:
        """A row of the record."""
        self.batch.add(stream, self.number, row)

    def fault(self, name: str, rule: str) -> None:
        """The record is held back."""
        self.batch.faults.append((self.number, name, rule))

    def lose(self, stream: str, name: str, rule: str) -> None:
        """A field of the record became missing."""
        self.batch.lost_fields.append((self.number, stream, name, rule))

    def never_read(self, name: str, count: int = 1) -> None:
        """A field that holds, or may hold, an identity or free text."""
        self.batch.identifier_fields[name] += count

    def id_of(self, reference: str | None) -> str | None:
        """The id a reference points to; an entry's address in its bundle is the resource's own id."""
        if reference is None:
            return None
        return self.around.aliases.get(reference) or plain_id(reference)

    def owner(self, resource: Resource, name: str) -> str | None:
        """The person a record is about: whom the delivery states, else whom the record names.

        A search in place of an id cannot be followed and holds the record back.
        """
        if self.person is not None:
            return self.person
        reference = reference_of(resource.get(name))
        if reference is not None and "?" in reference:
            self.fault(name, "reference_unresolved")
        return self.id_of(reference)

    def contact(self, resource: Resource) -> str | None:
        """The contact a record belongs to."""
        return self.id_of(reference_of(resource.get("encounter")))


def last_updated(resource: Resource) -> str | None:
    """When the sender last changed the record."""
    return text(mapping(resource.get("meta")).get("lastUpdated"))


def absent_reason(extension_url: str, *elements: Any) -> str | None:
    """The code that says why an element has no value."""
    for element in elements:
        for extension in listed(mapping(element).get("extension")):
            if mapping(extension).get("url") == extension_url:
                return text(extension.get("valueCode"))
    return None
