"""Overlays: outlines by class, legible at any size."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hematovision.fields.overlay import COLOURS, draw_cells
from hematovision.fields.rows import CellRow

CELL = CellRow(
    "a.png", 40.0, 40.0, 80.0, 80.0, label="RBC", confidence=0.97, decision="accepted", reason="",
    subtype="", subtype_confidence=None, p_RBC=0.97, p_WBC=0.02, p_Platelets=0.01, on_edge=False,
    counted=True,
)  # fmt: skip


def blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 225, np.uint8)


def coloured(image: NDArray[np.uint8], label: str) -> NDArray[np.bool_]:
    """Return the pixels in the colour of a class."""
    return np.abs(image.astype(int) - COLOURS[label]).max(axis=2) < 45


def row_through(cell: CellRow, side: int, **options) -> NDArray[np.bool_]:
    """Return the coloured pixels of the line through the middle of a cell, of a square field."""
    shown = draw_cells(blank(side, side), [cell], **options)
    scale = shown.shape[1] / side
    return coloured(shown, cell.label)[round((cell.y_min + cell.y_max) / 2 * scale)]


@pytest.mark.parametrize("label", COLOURS)
def test_an_outline_follows_the_box_in_the_colour_of_its_class(label: str):
    line = row_through(replace(CELL, label=label), 1100, rbc_diameter_px=40.0)
    left, right = np.flatnonzero(line)[[0, -1]]
    assert (left, right) == (pytest.approx(40, abs=2), pytest.approx(80, abs=2))
    assert not line[45:75].any(), "the cell itself stays visible"


@pytest.mark.parametrize("size", [60, 120, 600, 1200])
def test_lines_are_legible_at_any_size_of_cells_and_images(size: int):
    middle = size * 2.0
    half = size / 20
    cell = replace(CELL, x_min=middle - half, x_max=middle + half, y_min=middle - half,
                   y_max=middle + half)  # fmt: skip
    side = size * 4
    shown = draw_cells(blank(side, side), [cell], rbc_diameter_px=2 * half)
    scale = shown.shape[1] / side
    line = shown[round(middle * scale), :, 0].astype(float)
    width = np.clip(225 - line, 0, None).sum() / 225 / 2
    assert 1 <= width <= 0.15 * 2 * half * scale, "visible, and narrow compared with the cell"


def test_a_small_field_is_enlarged_and_a_large_one_reduced():
    assert draw_cells(blank(120, 160), []).shape[1] == 1024
    assert draw_cells(blank(2000, 1500), []).shape[:2] > (2000, 1500)
    assert draw_cells(blank(60, 6000), []).shape[1] == 4096


def test_tiny_red_cells_are_enlarged():
    cells = [replace(CELL, x_min=20.0 * i, x_max=20.0 * i + 6, y_max=46.0) for i in range(50)]
    assert draw_cells(blank(900, 1200), cells).shape[1] == 4096, "to 24 pixels, or to the limit"


def test_a_cell_in_review_is_dashed_and_one_that_does_not_count_is_faint():
    def outline(**changes) -> NDArray[np.uint8]:
        return draw_cells(blank(1100, 1100), [replace(CELL, **changes)], rbc_diameter_px=40.0)

    whole = coloured(outline(), "RBC")[:90].sum()
    dashed = coloured(outline(decision="review"), "RBC")[38:90].sum()
    assert 0.4 * whole < dashed < 0.8 * whole
    faint = outline(counted=False)[:90]
    assert not coloured(faint, "RBC").any()
    assert (faint != 225).any()


def test_the_legend_explains_only_what_is_shown():
    plain = draw_cells(blank(1100, 1100), [CELL])
    both = draw_cells(blank(1100, 1100), [CELL, replace(CELL, decision="review", counted=False)])
    strips = [shown[1100:] for shown in (plain, both)]
    ink = [int((strip < 128).all(axis=2).sum()) for strip in strips]
    assert ink[0] > 100
    assert ink[1] > 1.3 * ink[0]
    assert all(coloured(strips[0], label).any() for label in COLOURS)


def test_a_narrow_field_has_a_legend_of_several_lines():
    shown = draw_cells(blank(4000, 500), [replace(CELL, decision="review", counted=False)])
    assert shown.shape[0] - 4000 > 4 * 60


def test_white_cells_have_their_kind_inside_the_image():
    cell = replace(CELL, label="WBC", subtype="neutrophil", subtype_confidence=0.93)
    for x, y in ((0.0, 0.0), (1060.0, 0.0), (0.0, 1060.0), (1060.0, 1060.0)):
        placed = replace(cell, x_min=x, y_min=y, x_max=x + 40, y_max=y + 40)
        shown = draw_cells(blank(1100, 1100), [placed], rbc_diameter_px=40.0)[:1100]
        alone = draw_cells(blank(1100, 1100), [replace(placed, label="RBC")], rbc_diameter_px=40.0)
        text = coloured(shown, "WBC").sum() - coloured(alone[:1100], "RBC").sum()
        assert text > 100, "there is a text"


def test_cells_of_a_region_are_placed_by_its_origin():
    cell = replace(CELL, x_min=5040.0, x_max=5080.0, y_min=3040.0, y_max=3080.0)
    here = draw_cells(blank(1100, 1100), [CELL], rbc_diameter_px=40.0)
    there = draw_cells(blank(1100, 1100), [cell], rbc_diameter_px=40.0, origin=(5000.0, 3000.0))
    assert np.array_equal(here, there)


def test_boxes_outside_the_image_and_of_no_size_do_no_harm():
    odd = [
        replace(CELL, x_min=-90.0, x_max=-50.0),
        replace(CELL, x_min=-20.0, x_max=20.0),
        replace(CELL, x_max=40.0, y_max=40.0),
        replace(CELL, x_min=99.0, x_max=1e6),
    ]
    assert draw_cells(blank(100, 100), odd).shape[1] == 1024


def test_the_field_itself_is_not_changed():
    field = blank(1100, 1100)
    draw_cells(field, [CELL])
    assert (field == 225).all()


@pytest.mark.parametrize("top", [300.0, 0.0], ids=["inside", "at the upper border"])
def test_a_question_mark_is_on_the_outline_of_its_cell(top: float):
    cell = replace(CELL, x_min=400.0, x_max=500.0, y_min=top, y_max=top + 100)
    blue = [
        coloured(draw_cells(blank(1100, 1100), [one], rbc_diameter_px=100.0), "RBC")
        for one in (cell, replace(cell, decision="review"))
    ]
    rows = np.flatnonzero((blue[1] & ~blue[0])[:1100].any(axis=1))
    edge = top or 100.0
    assert rows[0] < edge < rows[-1]
    assert abs(rows - edge).max() < 25
