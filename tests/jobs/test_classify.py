"""The job of classifying: every image is answered or refused, in order, whatever lies between."""

from pathlib import Path

import pytest

from hematovision.errors import DatasetError, ModelNotFoundError
from hematovision.jobs.classify import classify
from hematovision.model.classifier import Prediction


class Kept:
    """A table in memory."""

    def __init__(self) -> None:
        self.rows: list[Prediction] = []
        self.finished = 0

    def write(self, prediction: Prediction) -> None:
        self.rows.append(prediction)

    def finish(self) -> None:
        self.finished += 1


def test_folders_are_searched_and_every_image_is_answered_once(colour_model, pictures: Path):
    table = Kept()
    summary = classify(
        [pictures, pictures / "red.png"], model=colour_model, also=lambda classifier: table
    )
    assert [Path(row.path).name for row in table.rows] == [
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


def test_real_images_are_answered(colour_model, real_data: Path, tmp_path: Path):
    # One-in-many of every lab and format at hand; what the colour model says of them is no matter.
    folders = ("bccd", "draaslan", "txl/raabin", "pbc/val/platelet")
    found = [next(iter(sorted((real_data / f).rglob("*.[jp][pn]g")))) for f in folders]
    summary = classify(found, model=colour_model, out=tmp_path / "t.parquet")
    assert (summary.n, summary.refused) == (len(found), ())
