"""The page of a comparison is one safe file that says everything about both models."""

import re
from dataclasses import replace

import numpy as np
import pytest

from hematovision.evaluation.comparing import ModelPredictions, compare_predictions
from hematovision.reporting import ReportFacts
from hematovision.reporting.comparison_report import (
    Differing,
    PairExample,
    render_comparison,
    write_comparison_report,
)


@pytest.fixture
def undrawn(monkeypatch):
    """The figure costs time; where a test looks at the words, an empty one will do."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    monkeypatch.setattr("hematovision.reporting.difference_plots.svg", lambda size, draw: empty)


def comparison(names=("old", "new"), first_wrong=(1, 2, 5, 8), **known):
    labels = np.arange(60) % 2
    said = [
        np.where(np.isin(np.arange(60), wrong), 1 - labels, labels) for wrong in (first_wrong, [8])
    ]
    tables = [np.where(np.arange(2) == row[:, None], 0.8, 0.2) for row in said]
    models = (
        ModelPredictions(name, rows, np.ones(60)) for name, rows in zip(names, tables, strict=True)
    )
    return compare_predictions(labels, *models, ("RBC", "<WBC>"), **known)


def picture(name="Test/WBC/7.png"):
    image = np.full((50, 60, 3), 120, np.uint8)
    return PairExample(image, "RBC", ("<WBC>", "RBC"), (0.91, 0.7), ("review", "accepted"), name)


FACTS = ReportFacts(
    title="blood: test part",
    model="old and new",
    dataset="blood",
    part="test",
    details={"Compared in": "RBC, WBC"},
    notes=("Not compared, since it cannot be read: <b>.png",),
)


def words(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path):
    path = write_comparison_report(tmp_path, comparison(), FACTS, Differing([picture()]))
    text = path.read_text(encoding="utf-8")
    assert path.name == "compare.html"
    sources = re.findall(r'(?:src|href)="([^"]{5})', text)
    assert len(sources) == 2  # the figure and the picture
    assert set(sources) == {"data:"}
    assert "default-src 'none'" in text
    assert "<script" not in text


def test_the_page_says_who_is_better_and_where(undrawn):
    groups = [f"field {i // 6}" for i in range(60)]
    labs = ["Basel", "Tehran"] * 30
    found = comparison(groups=groups, labs=labs)
    text = words(render_comparison(found, FACTS, Differing([picture()])))
    for part in (
        "No difference can be shown: the second model (new) is 5.0 points of accuracy ahead",
        "+5.0 points of accuracy, second less first",
        "by group (field or patient)",
        "p = 0.250 exact binomial",
        "Only the second is right 1 of 3 shown",
        "✗ first: &lt;WBC&gt;, 91.0\u202f% (review)".replace("\u202f", " "),
        "✓ second: RBC, 70.0 %",
        "Test/WBC/7.png",
        "Lab by lab",
        "10 groups, 2,000 draws, seed 0",
        "RBC, WBC",
        "McNemar's test takes them for independent",
        "&lt;b&gt;.png",
    ):
        assert part in text.replace("\u202f", " ").replace("&#39;", "'"), part
    assert "Only the first is right" not in text.partition("Agreement")[2]
    assert "Drawn images" not in text


def test_an_image_unlike_the_training_images_is_not_recognised(undrawn):
    strange = replace(picture(), unlike=(True, False))
    text = words(render_comparison(comparison(), FACTS, Differing([strange]))).replace(
        "\u202f", " "
    )
    assert "✗ first: Not recognised (nearest class &lt;WBC&gt;, 91.0 %) (review)" in text
    assert "✓ second: RBC, 70.0 %" in text


def test_names_of_models_and_classes_are_escaped(undrawn):
    page = render_comparison(comparison(("<i>a", "b")), FACTS, Differing([picture("<u>.png")]))
    assert "<i>a" not in page
    assert "<u>" not in page
    assert "<WBC>" not in page


def test_drawn_images_are_named_as_such(undrawn):
    found = comparison(labs=["phantom-1"] * 60)
    text = words(render_comparison(found, FACTS, Differing()))
    assert "Drawn images (phantoms), not patients" in text
    assert "Lab by lab" not in text  # one lab is the whole


def test_at_most_24_of_a_kind_are_shown_and_the_rest_is_counted(undrawn):
    found = comparison(first_wrong=range(40))
    page = render_comparison(found, FACTS, Differing([picture()] * 39, (), [picture()], 30))
    assert page.count('<li><img src="data:') == 24 + 1
    assert "24 of 39 shown" in page
    assert "1 of 30 shown" in page


def test_models_that_never_differ_have_a_page_without_pictures(undrawn):
    page = render_comparison(comparison(first_wrong=[8]), FACTS, Differing())
    assert "give the same answer for each of the 60 images" in page
    assert 'class="gallery"' not in page
    assert "color:var(--soft)" in page  # a difference that is not shown is not written in colour
