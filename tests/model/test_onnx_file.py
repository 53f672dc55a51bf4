"""Wherever an ONNX file hides a reference to another file, that file is not read."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hematovision.errors import BundleError
from hematovision.files import sha256_file
from hematovision.model import onnx_file
from hematovision.model.bundle import ONNX, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.graph import backbone_graph
from hematovision.model.manifest import SHARED_WEIGHTS, BackboneRef
from hematovision.model.session import open_session
from hematovision.model.weights import bundled_weights_path

CANARY = np.array([3, 1, 4, 1], "<f4")
WEIGHTS = {SHARED_WEIGHTS: bytes(16)}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    """One protobuf field, of wire type 0 for a number and 2 for bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(key: bytes, *values: bytes) -> bytes:
    return field(13, field(1, key) + b"".join(field(2, value) for value in values))


def tensor(external: bytes, location: bytes = field(14, 1)) -> bytes:
    return field(1, 4) + field(2, TensorProto.FLOAT) + field(8, b"secret") + external + location


PLAIN = tensor(entry(b"location", b"canary.bin"))
TWICE = tensor(entry(b"location", SHARED_WEIGHTS.encode(), b"canary.bin"))
TENSORS = {
    "plain": PLAIN,
    "value twice": TWICE,
    "key twice": tensor(
        field(13, field(1, b"checksum") + field(1, b"location") + field(2, b"canary.bin"))
    ),
    "value before key": tensor(field(13, field(2, b"canary.bin") + field(1, b"location"))),
    "two locations": tensor(
        entry(b"location", SHARED_WEIGHTS.encode()) + entry(b"location", b"canary.bin")
    ),
    "location by default": tensor(entry(b"location", b"canary.bin"), b""),
    "default, then external": tensor(
        entry(b"location", b"canary.bin"), field(14, 0) + field(14, 1)
    ),
    "padded number": tensor(entry(b"location", b"canary.bin"), varint(14 << 3) + b"\x81\x80\x00"),
    "number of 33 bits": tensor(entry(b"location", b"canary.bin"), field(14, (1 << 32) | 1)),
    "padded tag": tensor(entry(b"location", b"canary.bin"), b"\xf0\x80\x00\x01"),
    "address in memory": tensor(entry(b"location", b"*/_ORT_MEM_ADDR_/*") + entry(b"offset", b"1")),
    "above": tensor(entry(b"location", b"../canary.bin")),
    "the weights by another path": tensor(entry(b"location", b"./hematology.weights")),
    "unknown key": tensor(entry(b"location", b"hematology.weights") + entry(b"basepath", b"/")),
}


def node(*attributes: bytes, op: bytes = b"Constant", inputs: tuple[bytes, ...] = ()) -> bytes:
    return (
        b"".join(field(1, name) for name in inputs)
        + field(2, b"inner")
        + field(4, op)
        + b"".join(field(5, attribute) for attribute in attributes)
    )


def attribute(name: bytes, kind: int, number: int, *contents: bytes) -> bytes:
    return field(1, name) + field(20, kind) + b"".join(field(number, one) for one in contents)


def value_info(name: str, kind: int, shape: list) -> bytes:
    return helper.make_tensor_value_info(name, kind, shape).SerializeToString()


def graph(nodes: bytes, *initializers: bytes, tail: bytes = b"") -> bytes:
    return (
        nodes
        + field(2, b"g")
        + b"".join(field(5, one) for one in initializers)
        + field(12, value_info("inner", TensorProto.FLOAT, [4]))
        + tail
    )


def copied(source: bytes = b"secret") -> bytes:
    return field(1, node(op=b"Identity", inputs=(source,)))


def model(main: bytes, tail: bytes = b"") -> bytes:
    images = field(11, value_info("images", TensorProto.UINT8, ["N", 224, 224, 3]))
    return field(1, 8) + field(7, main + images) + field(8, field(1, b"") + field(2, 17)) + tail


def in_branch(inner: bytes, *more: bytes) -> bytes:
    """An If whose branches are this subgraph; `more` are further occurrences, merged into it."""
    condition = numpy_helper.from_array(np.array(True), "yes").SerializeToString()
    other = graph(
        copied(b"zeros"),
        numpy_helper.from_array(np.zeros(4, "f4"), "zeros").SerializeToString(),
    )
    branches = (
        attribute(b"then_branch", 5, 6, inner, *more),
        attribute(b"else_branch", 5, 6, other),
    )
    return graph(field(1, node(*branches, op=b"If", inputs=(b"yes",))), condition)


