"""Figures are SVG documents that say what they should, for any class name."""

import xml.etree.ElementTree as ET

import pytest

from hematovision.evaluation import evaluate
from hematovision.reporting import (
    best_epoch,
    class_scores_figure,
    confusion_figure,
    curves_figure,
    reliability_figure,
    risk_coverage_figure,
)


def words(svg):
    """Return the texts of a figure; fails if it is not well-formed."""
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    return [(element.text or "").replace("\u202f", " ") for element in texts]


def test_confusion_figure_shows_counts_and_parts_of_the_true_class():
    found = words(confusion_figure([[1195, 5], [1, 3]], ["RBC", "WBC"]))
    assert {"1,195", "99.6 %", "5", "0.4 %", "1", "25.0 %", "3", "75.0 %"} <= set(found)
    assert found.count("RBC") == found.count("WBC") == 2


def test_confusion_figure_bears_a_class_without_images_and_many_classes():
    names = [f"immature class {i}" for i in range(8)]
    counts = [[0] * 8 for _ in names]
    counts[0][0] = 4
    found = words(confusion_figure(counts, names))
    assert found.count("0") == 63
    assert "100 %" in found


@pytest.mark.parametrize("name", ["<script>", "a$b$", "$\\frac", "red & white", "白血球"])
def test_class_names_are_text_and_nothing_else(name):
    assert words(confusion_figure([[1, 0], [0, 1]], [name, "b"])).count(name) == 2


def test_curves_show_both_lines_and_the_epoch_kept(history):
    found = words(curves_figure(history, "loss"))
    assert {"training", "validation", "kept: epoch 3", "Loss"} <= set(found)
    assert "Accuracy" in words(curves_figure(history, "accuracy"))


def test_curves_bear_a_run_without_validation():
    history = [{"epoch": 1, "loss": 0.5, "accuracy": 0.8}]
    assert "kept" not in " ".join(words(curves_figure(history, "loss")))
    assert best_epoch(history) is None
    assert best_epoch([]) is None


def test_best_epoch_is_the_first_of_the_lowest_validation_losses():
    history = [{"epoch": e, "val_loss": v} for e, v in ((1, 0.3), (2, 0.2), (3, 0.2))]
    assert best_epoch([*history, {"epoch": 4, "val_loss": float("nan")}]) == 2


def test_other_figures_are_drawn(metrics):
    assert "Reliability" in words(reliability_figure(metrics.reliability))
    assert set(metrics.classes) <= set(words(class_scores_figure(metrics.per_class)))
    assert "Risk and coverage" in words(risk_coverage_figure(metrics.risk_coverage, (0.9, 0.01)))


def test_model_that_accepts_nothing_has_no_point_on_the_risk_curve(metrics):
    found = words(risk_coverage_figure(metrics.risk_coverage))
    assert "at the model's thresholds" not in found
    assert "by confidence alone" in found


def test_figures_of_a_perfect_answer_to_one_image_are_drawn():
    one = evaluate([0], [[1.0, 0.0]], ("a", "b"), accepted=[True])
    assert "Reliability" in words(reliability_figure(one.reliability))
    assert {"a", "b"} <= set(words(class_scores_figure(one.per_class)))


def test_the_same_figure_is_the_same_bytes_and_leaves_matplotlib_as_it_was(history):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    assert curves_figure(history, "loss") == curves_figure(history, "loss")
    assert dict(mpl.rcParams) == before
