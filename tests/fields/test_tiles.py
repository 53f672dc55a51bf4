"""Scaling and tiles: the tiled field yields the cells of the whole one."""

import numpy as np
import pytest

from discs import BACKGROUND, DiscFinder, disc_field
from hematovision.fields.edges import Circle
from hematovision.fields.tiles import CORE, MARGIN, FieldImage, detect, tiles

WHITE = np.array([235, 235, 235], np.float32)  # leaves colours as they are


def test_cores_share_out_the_field_and_start_at_multiples():
    owner = np.zeros((700, 900), int)
    for tile in tiles((900, 700), multiple=32, core=256, margin=64):
        x0, y0, x1, y1 = tile.core
        owner[y0:y1, x0:x1] += 1
        assert all(start % 32 == 0 for start in (*tile.core[:2], *tile.outer[:2]))
        assert tile.outer[0] == max(0, x0 - 64)
        assert tile.outer[3] == min(700, y0 + 256 + 64)
    assert (owner == 1).all()


def test_an_ordinary_field_is_one_tile():
    assert len(list(tiles((896, 768), multiple=32))) == 1
    assert len(list(tiles((897, 768), multiple=32))) == 4


def test_margins_hold_one_and_a_half_white_cells():
    assert CORE % 32 == MARGIN % 32 == 0
    assert MARGIN >= 1.5 * 1.9 * 36


@pytest.mark.parametrize("core", [128, 256, 416])
def test_tiles_find_the_cells_of_the_whole_field(core):
    field = FieldImage(disc_field((480, 640), 36, seed=3).image, WHITE)
    whole = detect(DiscFinder(), field, (640, 480), core=2048)
    tiled = detect(DiscFinder(), field, (640, 480), core=core)
    assert len(whole) > 25
    np.testing.assert_array_equal(whole.boxes, tiled.boxes)
    np.testing.assert_array_equal(whole.scores, tiled.scores)


def test_a_field_too_large_to_be_kept_is_scaled_by_tile(monkeypatch):
    field = FieldImage(disc_field((300, 400), 24, seed=3).image, WHITE)
    size = field.size(1.5)
    whole = detect(DiscFinder(), field, size, core=256)
    monkeypatch.setattr("hematovision.fields.tiles._IN_MEMORY", 0)
    tiled = detect(DiscFinder(), field, size, core=256)
    np.testing.assert_allclose(whole.boxes, tiled.boxes, atol=1)


@pytest.mark.parametrize("factor", [0.21, 0.5, 0.77, 1.0, 1.6])
def test_a_window_is_cut_from_the_scaled_field(factor):
    field = FieldImage(disc_field((300, 400), 40).image, WHITE)
    size = field.size(factor)
    box = (size[0] // 4, size[1] // 3, size[0] // 4 + 40, size[1] // 3 + 30)
    whole = field.window(size)[box[1] : box[3], box[0] : box[2]].astype(int)
    assert abs(whole - field.window(size, box)).max() <= 2


def test_a_large_field_is_scaled_in_bands(monkeypatch):
    field = FieldImage(disc_field((300, 400), 40).image, WHITE)
    whole = field.window(field.size(0.37)).astype(int)
    monkeypatch.setattr("hematovision.fields.tiles._AT_ONCE", 5000)
    assert abs(whole - field.window(field.size(0.37))).max() <= 2


def test_the_background_becomes_white_once_for_all_windows():
    field = FieldImage(disc_field((300, 400), 40).image, BACKGROUND / 2)
    assert field.window((400, 300)).max(axis=(0, 1)).tolist() == [255, 255, 255]
    field = FieldImage(disc_field((300, 400), 40).image, BACKGROUND)
    assert (
        field.window((200, 150), (90, 70, 91, 71)).tolist()
        == field.window((200, 150))[70:71, 90:91].tolist()
    )
    assert field.window((400, 300))[0, 0].tolist() == [235, 235, 235]


def test_outside_the_circle_all_is_grey():
    image = disc_field((300, 400), 40).image
    window = FieldImage(image, WHITE, Circle(200, 150, 100)).window((200, 150))
    assert (window[0] == 128).all()
    assert (window[75, 100] != 128).any()
    assert (window[:, :48] == 128).all()
