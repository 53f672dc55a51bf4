"""The commands of docs/tutorial.md run in order and print what the page shows."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from quick_program import QUICK_PROGRAM

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
STEPS = re.findall(r"(?ms)^```(sh|python)\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE)


def shape(text: str) -> list[str]:
    """The lines of a text, without the numbers, which differ a little between processors."""
    lines = [re.sub(r"\d+([.,]\d+)*", "#", line) for line in text.splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which all steps were taken, and what each printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    environment = {**os.environ, "COLUMNS": "130", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # Messages then name the program without its folder.
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join((programs, environment["PATH"]))
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    printed = []
    for language, code, _ in STEPS:
        command = [sys.executable, "-c", code]
        if language == "sh":
            command = [*QUICK_PROGRAM, *shlex.split(code)[1:]]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return folder, printed


def test_the_tutorial_has_its_steps():
    commands = [code.split()[1] for language, code, _ in STEPS if language == "sh"]
    assert commands == ["data", "analyze", "classify", "train", "classify"]
    assert [language for language, *_ in STEPS].count("python") == 1
    assert len(re.findall(r"(?m)^```(?:sh|python)$", PAGE)) == len(STEPS)


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_step_prints_what_the_page_shows(followed: tuple[Path, list[str]], step: int):
    _, printed = followed
    assert shape(printed[step]) == shape(STEPS[step][2])


def test_the_confidences_of_the_tutorial_are_those_of_its_model(followed: tuple[Path, list[str]]):
    _, printed = followed
    found, shown = (
        [int(number) for number in re.findall(r"WBC (\d+)% accepted", text)]
        for text in (printed[5], STEPS[5][2])
    )
    assert len(found) == 3
    assert found == pytest.approx(shown, abs=5)


def test_the_counts_of_the_tutorial_are_those_of_the_fields(followed: tuple[Path, list[str]]):
    folder, printed = followed
    with (folder / "results" / "fields.csv").open(newline="") as stream:
        fields = list(csv.DictReader(stream))
    assert len(fields) == 10
    red, white, platelets = (
        sum(int(row[name]) for row in fields) for name in ("rbc", "wbc", "platelets")
    )
    assert f"10 fields: {red} RBC, {white} WBC, {platelets} Platelets" in printed[1]
    assert abs(red - 189) <= 2
    assert len(list((folder / "results" / "overlays").iterdir())) == 10


def test_the_trained_model_is_right(followed: tuple[Path, list[str]]):
    folder, _ = followed
    with (folder / "own.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 24
    assert sum(Path(row["path"]).parent.name == row["label"] for row in rows) >= 23
