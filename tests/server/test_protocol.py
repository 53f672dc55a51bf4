"""The Open Inference Protocol v2, in JSON and with bytes behind it."""

import base64
import json
import struct

import numpy as np
import pytest

from dots import DotCounter
from hematovision import images
from hematovision.model.classifier import Classifier
from hematovision.server.application import create_app
from hematovision.server.models import LoadedModel, Models
from hematovision.server.settings import Settings
from model.make_other_graph import other_bundle
from server.conftest import asked

INFER = "/v2/models/rbc-wbc-platelets/infer"


def files_input(*contents):
    return {
        "name": "files",
        "datatype": "BYTES",
        "shape": [len(contents)],
        "data": [base64.b64encode(content).decode() for content in contents],
    }


def values(response):
    return {one["name"]: one["data"] for one in response.json()["outputs"]}


@pytest.fixture(scope="module")
def expected(cell):
    return Classifier.load("rbc-wbc-platelets").predict([images.read(cell)])[0]


def test_the_server_and_its_models_describe_themselves(client):
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    about = client.get("/v2/models/pbc8").json()
    assert about["inputs"][1] == {
        "name": "images",
        "datatype": "UINT8",
        "shape": [-1, 224, 224, 3],
    }
    assert about["outputs"][0]["shape"] == [-1, 8]
    assert client.get("/v2/models/pbc8/ready").status_code == 200
    assert client.get("/v2/models/nobody/ready").status_code == 404
    assert client.get("/v2/health/live").json() == {"live": True}


def test_encoded_images_in_json_are_predicted_like_files(client, cell, expected):
    response = client.post(INFER, json={"id": "seven", "inputs": [files_input(cell, cell)]})
    assert response.status_code == 200
    assert response.json()["id"] == "seven"
    found = values(response)
    np.testing.assert_allclose(found["probabilities"], expected.probabilities * 2, atol=1e-6)
    np.testing.assert_allclose(found["novelty"], [expected.novelty] * 2, atol=1e-6)
    assert found["label"] == [expected.label] * 2
    assert found["decision"] == [expected.decision] * 2


@pytest.mark.parametrize("nested", [True, False])
def test_resized_pixels_in_json_are_predicted_alike(client, cell, expected, nested):
    pixels = images.load(cell)[None]
    data = pixels.tolist() if nested else pixels.ravel().tolist()
    given = {"name": "images", "datatype": "UINT8", "shape": [1, 224, 224, 3], "data": data}
    response = client.post(INFER, json={"inputs": [given], "outputs": [{"name": "probabilities"}]})
    assert list(values(response)) == ["probabilities"]
    np.testing.assert_allclose(values(response)["probabilities"], expected.probabilities, atol=1e-6)


def test_bytes_after_the_json_are_read_and_written(client, cell, expected):
    behind = struct.pack("<I", len(cell)) + cell
    tensor = {"name": "files", "datatype": "BYTES", "shape": [1]}
    tensor["parameters"] = {"binary_data_size": len(behind)}
    outputs = [{"name": "novelty", "parameters": {"binary_data": True}}, {"name": "label"}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post(INFER, content=head + behind, headers=length)
    split = int(response.headers["Inference-Header-Content-Length"])
    novelty, label = json.loads(response.content[:split])["outputs"]
    assert novelty["parameters"] == {"binary_data_size": 4}
    assert struct.unpack("<f", response.content[split:])[0] == pytest.approx(
        expected.novelty, abs=1e-6
    )
    assert label["data"] == [expected.label]


def test_no_images_have_no_predictions(client):
    assert values(client.post(INFER, json={"inputs": [files_input()]}))["probabilities"] == []


@pytest.mark.parametrize(("content", "status"), [(b"text", 415), (b"\x89PNG\r\n\x1a\n", 422)])
def test_an_unusable_image_is_named_by_its_position(client, cell, content, status):
    response = client.post(INFER, json={"inputs": [files_input(cell, content)]})
    assert response.status_code == status
    assert response.json()["error"].startswith("files[1]: ")


PIXELS = {"name": "images", "datatype": "UINT8", "shape": [1, 224, 224, 3]}
FILE = {"name": "files", "datatype": "BYTES", "shape": [1]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "The document must be a JSON object"),
        ({"inputs": []}, "`inputs` must be"),
        ({"inputs": [{**FILE, "shape": ["1"], "data": [""]}]}, "`inputs.0.shape.0` must be"),
        ({"inputs": [FILE]}, "either data or binary_data_size"),
        ({"inputs": [{**FILE, "data": ["?"]}]}, "base64"),
        ({"inputs": [{**FILE, "data": [7]}]}, "base64"),
        ({"inputs": [{**FILE, "data": []}]}, "does not fit 0 elements"),
        ({"inputs": [{**FILE, "parameters": {"binary_data_size": 9}}]}, "0 bytes follow"),
        ({"inputs": [{**FILE, "name": "x", "data": []}]}, "there is no input 'x'"),
        ({"inputs": [{**PIXELS, "data": [1, 2]}]}, "does not fit 2 numbers"),
        ({"inputs": [{**PIXELS, "data": [256]}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "data": [0.5]}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "data": [[1], [1, 2]]}]}, "not a tensor"),
        ({"inputs": [{**PIXELS, "shape": [-1, 224, 224, 3], "data": []}]}, "does not fit"),
        ({"inputs": [{**FILE, "data": [""]}], "outputs": [{"name": "x"}]}, "Request the outputs"),
    ],
)
def test_a_malformed_request_is_rejected_with_the_location(client, body, reason):
    response = client.post(INFER, json=body)
    assert response.status_code == 400
    assert reason in response.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "9999", "\u00b2"])
def test_a_wrong_length_of_the_header_is_refused(client, length):
    headers = {"Inference-Header-Content-Length": length.encode()}
    assert client.post(INFER, content=b"{}", headers=headers).status_code == 400


def test_elements_that_end_early_are_refused(client):
    tensor = {**FILE, "parameters": {"binary_data_size": 5}}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post(INFER, content=head + b"\xff\0\0\0a", headers=length)
    assert "end within an element" in response.json()["error"]


def test_a_model_of_another_size_without_novelty_is_served(cell, tmp_path):
    folder = other_bundle(tmp_path / "other").folder
    with asked(create_app(Settings(models=(folder,)))) as client:
        files = [("files", ("a.png", cell))]
        (row,) = client.post("/v1/classify", files=files).json()["rows"]
        assert (row["novelty"], row["label"] in ("red", "green", "blue")) == (None, True)
        refused = client.post("/v1/classify?explain=true", files=files)
        assert refused.status_code == 422
        assert "no explanation maps" in refused.json()["error"]
        outputs = client.get("/v2/models/other").json()["outputs"]
        assert [output["name"] for output in outputs] == ["probabilities", "label", "decision"]
        response = client.post("/v2/models/other/infer", json={"inputs": [files_input(cell)]})
        assert list(values(response)) == ["probabilities", "label", "decision"]


def test_a_predictor_of_other_rows_has_no_tensors():
    models = Models([LoadedModel("dots", DotCounter())])
    with asked(create_app(Settings(threads=1), models)) as client:
        for response in (
            client.get("/v2/models/dots"),
            client.post("/v2/models/dots/infer", json={"inputs": [files_input(b"")]}),
        ):
            assert response.status_code == 404
            assert "is served under /v1 only" in response.json()["error"]
