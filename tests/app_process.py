"""The app in a separate process."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def app_command(port: int, *options: object) -> list[str]:
    """The command that serves the app, as a user types it."""
    line = [sys.executable, "-m", "hematovision", "app", "--port", port, "--no-browser", *options]
    return [str(part) for part in line]


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server responds."""
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"{address.rstrip('/')}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server does not respond: {log.read_text()}")
