"""Training a model: deterministic, calibrated on validation, independent of the test split."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hematovision import images
from hematovision.data.samples import Dataset
from hematovision.errors import TrainingError
from hematovision.images import reading
from hematovision.model.backbone import Backbone
from hematovision.model.calibration import fit_calibration
from hematovision.model.graph import classifier_graph
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.training import inputs
from hematovision.training.fitting import FineTuned
from hematovision.training.inputs import FeatureReader
from hematovision.training.recipe import FineTuning, HeadTraining, TrainedHead
from hematovision.training.trainer import TrainedModel, train_model

OPTIONS = HeadTraining(epochs=3)


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> str:
    """The cache of `trained`."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def trained(dataset: Dataset, weights: BackboneWeights, features: str) -> TrainedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMATOVISION_CACHE", features)
        return train_model(FeatureReader(dataset), weights, OPTIONS)


@pytest.fixture
def known(trained: TrainedModel, features: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the features that `trained` computed."""
    monkeypatch.setenv("HEMATOVISION_CACHE", features)


def test_every_image_is_in_its_split_with_its_features(
    trained: TrainedModel, dataset: Dataset, weights: BackboneWeights
):
    for split in ("train", "valid", "test"):
        assert trained.splits[split].samples == dataset.subset(split).samples
    test = trained.splits["test"]
    direct = Backbone(weights).features(images.load(test.samples[1].path)[None])
    np.testing.assert_array_equal(test.features[1], direct[0])


def test_the_same_seed_gives_identical_onnx_bytes(
    trained: TrainedModel, dataset: Dataset, weights: BackboneWeights
):
    again = train_model(FeatureReader(dataset), weights, OPTIONS)
    one, two = (classifier_graph(run.weights, run.head, run.novelty) for run in (trained, again))
    assert one == two
    assert trained.thresholds == again.thresholds
    assert trained.fingerprint == again.fingerprint


def test_only_spoilt_images_are_decoded_twice(
    dataset: Dataset, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    decoded, decode = [], reading.decode
    monkeypatch.setattr(
        reading, "decode", lambda *args: decoded.append(args[1].name) or decode(*args)
    )
    train_model(FeatureReader(dataset), weights, replace(OPTIONS, epochs=1))
    counts = Counter(decoded)
    assert set(counts) == {str(sample.path) for sample in dataset}
    again = counts.total() - len(counts)
    assert again == inputs.SPOILT_DECOYS
    decoded.clear()
    train_model(FeatureReader(dataset), weights, replace(OPTIONS, epochs=1, seed=1))
    assert not decoded


@pytest.mark.usefixtures("known")
def test_test_labels_do_not_affect_the_model(
    trained: TrainedModel, dataset: Dataset, weights: BackboneWeights
):
    swapped = {"RBC": "WBC", "WBC": "Platelets", "Platelets": "RBC"}
    other = dataset.with_samples(
        replace(s, label=swapped[s.label]) if s.split == "test" else s for s in dataset
    )
    retrained = train_model(FeatureReader(other), weights, OPTIONS)
    assert retrained.thresholds == trained.thresholds
    np.testing.assert_array_equal(retrained.head.layers[0][0], trained.head.layers[0][0])


def test_the_fingerprint_depends_on_content_and_labels_not_names(
    trained: TrainedModel, dataset: Dataset
):
    first = dataset.samples[0]
    other = replace(
        trained,
        splits={
            **trained.splits,
            "train": replace(
                trained.splits["train"],
                samples=tuple(
                    replace(s, label="WBC" if s.label == "RBC" else s.label)
                    for s in trained.splits["train"].samples
                ),
            ),
        },
    )
    assert other.fingerprint != trained.fingerprint
    assert first.path.name not in trained.fingerprint


def test_the_temperature_is_folded_into_the_head(trained: TrainedModel):
    assert trained.temperature > 0
    valid = trained.splits["valid"]
    loss = -np.log(trained.head.probabilities(valid.features)[np.arange(len(valid.labels)),
                                                              valid.labels]).mean()  # fmt: skip
    softer = trained.head.calibrated(3.0).probabilities(valid.features)
    assert loss <= -np.log(softer[np.arange(len(valid.labels)), valid.labels]).mean()


@pytest.mark.usefixtures("known")
def test_a_trained_head_is_only_calibrated(
    trained: TrainedModel, dataset: Dataset, weights: BackboneWeights
):
    rng = np.random.default_rng(0)
    layers = ((1280, 16), (16, 3))
    given = Head(tuple((rng.normal(0, 0.05, s), np.zeros(s[1])) for s in layers))
    found = train_model(FeatureReader(dataset), weights, OPTIONS, trained=TrainedHead(given, ()))
    np.testing.assert_array_equal(found.head.layers[0][0], given.layers[0][0])
    valid = found.splits["valid"]
    calibration = fit_calibration(given.logits(valid.features), valid.labels)
    np.testing.assert_allclose(
        found.head.probabilities(valid.features),
        calibration.fold(given).probabilities(valid.features),
        atol=1e-6,
    )
    assert found.history == ()
    assert found.fingerprint == trained.fingerprint


@pytest.mark.usefixtures("known")
def test_fine_tuning_continues_from_the_head_and_recomputes_the_features(
    dataset: Dataset, weights: BackboneWeights, monkeypatch: pytest.MonkeyPatch
):
    changed = BackboneWeights(
        {**weights.arrays, "Conv_1_bn/gamma": weights.arrays["Conv_1_bn/gamma"] * 2}, 96
    )
    given = []

    def tune(train, valid, head, before, options, progress) -> FineTuned:
        given.append((train.samples, valid.samples, before.sha256, head))
        return FineTuned(changed, head.calibrated(2.0), ({"epoch": 1.0},))

    monkeypatch.setattr("hematovision.training.fitting.fine_tune", tune)
    tuning = FineTuning(blocks=1, epochs=1)
    tuned = train_model(FeatureReader(dataset), weights, replace(OPTIONS, epochs=2), tuning)
    ((train, valid, before, head),) = given
    assert train == dataset.subset("train").samples
    assert valid == dataset.subset("valid").samples
    assert (before, tuned.weights.sha256) == (weights.sha256, changed.sha256)
    np.testing.assert_array_equal(tuned.head.layers[0][0], head.layers[0][0])
    assert [row["epoch"] for row in tuned.history] == [1, 2, 3]
    test = tuned.splits["test"]
    direct = Backbone(changed).features(images.load(test.samples[1].path)[None])
    np.testing.assert_array_equal(test.features[1], direct[0])


def test_training_without_a_validation_split_is_an_error(
    dataset: Dataset, weights: BackboneWeights
):
    with pytest.raises(TrainingError, match="valid split has no readable image"):
        train_model(FeatureReader(dataset.subset("train")), weights, OPTIONS)


@pytest.mark.usefixtures("known")
def test_an_unreadable_image_is_skipped_and_listed(
    dataset: Dataset, weights: BackboneWeights, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with_broken = dataset.with_samples(
        (*dataset.samples, replace(dataset.samples[0], path=broken, split="train"))
    )
    found = train_model(FeatureReader(with_broken), weights, replace(OPTIONS, epochs=1))
    assert [error.path for error in found.refused] == [str(broken)]
    assert len(found.splits["train"].samples) == len(dataset.subset("train"))
