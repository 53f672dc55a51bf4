"""From a field to its rows: every cell once, in its place, with the scale and its source."""

import numpy as np
import pytest

from discs import BACKGROUND, DiscFinder, disc_field
from hematovision.errors import BundleError, ImageError
from hematovision.fields.analyzer import FieldAnalyzer, Region
from hematovision.fields.rows import ANALYSIS_SCHEMA, split
from hematovision.fields.scale import Scale
from hematovision.images import encode_png
from hematovision.model.inference import Item, infer

CLASSES = ("RBC", "WBC", "Platelets")


def analyse(image, name="a.png", **settings):
    return split(FieldAnalyzer(DiscFinder(), **settings).predict_rows(image, name)[0])


def boxes_of(cells):
    return np.array([(c.x_min, c.y_min, c.x_max, c.y_max) for c in cells]).reshape(-1, 4)


def distances(cells, field, near=0.35):
    """The distance of each true cell's centre that is in the field to the nearest found one."""
    truth = (field.clipped[:, :2] + field.clipped[:, 2:]) / 2
    found = boxes_of(cells)
    found = (found[:, :2] + found[:, 2:]) / 2
    return np.hypot(*(truth[:, None] - found[None]).transpose(2, 0, 1)).min(axis=1)


@pytest.mark.parametrize("diameter", [18, 36, 60, 83])
def test_every_disc_is_found_in_its_place_with_its_class(diameter):
    field = disc_field(diameter=diameter, seed=1, spacing=1.9)
    cells, (row,) = analyse(field.image)
    whole = (field.boxes > 0).all(axis=1) & (field.boxes[:, 2:] < (640, 480)).all(axis=1)
    assert distances(cells, field)[whole].max() < 0.1 * diameter
    labels = [field.labels[whole].tolist().count(n) for n in range(3)]
    inside = [c for c in cells if not c.on_edge]
    assert [sum(c.label == name for c in inside) for name in CLASSES] == labels
    assert row.rbc_diameter_px == pytest.approx(diameter, rel=0.04)
    assert (row.scale_source, row.um_per_px, row.error) == ("red cells", None, "")


def test_rows_fit_the_schema_and_the_field_comes_first():
    rows, attention = FieldAnalyzer(DiscFinder()).predict_rows(disc_field().image, "a.png")
    assert attention is None
    assert [row.values()["row"] for row in rows[:2]] == ["field", "cell"]
    for row in rows:
        ANALYSIS_SCHEMA.check(row.values())


def test_the_field_counts_the_counted_cells():
    cells, (row,) = analyse(disc_field(diameter=30).image)
    counted = [c for c in cells if c.counted]
    assert len(counted) < len(cells)
    assert row.rbc == sum(c.label == "RBC" for c in counted)
    assert row.wbc == sum(c.label == "WBC" for c in counted)
    assert row.platelets == sum(c.label == "Platelets" for c in counted)
    assert row.review == sum(c.decision == "review" for c in counted)


def test_edge_rules_count_what_they_promise():
    image = disc_field(diameter=30, seed=4).image
    rows = {rule: analyse(image, edges=rule)[0] for rule in ("two", "inside", "all")}
    n = {rule: sum(c.counted for c in cells) for rule, cells in rows.items()}
    assert n["inside"] < n["two"] < n["all"] == len(rows["all"])
    assert all(not c.on_edge for c in rows["inside"] if c.counted)


def test_an_empty_field_has_one_row_with_a_flag():
    blank = np.broadcast_to(BACKGROUND, (200, 300, 3)).astype(np.uint8)
    cells, (row,) = analyse(blank)
    assert cells == []
    assert (row.rbc, row.wbc, row.platelets) == (0, 0, 0)
    assert (row.scale_source, row.rbc_diameter_px) == ("none", None)
    assert row.flags == "no red cells found"


def test_a_given_scale_is_used_and_stated():
    image = disc_field(diameter=50).image
    cells, (row,) = analyse(image, scale=Scale(48.0, "--um-per-px", 0.15))
    assert (row.rbc_diameter_px, row.um_per_px, row.scale_source) == (48.0, 0.15, "--um-per-px")
    assert len(cells) == len(analyse(image)[0])


def test_metadata_gives_the_scale_unless_the_user_does():
    image = disc_field(diameter=50).image
    rows, _ = FieldAnalyzer(DiscFinder()).predict_rows(image, "a", metadata=0.144)
    assert split(rows)[1][0].scale_source == "metadata"
    given = FieldAnalyzer(DiscFinder(), scale=Scale(50, "--rbc-diameter"))
    rows, _ = given.predict_rows(image, "a", metadata=0.3)
    assert split(rows)[1][0].scale_source == "--rbc-diameter"


def test_the_whole_field_corrects_the_scale_of_its_middle():
    image = disc_field((1500, 1500), 60, seed=3).image.copy()
    image[600:900, 600:900] = disc_field((300, 300), 45, seed=4, spacing=1.3).image
    cells, (row,) = analyse(image)
    assert row.rbc_diameter_px == pytest.approx(60, rel=0.03)
    assert sum(c.x_max - c.x_min > 55 for c in cells) > 50


def test_a_scale_that_the_whole_field_does_not_confirm_is_unknown():
    class Fading(DiscFinder):
        def candidates(self, pixels):
            found = super().candidates(pixels)
            return found if self.pixels < 2 * 224**2 else found[:0]

    image = disc_field((1500, 1500), 60, seed=3).image
    _, (row,) = split(FieldAnalyzer(Fading()).predict_rows(image, "a")[0])
    assert (row.scale_source, row.rbc_diameter_px) == ("none", None)
    assert row.flags.startswith("no red cells found")


