"""``classify`` and ``models`` at the command line."""

import csv
import importlib.util
import io
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from hematovision.cli import classify as command
from hematovision.model.prediction import Prediction
from hematovision.workflows.models import ModelEntry


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_predictions_are_csv_in_a_pipe(run, colour_model, cell_images: Path):
    result = run("classify", cell_images, "--model", colour_model)
    assert result.exit_code == 0
    found = {Path(row["path"]).stem: row for row in rows(result.stdout)}
    assert {name: row["label"] for name, row in found.items()} == {
        "red": "red",
        "green": "green",
        "blue": "blue",
    }
    # The model's novelty is the strongest colour over 255, and it accepts up to 0.8.
    assert float(found["red"]["novelty"]) == pytest.approx(250 / 255, abs=1e-5)
    assert found["red"]["decision"] == "review"
    assert found["red"]["reason"] == "unlike the training images"
    assert result.stderr == "3 images: 1 red, 1 green, 1 blue; 3 to review, 0 refused\n"


def test_one_image_gives_one_row_and_nothing_else(run, colour_model, cell_images: Path):
    result = run("classify", cell_images / "green.png", "--model", colour_model)
    assert [row["label"] for row in rows(result.stdout)] == ["green"]
    assert result.stderr == ""


def test_each_prediction_is_one_line_in_a_terminal(
    run, colour_model, cell_images: Path, monkeypatch
):
    (cell_images / "cut.png").write_bytes((cell_images / "red.png").read_bytes()[:50])
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    result = run("classify", cell_images, "--model", colour_model)
    lines = {line.split()[-1]: line for line in result.stdout.splitlines()}
    assert re.match(
        r"Not recognised +review: unlike the training images +",
        lines[str(cell_images / "green.png")],
    )
    assert lines[str(cell_images / "cut.png")].startswith("refused ")


def test_images_of_other_formats_are_listed_and_the_rest_processed(
    run, colour_model, cell_images: Path
):
    for name in ("cell.czi", "cell.lif", "notes.txt", "cells.csv"):
        (cell_images / name).write_bytes(b"no image that is read")
    result = run("classify", cell_images, "--model", colour_model)
    assert result.exit_code == 3
    assert "5 images: 1 red, 1 green, 1 blue; 3 to review, 2 refused" in result.stderr
    assert "Zeiss image (CZI)" in result.stderr
    assert "Leica image (LIF)" in result.stderr
    assert "notes.txt" not in result.stderr + result.stdout


def test_a_dicom_file_without_its_extra_is_refused_with_the_command_to_install_it(
    run, colour_model, cell_images: Path, monkeypatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "pydicom" else find(name)
    )
    (cell_images / "cell.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    result = run("classify", cell_images, "--model", colour_model)
    assert result.exit_code == 3
    assert "1 refused" in result.stderr
    assert re.search(r"cell\.dcm: it is a DICOM image\..*'pydicom'.*install", result.stderr)


def test_refused_files_are_each_listed_and_the_exit_code_is_three(
    run, colour_model, cell_images: Path
):
    (cell_images / "empty.png").write_bytes(b"")
    (cell_images / "text.jpg").write_text("not an image")
    result = run("classify", cell_images, cell_images / "gone.png", "--model", colour_model)
    assert result.exit_code == 3
    assert "Images that could not be used (3):" in result.stderr
    for name in ("empty.png", "text.jpg", "gone.png"):
        assert f"  {cell_images / name}: " in result.stderr
    assert "Traceback" not in result.output
    refused = [row for row in rows(result.stdout) if row["decision"] == "refused"]
    assert len(refused) == 3
    assert all(row["error"] and not row["label"] and not row["p_red"] for row in refused)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".CSV"])
def test_a_table_is_written_and_its_path_printed(
    run, colour_model, cell_images: Path, tmp_path: Path, suffix
):
    table = tmp_path / f"predictions{suffix}"
    result = run("classify", cell_images, "--model", colour_model, "--out", table)
    assert result.exit_code == 0
    assert table.stat().st_size > 0
    assert result.stdout == (
        f"3 images: 1 red, 1 green, 1 blue; 3 to review, 0 refused. Table: {table}\n"
    )


def test_overlays_are_written_and_counted(run, explaining_model, cell_images: Path, tmp_path: Path):
    (cell_images / "cut.png").write_bytes((cell_images / "red.png").read_bytes()[:50])
    folder = tmp_path / "looked"
    result = run("classify", cell_images, "--model", explaining_model, "--explain", folder)
    assert result.exit_code == 3
    assert f"3 overlays in {folder}\n" in result.stderr
    assert {row["label"] for row in rows(result.stdout)} == {"red", "green", "blue", ""}
    assert sorted(p.name for p in folder.iterdir()) == ["blue.png", "green.png", "red.png"]
    table, folder = tmp_path / "t.csv", tmp_path / "one"
    result = run(
        *("classify", cell_images / "red.png", "--model", explaining_model),
        *("--out", table, "--explain", folder),
    )
    assert result.exit_code == 0
    assert f"Table: {table}\n1 overlay in {folder}" in result.stdout


