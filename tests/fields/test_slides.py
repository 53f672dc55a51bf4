"""Slides by region: every cell once, in pixels of level 0, whatever the regions."""

import os
import struct
import threading
import weakref

import numpy as np
import pytest
import tifffile

from benchmarks.slide_files import make_mosaic, write_dicom
from discs import BACKGROUND, DiscFinder, disc_field
from hematovision import images
from hematovision.errors import ImageError
from hematovision.fields import slides
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.rows import ANALYSIS_SCHEMA, SKIPPED, combine, split
from hematovision.fields.slides import FileAnalyzer, find_regions
from hematovision.images import encode_png, reading, write
from hematovision.model.inference import Item, infer, predict_image
from hematovision.regions import Region
from pyramid_files import write_slide

SIZE = (900, 1200)
DIAMETER = 41.0


@pytest.fixture(scope="module")
def field():
    """Discs on the left two thirds; the rest is glass."""
    found = disc_field(SIZE, diameter=DIAMETER, seed=3)
    found.image[:, 800:] = np.rint(BACKGROUND)
    whole = (found.boxes > 2).all(axis=1) & (found.boxes[:, 2] < 798) & (found.boxes[:, 3] < 898)
    return found, whole


@pytest.fixture(scope="module")
def path(field, tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "a.tif", field[0].image)


@pytest.fixture(autouse=True, scope="module")
def _few_samples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slides, "_SAMPLES", 2)
        patch.setattr(slides, "_SAMPLE", 512)
        patch.setattr(slides, "_CANDIDATES", 3)
        yield


SHARED = FileAnalyzer(FieldAnalyzer(DiscFinder()))
"""Measures every slide once."""


