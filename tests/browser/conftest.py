"""The built demo, served on loopback, in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser is driven by playwright")

from playwright.sync_api import Browser, Page, expect, sync_playwright

from browser_demo import open_analysis, served
from web.build import RUNTIME, build

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TIMEOUT = 180_000  # ms, for a busy machine


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built demo."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    if not RUNTIME.is_dir():
        pytest.skip("ONNX Runtime Web is not installed: run `make browser-demo`")
    folder = tmp_path_factory.mktemp("demo")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def address(demo: Path) -> Iterator[str]:
    with served(demo) as address:
        yield address


@pytest.fixture(scope="module")  # while it is open, no test can run an event loop
def browser(demo: Path) -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def analysis(browser: Browser, address: str) -> Page:
    """A page in which the models are open; see `browser_demo.analyze` and `call`."""
    page = browser.new_context().new_page()
    page.set_default_timeout(TIMEOUT)
    open_analysis(page, address)
    return page


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page of the demo, with nothing cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(address)
    yield page
    context.close()
