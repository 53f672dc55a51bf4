"""How much work one field may cause: its pixels at the detector's scale, and the deadline."""

import re
import threading
import time
from concurrent.futures import CancelledError

import httpx
import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.fields.checkpoint import Demand
from hematovision.server.application import create_app
from hematovision.server.settings import Settings
from hematovision.synthetic import render_field
from server.conftest import asked, running

DEADLINE = 1.5


def tiled(diameter: float, times: int) -> bytes:
    """Return a field of red cells of this width, `times` x `times` times 640 pixels, as a JPEG."""
    field = Image.fromarray(render_field(3).image)
    factor = diameter / 107  # the width of its red cells
    small = np.array(field.resize([round(side * factor) for side in field.size]))
    height, width = (-(-640 // side) for side in small.shape[:2])
    one = np.tile(small, (height, width, 1))[:640, :640]
    return images.encode_jpeg(np.tile(one, (times, times, 1)))


@pytest.fixture(scope="module")
def address():
    with running("--deadline", DEADLINE, "--threads", 1) as (_, address):
        yield address


def analyze(address: str, field: bytes, seconds: float = 30) -> httpx.Response:
    files = [("files", ("a.jpg", field))]
    return httpx.post(f"{address}/v1/analyze", files=files, timeout=seconds)


def dropped(address: str) -> float:
    page = httpx.get(f"{address}/metrics").text
    return float(re.search(r"^hematovision_dropped_total (\S+)", page, re.MULTILINE)[1])


def wait_for_a_free_thread(address: str, cell: bytes, seconds: float) -> None:
    until = time.monotonic() + seconds
    files = [("files", ("a.png", cell))]
    while httpx.post(f"{address}/v1/classify", files=files).status_code != 200:
        assert time.monotonic() < until, "the only thread is still busy"


def test_the_analysis_of_a_large_field_ends_at_the_deadline(address, cell):
    before = dropped(address)
    response = analyze(address, tiled(36, 7))  # 20 million pixels: half a minute
    assert response.status_code == 504
    assert response.elapsed.total_seconds() < DEADLINE + 4
    assert response.json()["error"] == (
        "The request timed out after 1.5 seconds, and its work was dropped. Try again later, send "
        "fewer or smaller images, or use the command line."
    )
    wait_for_a_free_thread(address, cell, 15)
    assert dropped(address) == before + 1


def test_the_analysis_ends_if_the_client_disconnects(address, cell):
    before, field = dropped(address), tiled(36, 7)
    with pytest.raises(httpx.TimeoutException):
        analyze(address, field, seconds=0.5)
    wait_for_a_free_thread(address, cell, 15)
    assert dropped(address) == before + 1


@pytest.fixture(scope="module")
def small_server():
    settings = Settings(models=("blood-fields",), threads=1, max_pixels=700_000, deadline=60)
    with asked(create_app(settings)) as client:
        yield client


def test_a_field_of_many_tiny_cells_is_rejected_with_the_size_that_it_would_have(small_server):
    files = [("files", ("a.jpg", tiled(14, 1)))]
    response = small_server.post("/v1/analyze", files=files)
    assert response.status_code == 422
    found = re.fullmatch(
        r"a\.jpg: its red cells are 1[345] pixels wide, so 640 x 640 pixels become (\d+) x \1 = "
        r"(\d,\d{3},\d{3}) at the detector's scale; the limit is 700,000\. Crop it, or use "
        r"`hematovision analyze`\.",
        response.json()["error"],
    )
    assert found, response.json()
    assert int(found[1]) ** 2 == int(found[2].replace(",", "")) > 700_000
    # With a stated scale, too; and only if the stated scale makes the field that large.
    for diameter, status in ((14, 422), (36, 200)):
        query = {"rbc_diameter": diameter}
        assert small_server.post("/v1/analyze", files=files, params=query).status_code == status


def test_work_stops_at_its_next_check_once_the_request_has_ended():
    started, stopped = threading.Event(), threading.Event()
    demand = Demand()

    def work():
        try:
            while True:
                demand.check()
                started.set()
        except CancelledError:
            stopped.set()

    with demand:
        thread = threading.Thread(target=work)
        thread.start()
        assert started.wait(5)
        assert not stopped.is_set()
    assert stopped.wait(5)
    thread.join()
