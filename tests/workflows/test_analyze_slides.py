"""`analyze` on slides: region by region, resumed at any of them, one row per slide."""

import csv
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from discs import BACKGROUND, DiscFinder, disc_field
from hematovision.errors import OutputError
from hematovision.fields import slides
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.slides import FileAnalyzer
from hematovision.fields.summary import ModelUsed
from hematovision.images import write
from hematovision.regions import Region
from hematovision.workflows import analyze as module
from hematovision.workflows.analyze import AnalyzeOptions, Opened, analyze
from hematovision.workflows.analyze.pixels import image_size, read_crops
from pyramid_files import write_slide
from square_finder import outputs


@pytest.fixture(autouse=True)
def finder(monkeypatch) -> DiscFinder:
    """Analyse with discs, in regions of 300 pixels."""
    finder = DiscFinder()

    def opened(options: AnalyzeOptions) -> Opened:
        analyzer = FileAnalyzer(FieldAnalyzer(finder), level=options.level, area=options.region)
        return Opened(analyzer, ModelUsed("discs", "d0" * 32))

    monkeypatch.setattr(module, "open_analyzer", opened)
    for name, value in {
        "_side": lambda *_: 300,
        "_SAMPLES": 1,
        "_SAMPLE": 300,
        "_CANDIDATES": 2,
    }.items():
        monkeypatch.setattr(slides, name, value)
    return finder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A field, a slide whose right third is glass, and a slide that is none."""
    folder = tmp_path_factory.mktemp("slides")
    image = disc_field((600, 900), diameter=40, seed=1).image
    image[:, 600:] = np.rint(BACKGROUND)
    write_slide(folder / "smear.tif", image)
    write(folder / "field.png", image[:300, :400])
    (folder / "broken.svs").write_bytes(b"no slide")
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class StoppedError(Exception):
    """Stops a run."""


def test_a_folder_of_fields_and_slides(folder: Path, tmp_path: Path):
    result = analyze(folder, tmp_path / "out")
    rows = table(tmp_path / "out" / "fields.csv")
    assert [Path(row["image"]).name for row in rows] == ["broken.svs", "field.png", "smear.tif"]
    assert "not a slide" in rows[0]["error"]
    assert (rows[2]["region"], rows[2]["width"], rows[2]["height"]) == ("", "900", "600")
    assert rows[2]["flags"] == "background skipped (33% of the area)"
    cells = table(tmp_path / "out" / "cells.csv")
    of_slide = [row for row in cells if row["image"].endswith("smear.tif")]
    assert sum(
        row["counted"].lower() == "true" and row["label"] == "RBC" for row in of_slide
    ) == int(rows[2]["rbc"])
    assert max(float(row["x_max"]) for row in of_slide) <= 605
    assert max(float(row["x_min"]) for row in of_slide) > 500, "in pixels of the slide"
    assert [Path(one.path).name for one in result.refused] == ["broken.svs"]
    assert "smear.tif" not in {Path(one.image).name for one in result.flagged}
    assert result.items == 8
    assert result.summary.counts.cells["RBC"].n == sum(int(row["rbc"] or 0) for row in rows)


@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_run_is_resumed_at_any_region(folder: Path, tmp_path: Path, finder, stop):
    analyze(folder, tmp_path / "whole")
    everything, finder.pixels = finder.pixels, 0

    def interrupt(done, total, what, unit):
        if done == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        analyze(folder, tmp_path / "out", progress=interrupt)
    finder.pixels = 0
    result = analyze(folder, tmp_path / "out", resume=True)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert result.before >= stop - 1  # the broken slide is tried again
    assert finder.pixels < everything
    finder.pixels = 0
    assert analyze(folder, tmp_path / "out", resume=True).before == 8
    assert finder.pixels == 0


def test_a_region_and_a_level(folder: Path, tmp_path: Path):
    options = AnalyzeOptions(region="100,50,400,500", level=1, overlays=True)
    result = analyze(folder / "smear.tif", tmp_path / "out", options)
    (row,) = table(tmp_path / "out" / "fields.csv")
    assert (row["width"], row["height"]) == ("400", "500")
    for cell in table(tmp_path / "out" / "cells.csv"):
        assert 100 <= (float(cell["x_min"]) + float(cell["x_max"])) / 2 < 500
        assert 50 <= (float(cell["y_min"]) + float(cell["y_max"])) / 2 < 550
    assert result.overlays == 0
    assert result.summary.to_json()["settings"]["region"] == "100,50,400,500"


def test_an_export_of_a_part_is_in_pixels_of_the_whole_slide(folder: Path, tmp_path: Path):
    options = AnalyzeOptions(region="300,50,300,500", exports=("coco", "yolo"))
    analyze(folder / "smear.tif", tmp_path / "out", options)
    found = json.loads((tmp_path / "out" / "coco" / "annotations.json").read_text())
    (image,) = found["images"]
    assert (image["width"], image["height"]) == (900, 600)
    cells = table(tmp_path / "out" / "cells.csv")
    assert len(found["annotations"]) == len(cells) > 5
    assert min(one["bbox"][0] for one in found["annotations"]) > 270


def test_a_part_of_an_ordinary_image(folder: Path, tmp_path: Path):
    options = AnalyzeOptions(region="100,100,200,200", exports=("coco",))
    analyze(folder / "field.png", tmp_path / "out", options)
    (image,) = json.loads((tmp_path / "out" / "coco" / "annotations.json").read_text())["images"]
    assert (image["width"], image["height"]) == (400, 300)


def test_other_parts_of_a_slide_are_not_mixed(folder: Path, tmp_path: Path):
    analyze(folder / "smear.tif", tmp_path / "out", AnalyzeOptions(region="0,0,300,300"))
    with pytest.raises(OutputError, match=r"different settings \(region\)"):
        analyze(folder / "smear.tif", tmp_path / "out", resume=True)


def test_progress_counts_regions(folder: Path, tmp_path: Path):
    steps = []
    analyze(folder, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert steps[:8] == [(done, 8, "Analysing regions", "regions") for done in range(1, 9)]


def test_crops_of_a_slide_are_read_around_their_boxes(folder: Path, tmp_path: Path):
    region = Region(folder / "smear.tif", 0, 0, 300, 300)
    (crop,) = read_crops(region, "smear.tif", [(100.0, 100.0, 140.0, 140.0)])
    with tifffile.TiffFile(folder / "smear.tif") as file:
        assert np.array_equal(crop, file.pages[0].asarray()[93:147, 93:147])
    assert image_size(region, "smear.tif") == (900, 600)
    gone = Region(tmp_path / "gone.tif", 0, 0, 9, 9)
    assert read_crops(gone, "gone", [(1.0, 1.0, 5.0, 5.0)]) == [None]
    assert image_size(gone, "gone") == (None, None)


@pytest.mark.parametrize("options", [{"region": "1,2,3"}, {"region": "0,0,0,9"}, {"level": -1}])
def test_invalid_options_are_errors(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AnalyzeOptions(**options)


def test_a_stopped_run_does_not_wait_for_the_rest_of_a_large_field(
    tmp_path: Path, finder: DiscFinder, monkeypatch
):
    folder = tmp_path / "fields"
    write(folder / "a.png", disc_field((300, 400), diameter=40, seed=1).image)
    for name in ("b.png", "c.png"):
        write(folder / name, disc_field((1100, 1500), diameter=40, seed=2).image)
    candidates, begun, large = finder.candidates, threading.Event(), []

    def slow(pixels):
        if pixels.size > 3 * 600**2:  # a tile of a large field
            large.append(pixels.shape)
            begun.set()
            time.sleep(0.4)
        return candidates(pixels)

    def stop(done: int, total: int, what: str, unit: str = "") -> None:
        if what == "Analysing fields":
            assert begun.wait(20)
            raise StoppedError

    monkeypatch.setattr(finder, "candidates", slow)
    with pytest.raises(StoppedError):
        analyze(folder, tmp_path / "out", progress=stop)
    assert 1 <= len(large) <= 4  # of 6 tiles in each of two fields
    monkeypatch.setattr(finder, "candidates", candidates)
    result = analyze(folder, tmp_path / "out", resume=True)
    assert (result.before, result.items) == (1, 3)
    assert result.summary.counts.cells["RBC"].n == 13 + 120 + 120
