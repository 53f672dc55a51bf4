"""Connections that never become requests block nobody."""

import http.client
import json
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

from colour_squares import COLOUR_MODEL
from hematovision.server.connections import affordable
from server.conftest import PARSERS, WITH_H11, exchanged, resident, running

FAST = ("--model", COLOUR_MODEL, "--threads", 1)
HALF = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: "


@pytest.fixture(scope="module", params=PARSERS)
def before(request):
    return WITH_H11 if request.param == "h11" else ""


@pytest.fixture(scope="module")
def hasty(before):
    """A server that waits a second for a header, and holds eight connections."""
    limits = ("--header-timeout", 1, "--max-connections", 8, "--deadline", 5)
    with running(*FAST, *limits, before=before) as (_, address):
        yield address


def connect(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)


def healthy(address: str, seconds: float = 1) -> bool:
    place = address.removeprefix("http://")
    connection = http.client.HTTPConnection(place, timeout=seconds)
    try:
        connection.request("GET", "/v2/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def problem(response: bytes, status: int) -> str:
    """Check that bytes are a problem of that status as documented; return its message."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first.split()[:2] == ["HTTP/1.1", str(status)]
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
    found = json.loads(body)
    assert set(found) == {"error", "request_id"}
    assert headers["x-request-id"] == found["request_id"]
    assert len(found["request_id"]) == 32
    assert int(headers["content-length"]) == len(body)
    assert headers["connection"] == "close"
    return found["error"]


def test_an_incomplete_header_times_out_with_a_reason(hasty):
    began = time.monotonic()
    found = problem(exchanged(hasty, HALF, 10), 408)
    assert "within 1 seconds" in found
    assert 0.9 < time.monotonic() - began < 8


def test_a_header_that_arrives_slowly_times_out(hasty):
    began = time.monotonic()
    with connect(hasty) as stream, suppress(OSError):
        while time.monotonic() - began < 10:
            stream.sendall(b"G")
            stream.settimeout(0.1)
            with suppress(TimeoutError):
                assert stream.recv(2**16).startswith((b"HTTP/1.1 4", b""))
                break
    assert time.monotonic() - began < 5


def test_a_second_request_has_no_longer_for_its_header_than_the_first(hasty):
    whole = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    began = time.monotonic()
    response = exchanged(hasty, whole + HALF, 10)
    assert response.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 8


def test_a_silent_connection_is_closed_silently(hasty):
    began = time.monotonic()
    with connect(hasty) as stream:
        stream.settimeout(8)
        with suppress(ConnectionResetError):
            assert stream.recv(100) == b""
    assert time.monotonic() - began < 5


def test_an_endless_header_is_rejected_before_it_fills_memory(before):
    with running(*FAST, before=before) as (process, address), connect(address) as stream:
        memory = resident(process.pid)
        stream.sendall(HALF + b"a" * 2**26)
        response = stream.recv(2**16)
        # h11 has its own limit, and reports that it is not HTTP.
        problem(response, 431 if response.startswith(b"HTTP/1.1 431") else 400)
        assert resident(process.pid) - memory < 2**24
        assert healthy(address)


@pytest.mark.parametrize(
    "sent",
    [
        b"what is this\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),  # TLS.
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x, y\r\n\r\n1",
    ],
)
def test_a_request_that_is_not_http_gets_an_error_body(hasty, sent):
    assert "not a well-formed" in problem(exchanged(hasty, sent), 400)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/models/?\xff HTTP/1.1",
        b"GET /%0d%0aX:y/ HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http://evil.example/nowhere HTTP/1.1",
        b"CONNECT localhost:80 HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"BREW /v2 HTTP/1.1",
        b"PUT /v1/classify HTTP/1.1",
        b"POST /v1/classify?explain=perhaps HTTP/1.1",
        b"GET /nowhere HTTP/3.0",
        b"GET /v2/models/%2e%2e/ready HTTP/1.1",
    ],
)
def test_every_response_but_200_has_the_documented_body(hasty, line):
    response = exchanged(hasty, line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status = int(response.split()[1])
    assert status in {307, 400, 404, 405, 415, 422}
    problem(response, status)


def test_websockets_do_not_bypass_the_limits(hasty):
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    response = exchanged(
        hasty, b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n" + upgrade + key + b"\r\n", 2
    )
    assert response.startswith(b"HTTP/1.1 403")


def test_the_oldest_idle_connection_is_closed_for_the_newest(hasty):
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(hasty)) for _ in range(8)]
        for one in waiting:
            one.sendall(HALF)
        assert healthy(hasty)
        waiting[0].settimeout(0.5)
        with suppress(ConnectionResetError):
            assert waiting[0].recv(1) == b""


def test_a_connection_beyond_all_busy_ones_gets_503(hasty):
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(hasty)).sendall(head)
        time.sleep(0.3)
        response = exchanged(hasty, b"")
        assert "Too many connections" in problem(response, 503)
        assert b"Retry-After: 1" in response
    until = time.monotonic() + 5
    while not healthy(hasty):
        assert time.monotonic() < until


@contextmanager
def watched(address: str):
    """Check the health repeatedly; yield the seconds between responses."""
    gaps, stop = [], threading.Event()

    def watch():
        last = time.monotonic()
        while not stop.wait(0.02):
            if healthy(address):
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
        gaps.append(time.monotonic() - last)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield gaps
    finally:
        stop.set()
        watching.join()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files")
def test_1100_half_open_connections_block_nobody_and_fill_no_log(before, tmp_path, capsys):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("this process may not open so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    log = tmp_path / "log"
    shell = f"ulimit -n 1024; exec > {log} 2>&1"
    with running(*FAST, before=before, shell=shell) as (process, address), ExitStack() as stack:
        with watched(address) as gaps:
            for _ in range(1100):
                with suppress(OSError):
                    stack.enter_context(connect(address)).sendall(HALF)
            time.sleep(3)
        assert process.poll() is None
        unreachable, written = max(gaps), log.stat().st_size
    with capsys.disabled():
        print(f"\n1,100 half-open: health away for {unreachable:.2f} s, {written:,} bytes of log")
    assert unreachable < 10  # The aim is 30.
    assert written < 100_000  # The aim is 5 MB.


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "found"),
    [
        (1024, 1024, 1000, 924),
        (256, 1024, 1000, 924),  # As on macOS; the soft limit is raised.
        (256, -1, 1000, 1000),
        (-1, -1, 1000, 1000),
        (20000, 20000, 1000, 1000),
        (50, 50, 1000, 1),
    ],
)
def test_connections_stay_below_the_limit_on_open_files(monkeypatch, soft, hard, wanted, found):
    resource = pytest.importorskip("resource")
    limits = [resource.RLIM_INFINITY if one == -1 else one for one in (soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.__setitem__(0, given[0]))
    assert affordable(wanted) == found


def test_a_limit_that_cannot_be_raised_is_kept_to(monkeypatch):
    resource = pytest.importorskip("resource")

    def refuse(*_):
        raise ValueError("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert affordable(1000) == 156