def test_outside_an_eyepiece_there_are_no_cells():
    field = disc_field((800, 800), 40, seed=2)
    ys, xs = np.mgrid[:800, :800]
    image = field.image.copy()
    image[np.hypot(xs - 400, ys - 400) > 300] = 8
    cells, (row,) = analyse(image)
    middle = (boxes_of(cells)[:, :2] + boxes_of(cells)[:, 2:]) / 2
    assert len(cells) > 20
    assert np.hypot(*(middle - 400).T).max() < 300
    assert any(c.on_edge for c in cells)
    assert any(c.on_edge and not c.counted for c in cells)
    assert row.rbc_diameter_px == pytest.approx(40, rel=0.05)


def test_a_name_or_bytes_can_be_read_and_errors_become_rows(tmp_path):
    analyzer = FieldAnalyzer(DiscFinder(), workers=2)
    data = encode_png(disc_field().image)
    items = [Item("a", data), Item("b", b"no image"), Item("c", disc_field().image)]
    results = list(infer(analyzer, items))
    assert [result.error is None for result in results] == [True, False, True]
    (row,) = results[1].rows
    ANALYSIS_SCHEMA.check(row.values())
    assert row.values()["row"] == "field"
    assert [r.values() | {"image": ""} for r in results[0].rows] == [
        r.values() | {"image": ""} for r in results[2].rows
    ]


def test_images_beyond_the_limit_are_rejected():
    with pytest.raises(ImageError, match="pixels"):
        FieldAnalyzer(DiscFinder(), max_pixels=1000).read(encode_png(disc_field().image), "a")


@pytest.mark.parametrize(("workers", "pixels"), [(1, 2**24), (2, 2**24), (16, 2**27)])
def test_more_threads_may_hold_more_pixels(workers, pixels):
    analyzer = FieldAnalyzer(DiscFinder(), workers=workers)
    assert analyzer.budget.pixels == pixels
    given = analyzer.configured(scale=None, edges="all", checkpoint=lambda: None)
    assert given.budget is analyzer.budget


def test_arrays_of_other_shapes_are_rejected():
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        FieldAnalyzer(DiscFinder()).read(np.zeros((10, 10), np.uint8), "a")


def test_the_identity_holds_every_setting():
    plain = FieldAnalyzer(DiscFinder()).identity
    assert plain["model"] == plain["detector"] == "discs"
    assert all(isinstance(value, str | float) for value in plain.values())
    for changes in ({"edges": "all"}, {"scale": Scale(50, "--rbc-diameter")}):
        assert FieldAnalyzer(DiscFinder(), **changes).identity != plain


def test_a_detector_of_other_classes_is_rejected():
    other = DiscFinder()
    other.classes = ("RBC", "WBC", "Dust")
    with pytest.raises(BundleError, match="needs a detector of the classes RBC, WBC, Platelets"):
        FieldAnalyzer(other)


def regions(analyzer, image, core, margin, **settings):
    """All rows of an image analysed region by region."""
    context = analyzer.prepare([image])
    height, width = image.shape[:2]
    rows = []
    for y in range(0, height, core):
        for x in range(0, width, core):
            x0, y0 = max(0, x - margin), max(0, y - margin)
            x1, y1 = min(width, x + core + margin), min(height, y + core + margin)
            inner = (x - x0, y - y0, min(x + core, width) - x0, min(y + core, height) - y0)
            region = Region(
                inner, (x0, y0), frame=(0, 0, width, height), name=f"{x},{y}", **settings
            )
            rows += analyzer.analyze_region(image[y0:y1, x0:x1], context, region, "slide")
    return split(rows)


def test_regions_of_a_slide_yield_the_cells_of_the_whole():
    image = disc_field((720, 720), 36, seed=6).image
    analyzer = FieldAnalyzer(DiscFinder())
    cells, fields = regions(analyzer, image, 240, 120)
    whole = analyse(image)[0]
    assert len(fields) == 9
    assert len(cells) == len(whole)
    np.testing.assert_allclose(
        sorted(map(tuple, boxes_of(cells))), sorted(map(tuple, boxes_of(whole))), atol=1.5
    )
    assert sum(c.counted for c in cells) == sum(c.counted for c in whole)
    assert sum(f.rbc for f in fields) == sum(c.counted and c.label == "RBC" for c in cells)


def test_a_region_is_placed_in_pixels_of_level_0():
    analyzer = FieldAnalyzer(DiscFinder())
    image = disc_field((400, 400), 36, seed=7).image
    context = analyzer.prepare([image], metadata=0.2)
    assert context.scale.source == "metadata"
    region = Region((0, 0, 400, 400), (1000.0, 2000.0), 4.0, name="1000,2000,1600,1600")
    cells, (row,) = split(analyzer.analyze_region(image, context, region, "slide"))
    assert boxes_of(cells)[:, 0].min() >= 1000
    assert 2000 <= boxes_of(cells)[:, 1].min() < 2200
    assert (row.width, row.height, row.region) == (1600, 1600, "1000,2000,1600,1600")
    assert row.rbc_diameter_px == pytest.approx(144)
    assert row.um_per_px == pytest.approx(0.05)
    assert not any(c.on_edge for c in cells)


def test_the_scale_of_a_slide_is_that_of_its_samples():
    analyzer = FieldAnalyzer(DiscFinder())
    samples = [disc_field((400, 400), 40, seed=seed).image for seed in range(3)]
    blank = np.broadcast_to(BACKGROUND, (400, 400, 3)).astype(np.uint8)
    context = analyzer.prepare([blank, *samples])
    assert context.scale.source == "red cells"
    assert context.scale.diameter == pytest.approx(40, rel=0.05)
