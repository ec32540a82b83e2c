"""Pseudonyms: the same person links within one key, project, namespace and kind, and across nothing else."""

from __future__ import annotations

import base64
import hmac
import re
import subprocess
from pathlib import Path

import polars as pl
import pytest

import ingestion
from caseness.errors import CasenessError, NotReadyError
from caseness.settings import Settings
from ingestion import pseudonyms
from ingestion.pseudonyms import Key, Pseudonymiser, create_key, key_findings, read_key, rotate_key
from tests.fixtures.small_service import Course, write_delivery

_KEY = bytes(range(32))
_LONG_KEY = bytes(range(100))  # longer than a block of SHA-256: hashed first


def _plainly(key: bytes, version: int, domain: str, code: str) -> str:
    """The definition, word by word, from the standard library."""
    digest = hmac.digest(key, domain.encode() + b"\x1f" + code.strip().encode(), "sha256")
    return f"p{version}_" + base64.b32encode(digest)[:26].decode().lower()


VECTORS = [
    (_KEY, 1, "default", "small", "person", "P1", "p1_y4c2yg6jwgpv2nv5z4gxbl44d2"),
    (_KEY, 1, "default", "small", "person", "Zoë 9 ß", "p1_3fywgjmdtzuhx7nh24gz3yhtyn"),
    (_LONG_KEY, 2, "trial", "app", "contact", "C-77", "p2_6475j75rubomvygprfs5edvsrj"),
]


@pytest.mark.parametrize(("key", "version", "project", "namespace", "kind", "code", "token"), VECTORS)
def test_a_token_never_changes(
    key: bytes, version: int, project: str, namespace: str, kind: str, code: str, token: str
) -> None:
    pseudonymiser = Pseudonymiser(key, project, version)
    assert pseudonymiser.tokens([code, f"  {code}\t"], kind=kind, namespace=namespace) == [token, token]
    assert _plainly(key, version, f"{project}/{namespace}/{kind}", code) == token


def test_many_tokens_are_what_the_definition_says() -> None:
    codes = [f"{number:x}-{'ü' * (number % 3)}" for number in range(20_011)]  # more than two blocks
    found = Pseudonymiser(_KEY, "default").token_series(pl.Series(codes), kind="person", namespace="small")
    assert found.to_list() == [_plainly(_KEY, 1, "default/small/person", code) for code in codes]
    assert found.dtype == pl.String
    assert found.n_unique() == len(codes)
    assert found.str.contains(r"^p1_[a-z2-7]{26}$").all()
    assert Pseudonymiser(_KEY, "default").tokens([], kind="person", namespace="small") == []


def test_a_token_depends_on_key_version_project_namespace_and_kind() -> None:
    def token(key: bytes = _KEY, project: str = "a", version: int = 1, kind: str = "person", space: str = "x") -> str:
        return Pseudonymiser(key, project, version).tokens(["P1"], kind=kind, namespace=space)[0]

    others = [token(_LONG_KEY), token(project="b"), token(version=2), token(kind="contact"), token(space="y")]
    assert token() == token()
    assert len({token(), *others}) == 6


