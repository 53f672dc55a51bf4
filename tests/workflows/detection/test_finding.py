"""Finding the cells of annotated fields with the whole analysis."""

from pathlib import Path

import numpy as np
import pytest

from annotated_discs import NAMES, disc_pipeline, discs_field, write_fields
from discs import DiscFinder
from hematovision import images
from hematovision.data.labelled_fields import read_labelled_fields
from hematovision.errors import DatasetError
from hematovision.evaluation.detection import baselines
from hematovision.evaluation.detection.baselines import Baselines
from hematovision.model.detector import Detections, Detector
from hematovision.workflows.detection.finding import (
    Pipeline,
    find_cells,
    metrics_of,
    with_thresholds,
)
from tiny_detector import tiny_bundle


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fields(tmp_path_factory.mktemp("discs"), 4)


def test_all_discs_of_all_fields_are_found(discs: Path):
    outcomes, refused = find_cells(disc_pipeline(), read_labelled_fields(discs, names=NAMES))
    assert refused == ()
    metrics = metrics_of(outcomes)
    assert metrics.mean_f1 == 1.0
    assert metrics.map50 == pytest.approx(1.0)
    assert all(row.counts.mean_absolute_error == 0 for row in metrics.per_class.values())
    assert metrics.scale is not None
    assert (metrics.scale.within_10_percent, metrics.scale.none) == (1.0, 0)
    assert metrics.baselines == {}


def test_cells_at_the_border_are_found_and_count(discs: Path):
    fields = read_labelled_fields(discs, names=NAMES)
    (outcome, *_), _ = find_cells(disc_pipeline(), fields)
    at_border = (outcome.evaluated.boxes[:, :2] == 0).any(axis=1)
    assert at_border.any()
    assert outcome.evaluated.found.kept.sum() == len(outcome.evaluated.labels)


def test_the_known_scale_is_used_and_not_evaluated(discs: Path):
    fields = read_labelled_fields(discs, names=NAMES)
    outcomes, _ = find_cells(disc_pipeline(), fields, known_scale=True)
    diameters = [outcome.evaluated.diameter for outcome in outcomes]
    assert diameters == pytest.approx([40.0] * 4, rel=0.04)
    metrics = metrics_of(outcomes)
    assert metrics.scale is None
    assert metrics.mean_f1 == 1.0


def test_pixels_can_be_changed_before_the_analysis(discs: Path):
    fields = read_labelled_fields(discs, names=NAMES)
    outcomes, _ = find_cells(disc_pipeline(), fields, change=lambda pixels: 0 * pixels + 240)
    assert sum(outcome.evaluated.found.kept.sum() for outcome in outcomes) == 0
    assert all("no red cells" in outcome.flags for outcome in outcomes)


def test_unreadable_fields_are_listed_and_the_rest_evaluated(tmp_path: Path):
    root = write_fields(tmp_path / "discs", 3)
    (root / "images" / "f1.png").write_bytes(b"x")
    fields = read_labelled_fields(root, names=NAMES)
    outcomes, refused = find_cells(disc_pipeline(), fields)
    assert [outcome.field.name for outcome in outcomes] == ["f0", "f2"]
    assert [Path(error.path).name for error in refused] == ["f1.png"]
    for name in ("f0", "f2"):
        (root / "images" / f"{name}.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="None of the 3 fields can be read"):
        find_cells(disc_pipeline(), fields)


class _Unsure(DiscFinder):
    """Also finds a doubtful red cell between the columns, and all others again."""

    def candidates(self, pixels: np.ndarray) -> Detections:
        found = super().candidates(pixels)
        extra = Detections(
            np.array([[24, 60, 60, 96]], np.float32),
            np.array([[0.1, 0.001, 0.001]], np.float32),
            np.zeros(1, np.intp),
            np.array([[10, 19]], np.int32),
        )
        return Detections.joined([found, extra])


def test_less_confident_cells_extend_the_curves_only():
    pixels, boxes, _ = discs_field(1)
    found, diameter, _ = Pipeline(DiscFinder(), _Unsure()).find(pixels)
    assert found.kept.sum() == len(boxes)
    assert diameter == pytest.approx(40, rel=0.05)
    assert (~found.kept).sum() == 1
    assert found.confidence[~found.kept] == pytest.approx([0.1], abs=0.01)
    assert found.confidence[found.kept].min() > 0.9
    assert len(np.unique(found.boxes.round(), axis=0)) == len(found.labels)  # none twice


def test_thresholds_are_lowered_and_never_raised(tmp_path: Path):
    tiny_bundle(tmp_path / "tiny")
    detector = Detector.load(tmp_path / "tiny")
    lower = with_thresholds(detector, 0.25)
    assert lower.thresholds == {"RBC": 0.25, "WBC": 0.25, "Platelets": 0.2}
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[28:32, 28:32, 0] = 80  # heat 0.31
    assert len(detector.detect(pixels)) == 0
    assert len(lower.detect(pixels)) == 1


def test_a_bundle_is_opened_with_or_without_the_crop_classifier(tmp_path: Path):
    tiny_bundle(tmp_path / "tiny")
    pixels = np.zeros((96, 96, 3), np.uint8)
    found, diameter, flags = Pipeline.load(tmp_path / "tiny", detector_only=True).find(pixels, 36.0)
    assert len(found.labels) == 0
    assert diameter == 36.0
    assert flags
    images.write(tmp_path / "a.png", pixels)
    assert Pipeline.load(tmp_path / "tiny").find(images.read(tmp_path / "a.png"))[2] == flags


def test_both_baselines_are_scored_on_the_same_fields(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(baselines, "_GRID", {"nucleus": (0.5, 0.65)})
    root = write_fields(tmp_path / "discs", 6, splits=True)
    fields = read_labelled_fields(root, names=NAMES)
    fitted = Baselines.fit_split(fields, "test")
    test = fields.subset("test")
    outcomes, _ = find_cells(disc_pipeline(), test, fitted)
    rows = metrics_of(outcomes, fitted).baselines
    assert rows["watershed"].scores is not None
    assert rows["watershed"].scores.per_class["RBC"].f1 > 0.85  # separate discs
    assert rows["area"].scores is None
    assert rows["area"].counts["RBC"].fields == 3
    assert rows["area"].counts["RBC"].mean_absolute_error < 4
    assert metrics_of(outcomes).baselines == {}
    assert Baselines().fitted_on != fitted.fitted_on
