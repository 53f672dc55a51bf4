"""The program as a whole: its help, its exit codes and its error messages."""

import errno
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import hematovision
from hematovision.cli import datasets, terminal, train
from hematovision.cli.program import main
from hematovision.errors import DatasetError

COMMANDS = [
    ["demo"],
    ["data"],
    ["data", "import"],
    ["data", "check"],
    ["data", "synthesize"],
    ["data", "download"],
    ["train"],
    ["adapt"],
    ["compare"],
    ["analyze"],
    ["features"],
    ["evaluate"],
    ["classify"],
    ["export"],
    ["models"],
    ["config"],
    ["app"],
    ["serve"],
]
HEAVY = (
    "numpy",
    "onnxruntime",
    "tensorflow",
    "keras",
    "pandas",
    "PIL",
    "rich",
    "hematovision.images",
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: hematovision {' '.join(command)}")
    assert "Error" not in result.output


def test_the_help_lists_every_command_with_a_whole_sentence(run):
    lines = run("--help").stdout.partition("Commands:")[2].strip().splitlines()
    listed = {line.split()[0]: line for line in lines}
    assert set(listed) == {command[0] for command in COMMANDS}
    assert all(line.endswith(".") and not line.endswith("..") for line in lines)


def test_the_version_is_that_of_the_package(run):
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"hematovision {hematovision.__version__}\n")


