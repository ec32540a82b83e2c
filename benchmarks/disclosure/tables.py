"""Random tables with many small cells, and their publication under a rule, as the attacker sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caseness.disclosure.attack import Cell, Part, Profile, Ratio, System

Table = np.ndarray
_MOST = 10**9


@dataclass(frozen=True)
class Rule:
    """A way of publishing. ``profile`` rounds every cell and margin; without one, small cells are hidden, no other is.

    ``percent_decimals`` adds each cell's share of its line from raw counts, of all cells or of those that are shown.
    """

    name: str
    profile: Profile | None = None
    is_complemented: bool = False
    percent_decimals: int | None = None
    percent_of_hidden: bool = False


def random_table(shape: tuple[int, ...], chance: np.random.Generator) -> Table:
    """Counts of which a quarter or so are 1 to 4: a low mean that differs from cell to cell."""
    return chance.poisson(chance.gamma(shape=1.2, scale=10.0, size=shape))


def places(shape: tuple[int, ...]) -> Iterator[tuple[int | None, ...]]:
    """Every cell and every margin; ``None`` is a dimension that is summed over."""
    yield from itertools.product(*([*range(size), None] for size in shape))


def system_of(table: Table, rule: Rule, *, small: int, columns: int | None = None) -> System:
    """What the attacker knows of a table: an interval for every cell and margin, and shares where they are published.

    Cells of 1 to ``small`` are those to be protected. Only groups of at most ``columns`` columns are published.
    """
    columns = table.ndim if columns is None else columns
    hidden = _hidden(table, small) if rule.profile is None else set()
    if rule.is_complemented:
        hidden |= _complement(table, hidden)
    system = System(f"{'x'.join(map(str, table.shape))} under {rule.name}")
    system.truth = {_part(place): _true(table, place) for place in places(table.shape) if None not in place}
    for place in places(table.shape):
        if sum(at is not None for at in place) > columns:
            continue
        count = _true(table, place)
        if rule.profile is not None:
            shown, status = rule.profile.published(count)
            low, high = rule.profile.interval(shown, status, _MOST)
            is_hidden = status == "suppressed"
        elif place in hidden:
            low, high, is_hidden = (1, small, True) if 0 < count <= small else (0, _MOST, True)
        else:
            low, high, is_hidden = count, count, False
        is_small = 0 < count <= small
        system.cells.append(Cell(_part(place), low, high, _parts(table, place), is_protected=is_small))
        if rule.percent_decimals is not None and None not in place and (rule.percent_of_hidden or not is_hidden):
            _add_share(system, table, place, rule.percent_decimals)
    return system


def _true(table: Table, place: tuple[int | None, ...]) -> int:
    return int(table[tuple(slice(None) if at is None else at for at in place)].sum())


def _part(place: tuple[int | None, ...]) -> Part:
    return tuple("all" if at is None else str(at) for at in place)


def _parts(table: Table, place: tuple[int | None, ...]) -> tuple[Part, ...]:
    ranges = (range(size) if at is None else [at] for at, size in zip(place, table.shape, strict=True))
    return tuple(_part(inner) for inner in itertools.product(*ranges))


def _add_share(system: System, table: Table, place: tuple[int | None, ...], decimals: int) -> None:
    line = (*place[:-1], None)
    whole = _true(table, line)
    if not whole:
        return
    share = round(100 * _true(table, place) / whole, decimals)
    half = 0.5 * 10**-decimals + 1e-9
    system.ratios.append(Ratio(_parts(table, place), _parts(table, line), (share - half) / 100, (share + half) / 100))


def _hidden(table: Table, small: int) -> set[tuple[int | None, ...]]:
    return {place for place in places(table.shape) if 0 < _true(table, place) <= small}


def _complement(table: Table, hidden: set[tuple[int | None, ...]]) -> set[tuple[int | None, ...]]:
    """The smallest other cell of each line in which one cell alone is hidden."""
    added: set[tuple[int | None, ...]] = set()
    for axis, size in enumerate(table.shape):
        for line in itertools.product(*(range(n) for at, n in enumerate(table.shape) if at != axis)):
            cells = [(*line[:axis], at, *line[axis:]) for at in range(size)]
            if len([cell for cell in cells if cell in hidden | added]) == 1:
                others = [cell for cell in cells if cell not in hidden | added]
                added.add(min(others, key=lambda cell: (_true(table, cell), cell)))
    return added
