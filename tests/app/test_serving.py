"""The app as a process: it ends on signals, and accepts requests to allowed hosts only."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app_process import app_command, free_port, wait_for

Start = Callable[..., "App"]

WATCHED = """
import os, socket

def note(text):
    with open(os.environ["LOOKED_UP"], "a") as stream:
        stream.write(f"{text}\\n")

plain_lookup, plain_connect = socket.getaddrinfo, socket.socket.connect

def getaddrinfo(host, *args, **kwargs):
    if host not in ("localhost", "127.0.0.1", "::1", None):
        note(f"look up {host}")
        raise OSError("no network in this test")
    return plain_lookup(host, *args, **kwargs)

def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
        note(f"connect {address}")
        raise OSError("no network in this test")
    return plain_connect(self, address)

socket.getaddrinfo, socket.socket.connect = getaddrinfo, connect
"""
"""Run by Python at startup: records and blocks connections to other computers."""


class App:
    """A running app."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process, self.port = process, port
        self.log, self.looked_up = folder / "log", folder / "looked-up"

    @property
    def is_reached(self) -> bool:
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def status(self, path: str, **headers: str) -> int:
        """Ask and return the status, 101 for an opened websocket."""
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as asking:
            asking.sendall(f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
            return int(asking.recv(4096).split()[1])

    def websocket(self, host: str, path: str = "/_stcore/stream", **headers: str) -> int:
        return self.status(
            path,
            Host=host,
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
            **headers,
        )


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Start]:
    """Start apps; they are ended with the test."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCHED)
    paths = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: object, health: str = "") -> App:
        port = free_port()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "LOOKED_UP": str(tmp_path / "looked-up"),
        }
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                app_command(port, *options),
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        wait_for(f"http://127.0.0.1:{port}/{health}", process, tmp_path / "log")
        return App(process, port, tmp_path)

    yield start
    for process in started:
        process.kill()
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_the_app_ends_with_its_process(start: Start, name: str):
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip(f"this process ignores {name}, and so do its children: it runs under nohup")
    app = start()
    # A browser keeps its connection.
    with socket.create_connection(("127.0.0.1", app.port)):
        app.process.send_signal(getattr(signal, name))
        app.process.wait(15)
        for _ in range(50):
            if not app.is_reached:
                break
            time.sleep(0.1)
        assert not app.is_reached
    if name == "SIGINT":
        assert app.process.returncode == 0


def test_a_port_in_use_is_an_error_message(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = subprocess.run(
            app_command(port), capture_output=True, text=True, timeout=60, check=False
        )
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    text = " ".join(found.stderr.split())
    assert f"Port {port}" in text
    assert "--port" in text


def test_only_names_of_this_computer_are_accepted(start: Start):
    app = start()
    here, evil = f"127.0.0.1:{app.port}", "evil.example"
    for path in ("/", "/_stcore/health", "/_stcore/host-config"):
        assert app.status(path, Host=here) == 200
        assert app.status(path, Host=f"localhost:{app.port}") == 200
        assert app.status(path, Host=evil) == 403
        assert app.status(path, Host=f"{evil}:{app.port}", Origin=f"http://{evil}") == 403
        assert app.status(path, Host=here, Origin=f"http://{evil}") == 403
    assert app.websocket(here) == 101
    assert app.websocket(here, Origin=f"http://{here}") == 101
    assert app.websocket(f"localhost:{app.port}", Origin=f"http://localhost:{app.port}") == 101
    for origin in ("null", f"http://{evil}", "http://localhost:1", "http://192.0.2.1"):
        assert app.websocket(here, Origin=origin) == 403, origin
    # The very thing that DNS rebinding does: its own name is both.
    assert app.websocket(evil, Origin=f"http://{evil}") == 403
    # Streamlit looks a foreign name up outside.
    assert not app.looked_up.exists(), app.looked_up.read_text()


def test_allowed_names_of_a_proxy_are_accepted(start: Start):
    app = start("--allowed-host", "blood.example.org", "--allowed-host", "192.168.1.5")
    origin = "https://blood.example.org"
    assert app.status("/_stcore/health", Host="blood.example.org") == 200
    assert app.status("/_stcore/health", Host=f"192.168.1.5:{app.port}") == 200
    assert app.websocket("blood.example.org", Origin=origin) == 101
    # A proxy that hands on its own name for this computer, or listens at another port.
    assert app.websocket(f"127.0.0.1:{app.port}", Origin=origin) == 101
    assert app.websocket("blood.example.org", Origin=f"{origin}:8443") == 101
    assert app.websocket("blood.example.org", Origin="https://evil.example") == 403
    assert app.websocket("evil.example", Origin="https://evil.example") == 403
    assert not app.looked_up.exists(), app.looked_up.read_text()


def test_the_app_works_under_the_path_of_a_proxy(start: Start):
    app = start("--base-path", "/blood/", "--allowed-host", "blood.example.org", health="blood/")
    assert app.status("/blood/_stcore/health", Host="blood.example.org") == 200
    assert app.status("/blood/", Host="blood.example.org") == 200
    assert app.status("/blood/", Host="evil.example") == 403
    assert app.websocket(
        "blood.example.org", "/blood/_stcore/stream", Origin="https://blood.example.org"
    ) == 101  # fmt: skip
    assert f"http://127.0.0.1:{app.port}/blood " in app.log.read_text()


def test_its_address_is_printed_and_nothing_is_advertised(start: Start):
    app = start()
    app.process.terminate()
    app.process.wait(15)
    printed = app.log.read_text()
    assert f"http://127.0.0.1:{app.port}" in printed
    assert "agents" not in printed
    assert "Streamlit" not in printed
    assert len(printed.splitlines()) == 1
