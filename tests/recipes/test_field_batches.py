"""Crops of fields and the targets that the field detector is trained on."""

from dataclasses import replace

import numpy as np
import pytest

from recipes.field_detector.batches import RED_CELL_PX, STRIDE, Batches, Ranges
from recipes.field_detector.fields import STORED_PX, Field

PLAIN = Ranges(
    scale=(1.0, 1.0001), wrong=0, gain=0, mixing=0, tint=0, blur=0, resolution=0, noise=0, jpeg=0,
    grey=0, sharpen=0,
)  # fmt: skip
SIDE = 192
_COLOURS = ((255, 0, 0), (0, 0, 255), (0, 255, 0))


def a_field(known: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Field:
    """A white image with a red square for each red cell and a blue one for the white cell."""
    pixels = np.full((300, 300, 3), 255, np.uint8)
    boxes = np.array([[30, 40, 102, 112], [150, 150, 270, 250], [10, 200, 34, 224]], np.float32)
    for (x, y, u, v), colour in zip(boxes.astype(int), _COLOURS, strict=True):
        pixels[y:v, x:u] = colour
    nothing = np.zeros((0, 4), np.float32)
    return Field("one", "lab", pixels, boxes, np.array([0, 1, 2]), known, nothing)


def batch_of(field: Field, ranges: Ranges = PLAIN, size: int = 8):
    return Batches([field], np.ones(1), size, SIDE, 0, ranges)[0]


def test_every_cell_is_a_peak_whose_distances_lead_to_its_sides():
    batch = batch_of(a_field())
    colours = np.array(_COLOURS)
    for image, heat, distances in zip(batch.images, batch.heat, batch.distances, strict=True):
        labels, rows, columns = np.nonzero(heat >= 0.999)
        assert sorted(labels) == [0, 1, 2]
        for label, y, x in zip(labels, rows, columns, strict=True):
            left, top, right, bottom = distances[:, y, x]
            cx, cy = (x + 0.5) * STRIDE, (y + 0.5) * STRIDE
            box = [cx - left, cy - top, cx + right, cy + bottom]
            there = np.argwhere(np.abs(image.astype(int) - colours[label]).max(axis=-1) < 100)
            (y0, x0), (y1, x1) = there.min(axis=0), there.max(axis=0) + 1
            np.testing.assert_allclose(box, [x0, y0, x1, y1], atol=1.6)


def test_red_cells_are_shown_at_the_scale_of_the_detector():
    widths = []
    for heat, distances in zip(*batch_of(a_field())[1:4:2], strict=True):
        _, y, x = np.argwhere(heat[:1] >= 0.999)[0]
        widths.append(distances[0, y, x] + distances[2, y, x])
    np.testing.assert_allclose(widths, 72 * RED_CELL_PX / STORED_PX, rtol=0.02)


def test_the_same_number_gives_the_same_batch():
    field = a_field()
    batches = Batches([field], np.ones(1), 4, SIDE, 3, Ranges())
    for one, other in zip(batches[7], batches[7], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (batches[7].images != batches[8].images).any()


def test_background_of_classes_that_are_not_annotated_has_no_weight():
    weight = batch_of(a_field(known=(1.0, 1.0, 0.0))).weight
    heat = batch_of(a_field(known=(1.0, 1.0, 0.0))).heat
    inside = np.zeros_like(weight[:, 2], bool)
    inside[:, 20:24, 20:24] = True
    assert (weight[:, 2] == 0).any()
    assert (weight[:, :2] == 1).all()
    # A cell of another class is certainly no platelet.
    assert (weight[:, 2][(heat[:, :2] > 0.9).any(axis=1)] == 1).all()


def test_nothing_is_known_where_labels_are_doubtful():
    doubtful = replace(a_field(), ignored=np.array([[200, 20, 280, 100]], np.float32))
    weight = batch_of(doubtful).weight
    assert (weight == 0).any()
    assert (batch_of(a_field()).weight == 1).all()


def test_a_wrong_scale_has_no_cells():
    batch = batch_of(a_field(), replace(PLAIN, wrong=1.0), size=16)
    assert (batch.heat == 0).all()
    assert (batch.body == 0).all()
    assert set(np.unique(batch.weight)) <= {0.0, 0.5}


@pytest.mark.parametrize("share", [0.08, 0.6])
def test_cells_mostly_outside_the_crop_are_ignored(share: float):
    field = a_field()
    cut = field.pixels[:, : int(30 + 72 * share)]
    boxes = field.boxes[:1]
    whole = replace(field, pixels=cut, boxes=boxes, labels=field.labels[:1])
    batch = batch_of(whole)
    found = (batch.heat[:, 0] >= 0.999).any(axis=(1, 2))
    assert found.all() if share > 0.5 else not found.any()
