"""Shared fixtures: where the official data lies, and one synthetic service that several tests look at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caseness.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def _parsed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All homes of the tests share what dbt makes of the models' text."""
    before = os.environ.get("CASENESS_PARSE_CACHE")
    folder = tmp_path_factory.getbasetemp().parent / "parsed"
    os.environ["CASENESS_PARSE_CACHE"] = before or str(folder)
    yield
    if before is None:
        del os.environ["CASENESS_PARSE_CACHE"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of official data with expected results; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("CASENESS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the official data are not on this machine; set CASENESS_SHARED_DATA")
    return folder


@dataclass(frozen=True)
class Synthetic:
    """A synthetic service that went the whole way."""

    home: Path
    settings: Settings
    truth: Path
    report: dict[str, Any]

    def expected(self) -> dict[str, Any]:
        """The oracle's counts."""
        body: dict[str, Any] = json.loads((self.truth / "expected.json").read_text(encoding="utf-8"))
        return body


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """800 people over two years: ingested, built, checked, evaluated, published."""
    from caseness.commands.run import run_demo
    from caseness.console import Voice

    home = tmp_path_factory.mktemp("synthetic") / "home"
    settings = Settings(home=home)
    voice = Voice(quiet=True, as_json=False)
    report = run_demo(settings=settings, people=800, years=2, seed=7, working=voice.working)
    return Synthetic(home, settings, home / "synthetic_service" / "truth", report.as_dict())
