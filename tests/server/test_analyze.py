"""``/v1/analyze`` returns the rows of ``hematovision analyze``, and the client groups them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from colour_squares import COLOUR_MODEL
from hematovision import images
from hematovision.client import Client
from hematovision.errors import ModelError, RequestError
from hematovision.fields.analysis import FieldAnalysis
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.rows import CELL_SCHEMA, FIELD_SCHEMA, split
from hematovision.model.self_test import SelfTest
from hematovision.server.application import create_app
from hematovision.server.models import Models
from hematovision.server.settings import Settings
from hematovision.synthetic import render_field
from server.conftest import asked

DETECTOR = "blood-fields"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with asked(create_app(Settings(models=("rbc-wbc-platelets", DETECTOR)))) as client:
        yield client


@pytest.fixture(scope="module")
def field() -> bytes:
    return images.encode_png(render_field(3).image)


def post(client, *contents, **query):
    parts = [("files", (f"{i}.png", content)) for i, content in enumerate(contents)]
    return client.post("/v1/analyze", files=parts, params=query)


@pytest.fixture(scope="module")
def local(field: bytes):
    """The cells and the field, analysed in this process."""
    return split(FieldAnalyzer.load(workers=1).predict_rows(images.read(field), "0.png")[0])


def test_rows_are_those_of_the_analysis(client, field, local):
    response = post(client, field).json()
    cells, fields = local
    assert response["fields"] == [row.values() for row in fields]
    assert response["cells"] == [row.values() for row in cells]
    assert len(cells) > 5
    assert tuple(response["cells"][0]) == CELL_SCHEMA.names
    assert tuple(response["fields"][0]) == FIELD_SCHEMA.names
    assert (response["model"]["name"], response["model"]["task"]) == (DETECTOR, "detection")


def test_settings_are_those_of_the_request(client, field, local):
    whole = post(client, field, edges="all").json()["cells"]
    assert all(cell["counted"] for cell in whole)
    assert len(whole) == len(local[0])
    (row,) = post(client, field, rbc_diameter=30).json()["fields"]
    assert (row["scale_source"], row["rbc_diameter_px"]) == ("--rbc-diameter", 30.0)
    (row,) = post(client, field, um_per_px=0.25).json()["fields"]
    assert (row["scale_source"], row["um_per_px"]) == ("--um-per-px", 0.25)
    for wrong in ({"edges": "left"}, {"rbc_diameter": 0}, {"rbc_diameter": 9, "um_per_px": 1}):
        assert post(client, field, **wrong).status_code == 422


def test_an_image_that_a_tiny_scale_would_enlarge_too_much_is_rejected(client):
    small, large = (images.encode_png(render_field(3, size=(s, s)).image) for s in (64, 1200))
    assert post(client, small, rbc_diameter=5).status_code == 200
    response = post(client, large, rbc_diameter=5)
    assert response.status_code == 422
    assert "pixels" in response.json()["error"]
    assert post(client, small, rbc_diameter=0.03).status_code == 422
    assert post(client, small, um_per_px=50).status_code == 422


def test_the_header_names_the_detector(client, field):
    response = post(client, field)
    assert response.headers["X-Model-Hash"] == response.json()["model"]["hash"]
    listed = {one["name"]: one["task"] for one in client.get("/v1/models").json()["models"]}
    assert listed == {"rbc-wbc-platelets": "classification", DETECTOR: "detection"}


def test_errors_are_those_of_classify(client, field):
    assert post(client, b"text").status_code == 415
    assert post(client, field[:200]).status_code == 422
    both = post(client, field[:200], field).json()
    assert [bool(row["error"]) for row in both["fields"]] == [True, False]
    lenient = post(client, b"text", lenient="true").json()
    assert "is not an image" in lenient["fields"][0]["error"]
    assert lenient["cells"] == []


def test_a_model_that_is_no_detector_is_not_found(client, field):
    response = post(client, field, model="rbc-wbc-platelets")
    assert response.status_code == 404
    assert response.json()["error"] == (
        "There is no detector 'rbc-wbc-platelets' here. Available: blood-fields."
    )
    assert client.get(f"/v2/models/{DETECTOR}").status_code == 404


def test_a_server_without_a_detector_names_one(field):
    with asked(create_app(Settings(models=(COLOUR_MODEL,), threads=1))) as client:
        assert f"--model {DETECTOR}" in post(client, field).json()["error"]


def test_a_damaged_detector_fails_its_self_test():
    (served,) = Models.load([DETECTOR]).all
    served.warm_up()
    served._self_test = SelfTest((0.0, 0.0, 0.0), None)
    with pytest.raises(ModelError, match="blood-fields fails its self-test"):
        served.warm_up()


class TestClient:
    """Requests go to the server in this process."""

    @pytest.fixture
    def remote(self, client, monkeypatch) -> Client:
        remote = Client("http://127.0.0.1:8000")

        def request(path, body=None, kind="application/json", retries=None):
            method = "GET" if body is None else "POST"
            response = client.request(method, path, content=body, headers={"Content-Type": kind})
            if response.status_code != 200:
                raise RequestError("failed", response.json()["error"])
            return response.json()

        monkeypatch.setattr(remote, "_request", request)
        return remote

    def test_fields_are_in_the_order_of_the_files(self, remote, field, local, tmp_path: Path):
        path = tmp_path / "field.png"
        path.write_bytes(field)
        (tmp_path / "text.png").write_text("text")
        given = [path, tmp_path / "gone.png", field, tmp_path / "text.png", path, path]
        found = remote.analyze(given)
        names = [one.field.image for one in found]
        assert names == [
            str(path), str(tmp_path / "gone.png"), "image 2", str(tmp_path / "text.png"),
            str(path), str(path),
        ]  # fmt: skip
        assert [bool(one.field.error) for one in found] == [False, True, False, True, False, False]
        assert [len(one.cells) for one in found] == [len(local[0]) * (i in (0, 2, 4, 5))
                                                     for i in range(6)]  # fmt: skip
        assert {cell.image for cell in found[4].cells} == {str(path)}

    def test_settings_are_sent(self, remote, field):
        (found,) = remote.analyze(field, edges="all", um_per_px=0.25)
        assert all(cell.counted for cell in found.cells)
        assert found.field.scale_source == "--um-per-px"
        with pytest.raises(RequestError, match="no detector 'pbc8'"):
            remote.analyze(field, model="pbc8")

    def test_another_server_is_noticed(self, remote, field, monkeypatch):
        monkeypatch.setattr(remote, "_request", lambda *_: {"fields": [{"image": 1}], "cells": []})
        with pytest.raises(RequestError, match="a row is neither a field nor a cell"):
            remote.analyze(field)
        monkeypatch.setattr(remote, "_request", lambda *_: {"fields": [], "cells": []})
        with pytest.raises(RequestError, match="0 fields for 1"):
            remote.analyze(field)

    def test_nothing_is_sent_without_a_readable_file(self, remote, tmp_path: Path):
        (found,) = remote.analyze(tmp_path / "gone.png")
        assert isinstance(found, FieldAnalysis)
        assert found.field.error
