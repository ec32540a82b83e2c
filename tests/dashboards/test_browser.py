"""The dashboard in a real browser: figures appear, nothing is wider than the screen or fetched from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Synthetic

pytestmark = pytest.mark.browser
CHROMIUM = Path(os.environ.get("CASENESS_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="module")
def address(synthetic: Synthetic) -> Iterator[str]:
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed (./dev browser), or set CASENESS_CHROMIUM")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "caseness.cli", "--home", str(synthetic.home), "dashboard", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("page", ["trajectories", "", "outcomes_by_group", "data_quality", "about"])
def test_page_in_a_browser(address: str, page: str, width: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        tab = browser.new_page(viewport={"width": width, "height": 900})
        outside: list[str] = []
        errors: list[str] = []
        tab.on("request", lambda request: None if "127.0.0.1" in request.url else outside.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{address}/{page}")
        has_chart = page in ("", "trajectories", "outcomes_by_group")
        tab.wait_for_selector(".js-plotly-plot .main-svg" if has_chart else "[data-testid=stTable]", timeout=60_000)
        tab.wait_for_timeout(800)
        # The first one opened is a bookmark of a page that is not the first.
        assert tab.get_by_text("Page not found").count() == 0
        too_wide = tab.evaluate(
            "() => { const m = document.querySelector('[data-testid=stMain]');"
            " return m.scrollWidth > m.clientWidth + 1 }"
        )
        assert not too_wide
        assert errors == []
        assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []
        browser.close()
