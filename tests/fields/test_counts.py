"""Counts of cells: the differential, platelets, and what is left out."""

import pickle
from dataclasses import replace

import pytest
from scipy.stats import beta, gamma

from field_rows import FIELD, cell
from hematovision.fields.counts import (
    UNCLASSIFIED,
    UNREADABLE_SHOWN,
    Tally,
    count_differential,
    count_platelets,
    white_kinds,
)
from hematovision.fields.rows import FieldRow
from hematovision.taxonomy import PBC8


def tallied(*fields, subtypes=PBC8.classes):
    tally = Tally(subtypes)
    for cells in fields:
        tally.add(FIELD, cells)
    return tally


def test_a_differential_of_100_cells_has_the_limits_of_rumkes_table():
    found = count_differential({"neutrophil": 50, "lymphocyte": 40, "basophil": 0, "x": 10}, 0)
    assert found.n == 100
    assert found.classes["neutrophil"].fraction == 0.5
    assert found.classes["neutrophil"].interval == pytest.approx((0.398, 0.602), abs=5e-4)
    assert found.classes["x"].interval == pytest.approx(
        (beta.ppf(0.025, 10, 91), beta.ppf(0.975, 11, 90))
    )
    assert found.classes["basophil"].interval == (0.0, pytest.approx(0.0362, abs=5e-5))


def test_unclassified_cells_are_part_of_the_differential_and_come_last():
    found = count_differential({UNCLASSIFIED: 20, "neutrophil": 60}, 0)
    assert list(found.classes) == ["neutrophil", UNCLASSIFIED]
    assert found.classes["neutrophil"].fraction == 0.75
    assert sum(one.fraction for one in found.classes.values()) == 1.0


@pytest.mark.parametrize(("n", "known"), [(49, False), (50, True)])
def test_fewer_than_50_white_cells_are_only_counted(n, known):
    found = count_differential({"neutrophil": n}, 3, wbc_count=7.0)
    one = found.classes["neutrophil"]
    assert one.n == n
    values = (one.fraction, one.interval, one.absolute, one.absolute_interval)
    values += (found.nucleated_red_cells.per_100_wbc, found.nucleated_red_cells.interval)
    assert all((value is not None) == known for value in values)


@pytest.mark.parametrize(("nucleated", "corrected"), [(9, None), (10, 20 * 100 / 105)])
def test_the_white_cell_count_is_corrected_from_5_nucleated_red_cells_per_100(nucleated, corrected):
    found = count_differential({"neutrophil": 150, "monocyte": 50}, nucleated, wbc_count=20.0)
    assert found.nucleated_red_cells.per_100_wbc == nucleated / 2
    assert found.nucleated_red_cells.interval == pytest.approx(
        (gamma.ppf(0.025, nucleated) / 2, gamma.ppf(0.975, nucleated + 1) / 2)
    )
    assert found.wbc_corrected == (corrected and pytest.approx(corrected))
    monocytes = found.classes["monocyte"]
    true = corrected or 20.0
    assert monocytes.absolute == pytest.approx(true / 4)
    assert monocytes.absolute_interval == pytest.approx(
        tuple(true * end for end in monocytes.interval)
    )


def test_without_the_analysers_counts_nothing_is_absolute():
    found = tallied([cell("WBC", "neutrophil")] * 60 + [cell()] * 9 + [cell("Platelets")]).counts()
    assert found.differential.classes["neutrophil"].absolute is None
    assert found.differential.wbc_corrected is None
    assert found.platelets.per_1000_rbc == pytest.approx(1000 / 9)
    assert found.platelets.estimate is None


def test_platelets_have_poisson_limits_and_are_scaled_by_the_red_cell_count():
    found = count_platelets(57, 1140, rbc_count=4.2)
    assert found.per_1000_rbc == pytest.approx(50)
    limits = (gamma.ppf(0.025, 57) / 1.14, gamma.ppf(0.975, 58) / 1.14)
    assert found.interval == pytest.approx(limits)
    assert found.estimate == pytest.approx(210)
    assert found.estimate_interval == pytest.approx(tuple(4.2 * end for end in limits))
    assert count_platelets(0, 2000).interval == (0.0, pytest.approx(3.689 / 2, abs=1e-3))
    assert count_platelets(5, 0, rbc_count=4.2).estimate is None


