"""What every request passes: identity, key, room, deadline."""

import asyncio
import re
import threading
import time

import pytest
from starlette.types import Message

from colour_squares import COLOUR_MODEL
from hematovision.server.application import create_app
from hematovision.server.settings import Settings
from server.conftest import asked

FILE = "/v1/classify"


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 128])
def test_a_well_formed_identity_is_taken_over(client, given):
    assert client.get("/v2", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
def test_any_other_is_replaced(client, given):
    made = client.get("/nowhere", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-Id"])
    assert made.json() == {"error": "Not Found", "request_id": made.headers["X-Request-Id"]}


def test_compressed_bodies_are_not_taken(client):
    assert client.post(FILE, headers={"Content-Encoding": "gzip"}).status_code == 415


def test_what_is_too_long_by_its_own_word_is_not_read(client):
    answer = client.post(FILE, content=b"x", headers={"Content-Length": str(2**20 + 1)})
    assert (answer.status_code, "1,048,576" in answer.json()["error"]) == (413, True)


def test_a_key_is_asked_for_everywhere_but_for_the_health():
    with asked(create_app(Settings(api_key="open sesame"))) as client:
        for path in ("/v2", "/v1/models", "/metrics", "/docs", "/openapi.json", "/nowhere"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "X-Request-Id" in answer.headers
        assert client.post(FILE).status_code == 401
        assert client.get("/v2", headers={"X-API-Key": "open"}).status_code == 401
        assert client.get("/v2", headers={"X-API-Key": "open sesame"}).status_code == 200
        shown = {"Authorization": "Bearer open sesame"}
        assert client.get("/v2", headers=shown).status_code == 200
        assert client.get("/v2/health/live").status_code == 200


@pytest.fixture
def stuck(monkeypatch):
    """A service of one thread, which is held at its first image until it is released."""
    door = create_app(Settings(threads=1, queue=2, deadline=0.4))
    (served,) = door.engine.models.all
    began, release, looked = threading.Event(), threading.Event(), []
    look = served.look

    def held(content, name, *, explain=False):
        looked.append(name)
        began.set()
        release.wait(10)
        return look(content, name)

    with asked(door) as client:
        monkeypatch.setattr(served, "look", held)
        yield client, began, release, looked
        release.set()


def test_past_the_deadline_work_is_dropped_and_not_done_for_nobody(stuck, cell):
    client, began, release, looked = stuck
    files = [("files", ("first", cell)), ("files", ("second", cell))]
    answer = client.post(FILE, files=files)
    assert answer.status_code == 504
    assert "0.4 seconds" in answer.json()["error"]
    assert began.is_set()
    release.set()
    assert client.post(FILE, files=[("files", ("third", cell))]).status_code == 200
    assert looked == ["first", "third"]


def test_a_full_queue_says_when_to_come_again(stuck, cell):
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
    answer = client.post(FILE, files=pair[:1])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    first.join()
    second.join()
    assert statuses == [504, 504]
    assert 'hematovision_refused_total{reason="full"} 1.0' in client.get("/metrics").text


def test_more_requests_than_there_is_room_for_are_not_even_read(client, door, cell, monkeypatch):
    monkeypatch.setattr(door, "in_hand", 100)
    answer = client.post(FILE, files=[("files", ("a", cell))])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_service_that_is_about_to_end_takes_no_more(client, door, cell, monkeypatch):
    monkeypatch.setattr(door.engine, "closing", True)
    assert client.post(FILE, files=[("files", ("a", cell))]).status_code == 503
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200


def test_a_failure_of_our_own_is_an_answer_with_an_identity(client, door, cell, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(door.engine.models.all[0], "look", broken)
    answer = client.post(FILE, files=[("files", ("a", cell))])
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert "secret" not in answer.text


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
def test_a_key_is_shown_as_a_bearer_shows_it(keyed, shown, status):
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
def test_a_key_in_any_script_is_taken(key):
    with asked(create_app(Settings(models=(COLOUR_MODEL,), threads=1, api_key=key))) as client:
        shown = f"Bearer {key}".encode()
        assert client.get("/v2", headers={"Authorization": shown}).status_code == 200
        assert client.get("/v2", headers={"X-API-Key": key.encode()}).status_code == 200
        assert client.get("/v2", headers={"X-API-Key": "?"}).status_code == 401
        if key == "schl\u00fcssel":  # What `requests` makes of it.
            assert client.get("/v2", headers={"X-API-Key": key.encode("latin-1")}).is_success


@pytest.mark.parametrize("path", ["/v1/models/", "/v2/models/bundle_v1//", "/docs/"])
def test_a_slash_too_many_is_redirected_with_a_body_and_to_this_host_only(keyed, path):
    headers = {"Authorization": "Bearer open sesame", "Host": "localhost"}
    answer = keyed.get(f"{path}?a=b", headers=headers, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["Location"] == path.rstrip("/") + "?a=b"
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["//evil.example/", "/nowhere/", "//evil.example/v1/models/"])
def test_a_slash_behind_nothing_is_not_found(keyed, path):
    headers = {"Authorization": "Bearer open sesame"}
    answer = keyed.get(f"http://127.0.0.1:8000{path}", headers=headers, follow_redirects=False)
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")


def test_while_all_threads_are_stuck_the_service_is_not_ready(stuck, cell):
    client, began, release, _ = stuck
    assert client.get("/v2/health/ready").status_code == 200
    assert client.post(FILE, files=[("files", ("first", cell))]).status_code == 504
    assert began.is_set()
    until = time.monotonic() + 5
    while (answer := client.get("/v2/health/ready")).status_code == 200:
        assert time.monotonic() < until
    assert answer.status_code == 503
    assert "longer than the deadline" in answer.json()["error"]
    assert client.get("/v2/models/rbc-wbc-platelets/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
    release.set()
    while client.get("/v2/health/ready").status_code != 200:
        assert time.monotonic() < until


def test_a_rebound_name_reaches_nothing_and_is_told_how_to_be_allowed(cell):
    settings = Settings(models=(COLOUR_MODEL,), threads=1, allowed_hosts=("lab.example.org",))
    with asked(create_app(settings)) as client:
        for path in ("/v2/health/live", "/v1/models", "/docs", "/metrics", "/v2"):
            answer = client.get(path, headers={"Host": "evil.example:8000"})
            assert answer.status_code == 403
            assert "--allowed-host evil.example" in answer.json()["error"]
            assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
            assert client.get(path, headers={"Host": "lab.example.org"}).status_code == 200
        files = [("files", ("a.png", cell))]
        foreign = {"Origin": "http://evil.example"}
        assert client.post("/v1/classify", files=files, headers=foreign).status_code == 403
        own = {"Origin": "http://127.0.0.1:8000"}
        assert client.post("/v1/classify", files=files, headers=own).status_code == 200
        assert 'reason="forbidden"} 6.0' in client.get("/metrics").text


def test_a_request_without_host_is_malformed_unless_it_is_very_old(door):
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

        await door(scope, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(asked("1.1", b"localhost")) == 200
    assert asyncio.run(asked("1.1")) == 400
    assert asyncio.run(asked("1.1", b"localhost", b"localhost")) == 400
    assert asyncio.run(asked("1.0")) == 200
    assert asyncio.run(asked("1.0", b"evil.example")) == 403
