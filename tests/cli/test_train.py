"""``demo``, ``train``, ``adapt`` and ``export`` at the command line."""

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import numpy as np
import pytest

from hematovision.errors import NotAnImageError
from hematovision.evaluation import Metrics, evaluate
from hematovision.model.bundle import ONNX
from hematovision.reporting.adaptation import prediction_changes
from hematovision.training.curve import CurvePoint
from hematovision.workflows import adapt, demo, train


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """Ten images, one of them wrong."""
    labels = np.array([0, 1] * 5)
    probabilities = np.where(labels[:, None] == [0, 1], 0.9, 0.1)
    probabilities[0] = 0.2, 0.8
    return evaluate(labels, probabilities, ("RBC", "WBC"), accepted=np.ones(10, bool))


def faked(monkeypatch, module, name: str, result: object):
    """Replace a workflow by one of the same signature that returns `result`."""
    fake = create_autospec(getattr(module, name), return_value=result)
    monkeypatch.setattr(module, name, fake)
    return fake


def trained(metrics: Metrics, **changes) -> train.TrainResult:
    values = {
        "folder": Path("run"),
        "report": Path("run/report.html"),
        "metrics": metrics,
        "interrupted": False,
        "refused": (),
        "notes": (),
    }
    return train.TrainResult(**{**values, **changes})


def test_options_reach_the_workflow(run, monkeypatch, metrics):
    workflow = faked(monkeypatch, train, "train", trained(metrics))
    typed = "--taxonomy pbc8 --weights imagenet --fine-tune --fine-tune-blocks all --epochs 3 "
    typed += "--batch-size 8 --patience 2 --seed 7 --learning-curve"
    result = run("train", "cells", "--out", "run", *typed.split())
    assert result.exit_code == 0, result.stderr
    dataset, out, options = workflow.call_args.args
    assert (dataset, out) == (Path("cells"), Path("run"))
    assert options == train.TrainOptions(
        taxonomy="pbc8",
        weights="imagenet",
        fine_tune=True,
        fine_tune_blocks=None,
        epochs=3,
        batch_size=8,
        patience=2,
        seed=7,
        learning_curve=True,
    )


def test_the_defaults_are_those_of_the_workflow(run, monkeypatch, metrics):
    workflow = faked(monkeypatch, train, "train", trained(metrics))
    run("train", "cells", "--out", "run")
    assert workflow.call_args.args[2] == train.TrainOptions()


def test_train_prints_metrics_report_and_next_command(run, monkeypatch, metrics):
    faked(monkeypatch, train, "train", trained(metrics))
    lines = run("train", "cells", "--out", "run").stdout.splitlines()
    red = next(line for line in lines if "RBC" in line)
    assert re.match(r" *RBC +5 +1 +100% +80\.0% ", red)  # images, errors, precision, recall
    assert "10 images, 1 wrong; balanced accuracy 90.0" in "\n".join(lines)
    assert lines[-3:] == [
        "Model: run",
        f"Report: {Path('run/report.html')}",
        "Next: hematovision classify IMAGES --model run",
    ]


def test_a_learning_curve_is_printed_if_requested(run, monkeypatch, metrics):
    few = CurvePoint(50, (0.8, 0.9, 0.95), (40, 10))
    many = CurvePoint(100, (0.9, 0.97, 0.98), (80, 20))
    faked(monkeypatch, train, "train", trained(metrics, curve=(few, many)))
    output = run("train", "cells", "--out", "run", "--learning-curve").stdout
    assert re.search(r"50 +10 to 40 +88\.3% ", output)
    assert re.search(r"100 +20 to 80 +95\.0% .* \+6\.7 ", output)
    assert "Doubling from 50 to 100 images gained 6.7 points of balanced accuracy" in output


def test_an_interrupted_training_prints_a_note(run, monkeypatch, metrics):
    faked(monkeypatch, train, "train", trained(metrics, interrupted=True))
    result = run("train", "cells", "--out", "run")
    assert result.exit_code == 0
    assert "stopped by Ctrl-C; the best model so far was saved" in result.stdout


def test_unreadable_images_are_listed_and_the_exit_code_is_three(run, monkeypatch, metrics):
    refused = (NotAnImageError("a.jpg", "it is a text."),)
    faked(monkeypatch, train, "train", trained(metrics, refused=refused))
    result = run("train", "cells", "--out", "run")
    assert result.exit_code == 3
    assert "Images that could not be used (1):\n  a.jpg: it is a text.\n" in result.stderr


