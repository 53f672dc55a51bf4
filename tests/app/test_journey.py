"""The app in a real browser, from the first image to a new model.

The tests share one server, its records and one browser; each has a session of its own. With
``HEMATOVISION_SCREENSHOTS`` set to a folder, the screenshots of the documentation are taken.
"""

import io
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser is driven by playwright")
pytest.importorskip("keras", reason="training needs the extra 'train'")

from playwright.sync_api import Browser, Page, expect, sync_playwright

from hematovision import images
from hematovision.app.views.classify import synthetic_samples
from hematovision.images.crops import crop
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.retraining.library import ModelLibrary
from hematovision.review.store import ReviewStore
from hematovision.synthetic import render_field

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TITLES = ["Classify", "Fields", "Review", "Train", "Models", "Records"]
CONTRAST = Path(__file__).with_name("contrast.js").read_text()
TIMEOUT = 120_000  # ms, for a busy machine
LINES_OF_LINKS = "[...document.links].flatMap(link => link.innerText.split('\\n'))"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: str, store: ReviewStore, server_home: Path) -> Iterator[Page]:
    """A page of a new session, with the default model in use."""
    library = ModelLibrary(server_home / "models")
    library.use(library.find(DEFAULT_MODEL), store, "test")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    yield page
    context.close()


@pytest.fixture
def store(server: str, server_home: Path) -> Iterator[ReviewStore]:
    """The records of the server."""
    with ReviewStore.open(f"sqlite+pysqlite:///{server_home / 'records.sqlite3'}") as store:
        yield store


def screenshot(page: Page, name: str) -> None:
    """Take a screenshot for the documentation, if it was asked for."""
    if folder := os.environ.get("HEMATOVISION_SCREENSHOTS"):
        page.mouse.move(2, 2)
        page.get_by_test_id("stToast").wait_for(state="detached")
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"app-{name}.png")


def quiet(page: Page) -> None:
    """Wait until the page is complete, and check that nothing failed."""
    page.wait_for_timeout(60)
    expect(page.get_by_test_id("stApp")).to_have_attribute(
        "data-test-script-state", "notRunning", timeout=TIMEOUT
    )
    assert page.get_by_test_id("stException").count() == 0


