"""How a server starts, its metrics, and its documentation page."""

import asyncio
import signal
import threading
import time
from dataclasses import replace

import pytest
import uvicorn

from colour_squares import COLOUR_MODEL
from dots import DotCounter, png
from hematovision.errors import ModelError, ModelNotFoundError, RequestError
from hematovision.images import MAX_BYTES, MAX_PIXELS
from hematovision.model.inference import ImageResult
from hematovision.model.prediction import Prediction
from hematovision.model.session import usable_cpus
from hematovision.server import models, running
from hematovision.server.application import create_app
from hematovision.server.engine import Engine, WorkQueue
from hematovision.server.models import LoadedModel, Models
from hematovision.server.problems import headers_of
from hematovision.server.settings import Settings
from server.conftest import asked, free_port


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ()},
        {"threads": -1},
        {"queue": 0},
        {"deadline": 0},
        {"max_bytes": 0},
        {"max_bytes": MAX_BYTES + 1},
        {"deadline": float("inf")},
        {"deadline": float("nan")},
        {"header_timeout": float("nan")},
        {"header_timeout": -1.0},
        {"max_pixels": 224 * 224 - 1},
        {"max_pixels": MAX_PIXELS + 1},
        {"max_connections": 0},
        {"api_key": ""},
        {"api_key": " "},
        {"api_key": "two\nlines"},
        {"api_key": " spaced"},
        {"allowed_hosts": ("https://lab.example.org",)},
        {"allowed_hosts": ("lab.example.org:443",)},
        {"allowed_hosts": ("",)},
    ],
)
def test_invalid_settings_are_rejected_with_the_received_value(wrong):
    with pytest.raises(ValueError, match="Received"):
        Settings(**wrong)


def test_zero_threads_mean_one_more_than_the_cpus():
    assert (Settings().workers, Settings(threads=7).workers) == (usable_cpus() + 1, 7)


def test_a_server_without_its_model_does_not_start():
    with pytest.raises(ModelNotFoundError, match="no-such"):
        create_app(Settings(models=("no-such",)))


def test_two_models_of_one_name_are_not_served():
    with pytest.raises(ModelError, match="same name: pbc8, pbc8"):
        Models.load(["pbc8", "pbc8"])


SELF_TESTED_MODEL = COLOUR_MODEL.with_name("bundle_v2")


def warmed(model, monkeypatch, *shifts):
    """An engine whose model's predictions are off by the given shifts, one after the other."""
    engine, left = Engine(Settings(threads=1), Models.load([model])), list(shifts)
    (served,) = engine.models.all
    predict_rows = served.predictor.predict_rows

    def shifted(pixels, name, *, explain):
        (prediction,), _ = predict_rows(pixels, name, explain=explain)
        first, *others = prediction.probabilities
        moved = (first - left.pop(0), *others)
        return [replace(prediction, probabilities=moved)], None

    with pytest.raises(RequestError, match="starting up"):
        engine.check_open()
    monkeypatch.setattr(served.predictor, "predict_rows", shifted)
    asyncio.run(engine.warm_up())
    engine.queue.close(1)
    return engine


@pytest.mark.parametrize("shift", [0.0, 0.9e-4, 1.1e-4])
def test_ready_only_after_the_self_test(shift, monkeypatch, caplog):
    engine = warmed(SELF_TESTED_MODEL, monkeypatch, shift)
    assert not caplog.records
    if shift < 1e-4:
        engine.check_open()
        return
    with pytest.raises(RequestError, match=r"bundle_v2 fails its self-test") as caught:
        engine.check_open()
    # What was expected, what was received, what to do.
    for part in ("bundle_v2", "(0.997765, 0.000000, 0.002235)", "(0.997655,", "install"):
        assert part in caught.value.message


@pytest.mark.parametrize("shifts", [(0.0, 0.0), (0.1, 0.1), (0.0, 0.1)])
def test_without_a_self_test_two_predictions_are_compared_and_the_log_notes_it(
    shifts, monkeypatch, caplog
):
    engine = warmed(COLOUR_MODEL, monkeypatch, *shifts)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "bundle_v1 has no self-test"
    ]
    assert engine.ready is (shifts[0] == shifts[1])
    assert ("two predictions differ" in engine.failure) is (shifts[0] != shifts[1])


def test_a_server_that_will_never_be_ready_ends_with_the_reason(monkeypatch):
    result = ImageResult("x", b"", (Prediction.refused("x", (), "no way"),))
    monkeypatch.setattr(models, "predict_image", lambda *_: result)
    with pytest.raises(ModelError, match="received no way"):
        running.serve(Settings(models=(SELF_TESTED_MODEL,), threads=1), port=free_port())


def test_a_model_without_explanation_maps_is_an_error(cell, tmp_path):
    with asked(create_app(Settings(models=(COLOUR_MODEL,)))) as client:
        files = [("files", ("a.png", cell))]
        response = client.post("/v1/classify?explain=true", files=files)
        assert (response.status_code, "no explanation maps" in response.json()["error"]) == (
            422,
            True,
        )
        assert client.post("/v1/classify", files=files).status_code == 200


