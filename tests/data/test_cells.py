"""The crop rule, pixel by pixel, and cells.csv."""

import math
from pathlib import Path

import numpy as np
import pytest

from hematovision.data.cells import COLUMNS, Cell, clip_box, crop, read_cells, write_cells
from hematovision.errors import AnnotationError

HEADER = ",".join(COLUMNS)


def ramp(height: int, width: int) -> np.ndarray:
    """A field whose every pixel says where it is: red the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_a_crop_is_a_square_of_1_2_longer_sides_around_the_centre():
    image, touches = crop(ramp(100, 200), (50.0, 40.0, 60.0, 60.0))
    assert image.shape == (24, 24, 3)
    assert not touches
    # The centre is (55, 50): columns 43..66, rows 38..61.
    assert image[0, 0].tolist() == [38, 43, 0]
    assert image[-1, -1].tolist() == [61, 66, 0]


def test_without_context_a_square_box_is_cut_exactly():
    field = ramp(50, 50)
    image, _ = crop(field, (10.0, 20.0, 25.0, 35.0), context=1.0)
    assert np.array_equal(image, field[20:35, 10:25])


def test_what_lies_outside_the_field_repeats_its_border_pixels():
    image, touches = crop(ramp(40, 40), (0.0, 0.0, 10.0, 10.0))
    assert image.shape == (12, 12, 3)
    assert touches
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[1, 1].tolist() == [0, 0, 0]
    assert image[2, 2].tolist() == [1, 1, 0]
    padded = np.pad(ramp(40, 40), ((1, 1), (1, 1), (0, 0)), mode="edge")
    assert np.array_equal(image, padded[:12, :12])


def test_a_crop_at_the_lower_right_corner_is_padded_there():
    image, touches = crop(ramp(30, 40), (30.0, 20.0, 40.0, 30.0))
    padded = np.pad(ramp(30, 40), ((1, 1), (1, 1), (0, 0)), mode="edge")
    assert np.array_equal(image, padded[-12:, -12:])
    assert touches


def test_a_crop_larger_than_its_field_is_padded_on_all_sides():
    image, touches = crop(ramp(10, 40), (0.0, 0.0, 40.0, 10.0))
    assert image.shape == (48, 48, 3)
    assert touches
    assert (image[:19, :, 0] == 0).all()
    assert (image[-19:, :, 0] == 9).all()


def test_half_pixels_are_rounded_up_everywhere():
    # Side 1.2 * 5 = 6; (10 + 15 - 6) / 2 = 9.5 -> 10 and (11 + 16 - 6) / 2 = 10.5 -> 11.
    assert crop(ramp(50, 50), (10.0, 11.0, 15.0, 16.0))[0][0, 0].tolist() == [11, 10, 0]


def test_a_crop_is_a_copy():
    field = ramp(20, 20)
    image, _ = crop(field, (5.0, 5.0, 10.0, 10.0))
    image[:] = 255
    assert np.array_equal(field, ramp(20, 20))


def test_a_box_beyond_the_field_is_clipped_before_its_square_is_made():
    inside = crop(ramp(40, 40), (30.0, 10.0, 40.0, 20.0))
    beyond = crop(ramp(40, 40), (30.0, 10.0, 90.0, 20.0))
    assert np.array_equal(inside[0], beyond[0])
    assert beyond[1]


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((1.0, 10.0, 20.0, 20.0), True),
        ((1.01, 10.0, 20.0, 20.0), False),
        ((10.0, 1.0, 20.0, 20.0), True),
        ((10.0, 10.0, 79.0, 20.0), True),
        ((10.0, 10.0, 78.9, 20.0), False),
        ((10.0, 10.0, 20.0, 59.0), True),
        ((10.0, 10.0, 20.0, 58.9), False),
        ((-5.0, 10.0, 20.0, 20.0), True),
    ],
)
def test_a_box_within_a_pixel_of_the_border_touches_it(box, touches):
    assert crop(ramp(60, 80), box)[1] is touches


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((504.0, 337.0, 504.0, 337.0), "no area"),
        ((20.0, 10.0, 10.0, 20.0), "no area"),
        ((10.0, 20.0, 20.0, 10.0), "no area"),
        ((math.nan, 1.0, 5.0, 5.0), "not a number"),
        ((0.0, 0.0, math.inf, 5.0), "not a number"),
        ((700.0, 10.0, 720.0, 30.0), "outside the 640x480 field"),
        ((-30.0, 10.0, 0.0, 30.0), "outside"),
        ((10.0, 480.0, 30.0, 500.0), "outside"),
        ((10.0, -9.0, 30.0, -1.0), "outside"),
        ((10.0, 10.0, 11.9, 30.0), "1.9x20 pixels"),
        ((638.5, 10.0, 660.0, 30.0), "1.5x20 pixels"),
    ],
)
def test_a_degenerate_box_is_refused_with_its_reason(box, reason):
    with pytest.raises(AnnotationError, match=reason):
        clip_box(box, 640, 480)
    with pytest.raises(AnnotationError, match=reason):
        crop(np.zeros((480, 640, 3), np.uint8), box)


def test_two_pixels_a_side_are_enough():
    assert clip_box((-3.0, 0.0, 2.0, 2.0), 640, 480) == (0.0, 0.0, 2.0, 2.0)


def test_cells_are_read_back_as_they_were_written(tmp_path: Path):
    cells = [
        Cell("Train/RBC/a_001.png", "images/a.png", "a", "bccd", (1.0, 2.5, 30.125, 40.0), "RBC",
             "train", True, "bccd/a"),
        Cell("WBC/b,\"1\".png", "b é.png", "b é", None, None, "WBC", None, False, "p 7"),
    ]  # fmt: skip
    assert read_cells(write_cells(tmp_path / "cells.csv", cells)) == cells


def test_columns_are_found_by_name_and_others_are_passed_over(tmp_path: Path):
    path = tmp_path / "cells.csv"
    columns = ["note", *reversed(COLUMNS)]
    values = dict.fromkeys(columns, "") | {"file": "a.png", "class": "RBC", "touches_border": "1"}
    path.write_text(
        "\ufeff" + ",".join(columns) + "\r\n" + ",".join(values[c] for c in columns) + "\r\n\r\n",
        encoding="utf-8",
    )
    (cell,) = read_cells(path)
    assert (cell.file, cell.label, cell.touches_border, cell.box) == ("a.png", "RBC", True, None)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (",s,f,l,1,2,3,4,true,RBC,train,g", "may not be empty"),
        ("a,s,f,l,1,2,3,4,true,,train,g", "may not be empty"),
        ("a,s,f,l,1,2,3,4,maybe,RBC,train,g", "true or false.*'maybe'"),
        ("a,s,f,l,1,2,3,4,true,RBC,holdout,g", "train, valid, test or empty.*'holdout'"),
        ("a,s,f,l,1,2,x,4,true,RBC,train,g", "'xmax' should hold a number.*'x'"),
        ("a,s,f,l,1,2,,4,true,RBC,train,g", "'xmax' should hold a number"),
        ("a,s,f,l,5,2,3,4,true,RBC,train,g", "no area"),
        ("a,s,f,l,1,2,nan,4,true,RBC,train,g", "no area"),
        ("a,s,f,l,1,2,3,4,true,RBC,train", "expected 12 values.*Received 11"),
        ("b,s,f,l,1,2,3,4,true,RBC,train,g", "'b' is already in line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str):
    path = tmp_path / "cells.csv"
    path.write_text(f"{HEADER}\nb,s,f,l,1,2,3,4,true,RBC,train,g\n{line}\n")
    with pytest.raises(AnnotationError, match=f"cells.csv, line 3: .*{problem}"):
        read_cells(path)


def test_a_formula_is_text_in_a_spreadsheet_and_is_read_back_as_it_was(tmp_path: Path) -> None:
    cell = Cell("+/=1.png", "@field.png", "-field", "=HYPERLINK(1)", None, "+", group="'=quoted")
    path = write_cells(tmp_path / "cells.csv", [cell])
    row = path.read_text(encoding="utf-8").splitlines()[1].split(",")
    assert row[:4] == ["'+/=1.png", "'@field.png", "'-field", "'=HYPERLINK(1)"]
    assert row[-3:] == ["'+", "", "''=quoted"]
    assert read_cells(path) == [cell]
