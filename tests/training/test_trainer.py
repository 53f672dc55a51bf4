"""From images to a judged model: deterministic, calibrated on validation, blind to the test."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.errors import TrainingError
from hematovision.images import reading
from hematovision.model.backbone import Backbone
from hematovision.model.calibration import fit_calibration
from hematovision.model.graph import classifier_graph
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.training import decoys
from hematovision.training.finetune import FineTuning
from hematovision.training.head import HeadTraining, TrainedHead
from hematovision.training.pictures import Pictures
from hematovision.training.trainer import TrainedModel, train_model

HOW = HeadTraining(epochs=3)


@pytest.fixture(scope="module")
def learned(phantoms: Dataset, weights: BackboneWeights, tmp_path_factory) -> TrainedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMATOVISION_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train_model(Pictures(phantoms), weights, HOW)


def test_every_image_is_in_its_part_with_its_own_features(
    learned: TrainedModel, phantoms: Dataset, weights: BackboneWeights
):
    from hematovision import images

    for split in ("train", "valid", "test"):
        assert learned.parts[split].samples == phantoms.subset(split).samples
    part = learned.parts["test"]
    direct = Backbone(weights).features(images.load(part.samples[1].path)[None])
    np.testing.assert_array_equal(part.features[1], direct[0])


def test_twice_the_same_gives_identical_onnx_bytes(
    learned: TrainedModel, phantoms: Dataset, weights: BackboneWeights
):
    again = train_model(Pictures(phantoms), weights, HOW)
    one, two = (classifier_graph(run.weights, run.head, run.novelty) for run in (learned, again))
    assert one == two
    assert learned.thresholds == again.thresholds
    assert learned.fingerprint == again.fingerprint


def test_no_image_is_decoded_twice_but_those_that_are_spoilt(
    phantoms: Dataset, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    decoded, decode = [], reading.decode
    monkeypatch.setattr(
        reading, "decode", lambda *given: decoded.append(given[1].name) or decode(*given)
    )
    train_model(Pictures(phantoms), weights, replace(HOW, epochs=1))
    counts = Counter(decoded)
    assert set(counts) == {str(sample.path) for sample in phantoms}
    again = counts.total() - len(counts)
    assert again == decoys.SPOILT_DECOYS
    decoded.clear()
    train_model(Pictures(phantoms), weights, replace(HOW, epochs=1, seed=1))
    assert not decoded


def test_test_labels_change_nothing(
    learned: TrainedModel, phantoms: Dataset, weights: BackboneWeights
):
    swapped = {"RBC": "WBC", "WBC": "Platelets", "Platelets": "RBC"}
    other = phantoms.with_samples(
        replace(s, label=swapped[s.label]) if s.split == "test" else s for s in phantoms
    )
    relearned = train_model(Pictures(other), weights, HOW)
    assert relearned.thresholds == learned.thresholds
    np.testing.assert_array_equal(relearned.head.layers[0][0], learned.head.layers[0][0])


def test_the_fingerprint_follows_content_and_labels_not_names(
    learned: TrainedModel, phantoms: Dataset
):
    first = phantoms.samples[0]
    other = replace(
        learned,
        parts={
            **learned.parts,
            "train": replace(
                learned.parts["train"],
                samples=tuple(
                    replace(s, label="WBC" if s.label == "RBC" else s.label)
                    for s in learned.parts["train"].samples
                ),
            ),
        },
    )
    assert other.fingerprint != learned.fingerprint
    assert first.path.name not in learned.fingerprint


def test_the_temperature_is_folded_into_the_head(learned: TrainedModel):
    assert learned.temperature > 0
    valid = learned.parts["valid"]
    loss = -np.log(learned.head.probabilities(valid.features)[np.arange(len(valid.labels)),
                                                              valid.labels]).mean()  # fmt: skip
    softer = learned.head.calibrated(3.0).probabilities(valid.features)
    assert loss <= -np.log(softer[np.arange(len(valid.labels)), valid.labels]).mean()


def test_a_head_that_has_learnt_already_is_only_calibrated(
    learned: TrainedModel, phantoms: Dataset, weights: BackboneWeights
):
    rng = np.random.default_rng(0)
    layers = ((1280, 16), (16, 3))
    given = Head(tuple((rng.normal(0, 0.05, s), np.zeros(s[1])) for s in layers))
    found = train_model(Pictures(phantoms), weights, HOW, trained=TrainedHead(given, ()))
    np.testing.assert_array_equal(found.head.layers[0][0], given.layers[0][0])
    valid = found.parts["valid"]
    calibration = fit_calibration(given.logits(valid.features), valid.labels)
    np.testing.assert_allclose(
        found.head.probabilities(valid.features),
        calibration.fold(given).probabilities(valid.features),
        atol=1e-6,
    )
    assert found.history == ()
    assert found.fingerprint == learned.fingerprint


def test_fine_tuning_goes_on_from_the_head_and_renews_the_features(
    phantoms: Dataset, weights: BackboneWeights
):
    tuning = FineTuning(blocks=1, epochs=1)
    tuned = train_model(Pictures(phantoms), weights, replace(HOW, epochs=2), tuning)
    assert tuned.weights.sha256 != weights.sha256
    assert [row["epoch"] for row in tuned.history] == [1, 2, 3]
    assert tuned.head.layers[0][0].shape == (1280, 128)
    assert tuned.parts["test"].features.shape == (len(phantoms.subset("test")), 1280)


def test_without_a_validation_part_it_says_what_is_missing(
    phantoms: Dataset, weights: BackboneWeights
):
    with pytest.raises(TrainingError, match="valid part has no readable image"):
        train_model(Pictures(phantoms.subset("train")), weights, HOW)


def test_an_unreadable_image_is_left_out_and_listed(
    phantoms: Dataset, weights: BackboneWeights, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with_broken = phantoms.with_samples(
        (*phantoms.samples, replace(phantoms.samples[0], path=broken, split="train"))
    )
    found = train_model(Pictures(with_broken), weights, replace(HOW, epochs=1))
    assert [error.path for error in found.refused] == [str(broken)]
    assert len(found.parts["train"].samples) == len(phantoms.subset("train"))
