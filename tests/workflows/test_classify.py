"""`classify`: every image has a row, in order, whether it can be read or not."""

import os
from pathlib import Path, PurePosixPath

import pytest

from colour_squares import write_square
from hematovision import images
from hematovision.errors import (
    BundleError,
    DatasetError,
    ModelNotFoundError,
    OutputError,
    UnreadableFileError,
)
from hematovision.model.prediction import Prediction
from hematovision.workflows import classify as module
from hematovision.workflows.classify import classify, open_overlays, overlay_names


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A red, a green and a blue image, a truncated one, and a text file."""
    folder = tmp_path / "cells"
    for name, colour in (
        ("red", (200, 10, 10)),
        ("deeper/green", (10, 200, 10)),
        ("blue", (10, 10, 200)),
    ):
        write_square(folder / f"{name}.png", colour, side=40)
    (folder / "cut.png").write_bytes((folder / "red.png").read_bytes()[:50])
    (folder / "notes.txt").write_text("no image")
    return folder


class Kept:
    """A table in memory."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.finished = 0

    def write(self, values: dict) -> None:
        self.rows.append(values)

    def finish(self) -> None:
        self.finished += 1


def test_folders_are_searched_and_every_image_has_one_row(colour_model, cells: Path):
    table = Kept()
    summary = classify(
        [cells, cells / "red.png"], model=colour_model, also=lambda classifier: table
    )
    assert [Path(row["path"]).name for row in table.rows] == [
        "blue.png",
        "cut.png",
        "green.png",
        "red.png",
    ]
    assert summary.n == 4
    assert dict(summary.counts) == {"red": 1, "green": 1, "blue": 1}
    assert [Path(error.path).name for error in summary.refused] == ["cut.png"]


def test_a_missing_file_is_refused_and_the_rest_are_processed(colour_model, cells: Path):
    summary = classify([cells / "gone.png", cells / "red.png"], model=colour_model)
    assert summary.n == 2
    assert summary.counts["red"] == 1
    assert summary.refused[0].path == str(cells / "gone.png")
    assert "gone.png" not in summary.refused[0].reason


def test_predictions_to_review_are_counted(colour_model, cells: Path):
    # Novelty is the strongest colour over 255: 200 is below the limit of 0.8, and the softmax of
    # 200, 10, 10 is certain.
    assert classify([cells / "red.png"], model=colour_model).review == 0


def test_progress_counts_every_image(colour_model, cells: Path):
    steps = []
    classify([cells], model=colour_model, progress=lambda *arguments: steps.append(arguments))
    assert steps == [(done, 4, "Classifying", "images") for done in range(1, 5)]


def test_a_second_table_takes_the_same_rows(colour_model, cells: Path, tmp_path: Path):
    out, table = tmp_path / "t.csv", Kept()
    classify([cells], model=colour_model, out=out, also=lambda classifier: table)
    assert len(out.read_text().splitlines()) == 1 + len(table.rows) == 5


