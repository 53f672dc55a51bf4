"""Progress is shown in terminals, logged elsewhere, and never on stdout."""

import ast
import io
import re
import sys
from pathlib import Path

import pytest

from hematovision.cli import progress_bar as module
from hematovision.cli import terminal as output
from hematovision.cli.progress_bar import progress_bar
from hematovision.progress import EpochProgress, no_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The current time, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def open_terminal(monkeypatch, columns: int = 100) -> Terminal:
    """Replace stderr by a terminal; no fixture, because pytest replaces stderr again per call."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    return found


def test_each_task_has_a_bar_in_a_terminal(monkeypatch, capsys):
    terminal = open_terminal(monkeypatch)
    with progress_bar() as progress:
        progress(1, 4, "computing features")
        progress(4, 4, "computing features")
        progress(3, 15, "training")
    lines_shown = terminal.getvalue()
    assert "Computing features 4 of 4" in lines_shown
    assert "Training 3 of 15" in lines_shown
    assert capsys.readouterr().out == ""


def test_a_total_may_become_known_later(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with progress_bar() as progress:
        progress(1, 0, "downloading")
        progress(2, 9, "downloading")
    assert "Downloading 2 of 9" in terminal.getvalue()


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_no_terminal_is_too_narrow_for_one_line(clock, monkeypatch, columns):
    terminal = open_terminal(monkeypatch, columns)
    with progress_bar() as progress:
        progress(0, 20_000, "Classifying", "images")
        clock[0] = 10.0
        progress(2_100, 20_000, "Classifying", "images")
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    lines_shown = [line for line in lines if line.strip()]
    assert all(line.startswith(("\rClassif", "Classif")) for line in lines_shown)
    assert all(len(line.strip("\r")) <= columns for line in lines_shown)
    if columns >= 80:
        assert "Classifying 2,100 of 20,000 images, 210 images/s, 1:26 left" in lines_shown[-1]


def test_the_rate_is_that_of_the_last_half_minute(clock):
    rate = module._Rate("classifying", "images")
    assert rate.sentence(1, 20_000) == "Classifying 1 of 20,000 images"
    for second in range(1, 101):
        clock[0] = float(second)
        done = min(second, 50) * 10 + max(0, second - 50) * 100
        line = rate.sentence(done, 20_000)
    assert line == "Classifying 5,500 of 20,000 images, 100 images/s, 2:25 left"
    clock[0] = 245.2
    line = "Classifying 20,000 of 20,000 images, 82 images/s, took 4:06"
    assert rate.sentence(20_000, 20_000) == line


def test_slow_work_and_work_without_a_total_have_a_rate_too(clock):
    slow, endless = module._Rate("training"), module._Rate("downloading")
    assert slow.sentence(0, 4000) == "Training 0 of 4,000"
    assert endless.sentence(0, 0) == "Downloading 0"
    clock[0] = 4.0
    assert slow.sentence(2, 4000) == "Training 2 of 4,000, 0.5/s, 2:13:16 left"
    assert endless.sentence(80, 0) == "Downloading 80, 20/s"


def test_short_tasks_log_nothing(capsys):
    with progress_bar() as progress:
        for done in range(100):
            progress(done, 100, "training")
    assert capsys.readouterr() == ("", "")


def test_long_tasks_log_a_line_every_ten_seconds(capsys, clock):
    with progress_bar() as progress:
        for done, now in enumerate([5.0, 11.0, 12.0, 22.0], 1):
            clock[0] = now
            progress(done, 100, "training")
    line = "Training 2 of 100, 0.2/s, 9:48 left\nTraining 4 of 100, 0.2/s, 9:04 left\n"
    assert capsys.readouterr() == ("", line)


def test_hidden_progress_shows_nothing():
    with progress_bar(hidden=True) as progress:
        assert progress is no_progress
        progress(1, 2, "anything")


@pytest.mark.parametrize(("count", "last"), [(3, "  c2"), (5, "  ... and 2 more")])
def test_a_long_list_ends_with_the_number_left_out(capsys, count, last):
    output.show_list("Found:", (f"c{i}" for i in range(count)), most=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "Found:"
    assert err.splitlines()[-1] == last


def test_brackets_in_a_table_are_text_not_markup(capsys):
    output.show_table(("class", "n"), [("[bold]RBC", "3")])
    assert "[bold]RBC" in capsys.readouterr().out


def test_the_next_command_can_be_copied_as_it_stands(capsys, monkeypatch):
    monkeypatch.setattr(output.shutil, "which", lambda name: "somewhere")
    output.show_next("train", "my cells", "--out", "RUN")
    assert capsys.readouterr().out == "Next: hematovision train 'my cells' --out RUN\n"


def test_the_next_command_uses_the_path_if_the_program_is_not_found(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(output.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    output.show_next("models")
    assert capsys.readouterr().out == f"Next: {tmp_path / '.venv/bin/hematovision'} models\n"
    monkeypatch.chdir(tmp_path)
    output.show_next("models")
    assert capsys.readouterr().out == "Next: .venv/bin/hematovision models\n"


EPOCH = {
    "epoch": 3.0,
    "epochs": 15.0,
    "loss": 0.21337,
    "accuracy": 0.9312,
    "val_loss": 0.25,
    "val_accuracy": 0.5,
}
EPOCH_LINE = (
    "Training the head: epoch 3/15, loss 0.2134, accuracy 93.1%, validation loss 0.2500, "
    "validation accuracy 50.0%\n"
)


def test_every_epoch_is_shown_with_its_metrics(capsys):
    with progress_bar() as progress:
        assert isinstance(progress, EpochProgress)
        progress.epoch(EPOCH, "head")
        progress.epoch({"epoch": 1.0, "epochs": 2.0, "loss": 1.5}, "fine-tuning")
    captured = capsys.readouterr()
    assert captured.err == EPOCH_LINE + "Fine-tuning: epoch 1/2, loss 1.5000\n"
    assert captured.out == ""


def test_in_a_terminal_epochs_stay_above_the_bars(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with progress_bar() as progress:
        progress(30, 150, "head")
        assert isinstance(progress, EpochProgress)
        progress.epoch(EPOCH, "head")
    assert EPOCH_LINE.strip() in re.sub(r"\s+", " ", terminal.getvalue())


def test_batches_are_called_batches(clock, capsys):
    with progress_bar() as progress:
        progress(0, 100, "head", "batches")
        clock[0] = 20.0
        progress(50, 100, "head", "batches")
    line = "Training the head 50 of 100 batches, 2.5 batches/s, 0:20 left\n"
    assert capsys.readouterr().err == line


def test_a_unit_that_ends_the_title_is_not_repeated(clock):
    rate = module._Rate("Analysing fields", "fields")
    rate.sentence(0, 1_200)
    clock[0] = 4.0
    assert rate.sentence(312, 1_200) == "Analysing fields 312 of 1,200, 78 fields/s, 0:12 left"


def test_bytes_are_shown_in_megabytes(clock):
    known, unknown = module._Rate("Downloading", "bytes"), module._Rate("Downloading", "bytes")
    assert known.sentence(0, 340_000_000) == "Downloading 0.0 of 340.0 MB"
    unknown.sentence(0, 0)
    clock[0] = 10.0
    line = "Downloading 31.5 of 340.0 MB, 3.1 MB/s, 1:39 left"
    assert known.sentence(31_460_000, 340_000_000) == line
    assert unknown.sentence(1_234_000_000, 0) == "Downloading 1,234.0 MB, 123 MB/s"


def test_every_step_of_the_package_has_a_unit():
    missing, found = [], set()
    for path in sorted(Path(module.__file__).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 3:
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in ("progress", "_progress"):
                is_complete = len(node.args) == 4 or isinstance(node.args[-1], ast.Starred)
                missing += [] if is_complete else [f"{path.name}:{node.lineno}"]
                found |= {one.value for one in node.args[3:] if isinstance(one, ast.Constant)}
    assert not missing
    assert found == {
        "batches", "bytes", "cells", "fields", "files", "folds", "heads", "images", "rows",
        "settings",
    }  # fmt: skip