def test_keys_have_versions_and_the_highest_is_in_force(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(NotReadyError):
        read_key(settings)
    assert create_key(settings).name == "pseudonym.key"
    first = read_key(settings)
    assert (first.version, rotate_key(settings), rotate_key(settings)) == (1, 2, 3)
    third = read_key(settings)
    assert third.version == 3
    assert sorted(path.name for path in settings.paths.keys.iterdir()) == [
        "pseudonym.2.key",
        "pseudonym.3.key",
        "pseudonym.key",
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in settings.paths.keys.iterdir())
    assert pseudonyms.key_paths(settings)[1].read_bytes().strip() == first
    assert create_key(settings).name == "pseudonym.3.key"  # nothing new
    tokens = {Pseudonymiser(key, "a").tokens(["P1"], kind="person", namespace="x")[0] for key in (first, third)}
    assert {token[:3] for token in tokens} == {"p1_", "p3_"}
    assert len({token[3:] for token in tokens}) == 2


def test_after_a_rotation_files_link_among_themselves_and_not_to_earlier_ones(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    people: list[set[str]] = []
    rows = []
    for number, rotates in enumerate((False, False, True)):
        if rotates:
            rotate_key(settings)
        folder = write_delivery(
            tmp_path / str(number), [Course("1"), Course("2")], delivered_at=f"2025-0{number + 1}-01T00:00:00Z"
        )
        with (folder / "people.csv").open("a", encoding="utf-8") as handle:
            handle.write(f"P{number + 10},1980-05-17,male\n")
        report = ingestion.ingest([folder / "people.csv"], settings=settings).as_dict()
        rows.append(report["rows_admitted"])
        parts = ingestion.landed_parts(settings)["people"]
        known = set().union(*people) if people else set()
        everyone = set(pl.concat([pl.read_parquet(part) for part in parts]).get_column("person_token").to_list())
        people.append(everyone - known)
    assert rows == [3, 3, 3]
    assert [len(new) for new in people] == [3, 1, 3]  # two of three link to the first file, none after the rotation
    assert all(token.startswith("p2_") for token in people[2])


def test_a_key_from_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path / "home")
    create_key(settings)
    monkeypatch.setenv(pseudonyms.KEY_VARIABLE, base64.b64encode(_KEY).decode())
    monkeypatch.setenv(pseudonyms.KEY_VERSION_VARIABLE, "7")
    assert (read_key(settings), read_key(settings).version) == (_KEY, 7)
    assert [finding.state for finding in key_findings(settings)] == ["good"]
    with pytest.raises(CasenessError):
        rotate_key(settings)
    for variable, value in ((pseudonyms.KEY_VERSION_VARIABLE, "0"), (pseudonyms.KEY_VARIABLE, "not base64!")):
        monkeypatch.setenv(variable, value)
        with pytest.raises(CasenessError) as refused:
            read_key(settings)
        assert value not in refused.value.message or value == "0"
        assert [finding.state for finding in key_findings(settings)] == ["problem"]
    monkeypatch.setenv(pseudonyms.KEY_VERSION_VARIABLE, "1")
    monkeypatch.setenv(pseudonyms.KEY_VARIABLE, base64.b64encode(_KEY[:31]).decode())
    with pytest.raises(CasenessError, match="shorter"):
        read_key(settings)


def test_a_configured_key_file_is_never_made_and_has_versions_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", key_file=tmp_path / "safe" / "own.key")
    with pytest.raises(NotReadyError):
        create_key(settings)
    (tmp_path / "safe").mkdir()
    for name, byte in (("own.key", b"a"), ("own.2.key", b"b"), ("own.02.key", b"c"), ("own.2.key.bak", b"d")):
        (tmp_path / "safe" / name).write_bytes(byte * 32)
    assert (read_key(settings), read_key(settings).version) == (b"b" * 32, 2)
    with pytest.raises(CasenessError):
        rotate_key(settings)


def test_a_key_file_in_a_repository_is_refused_and_a_home_in_one_is_told(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "repository"], check=True)
    key = tmp_path / "repository" / "deep" / "own.key"
    key.parent.mkdir()
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    settings = Settings(home=tmp_path / "home", key_file=key)
    with pytest.raises(CasenessError, match="work tree"):
        read_key(settings)
    assert [finding.state for finding in key_findings(settings)] == ["problem"]
    inside = Settings(home=tmp_path / "repository" / "home")
    create_key(inside)
    assert read_key(inside).version == 1
    assert any("work tree" in finding.says and finding.state == "note" for finding in key_findings(inside))


def test_a_key_does_not_show_itself() -> None:
    key = Key.of(b"very secret bytes of thirty-two!", 2)
    assert re.fullmatch(r"Key\(version=2\)", repr(key))


def test_shifts_are_whole_weeks_within_bounds_and_one_a_person() -> None:
    pseudonymiser = Pseudonymiser(_KEY, "default")
    tokens = pseudonymiser.token_series(pl.Series([f"P{n}" for n in range(5000)]), kind="person", namespace="small")
    shifts = pseudonymiser.shift_days(tokens, weeks=3)
    assert set(shifts.to_list()) == {7 * week for week in range(-3, 4)}
    counts = shifts.value_counts().get_column("count")
    assert counts.min() > 5000 / 7 * 0.8  # type: ignore[operator]
    assert shifts.to_list() == pseudonymiser.shift_days(tokens, weeks=3).to_list()
    assert shifts.to_list() != Pseudonymiser(_LONG_KEY, "default").shift_days(tokens, weeks=3).to_list()
    assert set(pseudonymiser.shift_days(tokens, weeks=0).to_list()) == {0}
