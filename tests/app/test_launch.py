"""Settings and start of the web app."""

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import pytest

from hematovision.app import serving
from hematovision.app.launch import MODELS, Settings, launch
from hematovision.app.state import library
from hematovision.errors import (
    BundleError,
    ListeningError,
    MissingExtraError,
    ModelNotFoundError,
)
from hematovision.model.registry import DEFAULT_MODEL, find_model
from hematovision.review.store import ReviewStore


def test_by_default_only_this_computer_can_connect_and_nothing_is_reported():
    found = Settings().streamlit()
    assert found["server.address"] == "127.0.0.1"
    assert found["server.port"] == 8501
    assert found["server.allowedHosts"] == ["127.0.0.1", "::1", "localhost"]
    assert found["browser.gatherUsageStats"] is False
    assert found["client.showErrorDetails"] == "none"
    assert found["logger.hideWelcomeMessage"] is True
    assert found["client.showSidebarNavigation"] is False
    assert "server.baseUrlPath" not in found


def test_settings_are_passed_to_streamlit():
    settings = Settings(9000, "0.0.0.0", 7, False, "/blood/")
    proxied = Settings(allowed_hosts=("Blood.example.org",)).streamlit()
    found = settings.streamlit()
    assert found["server.port"] == 9000
    assert found["server.address"] == "0.0.0.0"
    assert found["server.maxUploadSize"] == 7
    assert found["server.baseUrlPath"] == "blood"
    assert found["server.allowedHosts"] == ["*"]  # `AllowedHosts` distinguishes addresses and names
    assert proxied["server.allowedHosts"] == ["127.0.0.1", "::1", "blood.example.org", "localhost"]
    assert settings.url == "http://localhost:9000/blood"
    assert dataclasses.replace(settings, address="::1", base_path="").url == "http://[::1]:9000"


def test_all_options_exist_in_streamlit():
    from streamlit import config

    known = config.get_config_options()
    assert set(Settings().streamlit()) <= set(known)


def test_a_host_that_is_not_a_name_is_rejected_at_once():
    with pytest.raises(ListeningError, match="plain name"):
        Settings(allowed_hosts=("https://blood.example.org",))


def test_a_given_model_is_in_use_when_the_page_opens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    run = shutil.copytree(find_model("pbc8"), tmp_path / "runs" / "brief")
    monkeypatch.setattr(serving, "serve", lambda *_, **__: None)
    for name in ("HEMATOVISION_HOME", MODELS):
        monkeypatch.setenv(name, "")
    assert launch(Settings(), {"HEMATOVISION_HOME": str(tmp_path), MODELS: str(run)}) == 0
    with ReviewStore.open() as store:
        assert library().in_use(store).folder == run.resolve()


def test_a_given_path_without_a_model_is_an_error_before_serving(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("HEMATOVISION_HOME", MODELS):
        monkeypatch.setenv(name, "")
    environment = {"HEMATOVISION_HOME": str(tmp_path), MODELS: str(tmp_path / "nowhere")}
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        launch(Settings(), environment)


def test_a_given_detector_is_an_error_and_never_comes_into_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("HEMATOVISION_HOME", MODELS):
        monkeypatch.setenv(name, "")
    given = os.pathsep.join(("pbc8", "blood-fields"))
    with pytest.raises(BundleError, match="blood-fields is a detector"):
        launch(Settings(), {"HEMATOVISION_HOME": str(tmp_path), MODELS: given})
    with ReviewStore.open() as store:
        assert library().in_use(store).name == DEFAULT_MODEL


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(MissingExtraError, match=r"web app needs .*'streamlit'.*pip install"):
        launch(Settings())
