"""The program run in this process, and a small model that predicts the strongest colour."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from cli.settings_files import Folders, folders_of
from colour_squares import COLOUR_MODEL, COLOURS, write_square
from hematovision import images
from hematovision.cli.program import program
from model.make_explaining import explaining_bundle

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program with these arguments, and return its output and exit code."""
    monkeypatch.setattr("hematovision.cli.terminal._program", lambda: "hematovision")

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(
            program, [str(argument) for argument in arguments], prog_name="hematovision"
        )

    return call


@pytest.fixture(scope="session")
def colour_model() -> Path:
    """A bundle with predictions worked out by hand: the strongest of red, green and blue."""
    return COLOUR_MODEL


@pytest.fixture(scope="session")
def explaining_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with attention maps."""
    return explaining_bundle(tmp_path_factory.mktemp("explaining") / "run")


@pytest.fixture
def cell_images(tmp_path: Path) -> Path:
    """A folder with a red, a green and a blue image."""
    folder = tmp_path / "cell_images"
    folder.mkdir()
    for name, colour in COLOURS.items():
        write_square(folder / f"{name}.png", colour, side=40)
    return folder


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A dataset of colours that the colour model classifies without errors."""
    for split in ("Train", "Test"):
        for name, channel in (("red", 0), ("green", 1), ("blue", 2)):
            for i in range(4):
                image = np.full((30, 30, 3), 10, np.uint8)
                image[..., channel] = 150 + 10 * i
                images.write(tmp_path / "colours" / split / name / f"{i}.png", image)
    return tmp_path / "colours"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """A home, a project and a folder of fields, in which the program runs."""
    return folders_of(tmp_path, monkeypatch)


@pytest.fixture
def options(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, object]]:
    """Run ``analyze`` up to its work; return the options that it has then."""
    seen: list[dict[str, object]] = []

    def analyze(**values: object) -> None:
        seen.append(values)
        raise typer.Exit(0)

    monkeypatch.setattr("hematovision.cli.analyze._options", analyze)

    def call(*arguments: object) -> dict[str, object]:
        result = run("analyze", "fields", "--out", "results", *arguments)
        assert result.exit_code == 0, result.output
        return {**seen.pop(), "stderr": result.stderr, "stdout": result.stdout}

    return call
