"""Listing images: the same ones in the same order, wherever they lie."""

from pathlib import Path

import pytest

from hematovision.errors import DatasetError
from hematovision.images import find_images, iter_images
from hematovision.scale.addresses import is_uri, list_sources


def test_a_folder_is_listed_as_classify_lists_it(pictures: Path):
    sources = list_sources([str(pictures)])
    assert [source.name for source in sources] == [str(path) for path in find_images([pictures])]
    assert len(sources) == 12


def test_paths_are_absolute_for_workers_and_as_given_for_the_table(pictures: Path, monkeypatch):
    monkeypatch.chdir(pictures)
    (source, *_) = list_sources(["red"])
    assert source.name == str(Path("red") / "0.png")
    assert source.path == str(pictures / "red" / "0.png")


def test_an_image_given_twice_is_listed_once(pictures: Path):
    assert len(list_sources([str(pictures), str(pictures / "red"), str(pictures)])) == 12


def test_a_missing_file_stays_to_be_refused(pictures: Path):
    (source,) = list_sources([str(pictures / "gone.png")])
    assert (source.name, source.stamp) == (str(pictures / "gone.png"), "")


def test_a_stamp_changes_with_the_content(pictures: Path):
    image = pictures / "red" / "0.png"
    (before,) = list_sources([str(image)])
    image.write_bytes(image.read_bytes() + b" ")
    (after,) = list_sources([str(image)])
    assert before.stamp != after.stamp


def test_a_uri_is_listed_by_the_same_rules(pictures: Path):
    (pictures / ".hidden").mkdir()
    (pictures / ".hidden" / "a.png").write_bytes(b"x")
    (pictures / "__MACOSX").mkdir()
    (pictures / "__MACOSX" / "b.png").write_bytes(b"x")
    (pictures / "c.czi").write_bytes(b"x")
    sources = list_sources([pictures.as_uri()])
    assert [Path(source.path) for source in sources] == list(iter_images([pictures]))
    assert any(source.path.endswith("c.czi") for source in sources), "refused by name, not left out"
    assert all(source.name == f"file://{source.path}" for source in sources)
    assert all(source.root == pictures.as_uri() and source.stamp for source in sources)


def test_an_archive_can_be_an_address(pictures: Path, tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        for path in find_images([pictures / "green"]):
            archive.write(path, f"green/{path.name}")
    sources = list_sources([f"zip://green::file://{tmp_path / 'cells.zip'}"])
    assert [source.path for source in sources] == [f"green/{i}.png" for i in range(4)]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nowhere://bucket/cells", "cannot be opened"),
        ("file:///no/such/folder", "There is no image at"),
        ("http://127.0.0.1:9/cells", "cannot be listed|There is no image"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(address: str, says: str):
    with pytest.raises(DatasetError, match=says) as caught:
        list_sources([address])
    assert address in str(caught.value)


def test_a_folder_without_images_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="no image"):
        list_sources([str(tmp_path)])


@pytest.mark.parametrize(
    ("address", "expected"),
    [("s3://a/b", True), ("cells/a.jpg", False), ("C:\\cells\\a.jpg", False), ("/a:b/c", False)],
)
def test_what_is_a_uri(address: str, expected: bool):
    assert is_uri(address) is expected
