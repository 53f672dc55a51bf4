"""The report is one safe file that says everything, in whatever state the evaluation is."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from hematovision.errors import OutputError
from hematovision.evaluation import evaluate
from hematovision.reporting import ErrorExample, render_report, write_report


class Page(HTMLParser):
    """Collects tags, the addresses they point to, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(page)
        self.text = re.sub(r"[ \n]+", " ", self.text)  # thin spaces stay

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in {"src", "href", "action", "data"}]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def undrawn(monkeypatch):
    """Figures cost time; where a test looks at the words, an empty one will do."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    monkeypatch.setattr("hematovision.reporting.plots.svg", lambda size, draw: empty)


def picture(**change):
    told = {"true": "RBC", "said": "WBC", "confidence": 0.987, "name": "Test/RBC/7.png"}
    return ErrorExample(np.full((224, 224, 3), 180, np.uint8), **{**told, **change})


def test_an_overlay_stands_beside_its_image(metrics, facts):
    overlay = np.zeros((30, 40, 3), np.uint8)
    page = render_report(metrics, facts, errors=[picture(overlay=overlay), picture()])
    assert page.count('class="pair"') == 2
    assert page.count("where the model saw") == 1
    assert "ring at the hottest point" in page
    assert "hottest point" not in render_report(metrics, facts, errors=[picture()])


def test_an_image_unlike_the_training_images_is_not_headed_by_a_class(undrawn, metrics, facts):
    strange = picture(decision="review", reason="unlike the training images")
    unsure = picture(decision="review", reason="low confidence")
    both = picture(decision="review", reason="low confidence; unlike the training images")
    text = Page(render_report(metrics, facts, errors=[strange, unsure, both])).text
    headed = "Not recognisedunlike the training images; nearest class WBC, 98.7\u202f%truly RBC"
    assert text.count(headed) == 2
    assert text.count("WBC, 98.7\u202f%truly RBCreview") == 3


def test_a_history_of_the_loss_alone_has_one_curve(metrics, facts):
    page = render_report(metrics, facts, history=[{"epoch": 1, "loss": 0.5}])
    assert "Loss over the epochs" in page
    assert "Accuracy over the epochs" not in page


def test_report_is_one_file_that_asks_for_nothing(tmp_path, metrics, facts, history):
    path = write_report(tmp_path / "run", metrics, facts, history=history, errors=[picture()])
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


def test_report_says_what_when_which_and_how_well(undrawn, metrics, facts, history):
    text = Page(render_report(metrics, facts, history=history, errors=[picture()])).text
    for words in (
        "Two hospitals",
        "runs/first",
        "300 images of 3 classes",
        "2025-03-01 14:30 UTC",
        "For research and teaching. Not a medical device.",
        "94.2\u202f%",  # balanced accuracy
        "Box size",
        "Mean colour",
        "Most frequent class",
        "epoch 3, with the lowest validation loss, was kept",
        "Basel",
        "30 groups, 2,000 draws, seed 0",
        "1,400",
        "1 of 12 shown",
        "98.7\u202f%",
        "Test/RBC/7.png",
    ):
        assert words in text, words


def test_class_names_and_paths_are_escaped(undrawn, facts):
    name = "<script>alert(1)</script>"
    found = evaluate([0, 1], [[0.1, 0.9], [0.2, 0.8]], (name, "b"), accepted=[True, True])
    odd = replace(facts, dataset="<img src=x onerror=alert(1)>", notes=("<b>",))
    errors = [picture(true=name, said='"><svg onload=alert(1)>', name="<i>.png")]
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
def test_drawn_images_are_called_drawn(undrawn, answers, facts, labs, shown):
    found = evaluate(classes=("RBC", "WBC", "Platelets"), **{**answers, "labs": labs})
    text = Page(render_report(found, facts)).text
    assert ("Drawn images (phantoms), not patients" in text) is shown


def test_model_that_learnt_from_drawn_images_is_called_so(undrawn, metrics, facts):
    text = Page(render_report(metrics, replace(facts, labs=("phantom",)))).text
    assert "Drawn images (phantoms), not patients" in text


def test_evaluation_without_history_labs_training_part_or_errors(undrawn, facts):
    labels = np.arange(6) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a", "b"), accepted=[False] * 6)
    page = render_report(found, replace(facts, split={}, details={}))
    assert "<h2>Training</h2>" not in page
    text = Page(page).text
    assert "Lab by lab" not in text
    assert "Data and model" not in text
    assert "None among 6 images." in text
    assert "only the most frequent class could be tried" in text
    assert "Fewer than 30 images of: a (3), b (3)" in text


def test_baseline_on_some_of_the_images_says_on_how_many(undrawn, metrics, facts):
    partial = replace(metrics.baselines["box_size"], n=120)
    found = replace(metrics, baselines={**metrics.baselines, "box_size": partial})
    assert "on the 120 with a box" in Page(render_report(found, facts)).text


def test_no_more_than_24_pictures_are_shown(undrawn, metrics, facts):
    page = render_report(metrics, facts, errors=[picture(name=f"{i}.png") for i in range(30)])
    assert page.count("data:image/jpeg") == 24
    assert "23.png" in page
    assert "24.png" not in page


def test_folder_that_cannot_be_written_is_an_output_error(undrawn, tmp_path, metrics, facts):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError):
        write_report(tmp_path / "taken", metrics, facts)
