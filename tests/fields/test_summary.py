"""``summary.json`` has stable keys, and its caveats are those of the counts."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from field_rows import FIELD, cell
from hematovision.fields.counts import Tally
from hematovision.fields.rows import FieldRow
from hematovision.fields.summary import ModelUsed, Summary
from hematovision.taxonomy import PBC8

DETECTOR, CLASSIFIER = ModelUsed("blood-fields", "ab" * 32), ModelUsed("pbc8", "cd" * 32)


def summary(*fields, classifier=CLASSIFIER, **given):
    tally = Tally(PBC8.classes if classifier else ())
    for field, cells in fields:
        tally.add(field, cells)
    created = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    counts = tally.counts(**given)
    return Summary("s1", DETECTOR, classifier, counts, {"edges": "two"}, created)


WHITE = [cell("WBC", "neutrophil")] * 45 + [cell("WBC", "neutrophil", decision="review")] * 5


def test_the_keys_are_stable():
    found = summary((FIELD, [cell()] * 60 + WHITE), rbc_count=4.5, wbc_count=6.0).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == [
        "schema_version", "sample", "created", "version", "detector", "classifier", "settings",
        "fields", "cells", "differential", "platelets", "red_cell_sizes", "excluded", "notes",
    ]  # fmt: skip
    assert found["created"] == "2026-01-02T03:04:05+00:00"
    assert found["detector"] == {"name": "blood-fields", "sha256": "ab" * 32}
    assert list(found["fields"]) == [
        "n", "read", "unreadable", "flagged", "flags", "scale_sources"
    ]  # fmt: skip
    assert list(found["cells"]["RBC"]) == [
        "n", "review", "mean", "interval", "sd", "fewest", "most"
    ]  # fmt: skip
    assert list(found["differential"]) == [
        "n", "classes", "nucleated_red_cells", "wbc_count", "wbc_corrected"
    ]  # fmt: skip
    assert found["differential"]["classes"]["neutrophil"] == {
        "n": 45,
        "fraction": 0.9,
        "interval": [pytest.approx(0.7819, abs=5e-5), pytest.approx(0.9667, abs=5e-5)],
        "absolute": 5.4,
        "absolute_interval": [pytest.approx(4.691, abs=5e-4), pytest.approx(5.800, abs=5e-4)],
    }
    assert list(found["platelets"]) == [
        "platelets", "red_cells", "per_1000_rbc", "interval", "rbc_count", "estimate",
        "estimate_interval",
    ]  # fmt: skip
    assert list(found["red_cell_sizes"]) == [
        "unit", "n", "mean", "sd", "cv", "cv_interval", "histogram", "on_edge", "review", "no_scale"
    ]  # fmt: skip
    assert found["red_cell_sizes"]["histogram"] == {"start": 1.0, "width": 0.05, "counts": [60]}
    assert found["excluded"] == {
        "unreadable": [], "by_edge_rule": {"RBC": 0, "WBC": 0, "Platelets": 0}
    }  # fmt: skip


def test_unreadable_images_are_listed():
    found = summary((FieldRow.unreadable("a<b>.png", "it is empty"), []))
    assert found.to_json()["excluded"]["unreadable"] == [
        {"image": "a<b>.png", "error": "it is empty"}
    ]
    assert found.notes == ("1 field of 1 could not be read.",)


def test_caveats_name_what_limits_the_counts():
    text = " ".join(summary((FIELD, [cell()] * 60 + WHITE[1:])).notes)
    assert "Only 49 white cells: percentages need at least 50." in text
    assert "Unclassified white cells: 5 of 49, for review." in text
    assert "too low" not in text
    assert "60 red cells counted, fewer than 1,000" in text
    text = " ".join(summary((FIELD, WHITE)).notes)
    assert "Unclassified white cells: 5 of 50, for review. Until a person decides, the" in text
    flagged = replace(FIELD, flags="blurred", scale_source="none")
    text = " ".join(summary((flagged, [cell("WBC", "ig")])).notes)
    assert "1 field of 1 flagged" in text
    assert "No scale was found in 1 field" in text
    assert "1 white cell: percentages" in text


def test_a_corrected_count_is_explained():
    nucleated = [cell("RBC", "erythroblast")] * 5
    text = " ".join(summary((FIELD, [*WHITE, *nucleated]), wbc_count=11.0).notes)
    assert "corrected from 11 to 10 " in text


def test_a_good_sample_has_no_caveat_and_an_empty_one_is_explained():
    cells = [cell()] * 1000 + [cell("WBC", "neutrophil")] * 60
    assert summary((FIELD, cells)).notes == ()
    assert summary().notes == ("There are no fields.",)
    assert summary((FIELD, [])).notes == ("No cells were found.",)
    assert summary((FIELD, [cell()] * 1000)).notes == ("No white cells were found.",)
    nucleated = [cell()] * 1000 + [cell("WBC", "erythroblast")]
    assert summary((FIELD, nucleated)).notes == (
        "No white cells were found, but 1 nucleated red cell.",
    )
    unclassified = [cell()] * 1000 + [cell("WBC")] * 60
    assert summary((FIELD, unclassified), classifier=None).notes == (
        "White cells were not classified: no classifier was used.",
    )
