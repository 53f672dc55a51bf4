"""Apps with separate data folders."""

import functools
import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from app_process import app_command, free_port, wait_for
from quick_program import quick_path


@pytest.fixture(scope="session", autouse=True)
def _packages_scanned_once() -> Iterator[None]:
    """Let Streamlit read the metadata of all packages once, not for every page: 1.4 s each."""
    from streamlit.components.v2 import manifest_scanner

    scan = functools.cache(manifest_scanner.scan_component_manifests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> Iterator[None]:
    """Streamlit collects garbage after each run, which takes a second after other tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder for the records and models of one test."""
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEMATOVISION_DATABASE_URL", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of `server`."""
    return tmp_path_factory.mktemp("app") / "home"


@pytest.fixture(scope="module")
def server(server_home: Path) -> Iterator[str]:
    """The address of a running app, shared by the tests of a module."""
    port = free_port()
    log = server_home.parent / "server.log"
    environment = {
        **os.environ,
        "HEMATOVISION_HOME": str(server_home),
        "PYTHONPATH": quick_path(),
    }
    environment.pop("HEMATOVISION_DATABASE_URL", None)
    with log.open("w") as stream:
        process = subprocess.Popen(
            app_command(port), env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(20)
