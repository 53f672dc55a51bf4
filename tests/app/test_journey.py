"""The page in a real browser, from the first image to a new model.

With ``HEMATOVISION_SCREENSHOTS`` set to a folder, the pictures of the documentation are taken.
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
pytest.importorskip("keras", reason="learning needs the extra 'train'")

from playwright.sync_api import Page, expect, sync_playwright

from hematovision import images
from hematovision.app.samples import synthetic_samples
from hematovision.images.crops import crop
from hematovision.review.store import ReviewStore
from hematovision.synthetic import render_field

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TITLES = ["Classify", "Review", "Learn", "Models", "Records"]
CONTRAST = Path(__file__).with_name("contrast.js").read_text()
PATIENCE = 120_000  # Milliseconds for what a busy machine may take.

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def picture(page: Page, name: str) -> None:
    """Take a picture for the documentation, where it was asked for."""
    if folder := os.environ.get("HEMATOVISION_SCREENSHOTS"):
        page.mouse.move(2, 2)
        page.get_by_test_id("stToast").wait_for(state="detached")
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"app-{name}.png")


def quiet(page: Page) -> None:
    """Wait until the page has drawn what it was asked for, and nothing of it failed."""
    page.wait_for_timeout(60)
    expect(page.get_by_test_id("stApp")).to_have_attribute(
        "data-test-script-state", "notRunning", timeout=PATIENCE
    )
    assert page.get_by_test_id("stException").count() == 0


def many_cells(fields: int) -> bytes:
    """A zip of drawn cells, cut out of drawn fields."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for seed in range(fields):
            kinds = {"rbc": 6, "platelet": 5, "neutrophil": 2, "lymphocyte": 2}
            field = render_field(seed, lab="synthetic-a", cells=kinds)
            for number, cell in enumerate(field.cells):
                xmin, ymin, xmax, ymax = map(float, cell.box)
                pixels, cut = crop(field.image, (xmin, ymin, xmax, ymax))
                if not cut:
                    name = f"drawn-{seed}-{cell.kind}-{number}.png"
                    archive.writestr(name, images.encode_png(pixels))
    return packed.getvalue()


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    )


def test_from_the_first_image_to_a_new_model(server: str, browser_page: Page, home: Path):
    page = browser_page
    page.goto(server)
    page.get_by_text("Try it with synthetic cells").wait_for()
    quiet(page)
    assert page.title().endswith("HematoVision") or page.title() == "Classify"

    # Three images and a broken one.
    upload(page, *synthetic_samples()[:3], ("broken.png", synthetic_samples()[0][1][:200]))
    page.get_by_text("1 file was not read").wait_for()
    quiet(page)
    assert page.locator(".hv-answer").count() == 3
    before = page.get_by_test_id("stImage").locator("img").first.get_attribute("src")

    # The heat map.
    page.get_by_text("Show where the model looked").click()
    expect(page.get_by_test_id("stImage").locator("img").first).not_to_have_attribute(
        "src", before or "", timeout=PATIENCE
    )
    quiet(page)

    # More of them, in a zip, all to be reviewed.
    page.get_by_text("More images").click()
    upload(page, ("cells.zip", many_cells(3)))
    send = page.get_by_role("button", name=re.compile(r"Review the \d\d accepted too"))
    send.wait_for()
    quiet(page)
    picture(page, "classify")
    send.click()
    page.get_by_text("cells added to the review queue").wait_for()

    # A person decides: the first is corrected, the model is right about the others.
    page.get_by_role("link", name="Review").click()
    page.get_by_label("Your name").fill("Ana")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("What is the highlighted cell?").wait_for()
    quiet(page)
    picture(page, "review")
    said = page.get_by_text("What is the highlighted cell?").locator("..").inner_text()
    other = "2" if "Model: RBC" in said else "1"
    page.keyboard.press(other)
    quiet(page)
    store = ReviewStore.open(f"sqlite+pysqlite:///{home / 'records.sqlite3'}")
    (corrected,) = store.recent("Ana")
    assert (corrected.before, corrected.after) == (
        ("RBC", "WBC") if other == "2" else (corrected.before, "RBC")
    )
    waiting = sum(queue.waiting for queue in store.queues())
    for left in range(waiting, 0, -1):
        page.get_by_text(f"{left} wait · deciding as Ana").wait_for()
        quiet(page)
        page.keyboard.press("Enter")
    page.get_by_text(re.compile("Nothing (waits|of this model waits)")).first.wait_for()
    assert len(store.recent("Ana", 500)) == waiting + 1

    # It is in the export, in the folder of the corrected class.
    page.get_by_role("link", name="Learn").click()
    page.get_by_role("button", name="Make a dataset of them").click()
    page.get_by_text("cells in").first.wait_for()
    (folder,) = (home / "exports").iterdir()
    found = store.reviewed()
    sha256 = next(r.prediction.image for r in found if r.prediction.id == corrected.prediction_id)
    (file,) = folder.rglob(f"{sha256[:16]}*.png")
    assert file.parent.name == corrected.after
    store.close()

    # A model learns from them, beside the old one, and answers.
    page.get_by_text("Train a new model").click()
    page.get_by_role("button", name="Learn", exact=True).click()
    page.get_by_text("is ready").wait_for()
    page.get_by_text("cells that the new model was not trained on").wait_for()
    quiet(page)
    page.locator(".hv-foot").scroll_into_view_if_needed()
    picture(page, "learn")
    page.get_by_role("button", name=re.compile("Use the new model")).click()
    page.get_by_text("The new model is in use on every page").wait_for()
    page.get_by_role("link", name="Models").click()
    page.get_by_text("This model answers on every page.").wait_for()
    page.get_by_role("tab", name="Report").click()
    page.get_by_text("Download the report").wait_for()
    quiet(page)


