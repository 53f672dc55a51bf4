"""Figures are shown without pyplot, and saved with reproducible bytes."""

import sys

import numpy as np

from hematovision import figures

IMAGE = np.zeros((20, 40, 3), np.uint8)


def test_a_grid_has_a_panel_for_each_image():
    panels = [figures.Panel(IMAGE, "a", "x" * 60), figures.Panel(None, "b", is_flagged=True)]
    figure = figures.show(figures.image_grid([*panels, panels[0]], columns=2, title="three"))
    assert [len(one.images) for one in figure.axes] == [1, 0, 1]
    assert figure.get_suptitle() == "three"
    first, second = figure.axes[:2]
    assert first.get_xlabel() == f"...{'x' * 25}"
    assert (first.get_title(), second.get_title()) == ("a", "b")
    assert second.title.get_color() == figures.ORANGE
    assert first.title.get_color() == figures.INK


def test_a_grid_is_as_high_as_its_tallest_image():
    low, high = (
        figures.image_grid([figures.Panel(image, "")], side=4.0).size
        for image in (IMAGE, IMAGE.transpose(1, 0, 2))
    )
    assert low[0] == high[0] == 4.0
    assert low[1] < 3 < 8 < high[1]


def test_figures_do_not_use_pyplot():
    figure = figures.show(figures.image_grid([figures.Panel(IMAGE, "")]))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_saved_figures_are_reproducible():
    drawing = figures.image_grid([figures.Panel(IMAGE, "\u8840")])
    how = {"format": "svg", "metadata": {"Date": None}}
    assert figures.save(drawing, **how) == figures.save(drawing, **how)
