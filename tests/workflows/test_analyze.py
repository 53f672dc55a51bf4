"""`analyze`: cells and fields of a run in tables; the same after any interruption."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.errors import DatasetError, OutputError
from hematovision.tables.store import store_path
from hematovision.workflows import analyze as module
from hematovision.workflows.analyze import RESULTS, AnalyzeOptions, analyze
from square_finder import SquareFinder, opened_finder, outputs, write_field

FIELDS = {
    "a.png": ("RBC", "RBC", "WBC", "RBC", "Platelets", "?"),
    "b/1.png": ("RBC",) * 12,
    "b/2.png": ("",) * 8,
    "c.png": ("", "WBC", "RBC"),
}
"""Squares in the first of eight columns do not count."""


@pytest.fixture(autouse=True)
def finder(monkeypatch) -> SquareFinder:
    finder = SquareFinder()
    monkeypatch.setattr(module, "open_analyzer", lambda options: opened_finder(finder))
    return finder


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Four fields, of which one has no cells, and a file that is no image."""
    folder = tmp_path / "fields"
    for name, cells in FIELDS.items():
        write_field(folder / name, cells)
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class StoppedError(Exception):
    """Stops a run."""


def stop_at(number: int, name: str = "Analysing fields"):
    def progress(done, total, what, unit):
        if what == name and done == number:
            raise StoppedError

    return progress


def test_every_cell_and_every_image_has_its_row(fields: Path, tmp_path: Path):
    result = analyze(fields, tmp_path / "out")
    found = table(tmp_path / "out" / "fields.csv")
    assert [Path(row["image"]).name for row in found] == [
        "a.png", "1.png", "2.png", "broken.png", "c.png",
    ]  # fmt: skip
    counts = [(row["rbc"], row["wbc"], row["platelets"], row["review"]) for row in found]
    assert counts == [
        ("2", "2", "1", "1"),
        ("10", "0", "0", "0"),
        ("0", "0", "0", "0"),
        ("", "", "", ""),
        ("1", "1", "0", "0"),
    ]
    assert [row["flags"] for row in found] == ["", "", "no red cells found", "", ""]
    assert found[3]["error"]
    cells = table(tmp_path / "out" / "cells.csv")
    assert len(cells) == 6 + 12 + 2
    assert [cells[2][side] for side in ("x_min", "y_min", "x_max", "y_max")] == [
        "34.0", "2.0", "46.0", "14.0",
    ]  # fmt: skip
    assert [row["counted"] for row in cells[:3]] == ["false", "true", "true"]
    counts = result.summary.counts
    assert {label: count.n for label, count in counts.cells.items()} == {
        "RBC": 13,
        "WBC": 3,
        "Platelets": 1,
    }
    assert counts.cells["WBC"].review == 1
    assert counts.differential.classes["lymphocyte"].n == 2
    assert (result.folder, result.items, result.before) == (tmp_path / "out", 5, 0)
    assert [Path(error.path).name for error in result.refused] == ["broken.png"]
    assert [Path(field.image).name for field in result.flagged] == ["2.png"]


def test_the_summary_has_counts_settings_and_findings(fields: Path, tmp_path: Path):
    options = AnalyzeOptions(edges="all", um_per_px=0.1, rbc_count=4.8, wbc_count=7.0)
    analyze([fields], tmp_path / "out", options)
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["sample"] == "fields"
    assert found["detector"] == {"name": "squares", "sha256": "d0" * 32}
    assert found["settings"] == {"edges": "all", "um_per_px": 0.1}
    assert (found["fields"]["n"], found["fields"]["flagged"]) == (5, 1)
    assert found["excluded"]["by_edge_rule"] == {"RBC": 3, "WBC": 0, "Platelets": 0}
    assert found["platelets"]["estimate"] == pytest.approx(1000 / 13 * 4.8)
    assert [Path(one["image"]).name for one in found["excluded"]["unreadable"]] == ["broken.png"]


