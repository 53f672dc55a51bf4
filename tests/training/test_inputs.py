"""Decoys: computed once per backbone, balanced over the classes, more novel than cells."""

from dataclasses import replace

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.model.novelty import fit_novelty
from hematovision.model.weights import BackboneWeights
from hematovision.training import inputs
from hematovision.training.inputs import FeatureReader, SplitFeatures, decoy_features


@pytest.fixture
def train(dataset: Dataset, weights: BackboneWeights) -> SplitFeatures:
    return FeatureReader(dataset).read(weights, more_views=False).splits["train"]


def test_decoys_are_computed_once(
    train: SplitFeatures, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    calls = []
    first = decoy_features(train, weights, lambda *step: calls.append(step))
    assert first.shape == (22 + 12, 1280)
    stage = "features of images without cells"
    assert calls == [(32, 34, stage, "images"), (34, 34, stage, "images")]
    monkeypatch.setattr(inputs, "render_decoy", lambda number: pytest.fail("rendered again"))
    again = decoy_features(train, weights, lambda *step: calls.append(step))
    np.testing.assert_array_equal(again, first)
    assert len(calls) == 2, "computed again"


def test_images_of_every_class_are_spoilt_in_every_way(train: SplitFeatures):
    taken = [decoy.make for decoy in inputs._spoilt(train)]
    labels = {str(sample.path): sample.label for sample in train.samples}
    kinds = {(labels[str(make.args[0])], make.args[1] % 4) for make in taken}
    assert len(kinds) == 12
    assert len({make.args for make in taken}) == 12


def test_a_missing_image_is_skipped(train: SplitFeatures, weights: BackboneWeights):
    missing = replace(
        train, samples=tuple(replace(s, path=s.path / "missing") for s in train.samples)
    )
    assert len(decoy_features(missing, weights)) == 22


def test_decoys_are_more_novel_than_cells(
    train: SplitFeatures,
    dataset: Dataset,
    weights: BackboneWeights,
    monkeypatch: pytest.MonkeyPatch,
):
    others = FeatureReader(dataset).read(weights, more_views=False).splits["test"]
    novelty = fit_novelty(train.features, train.labels, 3, decoy_features(train, weights))
    monkeypatch.setattr(inputs, "RENDERED_DECOYS", 44)
    fresh = decoy_features(train, weights)[22:44]
    cells, decoys = novelty.score(others.features), novelty.score(fresh)
    assert np.mean(decoys > np.quantile(cells, 0.9)) > 0.9
