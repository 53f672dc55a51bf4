"""Progress is drawn where somebody looks, told now and then where nobody does, never on stdout."""

import io
import sys

import pytest

from hematovision.cli import screen
from hematovision.progress import no_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_each_piece_of_work_has_its_bar(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with screen.drawn_progress() as progress:
        progress(1, 4, "computing features")
        progress(4, 4, "computing features")
        progress(3, 15, "training")
    drawn = terminal.getvalue()
    assert "Computing features" in drawn
    assert "4/4" in drawn
    assert "Training" in drawn
    assert "3/15" in drawn
    assert capsys.readouterr().out == ""


def test_a_total_that_becomes_known_late_is_taken(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with screen.drawn_progress() as progress:
        progress(1, 1, "downloading")
        progress(2, 9, "downloading")
    assert "2/9" in terminal.getvalue()


def test_in_a_log_short_work_says_nothing(capsys):
    with screen.drawn_progress() as progress:
        for done in range(100):
            progress(done, 100, "training")
    assert capsys.readouterr() == ("", "")


def test_in_a_log_long_work_says_a_line_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 11.0, 11.0, 12.0, 22.0, 22.0])
    monkeypatch.setattr(screen.time, "monotonic", lambda: next(clock))
    with screen.drawn_progress() as progress:
        for done in range(1, 5):
            progress(done, 100, "training")
    assert capsys.readouterr() == ("", "Training: 2 of 100\nTraining: 4 of 100\n")


def test_hidden_progress_tells_nobody():
    with screen.drawn_progress(hidden=True) as progress:
        assert progress is no_progress
        progress(1, 2, "anything")


@pytest.mark.parametrize(("count", "last"), [(3, "  c2"), (5, "  ... and 2 more")])
def test_a_long_list_says_how_many_more_there_are(capsys, count, last):
    screen.show_list("Found:", (f"c{i}" for i in range(count)), most=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "Found:"
    assert err.splitlines()[-1] == last


def test_brackets_in_a_table_are_text_not_markup(capsys):
    screen.show_table(("class", "n"), [("[bold]RBC", "3")])
    assert "[bold]RBC" in capsys.readouterr().out


def test_the_next_command_can_be_copied_as_it_stands(capsys, monkeypatch):
    monkeypatch.setattr(screen.shutil, "which", lambda name: "somewhere")
    screen.show_next("train", "my cells", "--out", "RUN")
    assert capsys.readouterr().out == "Next: hematovision train 'my cells' --out RUN\n"


def test_the_program_is_named_by_its_place_where_its_name_alone_is_not_found(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(screen.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    screen.show_next("models")
    assert capsys.readouterr().out == f"Next: {tmp_path / '.venv/bin/hematovision'} models\n"
    monkeypatch.chdir(tmp_path)
    screen.show_next("models")
    assert capsys.readouterr().out == "Next: .venv/bin/hematovision models\n"
