"""The analysis in the browser finds the same cells as `FieldAnalyzer`."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from playwright.sync_api import Page

from browser_demo import analyze
from hematovision import images
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.rows import CellRow, FieldRow, split
from hematovision.synthetic import render_field

LABS = ("synthetic-a", "synthetic-b", "synthetic-c", "synthetic-d")
SIZES = ((480, 640), (300, 400), (720, 960), (1000, 1500), (256, 256), (1200, 1600))
FIELDS = [(200 + i, SIZES[i % len(SIZES)], LABS[i % len(LABS)]) for i in range(20)]
BOX = ("x_min", "y_min", "x_max", "y_max")
EQUAL = ("label", "decision", "reason", "subtype", "on_edge", "counted", "source", "error")
SHARES = ("confidence", "p_RBC", "p_WBC", "p_Platelets")


@cache
def analyzer() -> FieldAnalyzer:
    return FieldAnalyzer.load()


def in_python(pixels: NDArray[np.uint8]) -> tuple[list[CellRow], FieldRow]:
    cells, fields = split(analyzer().predict_rows(pixels, "field.png")[0])
    return cells, fields[0]


def in_browser(page: Page, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    return analyze(page, images.encode_png(pixels), "field.png")


def differences(cells: list[CellRow], found: list[dict[str, Any]]) -> list[str]:
    """Cells that differ: missing, extra, a box further off than a pixel, another decision."""
    if len(cells) != len(found):
        return [f"{len(cells)} cells in Python, {len(found)} in the browser"]
    wrong = []
    for cell, row in zip(cells, found, strict=True):
        expected = cell.values()
        assert list(row) == list(expected)  # the columns of cells.csv
        off = [name for name in BOX if abs(row[name] - expected[name]) > 1]
        off += [name for name in EQUAL if row[name] != expected[name]]
        off += [name for name in SHARES if abs(row[name] - expected[name]) > 0.01]
        wrong += [f"{name}: {expected[name]} in Python, {row[name]}" for name in off]
    return wrong


def check(page: Page, pixels: NDArray[np.uint8]) -> int:
    cells, field = in_python(pixels)
    found = in_browser(page, pixels)
    assert differences(cells, found["cells"]) == []
    assert "; ".join(found["field"]["flags"]) == field.flags
    assert found["field"]["scale_source"] == field.scale_source
    for name in ("rbc_diameter_px", "focus", "overlap", "saturation"):
        assert found["field"][name] == pytest.approx(getattr(field, name), rel=1e-3), name
    return len(cells)


@pytest.mark.parametrize(("seed", "size", "lab"), FIELDS[:3])
def test_the_cells_are_those_of_the_program(
    analysis: Page, seed: int, size: tuple[int, int], lab: str
):
    assert check(analysis, render_field(seed, size=size, lab=lab).image) > 5


@pytest.mark.slow
def test_no_cell_of_twenty_synthetic_fields_differs(analysis: Page):
    total = sum(check(analysis, render_field(s, size=z, lab=lab).image) for s, z, lab in FIELDS)
    assert total > 1000


def changed(kind: str) -> NDArray[np.uint8]:
    """A field that takes another way through the analysis."""
    field = Image.fromarray(render_field(7, lab="synthetic-b").image)
    if kind == "blurred":
        return np.array(field.filter(ImageFilter.GaussianBlur(6)))
    if kind == "dark":
        return (np.array(field) * 0.4).astype(np.uint8)
    if kind == "enlarged":
        return np.array(field.resize((1600, 1200), Image.Resampling.BICUBIC))
    if kind == "tall":
        return render_field(12, size=(1500, 420), lab="synthetic-d").image
    if kind == "reduced":
        return np.array(field.resize((256, 192), Image.Resampling.BOX))
    pixels = render_field(9, size=(900, 1200), lab="synthetic-a").image
    y, x = np.ogrid[:900, :1200]
    pixels[(x - 600) ** 2 + (y - 450) ** 2 > 423**2] = 8
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blurred", "dark", "enlarged", "reduced", "tall", "eyepiece"])
def test_unusual_fields_give_the_same_cells_too(analysis: Page, kind: str):
    assert check(analysis, changed(kind)) > 20


@pytest.mark.parametrize("kind", ["blank", "noise"])
def test_a_field_without_cells_is_flagged_as_in_the_program(analysis: Page, kind: str):
    noise = np.random.default_rng(0).integers(0, 255, (200, 240, 3), np.uint8)
    pixels = noise if kind == "noise" else np.full((200, 240, 3), 230, np.uint8)
    cells, field = in_python(pixels)
    found = in_browser(analysis, pixels)
    assert (cells, found["cells"]) == ([], [])
    assert field.flags.split("; ") == found["field"]["flags"]
    assert found["field"]["flags"][0] == "no red cells found"
    assert found["field"]["rbc_diameter_px"] is None


def test_a_jpeg_gives_the_same_cells(analysis: Page):
    stream = io.BytesIO()
    Image.fromarray(render_field(31, lab="synthetic-c").image).save(stream, "JPEG", quality=90)
    cells, _ = in_python(images.read(stream.getvalue()))
    found = analyze(analysis, stream.getvalue(), "field.png")
    assert differences(cells, found["cells"]) == []
    assert len(cells) > 5


def test_a_real_field_gives_the_same_cells(analysis: Page, real_data: Path):
    content = (real_data / "bccd" / "JPEGImages" / "BloodImage_00010.jpg").read_bytes()
    cells, _ = in_python(images.read(content))
    found = analyze(analysis, content, "field.png")
    assert differences(cells, found["cells"]) == []
    assert len(cells) > 15
