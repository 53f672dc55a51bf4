"""From files to predictions: correct and in order, for any files."""

import dataclasses
import itertools
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from hematovision import images
from hematovision.errors import (
    BundleError,
    ModelError,
    ModelNotFoundError,
    TooManyPixelsError,
)
from hematovision.model import classifier as module
from hematovision.model.bundle import ONNX, read_bundle, with_self_test, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.explain import both_ways, grad_cam
from hematovision.model.inference import Item, predict_image
from hematovision.model.prediction import Prediction
from hematovision.model.session import run_one
from model.make_bundle_v1 import tiny_graph
from model.make_explaining import explaining_bundle, explaining_graph


@pytest.fixture(scope="module")
def colours(old_bundle):
    """The bundle of schema 1, which predicts the strongest colour."""
    return Classifier.load(old_bundle, workers=2)


@pytest.fixture
def classifier(run_folder):
    return Classifier.load(run_folder)


def plain(*rgb: int, size: int = 60) -> np.ndarray:
    return np.full((size, size, 3), rgb, np.uint8)


@pytest.fixture
def files(tmp_path):
    """A red, a broken, a green and a blue image."""
    paths = [tmp_path / name for name in ("red.png", "broken.jpg", "green.png", "blue.png")]
    images.write(paths[0], plain(200, 10, 10))
    paths[1].write_text("no image")
    images.write(paths[2], plain(20, 180, 10))
    images.write(paths[3], plain(100, 100, 101))
    return paths


def test_a_bundle_of_schema_1_still_opens_and_predicts(colours, files):
    assert colours.classes == ("red", "green", "blue")
    assert colours.taxonomy.find("rouge") == "red"
    assert colours.thresholds.min_confidence == 0.75
    red, _, green, blue = colours.predict(files)
    assert (red.label, green.label, blue.label) == ("red", "green", "blue")
    assert red.decision == "accepted"
    assert red.novelty == pytest.approx(200 / 255)
    assert red.confidence == pytest.approx(1)
    # exp(0), exp(0) and exp(1): worked out by hand.
    assert blue.probabilities == pytest.approx((0.21194, 0.21194, 0.57612), abs=1e-4)
    assert blue.decision == "review"
    assert blue.reason == "low confidence"


def test_a_refused_file_has_an_error_and_the_others_are_classified(colours, files):
    refused = colours.predict(files)[1]
    assert refused.decision == "refused"
    assert refused.label is None
    assert refused.confidence is refused.novelty is None
    assert refused.probabilities == ()
    assert refused.error
    assert "broken.jpg" not in refused.error, "the path has a column of its own"
    missing = colours.predict("nowhere/cell.png")[0]
    assert missing.decision == "refused"
    assert missing.path == "nowhere/cell.png"


def test_a_row_has_the_columns_in_their_order(colours, files):
    red, refused, *_ = colours.predict(files)
    expected = (
        *("path", "label", "confidence", "decision", "reason", "novelty"),
        *("p_red", "p_green", "p_blue", "error"),
    )
    assert colours.schema.names == expected
    assert tuple(red.values()) == tuple(refused.values()) == expected
    assert red.values()["p_red"] == red.confidence
    assert red.values()["error"] == ""
    assert refused.values() == {
        **dict.fromkeys(expected),
        "path": str(files[1]),
        "label": "",
        "decision": "refused",
        "reason": "",
        "error": refused.error,
    }


def test_unlike_images_are_sent_to_review(colours, tmp_path):
    path = images.write(tmp_path / "bright.png", plain(250, 0, 0))
    assert colours.predict(path)[0].reason == "unlike the training images"


def test_predictions_come_in_the_order_of_the_files(colours, files):
    paths = [files[i % 4] for i in range(50)]
    assert [prediction.path for prediction in colours.stream(paths)] == list(map(str, paths))
    assert [p.label for p in colours.predict(paths)][:8] == ["red", None, "green", "blue"] * 2


def test_a_stream_reads_no_further_than_it_must(colours, files):
    taken = itertools.count()
    stream = colours.stream(files[0] for _ in taken)
    for _ in range(20):
        next(stream)
    # 2 workers with 4 images each in flight.
    assert next(taken) <= 20 + 2 * 4 + 1
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("classify")]


def test_one_path_alone_and_no_paths(colours, files):
    assert colours.predict(files[0]) == colours.predict([str(files[0])])
    assert colours.predict(str(files[0]))[0].label == "red"
    assert colours.predict([]) == []


def test_images_in_memory_are_classified_like_files(colours, files):
    arrays = [images.read(path) for path in (files[0], files[2])]
    found = colours.predict(arrays)
    assert [p.path for p in found] == ["image 0", "image 1"]
    from_files = colours.predict([files[0], files[2]])
    assert [p.probabilities for p in found] == [p.probabilities for p in from_files]


