"""A run folder has its figures as files, the same bytes each time."""

import io

import numpy as np
import pytest
from PIL import Image

from hematovision.errors import OutputError
from hematovision.reporting import write_figure_files

BOTH = {
    f"{name}.{kind}" for name in ("accuracy_loss", "confusion_matrix") for kind in ("svg", "png")
}


def test_curves_and_confusion_matrix_are_svg_and_png(tmp_path, metrics, history):
    write_figure_files(tmp_path / "run", metrics, history)
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert set(files) == {*BOTH, "classification_report.csv"}
    curves = files["accuracy_loss.svg"].decode()
    for word in ("Accuracy", "Loss", "training", "validation", "kept: epoch 3", "epoch"):
        assert f">{word}</text>" in curves
    matrix = files["confusion_matrix.svg"].decode()
    for word in ("Confusion matrix, 300 images", "predicted class", "true class", "195", "RBC"):
        assert f">{word}</text>" in matrix
    for name in ("accuracy_loss.png", "confusion_matrix.png"):
        image = Image.open(io.BytesIO(files[name]))
        assert min(image.size) > 500
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_same_figures_are_the_same_bytes(tmp_path, metrics, history):
    for folder in ("a", "b"):
        write_figure_files(tmp_path / folder, metrics, history)
    for name in BOTH:
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("a", "b"))
        assert one == two
        assert b"2026" not in one[:2000]
        assert b"Matplotlib v" not in one


def test_without_a_history_there_are_no_curves(tmp_path, metrics):
    write_figure_files(tmp_path, metrics)
    assert {path.stem for path in tmp_path.iterdir()} == {
        "confusion_matrix",
        "classification_report",
    }


def test_a_history_of_the_loss_alone_is_one_panel(tmp_path, metrics):
    write_figure_files(tmp_path, metrics, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.3}])
    curves = (tmp_path / "accuracy_loss.svg").read_text()
    assert ">Loss</text>" in curves
    assert ">Accuracy</text>" not in curves
    assert ">validation</text>" not in curves


def test_a_place_that_cannot_be_written_is_an_error(tmp_path, metrics):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError):
        write_figure_files(tmp_path / "run", metrics)
