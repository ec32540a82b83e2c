"""Which instruments a form asks, by the codes of its items and of its panel; all of it from definition rows."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from screening.definitions import definitions

Items = tuple[tuple[str, int], ...]  # (instrument or item code, item number)
_LINK_ID = re.compile(r"^/?(?:[^/]+/)*(\d{3,6}-\d)$")


@cache
def items_by_code() -> dict[str, Items]:
    """Item code -> (instrument, item number), smallest instrument first."""
    sizes = {row["instrument_code"]: int(row["item_count"] or 0) for row in definitions("instruments")}
    found: dict[str, list[tuple[str, int]]] = {}
    for row in definitions("instrument_items"):
        if row["loinc_code"]:
            found.setdefault(row["loinc_code"], []).append((row["instrument_code"], int(row["item_number"])))
    return {code: tuple(sorted(items, key=lambda item: sizes[item[0]])) for code, items in found.items()}


@cache
def codes_of(instrument: str) -> dict[str, int]:
    """Item code -> item number of one instrument."""
    return {code: number for code, items in items_by_code().items() for name, number in items if name == instrument}


@cache
def _by_code(column: str) -> dict[str, str]:
    return {row[column]: row["instrument_code"] for row in definitions("instruments") if row[column]}


def totals() -> dict[str, str]:
    """Code of a total -> instrument."""
    return _by_code("loinc_total")


def panels() -> dict[str, str]:
    """Code of a panel -> instrument."""
    return _by_code("loinc_panel")


@cache
def item_bounds(instrument: str) -> tuple[int, int]:
    """Smallest and largest answer of an instrument's items."""
    (row,) = (row for row in definitions("instruments") if row["instrument_code"] == instrument)
    return int(row["item_min"]), int(row["item_max"])


@lru_cache(maxsize=100_000)
def code_in(link_id: str) -> str | None:
    """The item or total code that a ``linkId`` ends in."""
    found = _LINK_ID.match(link_id)
    return found.group(1) if found else None


@lru_cache(maxsize=10_000)
def panel_in(address: str) -> frozenset[str]:
    """Panel codes that the address of a form names."""
    return frozenset(panel for panel in panels() if panel in address)


@lru_cache(maxsize=10_000)
def asked(item_codes: frozenset[str], panel_codes: frozenset[str]) -> tuple[tuple[str, Items], ...]:
    """Instruments of a form and, of each, (item code, item number) of the items present.

    Codes that share an instrument belong together: the one that the panel names where it asks all of them, else the
    smallest that does, else the one that asks most.
    """
    named = [panels()[code] for code in sorted(panel_codes) if code in panels()]
    known = items_by_code()
    left = {code for code in item_codes if code in known}
    found: dict[str, Items] = {}
    while left:
        group = _together(left)
        counts = {name: len(group & codes_of(name).keys()) for code in group for name, _ in known[code]}
        chosen = next((name for name in named if counts.get(name) == len(group)), None) or min(
            counts, key=lambda name: (-counts[name], len(codes_of(name)), name)
        )
        taken = {code: number for code, number in codes_of(chosen).items() if code in group}
        found[chosen] = tuple(sorted(taken.items(), key=lambda item: item[1]))
        left -= taken.keys()
    if not found and not item_codes:
        found = dict.fromkeys(named, ())
    return tuple(found.items())


def _together(codes: set[str]) -> set[str]:
    """Codes that hang together with the first one by common instruments."""
    group, names = {min(codes)}, {name for name, _ in items_by_code()[min(codes)]}
    while more := {code for code in codes - group if names & {name for name, _ in items_by_code()[code]}}:
        group |= more
        names |= {name for code in more for name, _ in items_by_code()[code]}
    return group
