"""Labelled images: read once, and predicted by one or several models."""

from pathlib import Path

import numpy as np
import pytest

from colour_squares import COLOUR_MODEL, write_squares
from hematovision import images
from hematovision.data.folders import read_dataset
from hematovision.errors import DatasetError
from hematovision.model.classifier import Classifier
from hematovision.workflows.labelled import choose_split, predict_labelled, read_colours
from model.make_other_graph import other_bundle


@pytest.fixture
def squares(tmp_path: Path):
    classifier = Classifier.load(COLOUR_MODEL)
    root = write_squares(tmp_path / "squares")
    return read_dataset(root, classifier.taxonomy)


def test_each_image_is_read_once_for_all_models(squares, monkeypatch):
    read = []
    load = images.load
    monkeypatch.setattr(images, "load", lambda path, **options: (read.append(path), load(path))[1])
    classifiers = [Classifier.load(COLOUR_MODEL) for _ in range(3)]
    found, refused = predict_labelled(classifiers, choose_split(squares, "test"))
    assert sorted(read) == sorted(sample.path for sample in squares.subset("test"))
    assert [error.path.endswith("broken.png") for error in refused] == [True]
    assert len(found) == 3
    for one in found:
        assert one.probabilities.shape == (9, 3)
        np.testing.assert_array_equal(one.probabilities.argmax(axis=1), one.labels)


def test_models_of_other_sizes_and_without_novelty_are_compared_on_the_same_images(
    squares, tmp_path: Path
):
    other = Classifier(other_bundle(tmp_path / "other"))
    ours = Classifier.load(COLOUR_MODEL)
    assert other.size != ours.size
    together, _ = predict_labelled([ours, other], squares)
    for classifier, found in zip((ours, other), together, strict=True):
        ((alone,), _) = predict_labelled([classifier], squares)
        np.testing.assert_array_equal(found.probabilities, alone.probabilities)
        np.testing.assert_array_equal(found.novelty, alone.novelty)
    assert (together[1].novelty == 0).all()
    np.testing.assert_array_equal(together[0].colours, together[1].colours)


def test_progress_counts_every_image(squares):
    seen = []
    predict_labelled(
        [Classifier.load(COLOUR_MODEL)], squares, lambda *args: seen.append(args), "comparing"
    )
    assert seen == [(i, 19, "comparing", "images") for i in range(1, 20)]


def test_no_readable_image_is_an_error(squares):
    broken = squares.with_samples(s for s in squares if s.path.name == "broken.png")
    with pytest.raises(DatasetError, match=r"None of the 1 images can be read.*data check"):
        predict_labelled([Classifier.load(COLOUR_MODEL)], broken)


def test_the_colours_of_readable_images_are_their_means(squares):
    samples = squares.subset("test").samples
    kept, colours = read_colours(samples)
    assert [samples[i].path.name for i in kept] == [
        sample.path.name for sample in samples if sample.path.name != "broken.png"
    ]
    for i, colour in zip(kept, colours, strict=True):
        np.testing.assert_array_equal(colour, images.read(samples[i].path)[0, 0])
    assert read_colours([])[1].shape == (0, 3)
