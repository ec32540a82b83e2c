"""What a rotation of the key leaves behind: loads under an earlier key, and forgotten people known by it alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from caseness.errors import CasenessError, UsageError
from caseness.settings import Settings
from ingestion.erasure import Forgotten
from ingestion.keys import earlier_keys, known_keys
from ingestion.landing import key_version_of, manifest_entries
from ingestion.pseudonyms import KeyFinding, read_key

Entry = Mapping[str, Any]
_MARK_CHARACTERS = 16
_MOST_NAMED = 3
_DELIVER_AGAIN = "deliver the same files again: each takes the place of its older load"
_WITHDRAW = "withdraw what will not come again (`caseness withdraw FILE_OR_SHA256 --reason CODE`)"
_BUILD = "then run `caseness build`"
NEXT_STEPS = (_DELIVER_AGAIN, _WITHDRAW, _BUILD)


def _standing(entries: Iterable[Entry]) -> dict[str, dict[int, list[Entry]]]:
    """Loads by namespace and key version. One without parts (all was quarantined or erased) counts nobody."""
    found: dict[str, dict[int, list[Entry]]] = {}
    for entry in entries:
        if entry["load_status"] == "loaded" and entry["parts"]:
            found.setdefault(entry["namespace"], {}).setdefault(key_version_of(entry), []).append(entry)
    return dict(sorted(found.items()))


def loads_before(entries: Iterable[Entry], version: int) -> dict[str, int]:
    """How many loads stand under keys before ``version``, by namespace; those without any are not named."""
    counts = {
        namespace: sum(len(loads) for older, loads in by_version.items() if older < version)
        for namespace, by_version in _standing(entries).items()
    }
    return {namespace: count for namespace, count in counts.items() if count}


def key_versions_of(entries: Iterable[Entry], namespace: str | None = None) -> list[int]:
    """Versions of the keys that the loads of a namespace, or of all, stand under."""
    standing = _standing(entries)
    chosen = standing.values() if namespace is None else [standing.get(namespace, {})]
    return sorted({version for by_version in chosen for version in by_version})


def namespace_mark(namespace: str) -> str:
    """How a load names a namespace its person links point to: the contract does not keep the name itself."""
    return hashlib.sha256(namespace.encode()).hexdigest()[:_MARK_CHARACTERS]


def _joined(standing: dict[str, dict[int, list[Entry]]]) -> list[tuple[str, ...]]:
    """Namespaces in groups: those that person links join stand together, for a link names tokens of one key."""
    group = {namespace: {namespace} for namespace in standing}
    by_mark = {namespace_mark(namespace): namespace for namespace in standing}
    for namespace, by_version in standing.items():
        for entry in (one for loads in by_version.values() for one in loads):
            for linked in filter(None, map(by_mark.get, entry.get("linked_namespaces", ()))):
                both = group[namespace] | group[linked]
                group |= dict.fromkeys(both, both)
    return sorted({tuple(sorted(names)) for names in group.values()})


def _mixed(entries: Iterable[Entry]) -> Iterator[tuple[tuple[str, ...], dict[int, list[Entry]]]]:
    """Namespaces, alone or joined by links, whose loads stand under several keys; the loads by version."""
    standing = _standing(entries)
    for names in _joined(standing):
        by_version: dict[int, list[Entry]] = {}
        for namespace in names:
            for version, loads in standing[namespace].items():
                by_version.setdefault(version, []).extend(loads)
        if len(by_version) > 1:
            yield names, dict(sorted(by_version.items()))


def _says(names: tuple[str, ...], by_version: dict[int, list[Entry]]) -> str:
    counts = ", ".join(f"{len(loads)} under version {version}" for version, loads in by_version.items())
    whose = f"namespace {names[0]}" if len(names) == 1 else f"the linked namespaces {', '.join(names)}"
    return f"loads of {whose} stand under several pseudonym keys ({counts}): people would count twice"


def check_one_key(entries: Iterable[Entry]) -> None:
    """Raise ``UsageError`` when loads of one namespace stand under several keys: a person has a token under each.

    The same where person links join namespaces: a link made under one key misses the tokens of another.
    """
    for names, by_version in _mixed(entries):
        raise UsageError(
            _says(names, by_version),
            remedy=f"{_DELIVER_AGAIN}; {_WITHDRAW}; `caseness doctor` names what is still to come; {_BUILD}",
        )


def rotation_findings(settings: Settings) -> list[KeyFinding]:
    """Namespaces that stand under several keys or under an earlier one, and forgotten people nobody can recognise."""
    try:
        entries = manifest_entries(settings)
        version = read_key(settings).version
        lost = _lost_versions(settings, version) if Forgotten.read(settings).people else []
    except CasenessError:
        return []  # a damaged home, or one without its key: said by others
    found = []
    mixed = dict(_mixed(entries))
    for names, by_version in mixed.items():
        waiting = [entry for older in list(by_version)[:-1] for entry in by_version[older]]
        says = f"{_says(names, by_version)}; still to come: {_some(waiting)}"
        found.append(KeyFinding("problem", says, f"{_DELIVER_AGAIN}; {_WITHDRAW}"))
    for namespace, count in loads_before(entries, version).items():
        if not any(namespace in names for names in mixed):
            says = f"{count} loads of namespace {namespace} stand under an earlier key than the one in force"
            found.append(KeyFinding("note", says, _DELIVER_AGAIN))
    if lost:
        says = f"the pseudonym key of version {', '.join(map(str, lost))} is missing, so people forgotten under it can "
        remedy = "put it back beside the key in force; else forget them anew by their tokens under that one"
        found.append(KeyFinding("problem", says + "no longer be recognised when they are delivered", remedy))
    return found


def _lost_versions(settings: Settings, version: int) -> list[int]:
    held = {key.version for key in earlier_keys(settings, version)}
    return [older for older in sorted(known_keys(settings)) if older < version and older not in held]


def _some(entries: list[Entry]) -> str:
    """Files that stand under an earlier key, the first few by stream and hash."""
    named = sorted(f"{entry['stream']} (sha256 {entry['source_file_sha256']})" for entry in entries)
    told = ", ".join(named[:_MOST_NAMED])
    return told if len(named) <= _MOST_NAMED else f"{told} and {len(named) - _MOST_NAMED} more"
