"""What the server logs with ``-vv``: its models, and nothing about the files that it receives."""

import signal

import httpx

from colour_squares import COLOUR_MODEL
from server.conftest import running


def test_no_name_of_a_file_and_no_key_is_logged(cell):
    options = ("--model", COLOUR_MODEL, "--model", "blood-fields", "-vv")
    key = {"HEMATOVISION_API_KEY": "open sesame"}
    with running(*options, environment=key) as (process, address):
        headers = {"X-API-Key": "open sesame"}
        for path in ("/v1/classify", "/v1/analyze"):
            files = [("files", ("ana-marlow.png", data)) for data in (cell, b"no image")]
            found = httpx.post(f"{address}{path}", files=files, headers=headers, timeout=60)
            assert found.status_code == 200
        process.send_signal(signal.SIGTERM)
        log = process.stdout.read().decode()
    assert "ana-marlow" not in log
    assert "sesame" not in log
    assert " hematovision.model.classifier: Classifier strongest-colour: " in log
    assert " hematovision.server.models: Self-test of blood-fields: passed.\n" in log
