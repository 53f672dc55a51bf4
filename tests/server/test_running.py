"""The server as a process: overload, its end, and the protocol's own client."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from colour_squares import COLOUR_MODEL
from hematovision import images
from hematovision.model.classifier import Classifier
from server.conftest import free_port, resident, running

NAME = "rbc-wbc-platelets"


@pytest.fixture(scope="module")
def address():
    with running() as (_, address):
        yield address


@pytest.fixture(scope="module")
def expected(cell):
    return Classifier.load(NAME).predict([images.read(cell)])[0]


def overload(address: str, cell: bytes, seconds: float, callers: int) -> tuple[Counter, set]:
    """Send requests as fast as possible from so many clients; count statuses, collect labels."""
    statuses, labels, until = Counter(), set(), time.monotonic() + seconds

    async def caller(client):
        while time.monotonic() < until:
            response = await client.post("/v1/classify", files=[("files", ("a.png", cell))])
            statuses[response.status_code] += 1
            if response.status_code == 200:
                row = response.json()["rows"][0]
                labels.add((row["label"], round(row["novelty"], 5)))
            else:
                assert response.status_code == 504 or response.headers["Retry-After"] == "1"

    async def all_callers():
        limits = httpx.Limits(max_connections=callers)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=30) as client:
            await asyncio.gather(*(caller(client) for _ in range(callers)))

    asyncio.run(all_callers())
    return statuses, labels


@pytest.mark.parametrize(
    "seconds", [2, pytest.param(60, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_overload_gets_the_right_prediction_or_503_or_504(cell, expected, seconds):
    with running("--queue", 2, "--deadline", 1) as (process, address):
        overload(address, cell, 0.5, callers=20)
        before = resident(process.pid)
        statuses, labels = overload(address, cell, seconds, callers=20)
        assert resident(process.pid) - before < 100 * 2**20
        assert process.poll() is None
        assert set(statuses) <= {200, 503, 504}
        assert statuses[200] > 0
        assert statuses[503] > 0
        assert labels == {(expected.label, round(expected.novelty, 5))}
        assert httpx.get(f"{address}/v2/health/ready").status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_server_that_is_stopped_finishes_accepted_requests_and_ends_well(cell):
    with (
        running("--threads", 1, "--queue", 64) as (process, address),
        ThreadPoolExecutor(6) as pool,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        files = [("files", (f"{i}.png", cell)) for i in range(8)]

        def ask(_):
            return client.post("/v1/classify", files=files, params={"explain": "true"})

        asked = [pool.submit(ask, i) for i in range(6)]
        while "hematovision_queue_length 0.0" in client.get("/metrics").text:
            pass
        time.sleep(0.2)  # All six are in progress by now.
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        responses = [one.result() for one in asked]
        assert [response.status_code for response in responses] == [200] * 6
        assert all(len(response.json()["rows"]) == 8 for response in responses)
        assert process.wait(14) == 0
        assert time.monotonic() - began < 12
        with pytest.raises(httpx.TransportError):
            client.get("/v2/health/live")
        assert process.stdout.read().count(b"\n") == 1  # Where it listens, and no more.


def sent(address: str, cell: bytes, images: int, share: float = 1.0) -> socket.socket:
    """Send so much of a request with so many images, and leave the connection open."""
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = (part + cell + b"\r\n") * images + b"--b--\r\n"
    head = (
        "POST /v1/classify?explain=true HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    stream = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)
    stream.sendall(head.encode() + body[: int(len(body) * share)])
    return stream


def counted(client: httpx.Client, name: str) -> float:
    page = client.get("/metrics").text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def wait_for(condition, seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_work_of_a_disconnected_client_is_dropped(cell):
    with (
        running("--threads", 1, "--queue", 64) as (process, address),
        httpx.Client(base_url=address) as client,
    ):
        waiting = "hematovision_queue_length"
        with sent(address, cell, images=50):
            wait_for(lambda: counted(client, waiting) > 30)
        wait_for(lambda: counted(client, 'hematovision_refused_total{reason="deserted"}') == 1)
        dropped = counted(client, "hematovision_dropped_total")
        assert dropped > 20
        assert counted(client, waiting) == 0
        path = 'hematovision_requests_total{path="/v1/classify",status="499"}'
        assert counted(client, path) == 1
        assert counted(client, "hematovision_predictions_total") == 0
        # The queue has space again, at once, for as many.
        files = [("files", ("a.png", cell))] * 50
        assert client.post("/v1/classify", files=files).status_code == 200
        assert counted(client, "hematovision_dropped_total") == dropped
        # One who goes while still sending is no failure either.
        sent(address, cell, images=2, share=0.5).close()
        wait_for(lambda: counted(client, path) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().count(b"\n") == 1  # Where it listens, and no more.


def test_a_body_that_is_too_large_is_rejected_before_it_is_sent(address):
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5) as stream:
        head = f"POST /v1/classify HTTP/1.1\r\nHost: [::1]\r\nContent-Length: {2**25 + 1}\r\n\r\n"
        stream.sendall(head.encode())
        assert stream.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_model_that_fails_its_self_test_is_not_served(tmp_path):
    folder = shutil.copytree(COLOUR_MODEL.with_name("bundle_v2"), tmp_path / "mine")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["golden"]["novelty"] += 0.01
    (folder / "bundle.json").write_text(json.dumps(manifest))
    command = ["serve", "--port", str(free_port()), "--model", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "hematovision", *command], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    output = " ".join(done.stderr.split())
    assert "mine fails its self-test" in output
    assert "novelty 0.834228" in output  # Expected.
    assert "novelty 0.824228" in output  # Received.
    assert "Traceback" not in output


def test_concurrent_clients_get_the_same_predictions(address, cell, expected):
    def ask(_):
        row = httpx.post(f"{address}/v1/classify", files={"files": cell}).json()["rows"][0]
        return row["label"], row["novelty"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(24)))
    assert {label for label, _ in found} == {expected.label}
    np.testing.assert_allclose([n for _, n in found], expected.novelty, atol=1e-6)


@pytest.fixture(scope="module")
def triton(address):
    http = pytest.importorskip("tritonclient.http", reason="the protocol's client is not there")
    client = http.InferenceServerClient(address.removeprefix("http://"))
    yield http, client
    client.close()


def test_the_protocols_own_client_finds_health_and_metadata(triton):
    _, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "hematovision"
    assert client.get_model_metadata(NAME)["outputs"][0]["shape"] == [-1, 3]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["files", "images"])
def test_the_protocols_own_client_gets_the_same_predictions(triton, cell, expected, kind, binary):
    http, client = triton
    if kind == "files":
        tensor = http.InferInput("files", [2], "BYTES")
        tensor.set_data_from_numpy(np.array([cell, cell], np.object_), binary_data=True)
    else:
        tensor = http.InferInput("images", [2, 224, 224, 3], "UINT8")
        tensor.set_data_from_numpy(np.stack([images.load(cell)] * 2), binary_data=binary)
    names = ("probabilities", "novelty", "label", "decision")
    outputs = None if binary else [http.InferRequestedOutput(n, binary_data=False) for n in names]
    result = client.infer(NAME, [tensor], outputs=outputs, request_id="7")
    assert result.get_response()["id"] == "7"
    np.testing.assert_allclose(
        result.as_numpy("probabilities"), [expected.probabilities] * 2, atol=1e-6
    )
    np.testing.assert_allclose(result.as_numpy("novelty"), [expected.novelty] * 2, atol=1e-6)
    labels = [one.decode() if binary else one for one in result.as_numpy("label")]
    assert labels == [expected.label] * 2


def test_the_protocols_own_client_gets_the_reason(triton):
    http, client = triton
    tensor = http.InferInput("files", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"text"], np.object_), binary_data=True)
    with pytest.raises(Exception, match=r"\[415\] files\[0\]: its content is not an image"):
        client.infer(NAME, [tensor])


def test_a_hanging_thread_does_not_delay_shutdown():
    from hematovision.server.engine import WorkQueue

    queue, hang = WorkQueue(1, 2), threading.Event()

    async def ask():
        async with asyncio.timeout(0.05):
            await queue.run([lambda: hang.wait(5)])

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    began = time.monotonic()
    queue.close(0.1)
    assert time.monotonic() - began < 1
    hang.set()


STUCK = """
from time import sleep
from hematovision.server import classify
predict_image = classify.predict_image
classify.predict_image = lambda predictor, item, **options: (
    sleep(60) if item.name == "stuck" else predict_image(predictor, item, **options)
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("deadline", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_shutdown_does_not_wait_for_a_stuck_decoder(cell, deadline):
    """According to the docs, at the latest five seconds after the deadline."""
    options = ("--model", COLOUR_MODEL, "--threads", 1, "--deadline", deadline)
    with running(*options, before=STUCK) as (process, address), ThreadPoolExecutor(2) as pool:

        def ask(name):
            files = [("files", (name, cell))]
            return httpx.post(f"{address}/v1/classify", files=files, timeout=30).status_code

        asked = [pool.submit(ask, "stuck")]
        time.sleep(0.5)
        asked.append(pool.submit(ask, "behind"))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert [one.result() for one in asked] == [504, 504]
        assert process.wait(30) == 0
        assert time.monotonic() - began < deadline + 5
