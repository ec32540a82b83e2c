"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared reference data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CASENESS_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared reference data are not beside this checkout (set CASENESS_SHARED_DATA)")
    return folder
