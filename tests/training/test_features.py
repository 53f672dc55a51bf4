"""Features are computed once per image, independent of file names, and never mixed up."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.errors import NotAnImageError, UnreadableFileError
from hematovision.training.feature_cache import open_cache
from hematovision.training.features import View, extract, plan_views, row_keys, rows_of


class Counting:
    """A fake backbone: features are pixels, and images are counted."""

    sha256 = "ab" * 32

    def __init__(self):
        self.seen = 0

    def features(self, batch):
        self.seen += len(batch)
        return batch.reshape(len(batch), -1)[:, :1280].astype(np.float32)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    return images.write(tmp_path / "a.png", pixels)


def test_an_image_is_computed_once_even_under_another_name(image: Path, tmp_path: Path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(image.read_bytes())
    backbone = Counting()
    with open_cache(backbone.sha256) as cache:
        first = extract([View(image)], backbone, cache)
    with open_cache(backbone.sha256) as cache:
        second = extract([View(copy), View(image)], backbone, cache)
    assert backbone.seen == 1
    assert (first.computed, second.computed) == (1, 0)
    np.testing.assert_array_equal(second.values, np.repeat(first.values, 2, axis=0))
    np.testing.assert_array_equal(second.mean_colours[0], first.mean_colours[0])


def test_a_view_is_the_turned_image_and_has_a_row_of_its_own(image: Path):
    backbone = Counting()
    with open_cache(backbone.sha256) as cache:
        found = extract([View(image, 3), View(image, 0)], backbone, cache)
    fitted = images.load(image)
    for row, index in zip(found.values, (3, 0), strict=True):
        expected = images.view(fitted, index).reshape(-1)[:1280]
        np.testing.assert_array_equal(row, expected.astype(np.float32))
    np.testing.assert_allclose(found.mean_colours[1], fitted.mean(axis=(0, 1)), rtol=1e-5)
    assert found.digests[0] == found.digests[1]


def test_images_read_in_another_way_have_a_cache_of_their_own(image: Path):
    backbone = Counting()

    def load(data, name):
        return 255 - images.load(data, name=name)

    with open_cache(backbone.sha256) as cache:
        plain = extract([View(image)], backbone, cache)
    for computed in (1, 0):
        with open_cache(backbone.sha256, inputs="inverted") as cache:
            found = extract([View(image)], backbone, cache, load=load)
        assert found.computed == computed
        np.testing.assert_array_equal(found.values, 255 - plain.values)
        assert found.digests == plain.digests  # those of the file


def test_another_backbone_does_not_see_these_features(image: Path):
    with open_cache("ab" * 32) as cache:
        extract([View(image)], Counting(), cache)
    with open_cache("cd" * 32) as cache:
        assert extract([View(image)], Counting(), cache).computed == 1


def test_unreadable_images_are_omitted_and_listed_once(image: Path, tmp_path: Path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    views = [View(text), View(image), View(tmp_path / "gone.png"), View(text, 1)]
    with open_cache("ab" * 32) as cache:
        found = extract(views, Counting(), cache)
    assert found.kept.tolist() == [1]
    assert {type(error) for error in found.refused} == {NotAnImageError, UnreadableFileError}
    assert len(found.refused) == 2


def test_an_image_is_read_and_decoded_once_for_all_its_views(
    image: Path, monkeypatch: pytest.MonkeyPatch
):
    reads, decodes = [], []
    read_bytes, load = images.read_bytes, images.load
    monkeypatch.setattr(images, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    monkeypatch.setattr(
        images, "load", lambda data, name: decodes.append(name) or load(data, name=name)
    )
    backbone = Counting()
    with open_cache(backbone.sha256) as cache:
        extract([View(image, index) for index in (2, 0, 5, 2)], backbone, cache)
        assert (len(reads), decodes, backbone.seen) == (1, [str(image)], 3)
        known = extract([View(image, index) for index in (5, 2)], backbone, cache)
    assert (len(reads), len(decodes), known.computed) == (2, 1, 0)


def test_rows_can_be_computed_elsewhere_and_put_into_the_cache(image: Path):
    data, backbone = image.read_bytes(), Counting()
    rows = rows_of(data, (0, 6), backbone, "a.png")
    assert [key for key, _ in rows] == row_keys(data, (0, 6))
    assert {row.shape for _, row in rows} == {(1284,)}
    with open_cache(backbone.sha256) as cache:
        cache.put(rows)
        assert cache.known(row_keys(data, range(8))) == set(row_keys(data, (0, 6)))
        found = extract([View(image, 6)], backbone, cache)
    assert (found.computed, backbone.seen) == (0, 2)
    np.testing.assert_array_equal(found.values[0], rows[1][1][:1280])


def test_rows_of_a_file_that_is_not_an_image_are_a_named_error():
    with pytest.raises(NotAnImageError, match=r"cell 7\.jpg"):
        rows_of(b"no image", (0,), Counting(), "cell 7.jpg")


def test_what_was_computed_before_ctrl_c_is_kept(tmp_path: Path):
    paths = [
        images.write(tmp_path / f"{i}.png", np.full((8, 8, 3), i, np.uint8)) for i in range(80)
    ]

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    views = [View(path) for path in paths]
    with open_cache("ab" * 32) as cache:
        with pytest.raises(KeyboardInterrupt):
            extract(views, Counting(), cache, press)
        assert extract(views, Counting(), cache).computed == 80 - 64


def test_many_images_keep_their_order_across_batches(tmp_path: Path):
    paths = [
        images.write(tmp_path / f"{i}.png", np.full((8, 8, 3), i, np.uint8)) for i in range(70)
    ]
    calls = []
    with open_cache("ab" * 32) as cache:
        found = extract(
            [View(p) for p in paths], Counting(), cache, lambda *step: calls.append(step)
        )
    assert found.values[:, 0].tolist() == list(range(70))
    assert calls[-1] == (70, 70, "features", "images")


def test_no_images_give_no_rows():
    with open_cache("ab" * 32) as cache:
        assert extract([], Counting(), cache).values.shape == (0, 1280)


def test_a_row_of_a_wrong_length_is_computed_again(image: Path):
    with open_cache("ab" * 32) as cache:
        extract([View(image)], Counting(), cache)
        path = cache.path
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE features SET row = x'0000'")
    with open_cache("ab" * 32) as cache:
        assert extract([View(image)], Counting(), cache).computed == 1


def test_rare_classes_get_more_views_within_the_budget():
    labels = np.array([0] * 85 + [1] * 10 + [2] * 5)
    views = plan_views(labels)
    assert set(views[labels == 0]) == {1}
    assert views.sum() <= 125
    assert views[labels == 2][0] > 1
    rows = np.bincount(labels, weights=views)
    assert rows[1] == rows[2] == 20


def test_balanced_classes_get_no_further_views():
    assert plan_views(np.array([0, 1] * 20)).tolist() == [1] * 40


def test_an_image_has_eight_views_at_most():
    labels = np.array([0] * 200 + [1])
    assert plan_views(labels)[-1] == 8