def test_a_page_is_found_by_its_address_and_no_module_is_listed(server: str, browser_page: Page):
    page = browser_page
    page.goto(f"{server}/models", wait_until="commit")
    foot, listed = page.locator(".hv-foot"), ""
    until = time.monotonic() + PATIENCE / 1000
    while not foot.count() and time.monotonic() < until:
        listed += page.evaluate("document.body?.innerText ?? ''")
        page.wait_for_timeout(20)
    quiet(page)
    page.get_by_role("heading", name="Models and reports").wait_for()
    links = page.get_by_role("link").all_inner_texts()
    names = [text.split("\n")[-1] for text in links if text.split("\n")[-1] in TITLES]
    assert names == TITLES
    for module in ("batch", "beside", "grid", "learning"):
        assert module not in listed.split()


def test_the_list_of_pages_leaves_a_phone_free_for_the_page(server: str, browser_page: Page):
    page = browser_page
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


def test_other_tabs_of_the_review_are_up_to_date(server: str, browser_page: Page):
    page = browser_page
    page.goto(server)
    page.get_by_text("Try it with synthetic cells").click()
    send = page.get_by_role("button", name=re.compile(r"Review the \d+ accepted too"))
    send.click()
    page.get_by_text("cells added to the review queue").wait_for()
    page.goto(f"{server}/review?who=Ana")
    for decided in (1, 2):
        page.get_by_text("What is the highlighted cell?").wait_for()
        quiet(page)
        before = page.get_by_text("wait · deciding as Ana").inner_text()
        page.get_by_role("button", name="Agree").click()
        expect(page.get_by_text("wait · deciding as Ana")).not_to_have_text(
            before, timeout=PATIENCE
        )
        page.get_by_role("tab", name="Agreement").click()
        page.get_by_text(f"{decided} of {decided}").wait_for()
        page.get_by_role("tab", name="My decisions").click()
        quiet(page)
        page.get_by_role("tab", name="Waiting").click()


def test_every_page_fits_the_screen_in_light_and_dark(server: str, browser_page: Page):
    page = browser_page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    page.get_by_text("Try it with synthetic cells").click()
    page.get_by_text("Show where the model looked").wait_for()
    for path in ("", "review?who=Ana", "learn", "models", "records"):
        if path:
            page.goto(f"{server}/{path}")
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
            picture(page, "phone")
    # Nothing is asked of, or told to, any other computer.
    assert all(url.startswith((server, "data:", "blob:")) for url in asked)
