"""Keyed pseudonyms: the only form in which a sender's codes enter the warehouse.

``p{key version}_`` + base32(HMAC-SHA256(key, domain, 0x1f, code))[:26], lower case: 130 bits. The domain is project,
identifier namespace and kind of code, so that neither two projects nor two namespaces can be joined by their tokens.

Keys have versions: ``pseudonym.key`` is version 1, ``pseudonym.2.key`` beside it version 2; the highest is in force.
Tokens of two versions never link: after a rotation (`caseness rotate-key`) the sources deliver again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from caseness.errors import CasenessError, NotReadyError
from caseness.journal import write_atomically
from caseness.settings import Settings

KEY_VARIABLE = "CASENESS_PSEUDONYM_KEY"
KEY_VERSION_VARIABLE = "CASENESS_PSEUDONYM_KEY_VERSION"
MINIMUM_KEY_BYTES = 32
PUT_BACK = "put the key back where it was (keys/ in the home), or set key_file"
_TOKEN_CHARACTERS = 26
_BLOCK_BYTES = 64  # of SHA-256
_INNER, _OUTER = bytes(n ^ 0x36 for n in range(256)), bytes(n ^ 0x5C for n in range(256))
_BLOCK_ROWS = 8192
_FIVE_BITS = np.arange(35, -1, -5, dtype=np.uint64)
_BASE32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)


class Key(bytes):
    """A key's bytes and its version."""

    version: int = 1

    @classmethod
    def of(cls, material: bytes, version: int) -> Key:
        """A key of at least 32 bytes. Raises ``CasenessError`` when it is shorter."""
        if len(material) < MINIMUM_KEY_BYTES:
            raise CasenessError(
                "the pseudonym key is shorter than 32 bytes", remedy="use a key of 32 random bytes or more"
            )
        key = cls(material)
        key.version = version
        return key

    def __repr__(self) -> str:
        return f"Key(version={self.version})"


def _first_path(settings: Settings) -> Path:
    return settings.key_file or settings.paths.keys / "pseudonym.key"


def key_paths(settings: Settings) -> dict[int, Path]:
    """Every key file that exists, by version."""
    first = _first_path(settings)
    found = {1: first} if first.exists() else {}
    numbered = re.compile(re.escape(first.stem) + r"\.([1-9][0-9]{0,3})" + re.escape(first.suffix))
    for path in first.parent.iterdir() if first.parent.is_dir() else ():
        match = numbered.fullmatch(path.name)
        if match and int(match[1]) > 1:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def key_path(settings: Settings) -> Path:
    """Where the key in force lies, or where the first would lie."""
    paths = key_paths(settings)
    return paths[max(paths)] if paths else _first_path(settings)


def _is_from_environment() -> bool:
    return bool(os.environ.get(KEY_VARIABLE))


def create_key(settings: Settings) -> Path:
    """Make a random key (mode 0600) unless there is one. A configured ``key_file`` is never created."""
    path = key_path(settings)
    if path.exists() or _is_from_environment():
        return path
    if settings.key_file is not None:
        raise NotReadyError("the configured key_file does not exist", remedy="create it, or unset key_file")
    _write_key(path)
    return path


def rotate_key(settings: Settings) -> int:
    """Make the next key and return its version. Tokens made from now on do not link to earlier ones.

    Raises ``CasenessError`` when the key is kept by somebody else: in the environment or in a configured ``key_file``.
    """
    if _is_from_environment() or settings.key_file is not None:
        raise CasenessError(
            "caseness makes keys in its home only",
            remedy=f"put the next key beside key_file as NAME.2.key, or raise {KEY_VERSION_VARIABLE} with the new key; "
            "then run `caseness rotate-key` again",
        )
    create_key(settings)
    version = max(key_paths(settings)) + 1
    first = _first_path(settings)
    _write_key(first.with_name(f"{first.stem}.{version}{first.suffix}"))
    return version


def _write_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    write_atomically(path, base64.b64encode(secrets.token_bytes(MINIMUM_KEY_BYTES)) + b"\n")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def read_key(settings: Settings) -> Key:
    """The key in force: from the environment, else from the highest version of the key file.

    Raises ``NotReadyError`` when absent, ``CasenessError`` when too short, not base64 in the environment, or when a
    configured ``key_file`` lies in a git work tree.
    """
    if _is_from_environment():
        return _key_of_environment()
    paths = key_paths(settings)
    if not paths:
        if any(settings.paths.manifest.glob("*.json")):
            raise NotReadyError("the pseudonym key of this home is missing", remedy=PUT_BACK)
        raise NotReadyError("there is no pseudonym key yet", remedy="run `caseness init`, or set key_file")
    version = max(paths)
    if settings.key_file is not None and work_tree_of(paths[version]) is not None:
        raise CasenessError(
            "the configured key_file lies in a git work tree, where a commit would publish it",
            remedy="keep the key outside of every repository",
        )
    return Key.of(paths[version].read_bytes().strip(), version)


def _key_of_environment() -> Key:
    try:
        material = base64.b64decode(os.environ[KEY_VARIABLE].strip(), validate=True)
        version = int(os.environ.get(KEY_VERSION_VARIABLE) or 1)
    except (binascii.Error, ValueError) as error:
        raise CasenessError(
            f"{KEY_VARIABLE} is not base64, or {KEY_VERSION_VARIABLE} is not a whole number",
            remedy="write the key's 32 or more random bytes as base64",
        ) from error
    if not 1 <= version <= 9999:
        raise CasenessError(f"{KEY_VERSION_VARIABLE} lies outside 1 to 9999", remedy="count versions from 1")
    return Key.of(material, version)


