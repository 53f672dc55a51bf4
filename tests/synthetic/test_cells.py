"""Single cells: stain, size and the features of each kind."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hematovision.synthetic import KINDS, LABS
from hematovision.synthetic.cells import WHITE_KINDS, disc_thickness, paint
from hematovision.synthetic.labs import AZURE, EOSIN, HAEM, expose, sample_appearance
from hematovision.synthetic.shapes import random_generator
from hematovision.taxonomy import PBC8

WHITE = sorted(set(WHITE_KINDS) - {"erythroblast"})


def appearance(lab="synthetic-a"):
    return replace(sample_appearance(random_generator(0), lab), scale=10.0, oval=1.0, pallor=0.9)


@cache
def all_stamps(kind):
    return [paint(kind, random_generator(seed, 5), appearance()) for seed in range(40)]


def stamps(kind, count=16):
    return all_stamps(kind)[:count]


def diameter(stamp):
    """Diameter of the disc of the cell's area, in micrometres."""
    return 2.0 * np.sqrt(stamp.mask.sum() / np.pi) / 10.0


def distance_from_centre(stamp):
    rows, columns = np.nonzero(stamp.mask)
    centre = rows.mean(), columns.mean()
    y, x = np.indices(stamp.mask.shape)
    return np.hypot(y - centre[0], x - centre[1])


def test_the_kinds_are_the_classes_of_pbc8_and_red_cells():
    assert (*PBC8.classes, "rbc") == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_fills_the_middle_of_its_patch_and_no_dye_is_negative(kind):
    for stamp in stamps(kind, 6):
        middle = stamp.mask.shape[0] // 2
        assert stamp.mask[middle - 2 : middle + 3, middle - 2 : middle + 3].all()
        assert not stamp.mask[0].any()
        assert not stamp.mask[:, -1].any()
        assert stamp.dyes.min() >= 0.0
        assert np.isfinite(stamp.dyes).all()
        main = stamp.dyes[HAEM if kind == "rbc" else AZURE]
        assert main[~stamp.mask].sum() < 0.05 * main.sum()


def test_platelets_are_smaller_than_red_cells_and_these_than_white_cells():
    sizes = {kind: np.mean([diameter(s) for s in stamps(kind)]) for kind in KINDS}
    assert 2.5 < sizes["platelet"] < 5.0
    assert 6.8 < sizes["rbc"] < 8.2
    for kind in WHITE:
        assert sizes["platelet"] < sizes["rbc"] < sizes[kind] - 0.5
    assert sizes["monocyte"] > sizes["neutrophil"] > sizes["lymphocyte"]


def test_size_alone_does_not_separate_the_classes():
    red = [diameter(s) for s in stamps("rbc", 40)]
    assert max(red) > min(diameter(s) for s in stamps("lymphocyte", 40))
    assert min(red) < max(diameter(s) for s in stamps("platelet", 40)) + 0.6


def test_the_disc_is_thinner_in_the_middle_and_thickest_at_seven_tenths():
    relative = np.linspace(0.0, 1.0, 1001, dtype=np.float32)
    thickness = disc_thickness(relative)
    assert thickness[0] == pytest.approx(0.81 / 2.565, abs=1e-4)
    assert thickness[-1] == 0.0
    assert thickness.max() == pytest.approx(1.0, abs=1e-3)
    assert relative[thickness.argmax()] == pytest.approx(0.70, abs=0.01)


def test_red_cells_have_pallor():
    paler = 0
    for stamp in stamps("rbc", 40):
        reach = distance_from_centre(stamp)
        radius = 5.0 * diameter(stamp)
        rim = (reach > 0.6 * radius) & (reach < 0.85 * radius) & stamp.mask
        middle = reach < 0.15 * radius
        paler += stamp.dyes[HAEM][middle].mean() < 0.8 * stamp.dyes[HAEM][rim].mean()
    assert paler >= 34


@pytest.mark.parametrize("kind", [k for k in WHITE_KINDS if k not in ("basophil", "ig")])
def test_the_nucleus_holds_more_azure_than_the_cytoplasm(kind):
    for stamp in stamps(kind, 8):
        azure = stamp.dyes[AZURE][stamp.mask]
        nucleus = azure > 0.5
        assert 0.12 < nucleus.mean() < 0.98
        assert azure[nucleus].mean() > 3.0 * azure[~nucleus].mean()


def test_each_kind_has_its_nucleus_to_cell_ratio():
    share = {
        kind: np.mean([(s.dyes[AZURE][s.mask] > 0.5).mean() for s in stamps(kind)])
        for kind in WHITE_KINDS
    }
    assert share["lymphocyte"] > 0.6 > share["neutrophil"]
    assert share["lymphocyte"] > share["monocyte"] > share["erythroblast"]


def test_eosinophils_hold_most_eosin():
    eosin = {k: np.mean([s.dyes[EOSIN][s.mask].mean() for s in stamps(k)]) for k in WHITE_KINDS}
    assert eosin["eosinophil"] > 1.5 * max(v for k, v in eosin.items() if k != "eosinophil")


@pytest.mark.parametrize("lab", LABS)
def test_a_nucleus_is_darker_than_a_red_cell_and_that_darker_than_the_background(lab):
    view = replace(appearance(lab), vignette=0.0, gradient=0.0)
    brightness = {}
    for kind in ("lymphocyte", "rbc"):
        stamp = paint(kind, random_generator(3), view)
        image = expose(stamp.dyes, view, random_generator(4)).astype(float).mean(axis=2)
        reach = distance_from_centre(stamp) / (5.0 * diameter(stamp))
        ring = (reach > 0.55) & (reach < 0.8)
        brightness[kind] = np.median(image[ring])
        brightness["background"] = np.median(image[reach > 1.15])
    assert brightness["lymphocyte"] < brightness["rbc"] - 25
    assert brightness["rbc"] < brightness["background"] - 12


def test_unknown_kinds_and_labs_raise_errors_that_list_the_known_ones():
    with pytest.raises(ValueError, match=r"`kind` must be one of .*rbc. Received: 'blast'"):
        paint("blast", random_generator(0), appearance())
    with pytest.raises(ValueError, match=r"`lab` must be one of synthetic-a.* Received: 'oslo'"):
        sample_appearance(random_generator(0), "oslo")


def test_the_name_of_every_lab_marks_it_as_synthetic():
    assert len(LABS) >= 3
    assert all(name.startswith("synthetic-") for name in LABS)
