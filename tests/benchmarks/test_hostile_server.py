"""Hostile images sent to the server: each gets its row, and other requests are not delayed."""

import sys
import threading
from pathlib import Path

import pytest

from benchmarks.hostile_app import largest_within_limits
from benchmarks.hostile_images import write_images
from hematovision.client import Client
from server.conftest import running


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_the_server_loses_no_hostile_image_and_stays_ready(tmp_path: Path):
    from benchmarks.hostile_server import peak_of, send, watch

    write_images(tmp_path, shapes=9, mutants=60)
    paths = sorted(tmp_path.iterdir())
    with running() as (process, address):
        longest, stop = [0.0], threading.Event()
        watching = threading.Thread(target=watch, args=[address, longest, stop])
        watching.start()
        found = send(Client(address, timeout=60, retries=100), paths, callers=8)
        stop.set()
        watching.join()
        peak = peak_of(process.pid)
    assert set(found) == {"predicted", "refused"}
    assert found.total() == 138
    assert longest[0] < 10  # Under a second on an idle machine.
    assert peak - largest_within_limits(tmp_path) < 600 * 2**20
