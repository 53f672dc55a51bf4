"""Finding image files, and writing them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import DatasetError, OutputError, UnreadableFileError
from image_files import noise


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.JPG",
        "a/c.png",
        "a/b/d.tiff",
        "notes.txt",
        ".hidden.png",
        ".cache/e.png",
        "__MACOSX/b.JPG",
        "a/Thumbs.db",
    ):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "root"


def names(folder, paths):
    return [path.relative_to(folder).as_posix() for path in paths]


SUFFIXES = ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_images_are_recognised_by_suffix_in_any_case(suffix):
    assert images.is_image_name(f"cell.{suffix}")
    assert images.is_image_name(Path(f"cell.{suffix.upper()}"))


@pytest.mark.parametrize("name", ["cell", "png", ".png", "cell.png.txt", "cell.svg", ""])
def test_other_names_are_not_images(name):
    assert not images.is_image_name(name)


def test_folders_are_searched_at_any_depth_and_sorted_without_hidden_files(folder):
    assert names(folder, images.find_images([folder])) == ["a/b/d.tiff", "a/c.png", "b.JPG"]


def test_given_files_keep_their_order_without_duplicates(folder):
    given = [folder / "notes.txt", folder / "b.JPG", folder, folder / ".hidden.png"]
    found = names(folder, images.find_images(given))
    assert found == ["notes.txt", "b.JPG", "a/b/d.tiff", "a/c.png", ".hidden.png"]


def test_a_hidden_folder_that_is_given_is_searched(folder):
    assert len(images.find_images([folder / ".cache"])) == 1


def test_no_paths_give_no_images():
    assert images.find_images([]) == []


def test_a_path_that_does_not_exist(folder):
    with pytest.raises(UnreadableFileError, match="the file or folder does not exist"):
        images.find_images([folder / "gone"])


def test_a_folder_without_images(tmp_path):
    with pytest.raises(DatasetError, match=r"no images in the folder .*Expected.*\.bmp, .*\.webp"):
        images.find_images([tmp_path])


def test_links_to_folders_are_followed_without_loops(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f.png").touch()
    try:
        (folder / "link").symlink_to(outside, target_is_directory=True)
        (outside / "back").symlink_to(folder, target_is_directory=True)
        (folder / "a" / "self").symlink_to(folder / "a", target_is_directory=True)
        (folder / "gone.png").symlink_to(folder / "nowhere.png")
    except OSError:
        pytest.skip("this system lets nobody make links")
    found = names(folder, images.find_images([folder]))
    assert found == ["a/b/d.tiff", "a/c.png", "b.JPG", "gone.png", "link/f.png"]


def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    def scan(top):
        raise PermissionError(13, "Permission denied", os.fspath(top))

    monkeypatch.setattr("os.scandir", scan)
    with pytest.raises(UnreadableFileError, match="cannot be listed: Permission denied"):
        images.find_images([folder])


def test_all_images_of_a_folder_are_sorted_by_path(tmp_path: Path):
    names = ["a.png", "a/1.png", "a-1/2.png", "a/b/3.png", "a/b.png", "a0.png", "A/4.png", "ä.png"]
    if sys.platform in ("win32", "darwin"):
        names.remove("A/4.png")  # where a and A are one folder
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    expected = sorted((tmp_path / name for name in names), key=lambda path: path.as_posix())
    assert list(images.iter_images([tmp_path])) == expected == images.find_images([tmp_path])


def test_other_paths_are_listed_as_given(tmp_path: Path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).touch()
    gone = tmp_path / "gone.png"
    given = [tmp_path / "2.png", tmp_path, gone]
    found = [path.name for path in images.iter_images(given)]
    assert found == ["2.png", "1.png", "2.png", "gone.png"]


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Make a folder unlistable, also for root."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0o000)
    for above in folder.parents:  # pytest makes its folders for one user alone
        if root and above.stat().st_uid == 0 and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o055)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other permissions")
class TestClosedFolder:
    def test_it_stands_where_its_images_would_and_the_others_are_found(self, folder):
        with closed(folder / "a" / "b"):
            found = names(folder, images.iter_images([folder]))
            with pytest.raises(UnreadableFileError, match="cannot be listed: Permission denied"):
                images.read(folder / "a" / "b")
            with pytest.raises(UnreadableFileError, match="cannot be listed: Permission denied"):
                images.find_images([folder])
        assert found == ["a/b", "a/c.png", "b.JPG"]

    def test_a_given_folder_may_be_hidden(self, folder):
        with closed(folder / "a"):
            assert list(images.iter_images([folder / "a"])) == [folder / "a"]
            assert list(images.iter_images([folder / "a" / "b"])) == [folder / "a" / "b"]


def test_an_invalid_path_is_kept_for_its_error(tmp_path):
    long = tmp_path / ("x" * 300 + ".png")
    assert list(images.iter_images([long])) == [long]
    with pytest.raises(UnreadableFileError, match="File name too long"):
        images.find_images([long])


class TestWriting:
    def test_png_is_lossless(self, tmp_path):
        image = noise(20, 30, 3)
        path = images.write(tmp_path / "new" / "cell.PNG", image[:, ::-1])
        np.testing.assert_array_equal(images.read(path), image[:, ::-1])

    @pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
    def test_jpeg_keeps_full_colour_resolution(self, tmp_path, suffix):
        path = images.write(tmp_path / f"cell{suffix}", noise(16, 16, 3))
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3

    @pytest.mark.parametrize("name", ["cell.tif", "cell"])
    def test_another_suffix_is_rejected(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"must be \.png, \.jpg or"):
            images.write(tmp_path / name, noise(4, 4, 3))
        assert not list(tmp_path.iterdir())

    def test_another_type_of_pixels_is_rejected(self, tmp_path):
        with pytest.raises(ValueError, match="must be RGB uint8"):
            images.write(tmp_path / "cell.png", noise(4, 4))


def test_one_path_and_several_become_a_list(tmp_path: Path):
    (tmp_path / "a.png").touch()
    (entry,) = os.scandir(tmp_path)
    expected = tmp_path / "a.png"
    assert images.as_paths(entry, "f") == images.as_paths([entry], "f") == [expected]
    assert images.as_paths(str(expected), "f") == images.as_paths(iter([expected]), "f")
    assert images.as_paths([], "f") == []


@pytest.mark.parametrize("given", [None, 3, b"a.png", np.zeros((2, 9, 9, 3)), ["a.png", b"x"]])
def test_what_is_no_path_names_the_call_for_images_in_memory(given: object):
    expected = r"`paths` must be a file or folder.* (NoneType|int|bytes|ndarray)\. For .*, call f\."
    with pytest.raises(TypeError, match=expected):
        images.as_paths(given, "f")
