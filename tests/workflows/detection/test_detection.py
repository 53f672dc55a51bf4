"""Evaluating a detector on a folder of annotated fields."""

import csv
import json
import sys
from pathlib import Path

import pytest

from annotated_discs import NAMES, disc_pipeline, write_fields
from colour_squares import COLOUR_MODEL
from hematovision.errors import (
    BundleError,
    DatasetError,
    MissingExtraError,
    ModelError,
    ModelNotFoundError,
    OutputError,
)
from hematovision.evaluation.detection import read_detection_metrics
from hematovision.workflows.detection import (
    DetectionOptions,
    DetectionResult,
    evaluate_detector,
)
from hematovision.workflows.detection import Pipeline as Opened
from hematovision.workflows.evaluate import evaluate
from hematovision.workflows.outputs import OURS
from tiny_detector import tiny_bundle

QUICK = DetectionOptions(names=NAMES, baselines=False)


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle, opened as a finder of discs."""
    tiny_bundle(tmp_path / "tiny")
    monkeypatch.setattr(Opened, "load", lambda *_, **__: disc_pipeline())
    return tmp_path / "tiny"


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_fields(tmp_path / "Basel", 4, splits=True)


def test_metrics_tables_report_and_figures_are_written(detector, discs, tmp_path, log):
    out = tmp_path / "out"
    result = evaluate(detector, discs, out=out, fields=QUICK, progress=log)
    assert isinstance(result, DetectionResult)
    assert {path.name for path in out.iterdir()} == {
        "metrics.json", "fields.csv", "predictions.csv", "report.html",
        "precision_recall.svg", "precision_recall.png", "froc.svg", "froc.png",
        "count_agreement.svg", "count_agreement.png",
    }  # fmt: skip
    assert {path.name for path in out.iterdir()} <= OURS  # removed if a run is interrupted
    assert read_detection_metrics(out / "metrics.json") == result.metrics
    assert result.metrics.n == 2  # the test split
    rows = list(csv.DictReader((out / "fields.csv").read_text().splitlines()))
    assert [row["field"] for row in rows] == ["test/f1", "test/f3"]
    assert all(row["found_RBC"] == row["annotated_RBC"] == row["matched_RBC"] for row in rows)
    assert float(rows[0]["rbc_diameter_px"]) == pytest.approx(40, rel=0.05)
    cells = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert {row["result"] for row in cells} == {"correct"}
    assert len(cells) == sum(row.annotated for row in result.metrics.per_class.values())
    assert "evaluating fields" in log.events


@pytest.fixture
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds; the test above and those of the report have them."""
    monkeypatch.setattr("hematovision.workflows.detection.write_figures", lambda *_: None)
    monkeypatch.setattr("hematovision.reporting.detection.page.svg", lambda *_: "<svg/>")


@pytest.mark.usefixtures("_no_figures")
def test_the_keys_of_the_metrics_are_stable(detector, discs, tmp_path):
    evaluate(detector, discs, out=tmp_path / "out", fields=QUICK)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["task"] == "detection"
    assert {"n", "map50", "map50_95", "mean_f1", "per_class", "intervals", "classes",
            "not_annotated", "confusion_matrix", "per_lab", "scale", "baselines",
            "interval_details", "warnings", "matching", "schema_version"} <= set(found)  # fmt: skip
    assert set(found["per_class"]["RBC"]) == {
        "annotated", "found", "matched", "ap50", "ap50_95", "precision", "recall", "f1", "counts",
        "froc", "intervals", "precision_curve",
    }  # fmt: skip
    assert {"mean_absolute_error", "bias", "limits", "intervals"} <= set(
        found["per_class"]["RBC"]["counts"]
    )


@pytest.mark.usefixtures("_no_figures")
def test_classes_without_boxes_are_left_out_with_a_note(detector, tmp_path):
    root = write_fields(tmp_path / "discs", 3, leave_out={"Platelets"})
    metrics = evaluate_detector(detector, root, out=tmp_path / "out", options=QUICK).metrics
    assert metrics.classes == ("RBC", "WBC")
    assert metrics.not_annotated == {"discs": ("Platelets",)}
    assert any("no field has a box of it: Platelets" in warning for warning in metrics.warnings)
    assert metrics.mean_f1 == 1.0  # found platelets are not false
    header = (tmp_path / "out" / "fields.csv").read_text().splitlines()[1].split(",")
    assert header.count("") >= 3


@pytest.mark.usefixtures("_no_figures")
def test_missing_boxes_are_false_cells_and_shown_in_the_report(detector, tmp_path):
    root = write_fields(tmp_path / "discs", 3)
    label = root / "labels" / "f2.txt"
    lines = label.read_text().splitlines()
    label.write_text("\n".join(lines[2:]))
    result = evaluate_detector(detector, root, out=tmp_path / "out", options=QUICK)
    counts = [row.found - row.matched for row in result.metrics.per_class.values()]
    assert sum(counts) == 2
    report = result.report.read_text()
    assert "<b>2 false, 0 missed</b>" in report
    assert report.count("data:image/jpeg") == 1  # the only field with errors


@pytest.mark.usefixtures("_no_figures")
def test_the_lab_split_and_scale_can_be_chosen(detector, discs, tmp_path):
    options = DetectionOptions(names=NAMES, lab="Tehran", known_scale=True, baselines=False)
    result = evaluate_detector(detector, discs, out=tmp_path / "out", split="all", options=options)
    assert result.metrics.n == 4
    assert result.metrics.scale is None
    report = result.report.read_text()
    assert "of the annotated red cells" in report
    assert "all fields" in report
    assert "Tehran" in (tmp_path / "out" / "fields.csv").read_text()
    with pytest.raises(DatasetError, match=r"no valid split\. Its splits: train, test"):
        evaluate_detector(detector, discs, out=tmp_path / "b", split="valid", options=QUICK)


def test_wrong_inputs_are_errors_before_anything_is_written(detector, discs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="Omit --taxonomy"):
        evaluate(detector, discs, out=out, taxonomy="pbc8")
    with pytest.raises(ModelError, match="is a classifier"):
        evaluate(COLOUR_MODEL, discs, out=out, fields=QUICK)
    with pytest.raises(ModelNotFoundError):
        evaluate(tmp_path / "none", discs, out=out)
    with pytest.raises(DatasetError, match="is not a folder"):
        evaluate(detector, tmp_path / "none", out=out)
    monkeypatch.undo()
    with pytest.raises(BundleError):
        evaluate_detector(COLOUR_MODEL, discs, out=out, options=QUICK)
    assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        evaluate_detector(detector, discs, out=tmp_path / "full", options=QUICK)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("module", ["faster_coco_eval", "skimage"])
def test_a_missing_package_is_reported_before_anything_is_read(
    module, detector, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"needs the module '{module}'") as caught:
        evaluate(detector, tmp_path / "none", out=tmp_path / "out")
    assert caught.value.extra == "eval"
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_no_files(detector, discs, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("hematovision.workflows.detection.write_figures", fail)
    with pytest.raises(OSError, match="disk full"):
        evaluate_detector(detector, discs, out=tmp_path / "out", options=QUICK)
    assert not (tmp_path / "out").exists()
