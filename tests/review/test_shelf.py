"""The models that a laboratory has."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hematovision.errors import ModelNotFoundError
from hematovision.model.registry import find_model
from hematovision.review.service import ReviewService
from hematovision.review.shelf import DEFAULT_MODEL, Shelf


@pytest.fixture
def records(tmp_path: Path):
    with ReviewService.open(f"sqlite+pysqlite:///{tmp_path / 'records.sqlite3'}") as service:
        yield service


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


def put(shelf: Shelf, name: str) -> None:
    shutil.copytree(find_model("pbc8"), shelf.folder / name)


def test_bundled_models_come_first_the_default_one_before_the_others(shelf: Shelf):
    put(shelf, "mine")
    (shelf.folder / "unfinished").mkdir()
    assert [model.name for model in shelf.models()] == [DEFAULT_MODEL, "pbc8", "mine"]
    assert [model.is_bundled for model in shelf.models()] == [True, True, False]
    assert shelf.find("mine").report is None


def test_an_unknown_name_is_answered_with_the_known_ones(shelf: Shelf):
    with pytest.raises(ModelNotFoundError, match="pbc8"):
        shelf.find("none")


def test_a_chosen_model_answers_until_it_is_gone(shelf: Shelf, records: ReviewService):
    assert shelf.in_use(records).name == DEFAULT_MODEL
    put(shelf, "mine")
    shelf.use(shelf.find("mine"), records, "Ana")
    assert shelf.in_use(records).name == "mine"
    shutil.rmtree(shelf.folder / "mine")
    assert shelf.in_use(records).name == DEFAULT_MODEL


def test_a_new_model_never_takes_the_folder_of_another(shelf: Shelf):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert shelf.fresh("Saint-Anne / ../../x").name == f"saint-anne-x-{today}"
    assert shelf.fresh("***").name == f"model-{today}"
    put(shelf, f"mine-{today}")
    assert shelf.fresh("mine").name == f"mine-{today}-2"
    assert shelf.fresh("mine").parent == shelf.folder
