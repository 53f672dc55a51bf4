"""A model that predicts the strongest colour, images for it, and a separate cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from colour_squares import COLOUR_MODEL
from model.make_explaining import explaining_bundle


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMATOVISION_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def colour_model() -> Path:
    return COLOUR_MODEL


@pytest.fixture(scope="session")
def explaining_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with attention maps."""
    return explaining_bundle(tmp_path_factory.mktemp("explaining") / "run")


class Recorder:
    """A progress callback that records notes and the order of events."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.events: list[str] = []

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        self.events.append(what)

    def note(self, sentence: str, /) -> None:
        self.notes.append(sentence)
        self.events.append("note")


@pytest.fixture
def log() -> Recorder:
    return Recorder()
