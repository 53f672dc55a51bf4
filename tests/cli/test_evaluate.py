"""``evaluate`` and ``compare`` at the command line."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from hematovision.errors import NotAnImageError
from hematovision.evaluation.comparison import ModelPredictions, compare_predictions
from hematovision.reporting.comparison import verdict
from hematovision.workflows import compare as workflow


@pytest.fixture
def result() -> workflow.CompareResult:
    """100 images, eight of which only the second model gets right."""
    labels = np.arange(100) % 2
    tables = [np.where(labels[:, None] == [0, 1], 0.9, 0.1) for _ in range(2)]
    tables[0][:8] = 1 - tables[0][:8]
    models = (
        ModelPredictions(n, t, np.ones(100)) for n, t in zip(("old", "new"), tables, strict=True)
    )
    groups = [f"field {i % 20}" for i in range(100)]
    labs = ["Basel"] * 30 + ["Tehran"] * 70
    found = compare_predictions(labels, *models, ("RBC", "WBC"), groups=groups, labs=labs)
    return workflow.CompareResult(found, verdict(found), (), (), ("A caveat.",))


@pytest.fixture
def faked(monkeypatch, result):
    fake = create_autospec(workflow.compare, return_value=result)
    monkeypatch.setattr(workflow, "compare", fake)
    return fake


def test_the_verdict_comes_first_then_both_models_side_by_side(run, faked):
    output = run("compare", "old", "new", "cells")
    assert output.exit_code == 0, output.stderr
    lines = output.stdout.splitlines()
    assert lines[0].startswith("The second model (new) is better by 8.0 points of accuracy (95%")
    rows = {line.split("  ")[0].strip(): line.split() for line in lines if line.strip()}
    assert rows["Accuracy"][1:4] == ["92.0%", "100%", "+8.0"]
    assert rows["RBC"][1:5] == ["50", "0", "4", "+8.0"]
    assert rows["Basel"][1:5] == ["30", "0", "8", "+26.7"]
    text = "\n".join(lines)
    assert "both right 92, only the first 0, only the second 8, both wrong 0" in text
    assert "McNemar's test (exact binomial, two-sided): p = 0.008." in text
    assert "Note: A caveat." in text
    assert "20 groups" in text
    assert "Report:" not in text


def test_options_reach_the_workflow(run, faked, tmp_path: Path):
    run("compare", "a", "b", "cells", "--split", "all", "--out", tmp_path / "out")
    assert faked.call_args.args == ("a", "b", Path("cells"))
    options = faked.call_args.kwargs
    assert (options["split"], options["out"]) == ("all", tmp_path / "out")
    run("compare", "a", "b", "cells")
    assert (faked.call_args.kwargs["split"], faked.call_args.kwargs["out"]) == ("test", None)


def test_the_path_of_the_report_is_printed(run, faked, result):
    faked.return_value = replace(result, report=Path("out/compare.html"))
    assert f"Report: {Path('out/compare.html')}\n" in run("compare", "a", "b", "cells").stdout


def test_images_that_cannot_be_read_are_listed_and_the_exit_code_is_three(run, faked, result):
    faked.return_value = replace(result, refused=(NotAnImageError("a.png", "it is a text."),))
    output = run("compare", "a", "b", "cells")
    assert output.exit_code == 3
    assert "Images that could not be used (1):\n  a.png: it is a text.\n" in output.stderr


def test_comparing_a_model_with_itself_is_an_error(run, colour_model, cell_images: Path):
    output = run("compare", colour_model, colour_model, cell_images)
    assert (output.exit_code, output.stdout) == (1, "")
    assert output.stderr.startswith("Error: Both models are the same")


def test_a_missing_dataset_is_wrong_usage(run):
    assert run("compare", "a", "b").exit_code == 2
    assert run("compare", "a", "b", "cells", "--split", "half").exit_code == 2


def test_a_model_is_evaluated_on_the_test_split(run, colour_model, colours: Path, tmp_path: Path):
    out = tmp_path / "evaluation"
    result = run("evaluate", colour_model, colours, "--out", out)
    assert result.exit_code == 0, result.stderr
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["n"], metrics["balanced_accuracy"]) == (12, 1.0)
    assert "12 images, 0 wrong; balanced accuracy 100" in result.stdout
    assert f"Report: {out / 'report.html'}" in result.stdout.replace("\n", " ")
    assert (out / "report.html").is_file()


def test_an_unreadable_image_is_skipped_and_listed(
    run, colour_model, colours: Path, tmp_path: Path
):
    (colours / "Test" / "red" / "cut.png").write_bytes(b"\x89PNG")
    result = run("evaluate", colour_model, colours, "--out", tmp_path / "evaluation")
    assert result.exit_code == 3
    assert "cut.png" in result.stderr
    assert "12 images, 0 wrong" in result.stdout


def test_a_missing_split_is_an_error(run, colour_model, colours: Path, tmp_path: Path):
    out = tmp_path / "evaluation"
    result = run("evaluate", colour_model, colours, "--out", out, "--split", "valid")
    assert result.exit_code == 1
    assert "has no valid split. Its splits: train, test" in result.stderr
    assert not out.exists()