def many_cells(fields: int) -> bytes:
    """A zip of synthetic cells, cropped from synthetic fields."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for seed in range(fields):
            kinds = {"rbc": 6, "platelet": 5, "neutrophil": 2, "lymphocyte": 2}
            field = render_field(seed, lab="synthetic-a", cells=kinds)
            for number, cell in enumerate(field.cells):
                xmin, ymin, xmax, ymax = map(float, cell.box)
                pixels, cut = crop(field.image, (xmin, ymin, xmax, ymax))
                if not cut:
                    name = f"synthetic-{seed}-{cell.kind}-{number}.png"
                    archive.writestr(name, images.encode_png(pixels))
    return packed.getvalue()


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    )


def test_from_the_first_image_to_a_new_model(
    server: str, page: Page, store: ReviewStore, server_home: Path
):
    page.goto(server)
    page.get_by_text("Try it with synthetic cells").wait_for()
    quiet(page)
    assert page.title().endswith("HematoVision") or page.title() == "Classify"

    # Three images and a broken one.
    upload(page, *synthetic_samples()[:3], ("broken.png", synthetic_samples()[0][1][:200]))
    page.get_by_text("1 file could not be read").wait_for()
    quiet(page)
    assert page.locator(".hv-prediction").count() == 3
    before = page.get_by_test_id("stImage").locator("img").first.get_attribute("src")

    # The heat map.
    page.get_by_text("Heat map").click()
    expect(page.get_by_test_id("stImage").locator("img").first).not_to_have_attribute(
        "src", before or "", timeout=TIMEOUT
    )
    quiet(page)

    # More of them, in a zip, all to be reviewed.
    page.get_by_text("More images").click()
    upload(page, ("cells.zip", many_cells(3)))
    send = page.get_by_role("button", name=re.compile(r"Also review the \d\d accepted"))
    send.wait_for()
    quiet(page)
    screenshot(page, "classify")
    send.click()
    page.get_by_text("cells added to the review queue").wait_for()

    # A person decides: the first is corrected, the model is right about the others.
    page.get_by_role("link", name="Review").click()
    page.get_by_label("Your name").fill("Ana")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("What is the highlighted cell?").wait_for()
    quiet(page)
    screenshot(page, "review")
    question = page.get_by_text("What is the highlighted cell?").locator("..").inner_text()
    other = "2" if "Model: RBC" in question else "1"
    page.keyboard.press(other)
    quiet(page)
    (corrected,) = store.recent("Ana")
    assert (corrected.before, corrected.after) == (
        ("RBC", "WBC") if other == "2" else (corrected.before, "RBC")
    )
    waiting = sum(queue.waiting for queue in store.queues())
    for left in range(waiting, waiting - 13, -1):  # to the second page
        page.get_by_text(f"{left} in the queue · reviewing as Ana").wait_for()
        quiet(page)
        page.keyboard.press("Enter")
    quiet(page)
    # Ana decides on the rest in another window, up to the last two.
    model = store.queues()[0].model.sha256
    for cell in store.claim("Ana", model, 500)[:-2]:
        store.decide(cell.prediction.id, "Ana", cell.prediction.label)
    page.reload()
    page.get_by_role("button", name=re.compile("Agree")).wait_for()
    page.wait_for_timeout(2000)  # until keys work
    for left in (2, 1):
        page.get_by_text(f"{left} in the queue · reviewing as Ana").wait_for()
        quiet(page)
        page.keyboard.press("Enter")
    page.get_by_text(re.compile("The queue (of this model )?is empty")).first.wait_for()
    assert len(store.recent("Ana", 500)) == waiting + 1

    # It is in the export, in the folder of the corrected class.
    page.get_by_role("link", name="Train").click()
    page.get_by_role("button", name="Make a dataset").click()
    page.get_by_text("cells in").first.wait_for()
    (folder,) = (server_home / "exports").iterdir()
    found = store.reviewed()
    sha256 = next(r.prediction.image for r in found if r.prediction.id == corrected.prediction_id)
    (file,) = folder.rglob(f"{sha256[:16]}*.png")
    assert file.parent.name == corrected.after

    # A model is trained on them, compared with the old one, and used.
    page.get_by_text("Train a new model").click()
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("is ready").wait_for()
    page.get_by_text("cells that the new model was not trained on").wait_for()
    quiet(page)
    page.locator(".hv-foot").scroll_into_view_if_needed()
    screenshot(page, "train")
    page.get_by_role("button", name=re.compile("Use the new model")).click()
    page.get_by_text("The new model is in use on all pages").wait_for()
    page.get_by_role("link", name="Models").click()
    page.get_by_text("This model is in use on all pages.").wait_for()
    page.get_by_role("tab", name="Report").click()
    page.get_by_text("Download the report").wait_for()
    quiet(page)


def test_a_page_has_its_own_url_and_no_module_is_listed(server: str, page: Page):
    page.goto(f"{server}/models", wait_until="commit")
    foot, listed = page.locator(".hv-foot"), set()
    until = time.monotonic() + TIMEOUT / 1000
    while not foot.count() and time.monotonic() < until:
        listed.update(page.evaluate(LINES_OF_LINKS))
        page.wait_for_timeout(20)
    quiet(page)
    page.get_by_role("heading", name="Models and reports").wait_for()
    page.get_by_role("link", name=re.compile("Records")).wait_for()
    links = page.get_by_role("link").all_inner_texts()
    names = [text.split("\n")[-1] for text in links if text.split("\n")[-1] in TITLES]
    assert names == TITLES
    assert listed.isdisjoint({"classify", "review", "train", "records"})


def test_the_old_url_of_the_page_train_redirects(server: str, page: Page):
    page.goto(f"{server}/learn?who=Ana")
    page.get_by_role("heading", name="Train on reviewed cells").wait_for()
    expect(page).to_have_url(f"{server}/train?who=Ana")


def test_the_menu_leaves_a_phone_free_for_the_page(server: str, page: Page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(server)
    for title, heading in (("Models", "Models and reports"), ("Records", "Records and privacy")):
        page.get_by_role("link", name=title).click()
        page.get_by_role("heading", name=heading).wait_for()
        quiet(page)
        on_top = page.evaluate(
            "document.elementFromPoint(120, 420).closest('[data-testid=stSidebar]') === null"
        )
        assert on_top
        assert not page.get_by_test_id("stSidebarNav").is_visible()


def test_other_tabs_of_the_review_are_up_to_date(server: str, page: Page, store: ReviewStore):
    page.goto(server)
    page.get_by_text("Try it with synthetic cells").click()
    page.get_by_role("button", name=re.compile(r"Also review the \d+ accepted")).click()
    page.get_by_text("cells added to the review queue").wait_for()
    (queue,) = store.queues()
    matrix = store.agreement(queue.model.sha256).matrix
    page.goto(f"{server}/review?who=Ben")
    for decided in (1, 2):
        page.get_by_text("What is the highlighted cell?").wait_for()
        quiet(page)
        before = page.get_by_text("in the queue · reviewing as Ben").inner_text()
        page.get_by_role("button", name="Agree").click()
        expect(page.get_by_text("in the queue · reviewing as Ben")).not_to_have_text(
            before, timeout=TIMEOUT
        )
        page.get_by_role("tab", name="Agreement").click()
        page.get_by_text(f"{matrix.trace() + decided} of {matrix.sum() + decided}").wait_for()
        page.get_by_role("tab", name="My decisions").click()
        quiet(page)
        page.get_by_role("tab", name="Queue").click()


def test_every_page_fits_the_screen_in_light_and_dark(server: str, page: Page):
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(server)
    page.get_by_text("Try it with synthetic cells").click()
    page.get_by_text("Heat map").wait_for()
    for path in ("", "fields", "review?who=Ben", "train", "models", "records"):
        if path:
            page.goto(f"{server}/{path}")
        if path == "fields":
            page.set_viewport_size({"width": 1280, "height": 1100})
            page.emulate_media(color_scheme="light")
            page.get_by_text("Try it with a synthetic field").click()
            page.get_by_text("Download the report").wait_for()
            quiet(page)
            screenshot(page, "fields")
        page.locator(".hv-foot").wait_for()
        quiet(page)
        for width, scheme in ((1280, "dark"), (390, "dark"), (390, "light")):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(300)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (path, width)
            ground = page.evaluate(
                "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
            )
            assert (ground == "rgb(255, 255, 255)") == (scheme == "light"), (path, scheme)
            assert page.evaluate(CONTRAST) == [], (path, scheme)
        if path.startswith("review"):
            screenshot(page, "phone")
    # No other computer is contacted.
    assert all(url.startswith((server, "data:", "blob:")) for url in requested)
