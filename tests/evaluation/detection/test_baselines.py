"""The baselines on synthetic and real fields."""

from pathlib import Path

import numpy as np
import pytest

from annotated_discs import NAMES, write_fields
from hematovision.data.labelled_fields import read_labelled_fields
from hematovision.evaluation.detection import baselines, match_counts
from hematovision.evaluation.detection.baselines import (
    AreaCount,
    Baselines,
    TrainingField,
    Watershed,
    training_fields,
)
from hematovision.synthetic import render_field
from hematovision.taxonomy import RBC_WBC_PLATELETS


def synthetic(seed: int, **cells: int) -> TrainingField:
    field = render_field(seed, (300, 400), "synthetic-a", cells or None)
    labels = [
        RBC_WBC_PLATELETS.index(RBC_WBC_PLATELETS.resolve("RBC" if c.kind == "rbc" else c.kind))
        for c in field.cells
    ]
    boxes = np.array([cell.box for cell in field.cells], float).reshape(-1, 4)
    return TrainingField(field.image, boxes, np.array(labels), frozenset({0, 1, 2}))


def f1(fields: list[TrainingField], finder: Watershed, index: int) -> float:
    counts = [match_counts(one.with_found(finder.find(one.pixels)), index) for one in fields]
    matched, found, annotated = np.sum(counts, axis=0)
    return float(2 * matched / (found + annotated))


def test_separate_cells_are_found():
    fields = [synthetic(seed, rbc=12, neutrophil=1) for seed in range(3)]
    assert f1(fields, Watershed(), 0) > 0.85
    assert f1(fields, Watershed(), 1) > 0.7


@pytest.mark.parametrize("scale", [0.5, 2])
def test_the_width_of_a_red_cell_follows_the_size_of_the_image(scale: float):
    field = synthetic(1, rbc=14)
    sides = int(300 * scale), int(400 * scale)
    resized = baselines._scaled(field.pixels, scale)
    assert resized.shape[:2] == sides
    ratio = baselines.red_cell_width(resized) / baselines.red_cell_width(field.pixels)
    assert ratio == pytest.approx(scale, rel=0.12)


def test_fitting_helps_and_is_reproducible(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(baselines, "_GRID", {"stain": (0.4, 0.8), "margin": (0.1, 0.3)})
    fields = [synthetic(seed, rbc=10, lymphocyte=1) for seed in range(3)]
    reported: list[tuple[int, int]] = []
    fitted = Watershed.fit(fields, lambda done, total, what, unit: reported.append((done, total)))
    assert reported[-1] == (6, 6)
    assert fitted == Watershed.fit(fields)

    def mean(finder: Watershed) -> float:
        return float(np.mean([f1(fields, finder, index) for index in (0, 1)]))

    assert mean(fitted) >= mean(Watershed())


def test_area_counts_red_cells_after_fitting():
    fields = [synthetic(seed, rbc=8 + 4 * seed) for seed in range(5)]
    counter = AreaCount.fit(fields, Watershed())
    error = [counter.count(one.pixels) - len(one.labels) for one in fields]
    assert np.abs(error).mean() < 4
    assert np.mean(error) == pytest.approx(0, abs=0.5)  # on the fields it was fitted on


def test_fields_without_contrast_have_no_cells():
    for value in (0, 128, 255):
        pixels = np.full((64, 80, 3), value, np.uint8)
        assert len(Watershed().find(pixels).labels) == 0
        assert AreaCount().count(pixels) == 0
    noise = np.random.default_rng(0).integers(0, 255, (9, 300, 3), np.uint8)
    found = Watershed().find(noise)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (300, 9, 300, 9)).all()


def test_on_a_real_field_most_white_cells_are_found(real_data):
    fields = read_labelled_fields(real_data / "bccd", format="voc").subset("train").fields[::30]
    loaded = [one.load() for one in fields]
    real = [
        TrainingField(one.pixels, one.boxes, one.labels, frozenset({0, 1, 2})) for one in loaded
    ]
    assert f1(real, Watershed(), 1) > 0.6
    assert f1(real, Watershed(), 0) > 0.4


@pytest.fixture
def split_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(baselines, "_GRID", {"nucleus": (0.5, 0.65)})
    root = write_fields(tmp_path / "discs", 6, splits=True)
    return read_labelled_fields(root, names=NAMES)


def test_baselines_are_fitted_on_the_training_split_only(split_fields):
    for field in split_fields.subset("test"):
        field.image.write_bytes(b"x")  # reading one would be an error
    fitted = Baselines.fit_split(split_fields, "test")
    assert fitted.fitted_on == "3 training fields"
    assert fitted.area.cells_per_area != AreaCount().cells_per_area


def test_without_other_training_fields_the_defaults_are_used(split_fields):
    assert Baselines.fit_split(split_fields, "train").watershed == Watershed()
    assert Baselines.fit_split(split_fields, "all").fitted_on == "training fields of BCCD"
    assert Baselines.fit_split(split_fields.subset("test"), "test").watershed == Watershed()


def test_unreadable_training_fields_are_ignored(split_fields):
    train = split_fields.subset("train")
    train.fields[0].image.write_bytes(b"x")
    assert len(training_fields(train)) == 2
    assert len(training_fields(train, most=1)) <= 1
