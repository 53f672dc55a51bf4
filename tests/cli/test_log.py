"""``-v``, ``-vv`` and ``-q``: what stderr shows. The results on stdout are the same."""

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from colour_squares import COLOUR_MODEL
from hematovision.cli import log
from hematovision.cli.log import logged

LOGGER = logging.getLogger("hematovision.example")
HASH = json.loads((COLOUR_MODEL / "bundle.json").read_text())["files"]["hematovision_model.onnx"]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("HEMATOVISION_VERBOSE", "HEMATOVISION_QUIET"):
        monkeypatch.delenv(name, raising=False)


def log_all() -> None:
    LOGGER.debug("a detail")
    LOGGER.info("a fact")
    LOGGER.warning("a risk")
    LOGGER.error("a failure")


@pytest.mark.parametrize(
    ("verbosity", "lines"),
    [
        (-1, ["Error: a failure"]),
        (0, ["Warning: a risk", "Error: a failure"]),
        (1, ["a fact", "Warning: a risk", "Error: a failure"]),
    ],
)
def test_the_options_choose_the_level(capsys, verbosity, lines):
    with logged(verbosity):
        log_all()
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in lines))


def test_debugging_adds_the_time_and_the_module(capsys):
    with logged(2):
        log_all()
    first, *rest = capsys.readouterr().err.splitlines()
    time, module, message = first.split(" ", 2)
    assert len(time) == len("12:34:56.789")
    assert (module, message) == ("hematovision.example:", "a detail")
    assert len(rest) == 3


def test_a_server_logs_bare_messages(capsys):
    with logged(0, bare=True):
        log_all()
    assert capsys.readouterr().err == "a risk\na failure\n"


def test_after_a_command_logging_is_as_before(capsys):
    package = logging.getLogger("hematovision")
    before = package.level, list(package.handlers)
    with pytest.raises(ZeroDivisionError), logged(2):
        assert package.level == logging.DEBUG
        _ = 1 / 0
    assert (package.level, package.handlers) == before
    log_all()
    assert capsys.readouterr() == ("", "")


def test_other_libraries_keep_their_logs(capsys):
    with logged(2):
        logging.getLogger("another").info("chatter")
        assert logging.getLogger().level == logging.WARNING
    assert capsys.readouterr().err == ""


def test_control_characters_and_passwords_are_not_shown(capsys):
    with logged(1):
        LOGGER.info("%s from %s", "red\x1b[2K.png", "postgresql://ana:s3cret@host/records")
        LOGGER.info("s3://key@bucket/a@b.png")
    assert capsys.readouterr().err.splitlines() == [
        r"red\x1b[2K.png from postgresql://***@host/records",
        "s3://***@bucket/a@b.png",
    ]


def test_a_closed_stderr_does_not_end_the_command(monkeypatch):
    def fail(*_: object, err: bool) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(log, "echo", fail)
    with logged(1):
        LOGGER.info("a fact")


