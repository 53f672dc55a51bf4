"""Only one run at a time fills a folder, and a killed run leaves no model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from colour_squares import COLOUR_MODEL, write_squares
from hematovision.cli.program import program
from hematovision.data.folders import read_dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.errors import ModelNotFoundError, OutputError
from hematovision.model.bundle import read_bundle
from hematovision.model.registry import find_model
from hematovision.workflows.outputs import LOCK, claimed_folder, held_folder
from quick_program import QUICK_PROGRAM
from workflows.random_model import fill_run_folder

TESTS = Path(__file__).resolve().parents[1]
PATHS = {"PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])}


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **PATHS, "HEMATOVISION_DEVICE": "cpu", **environment},
    )


def program_started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return started(*QUICK_PROGRAM[1:], *arguments, **environment)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outputs") / "cells"
    write_synthetic_cells(root, 60, seed=2)
    return root


HOLDER = """
import sys, time
from pathlib import Path
from hematovision.workflows.outputs import claimed_folder
with claimed_folder(Path(sys.argv[1])) as folder:
    (folder / "metrics.json").write_text("half")
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that works in ``run``."""
    process = started("-c", HOLDER, tmp_path / "run", 60)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "command",
    [
        ["train", "CELLS", "--out", "RUN"],
        ["evaluate", COLOUR_MODEL, "SQUARES", "--out", "RUN"],
        ["adapt", "rbc-wbc-platelets", "CELLS", "--out", "RUN"],
        ["compare", "rbc-wbc-platelets", "pbc8", "CELLS", "--out", "RUN"],
    ],
    ids=lambda command: command[0],
)
def test_a_second_run_into_one_folder_is_refused(command, holder, cells, tmp_path):
    places = {"CELLS": cells, "RUN": tmp_path / "run", "SQUARES": tmp_path / "squares"}
    write_squares(tmp_path / "squares")
    result = CliRunner().invoke(program, [str(places.get(word, word)) for word in command])
    assert result.exit_code == 1
    assert f"Another run is using the folder {tmp_path / 'run'}" in result.stderr
    assert "choose another folder with --out" in result.stderr
    assert (tmp_path / "run" / "metrics.json").read_text() == "half"
    assert holder.poll() is None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The features of `cells`, once a training has computed them."""
    return str(tmp_path_factory.mktemp("features"))


def test_of_two_trainings_into_one_folder_one_fails_and_the_other_is_complete(
    cells, cache, tmp_path
):
    command = ("train", cells, "--out", tmp_path / "run", "--epochs", 1)
    both = [program_started(*command, HEMATOVISION_CACHE=cache) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    (refused,) = (
        err for process, (_, err) in zip(both, outputs, strict=True) if process.returncode
    )
    assert "Another run is using the folder" in refused
    assert read_bundle(tmp_path / "run").name == "run"
    assert not (tmp_path / "run" / LOCK).exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(
    "moment",
    [LOCK, "hematovision_model.onnx", pytest.param("predictions.csv", marks=pytest.mark.slow)],
)
def test_a_killed_training_leaves_no_model_and_the_same_command_works_again(
    moment, cells, cache, tmp_path
):
    out = tmp_path / "run"
    command = ("train", cells, "--out", out, "--epochs", 1)
    process = program_started(*command, HEMATOVISION_CACHE=cache)
    deadline = time.monotonic() + 240
    while not (out / moment).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert (out / LOCK).exists()
    assert not (out / "bundle.json").exists()
    with pytest.raises(ModelNotFoundError, match="training did not finish, or this is not a run"):
        find_model(out)
    tried = CliRunner().invoke(program, ["classify", str(cells), "--model", str(out)])
    assert tried.exit_code == 1
    if moment != "predictions.csv":
        return  # Training again takes seconds, so only one case does it.
    again = program_started(*command, HEMATOVISION_CACHE=cache)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    listed = json.loads((out / "bundle.json").read_text())["files"]
    assert {path.name for path in out.iterdir()} == {*listed, "bundle.json"}
    read_bundle(out)


def test_bundle_json_is_written_last(cells, tmp_path, monkeypatch, without_figures):
    run, left = tmp_path / "run", []
    replace = Path.replace

    def replaced(path: Path, target: Path) -> Path:
        # What a process leaves that is killed just before it moves its next file into place.
        if target.is_relative_to(run):
            left.append(shutil.copytree(run, tmp_path / f"killed {len(left)}"))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    fill_run_folder(run, read_dataset(cells), monkeypatch)
    monkeypatch.undo()
    whole = json.loads((run / "bundle.json").read_text())["files"]
    assert len(left) == len(whole) + 1  # every file and the manifest
    read_bundle(run)
    for step, folder in enumerate(left):
        there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        assert len(there) == step
        assert there <= set(whole)
        with pytest.raises(ModelNotFoundError, match="training did not finish"):
            find_model(folder)
        with claimed_folder(folder):
            assert [path.name for path in folder.iterdir()] == [LOCK]


def test_only_the_files_of_a_killed_run_are_removed(holder, tmp_path):
    run = tmp_path / "run"
    (run / ".report.html.0123abcd").write_text("half")
    holder.kill()
    holder.communicate()
    with claimed_folder(run):
        assert [path.name for path in run.iterdir()] == [LOCK]
    (run / LOCK).touch()
    (run / "metrics.json").touch()
    (run / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"), claimed_folder(run):
        pytest.fail("entered")
    assert (run / "notes.txt").read_text() == "mine"


def test_a_whole_model_is_kept_though_its_run_was_killed_at_the_very_end(tmp_path):
    for name in (LOCK, "bundle.json", "metrics.json"):
        (tmp_path / name).write_text(name)
    with pytest.raises(OutputError, match="not empty"), claimed_folder(tmp_path):
        pytest.fail("entered")
    assert (tmp_path / "bundle.json").read_text() == "bundle.json"
    assert (tmp_path / "metrics.json").exists()


def test_a_run_that_fails_leaves_neither_files_nor_the_folder_it_made(tmp_path):
    def fail(folder: Path) -> None:
        with claimed_folder(folder):
            (folder / "history.csv").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "new" / "run")
    assert not (tmp_path / "new" / "run").exists()
    (tmp_path / "made").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_file_system_without_locks_is_an_error_that_names_the_place(tmp_path, monkeypatch):
    def refuse(stream, flags):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OutputError, match=r"Cannot write .*lock: No locks available"):
        held_folder(tmp_path).__enter__()


def test_two_demos_do_not_clear_each_others_folder(holder, tmp_path):
    result = CliRunner().invoke(program, ["demo", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "Another run is using the folder" in result.stderr


def test_results_may_not_be_in_the_input_folder(tmp_path: Path):
    read = tmp_path / "cells"
    read.mkdir()
    for place in (read / "run", read / "Test" / "run", tmp_path / "cells" / ".." / "cells" / "x"):
        with pytest.raises(OutputError, match=r"inside the input.*outside .*cells with --out"):
            claimed_folder(place, inputs=[read]).__enter__()
    assert list(read.iterdir()) == []
    with claimed_folder(tmp_path / "cells-run", inputs=[read, tmp_path / "gone"]):
        pass
