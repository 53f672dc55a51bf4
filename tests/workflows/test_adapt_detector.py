"""Adapting a detector to a lab: its values are evaluated on held-out fields."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.errors import DatasetError
from hematovision.model.bundle import ONNX, read_bundle, seal_self_test, write_bundle
from hematovision.model.detector import Detector
from hematovision.model.preprocessing import DARKEST_WHITE, WHITE
from hematovision.synthetic import render_field
from hematovision.workflows.adapt import AdaptDetectorResult, FieldSource, adapt
from tiny_detector import DETECTION, MANIFEST, tiny_graph

SIDE, STEP, BLOB = 480, 80, 8
GAIN = WHITE / DARKEST_WHITE  # the white balance of a dark field
CELLS, FALSE = 18, 9  # red cells of a field, and peaks that are none


def write_lab(folder: Path, heats: dict[str, float], n: int = 6) -> Path:
    """Write fields whose colours are the heat that the tiny detector finds, with annotations.

    `heats` has the heat of red cells (RBC), white cells (WBC) and of what is no cell (none).
    """
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(n):
        rng = np.random.default_rng(number)
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        places = [(x, y) for y in range(32, SIDE - 40, STEP) for x in range(32, SIDE - 40, STEP)]
        kinds = ["RBC"] * CELLS + ["WBC"] * 3 + ["none"] * FALSE
        for kind, i in zip(kinds, rng.permutation(len(places)), strict=False):
            x, y = places[i]
            heat = heats.get(kind, 0.8) + float(rng.uniform(-0.04, 0.04))
            channel = 1 if kind == "WBC" else 0
            pixels[y : y + BLOB, x : x + BLOB, channel] = round(heat * 255 / GAIN)
            if kind != "none":
                box = (x + 4 - 43, y + 4 - 29, x + 4 + 43, y + 4 + 29)
                rows.append([f"field-{number}.png", *box, kind])
        images.write(folder / "images" / f"field-{number}.png", pixels)
    with (folder / "annotations.csv").open("w", newline="") as stream:
        head = ["image", "xmin", "ymin", "xmax", "ymax", "label"]
        csv.writer(stream).writerows([head, *rows])
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    """The tiny detector, with red cells 36 pixels wide on average."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    manifest = replace(MANIFEST, detection=replace(DETECTION, box_scale=1.2))
    seal_self_test(write_bundle(folder, manifest, {ONNX: tiny_graph()}))
    return folder


@pytest.fixture(scope="module")
def adapted(detector, tmp_path_factory) -> AdaptDetectorResult:
    """Of a lab in which false cells are above the threshold for red cells, 0.4."""
    root = tmp_path_factory.mktemp("lab")
    fields = write_lab(root / "fields", {"RBC": 0.75, "none": 0.55})
    result = adapt(detector, fields, out=root / "run")
    assert isinstance(result, AdaptDetectorResult)
    return result


def test_a_threshold_is_fitted_that_drops_false_cells(adapted):
    red = adapted.changes.classes["RBC"]
    assert red.annotated == 6 * CELLS
    assert red.before.f1 == pytest.approx(2 * CELLS / (2 * CELLS + FALSE))
    assert red.before.count_bias == FALSE
    assert (red.after.f1, red.after.count_error) == (1, 0)
    assert red.new_threshold
    assert red.new_calibration, "half of the peaks at 0.55 are no cells"


def test_the_new_detector_finds_what_the_report_promises(adapted, detector):
    new, old = Detector.load(adapted.folder), Detector.load(detector)
    assert new.identity["detector"] == old.identity["detector"], "the network is the same"
    assert new.identity != old.identity
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[16:20, 16:20, 0], pixels[64:68, 64:68, 0] = 0.75 * 255, 0.55 * 255
    assert len(old.detect(pixels)) == 2
    (cell,) = new.detect(pixels).confidence
    assert cell > 0.9, "all such peaks are cells in this lab"


def test_where_the_detector_is_right_its_threshold_is_kept(detector, tmp_path):
    fields = write_lab(tmp_path / "fields", {"RBC": 0.75, "none": 0.2}, n=5)
    changes = adapt(detector, fields, out=tmp_path / "run").changes
    assert not any(one.new_threshold for one in changes.classes.values())
    for one in changes.classes.values():
        assert one.after.f1 == one.before.f1 == 1


