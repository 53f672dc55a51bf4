"""Fitting the baselines on training fields."""

from pathlib import Path

import pytest

from annotated_discs import NAMES, disc_pipeline, write_fields
from hematovision.data.labelled_fields import read_labelled_fields
from hematovision.evaluation.detection import baselines
from hematovision.evaluation.detection.baselines import AreaCount, Watershed
from hematovision.workflows.detection.baselines import (
    BaselineFields,
    fitted_baselines,
    training_fields,
)
from hematovision.workflows.detection.finding import find_cells
from hematovision.workflows.detection.scoring import metrics_of


@pytest.fixture
def split_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(baselines, "_GRID", {"nucleus": (0.5, 0.65)})
    root = write_fields(tmp_path / "discs", 6, splits=True)
    return read_labelled_fields(root, names=NAMES)


def test_baselines_are_fitted_on_the_training_split_only(split_fields):
    for field in split_fields.subset("test"):
        field.image.write_bytes(b"x")  # reading one would be an error
    fitted = fitted_baselines(split_fields, "test")
    assert fitted.fitted_on == "3 training fields"
    assert fitted.area.cells_per_area != AreaCount().cells_per_area


def test_without_other_training_fields_the_defaults_are_used(split_fields):
    assert fitted_baselines(split_fields, "train").watershed == Watershed()
    assert fitted_baselines(split_fields, "all").fitted_on == "training fields of BCCD"
    assert fitted_baselines(split_fields.subset("test"), "test").watershed == Watershed()


def test_unreadable_training_fields_are_ignored(split_fields):
    train = split_fields.subset("train")
    train.fields[0].image.write_bytes(b"x")
    assert len(training_fields(train)) == 2
    assert len(training_fields(train, most=1)) <= 1


def test_both_baselines_are_scored_on_the_same_fields(split_fields):
    fitted = fitted_baselines(split_fields, "test")
    test = split_fields.subset("test")
    outcomes, _ = find_cells(disc_pipeline(), test, fitted)
    rows = metrics_of(outcomes, fitted).baselines
    assert rows["watershed"].scores is not None
    assert rows["watershed"].scores.per_class["RBC"].f1 > 0.85  # separate discs
    assert rows["area"].scores is None
    assert rows["area"].counts["RBC"].fields == 3
    assert rows["area"].counts["RBC"].mean_absolute_error < 4
    assert metrics_of(outcomes).baselines == {}
    assert BaselineFields().fitted_on != fitted.fitted_on
