"""Copies are found when turned, cropped and compressed; other cells are not."""

import csv
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.data import duplicates as alignment
from hematovision.data.duplicates import (
    THUMBNAIL,
    VIEWS,
    Fingerprints,
    clusters,
    exact_duplicates,
    fingerprint,
    fingerprint_all,
    near_duplicates,
    view_orders,
)
from hematovision.errors import NotAnImageError
from hematovision.synthetic import KINDS, render_cell


def altered(image, view=0, crop=0.0, quality=None, light=1.0):
    """Turn an image, cut a share off each side, change its brightness and compress it."""
    height, width = image.shape[:2]
    rows, columns = round(height * crop), round(width * crop)
    image = image[rows : height - rows or None, columns : width - columns or None]
    image = images.view(image, view)
    image = np.clip(image * light, 0, 255).astype(np.uint8)
    if quality is None:
        return image
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return images.read(buffer.getvalue())


def prints_of(*cell_images):
    rows = [fingerprint(image) for image in cell_images]
    return Fingerprints(
        np.arange(len(rows)),
        tuple(row.pixels_sha256 for row in rows),
        np.stack([row.hashes for row in rows]),
        np.stack([row.thumbnail for row in rows]),
    )


def pairs_of(*cell_images):
    return [(pair.first, pair.second) for pair in near_duplicates(prints_of(*cell_images))]


@pytest.fixture(scope="module")
def cells():
    """Synthetic cells of every kind, each with its own seed, which fixes the surroundings."""
    kinds = [kind for kind in sorted(KINDS) for _ in range(2)]
    return [render_cell(kind, seed, size=96) for seed, kind in enumerate(kinds)]


def test_different_synthetic_cells_are_no_duplicates(cells) -> None:
    assert len(cells) == 18
    assert pairs_of(*cells) == []


@pytest.mark.parametrize("view", range(VIEWS))
def test_a_copy_in_any_view_is_found_and_its_view_named(cells, view: int) -> None:
    copies = [altered(cell, view) for cell in cells]
    found = near_duplicates(prints_of(*cells, *copies))
    assert [(pair.first, pair.second) for pair in found] == [
        (row, row + len(cells)) for row in range(len(cells))
    ]
    for pair in found:
        turned = images.view(copies[pair.first], pair.view)
        assert np.abs(turned.astype(int) - cells[pair.first]).mean() < 6
        assert pair.correlation > 0.97
        assert pair.detail > 0.9


def test_a_mirrored_cropped_darkened_compressed_copy_is_found(cells) -> None:
    copies = [altered(cell, view=4, crop=0.035, quality=60, light=0.95) for cell in cells]
    found = set(pairs_of(*cells, *copies))
    expected = {(row, row + len(cells)) for row in range(len(cells))}
    assert len(found & expected) >= 0.9 * len(expected)
    assert found <= expected


def test_the_small_side_of_a_pair_may_come_first(cells) -> None:
    cell = cells[0]
    assert pairs_of(altered(cell, 5, 0.04, 70), cell) == [(0, 1)]


def test_blank_images_are_no_near_duplicates() -> None:
    blank = np.full((50, 50, 3), 200, np.uint8)
    assert pairs_of(blank, blank + np.uint8(1), altered(blank, quality=60)) == []


def test_zero_or_one_images_have_no_duplicates(cells) -> None:
    assert near_duplicates(fingerprint_all([])) == []
    assert pairs_of(cells[0]) == []


def test_only_the_requested_rows_are_compared(cells) -> None:
    prints = prints_of(cells[0], cells[0], cells[1], altered(cells[1], 3))
    pairs = near_duplicates(prints, rows=[1, 2, 3])
    assert [(pair.first, pair.second) for pair in pairs] == [(2, 3)]


def test_equal_pixels_are_exact_duplicates_whatever_the_container(tmp_path, cells) -> None:
    for name in ("a.png", "b.tif", "c.png"):
        Image.fromarray(cells[1 if name == "c.png" else 0]).save(tmp_path / name)
    prints = fingerprint_all([tmp_path / name for name in ("a.png", "c.png", "b.tif")])
    assert exact_duplicates(prints) == [(0, 2)]


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    stripes = np.arange(48, dtype=np.uint8).reshape(2, 8, 3)
    assert exact_duplicates(prints_of(stripes, stripes.reshape(8, 2, 3))) == []


def test_unreadable_files_keep_their_place_and_reason(tmp_path, cells) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(cells[0]).save(good)
    bad.write_text("no image")
    calls: list[tuple[int, int, str]] = []
    prints = fingerprint_all([good, bad, good], lambda *what: calls.append(what))
    assert prints.positions.tolist() == [0, 2]
    ((position, error),) = prints.unreadable
    assert position == 1
    assert isinstance(error, NotAnImageError)
    assert calls == [(n, 3, "Reading images", "images") for n in (1, 2, 3)]


def test_the_search_reports_its_progress(cells) -> None:
    calls: list[tuple[int, int, str]] = []
    near_duplicates(prints_of(*cells[:3]), lambda *what: calls.append(what))
    assert calls == [(3, 3, "Looking for near duplicates", "images")]


