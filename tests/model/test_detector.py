"""Detectors: from heat and distances to boxes, confidences and labels; the manifest and errors."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from hematovision.errors import BundleError, ModelError
from hematovision.model.bundle import ONNX, read_bundle, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.detector import Detections, Detector
from hematovision.model.manifest import Detection, parse_manifest
from hematovision.taxonomy import Taxonomy
from tiny_detector import DETECTION, MANIFEST, tiny_bundle, tiny_graph

RED, WHITE, PLATELET = 0, 1, 2


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    return Detector.load(tiny_bundle(tmp_path_factory.mktemp("models") / "tiny").folder)


def image(*cells, height=96, width=128):
    """An image with one warm place of 4x4 pixels for each (x, y, class, heat)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for x, y, label, heat in cells:
        pixels[4 * y : 4 * y + 4, 4 * x : 4 * x + 4, label] = round(255 * heat)
    return pixels


def test_a_peak_becomes_a_box_around_the_centre_of_its_place(detector):
    found = detector.detect(image((10, 8, RED, 0.8)))
    assert found.boxes.tolist() == [[42 - 18, 34 - 12, 42 + 18, 34 + 12]]
    assert found.points.tolist() == [[10, 8]]
    assert found.labels.tolist() == [RED]
    assert found.confidence == pytest.approx([0.8])


def test_boxes_are_scaled_around_their_place(tmp_path, detector):
    detection = replace(DETECTION, box_scale=1.5)
    manifest = replace(MANIFEST, detection=detection)
    assert parse_manifest(manifest.to_text().encode()).detection == detection
    assert "box_scale" not in MANIFEST.to_json()["detection"]
    wider = Detector(write_bundle(tmp_path / "wider", manifest, {ONNX: tiny_graph()}))
    found = wider.detect(image((10, 8, RED, 0.8)))
    assert found.boxes.tolist() == [[42 - 27, 34 - 18, 42 + 27, 34 + 18]]
    assert wider.identity != detector.identity


def test_a_steep_calibration_does_not_overflow(tmp_path):
    steep = replace(DETECTION, calibration=dict.fromkeys(DETECTION.calibration, (20.0, 0.0)))
    manifest = replace(MANIFEST, detection=steep)
    sure = Detector(write_bundle(tmp_path / "sure", manifest, {ONNX: tiny_graph()}))
    assert sure.detect(image((10, 8, RED, 0.8))).confidence == pytest.approx([1], abs=1e-6)


def test_cells_are_sorted_by_confidence_and_keep_their_classes(detector):
    cells = [(6, 6, RED, 0.6), (16, 6, WHITE, 0.9), (26, 6, RED, 0.8)]
    found = detector.detect(image(*cells))
    assert found.labels.tolist() == [WHITE, RED, RED]
    assert found.points[:, 0].tolist() == [16, 26, 6]


def test_confidence_is_calibrated_by_class(detector):
    found = detector.detect(image((10, 8, PLATELET, 153 / 255)))
    logit = 2 * np.log(0.6 / 0.4) + 0.5
    assert found.confidence == pytest.approx([1 / (1 + np.exp(-logit))])


def test_each_class_has_its_threshold(detector):
    found = detector.detect(image((6, 6, RED, 0.39), (16, 6, WHITE, 0.39), (26, 6, PLATELET, 0.2)))
    assert found.labels.tolist() == [WHITE]  # calibration makes the platelet's 0.2 a 0.09


def test_the_other_probabilities_are_those_next_to_the_peak(detector):
    found = detector.detect(image((10, 8, WHITE, 0.8), (11, 8, RED, 0.6)))
    assert found.scores[0, [RED, WHITE]] == pytest.approx([0.6, 0.8])
    assert len(found) == 1


def test_boxes_are_clipped_and_the_padding_holds_no_cell(detector):
    found = detector.detect(image((1, 1, RED, 0.9), (31, 23, RED, 0.8), height=96, width=127))
    assert found.boxes.tolist() == [[0, 0, 24, 18], [126 - 18, 94 - 12, 127, 96]]
    bright = np.zeros((70, 70, 3), np.uint8)  # padded to 96 with grey, which is heat here
    assert len(detector.detect(bright)) == 0


def test_results_do_not_depend_on_the_thread(detector):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(6)]
    alone = [detector.detect(one).boxes for one in pixels]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda one: detector.detect(one).boxes, pixels))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    "pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)]
)
def test_other_arrays_are_rejected(detector, pixels):
    with pytest.raises(ModelError, match=r"uint8 RGB of shape \(H, W, 3\). Received"):
        detector.detect(pixels)


def test_arrays_of_no_cells_have_their_shapes():
    none = Detections.empty(3)
    assert (len(none), none.boxes.shape, none.scores.shape) == (0, (0, 4), (0, 3))
    assert len(Detections.joined([none, none])) == 0


