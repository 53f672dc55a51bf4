"""A client that leaves is noticed: half-way through its request, and while it waits."""

import asyncio
import threading

import pytest

from colour_squares import COLOUR_MODEL
from hematovision.server.application import create_app
from hematovision.server.requests import Body
from hematovision.server.settings import Settings

FORM = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n--b--\r\n'
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/classify",
    "query_string": b"",
    "headers": [
        (b"host", b"localhost"),
        (b"content-type", b"multipart/form-data; boundary=b"),
        (b"transfer-encoding", b"chunked"),
    ],
}
GONE = {"type": "http.disconnect"}
RESPONDED = {"type": "http.disconnect", "after": "the response has begun"}


def part(body: bytes, *, more: bool = False) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def asked(*messages, until: threading.Event | None = None, deadline: float = 5.0):
    """Send messages to a server, the last one after the event; return its messages and metrics."""
    guard = create_app(Settings(models=(COLOUR_MODEL,), threads=1, deadline=deadline))
    left, sent = list(messages), []
    hang = threading.Event()
    (served,) = guard.engine.models.all
    if until is not None:
        served.predictor.read = lambda *_: (until.set(), hang.wait(5))

    async def receive():
        if len(left) == 1 and until is not None:
            await asyncio.to_thread(until.wait, 5)
        while left[:1] == [RESPONDED] and not sent:
            await asyncio.sleep(0.01)
        return left.pop(0) if left else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async def ask():
        guard.engine.ready = True
        await guard({**SCOPE}, receive, send)

    asyncio.run(ask())
    hang.set()
    guard.engine.close()
    assert guard.in_progress == 0
    return sent, guard.engine.metrics.page().decode()


def test_a_client_that_leaves_while_sending_is_counted_and_gets_no_response():
    sent, metrics = asked(part(FORM[:30], more=True), GONE)
    assert sent == []
    assert 'hematovision_refused_total{reason="deserted"} 1.0' in metrics
    assert 'status="499"} 1.0' in metrics


def test_waiting_work_of_a_client_that_disconnected_is_dropped():
    twice = FORM[: FORM.index(b"--b--")] * 2 + b"--b--\r\n"
    sent, metrics = asked(part(twice), part(b""), GONE, until=threading.Event())
    assert sent == []
    assert "hematovision_dropped_total 1.0" in metrics  # The other one had begun.
    assert 'status="499"} 1.0' in metrics


def test_a_client_that_waits_gets_a_response_at_the_deadline():
    sent, metrics = asked(part(FORM), part(b""), until=threading.Event(), deadline=0.2)
    assert sent[0]["status"] == 504
    assert "deserted" not in metrics


def test_a_client_that_leaves_after_the_response_started_is_not_counted():
    sent, metrics = asked(part(FORM), RESPONDED)
    assert sent[0]["status"] == 415
    assert "deserted" not in metrics


def test_a_task_cancelled_by_others_stays_cancelled():
    async def run():
        body = Body(SCOPE, asyncio.Event().wait, 100)
        async with body.while_awaited():
            await asyncio.sleep(5)

    async def stopped():
        task = asyncio.create_task(run())
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
