"""A model of three colours, images for it, and Ray on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from colour_squares import COLOUR_MODEL, COLOURS, write_square
from hematovision.scale.cluster import Cluster, Connection, connected


@pytest.fixture(scope="session")
def colour_model() -> Path:
    """A bundle that predicts the strongest of red, green and blue."""
    return COLOUR_MODEL


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Twelve images in three folders, one of them truncated, and a file that is no image."""
    folder = tmp_path / "cells"
    for name, (red, green, blue) in COLOURS.items():
        for i in range(4):
            write_square(folder / name / f"{i}.png", (red - i, green - i, blue - i))
    cut = folder / "red" / "3.png"
    cut.write_bytes(cut.read_bytes()[:50])
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the work into shards of two images."""
    monkeypatch.setattr("hematovision.scale.classify._SMALLEST", 2)


@pytest.fixture(scope="session")
def ray_here() -> Iterator[Connection]:
    """Ray on this machine, for as long as the tests of this process last."""
    pytest.importorskip("ray")
    tests = str(Path(__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
        with connected(Cluster(local_cpus=2, stall_seconds=60)) as connection:
            yield connection