def analyse(path, *, side=400, order=1, analyzer=None, **options):
    """Return the cells and the rows of the regions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slides, "_side", lambda *_: side)
        made = FileAnalyzer(FieldAnalyzer(DiscFinder()), **options) if options else SHARED
        predictor = analyzer or made
        sources = list(find_regions([path], **options))[::order]
        results = [predict_image(predictor, Item(str(path), one)) for one in sources]
    return split(row for result in results[::order] for row in result.rows)


def boxes_of(cells):
    return np.array([(c.x_min, c.y_min, c.x_max, c.y_max) for c in cells]).reshape(-1, 4)


def by_place(cells):
    return sorted(cells, key=lambda c: (c.x_min, c.y_min, c.label))


@pytest.fixture(scope="module")
def found(path):
    return analyse(path)


class TestCells:
    def test_every_cell_is_found_once_in_its_place(self, field, found):
        discs, whole = field
        boxes = boxes_of(found[0])
        middle, truth = boxes[:, :2] + boxes[:, 2:], discs.boxes[:, :2] + discs.boxes[:, 2:]
        distance = np.hypot(*(truth[:, None] / 2 - middle[None] / 2).transpose(2, 0, 1))
        near = distance < 0.15 * DIAMETER
        assert near[whole].sum() == whole.sum() > 40
        assert (near[whole].sum(axis=1) == 1).all()
        assert near.sum(axis=0).max() == 1
        labels = [("RBC", "WBC", "Platelets")[n] for n in discs.labels]
        for index in np.flatnonzero(whole):
            assert found[0][int(near[index].argmax())].label == labels[index]

    @pytest.mark.parametrize("side", [233, 4000])
    def test_the_size_of_regions_changes_no_cell(self, path, found, side):
        cells, regions = analyse(path, side=side)
        assert len(regions) == -(-1200 // side) * -(-900 // side)
        assert by_place(cells) == by_place(found[0])

    def test_a_run_that_begins_with_the_last_region_yields_the_same(self, path, found):
        """So a resumed run does, which measures the slide again."""
        analyzer = FileAnalyzer(FieldAnalyzer(DiscFinder()))
        assert analyse(path, order=-1, analyzer=analyzer) == found

    def test_a_run_on_threads_yields_the_same(self, path, found, monkeypatch):
        monkeypatch.setattr(slides, "_side", lambda *_: 400)
        items = [Item(str(path), one) for one in find_regions([path])]
        rows = [row for result in infer(SHARED, items, threads=3) for row in result.rows]
        assert split(rows) == found

    def test_a_slide_as_one_item_has_the_rows_of_its_regions(self, path, found, monkeypatch):
        monkeypatch.setattr(slides, "_side", lambda *_: 400)
        result = predict_image(SHARED, Item(str(path), path))
        assert split(result.rows) == found
        assert result.pixels is None

    def test_rows_fit_the_schema_and_stay_inside_the_slide(self, found):
        cells, regions = found
        boxes = boxes_of(cells)
        assert boxes.min() >= 0
        assert (boxes.max(axis=0)[2:] <= (1200, 900)).all()
        for row in (*cells, *regions):
            row.schema.check(row.values())
        assert ANALYSIS_SCHEMA.key == "image"

    def test_the_border_of_the_slide_cuts_cells_and_that_of_regions_does_not(self, found):
        for cell in found[0]:
            at_border = min(cell.x_min, cell.y_min) < 3 or cell.y_max > 897
            assert cell.on_edge == at_border
            assert cell.counted == (cell.y_max < 897)


class TestRegions:
    def test_each_region_has_a_row_and_together_they_are_the_slide(self, path, found):
        regions = found[1]
        assert len(regions) == 9
        assert sum(one.width * one.height for one in regions) == 1200 * 900
        assert regions[1].region == "400,0,400,400"
        whole = combine(regions)
        assert (whole.width, whole.height, whole.region) == (1200, 900, "")
        assert whole.rbc == sum(c.counted and c.label == "RBC" for c in found[0]) > 30
        assert whole.rbc_diameter_px == pytest.approx(DIAMETER, rel=0.03)
        assert whole.scale_source == "red cells"

    def test_background_is_skipped_and_reported(self, path, found):
        skipped = [one.region for one in found[1] if one.flags == SKIPPED]
        assert skipped == ["800,0,400,400", "800,400,400,400", "800,800,400,100"]
        whole = combine(found[1])
        assert whole.flags == f"{SKIPPED} (33% of the area)"
        assert not whole.problems

    def test_background_is_read_at_a_fraction_of_the_pixels(self, path, monkeypatch):
        analyzer = FileAnalyzer(FieldAnalyzer(finder := DiscFinder()))
        predict_image(analyzer, Item("a", Region(path, 800, 0, 400, 400)))
        assert finder.pixels == 0

    def test_a_slide_of_glass_has_rows_with_a_flag(self, tmp_path):
        glass = np.broadcast_to(np.rint(BACKGROUND), (500, 700, 3)).astype(np.uint8)
        glass = glass + np.random.default_rng(0).integers(-3, 4, glass.shape).astype(np.uint8)
        cells, regions = analyse(write_slide(tmp_path / "a.tif", glass))
        assert cells == []
        assert len(regions) == 4
        assert combine(regions).flags == f"no red cells found; {SKIPPED} (100% of the area)"
        assert combine(regions).problems == ("no red cells found",)
        assert combine(regions).rbc == 0

    def test_a_single_pale_cell_is_not_background(self, tmp_path):
        image = np.broadcast_to(np.rint(BACKGROUND), (600, 600, 3)).astype(np.uint8).copy()
        y, x = np.mgrid[:600, :600]
        image[np.hypot(x - 311, y - 297) < 18] -= 30
        _, (row,) = analyse(write_slide(tmp_path / "a.tif", image), side=1024)
        assert SKIPPED not in row.flags

    def test_the_side_follows_the_scale(self):
        assert slides._side(None, 1.0) == 2048
        assert slides._side(0.1, 1.0) == 3072
        assert slides._side(0.25, 1.0) == 1216
        assert slides._side(0.05, 4.0) == 1536


class TestOptions:
    def test_an_area_has_the_cells_of_the_slide_there(self, path, found):
        cells, regions = analyse(path, area="300,200,400,311")
        inside = [
            c
            for c in found[0]
            if 300 <= (c.x_min + c.x_max) / 2 < 700 and 200 <= (c.y_min + c.y_max) / 2 < 511
        ]
        assert np.allclose(boxes_of(by_place(cells)), boxes_of(by_place(inside)), atol=2)
        assert regions[0].region == "300,200,400,311"
        assert len(regions) == 1
        assert any(c.on_edge for c in cells)
        assert all(not c.counted for c in cells if c.x_max > 701 or c.y_max > 512)

    def test_an_area_of_an_ordinary_image(self, tmp_path, field, found):
        image = write(tmp_path / "a.png", field[0].image)
        cells, (row,) = analyse(image, side=1024, area="300,200,400,311")
        assert (row.region, row.image) == ("300,200,400,311", str(image))
        assert len(cells) > 4

    def test_a_smaller_level_yields_the_same_cells(self, path, found):
        cells, regions = analyse(path, level=1)
        assert len(regions) == 4
        assert combine(regions).rbc_diameter_px == pytest.approx(DIAMETER, rel=0.04)
        for label in ("RBC", "WBC"):
            small, large = (
                boxes_of(c for c in some if c.label == label) for some in (cells, found[0])
            )
            distance = np.abs(small[:, None] - large[None]).max(axis=2)
            assert len(small) == len(large) == ((distance < 5).sum(axis=0) == 1).sum()

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"level": 5}, "no level 5; its levels are 0 to 1"),
            ({"area": "1200,0,10,10"}, "outside its 1200 x 900 pixels"),
        ],
    )
    def test_what_a_slide_lacks_is_the_error_of_its_row(self, path, options, match):
        cells, (row,) = analyse(path, **options)
        assert cells == []
        assert match in row.error

    def test_invalid_options_are_errors(self):
        for options in ({"level": -1}, {"area": "1,2,3"}):
            with pytest.raises(ValueError, match="Received"):
                FileAnalyzer(FieldAnalyzer(DiscFinder()), **options)

    def test_the_level_is_part_of_the_identity(self):
        analyzer = FieldAnalyzer(DiscFinder())
        assert FileAnalyzer(analyzer).identity != FileAnalyzer(analyzer, level=1).identity


class TestMetadata:
    def test_the_scale_of_a_slide(self, tmp_path, field):
        path = write_slide(tmp_path / "a.tif", field[0].image, um_per_px=7.2 / DIAMETER)
        cells, (row,) = analyse(path, side=4000)
        assert (row.scale_source, round(row.rbc_diameter_px)) == ("metadata", DIAMETER)
        assert row.um_per_px == pytest.approx(7.2 / DIAMETER, rel=1e-3)
        assert len(cells) > 40
        _, rows = analyse(path, level=1)
        assert combine(rows).um_per_px == pytest.approx(7.2 / DIAMETER, rel=1e-3)

    def test_the_scale_of_an_ordinary_ome_tiff(self, tmp_path, field):
        path = tmp_path / "a.ome.tif"
        scale = {"PhysicalSizeX": 0.18, "PhysicalSizeXUnit": "µm"}
        tifffile.imwrite(path, field[0].image[:480, :640], metadata={"axes": "YXS", **scale})
        predictor = FileAnalyzer(FieldAnalyzer(DiscFinder()))
        for source in (path, str(path), path.read_bytes()):
            _, (row,) = split(predict_image(predictor, Item("a", source)).rows)
            assert (row.scale_source, row.um_per_px, row.region) == ("metadata", 0.18, "")

    def test_an_array_has_none(self, field):
        predictor = FileAnalyzer(FieldAnalyzer(DiscFinder()))
        _, (row,) = split(predict_image(predictor, Item("a", field[0].image[:480, :640])).rows)
        assert row.scale_source == "red cells"


class TestFolders:
    def test_images_and_slides_in_their_order(self, tmp_path, field, path):
        names = ["1.png", "2.txt", "4.svs"]
        (tmp_path / "1.png").write_bytes(encode_png(field[0].image[:64, :64]))
        (tmp_path / "2.txt").write_bytes(b"no image")
        (tmp_path / "3.tif").write_bytes(path.read_bytes())
        (tmp_path / "4.svs").write_bytes(b"no slide")
        found = list(find_regions(tmp_path / name for name in ("1.png", "2.txt", "3.tif", "4.svs")))
        assert [one for one in found if not isinstance(one, Region)] == [
            tmp_path / name for name in names
        ]
        assert found[2] == Region(tmp_path / "3.tif", 0, 0, 1200, 900)
        predictor = FileAnalyzer(FieldAnalyzer(DiscFinder()))
        results = list(infer(predictor, [Item(str(one), one) for one in found]))
        assert [isinstance(one.error, ImageError) for one in results] == [False, True, False, True]
        assert "not a slide" in results[3].rows[0].of.error

    def test_the_files_of_a_dicom_slide_are_one(self, tmp_path):
        first = write_dicom(tmp_path, make_mosaic(1100, patch=512, patches=1, glass=0))
        found = list(find_regions(sorted(tmp_path.iterdir())))
        assert {one.path for one in found} == {first}
        assert sum(one.width * one.height for one in found) == 1100**2


class TestDamage:
    @pytest.fixture
    def damaged(self, tmp_path, path):
        place = tmp_path / "a.tif"
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            for page, tile in ((0, 0), (1, 0)):
                start = file.pages[page].dataoffsets[tile]
                struct.pack_into("8s", content, start, bytes(8))
        place.write_bytes(content)
        return place

    def test_a_region_that_cannot_be_read_has_a_row_with_its_place(self, damaged, found):
        cells, regions = analyse(damaged, side=200)
        failed = [one for one in regions if one.error]
        assert failed[0].region == "0,0,200,200"
        assert all("decoded" in one.error for one in failed)
        assert len(failed) <= 9 < len(regions)
        assert len(found[0]) / 2 < len(cells) < len(found[0])
        assert (
            f"{len(failed)} of {len(regions)} regions could not be read" in combine(regions).flags
        )

    def test_a_slide_that_is_gone_is_an_error(self, tmp_path):
        predictor = FileAnalyzer(FieldAnalyzer(DiscFinder()))
        result = predict_image(predictor, Item("a", Region(tmp_path / "a.svs", 0, 0, 9, 9)))
        assert isinstance(result.error, ImageError)
        assert (result.rows[0].of.region, result.rows[0].of.error != "") == ("0,0,9,9", True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("area", ["", "0,0,9,9"])
@pytest.mark.parametrize("suffix", ["png", "tif", "svs"])
def test_a_pipe_is_reported_and_never_opened(tmp_path, suffix, area):
    path = tmp_path / f"pipe.{suffix}"
    os.mkfifo(path)
    (source,) = find_regions([path], area=area)
    predictor = FileAnalyzer(FieldAnalyzer(DiscFinder()), area=area)
    result = predict_image(predictor, Item("pipe", source))
    assert "it is a device, pipe or socket" in result.error.reason


class TestMemory:
    """Threads share the analyzer's budget of pixels."""

    @pytest.mark.parametrize("area", ["", "0,0,1000,1000"])
    def test_only_as_many_large_fields_are_in_memory_as_the_budget_allows(
        self, tmp_path, monkeypatch, area
    ):
        for number in range(6):
            write(tmp_path / f"{number}.png", disc_field((1100, 1000), seed=1).image)
        analyzer = FieldAnalyzer(DiscFinder(), workers=4)
        predictor = FileAnalyzer(analyzer, area=area)
        predictor._turns = threading.BoundedSemaphore(4)
        alive, most, decode = weakref.WeakSet(), [], reading.decode

        class Pixels(np.ndarray):
            """Pixels that can be counted while they are in memory."""

            __hash__ = object.__hash__

        def counted(*given):
            most.append(len(alive))
            pixels = decode(*given).view(Pixels)
            alive.add(pixels)
            return pixels

        monkeypatch.setattr(reading, "decode", counted)
        items = [Item(path.name, path) for path in sorted(tmp_path.iterdir())]
        before = list(infer(predictor, items))
        assert max(most) > 1
        analyzer.budget = images.PixelBudget(2**20)
        most.clear()
        after = list(infer(predictor, items))
        assert len(most) == 6
        assert max(most) <= 1  # that of a thread which has just released the budget
        assert [one.rows for one in after] == [one.rows for one in before]
        assert len(after[0].rows) > 20