def halves(whole: bytes) -> tuple[bytes, bytes]:
    """A tensor split over two messages that a parser merges."""
    cut = whole.index(field(8, b"secret")) + len(field(8, b"secret"))
    return whole[:cut], whole[cut:]


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "initializer": lambda t: model(graph(copied(), t)),
    "constant": lambda t: model(graph(field(1, node(attribute(b"value", 4, 5, t))))),
    "constant, merged": lambda t: model(
        graph(field(1, node(attribute(b"value", 4, 5, *halves(t)))))
    ),
    "list of tensors": lambda t: model(graph(field(1, node(attribute(b"x", 9, 10, t))))),
    "branch": lambda t: model(in_branch(graph(copied(), t))),
    "branch, merged": lambda t: model(in_branch(graph(copied()), field(5, t))),
    "branch in a branch": lambda t: model(in_branch(in_branch(graph(copied(), t)))),
    "loop": lambda t: model(
        graph(field(1, node(attribute(b"body", 5, 6, graph(copied(), t)), op=b"Loop")))
    ),
    "list of graphs": lambda t: model(
        graph(field(1, node(attribute(b"x", 10, 11, graph(copied(), t)))))
    ),
    "graph, merged": lambda t: model(graph(copied()), field(7, field(5, t))),
    "function": lambda t: model(
        graph(field(1, node(op=b"F"))),
        field(
            25, field(1, b"F") + field(5, b"inner") + field(7, node(attribute(b"value", 4, 5, t)))
        ),
    ),
    "function's default": lambda t: model(
        graph(b""), field(25, field(1, b"F") + field(11, attribute(b"value", 4, 5, t)))
    ),
    "sparse values": lambda t: model(graph(copied(), tail=field(15, field(1, t) + field(3, 4)))),
    "sparse indices": lambda t: model(graph(copied(), tail=field(15, field(2, t) + field(3, 4)))),
    "sparse constant": lambda t: model(
        graph(field(1, node(attribute(b"sparse_value", 11, 22, field(1, t) + field(3, 4)))))
    ),
    "sparse list": lambda t: model(
        graph(field(1, node(attribute(b"x", 12, 23, field(1, t) + field(3, 4)))))
    ),
    "training": lambda t: model(graph(b""), field(20, field(1, graph(copied(), t)))),
    "training step": lambda t: model(graph(b""), field(20, field(2, graph(copied(), t)))),
}


MAIN_INITIALIZERS = {"initializer", "graph, merged"}


@pytest.fixture(autouse=True)
def _canary(tmp_path, monkeypatch):
    """A file that must not be read, where ONNX Runtime would look for it."""
    (tmp_path / "canary.bin").write_bytes(CANARY.tobytes())
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "canary.bin").write_bytes(CANARY.tobytes())
    monkeypatch.chdir(tmp_path / "inside")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", TENSORS)
def test_no_tensor_anywhere_refers_to_another_file(place, how):
    with pytest.raises(BundleError, match=r"hostile: the ONNX file (refers|has)"):
        open_session(PLACES[place](TENSORS[how]), WEIGHTS, name="hostile")


@pytest.mark.parametrize("place", [name for name in PLACES if name not in MAIN_INITIALIZERS])
def test_no_file_of_the_current_folder_is_read_as_the_weights(place):
    """ONNX Runtime uses files in memory only for the main graph's initializers."""
    Path(SHARED_WEIGHTS).write_bytes(CANARY.tobytes())
    external = entry(b"location", SHARED_WEIGHTS.encode())
    with pytest.raises(BundleError, match=r"hostile: the ONNX file (refers|has)"):
        open_session(PLACES[place](tensor(external)), WEIGHTS, name="hostile")


@pytest.mark.parametrize("place", ["branch", "branch, merged", "branch in a branch"])
@pytest.mark.parametrize("how", ["plain", "value twice", "padded number"])
def test_the_canary_would_be_read_by_onnx_runtime_alone(place, how):
    """The rejected files would do harm; without this, the other tests would prove nothing."""
    options = onnxruntime.SessionOptions()
    options.add_external_initializers_from_files_in_memory([SHARED_WEIGHTS], [bytes(16)], [16])
    data = PLACES[place](TENSORS[how])
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["inner"], {"images": np.zeros((1, 224, 224, 3), np.uint8)})
    assert found.tolist() == CANARY.tolist()


def test_a_bundle_with_such_a_model_does_not_open(tmp_path, manifest):
    weights = BackboneRef("hematology", sha256_file(bundled_weights_path()), shared=True)
    stolen = dataclasses.replace(manifest, backbone=weights)
    data = PLACES["branch"](TWICE)
    folder = write_bundle(tmp_path / "run", stolen, {ONNX: data}).folder
    with pytest.raises(BundleError, match="has field 2 of Entry twice"):
        Classifier.load(folder)