def test_the_sample_is_named_after_its_only_folder_or_the_output(fields: Path, tmp_path: Path):
    one = analyze(fields / "a.png", tmp_path / "one").summary.sample
    two = analyze([fields / "a.png", fields / "c.png"], tmp_path / "two").summary.sample
    assert (one, two) == ("a.png", "two")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_have_the_chosen_format_and_only_that(fields: Path, tmp_path: Path, kind):
    out = tmp_path / "out"
    analyze(fields, out, AnalyzeOptions(format="csv"), resume=True)
    analyze(fields, out, AnalyzeOptions(format=kind), resume=True)
    assert sorted(outputs(out)) == [
        f"cells.{kind}", f"fields.{kind}", "report.html", "summary.json",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1, 3, 5])
def test_an_interrupted_run_is_continued(fields: Path, tmp_path: Path, number):
    whole, out, seen = tmp_path / "whole", tmp_path / "out", []
    analyze(fields, whole, AnalyzeOptions(overlays=True))
    with pytest.raises(StoppedError):
        analyze(fields, out, AnalyzeOptions(overlays=True), progress=stop_at(number))
    assert list(outputs(out)) == []
    summary = analyze(
        fields,
        out,
        AnalyzeOptions(overlays=True),
        resume=True,
        progress=lambda *step: seen.append(step),
    )
    assert outputs(out) == outputs(whole)
    assert (summary.before, summary.items) == (number, 5)
    left = 5 - number + (number > 3)
    assert [step for step in seen if step[2] == "Analysing fields"] == [
        (done, left, "Analysing fields", "fields") for done in range(1, left + 1)
    ]


@pytest.mark.parametrize("name", ["Writing the tables", "Drawing overlays"])
def test_a_run_that_is_interrupted_while_writing_is_continued(fields, tmp_path: Path, name):
    whole, out, options = tmp_path / "whole", tmp_path / "out", AnalyzeOptions(overlays=True)
    analyze(fields, whole, options)
    analyze(fields, out, options, resume=True)
    with pytest.raises(StoppedError):
        analyze(fields, out, options, resume=True, progress=stop_at(2, name))
    assert not (out / "summary.json").exists()
    assert analyze(fields, out, options, resume=True).before == 5
    assert outputs(out) == outputs(whole)


def test_changed_new_and_removed_images_are_noticed(fields: Path, tmp_path: Path):
    out, options = tmp_path / "out", AnalyzeOptions(overlays=True)
    analyze(fields, out, options)
    write_field(fields / "broken.png", ["RBC", "RBC", "RBC"])
    write_field(fields / "c.png", ["RBC"] * 9)
    write_field(fields / "d.png", ["WBC"] * 3)
    (fields / "a.png").unlink()
    summary = analyze(fields, out, options, resume=True)
    assert (summary.before, summary.items) == (2, 5)
    analyze(fields, tmp_path / "whole", options)
    assert outputs(out) == outputs(tmp_path / "whole")
    assert sorted(path.name for path in (out / "overlays").rglob("*.jpg")) == [
        "1.jpg", "2.jpg", "broken.jpg", "c.jpg", "d.jpg",
    ]  # fmt: skip


def test_unfinished_files_of_a_killed_process_are_removed(fields: Path, tmp_path: Path):
    out, options = tmp_path / "out", AnalyzeOptions(overlays=True)
    analyze(fields, out, options)
    before = outputs(out)
    for name in (".cells.csv.0a1b2c3d", "overlays/.a.jpg.12345678"):
        (out / name).write_bytes(b"half")
    (out / ".notes.txt").write_bytes(b"mine")
    analyze(fields, out, options, resume=True)
    assert outputs(out) == {**before, ".notes.txt": b"mine"}


def test_a_finished_run_can_have_more_outputs(fields: Path, tmp_path: Path, finder, monkeypatch):
    out = tmp_path / "out"
    analyze(fields, out)
    monkeypatch.setattr(SquareFinder, "predict_rows", None)  # no image is analysed again
    assert analyze(fields, out, AnalyzeOptions(overlays=True), resume=True).overlays == 4


def test_a_finished_run_is_not_overwritten(fields: Path, tmp_path: Path):
    out = tmp_path / "out"
    analyze(fields, out)
    before = outputs(out)
    with pytest.raises(OutputError, match=r"results of an earlier run; nothing.*--resume"):
        analyze(fields, out)
    assert outputs(out) == before
    assert analyze(fields, out, resume=True).before == 5


