"""Untrusted names can't control the terminal, and closed or full streams are handled."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from colour_squares import COLOURS, write_square
from hematovision.cli import classify, progress_bar, terminal
from hematovision.errors import DatasetError

STEERING = "\x1b[2K\x1b[1A\r\x9b31m\x07\u202egnp"
"""Clears a line, goes up, returns, colours, rings, and turns the text around."""

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

posix = pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names and streams")


def plain(text: str) -> bool:
    """Whether text has no control characters."""
    return CONTROLS.search(text) is None


@pytest.fixture
def steering(tmp_path: Path) -> Path:
    """A folder with an image and a broken file whose names steer a terminal."""
    folder = tmp_path / "images"
    folder.mkdir()
    write_square(folder / f"a{STEERING}.png", COLOURS["red"], side=40)
    (folder / f"b{STEERING}\nAll images were read.png").write_bytes(b"no image")
    return folder


def test_output_is_escaped_and_colours_are_kept(capsys):
    terminal.echo("a\x1b[31m", terminal.Styled("b\r", "green"), "c\n")
    assert capsys.readouterr().out == "a\\x1b[31mb\\rc\\n\n"
    assert typer.style("b", fg="green").startswith("\x1b")


@posix
def test_lines_and_refused_images_of_classify_are_escaped(run, steering, colour_model, monkeypatch):
    monkeypatch.setattr(classify, "_is_terminal", lambda: True)
    result = run("classify", steering, "--model", colour_model)
    assert result.exit_code == terminal.FINDINGS
    assert plain(result.output)
    assert r"a\x1b[2K\x1b[1A\r\x9b31m\x07\u202egnp.png" in result.stdout
    assert r"\nAll images were read.png" in result.stderr
    assert len(result.stdout.splitlines()) == 2


@posix
@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "x", "--model", f"model{STEERING}"),
        ("classify", "x", "--out", f"table{STEERING}"),
        ("classify", f"s3://{STEERING}"),
        ("evaluate", "rbc-wbc-platelets", f"data{STEERING}", "--out", "out"),
        ("compare", "rbc-wbc-platelets", "pbc8", f"data{STEERING}"),
        ("train", f"data{STEERING}", "--out", "out"),
        ("train", "data", "--out", "out", "--fine-tune-blocks", STEERING),
        ("export", f"model{STEERING}", "--to", "onnx"),
        ("data", "check", f"data{STEERING}"),
        (f"nonsense{STEERING}",),
        (f"--nonsense{STEERING}",),
        ("models", STEERING),
    ],
)
def test_messages_of_errors_are_escaped(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code in (1, 2, 3)
    assert plain(result.output), repr(result.output)
    assert "defect" not in result.output


def test_a_traceback_is_escaped_line_by_line(capsys):
    with pytest.raises(typer.Exit), terminal.reported(debug=True):
        raise DatasetError(f"no{STEERING}\nError: all is well")
    lines = capsys.readouterr().err.splitlines()
    assert all(map(plain, lines))
    assert "Error: all is well" not in lines
    assert lines[0] == "Traceback (most recent call last):"


def test_tables_lists_and_progress_are_escaped(capsys, monkeypatch):
    terminal.show_table(["class", STEERING], [(f"x{STEERING}\ny", "1")], title=STEERING)
    terminal.show_list(STEERING, [f"x\n{STEERING}"])
    monkeypatch.setattr(progress_bar, "LOG_SECONDS", -1.0)
    with progress_bar.progress_bar() as progress:
        progress(1, 2, f"copying{STEERING}")
    out, err = capsys.readouterr()
    assert plain(out)
    assert plain(err)


def test_the_next_command_can_be_pasted_even_with_an_odd_name(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_program", lambda: "printf")
    name = "it's \\ caf\udce9\x1b\n"
    terminal.show_next("%s", name)
    line = capsys.readouterr().out.removeprefix("Next: ").rstrip("\n")
    assert plain(line)
    if Path("/bin/bash").exists():
        message = subprocess.run(["/bin/bash", "-c", line], capture_output=True, check=True).stdout
        assert message == os.fsencode(name)


def python(code: str, closing: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run the program in a shell that closes or redirects streams."""
    command = f'"$0" -c "$1" {closing}'
    program = f"import sys\nfrom hematovision.cli import main\n{code}\nmain()"
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, program], capture_output=True, check=False
    )


@posix
@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_only_hide_the_output(closing, cell_images, colour_model, tmp_path):
    table = tmp_path / "t.csv"
    arguments = ["hematovision", "classify", str(cell_images), "--model", str(colour_model)]
    done = python(f"sys.argv = {[*arguments, '--out', str(table)]!r}", closing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.split(",")[1] for line in table.read_text().splitlines()[1:]] == [
        "blue",
        "green",
        "red",
    ]
    shown = python(f"sys.argv = {arguments!r}", closing)
    assert shown.returncode == 0
    assert shown.stderr in (b"", b"3 images: 1 red, 1 green, 1 blue; 3 to review, 0 refused\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("arguments", [["models"], ["classify", "."], ["--version"]])
def test_a_full_disk_behind_stdout_is_one_message(
    arguments, cell_images, colour_model, monkeypatch
):
    monkeypatch.chdir(cell_images)
    extra = ["--model", str(colour_model)] if arguments[0] == "classify" else []
    done = python(f"sys.argv = {['hematovision', *arguments, *extra]!r}", "> /dev/full")
    assert done.returncode == 1
    message = done.stderr.decode()
    assert message.startswith("Error: standard output: No space left on device."), message
    assert len(message.splitlines()) == 1


@posix
@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["classify", "--help"]])
def test_a_reader_that_leaves_early_is_no_error(arguments):
    command = [sys.executable, "-m", "hematovision", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == terminal.CLOSED_PIPE


@posix
def test_a_locale_without_the_characters_of_a_name_is_not_a_bug(tmp_path, colour_model):
    write_square(tmp_path / "細胞.png", COLOURS["red"], side=40)
    (tmp_path / "caf\udce9.png").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "hematovision", "classify", tmp_path, "--model", colour_model],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == terminal.FINDINGS
    assert rb"caf\xe9.png: the file is empty" in done.stderr
    assert "細胞.png,red" in done.stdout.decode()


def test_commands_print_only_through_echo():
    writes = re.compile(r"typer\.(echo|secho|style)\(|\bprint\(|\.std(out|err)\.write\(")
    allowed = (
        "typer.echo(json.dumps(",  # JSON escapes control characters
        "console.print(shown(",
    )
    others = [
        f"{path.name}: {line.strip()}"
        for path in Path(terminal.__file__).parent.glob("*.py")
        if path.name != "terminal.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if writes.search(line) and not any(text in line for text in allowed)
    ]
    assert others == []