def test_the_manifest_survives_and_names_its_task(detector):
    manifest = detector.bundle.manifest
    assert parse_manifest(manifest.to_text().encode()) == manifest
    root = manifest.to_json()
    assert root["task"] == "detection"
    assert root["outputs"] == {"heat": [3], "distances": [4]}
    assert root["detection"]["calibration"]["Platelets"] == {"a": 2.0, "b": 0.5}
    assert "size" not in root["input"]


def test_the_identity_changes_with_the_thresholds(detector, tmp_path):
    other = replace(MANIFEST, detection=replace(DETECTION, red_cell_px=40.0))
    changed = Detector(write_bundle(tmp_path / "other", other, {ONNX: tiny_graph()}))
    assert changed.identity != detector.identity
    assert changed.identity["detector"] == detector.identity["detector"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", ["RBC", "WBC"]),
        ("classes", None),
        ("red_cell_px", 0),
        ("stride", 3),
        ("box_scale", 0.4),
        ("box_scale", None),
        ("multiple", 0),
        ("multiple", 32.0),
        ("thresholds", {"RBC": 0.5, "WBC": 0.5}),
        ("thresholds", {"RBC": 0.5, "WBC": 0.5, "Platelets": 1.5}),
        ("calibration", {"RBC": {"a": 1, "b": 0}}),
        ("calibration", {name: {"a": 0, "b": 0} for name in ("RBC", "WBC", "Platelets")}),
        ("calibration", {name: [1, 0] for name in ("RBC", "WBC", "Platelets")}),
    ],
)
def test_a_wrong_value_of_the_detection_is_rejected(key, value):
    root = MANIFEST.to_json()
    root["detection"] = {**root["detection"], key: value}
    with pytest.raises(BundleError, match=r"detection|Detection"):
        parse_manifest(json.dumps(root).encode())


def test_a_detector_without_its_section_is_rejected():
    root = MANIFEST.to_json()
    del root["detection"]
    with pytest.raises(BundleError, match="`detection` is missing"):
        parse_manifest(json.dumps(root).encode())


def test_detection_checks_its_values():
    with pytest.raises(BundleError, match="for every class"):
        Detection(thresholds={"RBC": 0.5}, calibration={})


def test_a_detector_given_to_classify_is_rejected(detector):
    with pytest.raises(BundleError, match=r"is a detector.*analyze --detector"):
        Classifier.load(detector.bundle.folder)


def test_a_classifier_given_as_detector_is_rejected():
    with pytest.raises(BundleError, match=r"^pbc8 is a classifier.*blood-fields.*--classifier"):
        Detector.load("pbc8")


def test_an_altered_graph_is_rejected(tmp_path):
    folder = tiny_bundle(tmp_path / "tiny").folder
    (folder / ONNX).write_bytes((folder / ONNX).read_bytes() + b"\0")
    with pytest.raises(BundleError, match="was altered"):
        Detector.load(folder)


def test_a_graph_of_fixed_size_is_rejected(tmp_path):
    bundle = write_bundle(tmp_path / "other", MANIFEST, {ONNX: tiny_graph((64, 64))})
    with pytest.raises(BundleError, match="with free H and W"):
        Detector(bundle)


def test_a_graph_of_other_classes_is_rejected(tmp_path):
    two = Detection(thresholds={"RBC": 0.5, "WBC": 0.5}, calibration={"RBC": (1, 0), "WBC": (1, 0)})
    manifest = replace(MANIFEST, taxonomy=Taxonomy("two", ("RBC", "WBC")), detection=two)
    bundle = write_bundle(tmp_path / "other", manifest, {ONNX: tiny_graph()})
    with pytest.raises(BundleError, match=r"'heat' must be float32 \(N, H, W, 2\)"):
        Detector(bundle)


def test_outputs_that_differ_from_the_manifest_are_rejected(tmp_path):
    bundle = tiny_bundle(tmp_path / "tiny")
    with pytest.raises(BundleError, match=r"channels, bundle.json lists.*do not belong together"):
        Detector(replace(bundle, manifest=replace(bundle.manifest, outputs={"heat": (2,)})))


def test_a_graph_of_another_stride_fails_with_the_sizes(tmp_path):
    manifest = replace(MANIFEST, detection=replace(DETECTION, stride=8))
    other = Detector(write_bundle(tmp_path / "other", manifest, {ONNX: tiny_graph()}))
    with pytest.raises(ModelError, match=r"must have \(8, 8\) places.*Received: \(16, 16\)"):
        other.detect(np.zeros((64, 64, 3), np.uint8))


def test_the_self_test_is_the_heat_of_a_synthetic_field(tmp_path):
    bundle = read_bundle(tiny_bundle(tmp_path / "tiny").folder)
    assert bundle.manifest.self_test.novelty is None
    assert bundle.manifest.self_test.probabilities == pytest.approx((0.93, 0.89, 0.88), abs=0.03)
