"""Training the head and fine-tuning: reproducible, best epoch kept, clear errors."""

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.errors import TrainingError
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.training.fitting import (
    FineTuned,
    TrainingBatches,
    ValidationBatches,
    class_balanced,
    class_weights,
    fine_tune,
    train_head,
)
from hematovision.training.recipe import FineTuning, HeadTraining

QUICK = FineTuning(blocks=1, epochs=3, batch_size=32)


def separable(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes in proportions 8:1:1, each marked by one feature."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n, p=[0.8, 0.1, 0.1])
    features = rng.normal(0.5, 0.2, (n, 1280)).astype(np.float32)
    features[np.arange(n), labels] += 3
    return features, labels


def test_the_head_is_trained_on_all_classes_although_one_is_frequent():
    x, y = separable(400, 0)
    vx, vy = separable(100, 1)
    trained = train_head(x, y, vx, vy, 3, HeadTraining())
    predicted = trained.head.logits(vx).argmax(axis=1)
    assert (predicted == vy).mean() > 0.97
    assert [kernel.shape for kernel, _ in trained.head.layers] == [(1280, 128), (128, 3)]
    assert set(trained.history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}
    assert not trained.interrupted


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    x, y = separable(100, 0)
    one, again, other = (
        train_head(x, y, x, y, 3, HeadTraining(epochs=2, seed=seed)).head for seed in (0, 0, 1)
    )
    for (kernel, bias), (same_kernel, same_bias) in zip(one.layers, again.layers, strict=True):
        np.testing.assert_array_equal(kernel, same_kernel)
        np.testing.assert_array_equal(bias, same_bias)
    assert (one.layers[0][0] != other.layers[0][0]).any()


def test_training_stops_without_improvement_and_keeps_the_best_epoch():
    x, y = separable(200, 0)
    wrong = (y + 1) % 3
    trained = train_head(x, y, x, wrong, 3, HeadTraining(epochs=15, patience=2))
    losses = [row["val_loss"] for row in trained.history]
    assert len(losses) < 15
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    kept = trained.head.probabilities(x)[np.arange(len(x)), wrong]
    assert -np.log(kept).mean() == pytest.approx(min(losses), rel=1e-3)


def test_without_validation_images_the_training_loss_is_used():
    x, y = separable(100, 0)
    trained = train_head(x, y, x[:0], y[:0], 3, HeadTraining(epochs=2))
    assert "val_loss" not in trained.history[0]


def test_one_class_is_an_error():
    with pytest.raises(TrainingError, match="at least two"):
        train_head(np.zeros((5, 1280), np.float32), np.zeros(5, int), *separable(5, 0), 3,
                   HeadTraining())  # fmt: skip


def test_nan_features_are_an_error():
    x, y = separable(64, 0)
    with pytest.raises(TrainingError, match="not a number"):
        train_head(x * np.nan, y, x, y, 3, HeadTraining(epochs=3))


def test_class_weights_balance_the_classes():
    labels = np.array([0] * 80 + [1] * 15 + [3] * 5)
    weights = class_weights(labels, 4)
    assert weights[2] == 1.0
    totals = [weights[i] * count for i, count in ((0, 80), (1, 15), (3, 5))]
    assert totals == pytest.approx([100 / 3] * 3)


def test_ctrl_c_keeps_the_best_epoch_so_far():
    x, y = separable(200, 0)
    calls = []

    def press(done: int, total: int, what: str, unit: str = "") -> None:
        calls.append(what)
        if len(calls) == 2:  # called once per epoch, as all 7 batches run at once
            raise KeyboardInterrupt

    trained = train_head(x, y, x, y, 3, HeadTraining(), press)
    assert trained.interrupted
    assert len(trained.history) == 1
    kept = trained.head.probabilities(x)[np.arange(len(x)), y]
    assert -np.log(kept).mean() == pytest.approx(trained.history[0]["val_loss"], rel=1e-3)


def test_ctrl_c_before_the_first_epoch_is_an_error():
    x, y = separable(64, 0)

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(TrainingError, match="in the first epoch"):
        train_head(x, y, x, y, 3, HeadTraining(), press)


@pytest.fixture(scope="module")
def train(dataset: Dataset) -> Dataset:
    return dataset.subset("train")


@pytest.fixture(scope="module")
def valid(dataset: Dataset) -> Dataset:
    return dataset.subset("valid")


@pytest.fixture(scope="module")
def weights(weights: BackboneWeights) -> BackboneWeights:
    return BackboneWeights(weights.arrays, 96)


@pytest.fixture(scope="module")
def head() -> Head:
    kernel = np.random.default_rng(0).normal(0, 0.03, (1280, 3))
    return Head(((kernel.astype(np.float32), np.zeros(3, np.float32)),))


def tune(train: Dataset, valid: Dataset, head: Head, weights: BackboneWeights) -> FineTuned:
    """Fine-tune until Ctrl-C is pressed in the first batch of the third epoch."""
    steps = -(-len(train) // QUICK.batch_size)

    def press(done: int, total: int, what: str, unit: str = "") -> None:
        if done == 2 * steps + 1:
            raise KeyboardInterrupt

    return fine_tune(train, valid, head, weights, QUICK, progress=press)


@pytest.fixture(scope="module")
def tuned(train: Dataset, valid: Dataset, head: Head, weights: BackboneWeights) -> FineTuned:
    return tune(train, valid, head, weights)


def test_fine_tuning_changes_only_the_chosen_blocks_and_the_head(
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
    assert 0 < moved.max() < 0.01  # It continued from the given head.


def test_fine_tuning_returns_the_history_of_a_report(tuned: FineTuned):
    assert [row["epoch"] for row in tuned.history] == [1, 2]
    assert set(tuned.history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_fine_tuning_is_reproducible(
    tuned: FineTuned, train: Dataset, valid: Dataset, head: Head, weights: BackboneWeights
):
    again = tune(train, valid, head, weights)
    assert again.weights.sha256 == tuned.weights.sha256
    assert again.history == tuned.history


def test_ctrl_c_during_fine_tuning_keeps_the_best_epoch_so_far(tuned: FineTuned):
    assert tuned.interrupted
    assert len(tuned.history) == 2


def test_batches_depend_only_on_seed_epoch_and_number(train: Dataset):
    one, again = (TrainingBatches(train, 3, 8, seed=0) for _ in range(2))
    before = one[1][0]
    np.testing.assert_array_equal(again[1][0], before)
    assert (TrainingBatches(train, 3, 8, seed=1)[1][0] != before).any()
    one.sample(1)
    assert (one[1][0] != before).any()
    one.sample(0)
    np.testing.assert_array_equal(one[1][0], before)


def test_an_epoch_has_whole_batches_and_at_least_as_many_images_as_there_are(train: Dataset):
    batches = TrainingBatches(train, 3, 5, seed=0)
    assert 0 <= 5 * len(batches) - len(train) < 5
    pixels, targets = batches[len(batches) - 1]
    assert pixels.shape == (5, 224, 224, 3)
    assert targets.sum(axis=1).tolist() == [1.0] * 5


def test_validation_batches_have_every_image_once_and_unchanged(valid: Dataset):
    batches = ValidationBatches(valid, 3, 8)
    labels = np.concatenate([batches[i][1].argmax(axis=1) for i in range(len(batches))])
    assert labels.tolist() == valid.labels.tolist()
    np.testing.assert_array_equal(batches[0][0], batches[0][0])


def test_classes_are_sampled_equally_often():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    frequency = class_balanced(labels)
    assert [frequency[labels == i].sum() for i in range(3)] == pytest.approx([1, 1, 1])
