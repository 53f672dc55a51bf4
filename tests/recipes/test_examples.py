"""Training examples of the backbone are sampled by seed, with the stated frequencies."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision.training.augment import MILD
from recipes.hematology_backbone.examples import (
    Batches,
    Example,
    Framing,
    Task,
    _cut,
    _end_field,
    power_weights,
)


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    field = np.full((80, 120, 3), 230, np.uint8)
    field[30:50, 40:60] = (90, 40, 140)
    Image.fromarray(field).save(tmp_path / "field.png")
    Image.fromarray(field[20:60, 30:70]).save(tmp_path / "cell.png")
    box = (40.0, 30.0, 60.0, 50.0)
    reds = [Example(tmp_path / "field.png", box, 0, "a")] * 16
    return [*reds, Example(tmp_path / "cell.png", None, 1, "b")]


def batches(examples: list[Example], **framing: float) -> Batches:
    task = Task(2, examples, power_weights(examples, 0.5))
    return Batches((task,), 8, 3, Framing(**framing), MILD)


def test_a_batch_depends_on_its_number_and_the_seed_alone(examples: list[Example]):
    one, again = batches(examples)[5], batches(examples)[5]
    np.testing.assert_array_equal(one.pixels, again.pixels)
    assert one.pixels.shape == (8, 224, 224, 3)
    assert (one.pixels != batches(examples)[6].pixels).any()


def test_classes_come_up_with_the_root_of_their_count(examples: list[Example]):
    sampled = batches(examples)
    labels = np.concatenate([sampled[number].labels for number in range(60)])
    assert labels.mean() == pytest.approx(1 / (1 + 4), abs=0.06)  # sqrt(1) to sqrt(16)


def test_a_wide_framing_shows_a_smaller_cell(examples: list[Example]):
    def dark(framing: Batches) -> float:
        pixels = framing[0].pixels[framing[0].labels == 0]
        return float((pixels[..., 1] < 130).mean())

    wide = batches(examples, wide=1.0, usual=2.0, widest=2.4, cut=0.0)
    tight = batches(examples, wide=0.0, usual=1.1, widest=2.4, cut=0.0)
    assert dark(wide) < 0.5 * dark(tight)


@pytest.mark.parametrize("seed", range(8))
def test_a_field_that_ends_in_the_cell_leaves_a_part_of_it(seed: int):
    field = np.zeros((80, 120, 3), np.uint8)
    field[30:50, 40:60] = 255
    pixels, (xmin, ymin, xmax, ymax) = _end_field(
        field, (40.0, 30.0, 60.0, 50.0), np.random.default_rng(seed)
    )
    cell = pixels[round(ymin) : round(ymax), round(xmin) : round(xmax)]
    assert (cell == 255).mean() > 0.9
    assert 0.2 <= (pixels == 255).sum() / (field == 255).sum() < 1.0
    assert xmax - xmin <= 20
    assert ymax - ymin == 20


def test_slivers_at_the_border_are_cut_out_too():
    # Boxes that reach over the border, down to the two pixels a cell must have in its field.
    field, rng = np.zeros((60, 80, 3), np.uint8), np.random.default_rng(0)
    for box in ((-40.0, 5.0, 2.0, 50.0), (78.0, 5.0, 130.0, 40.0), (10.0, -30.0, 12.0, 2.5)):
        for _ in range(50):
            assert min(_cut(field, box, Framing(shift=0.2, cut=0.3), rng).shape[:2]) >= 2