def test_the_method_of_0_1_for_images_in_memory_still_works(colours, files):
    arrays = [images.read(path) for path in (files[0], files[2])]
    with pytest.warns(DeprecationWarning, match=r"use Classifier\.predict\(\)"):
        named = colours.predict_images(arrays, names=map(str, (files[0], files[2])))
    assert isinstance(named, list)
    assert named == colours.predict([files[0], files[2]])
    with (
        pytest.warns(DeprecationWarning, match="predict_images"),
        pytest.raises(ValueError, match=r"shape|uint8"),
    ):
        colours.predict_images([np.zeros((5, 5))])


def test_a_batch_gives_arrays_and_each_row_is_its_images_own(classifier, cells):
    together = classifier.predict_batch(cells)
    assert together.probabilities.shape == (9, 3)
    assert together.novelty.shape == (9,)
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1, atol=1e-6)
    alone = classifier.predict_batch(cells[4:5])
    np.testing.assert_array_equal(alone.probabilities[0], together.probabilities[4])
    np.testing.assert_array_equal(alone.novelty[0], together.novelty[4])
    with pytest.raises(ModelError, match="Received: float64"):
        classifier.predict_batch(cells / 255)


def test_features_and_feature_maps_are_available(classifier, cells, head):
    features, maps = classifier.features(cells[:2]), classifier.feature_maps(cells[:2])
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), features, atol=1e-5)
    np.testing.assert_allclose(
        head.probabilities(features), classifier.predict_batch(cells[:2]).probabilities, atol=1e-5
    )


def test_an_explanation_map_comes_with_each_prediction(tmp_path, files):
    classifier = Classifier.load(explaining_bundle(tmp_path / "run"), workers=2)
    half = plain(10, 10, 10)
    half[:, 30:, 0] = 250  # Red in the right half.
    files.append(images.write(tmp_path / "half.png", half))
    found = list(classifier.explain(files))
    assert [explained.prediction for explained in found] == classifier.predict(files)
    assert found[1].attention is None, "a refused file has no map"
    attention = found[-1].attention
    assert attention.shape == (28, 28)
    # The strength of red over the 49 places; the middle ones lie across both halves.
    np.testing.assert_allclose(attention[:, 20:] * 49, 250, atol=20)
    np.testing.assert_allclose(attention[:, :8] * 49, 10, atol=20)
    assert list(classifier.explain([])) == []


def test_maps_of_a_batch_are_grad_cam_of_the_labels(classifier, cells, head):
    labels = classifier.predict_batch(cells[:3]).probabilities.argmax(axis=1)
    turned = cells[:3, ::-1, ::-1]
    assert (classifier.predict_batch(turned).probabilities.argmax(axis=1) == labels).all()
    one, other = (grad_cam(head, classifier.feature_maps(x), labels) for x in (cells[:3], turned))
    expected = np.stack([both_ways(*pair) for pair in zip(one, other, strict=True)])
    assert classifier.explains
    np.testing.assert_allclose(classifier.attention(cells[:3]), expected, rtol=1e-3, atol=1e-4)
    assert classifier.attention(cells[:0]).shape[0] == 0


def test_a_model_of_the_first_version_cannot_explain(colours, files, cells):
    assert not colours.explains
    with pytest.raises(BundleError, match=r"bundle_v1: .*has no explanation maps.*train it again"):
        colours.explain(files)
    with pytest.raises(BundleError, match="hematovision train"):
        colours.attention(cells)


def test_a_map_of_another_size_is_refused(tmp_path, manifest):
    bundle = write_bundle(tmp_path / "run", manifest, {ONNX: explaining_graph(size=14)})
    with pytest.raises(BundleError, match="attention"):
        Classifier(bundle)


def test_files_batches_and_real_images_agree(classifier, real_data):
    paths = sorted((real_data / "pbc" / "val").rglob("*.jpg"))[::120]
    assert len(paths) >= 5
    batch = classifier.predict_batch(np.stack([images.load(path) for path in paths]))
    for prediction, row in zip(classifier.predict(paths), batch.probabilities, strict=True):
        assert prediction.probabilities == tuple(map(float, row))
        assert prediction.label == classifier.classes[row.argmax()]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"input_name": "pixels"}, "pixels"),
        ({"classes": 4}, "probabilities"),
        ({"size": 192}, "192"),
        ({"leave_out": "probabilities"}, "probabilities"),
    ],
)
def test_a_model_that_does_not_fit_its_manifest_is_refused(tmp_path, manifest, changes, expected):
    bundle = write_bundle(tmp_path / "run", manifest, {ONNX: tiny_graph(**changes)})
    with pytest.raises(BundleError, match=rf"hematovision_model\.onnx.*{expected}"):
        Classifier(bundle)


def test_a_model_that_is_no_onnx_is_refused(tmp_path, manifest):
    write_bundle(tmp_path / "run", manifest, {ONNX: b"pickle"})
    with pytest.raises(BundleError, match="onnx: the ONNX file"):
        Classifier.load(tmp_path / "run")


