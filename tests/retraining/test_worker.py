"""The training process, run inside the test."""

import shutil
from pathlib import Path

import pytest

from colour_squares import COLOUR_MODEL, write_squares
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.bundle import read_bundle
from hematovision.model.registry import find_model
from hematovision.retraining import worker
from hematovision.retraining.run import append_event, events_file, first_event, read_retraining
from hematovision.retraining.worker import _classes_note, _verdict, compare_adapted
from hematovision.workflows import adapt as adapt_job
from hematovision.workflows import train as train_job

MODEL = "rbc-wbc-platelets"


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMATOVISION_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def train_model(kind: str, dataset: Path, out: Path, model: str | Path | None):
    """Run in this process instead of a separate one."""
    events = events_file(out)
    given = {"dataset": str(dataset), "folder": str(out), "seed": 0}
    first_event(events, "started", kind=kind, model=model and str(model), **given)
    code = worker.main([str(events)])
    return code, read_retraining(events)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapting")
    write_synthetic_cells(root / "synthetic", 12, seed=8)
    for path in sorted((root / "synthetic").rglob("*.png")):
        folder = root / "cells" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    (root / "mine").mkdir()  # An empty folder is allowed.
    return train_model("adapt", root / "cells", root / "mine", MODEL)


def test_adapting_compares_both_models_on_the_same_cells(adapted):
    code, done = adapted
    assert (code, done.state, done.epochs) == (0, "done", ())
    found = done.comparison
    assert found.n == 12
    assert (found.old.name, found.new.name) == (MODEL, "mine")
    assert "cross-validation" in found.note
    assert f"adapted model predicts {12 - found.new.errors} correctly" in found.verdict
    assert read_bundle(done.folder).taxonomy.name == MODEL
    assert not [p for p in done.folder.parent.iterdir() if p.name.startswith(".")]


def test_a_dataset_that_is_too_small_is_an_error(tmp_path):
    write_synthetic_cells(tmp_path / "synthetic", 1, seed=1)
    code, failed = train_model("train", tmp_path / "synthetic", tmp_path / "mine", None)
    assert (code, failed.state) == (1, "failed")
    assert failed.error
    assert "Traceback" not in failed.error
    assert not failed.folder.exists()


def test_too_few_cells_to_adapt_to_are_an_error(tmp_path):
    write_synthetic_cells(tmp_path / "synthetic", 2, seed=1)
    code, failed = train_model("adapt", tmp_path / "synthetic", tmp_path / "mine", MODEL)
    assert (code, failed.state) == (1, "failed")
    assert "images" in failed.error


def test_a_training_stopped_before_its_start_does_not_start(tmp_path):
    events = events_file(tmp_path / "mine")
    given = {"dataset": "cells", "folder": str(tmp_path / "mine"), "model": None, "seed": 0}
    first_event(events, "started", kind="train", **given)
    append_event(events, "stopped")
    assert worker.main([str(events)]) == 0
    assert read_retraining(events).pid is None


@pytest.mark.parametrize(
    ("model", "taxonomy"), [("pbc8", "pbc8"), (COLOUR_MODEL, "folders"), (None, None)]
)
def test_a_training_keeps_the_classes_of_the_old_model(tmp_path, monkeypatch, model, taxonomy):
    """If the two can't be compared, there is still a new model, and the reason."""
    used = []

    def train(dataset, run, options, progress):
        used.append(options.taxonomy)
        shutil.copytree(COLOUR_MODEL, run)
        shutil.copy(write_splits(dataset), run)

    monkeypatch.setattr(train_job, "train", train)
    squares = write_squares(tmp_path / "squares")
    code, done = train_model("train", squares, tmp_path / "mine", model)
    assert used == [taxonomy]
    assert (code, done.state, done.comparison) == (0, "done", None)
    assert done.folder.is_dir()
    assert bool(done.not_compared) == (model is not None)


def write_splits(dataset: Path) -> Path:
    path = dataset / "split.csv"
    path.write_text("file,split\n")
    return path


def test_a_training_without_an_old_model_compares_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(train_job, "train", lambda _data, run, _how, progress: run.mkdir())
    code, done = train_model("train", tmp_path, tmp_path / "mine", None)
    assert (code, done.state, done.comparison, done.not_compared) == (0, "done", None, "")


def test_other_classes_are_named():
    bundles = read_bundle(find_model(MODEL)), read_bundle(COLOUR_MODEL)
    (note,) = _classes_note(bundles)
    assert note == "The classes differ: RBC, WBC, Platelets and red, green, blue."
    assert _classes_note(bundles[:1] * 2) == []


def test_without_labels_there_is_no_comparison():
    result = adapt_job.AdaptResult(Path(), Path(), 0, None, None, None, (), ())
    assert compare_adapted(MODEL, result) is None


class Known:
    def __init__(self, errors: int, low: float, high: float) -> None:
        self.n, self.errors, self.intervals = 100, errors, {"accuracy": (low, high)}


def test_a_model_is_called_better_only_if_the_intervals_do_not_overlap():
    bad, good, middling = Known(40, 0.5, 0.69), Known(3, 0.91, 0.99), Known(25, 0.65, 0.82)
    assert _verdict(bad, good).startswith("The adapted model is better. Of 100 cells")
    assert _verdict(good, bad).startswith("The old model is better.")
    assert _verdict(bad, middling).startswith("No significant difference")
