"""A bundled model has every file that its card names, including its report."""

import re
import shutil
from pathlib import Path

import pytest

from hematovision.evaluation import read_metrics
from hematovision.model.bundle import read_bundle, seal
from hematovision.model.registry import bundled_models, find_model
from hematovision.reporting.card import WHERE_ERRORS_ARE
from hematovision.reporting.wording import percent
from recipes.bundled_models.reports import PACKAGED, add_report


@pytest.mark.parametrize("name", bundled_models())
def test_the_files_that_a_packaged_card_names_are_there(name):
    folder = find_model(name)
    card = (folder / "MODEL_CARD.md").read_text("utf-8").replace("\\", "")
    named = set(re.findall(r"(?<![\w/.])[\w-]+\.(?:html|csv|json|h5|keras|onnx|png|svg)\b", card))
    assert "report.html" in named
    assert named <= set(read_bundle(folder).manifest.files)


@pytest.mark.parametrize("name", bundled_models())
def test_the_packaged_report_has_the_packaged_figures(name):
    folder = find_model(name)
    metrics = read_metrics(folder / "metrics.json")
    page = (folder / "report.html").read_text("utf-8")
    assert f"<b>{name}</b>" in page
    assert f'<div class="hero">{percent(metrics.balanced_accuracy)}</div>' in page
    assert f"{metrics.n:,} images of {len(metrics.classes)} classes" in page
    assert "misclassified images are not part of the package" in page
    assert len(page) < 300_000


def test_a_report_is_added_and_the_card_describes_it(tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(find_model("rbc-wbc-platelets"), folder)
    (folder / "report.html").unlink()
    card = folder / "MODEL_CARD.md"
    card.write_text(card.read_text("utf-8").replace(PACKAGED, WHERE_ERRORS_ARE), "utf-8")
    seal(folder)
    self_test = read_bundle(folder).manifest.self_test
    bundle = add_report(folder)
    assert read_bundle(folder) == bundle
    assert bundle.manifest.self_test == self_test
    assert "report.html" in bundle.manifest.files
    text = card.read_text("utf-8")
    assert PACKAGED in text
    assert WHERE_ERRORS_ARE not in text
