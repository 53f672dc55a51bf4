"""What every request passes: identity, key, room, deadline."""

import re
import threading

import pytest

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
