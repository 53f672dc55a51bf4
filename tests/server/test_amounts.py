"""The size of a request: counted before it is parsed."""

import base64
import http.client
import json
import struct
import threading
import time

import httpx
import pytest

from colour_squares import COLOUR_MODEL
from hematovision.errors import RequestError
from hematovision.server.protocol import read_images, read_request
from server.conftest import resident, running

HEAD = b'{"inputs":[{"name":"images","datatype":"UINT8","shape":[6,224,224,3],"data":['
INFER = f"/v2/models/{COLOUR_MODEL.name}/infer"
MOST = 2**19
FULL = 2**25 - 1000
"""Bytes of a body that is as long as bodies may be."""


def filled(element: bytes, count: int) -> bytes:
    return HEAD + b",".join([element] * count) + b"]}]}"


# Each is as large as it can be without being refused before it is read, or a little larger.
HEAVY = {
    "numbers": filled(b"200", MOST - 100),
    "rows": filled(b"[]", (MOST - 100) // 2),
    "objects": filled(b"{}", (MOST - 100) // 2),
    "pairs": filled(b'{"":1}', (MOST - 100) // 2),
    "texts": filled(b'"ab"', MOST - 100),
    "one long text": HEAD + b'"' + b"\\u00e9" * (2**24 // 6 - 40) + b'"]}]}',
    "digits": HEAD + b"1" * (2**24 - 200) + b"]}]}",
    "floats": filled(b"0.1", MOST - 100),
    "outputs": b'{"inputs":[],"outputs":[' + b",".join([b"{}"] * (MOST // 2 - 9)) + b"]}",
    "names": b'{"inputs":[],"x":{' + b",".join(b'"%d":1' % i for i in range(MOST - 100)) + b"}}",
    "32 MB of objects": filled(b"{}", FULL // 3),
    "32 MB of rows": filled(b"[]", FULL // 3),
    "32 MB of numbers": filled(b"1", FULL // 2),
    "32 MB of outputs": b'{"inputs":[],"outputs":[' + b",".join([b"{}"] * (FULL // 3)) + b"]}",
    "depth": HEAD + b"[" * (MOST - 100),
}


@pytest.fixture(scope="module")
def server():
    with running("--model", COLOUR_MODEL, "--threads", 1, "--deadline", 60) as found:
        yield found


@pytest.mark.parametrize("name", HEAVY)
def test_others_get_responses_while_the_heaviest_json_is_read(server, name):
    process, address = server
    before, longest, statuses, stop = resident(process.pid), [0.0], [], threading.Event()
    peak = [before]

    def ask():
        statuses.append(httpx.post(address + INFER, content=HEAVY[name], timeout=60).status_code)

    def watch():
        place = address.removeprefix("http://")
        while not stop.wait(0.01):
            began = time.monotonic()
            connection = http.client.HTTPConnection(place, timeout=30)
            connection.request("GET", "/v2/health/ready")
            assert connection.getresponse().status == 200
            connection.close()
            longest[0] = max(longest[0], time.monotonic() - began)
            peak[0] = max(peak[0], resident(process.pid))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    watching = threading.Thread(target=watch)
    watching.start()
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    stop.set()
    watching.join()
    assert set(statuses) <= {400, 413}
    assert longest[0] < 2  # A quarter of a second, if no other tests run at the same time.
    assert peak[0] - before < 400 * 2**20


@pytest.mark.parametrize("name", [name for name in HEAVY if name.startswith("32 MB")])
def test_too_many_values_are_rejected_before_parsing(name):
    began = time.monotonic()
    with pytest.raises(RequestError, match="524,288 values") as caught:
        read_request(HEAVY[name][: 2**24], None)
    assert caught.value.kind == "too large"
    assert time.monotonic() - began < 0.5


def test_json_that_is_too_long_is_rejected_with_an_alternative():
    with pytest.raises(RequestError, match="binary_data_size"):
        read_request(b" " * (2**24 + 1), None)
    request, behind = read_request(
        b'{"inputs":[{"name":"files","datatype":"BYTES","shape":[1]}]}' + b"x" * 2**24, "60"
    )
    assert (request.inputs[0].shape, len(behind)) == ([1], 2**24)


def test_three_images_as_numbers_and_many_as_base64_are_accepted():
    pixels = [[[[7] * 3] * 224] * 224] * 2
    body = {"name": "images", "datatype": "UINT8", "shape": [2, 224, 224, 3], "data": pixels}
    asked, _ = read_request(json.dumps({"inputs": [body]}).encode(), None)
    assert read_images(asked.inputs[0], b"", 64).shape == (2, 224, 224, 3)
    flat = [7] * (3 * 224 * 224 * 3)
    body |= {"shape": [3, 224, 224, 3], "data": flat}
    asked, _ = read_request(json.dumps({"inputs": [body]}).encode(), None)
    assert (read_images(asked.inputs[0], b"", 64) == 7).all()
    files = [base64.b64encode(bytes(150_000)).decode()] * 64
    body = {"name": "files", "datatype": "BYTES", "shape": [64], "data": files}
    asked, _ = read_request(json.dumps({"inputs": [body]}).encode(), None)
    assert [len(one) for one in read_images(asked.inputs[0], b"", 64)] == [150_000] * 64


def tensor(**changes):
    given = {"name": "files", "datatype": "BYTES", "shape": [1]} | changes
    return read_request(json.dumps({"inputs": [given]}).encode(), None)[0].inputs[0]


def test_numbers_are_not_padded_to_the_length_of_long_text():
    """As NumPy would: 10,000 elements of 100,000 letters are 4 GB."""
    data = [1] * 10_000 + ["x" * 100_000]
    given = tensor(name="images", datatype="UINT8", shape=[1, 224, 224, 3], data=data)
    with pytest.raises(RequestError, match="integers"):
        read_images(given, b"", 8)


@pytest.mark.parametrize("count", [9, 10**6, 10**18])
def test_more_images_than_the_limit_are_not_parsed(count):
    empty = struct.pack("<I", 0) * 10**6
    sizes = {"parameters": {"binary_data_size": len(empty)}}
    for given in (
        tensor(shape=[count], **sizes),
        tensor(name="images", datatype="UINT8", shape=[count, 224, 224, 3], **sizes),
        tensor(shape=[count], data=[]) if count else None,
    ):
        with pytest.raises(RequestError, match="at most 8") as caught:
            read_images(given, b"" if given.data is not None else empty, 8)
        assert caught.value.kind == "too large"
    with pytest.raises(RequestError, match=r"shape \[3\] does not fit"):
        read_images(tensor(**sizes, shape=[3]), empty, 8)
