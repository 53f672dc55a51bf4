"""Checks and limits of every request: identity, key, capacity, deadline."""

import asyncio
import re
import threading
import time

import pytest
from starlette.types import Message

from colour_squares import COLOUR_MODEL
from hematovision.server import classify
from hematovision.server.application import create_app
from hematovision.server.settings import Settings
from server.conftest import asked

FILE = "/v1/classify"


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 128])
def test_a_well_formed_request_id_is_kept(client, given):
    assert client.get("/v2", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
def test_other_request_ids_are_replaced(client, given):
    made = client.get("/nowhere", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-Id"])
    assert made.json() == {"error": "Not Found", "request_id": made.headers["X-Request-Id"]}


def test_compressed_bodies_are_rejected(client):
    assert client.post(FILE, headers={"Content-Encoding": "gzip"}).status_code == 415


def test_a_body_with_too_long_a_declared_length_is_not_read(client):
    response = client.post(FILE, content=b"x", headers={"Content-Length": str(2**20 + 1)})
    assert (response.status_code, "1,048,576" in response.json()["error"]) == (413, True)


def test_a_key_is_required_except_for_health_checks():
    with asked(create_app(Settings(api_key="open sesame"))) as client:
        for path in ("/v2", "/v1/models", "/metrics", "/docs", "/openapi.json", "/nowhere"):
            response = client.get(path)
            assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "X-Request-Id" in response.headers
        assert client.post(FILE).status_code == 401
        assert client.get("/v2", headers={"X-API-Key": "open"}).status_code == 401
        assert client.get("/v2", headers={"X-API-Key": "open sesame"}).status_code == 200
        shown = {"Authorization": "Bearer open sesame"}
        assert client.get("/v2", headers=shown).status_code == 200
        assert client.get("/v2/health/live").status_code == 200


@pytest.fixture
def stuck(monkeypatch):
    """A server of one thread, which is held at its first image until it is released."""
    guard = create_app(Settings(threads=1, queue=2, deadline=0.4))
    began, release, seen = threading.Event(), threading.Event(), []
    predict_image = classify.predict_image

    def held(predictor, item, *, explain):
        seen.append(item.name)
        began.set()
        release.wait(10)
        return predict_image(predictor, item)

    with asked(guard) as client:
        monkeypatch.setattr(classify, "predict_image", held)
        yield client, began, release, seen
        release.set()


def test_past_the_deadline_waiting_work_is_dropped(stuck, cell):
    client, began, release, seen = stuck
    files = [("files", ("first", cell)), ("files", ("second", cell))]
    response = client.post(FILE, files=files)
    assert response.status_code == 504
    assert "0.4 seconds" in response.json()["error"]
    assert began.is_set()
    release.set()
    assert client.post(FILE, files=[("files", ("third", cell))]).status_code == 200
    assert seen == ["first", "third"]


def test_a_full_queue_asks_to_try_again_later(stuck, cell):
    client, began, _, _ = stuck
    statuses = []
    pair = [("files", ("a", cell)), ("files", ("b", cell))]

    def ask(files):
        statuses.append(client.post(FILE, files=files).status_code)

    first = threading.Thread(target=ask, args=[pair[:1]])
    first.start()
    began.wait(5)
    second = threading.Thread(target=ask, args=[pair])
    second.start()
    while "hematovision_queue_length 2.0" not in client.get("/metrics").text:
        pass
    response = client.post(FILE, files=pair[:1])
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    first.join()
    second.join()
    assert statuses == [504, 504]
    assert 'hematovision_refused_total{reason="full"} 1.0' in client.get("/metrics").text


def test_more_requests_than_the_limit_are_not_read(client, guard, cell, monkeypatch):
    monkeypatch.setattr(guard, "in_progress", 100)
    response = client.post(FILE, files=[("files", ("a", cell))])
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_a_server_that_shuts_down_rejects_new_requests(client, guard, cell, monkeypatch):
    monkeypatch.setattr(guard.engine, "closing", True)
    assert client.post(FILE, files=[("files", ("a", cell))]).status_code == 503
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200


def test_an_internal_error_has_a_request_id(client, guard, cell, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(classify, "predict_image", broken)
    response = client.post(FILE, files=[("files", ("a", cell))])
    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["X-Request-Id"]
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("Bearer open sesame", 200),
        ("bearer open sesame", 200),  # A scheme's case is of no account (RFC 9110, 11.1).
        ("BEARER   open sesame ", 200),
        ("open sesame", 401),
        ("Bearer", 401),
        ("Basic open sesame", 401),
        ("Bearer Bearer open sesame", 401),
        ("", 401),
    ],
)
def test_a_key_is_sent_as_a_bearer_token(keyed, shown, status):
    assert keyed.get("/v2", headers={"Authorization": shown}).status_code == status


@pytest.fixture(scope="module")
def keyed():
    settings = Settings(models=(COLOUR_MODEL,), threads=1, api_key="open sesame")
    with asked(create_app(settings)) as client:
        yield client


def test_one_right_key_among_wrong_ones_is_enough(keyed):
    headers = {"X-API-Key": "?", "Authorization": "Bearer open sesame"}
    assert keyed.get("/v2", headers=headers).status_code == 200
    assert keyed.get("/v2", headers={"X-API-Key": "Bearer open sesame"}).status_code == 401


@pytest.mark.parametrize("key", ["schl\u00fcssel", "\u043a\u043b\u044e\u0447", "\U0001f511"])
def test_a_key_in_any_script_is_accepted(key):
    with asked(create_app(Settings(models=(COLOUR_MODEL,), threads=1, api_key=key))) as client:
        shown = f"Bearer {key}".encode()
        assert client.get("/v2", headers={"Authorization": shown}).status_code == 200
        assert client.get("/v2", headers={"X-API-Key": key.encode()}).status_code == 200
        assert client.get("/v2", headers={"X-API-Key": "?"}).status_code == 401
        if key == "schl\u00fcssel":  # What `requests` makes of it.
            assert client.get("/v2", headers={"X-API-Key": key.encode("latin-1")}).is_success


@pytest.mark.parametrize("path", ["/v1/models/", "/v2/models/bundle_v1//", "/docs/"])
def test_a_trailing_slash_is_redirected_only_to_this_host(keyed, path):
    headers = {"Authorization": "Bearer open sesame", "Host": "localhost"}
    response = keyed.get(f"{path}?a=b", headers=headers, follow_redirects=False)
    assert response.status_code == 307
    assert response.headers["Location"] == path.rstrip("/") + "?a=b"
    assert response.json()["request_id"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["//evil.example/", "/nowhere/", "//evil.example/v1/models/"])
def test_a_trailing_slash_on_an_unknown_path_is_not_found(keyed, path):
    headers = {"Authorization": "Bearer open sesame"}
    response = keyed.get(f"http://127.0.0.1:8000{path}", headers=headers, follow_redirects=False)
    assert (response.status_code, response.json()["error"]) == (404, "Not Found")


def test_while_all_threads_are_stuck_the_server_is_not_ready(stuck, cell):
    client, began, release, _ = stuck
    assert client.get("/v2/health/ready").status_code == 200
    assert client.post(FILE, files=[("files", ("first", cell))]).status_code == 504
    assert began.is_set()
    until = time.monotonic() + 5
    while (response := client.get("/v2/health/ready")).status_code == 200:
        assert time.monotonic() < until
    assert response.status_code == 503
    assert "longer than the deadline" in response.json()["error"]
    assert client.get("/v2/models/rbc-wbc-platelets/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
    release.set()
    while client.get("/v2/health/ready").status_code != 200:
        assert time.monotonic() < until


def test_a_rebound_name_is_rejected_with_the_option_that_allows_it(cell):
    settings = Settings(models=(COLOUR_MODEL,), threads=1, allowed_hosts=("lab.example.org",))
    with asked(create_app(settings)) as client:
        for path in ("/v2/health/live", "/v1/models", "/docs", "/metrics", "/v2"):
            response = client.get(path, headers={"Host": "evil.example:8000"})
            assert response.status_code == 403
            assert "--allowed-host evil.example" in response.json()["error"]
            assert response.json()["request_id"] == response.headers["X-Request-Id"]
            assert client.get(path, headers={"Host": "lab.example.org"}).status_code == 200
        files = [("files", ("a.png", cell))]
        foreign = {"Origin": "http://evil.example"}
        assert client.post("/v1/classify", files=files, headers=foreign).status_code == 403
        own = {"Origin": "http://127.0.0.1:8000"}
        assert client.post("/v1/classify", files=files, headers=own).status_code == 200
        assert 'reason="forbidden"} 6.0' in client.get("/metrics").text


def test_a_request_without_host_is_malformed_except_in_http_1_0(guard):
    async def asked(version: str, *hosts: bytes) -> int:
        sent: list[Message] = []
        scope = {
            "type": "http",
            "http_version": version,
            "method": "GET",
            "path": "/v2/health/live",
            "query_string": b"",
            "headers": [(b"host", host) for host in hosts],
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            sent.append(message)

        await guard(scope, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(asked("1.1", b"localhost")) == 200
    assert asyncio.run(asked("1.1")) == 400
    assert asyncio.run(asked("1.1", b"localhost", b"localhost")) == 400
    assert asyncio.run(asked("1.0")) == 200
    assert asyncio.run(asked("1.0", b"evil.example")) == 403
