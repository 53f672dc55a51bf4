"""Exporters from outside: what they receive, and what they must return."""

from pathlib import Path

import pytest

from colour_squares import COLOUR_MODEL
from hematovision.errors import BundleError, OutputError, PluginError
from hematovision.model.bundle import ONNX
from hematovision.workflows.export import export
from hematovision.workflows.exporters import EXPORTERS, Exporter


def test_an_exporter_receives_the_graph_and_the_classes(tmp_path: Path, monkeypatch):
    def content(model) -> bytes:
        assert model.onnx() == (COLOUR_MODEL / ONNX).read_bytes()
        assert model.bundle.folder == COLOUR_MODEL
        return ", ".join(model.classes).encode()

    EXPORTERS.register("names", Exporter(".txt", content))
    monkeypatch.chdir(tmp_path)
    assert export(COLOUR_MODEL, "names") == Path("hematovision_model.txt")
    assert (tmp_path / "hematovision_model.txt").read_text() == "red, green, blue"
    with pytest.raises(OutputError, match="already exists"):
        export(COLOUR_MODEL, "names")


def fail(model) -> bytes:
    raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda _: b"", "must return the content of the file as bytes. Received: no bytes"),
        (lambda _: None, "Received: NoneType"),
        (lambda _: "text", "Received: str"),
        (fail, "failed: RuntimeError: no licence"),
    ],
)
def test_an_exporter_that_returns_nothing_is_named_and_writes_nothing(
    tmp_path: Path, content, message: str
):
    EXPORTERS.register("odd", Exporter(".x", content))
    with pytest.raises(PluginError, match=r"exporter 'odd' \(registered by a call\) .*" + message):
        export(COLOUR_MODEL, "odd", tmp_path / "model.x")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_model_is_not_one_of_the_exporter(tmp_path: Path):
    EXPORTERS.register("odd", Exporter(".x", lambda model: model.bundle.read("no such file")))
    with pytest.raises(BundleError, match="no such file"):
        export(COLOUR_MODEL, "odd", tmp_path / "model.x")


def test_an_unknown_format_lists_those_that_exist(tmp_path: Path):
    EXPORTERS.register("names", Exporter(".txt", lambda _: b"x"))
    expected = "one of h5, keras, onnx, litert, names. Received: 'zip'"
    with pytest.raises(OutputError, match=expected):
        export(COLOUR_MODEL, "zip", tmp_path / "model.zip")


@pytest.mark.parametrize(
    "thing", [len, Exporter("x", len), Exporter(None, len), Exporter(".x", None)]
)
def test_a_thing_that_is_no_exporter_is_rejected(thing: object):
    with pytest.raises(
        TypeError, match=r"must be an Exporter\(suffix, content\): an ending such as"
    ):
        EXPORTERS.register("odd", thing)