def test_an_unfinished_run_may_start_over(fields: Path, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        analyze(fields, out, progress=stop_at(2))
    assert analyze(fields, out).before == 0


def test_results_of_other_models_are_not_mixed(fields: Path, tmp_path: Path, monkeypatch):
    out = tmp_path / "out"
    analyze(fields, out)
    other = replace(SquareFinder(), identity={"detector": "00" * 32})
    monkeypatch.setattr(module, "open_analyzer", lambda options: opened_finder(other))
    with pytest.raises(OutputError, match=r"analysis\.resume was started with.*\(detector\)"):
        analyze(fields, out, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_other_files_is_left_alone(fields: Path, tmp_path: Path, resume):
    out = tmp_path / "out"
    out.mkdir()
    (out / "cells.csv").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        analyze(fields, out, resume=resume)
    assert outputs(out) == {"cells.csv": b"mine"}


def test_the_output_folder_is_outside_the_input(fields: Path):
    with pytest.raises(OutputError, match="inside the input folder"):
        analyze(fields, fields / "out")
    assert not (fields / "out").exists()


def test_a_folder_without_images_leaves_nothing(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        analyze(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failure_before_the_first_image_leaves_no_folder(fields: Path, tmp_path: Path):
    with pytest.raises(OutputError, match="no results to resume"):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "a.txt").write_text("mine")
        analyze(fields, tmp_path / "mine", resume=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.txt"]


def test_overlays_show_each_readable_image(fields: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert analyze(fields, out, AnalyzeOptions(overlays=True)).overlays == 4
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    assert names == [f"overlays/{name}.jpg" for name in ("a", "b/1", "b/2", "c")]
    assert images.read(out / "overlays" / "a.jpg").shape[1] == 1024


def test_an_image_twice_in_the_paths_is_analysed_once(fields: Path, tmp_path: Path):
    summary = analyze([fields / "a.png", fields], tmp_path / "out")
    assert summary.items == 5


def test_images_of_any_size_are_fields(tmp_path: Path):
    images.write(tmp_path / "fields" / "dot.png", np.full((9, 9, 3), 240, np.uint8))
    summary = analyze(tmp_path / "fields", tmp_path / "out", AnalyzeOptions(overlays=True))
    assert (summary.items, summary.overlays) == (1, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rbc_diameter": 80, "um_per_px": 0.1}, "`rbc_diameter` and `um_per_px` both set"),
        ({"rbc_diameter": 0}, r"`rbc_diameter` must be a number above 0. Received: 0"),
        ({"rbc_diameter": 1.5}, r"red cells of 1.5 pixels; they must be"),
        ({"rbc_diameter": float("nan")}, "Received: nan"),
        ({"um_per_px": 90.0}, "`um_per_px` of 90 means red cells of 0.08 pixels"),
        ({"rbc_count": 4800.0}, r"in 10\^12/L, such as 4.8. Received: 4800"),
        ({"wbc_count": 0.0}, r"in 10\^9/L"),
        ({"region": "1,2,3"}, "`region`: a region must be x,y,width,height"),
        ({"level": -1}, "`level` must be 0 or above"),
        ({"um_per_px": "0.1"}, "`um_per_px` must be a number above 0. Received: '0.1'"),
        ({"edges": "left"}, "two, inside or all. Received: 'left'"),
        ({"format": "xlsx"}, "csv, parquet or jsonl"),
    ],
)
def test_wrong_options_are_errors(values, message):
    with pytest.raises(ValueError, match=message):
        AnalyzeOptions(**values)


def test_one_export_must_be_in_a_tuple():
    with pytest.raises(TypeError, match=r"`exports` must be a tuple of formats\. Received: 'coco'"):
        AnalyzeOptions(exports="coco")


def test_the_store_is_in_the_folder(fields: Path, tmp_path: Path):
    analyze(fields, tmp_path / "out")
    assert store_path(tmp_path / "out" / RESULTS).is_file()
