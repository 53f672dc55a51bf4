"""Every image's overlay has a name of its own."""

from pathlib import Path, PurePosixPath

import pytest

from hematovision.jobs import overlays
from hematovision.jobs.overlays import overlay_names


def names(*paths: str) -> list[str]:
    return [PurePosixPath(name).as_posix() for name in overlay_names([Path(p) for p in paths])]


def test_folders_below_the_common_one_are_kept():
    assert names("data/a/cell.jpg", "data/b/cell.jpg") == ["a/cell.png", "b/cell.png"]
    assert names("data/a/1.jpg", "data/a/2.tif") == ["1.png", "2.png"]
    assert names("data/cell.jpg", "data/b/c/cell.jpg") == ["cell.png", "b/c/cell.png"]
    assert names("anywhere/one.jpg") == ["one.png"]
    assert names() == []


def test_what_would_be_alike_is_numbered():
    assert names("d/x.jpg", "d/x.png", "d/x.tif") == ["x.png", "x-2.png", "x-3.png"]
    assert names("d/x-2.jpg", "d/x.jpg", "d/x.png") == ["x-2.png", "x.png", "x-3.png"]
    assert names("d/x.jpg", "d/x.png", "d/x-2.png") == ["x.png", "x-2.png", "x-2-2.png"]


def test_names_that_differ_in_case_alone_would_be_one_file_on_some_systems():
    assert names("d/Cell.jpg", "d/cell.jpg") == ["Cell.png", "cell-2.png"]
    assert names("d/A/x.jpg", "d/a/x.jpg") == ["A/x.png", "a/x-2.png"]


def test_a_path_cannot_lead_out_of_the_folder():
    found = names("../up/x.jpg", "here/../../y.jpg", "z.jpg")
    assert all(".." not in PurePosixPath(name).parts for name in found)
    assert len(set(found)) == 3


def test_several_dots_and_none():
    assert names("d/a.b.jpg", "d/a", "d/.hidden.png") == ["a.b.png", "a.png", ".hidden.png"]


def test_images_on_different_drives_lie_side_by_side(monkeypatch):
    def different(_paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(overlays.os.path, "commonpath", different)
    assert names("c/x.jpg", "d/x.jpg") == ["x.png", "x-2.png"]


@pytest.mark.parametrize("count", [1, 500])
def test_as_many_names_as_images(count):
    paths = [f"{i % 7}/{i % 3}.{('jpg', 'png')[i % 2]}" for i in range(count)]
    assert len({name.casefold() for name in names(*paths)}) == count
