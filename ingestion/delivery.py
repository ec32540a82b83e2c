"""What a delivery says of itself in ``delivery.yml`` beside its files."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import zoneinfo
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from ingestion.files import SourceFile, open_bytes
from ingestion.problems import RefusedFile

FILE_NAME = "delivery.yml"
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_LONGEST_BYTES = 1 << 20
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_KEYS = (
    "source",
    "namespace",
    "person",
    "time_zone",
    "period_start",
    "period_end",
    "delivered_at",
    "row_count",
    "withdraws",
)


@dataclass(frozen=True)
class Delivery:
    """Whose and which: source, identifier namespace, person, time zone, period and announced row counts."""

    source: str | None = None
    namespace: str | None = None
    person: str | None = None
    time_zone: str | None = None
    period_start: dt.date | None = None
    period_end: dt.date | None = None
    delivered_at: dt.datetime | None = None
    row_count: dict[str, int] = field(default_factory=dict)
    withdraws: tuple[str, ...] = ()

    @property
    def stated_at(self) -> dt.datetime | None:
        """When the sender says it was sent; without a time, the last day it speaks for.

        Never the clock of this machine: the same deliveries in any order have to end in the same warehouse.
        """
        if self.delivered_at is not None or self.period_end is None:
            return self.delivered_at
        return dt.datetime.combine(self.period_end, dt.time())

    def with_overrides(
        self,
        *,
        source: str | None = None,
        namespace: str | None = None,
        person: str | None = None,
        time_zone: str | None = None,
    ) -> Delivery:
        """The delivery with what the command line stated instead."""
        return replace(
            self,
            source=source or self.source,
            namespace=namespace or self.namespace,
            person=person or self.person,
            time_zone=time_zone or self.time_zone,
        )


def _refuse(message: str, remedy: str) -> RefusedFile:
    return RefusedFile("delivery", f"{FILE_NAME}: {message}", remedy=remedy)


def _as_date(body: dict[str, Any], key: str) -> dt.date | None:
    value = body.get(key)
    if value is None or (isinstance(value, dt.date) and not isinstance(value, dt.datetime)):
        return value
    raise _refuse(f"{key} is not a date", "write it as YYYY-MM-DD")


def check_name(value: str | None, what: str) -> str | None:
    """A source or namespace name, or a refusal that says its form."""
    if value is not None and not _NAME.match(str(value)):
        raise _refuse(f"{what} is not a plain name", "use lower-case letters, digits and _, starting with a letter")
    return value


def read_delivery(file: SourceFile) -> Delivery:
    """The delivery stated beside ``file``, or an empty one. Unknown keys or values raise ``RefusedFile``."""
    stated = file.beside(FILE_NAME)
    if stated is None:
        return Delivery()
    try:
        with open_bytes(stated, limit_bytes=_LONGEST_BYTES) as stream:
            body = yaml.safe_load(stream.read().decode("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _refuse("it is not readable YAML", "see the guide for an example") from error
    except ValueError as error:
        raise _refuse("it states a day or time that does not exist", "write real dates as YYYY-MM-DD") from error
    if not isinstance(body, dict) or set(body) - set(_KEYS):
        unknown = sorted(map(str, set(body) - set(_KEYS))) if isinstance(body, dict) else []
        near = [close[0] for name in unknown if (close := difflib.get_close_matches(name, _KEYS, n=1))]
        meant = f"; perhaps {' and '.join(near)} is meant" if near else ""
        raise _refuse("it holds a key that is not known", "known keys: " + ", ".join(_KEYS) + meant)
    zone = body.get("time_zone")
    if zone is not None and zone not in zoneinfo.available_timezones():
        raise _refuse("time_zone is not an IANA time zone", "write it like Europe/London")
    delivered = body.get("delivered_at")
    if delivered is not None and not isinstance(delivered, dt.datetime):
        raise _refuse("delivered_at is not a time", "write it as YYYY-MM-DDTHH:MM:SSZ")
    if delivered is not None and delivered.tzinfo is not None:
        delivered = delivered.astimezone(dt.UTC).replace(tzinfo=None)
    counts = body.get("row_count") or {}
    if not isinstance(counts, dict) or not all(isinstance(n, int) and n >= 0 for n in counts.values()):
        raise _refuse("row_count is not a list of file names with their rows", "write `row_count: {people.csv: 120}`")
    withdraws = body.get("withdraws") or []
    if not isinstance(withdraws, list) or not all(_SHA256.match(str(item)) for item in withdraws):
        raise _refuse("withdraws is not a list of sha256 hashes", "write the sha256 of each file to be withdrawn")
    return Delivery(
        source=check_name(body.get("source"), "source"),
        namespace=check_name(body.get("namespace"), "namespace"),
        person=None if body.get("person") is None else str(body["person"]),
        time_zone=zone,
        period_start=_as_date(body, "period_start"),
        period_end=_as_date(body, "period_end"),
        delivered_at=delivered,
        row_count={str(name): int(count) for name, count in counts.items()},
        withdraws=tuple(str(item) for item in withdraws),
    )
