"""A bundle opens only if every byte is unchanged."""

import dataclasses
import hashlib
import json
import os
from datetime import datetime
from pathlib import Path

import pytest

import hematovision
from hematovision.errors import BundleError, OutputError
from hematovision.model import bundle as module
from hematovision.model.bundle import (
    MANIFEST,
    ONNX,
    library_versions,
    read_bundle,
    seal,
    write_bundle,
)


def test_a_written_bundle_is_read_back(run_folder, manifest, model_bytes):
    bundle = read_bundle(run_folder)
    assert bundle.name == "discs"
    assert bundle.taxonomy == manifest.taxonomy
    assert bundle.thresholds == manifest.thresholds
    assert bundle.manifest.data == manifest.data
    assert bundle.read(ONNX) == model_bytes
    assert bundle.external_weights() == {}
    assert set(bundle.manifest.files) == {ONNX, "history.csv", "MODEL_CARD.md"}
    assert bundle.manifest.files[ONNX] == hashlib.sha256(model_bytes).hexdigest()
    assert datetime.fromisoformat(bundle.manifest.created).tzinfo is not None
    assert {"python", "numpy", "onnxruntime"} <= set(bundle.manifest.versions)


def test_versions_are_those_that_are_installed():
    versions = library_versions()
    assert versions["hematovision"] == hematovision.__version__
    assert versions["numpy"].count(".") >= 1
    assert all(isinstance(version, str) for version in versions.values())


