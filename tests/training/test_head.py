"""The head learns what can be learnt, the same way twice, and says when it cannot."""

import numpy as np
import pytest

from hematovision.errors import TrainingError
from hematovision.training.head import HeadTraining, class_weights, train_head


def separable(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, each with a feature of its own, 8 to 1 to 1."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n, p=[0.8, 0.1, 0.1])
    features = rng.normal(0.5, 0.2, (n, 1280)).astype(np.float32)
    features[np.arange(n), labels] += 3
    return features, labels


def test_it_learns_all_classes_although_one_is_frequent():
    x, y = separable(400, 0)
    vx, vy = separable(100, 1)
    trained = train_head(x, y, vx, vy, 3, HeadTraining())
    answers = trained.head.logits(vx).argmax(axis=1)
    assert (answers == vy).mean() > 0.97
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


def test_it_stops_when_validation_no_longer_gets_better_and_keeps_the_best():
    x, y = separable(200, 0)
    wrong = (y + 1) % 3
    trained = train_head(x, y, x, wrong, 3, HeadTraining(epochs=15, patience=2))
    losses = [row["val_loss"] for row in trained.history]
    assert len(losses) < 15
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    kept = trained.head.probabilities(x)[np.arange(len(x)), wrong]
    assert -np.log(kept).mean() == pytest.approx(min(losses), rel=1e-3)


def test_without_validation_images_the_training_loss_decides():
    x, y = separable(100, 0)
    trained = train_head(x, y, x[:0], y[:0], 3, HeadTraining(epochs=2))
    assert "val_loss" not in trained.history[0]


def test_one_class_is_no_training():
    with pytest.raises(TrainingError, match="at least two"):
        train_head(np.zeros((5, 1280), np.float32), np.zeros(5, int), *separable(5, 0), 3,
                   HeadTraining())  # fmt: skip


def test_features_that_are_no_numbers_end_with_an_error():
    x, y = separable(64, 0)
    with pytest.raises(TrainingError, match="not a number"):
        train_head(x * np.nan, y, x, y, 3, HeadTraining(epochs=3))


def test_class_weights_make_every_class_count_alike():
    labels = np.array([0] * 80 + [1] * 15 + [3] * 5)
    weights = class_weights(labels, 4)
    assert weights[2] == 1.0
    totals = [weights[i] * count for i, count in ((0, 80), (1, 15), (3, 5))]
    assert totals == pytest.approx([100 / 3] * 3)


def test_ctrl_c_keeps_the_best_epoch_so_far():
    x, y = separable(200, 0)
    told = []

    def press(done: int, total: int, what: str) -> None:
        told.append(what)
        if len(told) == 2:  # told once an epoch, as 7 batches run at once: in the second one
            raise KeyboardInterrupt

    trained = train_head(x, y, x, y, 3, HeadTraining(), press)
    assert trained.interrupted
    assert len(trained.history) == 1
    kept = trained.head.probabilities(x)[np.arange(len(x)), y]
    assert -np.log(kept).mean() == pytest.approx(trained.history[0]["val_loss"], rel=1e-3)


def test_ctrl_c_before_the_first_epoch_leaves_nothing_to_keep():
    x, y = separable(64, 0)

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(TrainingError, match="before its first epoch"):
        train_head(x, y, x, y, 3, HeadTraining(), press)
