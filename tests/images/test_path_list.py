"""Many paths in little memory are the same paths."""

import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from hematovision import images
from hematovision.images import PathList, path_list

PATHS = [
    Path("a/1.png"),
    Path("a/b/ä 細胞.png"),
    Path("2.png"),
    Path("a/1.png"),
    Path(os.sep) / "root.png",
    Path(),
    Path("a/\udcff.png"),
    Path("../up.png"),
]


def test_paths_come_back_as_they_were_given():
    paths = PathList(PATHS)
    assert list(paths) == PATHS
    assert [str(path) for path in paths] == [str(path) for path in PATHS]
    assert len(paths) == 8
    assert paths[-1] == PATHS[-1]
    assert paths[1:7:2] == PATHS[1:7:2]
    with pytest.raises(IndexError):
        paths[8]


def test_an_empty_list():
    assert list(PathList()) == []
    assert list(PathList().unique()) == []


def test_a_stretch_of_another_list_is_added():
    paths = PathList([Path("x/0.png"), Path("b/9.png")])
    paths.add_from(PathList(PATHS), 1, 5)
    paths.add_from(PathList(PATHS), 2, 2)
    assert list(paths) == [Path("x/0.png"), Path("b/9.png"), *PATHS[1:5]]


def test_what_is_there_twice_is_kept_where_it_came_first():
    assert list(PathList(PATHS + PATHS).unique()) == list(dict.fromkeys(PATHS))


def test_paths_with_the_same_hash_are_not_taken_for_one(monkeypatch):
    monkeypatch.setattr(path_list, "hash", lambda path: 7, raising=False)
    assert list(PathList(PATHS).unique()) == list(dict.fromkeys(PATHS))


def test_a_hundred_thousand_images_take_less_than_3_mb():
    tracemalloc.start()
    paths = PathList()
    paths.add_names(Path("a/long/name/of/a/folder"), (f"{i:08d}.jpg" for i in range(100_000)))
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 3e6
    assert most < 6e6
    assert paths[77_777].name == "00077777.jpg"


def test_folders_come_sorted_by_path_as_a_whole(tmp_path: Path):
    names = ["a.png", "a/1.png", "a-1/2.png", "a/b/3.png", "a/b.png", "a0.png", "A/4.png", "ä.png"]
    if sys.platform in ("win32", "darwin"):
        names.remove("A/4.png")  # where a and A are one folder
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    expected = sorted((tmp_path / name for name in names), key=lambda path: path.as_posix())
    assert list(images.list_images([tmp_path])) == expected == images.find_images([tmp_path])


def test_what_is_no_folder_is_listed_as_given_and_nothing_comes_twice(tmp_path: Path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).touch()
    gone = tmp_path / "gone.png"
    given = [tmp_path / "2.png", tmp_path, gone, tmp_path, gone]
    found = [path.name for path in images.list_images(given)]
    assert found == ["2.png", "1.png", "gone.png"]