def test_boxes_are_corrected_to_the_annotated_size(tmp_path):
    """The bundled detector on synthetic fields, whose red cells a person boxed generously."""
    (tmp_path / "fields").mkdir()
    rows = []
    for seed in range(6):
        field = render_field(seed, (320, 400), cells={"rbc": 14, "neutrophil": 1})
        images.write(tmp_path / "fields" / f"{seed}.png", field.image)
        for cell in field.cells:
            x0, y0, x1, y1 = cell.box
            dx, dy = 0.07 * (x1 - x0), 0.07 * (y1 - y0)
            label = "RBC" if cell.kind == "rbc" else "WBC"
            rows.append([f"{seed}.png", x0 - dx, y0 - dy, x1 + dx, y1 + dy, label])
    with (tmp_path / "fields" / "boxes.csv").open("w", newline="") as stream:
        head = ["image", "xmin", "ymin", "xmax", "ymax", "label"]
        csv.writer(stream).writerows([head, *rows])
    result = adapt("blood-fields", tmp_path / "fields", out=tmp_path / "run")
    size, red = result.changes.box_size, result.changes.classes["RBC"]
    assert size.factor == pytest.approx(1.14, abs=0.06)
    assert size.error_after < size.error_before / 2
    assert red.after.f1 >= red.before.f1 - 0.01  # one of 84 cells
    new = Detector.load(result.folder)
    old = Detector.load("blood-fields")
    assert new.red_cell_px == pytest.approx(size.factor * old.red_cell_px)


def test_an_old_threshold_keeps_its_cells_under_a_new_calibration(detector, tmp_path):
    fields = write_lab(tmp_path / "fields", {"RBC": 0.75, "none": 0.2}, n=5)
    run = adapt(detector, fields, out=tmp_path / "run").folder
    old, new = (read_bundle(folder).manifest.detection for folder in (detector, run))
    for name in old.thresholds:
        limits = [
            (np.log(d.thresholds[name] / (1 - d.thresholds[name])) - b) / a
            for d in (old, new)
            for a, b in [d.calibration[name]]
        ]
        assert limits[0] == pytest.approx(limits[1], abs=0.02)


def test_the_run_folder_records_its_origin(adapted, detector):
    manifest = read_bundle(adapted.folder).manifest
    origin = manifest.data["adapted_from"]
    assert origin["model_sha256"] == read_bundle(detector).manifest.files[ONNX]
    assert origin["fields"] == 6
    assert origin["detection"]["thresholds"]["RBC"] == 0.4
    assert manifest.name == "run"
    written = json.loads((adapted.folder / "adaptation.json").read_text())
    assert written["classes"]["RBC"]["after"]["f1"] == 1
    assert "adaptation.json" in manifest.files
    report = adapted.report.read_text(encoding="utf-8")
    assert "6 annotated fields" in report
    assert re.search(r'<td class="n">0\.\d{3} \(fitted\)</td>', report)
    assert "# run" in (adapted.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert any("Not annotated, so unchanged: Platelets" in note for note in adapted.notes)


def test_an_adapted_detector_can_be_adapted_again(adapted, tmp_path):
    fields = write_lab(tmp_path / "fields", {"RBC": 0.75, "none": 0.55}, n=5)
    again = adapt(adapted.folder, fields, out=tmp_path / "again")
    assert again.changes.classes["RBC"].before.f1 == 1
    origin = read_bundle(again.folder).manifest.data["adapted_from"]
    assert origin["data"]["adapted_from"]["name"] == "tiny"


def test_too_few_fields_are_an_error(detector, tmp_path):
    fields = write_lab(tmp_path / "fields", {"RBC": 0.75}, n=4)
    with pytest.raises(DatasetError, match=r"4 readable annotated fields.*at least 5"):
        adapt(detector, fields, out=tmp_path / "run")
    assert not (tmp_path / "run" / "bundle.json").exists()


def test_the_boxes_may_be_elsewhere(detector, tmp_path):
    fields = write_lab(tmp_path / "fields", {"RBC": 0.75}, n=5)
    boxes = (fields / "annotations.csv").rename(tmp_path / "boxes.csv")
    source = FieldSource(format="csv", annotations=boxes, lab="Tehran")
    run = adapt(detector, fields, out=tmp_path / "run", fields=source).folder
    assert read_bundle(run).manifest.data["labs"] == ["Tehran"]


def test_options_for_fields_are_for_detectors(colour_model, tmp_path):
    with pytest.raises(DatasetError, match="is a classifier"):
        adapt(colour_model, tmp_path, out=tmp_path / "run", fields=FieldSource(lab="Tehran"))


def test_a_detector_needs_labels(detector, tmp_path):
    fields = write_lab(tmp_path / "fields", {"RBC": 0.75}, n=5)
    with pytest.raises(DatasetError, match="unlabelled fields"):
        adapt(detector, fields, out=tmp_path / "run", unlabelled=True)
