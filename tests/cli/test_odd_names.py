"""Files of any name go through every command, and every table leads back to them."""

import csv
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from colour_squares import COLOURS, write_square
from hematovision import images
from hematovision.paths import escape_name, from_csv_cell, unescape_name

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")

ODD = (
    "caf\udce9.png",
    "\udcff\udcfe.png",
    r"caf\xe9.png",
    "esc\x1b[31m.png",
    "new\nline.png",
    "=cmd|' \udce9.png",
    "gpj.\u202egnp.png",
    "n" * 251 + ".png",
    "細" * 83 + ".png",
)


def write_odd(folder: Path, colour: str, shade: int = 0) -> None:
    """Write an image of each name; no two are alike."""
    for number, name in enumerate(ODD):
        red, green, blue = (abs(value - 10 * shade - number) for value in COLOURS[colour])
        write_square(folder / name, (red, green, blue))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    write_odd(tmp_path / "odd", "red")
    (tmp_path / "odd" / "broken\udce9\x1b.png").write_bytes(b"no image")
    return tmp_path / "odd"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Odd names in every class and split, some in a group of an odd name."""
    for shade, split in enumerate(("Train", "Valid", "Test")):
        for colour in COLOURS:
            write_odd(tmp_path / "set" / split / colour, colour, shade)
            group = tmp_path / "set" / split / colour / f"group\udcff{split}"
            write_square(group / "\udce9.png", (3 * shade, 50, 90))
    return tmp_path / "set"


def read_paths(table: Path) -> list[str]:
    """Return the column ``path`` as its reader gets it."""
    if table.suffix == ".parquet":
        return pd.read_parquet(table)["path"].tolist()
    text = table.read_text(encoding="utf-8")
    if table.suffix == ".jsonl":
        return [json.loads(line)["path"] for line in text.splitlines()]
    with table.open(encoding="utf-8", newline="") as stream:
        return [from_csv_cell(row["path"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_leads_back_to_every_file_and_is_resumed(run, odd, colour_model, tmp_path, suffix):
    table = tmp_path / f"t{suffix}"
    arguments = ("classify", odd, "--model", colour_model, "--out", table, "--resume")
    assert run(*arguments).exit_code == 3
    found = read_paths(table)
    assert {Path(unescape_name(path)) for path in found} == set(odd.iterdir())
    assert str(odd / r"caf\xe9.png") in found  # the byte, not the letters
    whole = table.read_bytes()
    again = run(*arguments)
    assert again.stdout.startswith("Nothing to do: all images were classified before\n")
    os.utime(odd / ODD[0], (1, 1))
    assert run(*arguments).stdout.startswith(f"{len(ODD)} of {len(ODD) + 1} images")
    assert table.read_bytes() == whole


def test_overlays_are_written_for_every_name(run, odd, explaining_model, tmp_path):
    result = run("classify", odd, "--model", explaining_model, "--explain", tmp_path / "seen")
    assert result.exit_code == 3
    assert f"{len(ODD)} overlays in " in result.output
    overlays = list((tmp_path / "seen").iterdir())
    assert len(overlays) == len(ODD)
    assert all(images.read(overlay).ndim == 3 for overlay in overlays)


@pytest.mark.usefixtures("without_figures")
def test_an_evaluation_names_every_file(run, dataset, colour_model, tmp_path):
    (dataset / "Test" / "red" / "broken\udce9\x1b.png").write_bytes(b"no image")
    result = run("evaluate", colour_model, dataset, "--out", tmp_path / "out")
    assert result.exit_code == 3, result.output
    found = read_paths(tmp_path / "out" / "predictions.csv")
    assert len(found) == 3 * (len(ODD) + 1)
    assert all((dataset / unescape_name(path)).is_file() for path in found)
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert r"broken\xe9\x1b.png" in report
    assert "\x1b" not in report
    json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("without_figures", "without_keras_files")
def test_training_keeps_every_file_in_its_split(run, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))
    result = run("train", dataset, "--out", tmp_path / "run", "--epochs", 1)
    assert result.exit_code == 0, result.output
    with (tmp_path / "run" / "split.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    places = {from_csv_cell(row["file"]): row["split"] for row in rows}
    assert len(places) == 9 * (len(ODD) + 1)
    for file, split in places.items():
        assert (dataset / unescape_name(file)).is_file()
        assert file.startswith(split.title())
    assert f"Train/red/{escape_name(ODD[0])}" in places
    table = tmp_path / "t.csv"
    again = run("classify", dataset / "Test", "--model", tmp_path / "run", "--out", table)
    assert again.exit_code == 0
    assert len(read_paths(table)) == 3 * (len(ODD) + 1)
