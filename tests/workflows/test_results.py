"""The results of commands have a short representation, a table and a plot."""

from dataclasses import replace

import numpy as np
import pytest

from colour_squares import COLOUR_MODEL, write_squares
from detected_fields import CLASSES, random_fields
from evaluated_example import metrics, predictions  # noqa: F401 - fixtures
from hematovision.data.folders import read_dataset
from hematovision.evaluation import Metrics
from hematovision.evaluation.comparison import ModelPredictions, compare_predictions
from hematovision.evaluation.detection.metrics import evaluate_fields
from hematovision.reporting.adaptation import prediction_changes
from hematovision.reporting.comparison import verdict
from hematovision.reporting.detector_adaptation import (
    BoxSize,
    ClassChange,
    ClassScores,
    DetectorChanges,
)
from hematovision.workflows.adapt import AdaptDetectorResult, AdaptResult
from hematovision.workflows.analyze import AnalyzeOptions, run_analysis
from hematovision.workflows.analyze.engine import LocalEngine
from hematovision.workflows.classify import classify
from hematovision.workflows.compare import CompareResult
from hematovision.workflows.detection import DetectionResult
from hematovision.workflows.evaluate import EvaluateResult
from hematovision.workflows.train import TrainResult
from square_finder import opened_finder, write_field


def test_metrics_are_a_line_and_a_table(metrics: Metrics):  # noqa: F811
    assert repr(metrics) == "Metrics(300 images: accuracy 96.0%, balanced accuracy 94.2%)"
    frame = metrics.to_pandas()
    assert frame.index.tolist() == ["RBC", "WBC", "Platelets"]
    assert frame["support"].tolist() == [200, 60, 40]
    assert frame.loc["WBC", "recall"] == pytest.approx(57 / 60)


@pytest.mark.parametrize("kind", [TrainResult, EvaluateResult])
def test_scores_of_a_run_are_plotted_as_a_confusion_matrix(tmp_path, metrics, kind):  # noqa: F811
    more = (False, (), ()) if kind is TrainResult else ((),)
    result = kind(tmp_path, tmp_path / "report.html", metrics, *more)
    assert repr(result) == f"{kind.__name__}({str(tmp_path)!r}, {metrics.summary})"
    assert result.to_pandas().equals(metrics.to_pandas())
    (axes,) = result.plot().axes
    assert axes.get_title(loc="left") == "Confusion matrix, 300 images"
    assert "195" in [text.get_text() for text in axes.texts]


def test_a_detectors_scores_are_a_table_and_curves(tmp_path):
    scores = evaluate_fields(random_fields(6), CLASSES)
    result = DetectionResult(tmp_path, tmp_path / "report.html", scores, ())
    assert repr(result).startswith(
        f"DetectionResult({str(tmp_path)!r}, 6 fields: mAP at IoU 0.5 0."
    )
    assert repr(scores) == f"DetectionMetrics({scores.summary})"
    frame = result.to_pandas()
    assert frame.index.tolist() == list(scores.per_class)
    assert frame["annotated"].sum() == sum(row.annotated for row in scores.per_class.values())
    assert len(result.plot().axes[0].lines) == len(scores.per_class)


def test_a_comparison_is_its_verdict_a_table_and_differences():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    tables = [np.eye(2)[labels], np.eye(2)[rng.integers(0, 2, 60)]]
    models = [ModelPredictions(n, t, np.ones(60, bool)) for n, t in zip("ab", tables, strict=True)]
    comparison = compare_predictions(labels, *models, ("x", "y"))
    result = CompareResult(comparison, verdict(comparison), (), (), ())
    assert repr(result) == f"CompareResult('a' and 'b', 60 images: {result.verdict})"
    frame = result.to_pandas()
    assert frame.loc["accuracy", "first"] == 1
    difference = frame.loc["accuracy", "difference"]
    assert difference == pytest.approx(frame.loc["accuracy", "second"] - 1)
    assert frame.loc["accuracy", "low"] < difference < frame.loc["accuracy", "high"]
    assert "Accuracy" in [text.get_text() for text in result.plot().axes[0].get_yticklabels()]


def test_an_adaptation_is_the_score_before_and_after(tmp_path, metrics):  # noqa: F811
    before = replace(metrics, accuracy=0.5)
    result = AdaptResult(tmp_path, tmp_path / "report.html", 40, before, metrics, None, (), ())
    assert repr(result).endswith("40 images: balanced accuracy 94.2%, adapted 94.2%)")
    frame = result.to_pandas()
    assert frame.columns.tolist() == ["before", "after"]
    assert frame.loc["accuracy"].tolist() == [0.5, 0.96]
    assert frame.index.tolist()[1:3] == ["balanced_accuracy", "macro_f1"]
    assert "195" in [text.get_text() for text in result.plot().axes[0].texts]