def work_tree_of(path: Path) -> Path | None:
    """The git work tree that ``path`` lies in, or ``None``."""
    return next((folder for folder in path.absolute().parents if (folder / ".git").exists()), None)


def is_key_private(settings: Settings) -> bool:
    """Whether nobody but its owner can read the key."""
    return os.name != "posix" or not key_path(settings).stat().st_mode & 0o077


@dataclass(frozen=True)
class KeyFinding:
    """A plain fact about the key: ``good``, ``note`` (works, but know it) or ``problem`` (mend it)."""

    state: str
    says: str
    remedy: str = ""


def key_findings(settings: Settings) -> list[KeyFinding]:
    """What is to be known of the key: where it lies, who can read it, which version is in force. Never its bytes."""
    if _is_from_environment():
        try:
            return [KeyFinding("good", f"the key comes from the environment, version {_key_of_environment().version}")]
        except CasenessError as error:
            return [KeyFinding("problem", error.message, error.remedy)]
    paths = key_paths(settings)
    if not paths:
        if any(settings.paths.manifest.glob("*.json")):
            return [KeyFinding("problem", "the pseudonym key of this home is missing", PUT_BACK)]
        return [KeyFinding("note", "there is no pseudonym key yet", "`caseness init` makes one")]
    found = []
    if not is_key_private(settings):
        found.append(KeyFinding("problem", "others on this machine can read the key", "chmod 600 the key file"))
    if settings.key_file is None:
        found.append(
            KeyFinding(
                "note",
                "the key lies in the home, beside the data it protects",
                "for shared data, keep it elsewhere and set key_file",
            )
        )
    if work_tree_of(paths[max(paths)]) is not None:
        found.append(
            KeyFinding(
                "problem" if settings.key_file else "note",
                "the key lies in a git work tree, where a commit would publish it",
                "keep the key outside of every repository; a demo's home must at least be ignored by git",
            )
        )
    if max(paths) > 1:
        found.append(
            KeyFinding("note", f"key version {max(paths)} is in force; tokens of earlier versions do not link to it")
        )
    return found or [KeyFinding("good", "the key is private")]


class Pseudonymiser:
    """Tokens of one project under one key, namespace by namespace."""

    def __init__(self, key: bytes, project: str, version: int | None = None) -> None:
        self._key = bytes(key)
        self._project = project
        self.version = version or getattr(key, "version", 1)

    def _digests(self, domain: str, codes: Iterable[str]) -> list[bytes]:
        """HMAC-SHA256 of each code in a domain. The padded key and the domain are hashed once, not once a code."""
        key = self._key if len(self._key) <= _BLOCK_BYTES else hashlib.sha256(self._key).digest()
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        copy_inner = hashlib.sha256(padded.translate(_INNER) + domain.encode() + b"\x1f").copy
        copy_outer = hashlib.sha256(padded.translate(_OUTER)).copy
        digests = []
        for code in codes:
            inner = copy_inner()
            inner.update(code.strip().encode())
            outer = copy_outer()
            outer.update(inner.digest())
            digests.append(outer.digest())
        return digests

    def token_series(self, codes: pl.Series, *, kind: str, namespace: str) -> pl.Series:
        """One token for each code, in order. ``codes`` holds no missing value."""
        digests = self._digests(f"{self._project}/{namespace}/{kind}", codes.to_list())
        return _base32_tokens(digests, f"p{self.version}_").alias(codes.name)

    def tokens(self, codes: Iterable[str], *, kind: str, namespace: str) -> list[str]:
        """One token for each code, in order. Codes are stripped of surrounding white space and taken as they are."""
        digests = self._digests(f"{self._project}/{namespace}/{kind}", codes)
        return [str(token) for token in _base32_tokens(digests, f"p{self.version}_").to_list()]

    def shift_days(self, tokens: pl.Series, *, weeks: int) -> pl.Series:
        """The date shift of each token: a multiple of seven days, up to ``weeks`` weeks to either side.

        The key of the shift is derived from the pseudonym key, so that a shift cannot be told from its token.
        """
        shift_key = hmac.digest(self._key, b"date shift", "sha256")
        turns = 2 * weeks + 1
        days = [
            7 * (int.from_bytes(hmac.digest(shift_key, token.encode(), "sha256")) % turns - weeks)
            for token in tokens.to_list()
        ]
        return pl.Series("shift_days", days, dtype=pl.Int64)


def _base32_tokens(digests: list[bytes], prefix: str) -> pl.Series:
    """``prefix`` and the first 26 base32 characters of each digest, whole blocks at once."""
    count, head = len(digests), len(prefix)
    letters = np.empty((count, head + _TOKEN_CHARACTERS), dtype=np.uint8)
    letters[:, :head] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    for first in range(0, count, _BLOCK_ROWS):
        block = digests[first : first + _BLOCK_ROWS]
        # five bytes make eight characters; the first 20 bytes hold the 26 characters that are kept
        groups = np.frombuffer(b"".join(block), dtype=np.uint8).reshape(len(block), 32)[:, :20].reshape(-1, 4, 5)
        wide = np.zeros(groups.shape[:2], dtype=np.uint64)
        for place in range(5):
            wide = (wide << np.uint64(8)) | groups[:, :, place]
        places = ((wide[:, :, None] >> _FIVE_BITS) & np.uint64(31)).reshape(len(block), 32)[:, :_TOKEN_CHARACTERS]
        letters[first : first + len(block), head:] = _BASE32[places.astype(np.uint8)]
    ends = np.arange(count + 1, dtype=np.int64) * letters.shape[1]
    return pl.Series(pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(letters)))