# typer imports pydantic for the options of a command.
@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], (*HEAVY, "pydantic")),
        (["--version"], (*HEAVY, "pydantic")),
        (["train", "--help"], HEAVY),
    ],
)
def test_help_imports_no_heavy_library(arguments, heavy):
    code = (
        "import sys\nfrom hematovision.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_the_program_runs_as_a_module_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hematovision", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("hematovision", run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out == f"hematovision {hematovision.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["classify"],
        ["train", "somewhere"],
        ["train", "somewhere", "--out", "run", "--epochs", "0"],
        ["train", "somewhere", "--out", "run", "--fine-tune-blocks", "18"],
        ["data", "import", "a"],
        ["data", "import", "a", "b", "--format", "excel"],
        ["evaluate", "m", "d", "--out", "o", "--split", "half"],
        ["export", "m", "--to", "pickle"],
        ["classify", "a.jpg", "--out", "table.xlsx"],
    ],
)
def test_wrong_usage_exits_with_two_and_prints_the_usage(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: hematovision" in result.stderr
    assert "Traceback" not in result.output


def test_the_kinds_of_table_are_named_when_another_is_asked_for(run):
    assert "must end in one of .csv, .jsonl, .parquet" in run(
        "classify", "a.jpg", "--out", "table.xlsx"
    ).stderr.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", ""],
        ["classify", "a.png", ""],
        ["classify", "a.png", "--out", ""],
        ["classify", "a.png", "--out="],
        ["classify", "a.png", "--model", ""],
        ["train", "", "--out", "run"],
        ["data", "check", ""],
        ["evaluate", "pbc8", "cells", "--out", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "an argument is empty, perhaps from an unset variable" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_numpy_does_not_take_is_wrong_usage(run):
    assert run("train", "cells", "--out", "run", "--seed", 2**32).exit_code == 2


def test_a_line_break_in_a_name_makes_no_line_of_its_own(run, tmp_path):
    result = run("data", "check", tmp_path / "no\nError: all is well")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert r"no\nError: all is well" in line


def test_the_lines_of_a_download_message_are_kept(run, tmp_path):
    lines = run("data", "download", "nonsense", tmp_path / "new").stderr.splitlines()
    assert lines[0] == "Error: There is no public dataset 'nonsense'. Known datasets:"
    assert all(line.startswith("  ") for line in lines[1:-1])


@pytest.mark.parametrize(("text", "blocks"), [("1", 1), ("17", 17), ("all", None)])
def test_a_number_of_blocks_or_all(text, blocks):
    assert train._blocks(text) == blocks


@pytest.mark.parametrize("text", ["0", "18", "-1", "1.5", "\u0661", ""])
def test_an_invalid_number_of_blocks_is_wrong_usage(text):
    with pytest.raises(typer.BadParameter, match="from 1 to 17, or all"):
        train._blocks(text)


def fail_with(monkeypatch, error: BaseException):
    """Let `hematovision data check` fail in this way."""

    def fail(*_):
        raise error

    monkeypatch.setattr(datasets, "_read_listable", fail)


def test_an_expected_error_is_one_message_without_a_traceback(run, monkeypatch):
    fail_with(monkeypatch, DatasetError("There are no images in x. Add some."))
    result = run("data", "check", "x")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: There are no images in x. Add some.\n"


def test_debug_shows_where_it_came_from(run, monkeypatch):
    fail_with(monkeypatch, DatasetError("There are no images in x."))
    result = run("--debug", "data", "check", "x")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: There are no images in x.\n")


def test_debug_can_be_set_in_the_environment(run, monkeypatch):
    fail_with(monkeypatch, DatasetError("no"))
    monkeypatch.setenv("HEMATOVISION_DEBUG", "1")
    assert "Traceback" in run("data", "check", "x").stderr


def test_an_unexpected_error_is_called_a_bug_and_shown_in_full(run, monkeypatch):
    fail_with(monkeypatch, RuntimeError("index 7"))
    result = run("data", "check", "x")
    assert result.exit_code == 1
    assert "RuntimeError: index 7" in result.stderr
    assert "This is a bug in HematoVision" in result.stderr


def test_system_errors_are_reported_without_a_traceback(run, monkeypatch):
    fail_with(monkeypatch, PermissionError(13, "Permission denied", "secret.png"))
    result = run("data", "check", "x")
    assert result.exit_code == 1
    assert "Error: secret.png: Permission denied." in result.stderr
    assert "Traceback" not in result.stderr


def test_control_c_exits_as_shells_expect(run, monkeypatch):
    fail_with(monkeypatch, KeyboardInterrupt())
    result = run("data", "check", "x")
    assert result.exit_code == terminal.INTERRUPTED == 130
    assert result.stderr == "Error: Stopped by Ctrl-C.\n"


def test_control_c_while_an_extension_loads_is_no_bug(run, monkeypatch):
    failed = ImportError("initialization failed")  # as pybind11 raises it
    failed.__cause__ = KeyboardInterrupt()
    fail_with(monkeypatch, failed)
    result = run("data", "check", "x")
    assert (result.exit_code, result.stderr) == (130, "Error: Stopped by Ctrl-C.\n")
    fail_with(monkeypatch, ImportError("no module"))
    result = run("data", "check", "x")
    assert (result.exit_code, "This is a bug" in result.stderr) == (1, True)


def test_the_entry_point_leaves_with_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["anything", "nonsense"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "No such command 'nonsense'" in capsys.readouterr().err


def test_a_broken_pipe_prints_no_error(run, monkeypatch):
    fail_with(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = run("data", "check", "x")
    assert (result.exit_code, result.output) == (terminal.CLOSED_PIPE, "")


def test_too_little_memory_is_not_a_bug(run, monkeypatch):
    fail_with(monkeypatch, MemoryError())
    result = run("data", "check", "x")
    assert result.exit_code == 1
    assert "Error: There is not enough memory" in result.stderr
    assert "defect" not in result.stderr


def test_a_closed_pipe_ends_the_program_quietly(colour_model, cell_images: Path):
    command = [
        sys.executable,
        "-m",
        "hematovision",
        "classify",
        cell_images,
        "--model",
        colour_model,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == terminal.CLOSED_PIPE == 141


def test_control_c_while_the_program_loads_prints_no_traceback():
    code = (
        "import builtins, sys\n"
        "from hematovision.cli import main\n"
        "loading = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name == 'typer': raise KeyboardInterrupt\n"
        "    return loading(name, *rest)\n"
        "builtins.__import__ = stop\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
