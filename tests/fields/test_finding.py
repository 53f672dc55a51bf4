"""What is found and measured in a field before its cells are classified."""

import numpy as np
import pytest

from discs import BACKGROUND, COLOURS, DiscFinder, disc_field
from hematovision import images
from hematovision.errors import TooManyPixelsError
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.finding import FieldFinder
from hematovision.fields.scale import Scale
from hematovision.images.stain import measure_stain, recoloured
from hematovision.model.detector import Detector


class Reordered(DiscFinder):
    """A finder whose classes are in another order."""

    classes = ("Platelets", "RBC", "WBC")

    def candidates(self, pixels):
        found = super().candidates(pixels)
        return type(found)(
            found.boxes, np.roll(found.scores, 1, axis=1), (found.labels + 1) % 3, found.points
        )


@pytest.mark.parametrize("finder", [DiscFinder(), Reordered()])
def test_cells_have_their_boxes_in_the_field_and_the_labels_of_the_rows(finder):
    field = disc_field(diameter=50, seed=1)
    found = FieldFinder(finder).find(field.image, "a.png")
    whole = (field.boxes > 0).all(axis=1) & (field.boxes[:, 2:] < (640, 480)).all(axis=1)
    for box, label in zip(field.boxes[whole], field.labels[whole], strict=True):
        away = np.abs(found.boxes - box).max(axis=1)
        assert away.min() < 5
        assert found.labels[away.argmin()] == label


def test_scale_and_stain_are_measured_with_all_red_cells():
    context = FieldFinder(DiscFinder()).find(disc_field(diameter=50).image, "a.png").context
    assert context.scale.diameter == pytest.approx(50, rel=0.05)
    assert context.stain.background == context.white
    assert context.stain.background == pytest.approx(tuple(BACKGROUND), abs=1)
    assert context.stain.red_cell == pytest.approx(tuple(COLOURS[0]), abs=1)


def test_a_field_without_red_cells_has_neither():
    blank = np.broadcast_to(BACKGROUND, (200, 300, 3)).astype(np.uint8)
    found = FieldFinder(DiscFinder()).find(blank, "a.png")
    assert (len(found.boxes), found.context.scale.source, found.context.stain) == (0, "none", None)


def test_a_field_that_is_too_large_at_the_given_scale_is_rejected():
    finder = FieldFinder(DiscFinder(), scale=Scale(18, "--rbc-diameter"), max_scaled_pixels=2**20)
    with pytest.raises(TooManyPixelsError, match="red cells are 18 pixels wide"):
        finder.find(disc_field().image, "a.png")


def test_the_stain_of_a_slide_is_the_median_of_its_samples():
    blank = np.broadcast_to(BACKGROUND, (400, 400, 3)).astype(np.uint8)
    samples = [disc_field((400, 400), 40, seed=seed).image for seed in range(2)]
    analyzer = FieldAnalyzer(DiscFinder())
    context = analyzer.prepare([blank, *samples], metadata=0.18)
    assert context.scale.source == "metadata"
    assert context.stain.red_cell == pytest.approx(tuple(COLOURS[0]), abs=1)
    assert analyzer.prepare([blank]).stain is None


def test_recolouring_halves_what_the_stains_of_two_labs_differ_by(real_data):
    finder = FieldFinder(Detector.load())
    pbc = sorted((real_data / "pbc" / "train" / "neutrophil").iterdir())[0]
    bccd = images.read(real_data / "bccd" / "JPEGImages" / "BloodImage_00017.jpg")
    target = finder.find(images.read(pbc), "pbc").context.stain
    found = finder.find(bccd, "bccd")
    own = found.context.stain
    changed = recoloured(bccd, own, target)
    same = measure_stain(changed, target.background, found.boxes[found.labels == 0])
    before, after, goal = (density(one) for one in (own, same, target))
    np.testing.assert_allclose(np.log(after / goal), np.log(before / goal) / 2, atol=0.03)
    again = finder.find(changed, "bccd").context.stain  # of the cells found in the new colours
    assert again.background == pytest.approx(target.background, abs=1)
    assert again.red_cell == pytest.approx(same.red_cell, abs=6)


def density(stain):
    return np.log(np.array(stain.background) / np.array(stain.red_cell))
