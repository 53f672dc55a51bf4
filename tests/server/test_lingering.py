"""Clients that send a whole body before they read anything still see why it was rejected."""

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import httpx
import pytest

from colour_squares import COLOUR_MODEL
from hematovision.client import Client
from hematovision.errors import RequestError
from server.conftest import PARSERS, WITH_H11, exchanged, running

KEY = "open sesame"
BIG = 120 * 2**20


@pytest.fixture(scope="module", params=PARSERS)
def server(request):
    before = WITH_H11 if request.param == "h11" else ""
    options = ("--model", COLOUR_MODEL, "--threads", 1)
    environment = {"HEMATOVISION_API_KEY": KEY}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        with running(*options, before=before, environment=environment) as (_, address):
            yield address


def shown(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def by_urllib(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30)
    with caught.value as response:
        return response.code, response.read()


def by_http_client(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """As `requests` does: all of the body, then the response, and the connection kept."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=30)
    connection.request("POST", "/v1/classify", body, headers)
    with connection.getresponse() as response:
        found = response.status, response.read()
    connection.close()
    return found


def by_chunks(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """As a program sends what it makes while it sends it: without its length."""
    pieces = (body[i : i + 2**20] for i in range(0, len(body), 2**20))
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    return by_http_client(url, pieces, headers | kind)


def by_httpx(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    response = httpx.post(url, content=body, headers=headers, timeout=30)
    return response.status_code, response.content


@pytest.mark.parametrize("send", [by_urllib, by_http_client, by_chunks, by_httpx])
def test_a_body_of_120_megabytes_gets_a_response(server, send):
    status, body = send(f"{server}/v1/classify", bytes(BIG), shown())
    assert status == 413
    assert "33,554,432 bytes, the limit" in json.loads(body)["error"]


@pytest.mark.parametrize("send", [by_urllib, by_http_client, by_httpx])
def test_a_large_body_without_the_key_gets_a_response(server, send):
    assert send(f"{server}/v1/classify", bytes(2**24), shown("?"))[0] == 401


def test_our_client_raises_the_error_of_a_large_body(server):
    with pytest.raises(RequestError, match="--max-bytes") as caught:
        Client(server, KEY).classify(bytes(BIG))
    assert caught.value.kind == "too large"


def head(length: int, *lines: str, key: str = KEY) -> bytes:
    given = [f"Authorization: Bearer {key}", f"Content-Length: {length}", *lines]
    return "\r\n".join(["POST /v1/classify HTTP/1.1", "Host: localhost", *given, "", ""]).encode()


@pytest.mark.parametrize(("length", "key", "status"), [(BIG, KEY, 413), (9, "?", 401)])
def test_a_client_that_expects_100_continue_is_rejected_first(server, length, key, status):
    began = time.monotonic()
    response = exchanged(server, head(length, "Expect: 100-continue", key=key))
    assert response.startswith(f"HTTP/1.1 {status}".encode())
    assert b"100 Continue" not in response
    assert time.monotonic() - began < 4  # The connection is closed: nothing more comes.


def test_a_client_that_expects_100_continue_is_accepted(server):
    kind = "Content-Type: multipart/form-data; boundary=b"
    response = exchanged(server, head(9, kind, "Expect: 100-continue") + b"--b--\r\n\r\n", 2)
    first, _, second = response.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 100 Continue"
    assert second.startswith(b"HTTP/1.1 422")


def test_after_a_short_body_that_was_not_read_the_connection_is_kept(server):
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=5)
    for _ in range(3):
        connection.request("POST", "/v1/classify", bytes(2**19), shown("?"))
        with connection.getresponse() as response:
            assert response.status == 401
            assert response.read()
        assert connection.sock is not None
    connection.close()


def test_a_client_that_never_sends_the_rest_is_disconnected(server):
    place = ("127.0.0.1", int(server.rpartition(":")[2]))
    with socket.create_connection(place, 20) as stream:
        began = time.monotonic()
        stream.sendall(head(2**30))
        found = b""
        while data := stream.recv(2**16):
            found += data
            assert time.monotonic() - began < 2 or found.startswith(b"HTTP/1.1 413")
    assert found.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - began < 10


def test_many_clients_that_never_send_the_rest_block_nobody(server):
    place = ("127.0.0.1", int(server.rpartition(":")[2]))
    streams = [socket.create_connection(place, 5) for _ in range(300)]
    try:
        for stream in streams:
            stream.sendall(head(2**30))
        response = httpx.get(f"{server}/v2/health/ready", timeout=2)
        assert response.status_code == 200
    finally:
        for stream in streams:
            stream.close()


def test_shutdown_does_not_wait_for_a_client_that_never_reads():
    """Responses fill its system's memory for them, and then the server's."""
    with running("--model", COLOUR_MODEL, "--deadline", 1) as (process, address):
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        with socket.socket() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.connect(place)
            ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
            sending = threading.Thread(target=lambda: stream.sendall(ask * 2000), daemon=True)
            sending.start()
            time.sleep(1)
            assert httpx.get(f"{address}/v2/health/ready", timeout=2).status_code == 200
            began = time.monotonic()
            process.terminate()
            assert process.wait(15) == 0
            assert time.monotonic() - began < 1 + 5
