"""Fine-tuning moves what it is told to move, from batches that a seed alone decides."""

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.training.batches import TrainingBatches, ValidationBatches, class_balanced
from hematovision.training.finetune import FineTuned, FineTuning, fine_tune

QUICK = FineTuning(blocks=1, epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def train(phantoms: Dataset) -> Dataset:
    return phantoms.subset("train")


@pytest.fixture(scope="module")
def valid(phantoms: Dataset) -> Dataset:
    return phantoms.subset("valid")


@pytest.fixture(scope="module")
def weights(weights: BackboneWeights) -> BackboneWeights:
    return BackboneWeights(weights.arrays, 96)


@pytest.fixture(scope="module")
def head() -> Head:
    kernel = np.random.default_rng(0).normal(0, 0.03, (1280, 3))
    return Head(((kernel.astype(np.float32), np.zeros(3, np.float32)),))


@pytest.fixture(scope="module")
def tuned(train: Dataset, valid: Dataset, head: Head, weights: BackboneWeights) -> FineTuned:
    return fine_tune(train, valid, head, weights, QUICK)


def test_only_the_open_blocks_and_the_head_move(
    tuned: FineTuned, head: Head, weights: BackboneWeights
):
    changed = {
        name
        for name, array in weights.arrays.items()
        if (array != tuned.weights.arrays[name]).any()
    }
    assert "block_16_project/kernel" in changed
    assert all(name.startswith(("block_16", "Conv_1/")) for name in changed)
    assert not any(name.endswith(("gamma", "beta", "moving_mean")) for name in changed)
    assert tuned.weights.side == weights.side
    moved = np.abs(tuned.head.layers[0][0] - head.layers[0][0])
    assert 0 < moved.max() < 0.01  # It went on from where it was.


def test_the_curves_are_those_that_a_report_draws(tuned: FineTuned):
    assert [row["epoch"] for row in tuned.history] == [1, 2]
    assert set(tuned.history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_same_seed_gives_the_same_weights(
    tuned: FineTuned, train: Dataset, valid: Dataset, head: Head, weights: BackboneWeights
):
    again = fine_tune(train, valid, head, weights, QUICK)
    assert again.weights.sha256 == tuned.weights.sha256


def test_ctrl_c_keeps_the_best_epoch_so_far(
    train: Dataset, valid: Dataset, head: Head, weights: BackboneWeights
):
    steps = -(-len(train) // QUICK.batch_size)

    def press(done: int, total: int, what: str) -> None:
        if done == steps + 1:  # the first batch of the second epoch
            raise KeyboardInterrupt

    tuned = fine_tune(train, valid, head, weights, QUICK, progress=press)
    assert tuned.interrupted
    assert len(tuned.history) == 1


def test_batches_are_drawn_by_seed_epoch_and_number_alone(train: Dataset):
    one, again = (TrainingBatches(train, 3, 8, seed=0) for _ in range(2))
    before = one[1][0]
    np.testing.assert_array_equal(again[1][0], before)
    assert (TrainingBatches(train, 3, 8, seed=1)[1][0] != before).any()
    one.draw(1)
    assert (one[1][0] != before).any()
    one.draw(0)
    np.testing.assert_array_equal(one[1][0], before)


def test_an_epoch_has_whole_batches_and_no_fewer_images_than_there_are(train: Dataset):
    batches = TrainingBatches(train, 3, 5, seed=0)
    assert 0 <= 5 * len(batches) - len(train) < 5
    pixels, targets = batches[len(batches) - 1]
    assert pixels.shape == (5, 224, 224, 3)
    assert targets.sum(axis=1).tolist() == [1.0] * 5


def test_validation_sees_every_image_once_and_unchanged(valid: Dataset):
    batches = ValidationBatches(valid, 3, 8)
    labels = np.concatenate([batches[i][1].argmax(axis=1) for i in range(len(batches))])
    assert labels.tolist() == valid.labels.tolist()
    np.testing.assert_array_equal(batches[0][0], batches[0][0])


def test_classes_are_drawn_alike_however_many_images_they_have():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    frequency = class_balanced(labels)
    assert [frequency[labels == i].sum() for i in range(3)] == pytest.approx([1, 1, 1])
