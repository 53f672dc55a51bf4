"""``/v1/classify`` returns the rows of ``hematovision classify``, or the error."""

import base64
import json
import tempfile

import numpy as np
import pytest

from colour_squares import COLOUR_MODEL
from hematovision import images
from hematovision.server.application import create_app
from hematovision.server.settings import Settings
from hematovision.synthetic import render_cell
from hematovision.workflows.classify import classify
from server.conftest import asked
from tiff_files import one_page


def post(client, *contents, names=None, **query):
    names = names or [f"{i}.png" for i in range(len(contents))]
    parts = [("files", pair) for pair in zip(names, contents, strict=True)]
    return client.post("/v1/classify", files=parts, params=query)


def test_rows_are_those_of_the_command(client, tmp_path):
    paths = [
        images.write(tmp_path / f"{kind}.{ending}", render_cell(kind, seed))
        for seed, (kind, ending) in enumerate(
            [("rbc", "png"), ("platelet", "jpg"), ("basophil", "jpg"), ("monocyte", "png")]
        )
    ]
    classify(paths, out=tmp_path / "table.jsonl")
    expected = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    response = post(client, *[path.read_bytes() for path in paths], names=[p.name for p in paths])
    assert response.status_code == 200
    assert len(response.json()["rows"]) == len(expected) == 4
    for row, wanted, path in zip(response.json()["rows"], expected, paths, strict=True):
        assert list(row) == list(wanted)
        assert row["path"] == path.name
        for key in set(row) - {"path"}:
            if isinstance(wanted[key], float):
                assert row[key] == pytest.approx(wanted[key], abs=1e-6)
            else:
                assert (row[key] or None) == (wanted[key] or None)


def test_a_response_names_the_request_and_the_model(client, cell):
    response = post(client, cell, model="pbc8")
    (listed,) = [m for m in client.get("/v1/models").json()["models"] if m["name"] == "pbc8"]
    assert response.json()["model"] == listed
    assert len(listed["hash"]) == 64
    assert response.headers["X-Model-Hash"] == listed["hash"]
    assert response.headers["X-Request-Id"] == response.json()["request_id"]


def test_the_first_model_is_the_default(client, cell):
    assert post(client, cell).json()["model"]["name"] == "rbc-wbc-platelets"


def test_a_heat_map_is_an_image_in_base64(client, cell):
    (row,) = post(client, cell, explain="true").json()["rows"]
    heat_map = images.read(base64.b64decode(row["heat_map"]))
    assert heat_map.shape == (256, 256, 3)  # A crop below 256 pixels is enlarged to that.
    assert np.ptp(heat_map) > 100
    assert "heat_map" not in post(client, cell).json()["rows"][0]


@pytest.mark.parametrize(
    ("cut", "status", "reason"),
    [(500, 422, "ends early"), (0, 422, "is empty"), (None, 415, "is not an image")],
)
def test_a_single_unusable_image_is_an_error_status(client, cell, cut, status, reason):
    response = post(client, b"plain text" if cut is None else cell[:cut])
    assert response.status_code == status
    assert response.json()["error"].startswith("0.png: ")
    assert reason in response.json()["error"]
    assert len(response.headers["X-Model-Hash"]) == 64


def test_a_tiff_with_a_compression_that_cannot_be_read_is_unsupported_and_not_damaged(client):
    response = post(client, one_page(t259=(3, (50001,))))
    assert response.status_code == 415
    assert "compressed with WebP" in response.json()["error"]


def test_a_lenient_request_gets_a_row_for_a_single_unusable_image(client):
    response = post(client, b"plain text", lenient="true")
    assert response.status_code == 200
    assert "is not an image" in response.json()["rows"][0]["error"]


def test_with_several_images_errors_are_in_the_rows(client, cell):
    response = post(client, cell[:500], cell, b"text")
    assert response.status_code == 200
    rows = response.json()["rows"]
    assert [row["decision"] == "refused" for row in rows] == [True, False, True]
    assert ["ends early" in row["error"] for row in rows] == [True, False, False]
    assert rows[0]["p_WBC"] is None