def test_a_model_that_cannot_explain_is_an_error(
    run, colour_model, cell_images: Path, tmp_path: Path
):
    arguments = ("--model", colour_model, "--explain", tmp_path / "looked")
    result = run("classify", cell_images, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no explanation maps" in result.stderr
    assert not (tmp_path / "looked").exists()


def test_resuming_reports_what_was_classified_before(
    run, colour_model, cell_images: Path, tmp_path: Path
):
    arguments = ("classify", cell_images, "--model", colour_model, "--out", tmp_path / "t.csv")
    first, second = run(*arguments, "--resume"), run(*arguments, "--resume")
    (cell_images / "cut.png").write_bytes((cell_images / "red.png").read_bytes()[:50])
    third, fourth = run(*arguments, "--resume"), run(*arguments, "--resume")
    assert [result.exit_code for result in (first, second, third, fourth)] == [0, 0, 3, 3]
    assert [result.stdout.splitlines()[0] for result in (first, second, third, fourth)] == [
        "0 of 3 images were classified before",
        "Nothing to do: all images were classified before",
        "3 of 4 images were classified before",
        "Nothing to do: all images were classified before",
    ]
    assert "cut.png: " in fourth.stderr


def test_stopping_a_table_prints_how_to_resume(
    run, colour_model, cell_images: Path, tmp_path: Path, monkeypatch
):
    def stop(done, total, what, unit):
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "progress_bar", lambda hidden: nullcontext(stop))
    arguments = ("classify", cell_images, "--model", colour_model, "--out", tmp_path / "t.csv")
    stopped = run(*arguments)
    assert stopped.exit_code == 130
    assert "Run the same command with --resume to continue" in stopped.stderr
    monkeypatch.undo()
    assert run(*arguments, "--resume").stdout.startswith("2 of 3 images were classified before\n")


@pytest.mark.parametrize("others", [(), ("--out", "t.csv", "--explain", "folder")])
def test_only_a_table_can_be_resumed(run, colour_model, cell_images: Path, others):
    result = run("classify", cell_images, "--model", colour_model, "--resume", *others)
    assert result.exit_code == 2
    assert "--resume" in result.stderr


def test_a_model_that_does_not_exist_is_an_error_never_a_prediction(run, cell_images: Path):
    result = run("classify", cell_images, "--model", "no-such-model")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: There is no model 'no-such-model'")
    assert "Traceback" not in result.stderr
    assert "Did you mean" not in result.stderr


def test_a_mistyped_model_gets_the_nearest_name(run, cell_images: Path):
    result = run("classify", cell_images, "--model", "white-cell")
    assert "no folder. Did you mean 'white-cells'? Bundled models: " in result.stderr


def test_a_folder_without_images_is_an_error(run, colour_model, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = run("classify", tmp_path / "empty", "--model", colour_model)
    assert result.exit_code == 1
    assert "no images in the folder" in result.stderr


def test_a_table_that_cannot_be_written_is_an_error(run, colour_model, cell_images: Path, tmp_path):
    (tmp_path / "file").write_text("in the way")
    table = tmp_path / "file" / "predictions.csv"
    result = run("classify", cell_images, "--model", colour_model, "--out", table)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Cannot create the folder")


def test_models_are_listed_with_their_metrics_and_cards(run, monkeypatch, tmp_path: Path):
    entry = ModelEntry(
        name="colours",
        classes=("red", "green"),
        n=945,
        balanced_accuracy=0.9937,
        interval=(0.981, 0.9996),
        review_rate=0.05,
        card=tmp_path / "MODEL_CARD.md",
    )
    monkeypatch.setattr("hematovision.workflows.models.list_models", lambda: [entry])
    printed = run("models").stdout
    assert re.search(r"colours +945 +99\.4% +98\.1 to 99\.96% +5\.0%", printed)
    assert "colours: red, green" in printed
    assert "MODEL_CARD.md" in printed.replace("\n", "")


def test_without_bundled_models_the_next_step_is_printed(run, monkeypatch):
    monkeypatch.setattr("hematovision.workflows.models.list_models", list)
    monkeypatch.setattr("hematovision.workflows.models.list_detectors", list)
    result = run("models")
    assert result.exit_code == 0
    assert "no bundled models. Train one" in result.stdout


def test_json_lines_have_one_object_per_line(run, colour_model, cell_images: Path, tmp_path: Path):
    table = tmp_path / "predictions.jsonl"
    run("classify", cell_images, "--model", colour_model, "--out", table)
    objects = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert [Path(row["path"]).stem for row in objects] == ["blue", "green", "red"]


def test_a_recognised_image_shows_its_class_and_confidence(capsys):
    prediction = Prediction("a.png", ("RBC", "WBC"), "WBC", (0.029, 0.971), 0.971, 1.0, "accepted")
    lines = command._Lines(prediction.classes)
    lines.write(prediction.values())
    unlike = replace(prediction, decision="review", reason="unlike the training images")
    lines.write(unlike.values())
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["WBC", "97.1%", "accepted", "a.png"]
    assert second.startswith("Not recognised  ")
    assert "WBC" not in second
