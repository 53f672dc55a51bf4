"""Copies of a file are found without decoding, in classes and in splits."""

import os
from pathlib import Path

import pytest

from hematovision.data.samples import Dataset, Sample
from hematovision.data.screening import copy_warnings, same_files
from hematovision.taxonomy import RBC_WBC_PLATELETS


def write(root: Path, files: dict[str, bytes]) -> list[Path]:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return [root / name for name in files]


def dataset(root: Path, files: dict[str, bytes]) -> Dataset:
    """Read names such as ``train/RBC/1.png``."""
    samples = [Sample(path, path.parts[-2], path.parts[-3]) for path in write(root, files)]
    return Dataset(root, RBC_WBC_PLATELETS, tuple(samples))


def test_only_files_with_the_same_content_are_the_same(tmp_path: Path):
    long = bytes(50_000)
    files = write(
        tmp_path,
        {
            "a": b"one", "b": b"two", "c": b"one", "d": b"longer", "empty": b"",
            "e": long + b"1", "f": long + b"2", "g": long + b"1", "h": b"one",
        },
    )  # fmt: skip
    files.append(tmp_path / "gone")
    assert same_files(files) == [(0, 2, 8), (5, 7)]


def test_files_of_different_sizes_are_not_opened(tmp_path: Path, monkeypatch):
    files = write(tmp_path, {f"{i}": bytes(i) for i in range(9)})

    def refuse(*_):
        raise AssertionError("opened")

    monkeypatch.setattr(Path, "open", refuse)
    assert same_files(files) == []


def test_one_file_in_two_classes_is_a_warning_that_names_both(tmp_path: Path):
    names = [f"train/{label}/{i}.png" for label in ("RBC", "WBC") for i in range(10)]
    (warning,) = copy_warnings(dataset(tmp_path, dict.fromkeys(names, b"cell")))
    assert warning.startswith(
        "One image is in several classes (20 files with the same content), for example "
        "train/RBC/0.png, train/RBC/1.png, train/RBC/2.png and 17 more."
    )
    assert "data check" in warning


def test_copies_in_two_splits_are_counted(tmp_path: Path):
    files = {f"{split}/RBC/{i}.png": bytes([i]) for split in ("train", "test") for i in range(4)}
    (warning,) = copy_warnings(dataset(tmp_path, files))
    assert warning.startswith("4 images are in several splits (8 files with the same content)")
    assert "train/RBC/0.png, test/RBC/0.png" in warning


def test_copies_within_a_class_and_a_split_are_no_warning(tmp_path: Path):
    files = {"train/RBC/1.png": b"x", "train/RBC/2.png": b"x", "train/WBC/1.png": b"y"}
    assert copy_warnings(dataset(tmp_path, files)) == ()


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
def test_names_that_are_not_utf8_are_escaped_in_a_warning(tmp_path: Path):
    files = {"train/RBC/caf\udce9.png": b"x", "test/RBC/caf\udce9.png": b"x"}
    (warning,) = copy_warnings(dataset(tmp_path, files))
    assert r"train/RBC/caf\xe9.png, test/RBC/caf\xe9.png" in warning