def test_a_run_folder_in_use_is_an_error(run, colours: Path, tmp_path: Path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    result = run("train", colours, "--out", out)
    assert result.exit_code == 1
    assert "is not empty" in result.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_the_demo_prints_metrics_report_and_next_command(run, monkeypatch, metrics):
    paths = Path("runs/demo/run"), Path("runs/demo/run/report.html"), Path("a.png")
    folder, report, example = paths
    cells, others = {"RBC": SimpleNamespace(n=5), "WBC": SimpleNamespace(n=1)}, {"RBC": 2, "WBC": 0}
    counts = SimpleNamespace(cells=cells, not_counted=others)
    analysis = SimpleNamespace(summary=SimpleNamespace(counts=counts), folder=Path("runs/demo/f"))
    made = demo.DemoResult(folder, report, metrics, example, analysis, {"RBC": 8, "WBC": 1})
    workflow = faked(monkeypatch, demo, "demo", made)
    result = run("demo")
    assert workflow.call_args.args == (Path("runs/demo"),)
    lines = result.stdout.splitlines()
    assert "most frequent class" in result.stdout
    assert lines[-3:] == [
        f"Report: {report}",
        "Found in a synthetic field: 7 RBC of 8, 1 WBC of 1. Results: runs/demo/f",
        f"Next: hematovision classify a.png --model {folder}",
    ]


def test_a_model_is_exported_as_a_file(run, colour_model, tmp_path: Path):
    file = tmp_path / "colours.onnx"
    result = run("export", colour_model, "--to", "onnx", "--out", file)
    assert (result.exit_code, result.stdout) == (0, f"Written: {file}\n")
    assert file.read_bytes() == (colour_model / ONNX).read_bytes()


def test_an_export_does_not_overwrite(run, colour_model, tmp_path: Path):
    file = tmp_path / "colours.onnx"
    file.write_text("keep me")
    result = run("export", colour_model, "--to", "onnx", "--out", file)
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert file.read_text() == "keep me"


def adapted(**changes) -> adapt.AdaptResult:
    values = {
        "folder": Path("run"),
        "report": Path("run/report.html"),
        "n": 10,
        "before": None,
        "metrics": None,
        "changes": None,
        "refused": (),
        "notes": ("A caveat.",),
    }
    return adapt.AdaptResult(**{**values, **changes})


def test_adapting_to_labelled_images_prints_metrics(run, monkeypatch, metrics):
    workflow = faked(monkeypatch, adapt, "adapt", adapted(metrics=metrics, before=metrics))
    result = run("adapt", "pbc8", "lab", "--out", "run", "--seed", "3")
    assert result.exit_code == 0, result.stderr
    assert workflow.call_args.args == ("pbc8", Path("lab"))
    options = {name: workflow.call_args.kwargs[name] for name in ("out", "unlabelled", "seed")}
    assert options == {"out": Path("run"), "unlabelled": False, "seed": 3}
    assert "10 images, 1 wrong; balanced accuracy 90.0" in result.stdout
    assert result.stdout.splitlines()[-1] == "Next: hematovision classify IMAGES --model run"


def test_adapting_without_labels_prints_the_changes(run, monkeypatch):
    changes = prediction_changes(
        ("RBC", "WBC"), [0, 0], [0, 1], accepted_before=[False, False], accepted_after=[True, False]
    )
    refused = (NotAnImageError("a.jpg", "it is a text."),)
    workflow = faked(monkeypatch, adapt, "adapt", adapted(changes=changes, refused=refused))
    result = run("adapt", "pbc8", "lab", "--out", "run", "--unlabelled")
    assert workflow.call_args.kwargs["unlabelled"] is True
    assert result.exit_code == 3
    assert re.search(r"WBC +0 +1", result.stdout)
    assert "1 of 2 predictions changed. Sent for review: 100% before, 50.0% now" in result.stdout
    assert "Note: A caveat." in result.stdout


@pytest.mark.parametrize(("chosen", "level"), [(None, logging.ERROR), ("0", logging.NOTSET)])
def test_tensorflow_is_silent_unless_its_log_level_is_set(run, monkeypatch, chosen, level):
    logger = logging.getLogger("tensorflow")
    before = logger.level
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")  # so that the variable is restored
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if chosen:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", chosen)
    logger.setLevel(logging.NOTSET)
    try:
        assert run("export", "no-such-model", "--to", "h5").exit_code == 1
        assert logger.level == level
    finally:
        logger.setLevel(before)
