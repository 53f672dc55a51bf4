"""An untrusted model opens or is rejected, and reads no file that was not passed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hematovision.errors import BundleError, ModelError
from hematovision.model.graph import backbone_graph
from hematovision.model.session import (
    check_images,
    check_outputs,
    open_session,
    read_ports,
    run_each,
    usable_cpus,
)


def outside(entries: list[tuple[str, str]]) -> bytes:
    """A model whose only constant is in another file."""
    tensor = TensorProto(
        name="secret", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["secret"], ["out"])],
        "thief",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 224, 224, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [4])],
        [tensor],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize("place", ["absolute", "relative", "above"])
def test_data_in_files_that_were_not_given_is_never_read(tmp_path, monkeypatch, place):
    (tmp_path / "inside").mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4, dtype="<f4").tobytes())
    monkeypatch.chdir(tmp_path if place == "relative" else tmp_path / "inside")
    location = {"absolute": str(secret), "relative": "secret.bin", "above": "../secret.bin"}[place]
    with pytest.raises(BundleError, match="another file"):
        open_session(outside([("location", location)]))


def test_data_next_to_the_packaged_weights_is_never_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hematology.weights2").write_bytes(bytes(16))
    given = {"hematology.weights": bytes(16)}
    for name in ("hematology.weights2", "./hematology.weights", "hematology"):
        with pytest.raises(BundleError, match="another file"):
            open_session(outside([("location", name)]), given)
    model = outside([("location", "hematology.weights")])
    assert open_session(model, given).run(["out"], {"images": np.zeros((1, 224, 224, 3), "u1")})


def test_offsets_beyond_the_given_weights_are_refused(weights):
    model = onnx.load_from_string(backbone_graph(weights, external="hematology.weights"))
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "offset":
            entry.value = str(10**12)
    with pytest.raises(BundleError):
        open_session(
            model.SerializeToString(), {"hematology.weights": weights.to_bytes()}, name="far"
        )


@pytest.mark.parametrize("data", [b"", b"no model", bytes(1000), b"\x08\x08" * 500])
def test_a_file_that_is_not_a_model_is_refused_by_name(data):
    with pytest.raises(BundleError, match=r"some\.onnx: (ONNX Runtime|the ONNX file)"):
        open_session(data, name="some.onnx")


def test_a_model_of_an_unknown_operator_is_refused(model_bytes):
    model = onnx.load_from_string(model_bytes)
    model.graph.node[0].op_type = "Teleport"
    with pytest.raises(BundleError, match="Teleport"):
        open_session(model.SerializeToString())


def test_mutated_models_are_refused_or_opened_but_never_crash(old_bundle):
    code = """
import sys, numpy as np
from hematovision.errors import HematoVisionError
from hematovision.model.session import open_session, read_ports, run_one
data = open(sys.argv[1], "rb").read()
rng = np.random.default_rng(0)
for turn in range(300):
    mutated = bytearray(data)
    # The structure is at both ends; the middle is weights.
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, 900)) * (1 if rng.random() < 0.5 else -1)
        mutated[place] = int(rng.integers(0, 256))
    if turn % 10 == 0:
        del mutated[int(rng.integers(0, len(mutated))):]
    try:
        session = open_session(bytes(mutated))
        read_ports(session, name="mutated")
        run_one(session, ["probabilities"], np.zeros((1, 224, 224, 3), np.uint8))
    except HematoVisionError:
        pass
print("survived")
"""
    model = old_bundle / "hematovision_model.onnx"
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert done.stdout == "survived\n", done.stderr[-2000:]


def test_outputs_must_have_the_shapes_of_the_manifest(model_bytes):
    ports = read_ports(open_session(model_bytes), name="model")
    assert ports.size == 224
    assert ports.outputs["feature_map"] == (7, 7, 1280)
    check_outputs(ports, {"probabilities": (3,), "novelty": ()}, name="model")
    with pytest.raises(BundleError, match=r"'probabilities'.*\(8,\).*\(3,\)"):
        check_outputs(ports, {"probabilities": (8,)}, name="model")
    with pytest.raises(BundleError, match=r"'heat'.*no such output"):
        check_outputs(ports, {"heat": ()}, name="model")


def test_a_graph_that_fails_when_it_runs_is_a_model_error(model_bytes):
    model = onnx.load_from_string(model_bytes)
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 77]), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["features", "shape"], ["bent"]))
    model.graph.output.append(helper.make_tensor_value_info("bent", TensorProto.FLOAT, ["N", 7]))
    session = open_session(model.SerializeToString())
    with pytest.raises(ModelError, match="failed on an image"):
        run_each(session, ["bent"], np.zeros((1, 224, 224, 3), np.uint8), 1)


def test_ports_without_a_readable_name_or_shape_are_refused():
    class Broken:
        def get_inputs(self):
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    with pytest.raises(BundleError, match=r"model\.onnx: .*damaged"):
        read_ports(Broken(), name="model.onnx")


def test_images_of_any_memory_layout_become_contiguous():
    images = np.zeros((2, 3, 224, 224), np.uint8).transpose(0, 2, 3, 1)
    assert check_images(images, 224).flags.c_contiguous


def test_cpus_are_counted_with_and_without_affinity(monkeypatch):
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1
