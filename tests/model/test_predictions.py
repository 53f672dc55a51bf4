"""Predictions are a sequence with arrays, a table and a plot; every method takes every input."""

import copy
import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colour_squares import COLOUR_MODEL, write_square
from hematovision import images
from hematovision.errors import BundleError, ImageError, NotAnImageError
from hematovision.model.classifier import Classifier
from hematovision.model.explanation import Explanation
from hematovision.model.prediction import Prediction
from hematovision.model.predictions import Predictions
from model.make_explaining import explaining_bundle
from model.make_other_graph import other_bundle

RED, GREEN = (200, 150, 10), (150, 200, 10)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Classifier:
    """Predicts the strongest colour, and explains it."""
    return Classifier.load(explaining_bundle(tmp_path_factory.mktemp("run") / "run"), workers=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("squares")
    write_square(root / "a.png", RED)
    write_square(root / "more" / "b.png", GREEN)
    return root


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


KINDS = {
    "path": (lambda folder: folder / "a.png", ["red"]),
    "string": (lambda folder: str(folder / "a.png"), ["red"]),
    "folder": (lambda folder: folder, ["red", "green"]),
    "glob": (lambda folder: str(folder / "**" / "*.png"), ["red", "green"]),
    "bytes": (lambda folder: (folder / "a.png").read_bytes(), ["red"]),
    "array": (lambda folder: images.read(folder / "a.png"), ["red"]),
    "arrays": (
        lambda folder: np.stack([images.read(one) for one in images.iter_images([folder])]),
        ["red", "green"],
    ),
    "Pillow image": (lambda folder: opened(folder / "a.png"), ["red"]),
    "mixed": (
        lambda folder: [
            folder,
            images.read(folder / "a.png"),
            str(folder / "m*" / "*"),
            opened(folder / "a.png").convert("RGBA"),
            (folder / "a.png").read_bytes(),
        ],
        ["red", "green", "red", "green", "red", "red"],
    ),
    "generator": (lambda folder: iter([folder / "a.png", folder / "more"]), ["red", "green"]),
    "nothing": (lambda _: [], []),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["predict", "stream", "predict_proba", "explain"])
def test_every_method_takes_every_input(classifier, folder, method: str, kind: str):
    given, expected = KINDS[kind]
    found = getattr(classifier, method)(given(folder))
    if method == "predict_proba":
        assert (found.shape, found.dtype) == ((len(expected), 3), np.float64)
        labels = [classifier.classes[i] for i in found.argmax(axis=1)]
    elif method == "explain":
        labels = [one.prediction.label for one in found]
    else:
        labels = [one.label for one in found]
    assert labels == expected


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_every_input(folder, kind: str):
    model = Classifier.load(COLOUR_MODEL)
    given, expected = KINDS[kind]
    found = model.embed(given(folder))
    assert (found.shape, found.dtype) == ((len(expected), 1280), np.float32)
    red = model.features(images.load(folder / "a.png")[None])[0]
    for row, label in zip(found, expected, strict=True):
        assert np.allclose(row, red, atol=1e-5) == (label == "red")


def test_a_generator_is_consumed_lazily(classifier, folder):
    taken = itertools.count()
    with_features = classifier.stream(folder / "a.png" for _ in taken)
    assert next(with_features).label == "red"
    with_features.close()
    assert next(taken) <= 4 * classifier.threads + 2


@pytest.fixture
def found(folder, tmp_path) -> Predictions:
    """Red, unreadable, green, unlike the training images."""
    (tmp_path / "broken.png").write_bytes(b"x")
    bright = np.full((9, 9, 3), (250, 10, 10), np.uint8)
    given = [folder / "a.png", tmp_path / "broken.png", folder / "more", bright]
    return Classifier.load(COLOUR_MODEL).predict(given)


def test_they_are_a_sequence(found):
    assert len(found) == 4
    assert isinstance(found[0], Prediction)
    assert isinstance(found[1:3], Predictions)
    assert [one.label for one in found[1:3]] == [None, "green"]
    assert found[-1].path == "image 3"
    assert found == list(found)
    assert found == tuple(found)
    assert found != found[:2]
    assert (found == 4) is False
    assert found[2] in found


def test_arrays_and_counts(found):
    assert found.labels[:3] == ("red", None, "green")
    assert found.probabilities.dtype == np.float64
    assert np.isnan(found.probabilities[1]).all()
    np.testing.assert_allclose(found.probabilities[[0, 2, 3]].sum(axis=1), 1, atol=1e-6)
    assert found.counts == {"red": 2, "green": 1, "blue": 0}
    assert [one.path for one in found.refused] == [found[1].path]
    assert [one.path for one in found.review] == ["image 3"]


def test_without_images_arrays_have_their_shape(classifier):
    nothing = classifier.predict([])
    assert nothing.probabilities.shape == (0, 3)
    assert nothing.counts == {"red": 0, "green": 0, "blue": 0}
    assert repr(nothing) == "Predictions: 0 images"
    assert list(nothing.to_pandas().columns) == list(classifier.schema.names)
    assert nothing.plot().axes == []


def test_the_table_has_the_columns_and_types_of_classify(found, classifier):
    frame = found.to_pandas()
    assert tuple(frame.columns) == classifier.schema.names
    numbers = ["confidence", "novelty", "p_red", "p_green", "p_blue"]
    assert {str(frame[name].dtype) for name in numbers} == {"float64"}
    assert frame["label"].tolist() == ["red", "", "green", "red"]
    assert frame["p_red"].isna().tolist() == [False, True, False, False]
    assert (frame.dtypes == found[:0].to_pandas().dtypes).all(), "the same without rows"


def test_the_representations_are_short(found, folder):
    lines = repr(found).splitlines()
    assert lines[0].startswith("Predictions: 4 images: ")
    assert lines[0].endswith(", 1 refused; 1 to review")
    assert lines[1].split() == ["path", "label", "confidence", "decision", "reason"]
    assert lines[2].split()[1:] == ["red", f"{found[0].confidence:.1%}", "accepted"]
    assert "its content is not an image" in lines[3]
    start = f"Prediction({str(folder / 'a.png')!r}: red "
    assert repr(found[0]) == f"{start}{found[0].confidence:.1%}, accepted)"
    assert repr(found[1]).startswith(f"Prediction({found[1].path!r}: refused: its content is not")
    assert repr(found[3]).endswith("review: unlike the training images)")
    assert found._repr_html_().count("<tr>") == 5


def test_a_long_table_is_cut(found):
    many = Predictions(tuple(found) * 30, found.classes)
    lines = repr(many).splitlines()
    assert len(lines) == 13
    assert lines[7].strip() == "..."
    assert "120 images" in lines[0]


def test_a_plot_shows_each_image_with_its_label(found):
    figure = found.plot()
    assert [one.get_title(loc="center").split()[0] for one in figure.axes] == [
        "red", "Not", "green", "Not",
    ]  # fmt: skip
    assert [len(one.images) for one in figure.axes] == [1, 0, 1, 1]
    assert figure._repr_png_().startswith(b"\x89PNG"), "notebooks show it without pyplot"
    some = found.plot(2, columns=1)
    assert len(some.axes) == 2
    assert some.get_suptitle() == "2 of 4 images"
    assert len(found[0].plot().axes) == 1


def test_an_image_that_is_gone_is_an_empty_panel(classifier, tmp_path):
    path = write_square(tmp_path / "gone.png", RED)
    (prediction,) = classifier.predict(path)
    path.unlink()
    assert not prediction.plot().axes[0].images
    with pytest.raises(ImageError, match="does not exist"):
        prediction.image()


def test_the_image_of_a_prediction(found, folder):
    assert found[3].image().shape == (9, 9, 3)
    assert found[0].image().shape == (30, 30, 3)
    assert Prediction.refused("a", ("x", "y"), "why").source is None
    with pytest.raises(NotAnImageError):
        found[1].image()


def test_unreadable_images_have_no_probabilities_or_features(classifier, run_folder, found):
    with pytest.raises(NotAnImageError, match=r"broken\.png: its content is not an image"):
        classifier.predict_proba([found[0].path, found[1].path])
    with pytest.raises(NotAnImageError, match=r"broken\.png"):
        Classifier.load(run_folder).embed([found[0].path, found[1].path])
    with pytest.raises(ImageError, match=r"image 0: .*mode 'F'"):
        Classifier.load(run_folder).embed(Image.new("F", (9, 9)))


def test_a_model_without_features_names_its_outputs(tmp_path):
    model = Classifier(other_bundle(tmp_path / "run"))
    with pytest.raises(BundleError, match=r"no output 'features'\. Its outputs: probabilities"):
        model.embed([])


def test_an_explanation_is_shown_next_to_its_image(classifier, folder, found):
    one, other = classifier.explain([folder / "a.png", found[1].path])
    assert isinstance(one, Explanation)
    assert repr(one).startswith(f"Explanation({str(folder / 'a.png')!r}: red")
    assert one.overlay().shape == (256, 256, 3)
    assert [panel.get_title() for panel in one.plot().axes][1] == "evidence for red"
    assert other.attention is None
    assert one in {one, other}
    assert one != next(classifier.explain(folder / "a.png")), "arrays are not compared"
    with pytest.raises(NotAnImageError):
        other.plot()


def test_copies_are_equal(found):
    assert pickle.loads(pickle.dumps(found)) == found
    assert copy.deepcopy(found) == found


def test_predicting_imports_neither_pandas_nor_matplotlib(folder):
    code = (
        "import sys, hematovision\n"
        f"found = hematovision.Classifier.load({str(COLOUR_MODEL)!r}).predict({str(folder)!r})\n"
        "print(repr(found), found.probabilities, found.counts)\n"
        "assert not {'pandas', 'matplotlib', 'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_without_pandas_or_matplotlib_the_error_names_the_extra(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Exception, match="A data frame needs the module 'pandas'") as raised:
        found.to_pandas()
    assert raised.value.extra == "notebook"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Exception, match="Plotting figures needs the module 'matplotlib'"):
        found.plot()
