"""Keyed pseudonyms: the only form in which a sender's codes enter the warehouse.

``p{key version}_`` + base32(HMAC-SHA256(key, domain, 0x1f, code))[:26], lower case: 130 bits. The domain is project,
identifier namespace and kind of code, so that neither two projects nor two namespaces can be joined by their tokens.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from caseness.errors import CasenessError, NotReadyError
from caseness.journal import write_atomically
from caseness.settings import Settings

KEY_VERSION = 1
_MINIMUM_KEY_BYTES = 32
_TOKEN_CHARACTERS = 26


def key_path(settings: Settings) -> Path:
    """Where the key of this home lies."""
    return settings.key_file or settings.paths.keys / "pseudonym.key"


def create_key(settings: Settings) -> Path:
    """Make a random key (mode 0600) unless there is one. A configured ``key_file`` is never created."""
    path = key_path(settings)
    if path.exists():
        return path
    if settings.key_file is not None:
        raise NotReadyError("the configured key_file does not exist", remedy="create it, or unset key_file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    write_atomically(path, base64.b64encode(secrets.token_bytes(_MINIMUM_KEY_BYTES)) + b"\n")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return path


def read_key(settings: Settings) -> bytes:
    """The key's bytes. Raises ``NotReadyError`` when absent, ``CasenessError`` when too short."""
    path = key_path(settings)
    if not path.exists():
        raise NotReadyError("there is no pseudonym key yet", remedy="run `caseness init`, or set key_file")
    key = path.read_bytes().strip()
    if len(key) < _MINIMUM_KEY_BYTES:
        raise CasenessError("the pseudonym key is shorter than 32 bytes", remedy="use a key of 32 random bytes or more")
    return key


def is_key_private(settings: Settings) -> bool:
    """Whether nobody but its owner can read the key."""
    return os.name != "posix" or not key_path(settings).stat().st_mode & 0o077


class Pseudonymiser:
    """Tokens of one project, namespace by namespace."""

    def __init__(self, key: bytes, project: str) -> None:
        self._key = key
        self._project = project

    def tokens(self, codes: Iterable[str], *, kind: str, namespace: str) -> list[str]:
        """One token for each code, in order. Codes are stripped of surrounding white space and taken as they are."""
        prefix = f"{self._project}/{namespace}/{kind}".encode() + b"\x1f"
        key, digest, encode = self._key, hmac.digest, base64.b32encode
        return [
            f"p{KEY_VERSION}_"
            + encode(digest(key, prefix + code.strip().encode(), "sha256"))[:_TOKEN_CHARACTERS].decode().lower()
            for code in codes
        ]
