"""Training in a separate process: watched while it runs, and reported correctly at the end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from hematovision.data.folders import read_dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.errors import DatasetError, OutputError, TrainingError
from hematovision.evaluation import read_metrics
from hematovision.evaluation.comparison import read_comparison
from hematovision.files import is_held
from hematovision.model.bundle import read_bundle, seal
from hematovision.retraining import run as module
from hematovision.retraining.run import (
    Retraining,
    append_event,
    events_file,
    first_event,
    lock_file,
    read_retraining,
    retrainings,
    start_retraining,
    work_folder,
)
from hematovision.retraining.worker import _overlap_note, compare_models
from quick_program import quick_path

MODEL = "rbc-wbc-platelets"


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMATOVISION_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PYTHONPATH", quick_path())
        yield


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Synthetic cells in class folders without splits, like an export."""
    root = tmp_path_factory.mktemp("training")
    write_synthetic_cells(root / "synthetic", 48, seed=5)
    for i, path in enumerate(sorted((root / "synthetic").rglob("*.png"))):
        folder = root / "cells" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"{i:016x}.png")
    return root / "cells"


def wait(retraining: Retraining, until=lambda one: one.state != "running") -> list[Retraining]:
    """Refresh until the condition holds; return all states."""
    seen, end = [retraining.refresh()], time.monotonic() + 150
    while not until(seen[-1]):
        assert time.monotonic() < end, seen[-1]
        time.sleep(0.02)
        seen.append(retraining.refresh())
    return seen


def written(folder: Path, *events: tuple[str, dict], name: str = "mine") -> Path:
    """Write the events of a training without a process."""
    out = folder / name
    path = events_file(out)
    given = {"kind": "train", "dataset": "cells", "folder": str(out), "model": None, "seed": 0}
    first_event(path, "started", **given)
    for event, values in events:
        append_event(path, event, **values)
    return path


@pytest.fixture(scope="module")
def trained(cells: Path, tmp_path_factory) -> list[Retraining]:
    """All states of a training from its start to its end."""
    out = tmp_path_factory.mktemp("models") / "mine"

    def is_over(one: Retraining) -> bool:
        # The folder appears when it is complete.
        assert one.state == "done" or one.progress.what == "comparing" or not out.exists()
        return one.state != "running"

    return wait(start_retraining("train", cells, out, model=MODEL), is_over)


def test_epochs_appear_one_by_one(trained):
    assert trained[0].state == "running"
    live = [len(one.epochs) for one in trained if one.state == "running"]
    assert any(0 < n < live[-1] for n in live), "not one by one"
    first, last = trained[-1].epochs[0], trained[-1].epochs[-1]
    assert set(first) == {"epoch", "epochs", "loss", "accuracy", "val_loss", "val_accuracy"}
    assert (first["epoch"], last["epoch"]) == (1, len(trained[-1].epochs))
    assert last["loss"] < first["loss"]


def test_progress_appears_step_by_step(trained):
    assert {"features", "head", "comparing"} <= {one.progress.what for one in trained}
    assert all(one.progress.done <= one.progress.total for one in trained)


def test_a_finished_training_is_a_run_folder(trained):
    done = trained[-1]
    assert (done.state, done.error) == ("done", "")
    assert read_bundle(done.folder).manifest.name == "mine"
    assert read_metrics(done.folder / "metrics.json").balanced_accuracy > 0.8
    names = {path.name for path in done.folder.parent.iterdir()}
    assert names == {"mine", "mine.events.jsonl", "mine.log"}
    assert done.log.read_text() == ""


def test_the_models_are_compared_on_the_cells_kept_for_testing(trained, cells: Path):
    done = trained[-1]
    data = read_dataset(cells, splits=done.folder / "split.csv")
    found = done.comparison
    assert found.n == len(data.subset("test")) == read_metrics(done.folder / "metrics.json").n
    assert (found.old.name, found.new.name) == (MODEL, "mine")
    assert found.new.errors == round(found.n * (1 - found.new.accuracy))
    assert "second" in found.verdict or "for each of the" in found.verdict
    assert "it is not known whether" in found.note
    assert "the same slide or patient" in found.note
    comparison = read_comparison(done.folder / "comparison" / "compare.json")
    assert comparison.second.balanced_accuracy == found.new.balanced_accuracy


def test_comparing_again_gives_the_same(trained, cells: Path):
    assert compare_models(MODEL, trained[-1].folder, cells) == trained[-1].comparison


def test_without_a_test_split_the_note_warns_of_a_favoured_new_model(
    trained, cells: Path, tmp_path
):
    shutil.copytree(trained[-1].folder, tmp_path / "new")
    splits = tmp_path / "new" / "split.csv"
    splits.write_text(splits.read_text().replace(",test,", ",train,"))
    seal(tmp_path / "new", also=["predictions.csv"])
    found = compare_models(MODEL, tmp_path / "new", cells)
    assert found.n == len(read_dataset(cells, splits=splits).subset("valid"))
    assert "used for early stopping and calibration" in found.note