def test_an_adaptation_without_labels_is_the_predictions_before_and_after(tmp_path):
    right = np.ones(4, bool)
    changes = prediction_changes(
        ("a", "b"), [0, 0, 1, 1], [0, 1, 1, 1], accepted_before=right, accepted_after=right
    )
    result = AdaptResult(tmp_path, tmp_path / "report.html", 4, None, None, changes, (), ())
    assert repr(result).endswith("4 images: not evaluated)")
    frame = result.to_pandas()
    assert frame["before"].to_dict() == {"a": 2, "b": 2}
    assert frame["after"].to_dict() == {"a": 1, "b": 3}
    (axes,) = result.plot().axes
    assert axes.get_title(loc="left") == "Predictions, 4 images"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("adapted model", "model before")
    shown = [text.get_text() for text in axes.texts]
    assert [text for text in shown if "%" not in text] == ["1", "1", "0", "2"]


def test_an_adapted_detector_is_its_scores_before_and_after(tmp_path):
    old = ClassScores(0.6, 0.7, 0.5, 4.0, -1.0, 0.4, (1.0, 0.0))
    new = replace(old, f1=0.8, count_error=2.0, threshold=0.3)
    classes = {
        "RBC": ClassChange(90, old, new, new_threshold=True, new_calibration=False),
        "WBC": ClassChange(5, old, old, new_threshold=False, new_calibration=False),
    }
    changes = DetectorChanges(6, 5, classes, BoxSize(1.0, None, None, 6))
    result = AdaptDetectorResult(tmp_path, tmp_path / "report.html", 6, changes, (), ())
    assert repr(result).endswith("6 fields: adapted)")
    frame = result.to_pandas()
    assert frame["annotated"].to_dict() == {"RBC": 90, "WBC": 5}
    assert frame.loc["RBC", ["f1_before", "f1_after"]].tolist() == [0.6, 0.8]
    assert frame.loc["RBC", ["threshold_before", "threshold_after"]].tolist() == [0.4, 0.3]
    assert frame.loc["RBC", "count_error_after"] == 2.0
    figure = result.plot()
    (axes,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["before", "after"]
    figure.draw_without_rendering()
    assert figure.bbox.contains(*legend.get_window_extent().min), "inside the figure"
    assert legend.get_window_extent().y1 < axes.get_window_extent().y0, "below the axes"
    before, after = (line.get_xdata().tolist() for line in axes.lines)
    assert (before, after) == ([0.6, 0.6], [0.8, 0.6])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["RBC", "WBC"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_tables_of_an_analysis_are_data_frames(tmp_path, form: str):
    path = write_field(tmp_path / "a.png", ["", "RBC", "RBC", "WBC", "?", "Platelets"])
    result = run_analysis(
        opened_finder(),
        [str(path)],
        tmp_path / "out",
        AnalyzeOptions(format=form),
        resume=False,
        engine=LocalEngine(),
        progress=lambda *_: None,
    )
    assert repr(result) == (
        f"AnalyzeResult({str(tmp_path / 'out')!r}: 1 field: 2 RBC, 2 WBC, 1 Platelets; 1 to review)"
    )
    cells = result.to_pandas()
    assert cells["label"].tolist() == ["RBC", "RBC", "WBC", "WBC", "Platelets"]
    assert cells["counted"].tolist() == [True] * 5
    assert cells["subtype"].tolist() == ["", "", "lymphocyte", "", ""]
    assert result.to_pandas("fields")["rbc"].tolist() == [2]
    with pytest.raises(ValueError, match="must be 'cells' or 'fields'"):
        result.to_pandas("wells")
    (axes,) = result.plot().axes
    assert axes.get_title() == "2 RBC, 2 WBC, 1 Platelets; 1 to review"
    assert len(axes.get_images()) == 1
    path.unlink()
    assert result.plot(1).axes[0].get_images() == []
    assert result.plot(0).axes == []


def test_a_classification_and_a_dataset_are_their_counts(tmp_path):
    folder = str(write_squares(tmp_path / "squares"))
    summary = classify(f"{folder}/Test", model=COLOUR_MODEL, out=str(tmp_path / "table.csv"))
    assert repr(summary).startswith("ClassifySummary(10 images: 3 red, 3 green, 3 blue; ")
    assert repr(summary).endswith("1 refused)")
    dataset = read_dataset(folder, "folders")
    assert repr(dataset).startswith(f"Dataset({folder!r}, 19 images: ")
    assert repr(dataset).endswith("; train, test)")
    frame = dataset.to_pandas()
    assert frame.columns.tolist() == ["path", "label", "split", "group", "lab"]
    assert frame["split"].tolist().count("test") == 10
