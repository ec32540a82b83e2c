"""One home, one key: a home that has lost its key, or was given another, must not make every person a stranger."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

from caseness import home, journal
from caseness.errors import NotReadyError
from caseness.faults import fault_point
from caseness.settings import Settings
from ingestion.landing import key_version_of, manifest_entries
from ingestion.pseudonyms import MINIMUM_KEY_BYTES, PUT_BACK, Key, create_key, key_paths, read_key

_PURPOSE = b"caseness key fingerprint"
_ROTATED = "key_rotated"


def _fingerprint(key: bytes) -> str:
    """Keyed, so that it tells nothing of the key."""
    return hmac.digest(key, _PURPOSE, hashlib.sha256).hex()[:16]


def known_keys(settings: Settings) -> dict[int, str]:
    """Fingerprints of the keys this home was filled with, by version."""
    known: dict[str, str] = home.facts(settings).get("keys", {})
    return {int(version): fingerprint for version, fingerprint in known.items()}


def ensure_key(settings: Settings) -> None:
    """Make the key of an empty home; in a home that holds loads, insist on the key they were made with.

    A key the home meets for the first time is written down: its fingerprint in ``home.json``, and in the journal that
    the home's key was rotated. Whoever writes next does so for a rotation that was stopped.
    """
    try:
        key = read_key(settings)
    except NotReadyError as error:
        if settings.key_file is None and any(settings.paths.manifest.glob("*.json")):
            raise NotReadyError(
                "the pseudonym key of this home is missing, and a new one would make every person a stranger",
                remedy=PUT_BACK,
            ) from error
        create_key(settings)
        key = read_key(settings)
    known = known_keys(settings)
    _refuse_older_key(settings, key.version, known)
    fingerprint = _fingerprint(key)
    if known.get(key.version, fingerprint) != fingerprint:
        raise NotReadyError(
            f"the pseudonym key is not the one this home was filled with (key version {key.version})",
            remedy="use the home's own key; to change keys, rotate them (`caseness rotate-key`)",
        )
    if key.version not in known:
        if known:
            _tell_rotation(settings, key.version)
            fault_point("rotation_told")
        keys = {str(version): known[version] for version in known} | {str(key.version): fingerprint}
        home.write(settings, keys=keys)


def _refuse_older_key(settings: Settings, version: int, known: dict[int, str]) -> None:
    """Where the newest key is gone, the one before it is in force again. It may be as long as no load needs the other.

    The manifest is read only then.
    """
    newest = max(known, default=version)
    if version < newest and any(
        entry["load_status"] == "loaded" and key_version_of(entry) > version for entry in manifest_entries(settings)
    ):
        raise NotReadyError(
            f"the pseudonym key of version {newest} is missing, and under version {version} people would be strangers",
            remedy=PUT_BACK,
        )


def _tell_rotation(settings: Settings, version: int) -> None:
    """Once for each version: a process that was stopped before the fingerprint was kept has told it already."""
    told = {receipt["key_version"] for receipt in journal.read(settings.paths.journal) if receipt["event"] == _ROTATED}
    if version not in told:
        journal.append(settings.paths.journal, _ROTATED, key_version=version)


def is_key_new(settings: Settings) -> bool:
    """Whether the key in force is one the home has not met: its rotation was stopped, or somebody put it there."""
    known = known_keys(settings)
    try:
        return bool(known) and read_key(settings).version not in known
    except NotReadyError:
        return False


def earlier_keys(settings: Settings, version: int) -> list[Key]:
    """The home's keys before ``version`` that still lie beside it. Before the first there is none, and none is sought.

    A file with another content than the home was filled with is not its key.
    """
    if version <= 1:
        return []
    known = known_keys(settings)
    found = []
    for number, path in key_paths(settings).items():
        if number < version:
            readings = (one for one in _readings(path) if known.get(number, _fingerprint(one)) == _fingerprint(one))
            found += [Key.of(one, number) for one in list(readings)[:1]]
    return found


def _readings(path: Path) -> Iterator[bytes]:
    """A key file as it stands; and decoded, because a key that came from the environment is written as base64."""
    content = path.read_bytes().strip()
    if len(content) >= MINIMUM_KEY_BYTES:
        yield content
    try:
        decoded = base64.b64decode(content, validate=True)
    except binascii.Error:
        return
    if len(decoded) >= MINIMUM_KEY_BYTES:
        yield decoded
