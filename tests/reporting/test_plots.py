"""Figures are reproducible SVG and PNG files, for any class name."""

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from hematovision.errors import OutputError
from hematovision.evaluation import evaluate
from hematovision.reporting.plots import (
    best_epoch,
    class_scores_figure,
    confusion_figure,
    curves_figure,
    reliability_figure,
    risk_coverage_figure,
    svg,
    write_figure_files,
)


def words(figure):
    """Return the texts of a figure; fails if it is not well-formed."""
    root = ET.fromstring(svg(*figure))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    return [element.text or "" for element in texts]


def test_confusion_figure_shows_counts_and_percentages_of_the_true_class():
    found = words(confusion_figure([[1195, 5], [1, 3]], ["RBC", "WBC"]))
    assert {"1,195", "99.6%", "5", "0.4%", "1", "25.0%", "3", "75.0%"} <= set(found)
    assert found.count("RBC") == found.count("WBC") == 2


def test_confusion_figure_accepts_a_class_without_images_and_many_classes():
    names = [f"immature class {i}" for i in range(8)]
    counts = [[0] * 8 for _ in names]
    counts[0][0] = 4
    found = words(confusion_figure(counts, names))
    assert found.count("0") == 63
    assert "100%" in found


@pytest.mark.parametrize("name", ["<script>", "a$b$", "$\\frac", "red & white", "白血球"])
def test_class_names_are_text_and_nothing_else(name):
    assert words(confusion_figure([[1, 0], [0, 1]], [name, "b"])).count(name) == 2


def test_curves_show_both_lines_and_the_best_epoch(history):
    found = words(curves_figure(history, "loss"))
    assert {"training", "validation", "best epoch: 3", "Loss"} <= set(found)
    assert "Accuracy" in words(curves_figure(history, "accuracy"))


def test_curves_accept_a_run_without_validation():
    history = [{"epoch": 1, "loss": 0.5, "accuracy": 0.8}]
    assert "best epoch" not in " ".join(words(curves_figure(history, "loss")))
    assert best_epoch(history) is None
    assert best_epoch([]) is None


def test_best_epoch_is_the_first_of_the_lowest_validation_losses():
    history = [{"epoch": e, "val_loss": v} for e, v in ((1, 0.3), (2, 0.2), (3, 0.2))]
    assert best_epoch([*history, {"epoch": 4, "val_loss": float("nan")}]) == 2


def test_other_figures_show_their_titles_and_classes(metrics):
    assert "Reliability" in words(reliability_figure(metrics.reliability))
    assert set(metrics.classes) <= set(words(class_scores_figure(metrics.per_class)))
    assert "Risk and coverage" in words(risk_coverage_figure(metrics.risk_coverage, (0.9, 0.01)))


def test_model_that_accepts_nothing_has_no_point_on_the_risk_curve(metrics):
    found = words(risk_coverage_figure(metrics.risk_coverage))
    assert "at the model's thresholds" not in found
    assert "by confidence alone" in found


def test_figures_accept_a_single_correct_prediction():
    one = evaluate([0], [[1.0, 0.0]], ("a", "b"), accepted=[True])
    assert "Reliability" in words(reliability_figure(one.reliability))
    assert {"a", "b"} <= set(words(class_scores_figure(one.per_class)))


def test_the_same_figure_is_the_same_bytes_and_leaves_matplotlib_as_it_was(history):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    assert svg(*curves_figure(history, "loss")) == svg(*curves_figure(history, "loss"))
    assert dict(mpl.rcParams) == before


BOTH = {
    f"{name}.{kind}" for name in ("accuracy_loss", "confusion_matrix") for kind in ("svg", "png")
}


def test_curves_and_confusion_matrix_are_svg_and_png(tmp_path, metrics, history):
    write_figure_files(tmp_path / "run", metrics, history)
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert set(files) == {*BOTH, "classification_report.csv"}
    curves = files["accuracy_loss.svg"].decode()
    for word in ("Accuracy", "Loss", "training", "validation", "best epoch: 3", "epoch"):
        assert f">{word}</text>" in curves
    matrix = files["confusion_matrix.svg"].decode()
    for word in ("Confusion matrix, 300 images", "predicted class", "true class", "195", "RBC"):
        assert f">{word}</text>" in matrix
    for name in ("accuracy_loss.png", "confusion_matrix.png"):
        image = Image.open(io.BytesIO(files[name]))
        assert min(image.size) > 500
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_same_figures_are_the_same_bytes(tmp_path, metrics, history):
    for folder in ("a", "b"):
        write_figure_files(tmp_path / folder, metrics, history)
    for name in BOTH:
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("a", "b"))
        assert one == two
        assert b"2026" not in one[:2000]
        assert b"Matplotlib v" not in one


def test_without_a_history_there_are_no_curves(tmp_path, metrics):
    write_figure_files(tmp_path, metrics)
    assert {path.stem for path in tmp_path.iterdir()} == {
        "confusion_matrix",
        "classification_report",
    }


def test_a_history_of_the_loss_alone_is_one_panel(tmp_path, metrics):
    write_figure_files(tmp_path, metrics, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.3}])
    curves = (tmp_path / "accuracy_loss.svg").read_text()
    assert ">Loss</text>" in curves
    assert ">Accuracy</text>" not in curves
    assert ">validation</text>" not in curves


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, metrics):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError):
        write_figure_files(tmp_path / "run", metrics)
