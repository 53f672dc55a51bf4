"""The bundled detector: real fields at any size, eyepieces, tiles, and images without cells."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.rows import split
from hematovision.fields.tiles import FieldImage, detect
from hematovision.model.classifier import Classifier
from hematovision.model.detector import Detector
from hematovision.model.preprocessing import white_point
from hematovision.synthetic import LABS, render_field

FIELDS = ("BloodImage_00017", "BloodImage_00143", "BloodImage_00386")
"""Of BCCD's validation split."""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture(scope="module")
def analyzer(detector) -> FieldAnalyzer:
    return FieldAnalyzer(detector, Classifier.load("rbc-wbc-platelets", workers=1))


def annotated(folder: Path, name: str) -> tuple[np.ndarray, dict[str, int], float]:
    """A field, its annotated cells by class, and the median width of its red cells."""
    root = ET.parse(folder / "bccd" / "Annotations" / f"{name}.xml").getroot()
    names, widths = [], []
    for one in root.iter("object"):
        names.append(one.findtext("name"))
        x0, y0, x1, y1 = (
            int(one.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")
        )
        if names[-1] == "RBC" and x0 > 2 and y0 > 2 and x1 < 638 and y1 < 478:
            widths.append((x1 - x0 + y1 - y0) / 2)
    pixels = images.read(folder / "bccd" / "JPEGImages" / f"{name}.jpg")
    return (
        pixels,
        {n: names.count(n) for n in ("RBC", "WBC", "Platelets")},
        float(np.median(widths)),
    )


def analysed(analyzer, pixels):
    cells, (field,) = split(analyzer.predict_rows(pixels, "a")[0])
    return cells, field


def resized(pixels, factor):
    size = [round(side * factor) for side in pixels.shape[1::-1]]
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize(size, method))


@pytest.mark.parametrize("name", FIELDS)
def test_cells_and_scale_of_a_real_field_at_any_size(analyzer, real_data, name):
    pixels, truth, width = annotated(real_data, name)
    cells, field = analysed(analyzer, pixels)
    n = {label: sum(c.label == label for c in cells) for label in truth}
    assert n["WBC"] == truth["WBC"]
    assert n["RBC"] >= 0.9 * truth["RBC"]  # BCCD has red cells without boxes
    assert field.rbc_diameter_px == pytest.approx(width, rel=0.15)
    for factor in (0.25, 2.0):
        other, small = analysed(analyzer, resized(pixels, factor))
        assert small.rbc_diameter_px == pytest.approx(field.rbc_diameter_px * factor, rel=0.05)
        assert sum(c.label == "WBC" for c in other) == n["WBC"]
        assert abs(sum(c.label == "RBC" for c in other) - n["RBC"]) <= 2


def test_a_photograph_through_an_eyepiece(analyzer, real_data):
    pixels, _, _ = annotated(real_data, FIELDS[2])
    whole, field = analysed(analyzer, pixels)
    ys, xs = np.mgrid[:480, :640]
    visible = np.hypot(xs - 320, ys - 240) < 230
    photo = np.full((640, 853, 3), 10, np.uint8)
    photo[80:560, 100:740][visible] = pixels[visible]
    cells, seen = analysed(analyzer, photo)
    assert seen.rbc_diameter_px == pytest.approx(field.rbc_diameter_px, rel=0.1)
    assert sum(c.label == "WBC" for c in cells) == sum(c.label == "WBC" for c in whole)
    assert 6 <= len(cells) < len(whole)
    inside = [c for c in cells if not c.on_edge]
    assert all(
        np.hypot((c.x_min + c.x_max) / 2 - 420, (c.y_min + c.y_max) / 2 - 320) < 230 for c in cells
    )
    assert len(inside) < len(cells)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((300, 400, 3), 240, np.uint8),
        np.zeros((300, 400, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
        np.full((1, 1, 3), 90, np.uint8),
    ],
    ids=["white", "black", "noise", "one pixel"],
)
def test_images_without_cells_are_flagged(analyzer, pixels):
    cells, field = analysed(analyzer, pixels)
    assert cells == []
    assert "no red cells found" in field.flags
    assert (field.scale_source, field.rbc_diameter_px) == ("none", None)


def test_a_given_scale_far_off_is_doubtful(detector, real_data):
    pixels, _, _ = annotated(real_data, FIELDS[2])
    cells, (field,) = split(
        FieldAnalyzer.load(classifier="none", rbc_diameter=70).predict_rows(pixels, "a")[0]
    )
    assert field.scale_source == "--rbc-diameter"
    assert "scale doubtful" in field.flags
    assert all(c.subtype == "" for c in cells)


def mosaic(rows: int, columns: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic fields side by side, and the boxes (N, 4) of their whole red and white cells."""
    labs = list(LABS)
    image = np.empty((rows * side, columns * side, 3), np.uint8)
    boxes = []
    for i, j in np.ndindex(rows, columns):
        field = render_field(columns * i + j, size=(side, side), lab=labs[(i + j) % len(labs)])
        image[i * side : (i + 1) * side, j * side : (j + 1) * side] = field.image
        whole = [c.box for c in field.cells if not c.touches_border and c.kind != "platelet"]
        boxes += [np.array(box) + np.tile((j * side, i * side), 2) for box in whole]
    return image, np.array(boxes, np.float32)


def found_share(boxes: np.ndarray, truth: np.ndarray) -> float:
    """The share of true cells with the centre of a found box in their middle half."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    hits = 0
    for box in truth:
        half = (box[2:] - box[:2]) / 4
        hits += bool((abs(middle - (box[:2] + box[2:]) / 2) < half).all(axis=1).any())
    return hits / len(truth)


def assert_same_cells(detector, image, factor, one, other):
    field = FieldImage(image, white_point(image))
    found = [detect(detector, field, field.size(factor), core=core) for core in (one, other)]
    order = [np.lexsort((*one.points.T, one.labels)) for one in found]
    first, second = (one[index] for one, index in zip(found, order, strict=True))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    return first


def test_tiles_find_the_cells_of_the_whole_field(detector):
    image, truth = mosaic(2, 2, 700)
    found = assert_same_cells(detector, image, 0.5, 256, 1024)
    assert found_share(found.boxes / 0.5, truth) > 0.97


@pytest.mark.slow
def test_tiles_find_the_cells_of_a_field_of_8000_pixels(detector):
    image, truth = mosaic(8, 8, 1000)
    assert image.shape == (8000, 8000, 3)
    found = assert_same_cells(detector, image, 0.45, 512, 768)
    assert len(truth) > 2000
    assert found_share(found.boxes / 0.45, truth) > 0.97