@pytest.mark.parametrize("name", [ONNX, "history.csv", "MODEL_CARD.md"])
@pytest.mark.parametrize("place", ["first", "last", "added"])
def test_one_changed_byte_in_any_file_is_noticed(run_folder, name, place):
    path = run_folder / name
    before = read_bundle(run_folder)
    data = bytearray(path.read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    if place == "added":
        data.append(0)
    else:
        data[0 if place == "first" else -1] ^= 1
    path.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()
    with pytest.raises(BundleError, match=f"{name}.*{found}.*{expected}"):
        read_bundle(run_folder)
    # A file changed after the check is noticed when it is opened.
    with pytest.raises(BundleError, match=f"{found}.*{expected}"):
        before.read(name)


def test_a_missing_file_is_noticed(run_folder):
    (run_folder / "history.csv").unlink()
    with pytest.raises(BundleError, match=r"history\.csv is missing"):
        read_bundle(run_folder)


def test_other_files_in_the_folder_do_not_matter(run_folder):
    (run_folder / "notes.txt").write_text("mine")
    assert "notes.txt" not in read_bundle(run_folder).manifest.files


def test_a_folder_without_a_manifest_is_an_unfinished_run(tmp_path):
    with pytest.raises(BundleError, match=r"bundle\.json is missing.*interrupted"):
        read_bundle(tmp_path)


def test_an_error_in_the_manifest_names_its_file(run_folder):
    (run_folder / MANIFEST).write_text("{}")
    with pytest.raises(BundleError, match=r"run.bundle\.json: `schema_version` is missing"):
        read_bundle(run_folder)


def rewrite(folder: Path, **values: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_manifest_without_a_model_is_refused(run_folder):
    rewrite(run_folder, files={})
    with pytest.raises(BundleError, match=ONNX):
        read_bundle(run_folder)


def test_a_listed_path_out_of_the_folder_is_refused_before_it_is_read(run_folder):
    rewrite(run_folder, files={ONNX: "0" * 64, "../../secret": "0" * 64})
    with pytest.raises(BundleError, match="not a plain path"):
        read_bundle(run_folder)


def test_a_huge_manifest_is_not_read(run_folder):
    with (run_folder / MANIFEST).open("r+b") as stream:
        stream.truncate(2**32)
    with pytest.raises(BundleError, match="4,294,967,296 bytes"):
        read_bundle(run_folder)


def test_a_huge_model_is_not_read(run_folder):
    with (run_folder / ONNX).open("r+b") as stream:
        stream.truncate(2**33)
    with pytest.raises(BundleError, match="67,108,864"):
        read_bundle(run_folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_does_not_hang(run_folder):
    (run_folder / "history.csv").unlink()
    os.mkfifo(run_folder / "history.csv")
    with pytest.raises(BundleError, match="missing"):
        read_bundle(run_folder)


@pytest.mark.parametrize("function", ["_hash", "_read_limited"])
def test_a_file_that_may_not_be_read_is_a_bundle_error(run_folder, monkeypatch, function):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    bundle = read_bundle(run_folder)
    if function == "_hash":
        monkeypatch.setattr(module, "sha256_file", refuse)
        with pytest.raises(BundleError, match="Permission denied"):
            read_bundle(run_folder)
    else:
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(BundleError, match="Permission denied"):
            bundle.read(ONNX)
        monkeypatch.setattr(Path, "stat", refuse)
        with pytest.raises(BundleError, match="Permission denied"):
            bundle.read(ONNX)


def test_only_listed_files_are_read(run_folder):
    (run_folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"no file 'notes\.txt'.*MODEL_CARD\.md"):
        read_bundle(run_folder).read("notes.txt")


def test_sealing_includes_changed_and_new_files(run_folder):
    (run_folder / "metrics.json").write_text('{"accuracy": 1.0}')
    (run_folder / "history.csv").write_text("epoch,loss\n1,0.25\n")
    (run_folder / "MODEL_CARD.md").unlink()
    (run_folder / "errors.csv").write_text("path\n")
    before = read_bundle_manifest(run_folder)
    sealed = seal(run_folder, also=["errors.csv"])
    assert set(sealed.manifest.files) == {ONNX, "history.csv", "metrics.json", "errors.csv"}
    assert read_bundle(run_folder) == sealed
    assert dataclasses.replace(sealed.manifest, files=before.files) == before
    (run_folder / "errors.csv").write_text("path\na.jpg\n")
    assert "errors.csv" in seal(run_folder).manifest.files
    assert read_bundle(run_folder).folder == run_folder


def read_bundle_manifest(folder):
    return module.parse_manifest((folder / MANIFEST).read_bytes())


def test_sealing_nothing_is_an_error(tmp_path, manifest):
    with pytest.raises(BundleError, match="missing"):
        seal(tmp_path)
    with pytest.raises(BundleError, match=f"no {ONNX}"):
        write_bundle(tmp_path / "run", manifest, {"history.csv": b""})
    assert not (tmp_path / "run" / MANIFEST).exists()


@pytest.mark.parametrize("name", ["../escape.txt", "/escape.txt", "a\\b"])
def test_nothing_is_written_outside(tmp_path, manifest, name):
    with pytest.raises(BundleError, match="plain path"):
        write_bundle(tmp_path / "run", manifest, {name: b"x"})
    assert not (tmp_path / "escape.txt").exists()


def test_a_read_only_destination_is_an_output_error(tmp_path, manifest):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(OutputError, match="run"):
        write_bundle(tmp_path / "run", manifest, {ONNX: b"x"})


def test_shared_weights_are_the_packaged_ones_or_none(
    tmp_path, manifest, weights, head, novelty, monkeypatch
):
    from hematovision.model.graph import classifier_graph

    backbone = dataclasses.replace(manifest.backbone, shared=True)
    shared = dataclasses.replace(manifest, backbone=backbone)
    model = classifier_graph(weights, head, novelty, external="hematology.weights")
    bundle = write_bundle(tmp_path / "run", shared, {ONNX: model})
    packaged = tmp_path / "package" / "hematology.weights"
    monkeypatch.setattr(module, "bundled_weights_path", lambda: packaged)
    with pytest.raises(BundleError, match="missing"):
        bundle.external_weights()
    weights.save(packaged)
    assert bundle.external_weights() == {"hematology.weights": weights.to_bytes()}
    packaged.write_bytes(bytes(len(weights.to_bytes())))
    with pytest.raises(BundleError, match=rf"hematology\.weights.*{weights.sha256}"):
        bundle.external_weights()


def test_a_bundle_with_a_class_twice_does_not_open(run_folder: Path):
    """Two columns of one name: rows would have fewer values than the table has columns."""
    path = run_folder / MANIFEST
    value = json.loads(path.read_text("utf-8"))
    value["taxonomy"]["classes"] = ["RBC", "WBC", "RBC"]
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(BundleError, match="the class 'RBC' appears twice"):
        read_bundle(run_folder)