def test_the_page_lists_every_path_and_loads_nothing(client):
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
    assert "//" not in page.replace("<!doctype html>", "")
    assert "<script" not in page


def test_the_address_of_the_server_leads_to_the_page(client):
    response = client.get("/", follow_redirects=True)
    assert (response.url.path, response.status_code) == ("/docs", 200)
    assert "in parts named <code>files</code>" in response.text
    assert "`" not in response.text


def test_requests_predictions_and_seconds_are_counted(client, cell):
    client.post("/v1/classify", files=[("files", ("secret-name", cell)), ("files", ("b", b""))])
    client.get("/v2/models/pbc8")
    client.get("/some/secret/path")
    page = client.get("/metrics").text
    assert 'hematovision_requests_total{path="/v1/classify",status="200"} 1.0' in page
    assert 'hematovision_requests_total{path="/v2/models/{name}",status="200"} 1.0' in page
    assert 'hematovision_requests_total{path="other",status="404"} 1.0' in page
    assert 'hematovision_request_seconds_count{path="/v1/classify"} 1.0' in page
    assert 'decision="refused",label="",model="rbc-wbc-platelets"} 1.0' in page
    assert 'label="WBC",model="rbc-wbc-platelets"} 1.0' in page
    for name in ("predictions", "answers"):  # The latter is deprecated.
        assert f'hematovision_{name}_total{{decision="refused",label=""' in page
    assert "hematovision_queue_length 0.0" in page
    assert "secret" not in page


def test_a_request_larger_than_the_queue_is_not_queued():
    queue, done = WorkQueue(1, 2), []

    async def ask():
        await queue.run([lambda: done.append(1)] * 3)

    with pytest.raises(RequestError, match="3 images; at most 2"):
        asyncio.run(ask())
    queue.close(1)
    assert (done, queue.waiting) == ([], 0)


def test_a_full_queue_states_what_is_waiting_and_knows_for_how_long():
    queue, wanted = WorkQueue(1, 2), threading.Event()

    async def ask():
        await queue.run([lambda: time.sleep(0.05)])
        assert queue.seconds_left == 0
        running = [asyncio.create_task(queue.run([lambda: wanted.wait(5)])) for _ in range(2)]
        while queue.waiting != 1:
            await asyncio.sleep(0.01)
        assert 0.05 <= queue.seconds_left < 5
        before = queue.seconds_left
        await asyncio.sleep(0.2)
        assert queue.seconds_left >= before + 0.1  # the running job turns out to be longer
        try:
            await queue.run([wanted.wait] * 2)
        finally:
            wanted.set()
            await asyncio.gather(*running)

    with pytest.raises(RequestError, match="no space for 2 images: 1 image of at most 2 waiting"):
        asyncio.run(ask())
    queue.close(1)


@pytest.mark.parametrize(("seconds", "expected"), [(0, "1"), (3.2, "4"), (900, "30")])
def test_a_full_queue_asks_to_retry_when_it_will_be_empty(seconds, expected):
    assert headers_of(RequestError("full", ""), seconds) == {"Retry-After": expected}
    assert headers_of(RequestError("broken", ""), seconds) == {}


def test_a_signal_closes_the_application_before_the_server(monkeypatch):
    seen = []

    def run(self, sockets):
        with self.capture_signals():
            signal.raise_signal(signal.SIGINT)
        seen.append((self.should_exit, self.config.app.engine.closing, len(sockets)))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    before = signal.getsignal(signal.SIGINT)
    running.serve(Settings(models=(COLOUR_MODEL,), threads=1), port=0)
    assert seen == [(True, True, 1)]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_rows_of_any_predictor_are_served():
    models = Models([LoadedModel("dots", DotCounter())])
    with asked(create_app(Settings(threads=1), models)) as client:
        uploads = {"one": png(3), "three": png(0, 2, 7), "none": png(), "text": b"no image"}
        files = [("files", pair) for pair in uploads.items()]
        response = client.post("/v1/classify", files=files)
        assert response.json()["model"] == {
            "name": "dots",
            "hash": DotCounter.identity["model"],
            "classes": ["dot"],
            "explains": False,
            "task": "classification",
        }
        rows = response.json()["rows"]
        assert [(row["image"], row["x"]) for row in rows] == [
            ("one", 3),
            ("three", 0),
            ("three", 2),
            ("three", 7),
            ("text", None),
        ]
        assert rows[1] == {"image": "three", "x": 0, "share": 1 / 3, "on_edge": True, "error": ""}
        assert '"x":0,"share":0.3333333333333333,"on_edge":true,' in response.text
        assert "is not an image" in rows[-1]["error"]
        alone = client.post("/v1/classify", files=[("files", ("text", b"no image"))])
        assert (alone.status_code, alone.json()["error"][:6]) == (415, "text: ")
