"""The job of classifying: every image is answered or refused, in order, whatever lies between."""

from pathlib import Path

import pytest

from hematovision import images
from hematovision.errors import (
    BundleError,
    DatasetError,
    ModelNotFoundError,
    OutputError,
    UnreadableFileError,
)
from hematovision.workflows import overlays
from hematovision.workflows.classify import classify


class Kept:
    """A table in memory."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.finished = 0

    def write(self, values: dict) -> None:
        self.rows.append(values)

    def finish(self) -> None:
        self.finished += 1


def test_folders_are_searched_and_every_image_is_answered_once(colour_model, pictures: Path):
    table = Kept()
    summary = classify(
        [pictures, pictures / "red.png"], model=colour_model, also=lambda classifier: table
    )
    assert [Path(row["path"]).name for row in table.rows] == [
        "blue.png",
        "cut.png",
        "green.png",
        "red.png",
    ]
    assert summary.n == 4
    assert dict(summary.counts) == {"red": 1, "green": 1, "blue": 1}
    assert [Path(refusal.path).name for refusal in summary.refused] == ["cut.png"]


def test_a_missing_file_is_refused_and_the_others_go_on(colour_model, pictures: Path):
    summary = classify([pictures / "gone.png", pictures / "red.png"], model=colour_model)
    assert summary.n == 2
    assert summary.counts["red"] == 1
    assert summary.refused[0].path == str(pictures / "gone.png")
    assert "gone.png" not in summary.refused[0].reason


def test_reviewed_answers_are_counted(colour_model, pictures: Path):
    # Novelty is the strongest colour over 255: 200 is below the limit of 0.8, and the softmax of
    # 200, 10, 10 is certain.
    assert classify([pictures / "red.png"], model=colour_model).review == 0


def test_progress_tells_of_every_image(colour_model, pictures: Path):
    told = []
    classify([pictures], model=colour_model, progress=lambda *arguments: told.append(arguments))
    assert told == [(done, 4, "Classifying") for done in range(1, 5)]


def test_a_table_is_written_while_another_listens(colour_model, pictures: Path, tmp_path: Path):
    out, table = tmp_path / "t.csv", Kept()
    classify([pictures], model=colour_model, out=out, also=lambda classifier: table)
    assert len(out.read_text().splitlines()) == 1 + len(table.rows) == 5


def test_without_a_model_there_is_no_answer(pictures: Path, tmp_path: Path):
    with pytest.raises(ModelNotFoundError):
        classify([pictures], model=tmp_path, out=tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_a_folder_without_images_is_an_error(colour_model, tmp_path: Path):
    with pytest.raises(DatasetError, match="no image"):
        classify([tmp_path], model=colour_model)


def test_each_answered_image_gets_an_overlay(explaining_model, pictures: Path, tmp_path: Path):
    out, folder, told = tmp_path / "t.csv", tmp_path / "new" / "overlays", []
    summary = classify(
        [pictures],
        model=explaining_model,
        out=out,
        explain=folder,
        progress=lambda *arguments: told.append(arguments),
    )
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert written == ["blue.png", "deeper/green.png", "red.png"]
    assert summary.explained == 3
    assert len(summary.refused) == 1
    assert images.read(folder / "red.png").shape[1] == 256, "40 pixels are enlarged to be seen"
    assert told[-1] == (4, 4, "Classifying")
    plain = classify([pictures], model=explaining_model, out=tmp_path / "plain.csv")
    assert plain.explained == 0
    assert out.read_bytes() == (tmp_path / "plain.csv").read_bytes(), "the table is the same"


def test_an_image_that_vanishes_in_between_keeps_its_answer(
    explaining_model, pictures: Path, tmp_path: Path, monkeypatch
):
    def gone(path):
        raise UnreadableFileError(path, "gone")

    monkeypatch.setattr(overlays.images, "read", gone)
    found = classify([pictures / "red.png"], model=explaining_model, explain=tmp_path / "o")
    assert (found.counts["red"], found.explained) == (1, 0)


def test_overlays_never_go_over_something_that_is_there(
    explaining_model, pictures: Path, tmp_path: Path
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "red.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"not empty.*--explain"):
        classify([pictures], model=explaining_model, explain=tmp_path / "used")
    assert (tmp_path / "used" / "red.png").read_bytes() == b"mine"


def test_a_model_that_cannot_explain_says_so_before_anything_is_written(
    colour_model, pictures: Path, tmp_path: Path
):
    with pytest.raises(BundleError, match="has no explanation maps"):
        classify([pictures], model=colour_model, out=tmp_path / "t.csv", explain=tmp_path / "o")
    assert list(tmp_path.iterdir()) == [pictures]


def test_real_images_are_answered(colour_model, real_data: Path, tmp_path: Path):
    # One-in-many of every lab and format at hand; what the colour model says of them is no matter.
    folders = ("bccd", "draaslan", "txl/raabin", "pbc/val/platelet")
    found = [next(iter(sorted((real_data / f).rglob("*.[jp][pn]g")))) for f in folders]
    summary = classify(found, model=colour_model, out=tmp_path / "t.parquet")
    assert (summary.n, summary.refused) == (len(found), ())
