"""Keras is imported only when needed; if it is missing, this is reported immediately."""

import gc
import subprocess
import sys
from types import ModuleType

import pytest

from hematovision.errors import MissingExtraError
from hematovision.model.weights import BackboneWeights
from hematovision.training import keras_import
from hematovision.training.inputs import FeatureReader
from hematovision.training.keras_import import import_keras, require_keras
from hematovision.training.recipe import HeadTraining
from hematovision.training.trainer import train_model

MISSPELT = """
import sys
from pathlib import Path
from hematovision.errors import DatasetError
from hematovision.workflows.train import train
try:
    train(Path("no such folder"), Path(sys.argv[1]))
except DatasetError:
    print({"keras", "tensorflow"} & set(sys.modules))
"""


def test_a_misspelt_dataset_is_reported_before_keras_is_imported(tmp_path):
    words = [sys.executable, "-c", MISSPELT, str(tmp_path / "run")]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_without_keras_training_ends_before_an_image_is_read(
    dataset, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setattr(FeatureReader, "read", lambda *_, **__: pytest.fail("images were read"))
    with pytest.raises(MissingExtraError, match="Training needs the module 'keras'"):
        train_model(FeatureReader(dataset), weights, HeadTraining())


def test_the_garbage_collector_is_off_only_while_keras_is_imported(monkeypatch: pytest.MonkeyPatch):
    keras = ModuleType("keras")

    def imported(name: str) -> ModuleType:
        assert (name, gc.isenabled()) == ("keras", False)
        return keras

    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(keras_import.importlib, "import_module", imported)
    try:
        assert import_keras() is keras
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_backend_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(keras_import.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match="'tensorflow'"):
        import_keras()
    assert gc.isenabled()


def test_keras_is_installed_in_this_environment():
    require_keras()
    assert import_keras() is sys.modules["keras"]
