"""The comparison page is one safe file, and the verdict is supported by the images."""

import re
from dataclasses import replace

import numpy as np
import pytest

from hematovision.evaluation.comparison import ModelPredictions, compare_predictions
from hematovision.reporting.comparison import (
    Differing,
    PairExample,
    is_shown,
    render_comparison,
    verdict,
    write_comparison_report,
)
from hematovision.reporting.report import ReportFacts


@pytest.fixture
def empty_figures(monkeypatch):
    """Skip rendering the figure."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    monkeypatch.setattr("hematovision.reporting.plots.svg", lambda size, draw: empty)


def comparison(names=("old", "new"), first_wrong=(1, 2, 5, 8), **known):
    labels = np.arange(60) % 2
    predicted = [
        np.where(np.isin(np.arange(60), wrong), 1 - labels, labels) for wrong in (first_wrong, [8])
    ]
    tables = [np.where(np.arange(2) == row[:, None], 0.8, 0.2) for row in predicted]
    models = (
        ModelPredictions(name, rows, np.ones(60)) for name, rows in zip(names, tables, strict=True)
    )
    return compare_predictions(labels, *models, ("RBC", "<WBC>"), **known)


def example(name="Test/WBC/7.png"):
    image = np.full((50, 60, 3), 120, np.uint8)
    return PairExample(image, "RBC", ("<WBC>", "RBC"), (0.91, 0.7), ("review", "accepted"), name)


FACTS = ReportFacts(
    title="blood: test split",
    model="old and new",
    dataset="blood",
    split="test",
    details={"Compared in": "RBC, WBC"},
    notes=("Not compared, since it cannot be read: <b>.png",),
)


def words(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    path = write_comparison_report(tmp_path, comparison(), FACTS, Differing([example()]))
    text = path.read_text(encoding="utf-8")
    assert path.name == "compare.html"
    sources = re.findall(r'(?:src|href)="([^"]{5})', text)
    assert len(sources) == 2  # the figure and the example
    assert set(sources) == {"data:"}
    assert "default-src 'none'" in text
    assert "<script" not in text


def test_the_page_shows_which_model_is_better_and_where(empty_figures):
    groups = [f"field {i // 6}" for i in range(60)]
    labs = ["Basel", "Tehran"] * 30
    found = comparison(groups=groups, labs=labs)
    text = words(render_comparison(found, FACTS, Differing([example()])))
    for expected in (
        "No significant difference: the second model (new) is 5.0 points of accuracy ahead",
        "+5.0 points of accuracy, second minus first",
        "by group (field or patient)",
        "p = 0.250 exact binomial",
        "Only the second is correct 1 of 3 shown",
        "✗ first: &lt;WBC&gt;, 91.0% (review)",
        "✓ second: RBC, 70.0%",
        "Test/WBC/7.png",
        "Labs",
        "10 groups, 2,000 bootstrap samples, seed 0",
        "RBC, WBC",
        "McNemar's test treats them as independent",
        "&lt;b&gt;.png",
    ):
        assert expected in text.replace("&#39;", "'"), expected
    assert "Only the first is correct" not in text.partition("Agreement")[2]
    assert "Synthetic images" not in text


def test_an_image_unlike_the_training_images_is_not_recognised(empty_figures):
    unfamiliar = replace(example(), out_of_distribution=(True, False))
    text = words(render_comparison(comparison(), FACTS, Differing([unfamiliar])))
    assert "✗ first: Not recognised (nearest class &lt;WBC&gt;, 91.0%) (review)" in text
    assert "✓ second: RBC, 70.0%" in text


def test_names_of_models_and_classes_are_escaped(empty_figures):
    page = render_comparison(comparison(("<i>a", "b")), FACTS, Differing([example("<u>.png")]))
    assert "<i>a" not in page
    assert "<u>" not in page
    assert "<WBC>" not in page


def test_synthetic_images_are_marked(empty_figures):
    found = comparison(labs=["synthetic-a"] * 60)
    text = words(render_comparison(found, FACTS, Differing()))
    assert "Synthetic images, not patients" in text
    assert "Labs" not in text  # only one


def test_at_most_24_of_a_kind_are_shown_and_the_rest_is_counted(empty_figures):
    found = comparison(first_wrong=range(40))
    page = render_comparison(found, FACTS, Differing([example()] * 39, (), [example()], 30))
    assert page.count('<li><img src="data:') == 24 + 1
    assert "24 of 39 shown" in page
    assert "1 of 30 shown" in page


def test_models_that_never_differ_have_a_page_without_examples(empty_figures):
    page = render_comparison(comparison(first_wrong=[8]), FACTS, Differing())
    assert "predict the same class for each of the 60 images" in page
    assert 'class="gallery"' not in page
    assert "color:var(--soft)" in page  # a difference that is not significant is grey


def table(labels, wrong, confidence=0.9):
    """Return probabilities of two classes that are correct except at the positions `wrong`."""
    predicted = np.array(labels)
    predicted[wrong] = 1 - predicted[wrong]
    return np.where(np.arange(2) == predicted[:, None], confidence, 1 - confidence)


def compared(first_wrong, second_wrong, n=750, labels=None, **known):
    labels = np.arange(n) % 2 if labels is None else labels
    models = (
        ModelPredictions(name, table(labels, list(wrong)), np.arange(n) % 10 > 0)
        for name, wrong in (("a", first_wrong), ("b", second_wrong))
    )
    return compare_predictions(labels, *models, ("RBC", "WBC"), **known)


def test_a_significant_difference_is_stated_with_its_size_and_images():
    assert verdict(compared(range(20), range(20, 25))) == (
        "The second model (b) is better by 2.0 points of accuracy (95% interval 0.8 to 3.5): "
        "20 images only the second gets right, 5 only the first."
    )
    turned = verdict(compared(range(20, 25), range(20)))
    assert turned.startswith("The first model (a) is better by 2.0 points of accuracy (95% ")
    assert "0.8 to 3.5" in turned
    assert turned.endswith("20 images only the first gets right, 5 only the second.")


def test_an_interval_that_contains_zero_is_not_significant():
    found = compared(range(9), range(9, 15))
    assert not is_shown(found)
    text = verdict(found)
    assert text.startswith("No significant difference: the second model (b) is 0.4 points")
    assert "but the 95% interval is -0.7 to 1.6" in text
    assert "better" not in text


def test_a_difference_on_too_few_images_is_not_significant():
    found = compared(range(4), [])
    assert found.differences["accuracy"].interval[0] > 0
    assert "the images are too few (McNemar's p = 0.125)" in verdict(found)


def test_equal_accuracy_is_no_significant_difference():
    assert verdict(compared([1, 2], [3, 4])).startswith(
        "No significant difference: both are equally accurate (95% interval of the difference"
    )
    assert verdict(compared([1], [2])).endswith(
        "1 image only the second gets right, 1 only the first."
    )


def test_models_that_never_differ_predict_the_same():
    assert verdict(compared([3], [3])) == (
        "The two models predict the same class for each of the 750 images."
    )


def test_better_accuracy_with_worse_balanced_accuracy_has_a_caveat():
    labels = np.zeros(750, int)
    labels[-20:] = 1
    text = verdict(compared(range(60), range(740, 750), labels=labels))
    assert text.startswith("The second model (b) is better by 6.7 points")
    assert "But the first is ahead by 20.9 points of balanced accuracy" in text
    assert "this is not significant" not in text
    small = verdict(compared(range(60), range(748, 750), labels=labels))
    assert "the first is ahead by 0.9 points" in small
    assert small.endswith("this is not significant.")
    turned = verdict(compared(range(740, 750), range(60), labels=labels))
    assert "But the second is ahead by 20.9 points of balanced accuracy" in turned


def test_the_verdict_uses_the_interval_by_group():
    groups = [f"field {min(i // 20, 37)}" for i in range(750)]
    found = compared(range(20), [], groups=groups)  # one whole field
    assert found.mcnemar.p < 0.001
    assert not is_shown(found)
    assert is_shown(replace(found, differences=compared(range(20), []).differences))
