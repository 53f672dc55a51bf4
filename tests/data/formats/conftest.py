"""A folder for the annotation files of a test."""

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path, draw) -> Path:
    """A folder with one image of 80 x 60 pixels."""
    return draw(tmp_path / "set", "a.png")
