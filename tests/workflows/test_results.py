"""The results of commands have a short representation, a table and a plot."""

import numpy as np
import pytest

from colour_squares import COLOUR_MODEL, write_squares
from detected_fields import CLASSES, random_fields
from evaluated_example import metrics, predictions  # noqa: F401 - fixtures
from hematovision.data.folders import read_dataset
from hematovision.evaluation import Metrics
from hematovision.evaluation.comparison import ModelPredictions, compare_predictions
from hematovision.evaluation.detection.metrics import evaluate_fields
from hematovision.reporting.comparison import verdict
from hematovision.workflows.adapt import AdaptResult
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
    given = (tmp_path, tmp_path / "report.html", 40)
    result = AdaptResult(*given, metrics, metrics, None, (), ())
    assert repr(result).endswith("40 images: balanced accuracy 94.2%, adapted 94.2%)")
    assert repr(AdaptResult(*given, None, None, None, (), ())).endswith("40 images: not evaluated)")


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
