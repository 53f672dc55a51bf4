"""``analyze`` at the command line."""

import re
from pathlib import Path

import pytest

from hematovision.data.formats import FORMATS
from hematovision.workflows import analyze as workflow
from square_finder import opened_finder, write_field


@pytest.fixture(autouse=True)
def opened(monkeypatch) -> list:
    """The options that the analyzer was opened with."""
    opened = []

    def load(options):
        opened.append(options)
        return opened_finder()

    monkeypatch.setattr(workflow, "open_analyzer", load)
    return opened


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_field(tmp_path / "fields" / f"{name}.png", ["RBC", "RBC", "WBC", "Platelets", "?"])
    return tmp_path / "fields"


def test_counts_are_printed_and_files_written(run, fields: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = run("analyze", fields, "--out", out, "--overlays", "--export", "coco")
    assert result.exit_code == 0, result.output
    assert "2 fields: 2 RBC, 4 WBC, 2 Platelets; 2 of these to review\n" in result.stdout
    assert re.search(r"lymphocyte +2 ", result.stdout)
    assert "Platelets per 1,000 red cells: 1000.0 (" in result.stdout
    assert f"2 overlays in {out / 'overlays'}\n" in result.stdout
    assert {path.name for path in out.iterdir()} >= {
        "analysis.resume", "cells.csv", "coco", "fields.csv", "overlays", "summary.json",
    }  # fmt: skip


def test_fields_to_check_and_unreadable_files_are_listed_and_the_exit_code_is_three(
    run, fields: Path, tmp_path: Path
):
    write_field(fields / "empty.png", [""])
    (fields / "text.jpg").write_text("not an image")
    result = run("analyze", fields, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert f"Fields to check (1):\n  {fields / 'empty.png'}: no red cells found\n" in result.stderr
    assert f"Images that could not be used (1):\n  {fields / 'text.jpg'}: " in result.stderr
    write_field(fields / "text.jpg", ["RBC"] * 3)
    (fields / "empty.png").unlink()
    result = run("analyze", fields, "--out", tmp_path / "out", "--resume")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("2 of 3 fields were analysed before\n")
    result = run("analyze", fields, "--out", tmp_path / "out", "--resume")
    assert result.stdout.startswith("Everything was analysed before\n")


def test_one_flagged_field_alone_is_a_finding(run, tmp_path: Path):
    path = write_field(tmp_path / "empty.png", [""])
    result = run("analyze", path, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "1 field: 0 RBC, 0 WBC, 0 Platelets; 0 of these to review" in result.stdout


def test_options_reach_the_analysis(run, fields: Path, tmp_path: Path, opened):
    options = (
        *("--detector", "other", "--classifier", "none", "--um-per-px", "0.1"),
        *("--edges", "all", "--export", "yolo", "--export", "coco", "--export", "yolo"),
        *("--rbc-count", "4.8", "--wbc-count", "7", "--format", "jsonl", "--overlays"),
    )
    assert run("analyze", fields, "--out", tmp_path / "out", *options).exit_code == 0
    assert opened == [
        workflow.AnalyzeOptions(
            detector="other",
            classifier=None,
            um_per_px=0.1,
            edges="all",
            exports=("yolo", "coco"),
            rbc_count=4.8,
            wbc_count=7.0,
            format="jsonl",
            overlays=True,
        )
    ]
    assert (tmp_path / "out" / "cells.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rbc-diameter", "80", "--um-per-px", "0.1"], "--rbc-diameter and --um-per-px both set"),
        (["--rbc-diameter", "-1"], "--rbc-diameter must be a number above 0"),
        (["--um-per-px", "nan"], "--um-per-px must be a number above 0"),
        (["--rbc-count", "4800"], r"10^12/L, such as 4.8. Received: 4800"),
        (["--edges", "left"], "Invalid value for '--edges': 'left' is not one of 'two'"),
        (["--region", "1,2,3"], "--region: a region must be x,y,width,height"),
        (["--level", "-1"], "greater than or equal to 0"),
        (["--export", "word"], "'word' is not one of 'voc', 'yolo', 'csv'"),
        (["--format", "xlsx"], "'xlsx' is not one of"),
        (["--ray-address", "head:10001"], "this option needs --engine ray"),
        (["--detector", ""], "an argument is empty"),
    ],
)
def test_wrong_usage_is_an_error_before_anything_is_written(
    run, fields: Path, tmp_path: Path, options, message
):
    result = run("analyze", fields, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_mistyped_path_is_an_error_before_anything_is_written(run, fields: Path, tmp_path: Path):
    missing, out = tmp_path / "other", tmp_path / "out"
    result = run("analyze", missing, "--out", out)
    assert result.exit_code == 1
    assert "no file or folder at" in result.stderr
    assert not out.exists()
    assert run("analyze", missing, fields, "--out", out).exit_code == 3
    assert (out / "fields.csv").exists()


def test_the_output_folder_is_required_and_local(run, fields: Path):
    assert run("analyze", fields).exit_code == 2
    result = run("analyze", "s3://bucket/fields", "--engine", "ray", "--out", "s3://bucket/out")
    assert result.exit_code == 2
    assert "a folder on this machine" in result.stderr


def test_an_address_needs_the_engine_ray(run, tmp_path: Path):
    result = run("analyze", "s3://bucket/fields", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "reading it needs --engine ray" in result.stderr


def test_ctrl_c_explains_how_to_resume(run, fields: Path, tmp_path: Path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr(workflow, "write_tables", interrupted)
    result = run("analyze", fields, "--out", out)
    assert result.exit_code == 130
    assert f"The results so far are in {out / 'analysis.resume'}. Run the same" in result.stderr
    monkeypatch.undo()


def test_the_exports_are_the_registered_formats(run, fields: Path, tmp_path: Path):
    result = run("analyze", fields, "--out", tmp_path / "out", "--export", "nonsense")
    assert result.exit_code == 2
    assert f"'nonsense' is not one of {', '.join(map(repr, FORMATS))}" in " ".join(
        result.stderr.replace("│", " ").split()
    )
