"""A page with a home of its own: nobody's records are touched."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

from app_process import app_command, free_port, wait_for


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder for the records and models of one test."""
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEMATOVISION_DATABASE_URL", raising=False)
    return tmp_path / "home"


@pytest.fixture
def server(home: Path) -> Iterator[str]:
    """The address of a running page."""
    port = free_port()
    log = home.parent / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(app_command(port), stdout=stream, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(20)
