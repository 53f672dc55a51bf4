"""The models that a laboratory has."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hematovision.errors import ModelNotFoundError
from hematovision.model.registry import find_model
from hematovision.retraining.library import DEFAULT_MODEL, ModelLibrary
from hematovision.review.service import ReviewService


@pytest.fixture
def records(tmp_path: Path):
    with ReviewService.open(f"sqlite+pysqlite:///{tmp_path / 'records.sqlite3'}") as service:
        yield service


@pytest.fixture
def shelf(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


def put(shelf: ModelLibrary, name: str) -> None:
    shutil.copytree(find_model("pbc8"), shelf.folder / name)


def test_bundled_models_come_first_the_default_one_before_the_others(shelf: ModelLibrary):
    put(shelf, "mine")
    (shelf.folder / "unfinished").mkdir()
    assert [model.name for model in shelf.models()] == [DEFAULT_MODEL, "pbc8", "mine"]
    assert [model.is_bundled for model in shelf.models()] == [True, True, False]
    report = shelf.folder / "mine" / "report.html"
    assert shelf.find("mine").report == report
    report.unlink()
    assert shelf.find("mine").report is None


def test_an_unknown_name_is_answered_with_the_known_ones(shelf: ModelLibrary):
    with pytest.raises(ModelNotFoundError, match="pbc8"):
        shelf.find("none")


def test_a_chosen_model_answers_until_it_is_gone(shelf: ModelLibrary, records: ReviewService):
    assert shelf.in_use(records).name == DEFAULT_MODEL
    put(shelf, "mine")
    shelf.use(shelf.find("mine"), records, "Ana")
    assert shelf.in_use(records).name == "mine"
    shutil.rmtree(shelf.folder / "mine")
    assert shelf.in_use(records).name == DEFAULT_MODEL


def test_a_new_model_never_takes_the_folder_of_another(shelf: ModelLibrary):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert shelf.fresh("Saint-Anne / ../../x").name == f"saint-anne-x-{today}"
    assert shelf.fresh("***").name == f"model-{today}"
    put(shelf, f"mine-{today}")
    assert shelf.fresh("mine").name == f"mine-{today}-2"
    assert shelf.fresh("mine").parent == shelf.folder


def test_a_run_folder_from_elsewhere_stands_behind_the_bundled_models(
    tmp_path: Path, shelf: ModelLibrary
):
    put(shelf, "mine")
    run = shutil.copytree(find_model("pbc8"), tmp_path / "runs" / "brief")
    models = ModelLibrary(shelf.folder, [run]).models()
    assert [model.name for model in models] == [DEFAULT_MODEL, "pbc8", "brief", "mine"]
    assert models[2].folder == run.resolve()


def test_a_model_that_is_on_the_shelf_already_may_be_given(shelf: ModelLibrary):
    put(shelf, "mine")
    names = [model.name for model in ModelLibrary(shelf.folder, [shelf.folder / "mine"]).models()]
    assert names == [DEFAULT_MODEL, "pbc8", "mine"]


def test_a_bundled_model_may_be_given_by_its_name(shelf: ModelLibrary):
    assert [model.name for model in ModelLibrary(shelf.folder, ["pbc8"]).models()] == [
        DEFAULT_MODEL,
        "pbc8",
    ]


def test_a_folder_that_is_no_model_or_has_a_taken_name_is_refused(
    tmp_path: Path, shelf: ModelLibrary
):
    with pytest.raises(ModelNotFoundError, match="There is no model"):
        ModelLibrary(shelf.folder, [tmp_path / "nowhere"])
    twin = shutil.copytree(find_model("pbc8"), tmp_path / "runs" / "pbc8")
    with pytest.raises(ModelNotFoundError, match="Two models are called 'pbc8'"):
        ModelLibrary(shelf.folder, [twin])
