"""Clinical codes at the door: a value is a code only when its system says so, so that no identifier can pose as one.

How each system is checked is a row of ``code_systems``: by its check digit, by its pattern or, where a code carries
neither, only as a member of a known value set. A known member is a code whatever its form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from screening.definitions import definitions

_Flags = npt.NDArray[np.bool_]
_MEMBER_SCHEMA = {"code_system": pl.String, "code": pl.String}
_LONGEST_CODE = 18
# Verhoeff 1969: the dihedral group of order 10, and the permutation by position from the right.
_PRODUCT = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ]
)
_PERMUTATION = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ]
)


def _digits_from_the_right(numbers: pl.Series) -> list[npt.NDArray[np.int8]]:
    """Digit columns, last digit first; -1 beyond a number's length."""
    backwards = numbers.str.reverse()
    return [
        backwards.str.slice(place, 1).cast(pl.Int8, strict=False).fill_null(-1).to_numpy()
        for place in range(_LONGEST_CODE)
    ]


def _has_verhoeff_digit(codes: pl.Series) -> _Flags:
    state = np.zeros(len(codes), dtype=np.int8)
    for place, digit in enumerate(_digits_from_the_right(codes)):
        state = np.where(digit >= 0, _PRODUCT[state, _PERMUTATION[place % len(_PERMUTATION), digit]], state)
    return np.equal(state, 0)


def _has_loinc_digit(codes: pl.Series) -> _Flags:
    """Every second digit counts double, the last one first; the sum with the check digit is a multiple of ten."""
    check, *body = _digits_from_the_right(codes.str.replace("-", "", literal=True))
    total = check.astype(np.int64)
    for place, digit in enumerate(body):
        weighted = np.where(place % 2 == 0, digit * 2, digit)
        total = total + np.where(digit >= 0, weighted // 10 + weighted % 10, 0)
    return np.equal(total % 10, 0)


def _always(codes: pl.Series) -> _Flags:
    return np.ones(len(codes), dtype=bool)


_CHECKS: dict[str, Callable[[pl.Series], _Flags]] = {
    "verhoeff": _has_verhoeff_digit,
    "loinc_check_digit": _has_loinc_digit,
    "pattern": _always,
}
_BY_VALUE_SET = "value_set"


@cache
def code_systems() -> dict[str, dict[str, str]]:
    """Code system -> its first row of ``code_systems``; further rows only add addresses."""
    found: dict[str, dict[str, str]] = {}
    for row in definitions("code_systems"):
        found.setdefault(row["code_system"], row)
    return found


@cache
def system_of_address() -> dict[str, str]:
    """FHIR address -> code system."""
    return {row["fhir_url"]: row["code_system"] for row in definitions("code_systems")}


@cache
def known_members() -> pl.DataFrame:
    """Code system and code of every value-set member that comes with the project."""
    rows = [(row["code_system"], row["code"]) for row in definitions("value_set_members")]
    return pl.DataFrame(rows, schema=_MEMBER_SCHEMA, orient="row").unique()


def local_members(folder: Path) -> pl.DataFrame | None:
    """Members of the value sets a site loaded itself: ``*.csv`` with the columns of ``value_set_members``."""
    found = _read_members(folder)
    return found[0] if found else None


def members_seal(folder: Path) -> str:
    """Hash of the members a site has beyond those that come along; empty where it has none.

    A file read before they were loaded says something else today, so readings under other members are told apart.
    """
    found = _read_members(folder)
    return found[1] if found else ""


def _read_members(folder: Path) -> tuple[pl.DataFrame, str] | None:
    files = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    if not files:
        return None
    # A process lives on from one ingest to the next; a set that was replaced meanwhile is another file.
    states = [(file, file.stat()) for file in files]
    return _members_of(tuple((file, state.st_ino, state.st_mtime_ns, state.st_size) for file, state in states))


@lru_cache(maxsize=1)
def _members_of(files: tuple[tuple[Path, int, int, int], ...]) -> tuple[pl.DataFrame, str]:
    frames = [
        pl.read_csv(file, columns=list(_MEMBER_SCHEMA), schema_overrides=_MEMBER_SCHEMA, glob=False).select(
            list(_MEMBER_SCHEMA)
        )
        for file, *_ in files
    ]
    members = pl.concat(frames).drop_nulls().unique()
    beyond = members.join(known_members(), on=list(_MEMBER_SCHEMA), how="anti").sort(list(_MEMBER_SCHEMA))
    seal = hashlib.sha256(beyond.write_csv().encode()).hexdigest() if len(beyond) else ""
    return members, seal


def check_codes(
    codes: pl.Series, systems: pl.Series, *, extra: pl.DataFrame | None = None
) -> tuple[pl.Series, list[tuple[str, pl.Series]]]:
    """Codes that their system admits, the rest missing, and the rows that break a rule.

    ``extra`` holds further members (``code_system``, ``code``). ``code_form``: not in the form of its system, or the
    system is not stated or unknown. ``code_not_in_value_set``: a system whose codes are admitted as members only.
    """
    pairs = pl.DataFrame({"code_system": systems.cast(pl.String), "code": codes.cast(pl.String)})
    unique = pairs.filter(pl.col("code").is_not_null()).unique()
    members = known_members() if extra is None else pl.concat([known_members(), extra.select(list(_MEMBER_SCHEMA))])
    members = members.unique().with_columns(pl.lit(True).alias("is_member"))
    unique = unique.join(members, on=list(_MEMBER_SCHEMA), how="left")
    judged = [
        group.with_columns(pl.Series("rule", _rules_broken(group.get_column("code"), str(system)), dtype=pl.String))
        for (system,), group in unique.group_by("code_system")
    ]
    if not judged:
        return codes, []
    rules = pl.concat(judged).with_columns(
        pl.when(pl.col("is_member")).then(None).otherwise(pl.col("rule")).alias("rule")
    )
    rule = pairs.join(
        rules.select("code_system", "code", "rule"),
        on=list(_MEMBER_SCHEMA),
        how="left",
        nulls_equal=True,
        maintain_order="left",
    ).get_column("rule")
    faults = [(name, (rule == name).fill_null(False)) for name in ("code_form", "code_not_in_value_set")]
    return codes.set(rule.is_not_null(), None), faults


def _rules_broken(codes: pl.Series, system: str) -> list[str | None]:
    """The rule each code breaks, or ``None``."""
    row = code_systems().get(system)
    if row is None:
        return ["code_form"] * len(codes)
    if row["validation"] == _BY_VALUE_SET:
        return ["code_not_in_value_set"] * len(codes)
    fits = codes.str.contains(f"^(?:{row['pattern']})$").to_numpy()
    # Only what has the form has digits to check.
    checked = _CHECKS[row["validation"]](codes.set(pl.Series(~fits), "0"))
    return [None if good else "code_form" for good in fits & checked]
