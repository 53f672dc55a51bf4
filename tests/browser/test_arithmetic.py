"""The arithmetic of the browser is that of Python, NumPy and Pillow."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from playwright.sync_api import Page

from browser_demo import call
from hematovision import images
from hematovision.fields.aperture import find_circle
from hematovision.fields.counts import Tally
from hematovision.fields.rows import CELL_SCHEMA, CellRow, FieldRow
from hematovision.fields.summary import ModelUsed, Summary
from hematovision.images.stain import Stain, measure_stain, recoloured, redyed
from hematovision.intervals import clopper_pearson, garwood
from hematovision.model.preprocessing import white_point
from hematovision.model.suppression import suppressed
from hematovision.synthetic import render_cell, render_field
from hematovision.tables.sinks import csv_table
from hematovision.taxonomy import RBC_WBC_PLATELETS, WHITE_CELLS

CLASSES = ("RBC", "WBC", "Platelets")
STAIN = Stain((244.0, 231.0, 205.0), (190.0, 141.0, 150.0))
TARGET = Stain((235.0, 235.0, 235.0), (180.0, 155.0, 180.0))
NUCLEUS = (110.0, 50.0, 170.0)


def packed(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    return {"data": pixels.tobytes(), "width": pixels.shape[1], "height": pixels.shape[0]}


def unpacked(found: dict[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(found["data"], np.uint8).reshape(found["height"], found["width"], 3)


def as_json(stain: Stain) -> dict[str, Any]:
    return {"background": stain.background, "red_cell": stain.red_cell}


@pytest.fixture(scope="module")
def field() -> NDArray[np.uint8]:
    return render_field(4, size=(150, 221), lab="synthetic-a").image


def test_halves_are_rounded_to_even(analysis: Page):
    values = [0.5, 1.5, 2.5, -0.5, -1.5, 2.4999999, 1e9 + 0.5]
    found = call(analysis, "numbers", "v[0].map(m.roundEven)", values)
    assert found == [round(value) for value in values]


@pytest.mark.parametrize("digits", [2, 4, 6])
def test_decimals_are_rounded_as_by_python(analysis: Page, digits: int):
    rng = np.random.default_rng(0)
    ties = (np.arange(1, 400) / 8 + 0.5 ** (digits + 1)).tolist()  # among them exact ties
    values = [*ties, *np.float32(rng.uniform(0, 2000, 400)).tolist()]
    found = call(analysis, "numbers", "v[0].map((x) => m.roundDecimals(x, v[1]))", values, digits)
    assert found == [round(value, digits) for value in values]


@pytest.mark.parametrize("n", [1, 2, 5, 100, 7777])
def test_percentiles_are_those_of_numpy(analysis: Page, n: int):
    rng = np.random.default_rng(n)
    levels = np.sort(rng.integers(0, 256, n)).astype(np.uint8)
    values = np.sort(rng.uniform(0, 255, n).astype(np.float32))
    given = [levels.tolist(), values.astype(float).tolist()]
    for percent in (2, 50, 90, 97, 98, 99):
        wide, narrow = (float(np.percentile(some, percent)) for some in (levels, values))
        expression = "[m.percentile(v[0], v[2]), m.percentile(v[1], v[2], true)]"
        assert call(analysis, "numbers", expression, *given, percent) == [wide, narrow]


@pytest.mark.parametrize("n", [1, 3, 7, 8, 100, 128, 129, 1000])
def test_float32_sums_and_medians_are_those_of_numpy(analysis: Page, n: int):
    values = np.random.default_rng(n).uniform(0, 1, n).astype(np.float32)
    given = values.astype(float).tolist()
    found = call(analysis, "numbers", "[m.sum32(v[0]), m.median(v[0], true)]", given)
    assert found == [float(values.sum()), float(np.median(values))]


@pytest.mark.parametrize("name", ["BOX", "BICUBIC"])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((100, 70), None),
        ((221, 70), None),
        ((300, 401), None),
        ((64, 64), (10.3, 5.7, 150.2, 120.9)),
        ((57, 33), (0.0, 0.0, 220.99, 149.5)),
        ((120, 90), (3.0, 4.0, 123.0, 94.0)),
        ((30, 20), (100.5, 0.0, 140.5, 150.0)),
        ((210, 20), (3.5, 4.5, 220.5, 140.5)),
    ],
)
def test_resizing_is_that_of_pillow(
    analysis: Page, field: NDArray[np.uint8], name: str, size: tuple[int, int], box: Any
):
    expected = Image.fromarray(field).resize(size, Image.Resampling[name], box=box)
    found = call(
        analysis,
        "resample",
        "m.resized(v[0], v[1], v[2], v[3] ?? undefined)",
        packed(field), size, name.lower(), box,
    )  # fmt: skip
    assert np.array_equal(unpacked(found), np.asarray(expected))


@pytest.mark.parametrize(
    "shape", [(40, 500), (601, 333), (512, 513), (300, 300), (700, 7), (7, 700)]
)
def test_thumbnails_and_backgrounds_are_those_of_the_program(
    analysis: Page, shape: tuple[int, int]
):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((256, 256), Image.Resampling.BOX, reducing_gap=None)
    found = call(analysis, "resample", "m.thumbnail(v[0], 256)", packed(pixels))
    assert np.array_equal(unpacked(found), np.asarray(image))
    white = call(analysis, "finding", "m.whitePoint(v[0])", packed(pixels))
    assert white == white_point(pixels).astype(float).tolist()


@pytest.mark.parametrize("radius", [0.4, 1.6, 3.0, 12.5])
def test_the_blur_is_that_of_pillow(analysis: Page, field: NDArray[np.uint8], radius: float):
    expected = np.array(Image.fromarray(field).filter(ImageFilter.GaussianBlur(radius)))
    found = call(analysis, "blur", "m.blurred(v[0], v[1])", packed(field), radius)
    assert np.array_equal(unpacked(found), expected)


@pytest.mark.parametrize("shape", [(30, 50), (224, 224), (333, 91), (801, 640)])
def test_fitting_is_that_of_the_program(analysis: Page, shape: tuple[int, int]):
    pixels = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    found = call(analysis, "geometry", "m.fit(v[0], 224)", packed(pixels))
    assert np.array_equal(unpacked(found), images.fit(pixels, 224))


def test_the_stain_is_measured_as_by_the_program(analysis: Page, field: NDArray[np.uint8]):
    corners = np.random.default_rng(3).uniform(-5, 140, (8, 2))
    boxes = np.concatenate([corners, corners + 40], axis=1).astype(np.float32)
    expected = measure_stain(field, STAIN.background, boxes)
    assert expected is not None
    found = call(
        analysis, "stain", "m.measureStain(v[0], v[1], v[2])",
        packed(field), STAIN.background, boxes.astype(float).tolist(),
    )  # fmt: skip
    assert found == {name: list(colour) for name, colour in as_json(expected).items()}


@pytest.mark.parametrize("kind", ["neutrophil", "lymphocyte", "rbc"])
def test_the_stain_is_changed_as_by_the_program(analysis: Page, kind: str):
    cell = render_cell(kind, 1, lab="synthetic-b", size=224)
    given = packed(cell), as_json(STAIN), as_json(TARGET)
    found = unpacked(call(analysis, "stain", "m.recoloured(...v)", *given))
    assert np.array_equal(found, recoloured(cell, STAIN, TARGET))
    turned = unpacked(call(analysis, "stain", "m.redyed(...v)", *given, NUCLEUS, 48))
    difference = np.abs(turned.astype(int) - redyed(cell, STAIN, TARGET, NUCLEUS, 48.0))
    assert difference.max() <= 1  # float32 sums in another order, rounded down
    assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("radius", [100, 140])
def test_the_eyepiece_is_found_where_the_program_finds_it(analysis: Page, radius: int):
    pixels = render_field(2, size=(400, 560), lab="synthetic-d").image
    y, x = np.ogrid[:400, :560]
    pixels[(x - 270) ** 2 + (y - 190) ** 2 > radius**2] = 12
    expected = find_circle(pixels)
    assert expected is not None
    found = call(analysis, "aperture", "m.findCircle(v[0])", packed(pixels))
    assert [found[name] for name in ("x", "y", "radius")] == pytest.approx(
        [expected.x, expected.y, expected.radius], abs=1e-6
    )


def test_the_same_detections_are_suppressed(analysis: Page):
    rng = np.random.default_rng(5)
    corners, sides = rng.uniform(0, 120, (200, 2)), rng.uniform(5, 40, (200, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    scores = rng.uniform(0.3, 1, (200, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 200)
    own = scores[np.arange(200), labels]
    expected = np.flatnonzero(suppressed(boxes, own, labels, classes=CLASSES)).tolist()
    given = (boxes.astype(float).tolist(), scores.astype(float).tolist(), labels.tolist())
    cells = [
        {"box": box, "scores": score, "label": label, "point": [0, 0]}
        for box, score, label in zip(*given, strict=True)
    ]
    found = call(analysis, "suppression", "[...m.suppressed(v[0], v[1])]", cells, CLASSES)
    assert sorted(found) == expected
    assert 20 < len(expected) < 190


@pytest.mark.parametrize(("successes", "n"), [(0, 50), (1, 50), (25, 50), (300, 1000), (7, 7)])
def test_limits_are_those_of_the_program(analysis: Page, successes: int, n: int):
    found = call(analysis, "intervals", "m.clopperPearson(v[0], v[1])", successes, n)
    assert found == pytest.approx(clopper_pearson(successes, n), abs=1e-9)
    poisson = call(analysis, "intervals", "m.garwood(v[0])", successes)
    assert poisson == pytest.approx(garwood(successes), abs=1e-6)


def test_spellings_mean_the_same_classes(analysis: Page):
    spellings = ["neutrophil", "Erythroblasts", "PLT", "platelet", "blast", "Red Blood-Cells"]
    taxonomy = RBC_WBC_PLATELETS.to_json()
    found = call(analysis, "taxonomy", "v[1].map((x) => m.findClass(v[0], x))", taxonomy, spellings)
    assert found == [RBC_WBC_PLATELETS.find(spelling) for spelling in spellings]


def test_the_table_is_that_of_the_program(analysis: Page):
    cell = CellRow(
        "a, b.png", 1.0, 2.25, 30.5, 40.0, "WBC", 0.987654, "review", 'not "sure"', "neutrophil",
        0.000012, 1e-06, 1.0, 0.0, on_edge=True, counted=False,
    )  # fmt: skip
    other = CellRow(
        "=1+1.png", 0.0, 0.0, 9.01, 9.99, "RBC", 0.9, "accepted", "", "", None, 0.9, 0.05, 0.05,
        on_edge=False, counted=True,
    )  # fmt: skip
    stream = io.BytesIO()
    table = csv_table(stream, CELL_SCHEMA)
    for row in (cell, other):
        table.write(row.values())
    found = call(analysis, "table", "m.csv(v[0])", [cell.values(), other.values()])
    assert found == stream.getvalue().decode()


def row(label: str, kind: str = "", decision: str = "accepted", *, counted: bool = True) -> CellRow:
    return CellRow(
        "a.png", 0.0, 0.0, 9.0, 9.0, label, 0.9, decision, "", kind, 0.9 if kind else None,
        0.3, 0.3, 0.4, on_edge=not counted, counted=counted,
    )  # fmt: skip


def test_the_differential_and_its_limits_are_those_of_the_program(analysis: Page):
    rows = [row("WBC", "neutrophil") for _ in range(40)]
    rows += [row("WBC", "lymphocyte") for _ in range(20)]
    rows += [row("WBC", "monocyte", "review"), row("WBC", "erythroblast"), row("WBC")]
    rows += [row("WBC", "neutrophil", counted=False), *[row("RBC")] * 300, *[row("Platelets")] * 21]
    tally = Tally(WHITE_CELLS.classes)
    tally.add(FieldRow("a.png", "", 640, 480, flags="blurred", scale_source="none"), rows)
    expected = tally.counts()
    field = {"flags": ["blurred"], "scale_source": "none"}
    analyses = [{"field": field, "cells": [one.values() for one in rows]}]
    found = call(
        analysis, "counts", "m.count(v[0], v[1], v[2])",
        analyses, WHITE_CELLS.classes, RBC_WBC_PLATELETS.to_json(),
    )  # fmt: skip
    assert {name: one["n"] for name, one in found["classes"].items()} == {
        name: one.n for name, one in expected.differential.classes.items()
    }
    for name, one in expected.differential.classes.items():
        assert found["classes"][name]["interval"] == pytest.approx(one.interval, abs=1e-9)
    assert (found["white"], found["nucleated"], found["notCounted"]) == (62, 1, 1)
    assert found["platelets"] == pytest.approx(70)
    assert found["plateletsInterval"] == pytest.approx(expected.platelets.interval, abs=1e-6)
    used = ModelUsed("model", "")
    assert found["notes"] == list(Summary("a", used, used, expected).notes)
