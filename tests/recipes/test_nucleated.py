"""The three-class head is trained further so that nucleated red cells are RBC."""

import numpy as np
import pytest

from hematovision.model.head import Head
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS

pytest.importorskip("torch", reason="only `make bundled-models` needs PyTorch")

from recipes.hematology_backbone.nucleated import trained_head
from recipes.hematology_backbone.recipe import _folded

CLASSES = {name: number for number, name in enumerate(RBC_WBC_PLATELETS.classes)}


def test_erythroblasts_have_a_class_only_where_they_are_wanted():
    without, with_ = (_folded(CLASSES, nucleated=wanted) for wanted in (False, True))
    assert set(with_) == set(PBC8.classes)
    assert with_.pop("erythroblast") == CLASSES["RBC"]
    assert with_ == without


def test_a_group_of_the_wrong_class_changes_class_and_the_others_keep_theirs():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (4, 1280)).astype(np.float32)  # RBC, WBC, platelets, nucleated
    labels = np.array([0, 1, 2, 0])
    features = np.repeat(centres, 60, axis=0) + rng.normal(0, 0.3, (240, 1280)).astype(np.float32)
    kernel = np.concatenate([centres[:3], -centres[:3]]).T / 40
    take = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
    head = Head(((kernel, np.zeros(6)), (take + 0, np.zeros(3))))
    nucleated = features[180:]
    before = head.logits(nucleated).argmax(1)
    found = trained_head(head, features, np.repeat(labels, 60))
    assert (found.logits(features).argmax(1) == np.repeat(labels, 60)).mean() > 0.98
    assert (found.logits(nucleated).argmax(1) == 0).all()
    assert (before != 0).any()
    assert [pair[0].shape for pair in found.layers] == [pair[0].shape for pair in head.layers]