def test_each_white_cell_is_in_one_class():
    found = tallied(
        [
            cell("WBC", "neutrophil"),
            cell("WBC", "neutrophil", decision="review", reason="unlike the training images"),
            cell("WBC"),  # not classified
            cell("WBC", "platelet"),  # contradicts its label
            cell("WBC", "erythroblast"),
            cell("RBC", "erythroblast"),
            cell("WBC", "erythroblast", decision="review", reason="low confidence"),
            cell("WBC", "smudge", source="person"),
            cell("WBC", "monocyte", counted=False, on_edge=True),
            cell(),
            cell("Platelets"),
        ]
    ).counts()
    counts = {name: one.n for name, one in found.differential.classes.items() if one.n}
    assert counts == {"neutrophil": 1, "smudge": 1, UNCLASSIFIED: 4}
    assert found.differential.n == 6
    assert found.differential.nucleated_red_cells.n == 2
    assert found.not_counted == {"RBC": 0, "WBC": 1, "Platelets": 0}
    assert {label: one.n for label, one in found.cells.items()} == {
        "RBC": 2, "WBC": 7, "Platelets": 1,
    }  # fmt: skip
    assert found.cells["WBC"].review == 2


def test_kinds_that_no_cell_has_are_listed():
    assert white_kinds(PBC8.classes) == (
        "basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil",
    )  # fmt: skip
    found = tallied([cell("WBC", "ig")]).counts().differential
    assert list(found.classes) == [*white_kinds(PBC8.classes), UNCLASSIFIED]
    assert list(tallied([], subtypes=()).counts().differential.classes) == [UNCLASSIFIED]


def test_only_whole_accepted_red_cells_of_known_scale_are_measured():
    cells = [
        *[cell(width=36, height=40)] * 40,
        cell(on_edge=True),
        cell(on_edge=True, counted=False),
        cell(decision="review", reason="low confidence"),
        cell("RBC", "erythroblast", width=60),
        cell("WBC", width=80),
    ]
    tally = tallied(cells)
    tally.add(replace(FIELD, rbc_diameter_px=None, scale_source="none"), [cell()])
    found = tally.counts().red_cell_sizes
    assert (found.n, found.on_edge, found.review, found.no_scale) == (40, 2, 1, 1)
    assert found.mean == pytest.approx(38 / 36)


def test_cells_per_field_have_limits_and_a_spread():
    found = tallied([cell()] * 4, [cell()] * 8, []).counts().cells["RBC"]
    assert (found.n, found.mean, found.sd, found.fewest, found.most) == (12, 4.0, 4.0, 0, 8)
    assert found.interval == pytest.approx((gamma.ppf(0.025, 12) / 3, gamma.ppf(0.975, 13) / 3))
    assert tallied([cell()]).counts().cells["RBC"].sd is None
    assert tallied().counts().cells["RBC"].mean is None


def test_unreadable_and_flagged_fields_are_counted_apart():
    tally = Tally()
    for i in range(UNREADABLE_SHOWN + 5):
        tally.add(FieldRow.unreadable(f"{i}.png", "it is empty"), [])
    tally.add(replace(FIELD, flags="blurred; few cells"), [cell()])
    tally.add(replace(FIELD, flags="blurred", scale_source="metadata"), [cell()])
    found = tally.counts().fields
    assert (found.n, found.read, found.unreadable, found.flagged) == (27, 2, 25, 2)
    assert found.flags == {"blurred": 2, "few cells": 1}
    assert found.scale_sources == {"red cells": 1, "metadata": 1}
    assert len(found.unreadable_images) == UNREADABLE_SHOWN
    assert found.unreadable_images[0] == ("0.png", "it is empty")
    assert tally.counts().cells["RBC"].n == 2


def test_tallies_of_parts_add_up_to_that_of_all_fields():
    fields = [
        [cell(x=10.0 * i, width=30 + i + j) for j in range(9)]
        + [cell("WBC", name, x=20.0 * i, image=f"{i}.png") for name in PBC8.classes]
        + [cell("Platelets", decision="review", reason="low confidence")] * i
        for i in range(7)
    ]
    whole, parts = tallied(*fields), [tallied(*fields[i::3]) for i in range(3)]
    merged = Tally(PBC8.classes)
    for part in parts:
        part.add(FieldRow.unreadable("x.png", "damaged"), [])
        merged.merge(pickle.loads(pickle.dumps(part)))
    for _ in range(3):
        whole.add(FieldRow.unreadable("x.png", "damaged"), [])
    one, other = whole.counts(wbc_count=5.0), merged.counts(wbc_count=5.0)
    assert one.red_cell_sizes.cv == pytest.approx(other.red_cell_sizes.cv, rel=1e-12)
    rounded = {"red_cell_sizes": None, "cells": None}
    assert replace(one, **rounded) == replace(other, **rounded)
    for label, count in one.cells.items():
        assert replace(count, sd=None) == replace(other.cells[label], sd=None)
        assert count.sd == pytest.approx(other.cells[label].sd)
    kinds = white_kinds(PBC8.classes)
    assert whole.sample.choose(kinds, 12) == merged.sample.choose(kinds, 12)
