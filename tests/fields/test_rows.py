"""Rows of cells and fields: columns, splitting, and combining the regions of a slide."""

from dataclasses import fields as members
from dataclasses import replace

import pytest

from hematovision.fields import (
    ANALYSIS_SCHEMA,
    CELL_SCHEMA,
    FIELD_SCHEMA,
    AnalysisRow,
    CellRow,
    FieldRow,
    combine,
    parse,
    split,
)

CELL = CellRow(
    "a.png", 1.5, 2, 30, 31.25, "WBC", 0.97, "review", "several classes likely", "neutrophil", 0.6,
    0.02, 0.97, 0.01, on_edge=False, counted=True,
)  # fmt: skip
FIELD = FieldRow(
    "a.png", "", 640, 480, 71.5, 0.1, "red cells", 40, 1, 7, 2, 1.5, 0.1, 0.0, "blurred"
)


def region(x, y, **changes):
    return replace(FIELD, **{"region": f"{x},{y},640,480", "flags": "", **changes})


def test_the_classes_are_the_columns():
    assert tuple(one.name for one in members(CellRow)) == CELL_SCHEMA.names
    assert tuple(one.name for one in members(FieldRow)) == FIELD_SCHEMA.names


@pytest.mark.parametrize("row", [CELL, FIELD, FieldRow.unreadable("a.png", "it is empty")])
def test_a_row_survives_the_analysis_schema(row):
    values = AnalysisRow(row).values()
    ANALYSIS_SCHEMA.check(values)
    assert parse(values) == row
    row.schema.check(row.values())
    assert type(row).from_values(row.values()) == row


def test_the_columns_of_the_other_kind_are_empty():
    cell, field = AnalysisRow(CELL).values(), AnalysisRow(FIELD).values()
    assert (cell["row"], cell["width"], cell["flags"]) == ("cell", None, "")
    assert (field["row"], field["x_min"], field["label"]) == ("field", None, "")


def test_split_takes_rows_and_their_values_and_keeps_the_order():
    other = replace(CELL, label="RBC")
    rows = [AnalysisRow(FIELD), AnalysisRow(CELL), AnalysisRow(other).values()]
    assert split(rows) == ([CELL, other], [FIELD])


@pytest.mark.parametrize(
    "change", [{"row": "tile"}, {"label": "Dust"}, {"decision": ""}, {"x_min": None}]
)
def test_invalid_rows_are_not_parsed(change):
    with pytest.raises(ValueError, match=r"row|cell|value"):
        parse(AnalysisRow(CELL).values() | change)


def test_regions_of_a_slide_become_one_row():
    whole = combine(
        [
            region(0, 0, rbc=30, focus=1.0, overlap=0.0),
            region(640, 480, rbc=10, focus=2.0, overlap=0.4, rbc_diameter_px=None),
        ]
    )
    assert (whole.region, whole.width, whole.height) == ("", 1280, 960)
    assert (whole.rbc, whole.wbc, whole.platelets, whole.review) == (40, 2, 14, 4)
    assert whole.focus == pytest.approx(1.5)  # equal areas
    assert whole.overlap == pytest.approx(0.1)  # 4 of 40 red cells
    assert whole.rbc_diameter_px == 71.5
    FIELD_SCHEMA.check(whole.values())


def test_the_size_of_the_slide_can_be_given():
    whole = combine([region(0, 0)], width=50_000, height=40_000)
    assert (whole.width, whole.height) == (50_000, 40_000)


def test_flags_of_some_regions_state_how_many():
    whole = combine([region(0, 0, flags="blurred; too dense"), region(640, 0, flags="too dense")])
    assert whole.flags == "blurred (1 of 2 regions); too dense"


@pytest.mark.parametrize(
    ("reds", "flags"), [(0, "no red cells found"), (2, "too few cells"), (3, "")]
)
def test_few_red_cells_are_a_flag_only_if_all_regions_together_have_few(reds, flags):
    regions = [region(x, 0, rbc=reds, flags="too few cells") for x in (0, 640)]
    assert combine(regions).flags == flags


def test_the_share_of_skipped_background_is_stated_and_no_problem():
    small = region(640, 0, rbc=0, flags="background skipped", width=160)
    whole = combine([region(0, 0, rbc=40, flags="blurred"), small])
    assert whole.flags == "blurred; background skipped (20% of the area)"
    assert whole.problems == ("blurred",)


def test_unreadable_regions_are_a_flag_unless_all_are():
    bad = FieldRow.unreadable("a.png", "the tile is damaged", "640,0,640,480")
    assert combine([region(0, 0), bad]).flags == "1 of 2 regions could not be read"
    assert combine([bad, bad]).error == "the tile is damaged"


def test_an_ordinary_image_stays_as_it_is():
    assert combine([FIELD]) is FIELD


def test_regions_of_several_images_are_not_combined():
    with pytest.raises(ValueError, match=r"of one image. Received: \['a.png', 'b.png'\]"):
        combine([region(0, 0), replace(FIELD, image="b.png")])
