"""Decoys are computed once for a backbone, of every class alike, and separate from cells."""

from dataclasses import replace

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.model.novelty import fit_novelty
from hematovision.model.weights import BackboneWeights
from hematovision.training import decoys
from hematovision.training.decoys import decoy_features
from hematovision.training.pictures import Part, Pictures


@pytest.fixture
def train(phantoms: Dataset, weights: BackboneWeights) -> Part:
    return Pictures(phantoms).look(weights, more_views=False).parts["train"]


def test_they_are_drawn_once_and_the_same_ever_after(
    train: Part, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    told = []
    first = decoy_features(train, weights, lambda *step: told.append(step))
    assert first.shape == (22 + 12, 1280)
    assert told == [(32, 34, "decoys"), (34, 34, "decoys")]
    monkeypatch.setattr(decoys, "render_decoy", lambda number: pytest.fail("drawn again"))
    again = decoy_features(train, weights, lambda *step: told.append(step))
    np.testing.assert_array_equal(again, first)
    assert len(told) == 2, "there was nothing left to do"


def test_every_class_is_spoilt_in_every_way(train: Part):
    taken = [decoy.make for decoy in decoys._spoilt(train)]
    labels = {str(sample.path): sample.label for sample in train.samples}
    kinds = {(labels[str(make.args[0])], make.args[1] % 4) for make in taken}
    assert len(kinds) == 12
    assert len({make.args for make in taken}) == 12


def test_an_image_that_is_gone_is_left_out(train: Part, weights: BackboneWeights):
    gone = replace(train, samples=tuple(replace(s, path=s.path / "gone") for s in train.samples))
    assert len(decoy_features(gone, weights)) == 22


def test_they_are_more_novel_than_cells(
    train: Part, phantoms: Dataset, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    others = Pictures(phantoms).look(weights, more_views=False).parts["test"]
    novelty = fit_novelty(train.features, train.labels, 3, decoy_features(train, weights))
    monkeypatch.setattr(decoys, "RENDERED_DECOYS", 44)
    fresh = decoy_features(train, weights)[22:44]
    cells, unlike = novelty.score(others.features), novelty.score(fresh)
    assert np.mean(unlike > np.quantile(cells, 0.9)) > 0.9
