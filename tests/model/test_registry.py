"""A model is found by its name or its folder; the error for a missing one lists the others."""

from pathlib import Path

import pytest

from hematovision.errors import ModelNotFoundError
from hematovision.model import registry
from hematovision.model.registry import bundled_detectors, bundled_models, find_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A package with two models and a file that is not a model."""
    home = tmp_path / "package" / "models"
    for name in ("pbc8", "rbc-wbc-platelets"):
        (home / name).mkdir(parents=True)
        (home / name / "bundle.json").write_text("{}")
    (home / "unfinished").mkdir()
    (home / "hematology.weights").write_bytes(b"")
    monkeypatch.setattr(registry, "_home", lambda: home)
    return home


def run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text("{}")
    return folder


def test_bundled_models_are_the_finished_folders_of_the_package(home):
    assert bundled_models() == ("pbc8", "rbc-wbc-platelets")
    assert find_model("pbc8") == home / "pbc8"


def test_detectors_are_found_by_name_but_are_not_classifiers(home):
    (home / "blood-fields").mkdir()
    (home / "blood-fields" / "bundle.json").write_text('{"task": "detection"}')
    assert bundled_models() == ("pbc8", "rbc-wbc-platelets")
    assert bundled_detectors() == ("blood-fields",)
    assert find_model("blood-fields") == home / "blood-fields"


def test_a_damaged_manifest_does_not_hide_a_model(home):
    (home / "pbc8" / "bundle.json").write_text("[")
    assert "pbc8" in bundled_models()


def test_the_bundled_models_are_in_the_package():
    assert registry._home().parts[-2:] == ("hematovision", "models")
    assert all((registry._home() / name / "bundle.json").is_file() for name in bundled_models())


@pytest.mark.parametrize("name", ["pbc_8", "pbc"])
def test_a_misspelt_name_gets_a_proposal(home, name: str):
    with pytest.raises(ModelNotFoundError, match=r"no folder\. Did you mean 'pbc8'\? Bundled"):
        find_model(name)


@pytest.mark.parametrize("given", [None, 3, b"pbc8", ["pbc8"]])
def test_what_is_no_name_and_no_path_is_a_type_error(home, given: object):
    with pytest.raises(TypeError, match=r"must be the name of a bundled model.* Received: "):
        find_model(given)


def test_a_run_folder_is_found_by_path_text_or_its_manifest(home, tmp_path):
    folder = run(tmp_path / "runs" / "first")
    assert find_model(folder) == folder
    assert find_model(str(folder)) == folder
    assert find_model(folder / "bundle.json") == folder


def test_bundled_names_take_precedence_over_folders(home, tmp_path, monkeypatch):
    run(tmp_path / "here" / "pbc8")
    monkeypatch.chdir(tmp_path / "here")
    assert find_model("pbc8") == home / "pbc8"
    assert find_model("./pbc8").resolve() == tmp_path / "here" / "pbc8"
    assert find_model(Path("pbc8")).resolve() == tmp_path / "here" / "pbc8"


@pytest.mark.parametrize("name", ["pbc9", "", "../pbc8", "a\x00b", "x" * 5000])
def test_an_unknown_model_lists_the_models_and_how_to_train_one(home, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"pbc8, rbc-wbc-platelets.*hematovision train"):
        find_model(name)


def test_an_unfinished_run_is_distinguished_from_no_folder(home, tmp_path):
    (tmp_path / "half").mkdir()
    with pytest.raises(ModelNotFoundError, match="did not finish"):
        find_model(tmp_path / "half")
    with pytest.raises(ModelNotFoundError, match="no model 'absent'"):
        find_model("absent")


def test_an_installation_without_models_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_home", lambda: tmp_path / "absent")
    with pytest.raises(ModelNotFoundError, match="none in this installation"):
        find_model("pbc8")