def test_view_orders_are_those_of_images_view() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for index, order in enumerate(view_orders(8)):
        turned = image[..., 0].ravel()[order].reshape(8, 8)
        assert np.array_equal(turned, images.view(image, index)[..., 0])


def test_alignment_recovers_scale_and_shift() -> None:
    big = np.random.default_rng(1).random((20, 20)).astype(np.float32)
    resized = np.array(Image.fromarray(big).resize((320, 320), Image.Resampling.BICUBIC))
    whole = Image.fromarray(resized).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    cropped = Image.fromarray(resized[16:320, 0:304])  # 5% off the top and off the right
    cropped = cropped.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    first, second = np.array(whole)[None], np.array(cropped)[None]
    (warp,) = alignment.align(first, second)
    assert warp == pytest.approx([-0.05, -0.05, -0.05, 0.05], abs=0.01)
    before = alignment.correlate(first, second, np.zeros((1, 4), np.float32))
    after = alignment.correlate(first, second, warp[None])
    assert before[0] < 0.8 < 0.97 < after[0]


def test_detail_is_the_part_that_a_blur_removes() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (1, 32, 1))
    assert np.abs(alignment.detail(ramp)[0, :, 8:-8]).max() < 1e-3
    checks = (np.indices((32, 32)).sum(0) % 2).astype(np.float32)[None]
    assert alignment.detail(checks).std() == pytest.approx(checks.std(), rel=0.01)


def test_clusters_join_groups_that_share_a_member() -> None:
    assert clusters([(5, 9), (1, 2), (3, 4), (2, 3), (9, 5)]) == [(1, 2, 3, 4), (5, 9)]
    assert clusters([]) == []


def hashes_of(image) -> list[int]:
    """The hashes of the eight views, as numbers whose first bit is the lowest frequency."""
    return [int.from_bytes(value.tobytes()) for value in fingerprint(image).hashes]


def stored_hashes(kind: str) -> dict[str, list[int]]:
    """Hashes of the eight views, computed with imagehash 4.3.2: ``imagehash.phash(view)``."""
    content = json.loads((Path(__file__).parent / "perceptual_hashes.json").read_text())[kind]
    return {name: [int(one, 16) for one in hashes] for name, hashes in content.items()}


def patterns() -> dict:
    """Grey patterns of 32 x 32 pixels; symmetric ones have many equal frequencies."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    mirrored = np.concatenate([noise[:, :16], noise[:, 15::-1]], axis=1)
    upper = np.concatenate([noise[:16, :16], noise[:16, 15::-1]], axis=1)
    rows, columns = np.indices((32, 32))
    disc = (2 * rows - 31) ** 2 + (2 * columns - 31) ** 2 < 400
    made = {
        "blank": np.full((32, 32), 200),
        "checks": 255 * ((rows + columns) % 2),
        "disc": np.where(disc, 90, 220),
        "mirrored": mirrored,
        "mirrored twice": np.concatenate([upper, upper[::-1]]),
        "noise": noise,
        "ramp": 8 * columns,
    }
    return {
        name: np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2) for name, grey in made.items()
    }


def test_hashes_of_patterns_are_those_of_imagehash() -> None:
    assert {name: hashes_of(image) for name, image in patterns().items()} == stored_hashes(
        "patterns"
    )


def test_hashes_of_synthetic_cells_are_those_of_imagehash() -> None:
    stored = stored_hashes("synthetic")
    assert len(stored) == len(KINDS)
    for name, expected in stored.items():
        kind, _, seed = name.rpartition(" ")
        found = hashes_of(render_cell(kind, int(seed), size=96))
        # A pixel may be rendered one grey level apart on another processor.
        assert max((a ^ b).bit_count() for a, b in zip(found, expected, strict=True)) <= 1


def test_hashes_of_real_images_are_those_of_imagehash(real_data) -> None:
    stored = stored_hashes("real")
    assert len(stored) == 22
    assert {name: hashes_of(images.read(real_data / name)) for name in stored} == stored


def test_300_real_cells_have_no_false_pair(real_data) -> None:
    paths = random.Random(7).sample(sorted((real_data / "pbc").rglob("*.jpg")), 300)
    assert near_duplicates(fingerprint_all(paths)) == []


def test_the_pbc_images_of_txl_are_found_in_pbc(real_data) -> None:
    with (real_data / "txl" / "index.csv").open(newline="") as stream:
        twins = {row["image"]: row["pbc_file"] for row in csv.DictReader(stream)}
    pbc = {path.name: path for path in (real_data / "pbc").rglob("*.jpg")}
    known = sorted((image, name) for image, name in twins.items() if name in pbc)
    assert len(known) >= 60
    known = known[:: len(known) // 60]
    paths = [real_data / "txl" / "pbc" / "images" / image for image, _ in known]
    paths += [pbc[name] for _, name in known]
    found = {(pair.first, pair.second) for pair in near_duplicates(fingerprint_all(paths))}
    assert found == {(row, row + len(known)) for row in range(len(known))}
