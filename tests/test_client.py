"""The client returns what the library returns, or an error with the reason."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from colour_squares import COLOUR_MODEL
from hematovision import images
from hematovision.client import KINDS, Client, ServedModel
from hematovision.errors import RequestError
from hematovision.model.classifier import Classifier
from hematovision.server.problems import STATUSES
from hematovision.synthetic import render_cell
from server.conftest import free_port, running

NAME = "rbc-wbc-platelets"
KEY = "open sesame"


@pytest.fixture(autouse=True, scope="module")
def _no_proxy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running("--max-bytes", 2**22, environment={"HEMATOVISION_API_KEY": KEY}) as (_, address):
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, KEY)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list:
    folder = tmp_path_factory.mktemp("cells")
    kinds = ("rbc", "neutrophil", "platelet")
    return [
        images.write(folder / f"{i}.{('png', 'jpg')[i % 2]}", render_cell(kinds[i % 3], i))
        for i in range(18)
    ]


def test_predictions_are_those_of_the_library(client, cells, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(cells[0].read_bytes()[:300])
    asked = [*cells, cut, tmp_path / "missing.jpg", tmp_path]
    found, wanted = client.classify(iter(asked)), Classifier.load(NAME).predict(asked)
    assert len(found) == len(wanted) == 21
    for one, other in zip(found, wanted, strict=True):
        assert (one.path, one.classes, one.label) == (other.path, other.classes, other.label)
        assert (one.decision, one.reason) == (other.decision, other.reason)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
        if other.novelty is not None:
            assert one.novelty == pytest.approx(other.novelty, abs=1e-6)
    assert found[18].error == wanted[18].error
    assert "No such file" in found[19].error
    assert found[20].path == str(cut), "the folder has this file alone"


def test_arrays_and_pillow_images_are_sent_without_loss(client, cells):
    pixels = images.read(cells[0])
    by_array, by_image = client.classify([pixels, Image.fromarray(pixels)])
    assert (by_array.path, by_image.path) == ("image 0", "image 1")
    assert by_array.probabilities == by_image.probabilities
    (expected,) = client.classify(cells[0])
    assert by_array.probabilities == expected.probabilities
    with pytest.raises(TypeError, match="Multiply by 255"):
        client.classify(pixels / 255)


def test_a_single_path_or_its_bytes_are_accepted(client, cells):
    (by_path,), (by_bytes,) = client.classify(str(cells[1])), client.classify(cells[1].read_bytes())
    assert by_path.path == str(cells[1])
    assert by_bytes.path == "image 0"
    assert by_path.probabilities == by_bytes.probabilities
    assert client.classify([]) == []


def test_an_unusable_image_is_refused_alone_and_among_others(client, cells, tmp_path):
    (alone,) = client.classify(b"text")
    assert (alone.decision, alone.label) == ("refused", None)
    assert "not an image" in alone.error
    assert client.classify([cells[0], b"text"])[1].error == alone.error
    (absent,) = client.classify(tmp_path / "absent.png")
    assert (absent.decision, absent.classes) == ("refused", ("RBC", "WBC", "Platelets"))
    (invalid,) = client.classify("a\0b")
    assert "null" in invalid.error


def test_models_and_readiness(client, address):
    model, detector = client.models()
    assert isinstance(model, ServedModel)
    assert (model.task, detector.task) == ("classification", "detection")
    assert (model.name, len(model.hash), model.explains) == (NAME, 64, True)
    assert model.classes == ("RBC", "WBC", "Platelets")
    assert client.ready()
    assert not Client(f"http://127.0.0.1:{free_port()}").ready()


def refused(call, kind: str) -> str:
    with pytest.raises(RequestError) as caught:
        call()
    assert caught.value.kind == kind
    return caught.value.message


def test_a_rejected_request_is_an_error_of_that_kind(client, address, cells, tmp_path):
    assert "API key" in refused(Client(address).models, "key")
    assert NAME in refused(lambda: client.classify(cells[0], model="gpt"), "unknown model")
    refused(lambda: client.classify(tmp_path / "absent", model="gpt"), "unknown model")
    # So much that the server closes before it has all of it.
    assert "--max-bytes" in refused(lambda: client.classify(b"x" * 2**26), "too large")


def test_an_unreachable_server_is_an_error_with_the_next_step(cells):
    nobody = Client(f"http://127.0.0.1:{free_port()}")
    assert "hematovision serve" in refused(lambda: nobody.classify(cells[0]), "unreachable")


def test_a_server_that_does_not_respond_times_out(cells):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        slow = Client(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.2)
        began = time.monotonic()
        refused(lambda: slow.classify(cells[0]), "unreachable")
        assert time.monotonic() - began < 2


@contextmanager
def responding(*responses: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[Client, list[str]]]:
    """A server that sends these responses, one after the other, and the last one repeatedly."""
    left, paths = list(responses), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{server.server_port}/", retries=2), paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FULL = (503, {"Retry-After": "7"}, b'{"error": "full", "request_id": "1"}')
ONE = b'{"models": [{"name": "m", "hash": "h", "classes": ["a"], "explains": false}]}'


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    seen: list[float] = []
    monkeypatch.setattr(time, "sleep", seen.append)
    return seen


def test_a_full_server_is_tried_again_when_it_asks_for(slept):
    with responding(FULL, (503, {"Retry-After": "900"}, b""), (200, {}, ONE)) as (client, _):
        assert client.models() == [ServedModel("m", "h", ("a",), explains=False)]
    assert slept == [7, 30]


def test_a_server_that_stays_full_is_an_error(slept):
    with responding((503, {}, FULL[2])) as (client, paths):
        assert refused(client.models, "full") == "full"
        assert not client.ready()
    assert slept == [1, 1]
    assert len(paths) == 4


@pytest.mark.parametrize(("status", "kind"), [*KINDS.items(), (500, "failed"), (302, "failed")])
def test_every_status_is_a_kind(status, kind, slept):
    with responding((status, {"Location": "/elsewhere"}, b"<html>")) as (client, paths):
        assert str(status) in refused(lambda: client.classify(b"x"), kind)
        assert set(paths) == {"/v1/classify?lenient=true"}  # Nothing is sent elsewhere.


def test_the_kinds_are_those_of_the_server():
    assert {STATUSES[kind]: kind for kind in KINDS.values()} == KINDS
    assert set(STATUSES.values()) == set(KINDS)


MODEL = b'"model": {"name": "m", "hash": "h", "classes": ["a"], "explains": true}'


@pytest.mark.parametrize(
    "body",
    [
        b"welcome",
        b"[]",
        b"{}",
        b'{"rows": [1]}',
        b'{"rows": []}',
        b'{"rows": [{}]}',
        b'{"rows": [{"decision": "accepted"}], ' + MODEL + b"}",
        b'{"rows": [{"decision": "accepted", "p_a": "x"}], ' + MODEL + b"}",
    ],
)
def test_a_response_of_another_kind_of_server_is_an_error(body):
    with responding((200, {}, body)) as (client, _):
        assert "not from a compatible HematoVision server" in refused(
            lambda: client.classify(b"x"), "failed"
        )


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "a\0b"])
def test_a_key_that_is_not_valid_in_a_header_is_rejected(key):
    with pytest.raises(ValueError, match="api_key"):
        Client("http://127.0.0.1:8000", key)


@pytest.mark.parametrize("key", ["schl\u00fcssel", "\u043a\u043b\u044e\u0447"])
def test_a_key_in_any_script_is_shown(key):
    environment = {"HEMATOVISION_API_KEY": key, "PYTHONUTF8": "1"}
    with running("--model", COLOUR_MODEL, environment=environment) as (_, address):
        assert Client(address, key).models()[0].name == COLOUR_MODEL.name
        refused(Client(address, key + "x").models, "key")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_an_invalid_address_is_rejected(url):
    with pytest.raises(ValueError, match="Received"):
        Client(url)
