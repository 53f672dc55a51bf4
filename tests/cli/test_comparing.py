"""``compare`` at the command line."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from hematovision.errors import NotAnImageError
from hematovision.evaluation.comparison import ModelPredictions, compare_predictions
from hematovision.reporting.comparison import verdict
from hematovision.workflows import compare as job


@pytest.fixture
def result() -> job.CompareResult:
    """Of 100 images; the second model alone tells eight rightly."""
    labels = np.arange(100) % 2
    tables = [np.where(labels[:, None] == [0, 1], 0.9, 0.1) for _ in range(2)]
    tables[0][:8] = 1 - tables[0][:8]
    models = (
        ModelPredictions(n, t, np.ones(100)) for n, t in zip(("old", "new"), tables, strict=True)
    )
    groups = [f"field {i % 20}" for i in range(100)]
    labs = ["Basel"] * 30 + ["Tehran"] * 70
    found = compare_predictions(labels, *models, ("RBC", "WBC"), groups=groups, labs=labs)
    return job.CompareResult(found, verdict(found), (), (), ("Something to know.",))


@pytest.fixture
def faked(monkeypatch, result):
    fake = create_autospec(job.compare, return_value=result)
    monkeypatch.setattr(job, "compare", fake)
    return fake


def test_the_verdict_comes_first_then_both_models_beside_each_other(run, faked):
    said = run("compare", "old", "new", "cells")
    assert said.exit_code == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[0].startswith("The second model (new) is better by 8.0 points of accuracy (95%")
    rows = {line.split("  ")[0].strip(): line.split() for line in lines if line.strip()}
    assert rows["accuracy"][1:4] == ["92.0%", "100%", "+8.0"]
    assert rows["RBC"][1:5] == ["50", "0", "4", "+8.0"]
    assert rows["Basel"][1:5] == ["30", "0", "8", "+26.7"]
    text = "\n".join(lines)
    assert "both right 92, only the first 0, only the second 8, both wrong 0" in text
    assert "McNemar's test (exact binomial, two-sided): p = 0.008." in text
    assert "Note: Something to know." in text
    assert "20 groups" in text
    assert "Report:" not in text


def test_what_was_typed_reaches_the_job(run, faked, tmp_path: Path):
    run("compare", "a", "b", "cells", "--split", "all", "--out", tmp_path / "out")
    assert faked.call_args.args == ("a", "b", Path("cells"))
    given = faked.call_args.kwargs
    assert (given["split"], given["out"]) == ("all", tmp_path / "out")
    run("compare", "a", "b", "cells")
    assert (faked.call_args.kwargs["split"], faked.call_args.kwargs["out"]) == ("test", None)


def test_the_place_of_the_report_is_said(run, faked, result):
    faked.return_value = replace(result, report=Path("out/compare.html"))
    assert f"Report: {Path('out/compare.html')}\n" in run("compare", "a", "b", "cells").stdout


def test_images_that_cannot_be_read_are_listed_and_the_exit_code_is_three(run, faked, result):
    faked.return_value = replace(result, refused=(NotAnImageError("a.png", "it is a text."),))
    said = run("compare", "a", "b", "cells")
    assert said.exit_code == 3
    assert "Images that could not be used (1):\n  a.png: it is a text.\n" in said.stderr


def test_the_same_model_twice_is_an_error(run, colour_model, cell_images: Path):
    said = run("compare", colour_model, colour_model, cell_images)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith("Error: Both models are the same")


def test_a_missing_dataset_is_wrong_usage(run):
    assert run("compare", "a", "b").exit_code == 2
    assert run("compare", "a", "b", "cells", "--split", "half").exit_code == 2