def test_tensors_of_the_given_file_open_in_any_order_of_their_fields():
    for external in (
        entry(b"location", SHARED_WEIGHTS.encode()),
        field(13, field(2, SHARED_WEIGHTS.encode()) + field(1, b"location")),
        entry(b"offset", b"0") + entry(b"location", SHARED_WEIGHTS.encode()),
    ):
        data = PLACES["initializer"](tensor(external))
        (found,) = open_session(data, WEIGHTS).run(
            ["inner"], {"images": np.zeros((1, 224, 224, 3), np.uint8)}
        )
        assert found.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"offset", b"4"), (b"length", b"17"), (b"offset", b"-4"), (b"length", b"9" * 30)],
)
def test_places_beyond_the_given_file_are_refused(key, value):
    external = entry(b"location", SHARED_WEIGHTS.encode()) + entry(key, value)
    if key == b"offset" and value == b"4":
        external += entry(b"length", b"16")
    with pytest.raises(BundleError, match="packaged weights"):
        open_session(PLACES["initializer"](tensor(external)), WEIGHTS)


def test_an_operator_that_names_a_file_is_refused():
    context = node(attribute(b"ep_cache_context", 3, 4, b"canary.bin"), op=b"EPContext")
    with pytest.raises(BundleError, match="another file"):
        open_session(model(graph(field(1, context))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (field(99, b"x"), "unknown field 99"),
        (field(7, 3), "unknown field 7"),
        (b"\x0b\x0c", "not an ONNX model"),
        (b"\x3a\xff\xff\xff\xff\x0f", "truncated"),
        (b"\x08" + b"\xff" * 11, "truncated"),
        (b"\x3a\x05\x0a\x09", "truncated"),
    ],
)
def test_fields_that_no_writer_writes_are_refused(data, message):
    with pytest.raises(BundleError, match=message):
        open_session(data)


def test_depth_and_length_are_bounded():
    inner = graph(copied(), PLAIN)
    for _ in range(200):
        inner = graph(field(1, node(attribute(b"body", 5, 6, inner))))
    with pytest.raises(BundleError, match="nested deeper"):
        open_session(model(inner))
    started = time.process_time()
    with pytest.raises(BundleError, match="more than 500,000 fields"):
        open_session(field(8, b"") * 5_000_000)
    assert time.process_time() - started < 10


def test_a_file_that_is_also_in_the_form_of_onnx_runtime_is_read_as_onnx(monkeypatch):
    """Bytes 4 to 8 are the mark of ONNX Runtime's own form; the rest is a model."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    asked = []

    class Options(onnxruntime.SessionOptions):
        def add_session_config_entry(self, key, value):
            asked.append((key, value))

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    with pytest.raises(pytest.fail.Exception):
        open_session(field(2, b"\0\0ORTM") + model(graph(copied())))
    assert ("session.load_model_format", "ONNX") in asked


def test_models_with_subgraphs_and_functions_of_their_own_open():
    inner = numpy_helper.from_array(CANARY, "secret").SerializeToString()
    for place in ("initializer", "constant", "branch", "branch in a branch"):
        session = open_session(PLACES[place](inner))
        (found,) = session.run(["inner"], {"images": np.zeros((1, 224, 224, 3), np.uint8)})
        assert found.tolist() == CANARY.tolist()


def test_the_message_types_are_those_of_onnx():
    names = {
        "Model": "ModelProto", "Graph": "GraphProto", "Node": "NodeProto",
        "Attribute": "AttributeProto", "Tensor": "TensorProto", "Entry": "StringStringEntryProto",
        "SparseTensor": "SparseTensorProto", "TrainingInfo": "TrainingInfoProto",
        "Function": "FunctionProto",
    }  # fmt: skip
    ours = {full: short for short, full in names.items()}
    for short, full in names.items():
        known = onnx_file._MESSAGES[short]
        for described in getattr(onnx, full).DESCRIPTOR.fields:
            mine = known.get(described.number)
            if mine is None:
                continue  # newer than the table: refused
            assert mine.repeated == described.is_repeated, (short, described.name)
            inside = described.message_type.name if described.message_type else ""
            if inside in ours and inside != "StringStringEntryProto":
                assert mine.message == ours[inside], (short, described.name)
            else:
                assert mine.message == ("Entry" if described.name == "external_data" else "")
    # Messages that are not walked lead to no tensor and no graph.
    for closed in ("ValueInfoProto", "TypeProto", "TensorAnnotation", "OperatorSetIdProto"):
        assert not reachable(getattr(onnx, closed).DESCRIPTOR) & {"TensorProto", "GraphProto"}


def reachable(descriptor, seen: set[str] | None = None) -> set[str]:
    seen = set() if seen is None else seen
    for inner in descriptor.fields:
        if inner.message_type and inner.message_type.name not in seen:
            seen.add(inner.message_type.name)
            reachable(inner.message_type, seen)
    return seen


def test_the_graphs_of_this_package_pass_and_quickly(weights):
    data = backbone_graph(weights, external=SHARED_WEIGHTS)
    given = {SHARED_WEIGHTS: weights.to_bytes()}
    started = time.process_time()
    onnx_file.check_self_contained(data, given, name="ours")
    assert time.process_time() - started < 1