def test_without_a_model_no_table_is_written(cells: Path, tmp_path: Path):
    with pytest.raises(ModelNotFoundError):
        classify([cells], model=tmp_path, out=tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_a_folder_without_images_is_an_error(colour_model, tmp_path: Path):
    with pytest.raises(DatasetError, match="no image"):
        classify([tmp_path], model=colour_model)


def test_each_classified_image_gets_an_overlay(explaining_model, cells: Path, tmp_path: Path):
    out, folder, steps = tmp_path / "t.csv", tmp_path / "new" / "overlays", []
    summary = classify(
        [cells],
        model=explaining_model,
        out=out,
        explain=folder,
        progress=lambda *arguments: steps.append(arguments),
    )
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert written == ["blue.png", "deeper/green.png", "red.png"]
    assert summary.explained == 3
    assert len(summary.refused) == 1
    assert images.read(folder / "red.png").shape[1] == 256, "40 pixels are enlarged to be seen"
    assert steps[-1] == (4, 4, "Classifying", "images")
    plain = classify([cells], model=explaining_model, out=tmp_path / "plain.csv")
    assert plain.explained == 0
    assert out.read_bytes() == (tmp_path / "plain.csv").read_bytes(), "the table is the same"


def test_an_image_that_vanishes_in_between_keeps_its_prediction(
    explaining_model, cells: Path, tmp_path: Path, monkeypatch
):
    def gone(path):
        raise UnreadableFileError(path, "gone")

    monkeypatch.setattr(module.images, "read", gone)
    found = classify([cells / "red.png"], model=explaining_model, explain=tmp_path / "o")
    assert (found.counts["red"], found.explained) == (1, 0)


def test_overlays_never_overwrite_anything(explaining_model, cells: Path, tmp_path: Path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "red.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"not empty.*--explain"):
        classify([cells], model=explaining_model, explain=tmp_path / "used")
    assert (tmp_path / "used" / "red.png").read_bytes() == b"mine"


def test_a_model_without_explanation_maps_is_an_error_before_anything_is_written(
    colour_model, cells: Path, tmp_path: Path
):
    with pytest.raises(BundleError, match="has no explanation maps"):
        classify([cells], model=colour_model, out=tmp_path / "t.csv", explain=tmp_path / "o")
    assert list(tmp_path.iterdir()) == [cells]


def test_real_images_are_classified(colour_model, real_data: Path, tmp_path: Path):
    # One image of every lab and format; the predictions of the colour model do not matter.
    folders = ("bccd", "draaslan", "txl/raabin", "pbc/val/platelet")
    found = [next(iter(sorted((real_data / f).rglob("*.[jp][pn]g")))) for f in folders]
    summary = classify(found, model=colour_model, out=tmp_path / "t.parquet")
    assert (summary.n, summary.refused) == (len(found), ())


def overlays_of(*paths: str) -> list[str]:
    return [PurePosixPath(name).as_posix() for name in overlay_names([Path(p) for p in paths])]


def test_folders_below_the_common_one_are_kept():
    assert overlays_of("data/a/cell.jpg", "data/b/cell.jpg") == ["a/cell.png", "b/cell.png"]
    assert overlays_of("data/a/1.jpg", "data/a/2.tif") == ["1.png", "2.png"]
    assert overlays_of("data/cell.jpg", "data/b/c/cell.jpg") == ["cell.png", "b/c/cell.png"]
    assert overlays_of("anywhere/one.jpg") == ["one.png"]
    assert overlays_of() == []


def test_equal_names_are_numbered():
    assert overlays_of("d/x.jpg", "d/x.png", "d/x.tif") == ["x.png", "x-2.png", "x-3.png"]
    assert overlays_of("d/x-2.jpg", "d/x.jpg", "d/x.png") == ["x-2.png", "x.png", "x-3.png"]
    assert overlays_of("d/x.jpg", "d/x.png", "d/x-2.png") == ["x.png", "x-2.png", "x-2-2.png"]


def test_names_that_differ_in_case_alone_would_be_one_file_on_some_systems():
    assert overlays_of("d/Cell.jpg", "d/cell.jpg") == ["Cell.png", "cell-2.png"]
    assert overlays_of("d/A/x.jpg", "d/a/x.jpg") == ["A/x.png", "a/x-2.png"]


def test_a_path_cannot_lead_out_of_the_folder():
    found = overlays_of("../up/x.jpg", "here/../../y.jpg", "z.jpg")
    assert all(".." not in PurePosixPath(name).parts for name in found)
    assert len(set(found)) == 3


def test_names_with_several_dots_or_none():
    assert overlays_of("d/a.b.jpg", "d/a", "d/.hidden.png") == [
        "a.b.png",
        "a.png",
        ".hidden.png",
    ]


def test_images_on_different_drives_keep_their_own_folder(monkeypatch):
    def different(_paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(module.os.path, "commonpath", different)
    assert overlays_of("c/x.jpg", "d/x.jpg") == ["c/x.png", "d/x.png"]


def test_images_that_share_only_the_root_keep_their_own_folder():
    assert overlays_of("/mnt/ann/cells/1.png", "/srv/more/1.png", "/srv/more/deeper/2.tif") == [
        "cells/1.png",
        "more/1.png",
        "deeper/2.png",
    ]
    assert overlays_of("/mnt/ann/cells/1.png", "/srv/cells/1.png") == [
        "cells/1.png",
        "cells/1-2.png",
    ]
    assert overlays_of("/1.png", "/srv/1.png") == ["1.png", "srv/1.png"]


@pytest.mark.parametrize("letter", ["n", "ä", "細", "\udce9"])
def test_long_names_are_truncated(tmp_path, letter):
    stem = letter * (250 // len(os.fsencode(letter)))
    paths = [f"d/{stem}.png", f"d/{stem}.jpg", f"d/{stem[:-1]}x.png"]
    found = overlays_of(*paths)
    assert len(set(found)) == 3
    for name in found:
        assert len(os.fsencode(name)) <= 230
        (tmp_path / name).touch()
    assert found[0].startswith(stem[:50])
    assert overlays_of(*paths) == found


def test_the_folder_may_not_be_in_the_searched_ones(tmp_path):
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
            OutputError, match=r"is inside the input folder.*Choose one outside .* --explain"
        ):
            open_overlays(folder, [], [searched]).__enter__()
    assert list(searched.iterdir()) == []
    with open_overlays(tmp_path / "images-new", [], [searched, tmp_path / "cell.png"]):
        pass


def test_two_runs_do_not_fill_one_folder(tmp_path):
    with (
        open_overlays(tmp_path / "seen", []),
        pytest.raises(OutputError, match="Another run is using the folder"),
        open_overlays(tmp_path / "seen", []),
    ):
        pass


@pytest.mark.parametrize("count", [1, 500])
def test_names_are_unique(count):
    paths = [f"{i % 7}/{i % 3}.{('jpg', 'png')[i % 2]}" for i in range(count)]
    assert len({name.casefold() for name in overlays_of(*paths)}) == count


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
    assert one.caption == expected
