"""Servers for tests: in this process, and in a separate process on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="the server needs the extra 'serve'")

import httpx

from hematovision import images
from hematovision.server.application import create_app
from hematovision.server.requests import RequestGuard
from hematovision.server.settings import Settings
from hematovision.synthetic import render_cell

LOCAL_URL = "http://127.0.0.1:8000"


def wait_until_ready(client: httpx.Client, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    pytest.fail("the server is not ready")


@contextmanager
def asked(guard: RequestGuard) -> Iterator[httpx.Client]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Starlette asks for a successor of httpx.
        from starlette.testclient import TestClient
    with TestClient(guard, LOCAL_URL, raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="session")
def cell() -> bytes:
    """A synthetic cell, as a PNG file."""
    return images.encode_png(render_cell("lymphocyte", seed=11))


@pytest.fixture(scope="module")
def guard() -> RequestGuard:
    return create_app(Settings(models=("rbc-wbc-platelets", "pbc8"), queue=8, max_bytes=2**20))


@pytest.fixture(scope="module")
def client(guard: RequestGuard) -> Iterator[httpx.Client]:
    with asked(guard) as client:
        yield client


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


PARSERS = ("httptools", "h11")
WITH_H11 = """
from uvicorn.protocols.http import auto, h11_impl
auto.AutoHTTPProtocol = h11_impl.H11Protocol
"""


@contextmanager
def running(
    *options: object,
    environment: dict[str, str] | None = None,
    before: str = "",
    shell: str = "",
) -> Iterator[tuple]:
    """Start `hematovision serve`; yield its process and address.

    `before` is Python to run first in its process, `shell` a command to run before that.
    """
    port = free_port()
    program = f"{before}\nfrom hematovision.cli.program import main; main()"
    command = [sys.executable, "-c", program, "serve", "--port", port, *options]
    if shell:
        command = ["bash", "-c", f'{shell}; exec "$0" "$@"', *command]
    process = subprocess.Popen(
        list(map(str, command)),
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=address) as client:
            wait_until_ready(client)
        yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds; 0 if the system does not report it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def exchanged(address: str, sent: bytes, seconds: float = 5) -> bytes:
    """Send raw bytes to a server; return all that it sends until it closes or pauses."""
    place = ("127.0.0.1", int(address.rpartition(":")[2]))
    with socket.create_connection(place, seconds) as stream:
        stream.sendall(sent)
        found = b""
        try:
            while data := stream.recv(2**16):
                found += data
        except TimeoutError:
            pass
    return found


@pytest.fixture
def saved_cell(tmp_path: Path, cell: bytes) -> Path:
    path = tmp_path / "cell.png"
    path.write_bytes(cell)
    return path
