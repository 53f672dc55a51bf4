"""The built site in a browser: nothing comes from elsewhere, search works, pages fit a phone."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGES = [
    "",
    "tutorial/",
    "fields/",
    "results/",
    "models/white-cells/",
    "cli/analyze/",
    "api/",
    "api/predict/",
    "decisions/",
    "project/changelog/",
    "notebooks/count-a-field/",
]

# Right end of the widest element that does not scroll inside another.
WIDEST = """() => Math.max(...[...document.querySelectorAll('.md-content *')].filter(element => {
  for (let outer = element; outer && outer !== document.body; outer = outer.parentElement)
    if (getComputedStyle(outer).overflowX !== 'visible') return false;
  return true;
}).map(element => element.getBoundingClientRect().right))"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Address of the whole site, served on loopback."""
    handler = functools.partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_pages_fit_and_load_nothing_from_elsewhere(address: str, browser: Any):
    page = browser.new_page()
    elsewhere, errors = [], []
    page.on("request", lambda r: r.url.startswith((address, "data:")) or elsewhere.append(r.url))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    for name in PAGES:
        page.goto(address + name, wait_until="networkidle")
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate(WIDEST) <= width, (name, width)
    assert not elsewhere
    assert not errors
    page.close()


def test_search_finds_an_option(address: str, browser: Any):
    page = browser.new_page()
    page.goto(address, wait_until="networkidle")
    page.keyboard.press("Control+k")
    page.keyboard.type("rbc-diameter", delay=20)
    page.locator("a[href*='cli/analyze']:visible").first.wait_for(timeout=10_000)
    page.close()