def test_names_are_shown_and_never_used_as_paths(client, cell):
    response = post(client, cell, cell, names=["../../etc/passwd", "a\u202egpj.exe"])
    assert [row["path"] for row in response.json()["rows"]] == ["etc \u203a passwd", "agpj.exe"]


def test_an_unknown_model_is_not_found_and_has_no_hash(client, cell):
    response = post(client, cell, model="gpt")
    assert response.status_code == 404
    assert "rbc-wbc-platelets, pbc8" in response.json()["error"]
    assert "X-Model-Hash" not in response.headers


def test_a_body_that_is_not_a_form_is_rejected(client, cell):
    assert client.post("/v1/classify", content=cell).status_code == 415
    kind = {"Content-Type": "multipart/form-data"}
    assert client.post("/v1/classify", content=cell, headers=kind).status_code == 400


def test_a_form_without_files_and_a_wrong_parameter_are_errors(client, cell):
    response = client.post("/v1/classify", files=[("images", ("a.png", cell))])
    assert (response.status_code, "part named files" in response.json()["error"]) == (422, True)
    response = post(client, cell, explain="perhaps")
    assert (response.status_code, "explain" in response.json()["error"]) == (422, True)


def form(*contents: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in contents) + b"--b--\r\n"


def send(client, body: bytes):
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    return client.post("/v1/classify", content=body, headers=kind)


def test_a_form_truncated_anywhere_is_rejected(client, cell):
    whole = form(cell, cell)
    assert len(send(client, whole).json()["rows"]) == 2
    assert send(client, whole + b"\r\nepilogue").status_code == 200
    second = whole.index(b"--b", 3)
    cuts = [second, second + 3, second + 5, second + 30, second + 90, len(whole) - 500]
    for cut in [1, 50, second - 2, *cuts, len(whole) - 8, len(whole) - 4]:
        response = send(client, whole[:cut])
        assert response.status_code == 400, cut
        assert "closing boundary" in response.json()["error"]


def test_an_image_may_contain_bytes_like_a_boundary(client, cell):
    for tail in (b"\r\n--", b"\r\n--c", b"\r", b"--b"):
        assert send(client, form(cell + tail)).json()["rows"][0]["error"] == ""


def test_too_many_parts_are_not_read(client, cell):
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
    assert send(client, part * 60 + form(cell)).status_code == 200
    assert send(client, part * 100 + form(cell)).status_code == 413
    nameless = b"--b\r\nContent-Type: image/png\r\n\r\n\r\n--b--\r\n"
    assert send(client, nameless).status_code == 400


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded():
    settings = Settings(models=(COLOUR_MODEL,), threads=1, max_pixels=300 * 300)
    with asked(create_app(settings)) as client:
        large, small = (
            images.encode_png(np.zeros((300, width, 3), np.uint8)) for width in (301, 300)
        )
        response = post(client, large)
        assert response.status_code == 422
        assert "90,000" in response.json()["error"]
        assert post(client, small).status_code == 200
    assert Settings().max_pixels == 25_000_000 < images.MAX_PIXELS


def test_too_many_bytes_or_images_are_refused(client, cell):
    assert post(client, b"x" * 2**20).status_code == 413
    response = post(client, *[cell[:100]] * 9)
    assert (response.status_code, "at most 8" in response.json()["error"]) == (413, True)


def test_a_body_of_unknown_length_is_read_only_to_the_limit(client):
    given = []

    def body():
        for i in range(100):
            given.append(i)
            yield b"x" * 2**17

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post("/v1/classify", content=body(), headers=kind).status_code == 413


def test_images_are_never_written_to_disk(client, monkeypatch):
    """A file of more than a megabyte is what Starlette would put into a temporary file."""
    noise = np.random.default_rng(0).integers(0, 256, (550, 600, 3), np.uint8)
    content = images.encode_png(noise)
    assert len(content) > 9e5

    def rolled(*_):
        raise AssertionError("a file was written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rolled)
    assert post(client, content).status_code == 200
