"""One home, one key: a home that has lost its key, or was given another, must not make every person a stranger."""

from __future__ import annotations

import hashlib
import hmac

from caseness import home
from caseness.errors import NotReadyError
from caseness.settings import Settings
from ingestion.pseudonyms import create_key, read_key

_PURPOSE = b"caseness key fingerprint"


def ensure_key(settings: Settings) -> None:
    """Make the key of an empty home; in a home that holds loads, insist on the key they were made with.

    The fingerprint in ``home.json`` is keyed, so that it tells nothing of the key.
    """
    try:
        key = read_key(settings)
    except NotReadyError as error:
        if settings.key_file is None and any(settings.paths.manifest.glob("*.json")):
            raise NotReadyError(
                "the pseudonym key of this home is missing, and a new one would make every person a stranger",
                remedy="put the key back where it was (keys/ in the home), or set key_file",
            ) from error
        create_key(settings)
        key = read_key(settings)
    version = str(getattr(key, "version", 1))
    fingerprint = hmac.digest(key, _PURPOSE, hashlib.sha256).hex()[:16]
    known: dict[str, str] = home.facts(settings).get("keys", {})
    if known.get(version, fingerprint) != fingerprint:
        raise NotReadyError(
            f"the pseudonym key is not the one this home was filled with (key version {version})",
            remedy="use the home's own key; to change keys, rotate them",
        )
    if version not in known:
        home.write(settings, keys={**known, version: fingerprint})
