"""The report is one safe, complete file for any evaluation."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from hematovision.errors import OutputError
from hematovision.evaluation import evaluate
from hematovision.reporting.report import ErrorExample, render_report, write_report


class Page(HTMLParser):
    """Collects tags, the addresses they point to, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(page)
        self.text = re.sub(r"[ \n]+", " ", self.text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in {"src", "href", "action", "data"}]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def empty_figures(monkeypatch):
    """Skip rendering figures."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    monkeypatch.setattr("hematovision.reporting.plots.svg", lambda size, draw: empty)


def example(**change):
    values = {"true": "RBC", "predicted": "WBC", "confidence": 0.987, "name": "Test/RBC/7.png"}
    return ErrorExample(np.full((224, 224, 3), 180, np.uint8), **{**values, **change})


def test_an_attention_map_is_next_to_its_image(metrics, facts):
    overlay = np.zeros((30, 40, 3), np.uint8)
    page = render_report(metrics, facts, errors=[example(overlay=overlay), example()])
    assert page.count('class="pair"') == 2
    assert page.count('alt="attention map for') == 1
    assert "ring at the peak" in page
    assert "ring at the peak" not in render_report(metrics, facts, errors=[example()])


def test_an_image_unlike_the_training_images_is_not_recognised(empty_figures, metrics, facts):
    unfamiliar = example(decision="review", reason="unlike the training images")
    unsure = example(decision="review", reason="low confidence")
    both = example(decision="review", reason="low confidence; unlike the training images")
    text = Page(render_report(metrics, facts, errors=[unfamiliar, unsure, both])).text
    headed = "Not recognisedunlike the training images; nearest class WBC, 98.7%true class: RBC"
    assert text.count(headed) == 2
    assert text.count("WBC, 98.7%true class: RBCsent for review") == 3


def test_a_history_of_the_loss_alone_has_one_curve(metrics, facts):
    page = render_report(metrics, facts, history=[{"epoch": 1, "loss": 0.5}])
    assert "Loss over the epochs" in page
    assert "Accuracy over the epochs" not in page


def test_report_is_one_file_that_loads_nothing(tmp_path, metrics, facts, history):
    path = write_report(tmp_path / "run", metrics, facts, history=history, errors=[example()])
    assert path == tmp_path / "run" / "report.html"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"url\(|@import", text)
    assert "script" not in page.tags
    assert "default-src 'none'" in text
    assert len(text) < 1_000_000


def test_report_has_facts_metrics_and_errors(empty_figures, metrics, facts, history):
    text = Page(render_report(metrics, facts, history=history, errors=[example()])).text
    for words in (
        "Two hospitals",
        "runs/first",
        "300 images of 3 classes",
        "2025-03-01 14:30 UTC",
        "For research and teaching. Not a medical device.",
        "94.2%",  # balanced accuracy
        "Box size",
        "Mean colour",
        "Most frequent class",
        "the weights are from epoch 3",
        "Basel",
        "30 groups, 2,000 bootstrap samples, seed 0",
        "1,400",
        "1 of 12 shown",
        "98.7%",
        "Test/RBC/7.png",
    ):
        assert words in text, words


def test_class_names_and_paths_are_escaped(empty_figures, facts):
    name = "<script>alert(1)</script>"
    found = evaluate([0, 1], [[0.1, 0.9], [0.2, 0.8]], (name, "b"), accepted=[True, True])
    odd = replace(facts, dataset="<img src=x onerror=alert(1)>", notes=("<b>",))
    errors = [example(true=name, predicted='"><svg onload=alert(1)>', name="<i>.png")]
    text = render_report(found, odd, errors=errors)
    page = Page(text)
    assert not {"script", "svg", "i", "b"} & (set(page.tags) - {"b", "i"})
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert name in page.text
    assert "<i>.png" in page.text


@pytest.mark.parametrize(
    ("labs", "shown"),
    [
        (["phantom"] * 300, True),
        (["synthetic-a"] * 300, True),
        (["Phantom 2"] * 300, True),
        (None, False),
    ],
)
def test_reports_of_synthetic_images_are_marked(empty_figures, predictions, facts, labs, shown):
    found = evaluate(classes=("RBC", "WBC", "Platelets"), **{**predictions, "labs": labs})
    text = Page(render_report(found, facts)).text
    assert ("Synthetic images, not patients" in text) is shown


def test_reports_of_models_trained_on_synthetic_images_are_marked(empty_figures, metrics, facts):
    text = Page(render_report(metrics, replace(facts, labs=("synthetic-b",)))).text
    assert "Synthetic images, not patients" in text


def test_evaluation_without_history_labs_training_split_or_errors(empty_figures, facts):
    labels = np.arange(6) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a", "b"), accepted=[False] * 6)
    page = render_report(found, replace(facts, split_sizes={}, details={}))
    assert "<h2>Training</h2>" not in page
    text = Page(page).text
    assert "<h2>Labs" not in page
    assert "Data and model" not in text
    assert "None among 6 images." in text
    assert "only the most frequent class could be computed" in text
    assert "Fewer than 30 images of: a (3), b (3)" in text


def test_baseline_on_some_of_the_images_shows_how_many(empty_figures, metrics, facts):
    partial = replace(metrics.baselines["box_size"], n=120)
    found = replace(metrics, baselines={**metrics.baselines, "box_size": partial})
    assert "on the 120 with a box" in Page(render_report(found, facts)).text


def test_no_more_than_24_examples_are_shown(empty_figures, metrics, facts):
    page = render_report(metrics, facts, errors=[example(name=f"{i}.png") for i in range(30)])
    assert page.count("data:image/jpeg") == 24
    assert "23.png" in page
    assert "24.png" not in page


def test_folder_that_cannot_be_written_is_an_output_error(empty_figures, tmp_path, metrics, facts):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError):
        write_report(tmp_path / "taken", metrics, facts)