def test_threads_log_whole_lines(capsys):
    with logged(1):
        threads = [threading.Thread(target=LOGGER.info, args=(f"{n}" * 50,)) for n in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(capsys.readouterr().err.split()) == [f"{n}" * 50 for n in range(9)]


def classify(run, cells: Path, *options: str, before: tuple[str, ...] = ()):
    return run(*before, "classify", cells, "--model", COLOUR_MODEL, *options)


def test_by_default_nothing_is_logged(run, cell_images):
    result = classify(run, cell_images)
    assert result.exit_code == 0
    assert result.stderr == "3 images: 1 red, 1 green, 1 blue; 3 to review, 0 refused\n"


@pytest.mark.parametrize(
    ("before", "after"), [(("-v",), ()), ((), ("-v",)), (("--verbose",), ()), ((), ("--verbose",))]
)
def test_v_shows_the_model_its_hash_and_the_threads(run, cell_images, before, after):
    plain = classify(run, cell_images)
    result = classify(run, cell_images, *after, before=before)
    assert result.exit_code == 0
    assert result.stdout == plain.stdout
    path = COLOUR_MODEL / "hematovision_model.onnx"
    model, threads, *_ = result.stderr.splitlines()
    assert model == f"Classifier strongest-colour: {path}, SHA-256 {HASH}."
    assert threads.startswith("Images are read and processed on ")


@pytest.mark.parametrize(
    ("before", "after"), [(("-vv",), ()), (("-v",), ("-v",)), ((), ("-v", "-v")), (("-vvv",), ())]
)
def test_two_v_show_details_wherever_they_are(run, cell_images, tmp_path, before, after):
    out = tmp_path / "t.csv"
    result = classify(run, cell_images, "--out", str(out), *after, before=before)
    assert f" hematovision.files: Wrote {out}.\n" in result.stderr
    assert "hematovision.model.session: ONNX Runtime " in result.stderr
    assert "Writing the rows of 3 images into" in result.stderr


@pytest.mark.parametrize(("before", "after"), [(("-q",), ()), ((), ("--quiet",))])
def test_q_leaves_results_and_errors(run, cell_images, before, after):
    plain = classify(run, cell_images)
    result = classify(run, cell_images, *after, before=before)
    assert (result.stdout, result.stderr) == (plain.stdout, "")
    (cell_images / "broken.png").write_bytes(b"not an image")
    result = classify(run, cell_images, *after, before=before)
    assert result.exit_code == 3
    assert "broken.png" in result.stderr
    failed = run(*before, "classify", "nowhere", "--model", "no-model", *after)
    assert (failed.exit_code, failed.stderr.startswith("Error: There is no model")) == (1, True)


def test_q_hides_progress(capsys):
    from hematovision.cli.progress_bar import progress_bar
    from hematovision.progress import no_progress

    with logged(-1), progress_bar() as progress:
        assert progress is no_progress
    with logged(0), progress_bar() as progress:
        assert progress is not no_progress


@pytest.mark.parametrize("arguments", [("-v", "models", "-q"), ("models", "-q", "-v")])
def test_v_and_q_contradict_each_other(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "use either --verbose or --quiet" in result.stderr


@pytest.mark.parametrize(
    ("variables", "options", "shown"),
    [
        ({"HEMATOVISION_VERBOSE": "1"}, [], True),
        ({"HEMATOVISION_VERBOSE": "1"}, ["-q"], False),
        ({"HEMATOVISION_QUIET": "1"}, ["-v"], True),
        ({"HEMATOVISION_QUIET": "0"}, [], False),
    ],
)
def test_the_environment_sets_them_and_the_command_line_wins(
    run, cell_images, monkeypatch, variables, options, shown
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("SHA-256" in classify(run, cell_images, *options).stderr) is shown


@pytest.mark.parametrize("value", ["lots", "-1", "-5"])
def test_a_variable_that_is_no_level_is_named(run, monkeypatch, value: str):
    monkeypatch.setenv("HEMATOVISION_VERBOSE", value)
    result = run("models")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--verbose is set by the environment variable HEMATOVISION_VERBOSE." in result.stderr


def test_a_resumed_run_logs_what_was_done_before(run, cell_images, tmp_path):
    out = str(tmp_path / "t.csv")
    assert classify(run, cell_images, "--out", out, "--resume").exit_code == 0
    again = classify(run, cell_images, "--out", out, "--resume", "-v")
    assert f"3 of 3 images are in {out}.resume.\n" in again.stderr


def test_analyze_logs_the_scale_of_each_field(run, tmp_path):
    from hematovision import images
    from hematovision.synthetic.fields import render_field

    field = tmp_path / "fields" / "one.png"
    field.parent.mkdir()
    images.write(field, render_field(5).image)
    (field.parent / "two.png").write_bytes(b"nothing")
    out = tmp_path / "out"
    result = run("analyze", field.parent, "--out", out, "--rbc-diameter", "36", "-v")
    scale = f"{field}: red cells are 36.0 pixels wide (scale from --rbc-diameter); "
    assert scale in result.stderr
    assert f"{field.parent / 'two.png'}: refused: " in result.stderr
    assert "Analysing 2 images and regions took " in result.stderr
    assert scale not in result.stdout


IMPORTED = """
import logging, pkgutil, importlib, sys
mine = logging.StreamHandler(sys.stdout)
logging.getLogger().addHandler(mine)
import hematovision
names = ["fields.analyzer", "workflows.analyze", "workflows.classify", "tables.store", "client"]
for name in names:
    importlib.import_module(f"hematovision.{name}")
package = logging.getLogger("hematovision")
assert logging.getLogger().handlers == [mine], logging.getLogger().handlers
assert [type(one).__name__ for one in package.handlers] == ["NullHandler"]
assert (package.level, package.propagate, logging.getLogger().level) == (0, True, 30)
children = [one for name, one in logging.root.manager.loggerDict.items()
            if name.startswith("hematovision.") and isinstance(one, logging.Logger)]
assert children and not any(one.handlers or one.level for one in children)
logging.getLogger("hematovision.files").warning("seen by the user's handler")
"""


def test_importing_the_package_configures_no_logging():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "seen by the user's handler\n"), done.stderr
    assert done.stderr == ""
