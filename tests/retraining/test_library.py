"""The library of models."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hematovision.errors import ModelNotFoundError
from hematovision.model.registry import DEFAULT_MODEL, find_model
from hematovision.retraining.library import ModelLibrary
from hematovision.review.store import ReviewStore


@pytest.fixture
def records(tmp_path: Path):
    with ReviewStore.open(f"sqlite+pysqlite:///{tmp_path / 'records.sqlite3'}") as store:
        yield store


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


BUNDLED = [DEFAULT_MODEL, "pbc8", "white-cells"]


def put(library: ModelLibrary, name: str) -> None:
    shutil.copytree(find_model("pbc8"), library.folder / name)


def test_bundled_models_come_first_the_default_one_before_the_others(library: ModelLibrary):
    put(library, "mine")
    (library.folder / "unfinished").mkdir()
    assert [model.name for model in library.models()] == [*BUNDLED, "mine"]
    assert [model.is_bundled for model in library.models()] == [*[True] * len(BUNDLED), False]
    report = library.folder / "mine" / "report.html"
    assert library.find("mine").report == report
    report.unlink()
    assert library.find("mine").report is None


def test_the_error_for_an_unknown_name_lists_the_known_ones(library: ModelLibrary):
    with pytest.raises(ModelNotFoundError, match="pbc8"):
        library.find("none")


def test_a_chosen_model_is_used_until_it_is_deleted(library: ModelLibrary, records: ReviewStore):
    assert library.in_use(records).name == DEFAULT_MODEL
    put(library, "mine")
    library.use(library.find("mine"), records, "Ana")
    assert library.in_use(records).name == "mine"
    shutil.rmtree(library.folder / "mine")
    assert library.in_use(records).name == DEFAULT_MODEL


def test_a_new_model_never_uses_another_models_folder(library: ModelLibrary):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert library.fresh("Saint-Anne / ../../x").name == f"saint-anne-x-{today}"
    assert library.fresh("***").name == f"model-{today}"
    put(library, f"mine-{today}")
    assert library.fresh("mine").name == f"mine-{today}-2"
    assert library.fresh("mine").parent == library.folder


def test_a_run_folder_from_elsewhere_follows_the_bundled_models(
    tmp_path: Path, library: ModelLibrary
):
    put(library, "mine")
    run = shutil.copytree(find_model("pbc8"), tmp_path / "runs" / "brief")
    models = ModelLibrary(library.folder, [run]).models()
    assert [model.name for model in models] == [*BUNDLED, "brief", "mine"]
    assert models[len(BUNDLED)].folder == run.resolve()


def test_a_model_of_the_library_can_be_given(library: ModelLibrary):
    put(library, "mine")
    names = [
        model.name for model in ModelLibrary(library.folder, [library.folder / "mine"]).models()
    ]
    assert names == [*BUNDLED, "mine"]


def test_a_bundled_model_can_be_given_by_its_name(library: ModelLibrary):
    models = ModelLibrary(library.folder, ["pbc8"]).models()
    assert [model.name for model in models] == BUNDLED


def test_a_folder_that_is_not_a_model_or_has_a_taken_name_is_rejected(
    tmp_path: Path, library: ModelLibrary
):
    with pytest.raises(ModelNotFoundError, match="There is no model"):
        ModelLibrary(library.folder, [tmp_path / "nowhere"])
    twin = shutil.copytree(find_model("pbc8"), tmp_path / "runs" / "pbc8")
    with pytest.raises(ModelNotFoundError, match="Two models are called 'pbc8'"):
        ModelLibrary(library.folder, [twin])
