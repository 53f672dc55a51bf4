"""Listing images: the same ones in the same order, local or remote."""

from pathlib import Path

import pytest

from hematovision.errors import DatasetError
from hematovision.images import find_images, iter_images
from hematovision.scale.addresses import is_uri, list_files


def test_a_folder_is_listed_as_classify_lists_it(cells: Path):
    files = list_files([str(cells)])
    assert [file.name for file in files] == [str(path) for path in find_images([cells])]
    assert len(files) == 12


def test_paths_are_absolute_for_workers_and_as_given_for_the_table(cells: Path, monkeypatch):
    monkeypatch.chdir(cells)
    (file, *_) = list_files(["red"])
    assert file.name == str(Path("red") / "0.png")
    assert file.path == str(cells / "red" / "0.png")


def test_an_image_given_twice_is_listed_once(cells: Path):
    assert len(list_files([str(cells), str(cells / "red"), str(cells)])) == 12


def test_a_missing_file_is_listed(cells: Path):
    (file,) = list_files([str(cells / "gone.png")])
    assert (file.name, file.stamp) == (str(cells / "gone.png"), "")


def test_a_stamp_changes_with_the_content(cells: Path):
    image = cells / "red" / "0.png"
    (before,) = list_files([str(image)])
    image.write_bytes(image.read_bytes() + b" ")
    (after,) = list_files([str(image)])
    assert before.stamp != after.stamp


def test_a_uri_is_listed_by_the_same_rules(cells: Path):
    (cells / ".hidden").mkdir()
    (cells / ".hidden" / "a.png").write_bytes(b"x")
    (cells / "__MACOSX").mkdir()
    (cells / "__MACOSX" / "b.png").write_bytes(b"x")
    (cells / "c.czi").write_bytes(b"x")
    files = list_files([cells.as_uri()])
    assert [Path(file.path) for file in files] == list(iter_images([cells]))
    assert any(file.path.endswith("c.czi") for file in files), "listed as refused, not skipped"
    assert all(file.name == f"file://{file.path}" for file in files)
    assert all(file.root == cells.as_uri() and file.stamp for file in files)


def test_an_archive_can_be_an_address(cells: Path, tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        for path in find_images([cells / "green"]):
            archive.write(path, f"green/{path.name}")
    files = list_files([f"zip://green::file://{tmp_path / 'cells.zip'}"])
    assert [file.path for file in files] == [f"green/{i}.png" for i in range(4)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere://bucket/cells", "cannot be opened"),
        ("file:///no/such/folder", "There are no images at"),
        ("http://127.0.0.1:9/cells", "cannot be listed|There are no images"),
    ],
)
def test_an_address_that_does_not_exist_is_an_error(address: str, message: str):
    with pytest.raises(DatasetError, match=message) as caught:
        list_files([address])
    assert address in str(caught.value)


def test_a_folder_without_images_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="no image"):
        list_files([str(tmp_path)])


@pytest.mark.parametrize(
    ("address", "expected"),
    [("s3://a/b", True), ("cells/a.jpg", False), ("C:\\cells\\a.jpg", False), ("/a:b/c", False)],
)
def test_uris_are_distinguished_from_paths(address: str, expected: bool):
    assert is_uri(address) is expected
