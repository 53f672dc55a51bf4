"""``evaluate`` of a detector at the command line."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from detected_fields import CLASSES, random_fields
from hematovision.errors import AnnotationError, NotAnImageError
from hematovision.evaluation.detection import evaluate_fields
from hematovision.evaluation.detection.metrics import FieldBaseline
from hematovision.workflows import evaluate as workflow
from hematovision.workflows.detection import DetectionOptions, DetectionResult


@pytest.fixture(scope="module")
def result() -> DetectionResult:
    metrics = evaluate_fields(random_fields(6), CLASSES)
    counts = {"RBC": metrics.per_class["RBC"].counts}
    baseline = FieldBaseline("rule", "training fields", None, counts)
    metrics = replace(metrics, baselines={"area": baseline})
    return DetectionResult(Path("out"), Path("out", "report.html"), metrics, ())


@pytest.fixture
def faked(monkeypatch, result):
    fake = create_autospec(workflow.evaluate, return_value=result)
    monkeypatch.setattr(workflow, "evaluate", fake)
    return fake


def test_the_scores_of_each_class_and_the_baselines_are_shown(run, faked, result):
    done = run("evaluate", "blood-fields", "fields", "--out", "out")
    assert done.exit_code == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    red = result.metrics.per_class["RBC"]
    assert rows["RBC"][1:3] == [str(red.annotated), str(red.found)]
    assert rows["RBC"][-1] == f"{red.counts.bias:+.2f}"
    assert "Baseline stained area: RBC count off by" in done.stdout
    assert "6 fields; mAP at IoU 0.5" in done.stdout
    assert "Note: All fields come" in done.stdout
    assert f"Report: {result.report}" in done.stdout


def test_options_for_fields_reach_the_workflow(run, faked):
    run("evaluate", "blood-fields", "fields", "--out", "out")
    assert faked.call_args.kwargs["fields"] is None
    run(
        "evaluate", "blood-fields", "fields", "--out", "out", "--format", "yolo", "--names",
        "WBC, RBC", "--lab", "Tehran", "--annotations", "boxes", "--known-scale", "--detector-only",
        "--no-baselines", "--split", "all",
    )  # fmt: skip
    assert faked.call_args.kwargs["split"] == "all"
    assert faked.call_args.kwargs["fields"] == DetectionOptions(
        format="yolo",
        annotations=Path("boxes"),
        names=("WBC", "RBC"),
        lab="Tehran",
        known_scale=True,
        detector_only=True,
        baselines=False,
    )


def test_unreadable_fields_are_listed_with_exit_code_3(run, faked, result):
    refused = (NotAnImageError("a.png", "it is text"), AnnotationError("b.xml: the size differs"))
    faked.return_value = DetectionResult(result.folder, result.report, result.metrics, refused)
    done = run("evaluate", "blood-fields", "fields", "--out", "out")
    assert done.exit_code == 3
    assert "a.png: it is text" in done.stdout + done.stderr
    assert "b.xml: the size differs" in done.stdout + done.stderr