def test_the_model_that_runs_is_the_one_that_was_hashed(run_folder):
    bundle = read_bundle(run_folder)
    (run_folder / ONNX).write_bytes(tiny_graph())
    with pytest.raises(BundleError, match="was altered"):
        Classifier(bundle)


def test_a_missing_model_is_an_error_never_a_prediction():
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        Classifier.load("no-such-model")


def test_a_bug_in_reading_is_not_reported_as_a_bad_image(colours, files, monkeypatch):
    def fail(_path, **_options):
        raise KeyError("defect")

    monkeypatch.setattr(module.images, "load", fail)
    with pytest.raises(KeyError, match="defect"):
        colours.predict(files)


def test_a_nan_score_is_sent_for_review(colours, monkeypatch):
    nan = [np.array([[0.9, 0.05, 0.05]], np.float32), np.array([np.nan], np.float32)]
    monkeypatch.setattr(module, "run_one", lambda *_: nan)
    prediction = colours.predict([plain(1, 2, 3)])[0]
    assert prediction.decision == "review"
    assert prediction.reason == "unlike the training images"


def test_a_prediction_cannot_be_changed(colours, files):
    prediction = colours.predict(files[0])[0]
    assert isinstance(prediction, Prediction)
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.label = "blue"


def test_predicting_loads_neither_onnx_nor_tensorflow_nor_pandas(old_bundle, files):
    code = f"""
import sys
from hematovision import Classifier
prediction = Classifier.load({str(old_bundle)!r}).predict({str(files[0])!r})[0]
heavy = {{"onnx", "tensorflow", "keras", "pandas", "matplotlib", "sklearn", "h5py"}}
print(prediction.label, sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "red []\n"


def test_a_classifier_has_a_pixel_limit_of_its_own(old_bundle, tmp_path):
    small = images.write(tmp_path / "small.png", plain(200, 10, 10, size=30))
    large = images.write(tmp_path / "large.png", plain(200, 10, 10, size=31))
    strict = Classifier.load(old_bundle, workers=1, max_pixels=900)
    assert [p.label for p in strict.stream([small, large])] == ["red", None]
    rejected = predict_image(strict, Item("upload", large.read_bytes()))
    assert isinstance(rejected.error, TooManyPixelsError)
    assert "limit is 900" in rejected.error.reason
    assert predict_image(strict, Item("small", small)).error is None


@pytest.mark.parametrize("place", ["load", "run"])
def test_an_image_that_does_not_fit_into_memory_is_refused_alone(
    old_bundle, files, monkeypatch, place
):
    classifier = Classifier.load(old_bundle, workers=2)
    real = images.load if place == "load" else module.run_one
    calls = itertools.count()

    def starved(*args, **kwargs):
        if next(calls) == 1:
            raise MemoryError
        return real(*args, **kwargs)

    where = images if place == "load" else module
    monkeypatch.setattr(where, "load" if place == "load" else "run_one", starved)
    labels = [p.label for p in classifier.stream([files[0]] * 4)]
    assert sorted(map(str, labels)) == ["None", "red", "red", "red"]


def test_a_lack_of_memory_in_onnx_runtime_is_a_memory_error():
    class Starved:
        def run(self, *_):
            raise RuntimeError("Failed to allocate memory for requested buffer of size 4096")

    with pytest.raises(MemoryError, match="4096"):
        run_one(Starved(), ("probabilities",), np.zeros((1, 224, 224, 3), np.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory that is heeded")
def test_a_run_continues_if_memory_runs_out(old_bundle, tmp_path):
    PIL.Image.new("L", (8000, 8000), 200).save(tmp_path / "b-large.png")
    for name in "ac":
        images.write(tmp_path / f"{name}.png", plain(200, 10, 10))
    done = subprocess.run(
        [sys.executable, "-c", STARVED, old_bundle, *sorted(tmp_path.glob("*.png"))],
        capture_output=True,
        text=True,
        check=True,
    )
    first, large, last = done.stdout.splitlines()
    assert first == last == "red None"
    assert large.startswith("None it does not fit in this computer's free memory.")


STARVED = """
import resource, sys
from pathlib import Path
from hematovision.model.classifier import Classifier
model, *paths = sys.argv[1:]
classifier = Classifier.load(Path(model), workers=1)
classifier.predict(paths[:1])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20,) * 2)
for prediction in classifier.stream(paths):
    print(prediction.label, prediction.error)
"""


@pytest.mark.parametrize("output", ["probabilities", "features", "attention"])
def test_a_wrong_shape_in_the_manifest_is_an_error(run_folder, output):
    bundle = read_bundle(run_folder)
    outputs = {**with_self_test(bundle).manifest.outputs, output: (7,)}
    stated = replace(bundle.manifest, outputs=outputs)
    with pytest.raises(BundleError, match=rf"'{output}' must have the shape \(7,\)"):
        Classifier(replace(bundle, manifest=stated))
