"""``demo``, ``train``, ``evaluate``, ``adapt`` and ``export`` at the command line."""

import json
import re
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from hematovision import images
from hematovision.errors import NotAnImageError
from hematovision.evaluation import Metrics, evaluate
from hematovision.model.bundle import ONNX
from hematovision.reporting.adaptation import prediction_changes
from hematovision.training.curve import CurvePoint
from hematovision.workflows import adapt, demo, train


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """Of ten images, one of them wrong."""
    labels = np.array([0, 1] * 5)
    probabilities = np.where(labels[:, None] == [0, 1], 0.9, 0.1)
    probabilities[0] = 0.2, 0.8
    return evaluate(labels, probabilities, ("RBC", "WBC"), accepted=np.ones(10, bool))


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A dataset of colours with a test part that the colour model answers rightly."""
    for part in ("Train", "Test"):
        for name, channel in (("red", 0), ("green", 1), ("blue", 2)):
            for i in range(4):
                image = np.full((30, 30, 3), 10, np.uint8)
                image[..., channel] = 150 + 10 * i
                images.write(tmp_path / "colours" / part / name / f"{i}.png", image)
    return tmp_path / "colours"


def faked(monkeypatch, module, name: str, result: object):
    """Replace a job by one of the same signature that returns this at once."""
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


def test_what_was_typed_reaches_the_job(run, monkeypatch, metrics):
    job = faked(monkeypatch, train, "train", trained(metrics))
    typed = "--taxonomy pbc8 --weights imagenet --fine-tune --fine-tune-blocks all --epochs 3 "
    typed += "--batch-size 8 --patience 2 --seed 7 --learning-curve"
    result = run("train", "cells", "--out", "run", *typed.split())
    assert result.exit_code == 0, result.stderr
    dataset, out, options = job.call_args.args
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


def test_the_defaults_are_those_of_the_job(run, monkeypatch, metrics):
    job = faked(monkeypatch, train, "train", trained(metrics))
    run("train", "cells", "--out", "run")
    assert job.call_args.args[2] == train.TrainOptions()


def test_a_training_ends_with_figures_the_report_and_the_next_command(run, monkeypatch, metrics):
    faked(monkeypatch, train, "train", trained(metrics))
    lines = run("train", "cells", "--out", "run").stdout.splitlines()
    red = next(line for line in lines if "RBC" in line)
    assert re.match(r" *RBC +5 +1 +100\s% +80\.0\s% ", red)  # images, errors, precision, recall
    assert "10 images, 1 wrong; balanced accuracy 90.0" in "\n".join(lines)
    assert lines[-3:] == [
        "Model: run",
        f"Report: {Path('run/report.html')}",
        "Next: hematovision classify IMAGES --model run",
    ]


def test_a_learning_curve_is_drawn_where_it_was_asked_for(run, monkeypatch, metrics):
    few = CurvePoint(50, (0.8, 0.9, 0.95), (40, 10))
    many = CurvePoint(100, (0.9, 0.97, 0.98), (80, 20))
    faked(monkeypatch, train, "train", trained(metrics, curve=(few, many)))
    said = run("train", "cells", "--out", "run", "--learning-curve").stdout
    assert re.search(r"50 +10 to 40 +88\.3\s% ", said)
    assert re.search(r"100 +20 to 80 +95\.0\s% .* \+6\.7 ", said)
    assert "Doubling from 50 to 100 images gained 6.7 points of balanced accuracy" in said


def test_a_training_that_was_interrupted_says_so(run, monkeypatch, metrics):
    faked(monkeypatch, train, "train", trained(metrics, interrupted=True))
    result = run("train", "cells", "--out", "run")
    assert result.exit_code == 0
    assert "stopped by Ctrl-C; this is the best model so far" in result.stdout


def test_images_that_were_refused_are_listed_and_the_exit_code_is_three(run, monkeypatch, metrics):
    refused = (NotAnImageError("a.jpg", "it is a text."),)
    faked(monkeypatch, train, "train", trained(metrics, refused=refused))
    result = run("train", "cells", "--out", "run")
    assert result.exit_code == 3
    assert "Images that could not be used (1):\n  a.jpg: it is a text.\n" in result.stderr


def test_a_run_folder_in_use_is_refused_before_anything_else(run, colours: Path, tmp_path: Path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    result = run("train", colours, "--out", out)
    assert result.exit_code == 1
    assert "is not empty" in result.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_the_demo_ends_with_figures_the_report_and_the_next_command(run, monkeypatch, metrics):
    paths = Path("runs/demo/run"), Path("runs/demo/run/report.html"), Path("a.png")
    folder, report, example = paths
    job = faked(monkeypatch, demo, "demo", demo.DemoResult(folder, report, metrics, example))
    result = run("demo")
    assert job.call_args.args == (Path("runs/demo"),)
    lines = result.stdout.splitlines()
    assert "most frequent class" in result.stdout
    assert lines[-2:] == [
        f"Report: {report}",
        f"Next: hematovision classify a.png --model {folder}",
    ]


def test_a_model_is_judged_on_the_test_part(run, colour_model, colours: Path, tmp_path: Path):
    out = tmp_path / "evaluation"
    result = run("evaluate", colour_model, colours, "--out", out)
    assert result.exit_code == 0, result.stderr
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["n"], metrics["balanced_accuracy"]) == (12, 1.0)
    assert "12 images, 0 wrong; balanced accuracy 100" in result.stdout
    assert f"Report: {out / 'report.html'}" in result.stdout.replace("\n", " ")
    assert (out / "report.html").is_file()


def test_an_unreadable_image_is_left_out_of_the_figures_and_listed(
    run, colour_model, colours: Path, tmp_path: Path
):
    (colours / "Test" / "red" / "cut.png").write_bytes(b"\x89PNG")
    result = run("evaluate", colour_model, colours, "--out", tmp_path / "evaluation")
    assert result.exit_code == 3
    assert "cut.png" in result.stderr
    assert "12 images, 0 wrong" in result.stdout


def test_a_part_that_is_not_there_is_an_error(run, colour_model, colours: Path, tmp_path: Path):
    out = tmp_path / "evaluation"
    result = run("evaluate", colour_model, colours, "--out", out, "--split", "valid")
    assert result.exit_code == 1
    assert "has no valid part; it has: train, test" in result.stderr
    assert not out.exists()


def test_a_model_is_exported_as_a_file(run, colour_model, tmp_path: Path):
    file = tmp_path / "colours.onnx"
    result = run("export", colour_model, "--to", "onnx", "--out", file)
    assert (result.exit_code, result.stdout) == (0, f"Written: {file}\n")
    assert file.read_bytes() == (colour_model / ONNX).read_bytes()


def test_an_export_goes_over_no_file(run, colour_model, tmp_path: Path):
    file = tmp_path / "colours.onnx"
    file.write_text("keep me")
    result = run("export", colour_model, "--to", "onnx", "--out", file)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
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
        "notes": ("Nobody knows.",),
    }
    return adapt.AdaptResult(**{**values, **changes})


def test_adapting_to_labelled_images_ends_with_figures(run, monkeypatch, metrics):
    job = faked(monkeypatch, adapt, "adapt", adapted(metrics=metrics, before=metrics))
    result = run("adapt", "pbc8", "lab", "--out", "run", "--seed", "3")
    assert result.exit_code == 0, result.stderr
    assert job.call_args.args == ("pbc8", Path("lab"))
    options = {name: job.call_args.kwargs[name] for name in ("out", "unlabelled", "seed")}
    assert options == {"out": Path("run"), "unlabelled": False, "seed": 3}
    assert "10 images, 1 wrong; balanced accuracy 90.0" in result.stdout
    assert result.stdout.splitlines()[-1] == "Next: hematovision classify IMAGES --model run"


def test_adapting_without_labels_says_what_changed(run, monkeypatch):
    changes = prediction_changes(
        ("RBC", "WBC"), [0, 0], [0, 1], accepted_before=[False, False], accepted_after=[True, False]
    )
    refused = (NotAnImageError("a.jpg", "it is a text."),)
    job = faked(monkeypatch, adapt, "adapt", adapted(changes=changes, refused=refused))
    result = run("adapt", "pbc8", "lab", "--out", "run", "--unlabelled")
    assert job.call_args.kwargs["unlabelled"] is True
    assert result.exit_code == 3
    assert re.search(r"WBC +0 +1", result.stdout)
    assert "1 of 2 predictions changed. Sent for review: 100% before, 50.0% now" in result.stdout
    assert "Note: Nobody knows." in result.stdout
