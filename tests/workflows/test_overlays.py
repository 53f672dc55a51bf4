"""Every image's overlay has a name of its own."""

import os
from pathlib import Path, PurePosixPath

import pytest

from hematovision.errors import OutputError
from hematovision.model.prediction import Prediction
from hematovision.workflows import overlays
from hematovision.workflows.overlays import open_overlays, overlay_names


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
    assert names("c/x.jpg", "d/x.jpg") == ["c/x.png", "d/x.png"]


def test_images_with_nothing_in_common_make_no_absolute_path_again():
    assert names("/mnt/ann/cells/1.png", "/srv/more/1.png", "/srv/more/deeper/2.tif") == [
        "cells/1.png",
        "more/1.png",
        "deeper/2.png",
    ]
    assert names("/mnt/ann/cells/1.png", "/srv/cells/1.png") == ["cells/1.png", "cells/1-2.png"]
    assert names("/1.png", "/srv/1.png") == ["1.png", "srv/1.png"]


@pytest.mark.parametrize("letter", ["n", "ä", "細", "\udce9"])
def test_a_name_as_long_as_the_system_takes_is_cut(tmp_path, letter):
    stem = letter * (250 // len(os.fsencode(letter)))
    paths = [f"d/{stem}.png", f"d/{stem}.jpg", f"d/{stem[:-1]}x.png"]
    found = names(*paths)
    assert len(set(found)) == 3
    for name in found:
        assert len(os.fsencode(name)) <= 230
        (tmp_path / name).touch()
    assert found[0].startswith(stem[:50])
    assert names(*paths) == found


def test_the_folder_may_not_lie_in_what_is_searched(tmp_path):
    searched = tmp_path / "images"
    searched.mkdir()
    (tmp_path / "link").symlink_to(searched, target_is_directory=True)
    for folder in (
        searched,
        searched / "new",
        tmp_path / "link" / "new",
        searched / ".." / "images",
    ):
        with pytest.raises(
            OutputError, match=r"which is searched for images.*Choose one outside .* --explain"
        ):
            open_overlays(folder, [], [searched]).__enter__()
    assert list(searched.iterdir()) == []
    with open_overlays(tmp_path / "images-new", [], [searched, tmp_path / "cell.png"]):
        pass


def test_two_runs_do_not_fill_one_folder(tmp_path):
    with (
        open_overlays(tmp_path / "seen", []),
        pytest.raises(OutputError, match="Another run is working in the folder"),
        open_overlays(tmp_path / "seen", []),
    ):
        pass


@pytest.mark.parametrize("count", [1, 500])
def test_as_many_names_as_images(count):
    paths = [f"{i % 7}/{i % 3}.{('jpg', 'png')[i % 2]}" for i in range(count)]
    assert len({name.casefold() for name in names(*paths)}) == count


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("", "WBC  97.0%"),
        ("low confidence", "WBC  97.0%, review"),
        ("unlike the training images", "Not recognised, review"),
        ("low confidence; unlike the training images", "Not recognised, review"),
    ],
)
def test_an_image_unlike_the_training_images_is_not_captioned_with_a_class(
    reason: str, expected: str
):
    decision = "review" if reason else "accepted"
    one = Prediction("x", ("WBC", "b"), "WBC", (0.97, 0.03), 0.97, 2.0, decision, reason)
    assert overlays._caption(one) == expected