def test_cells_that_the_old_model_was_trained_on_are_reported(tmp_path):
    old = SimpleNamespace(folder=tmp_path)
    cells = ["RBC/00000000000000aa.png", "RBC/00000000000000bb.png", "WBC/a.png", "WBC/b.png"]
    assert "it is not known whether" in _overlap_note(old, cells)[0]
    lines = ["file,split", "WBC/00000000000000aa.png,train", "RBC/00000000000000bb.png,test"]
    (tmp_path / "split.csv").write_text("\n".join([*lines, "WBC/a.png,valid", "RBC/b.png,train"]))
    # The first by its content, the third by its path.
    assert _overlap_note(old, cells) == [
        "The old model was trained on 2 of these cells, so its scores are too high."
    ]
    assert _overlap_note(old, cells[1:2]) == []


# Ends


def test_a_stopped_training_leaves_nothing(cells: Path, tmp_path):
    retraining = start_retraining("train", cells, tmp_path / "mine", model=None)
    assert retraining.state == "running"
    stopped = retraining.stop()
    assert (stopped.state, stopped.error) == ("stopped", "")
    assert not is_held(lock_file(stopped.events))
    assert not retraining.folder.exists()
    assert not work_folder(retraining.folder).exists()
    assert retraining.stop() == stopped


def test_a_killed_training_has_failed(cells: Path, tmp_path):
    retraining = start_retraining("train", cells, tmp_path / "mine", model=None)
    pid = wait(retraining, lambda one: one.pid is not None)[-1].pid
    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    failed = wait(retraining)[-1]
    assert failed.state == "failed"
    assert "ended unexpectedly" in failed.error
    assert "Start it again" in failed.error
    again = start_retraining("train", cells, tmp_path / "mine", model=None)
    assert again.state == "running"
    assert again.stop().state == "stopped"


def test_a_training_survives_its_server_and_is_found_by_the_next(cells: Path, tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from hematovision.retraining.run import start_retraining;"
        "start_retraining('train', Path(sys.argv[1]), Path(sys.argv[2]), model=None);"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules)"
    )
    out = tmp_path / "mine"
    subprocess.run([sys.executable, "-c", code, str(cells), str(out)], check=True)
    (found,) = retrainings(tmp_path)
    assert found.state == "running"
    with pytest.raises(TrainingError, match="is being trained"):
        start_retraining("train", cells, out, model=None)
    assert wait(found, lambda one: one.pid is not None)[-1].state == "running"
    assert found.stop().state == "stopped"


def test_a_process_that_never_starts_fails_after_a_while(tmp_path, monkeypatch):
    path = written(tmp_path)
    assert read_retraining(path).state == "running"
    monkeypatch.setattr(module, "_STARTING", timedelta(0))
    assert read_retraining(path).state == "failed"


def test_a_process_that_never_started_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_STOPPING", 0.1)
    assert read_retraining(written(tmp_path)).stop().state == "stopped"


def test_the_last_output_of_a_killed_process_is_shown(tmp_path):
    path = written(tmp_path, ("running", {"pid": 1}))
    (tmp_path / "mine.log").write_text("x" * 1000 + "\nMemoryError: too much\n")
    failed = read_retraining(path)
    assert failed.state == "failed"
    assert failed.error.endswith("MemoryError: too much")
    assert len(failed.error) < 600


def test_the_newest_events_are_used(tmp_path):
    path = written(
        tmp_path,
        ("running", {"pid": 1}),
        ("progress", {"done": 3, "total": 9, "what": "features"}),
        ("not compared", {"reason": "other classes"}),
        ("error", {"message": "The disk is full."}),
    )
    failed = read_retraining(path)
    assert (failed.state, failed.error) == ("failed", "The disk is full.")
    assert tuple(failed.progress) == (3, 9, "features", "")  # an event of 0.2 has no unit
    assert failed.not_compared == "other classes"
    assert failed.stop() == failed


def test_trainings_are_listed_newest_first(tmp_path):
    written(tmp_path, ("stopped", {}), name="old")
    time.sleep(0.01)
    written(tmp_path, ("done", {}), name="new")
    assert [(one.folder.name, one.state) for one in retrainings(tmp_path)] == [
        ("new", "done"),
        ("old", "stopped"),
    ]
    assert retrainings(tmp_path / "nowhere") == []


# Errors


def test_a_training_that_cannot_start_is_an_error_at_once(cells: Path, tmp_path):
    with pytest.raises(TrainingError, match="needs a model to start from"):
        start_retraining("adapt", cells, tmp_path / "a", model=None)
    with pytest.raises(DatasetError, match="no folder"):
        start_retraining("train", tmp_path / "nowhere", tmp_path / "a", model=None)
    with pytest.raises(OutputError, match="already exists"):
        start_retraining("train", cells, cells, model=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no json\n", b'{"event": "done"}\n'])
def test_another_file_is_not_a_training(tmp_path, content):
    (tmp_path / "x.events.jsonl").write_bytes(content)
    with pytest.raises(OutputError, match="is not a training's event file"):
        read_retraining(tmp_path / "x.events.jsonl")
