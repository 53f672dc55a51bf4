"""The page of the demo: fields are counted on it, nothing leaves it, and it works offline."""

import csv
import io
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from browser_demo import served
from hematovision import images
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.counts import Counts, Tally
from hematovision.fields.rows import CellRow, split
from hematovision.synthetic import render_field
from web.build import PAGES, ROOT, SAMPLES

CONTRAST = (ROOT / "tests" / "app" / "contrast.js").read_text()


@cache
def in_python(number: int) -> tuple[list[CellRow], Counts]:
    """The cells and counts of one of the page's synthetic fields."""
    seed, lab = SAMPLES[number - 1]
    analyzer = FieldAnalyzer.load()
    name = f"synthetic field {number}.png"
    cells, fields = split(analyzer.predict_rows(render_field(seed, lab=lab).image, name)[0])
    assert analyzer.subtypes is not None
    tally = Tally(analyzer.subtypes.classes)
    tally.add(fields[0], cells)
    return cells, tally.counts()


def try_field(page: Page, number: int) -> None:
    page.get_by_role("button", name=f"Synthetic field {number}", exact=True).click()
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#progress")).to_be_hidden()


def metrics(page: Page) -> dict[str, int]:
    names = page.locator("#metrics dt").all_inner_texts()
    return dict(
        zip(names, map(int, page.locator("#metrics .value").all_inner_texts()), strict=True)
    )


def test_a_field_is_counted_as_by_the_program_and_nothing_is_uploaded(page: Page, address: str):
    requests = []
    page.context.on("request", lambda request: requests.append(request))
    try_field(page, 1)
    cells, counts = in_python(1)
    labels = {"Red cells": "RBC", "White cells": "WBC", "Platelets": "Platelets"}
    expected = {name: counts.cells[label].n for name, label in labels.items()}
    review = sum(one.review for one in counts.cells.values())
    assert metrics(page) == {**expected, "For review": review}
    with page.expect_download() as download:
        page.get_by_role("button", name="Download cells.csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["label"] for row in rows] == [cell.label for cell in cells]
    assert [float(row["x_min"]) for row in rows] == pytest.approx([c.x_min for c in cells], abs=1)
    loaded = len(requests)
    try_field(page, 3)
    sent = [one for one in requests if not one.url.startswith("blob:")]
    assert all(one.method == "GET" and one.url.startswith(address) for one in sent)
    assert [one.url for one in requests[loaded:] if not one.url.startswith("blob:")] == [
        f"{address}fields/synthetic-3.png"
    ]
    assert metrics(page)["Fields"] == 2
    assert metrics(page)["Red cells"] == sum(in_python(n)[1].cells["RBC"].n for n in (1, 3))


def test_white_cells_and_notes_are_those_of_the_program(page: Page):
    try_field(page, 2)
    _, counts = in_python(2)
    rows = page.locator("#kinds tbody tr").all_inner_texts()
    found = dict(row.split("\t") for row in rows)
    kinds = {name: str(one.n) for name, one in counts.differential.classes.items()}
    nucleated = counts.differential.nucleated_red_cells.n
    assert found == kinds | ({"nucleated red cells": str(nucleated)} if nucleated else {})
    notes = page.locator("#notes").inner_text()
    low, high = counts.platelets.interval or (0.0, 0.0)
    assert f"{counts.platelets.per_1000_rbc:.1f} (95% limits {low:.1f} to {high:.1f})" in notes


def test_the_page_can_send_nothing_to_another_host(page: Page, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("reached")
    try_field(page, 1)
    with served(tmp_path) as other:
        fetching = (
            f"fetch('{other}secret.txt', {{mode: 'no-cors'}}).then(() => 'sent', () => 'blocked')"
        )
        assert page.evaluate(fetching) == "blocked"
        assert len(page.workers) == 1
        assert page.workers[0].evaluate(fetching) == "blocked"


def test_it_works_offline_once_a_field_was_counted(browser: Browser, demo: Path):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(180_000)
    with served(demo) as address:
        page.goto(address)
        try_field(page, 1)
        expect(page.locator("#offline")).to_contain_text("works offline")
        before = metrics(page)
    page.reload()  # the server has ended
    try_field(page, 1)
    assert metrics(page) == before
    context.close()


def test_files_that_cannot_be_analysed_are_named_and_the_others_counted(page: Page):
    blank = images.encode_png(np.full((120, 160, 3), 230, np.uint8))
    large = io.BytesIO()
    Image.new("1", (5100, 5000)).save(large, "PNG")
    page.set_input_files(
        "#files",
        [
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"},
            {"name": "huge.png", "mimeType": "image/png", "buffer": large.getvalue()},
            {"name": "blank.png", "mimeType": "image/png", "buffer": blank},
        ],
    )
    expect(page.locator("#caption")).to_contain_text("blank.png: 0 red, 0 white, 0 platelets")
    errors = page.locator("#errors .error").all_inner_texts()
    assert [text.partition(":")[0] for text in errors] == ["notes.txt", "huge.png"]
    assert "5100 x 5000 pixels; the limit is 25 million" in errors[1]
    expect(page.locator(".flags")).to_have_text("Check: no red cells found")
    expect(page.locator("#notes")).to_contain_text("No cells were found.")


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    """The folder of the demo, as it is without `make browser-demo`."""
    added = shutil.ignore_patterns("vendor", "models", "fields", "assets.js")
    shutil.copytree(PAGES, tmp_path / "demo", ignore=added)
    return tmp_path / "demo"


def test_a_page_that_was_not_built_states_that_models_are_missing_and_what_to_run(
    browser: Browser, unbuilt: Path
):
    page = browser.new_page()
    with served(unbuilt) as address:
        page.goto(address)
        missing = page.get_by_role("region", name="The models are missing")
        expect(missing).to_contain_text("make browser-demo")
        expect(page.locator("#choose")).to_be_hidden()
        expect(page.locator("#not-started")).to_have_count(0)
    page.close()


def test_a_page_opened_as_a_file_states_that_it_needs_a_web_server(browser: Browser, unbuilt: Path):
    page = browser.new_page()
    page.goto((unbuilt / "index.html").as_uri())
    expect(page.locator("#not-started")).to_be_visible()
    expect(page.locator("#not-started")).to_contain_text("a web server")
    expect(page.locator("#choose")).to_be_hidden()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_by_keyboard_on_a_phone_in_both_themes(page: Page, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_role("button", name="Synthetic field 2", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_visible()
    cell = page.locator(".cell").first
    cell.focus()
    page.keyboard.press("Enter")
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(cell).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(CONTRAST.replace("[data-testid=stApp] *", "body *")) == []
    assert page.get_by_role("img").get_attribute("aria-label") == (
        page.locator("#caption").inner_text().partition(";")[0].replace(":", " with its cells:", 1)
    )


def test_the_types_of_the_scripts_are_right(demo: Path):
    node = shutil.which("node")
    compiler = ROOT / "web" / "node_modules" / "typescript" / "bin" / "tsc"
    if node is None or not compiler.is_file():
        pytest.skip("node or the TypeScript compiler is not installed: run `make browser-demo`")
    done = subprocess.run(
        [node, compiler, "--project", ROOT / "web"], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0
