"""Corrections of a head: how large they are, as layers, their solver and their folds."""

import numpy as np
import pytest

from hematovision.errors import TrainingError
from hematovision.model.head import Head
from hematovision.training.correction import (
    STRENGTHS,
    Correction,
    Examples,
    Problem,
    corrected,
    fit_correction,
    group_folds,
    solutions,
)

WIDTH = 1280
SPREAD = np.full(WIDTH, 0.5)
UNIFORM = np.ones(3)


def random_head(*units: int, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    widths = (WIDTH, *units)
    return Head(
        tuple(
            (rng.normal(0, 1 / np.sqrt(a), (a, b)), rng.normal(0, 0.1, b))
            for a, b in zip(widths, units, strict=False)
        )
    )


@pytest.fixture(scope="module")
def head() -> Head:
    """Three classes, each marked by ten features."""
    kernel = np.zeros((WIDTH, 3), np.float32)
    for label in range(3):
        kernel[10 * label : 10 * label + 10, label] = 1.0
    return Head(((kernel, np.zeros(3, np.float32)),))


def cells(labels: np.ndarray, signal_at: int, seed: int = 0, views: int = 1) -> np.ndarray:
    """Images whose class is marked by ten features from `signal_at`; views differ by noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(1, 0.5, (len(labels), views, WIDTH))
    for i, label in enumerate(labels):
        at = signal_at + 10 * label
        features[i, :, at : at + 10] += 1.0
    return features.astype(np.float32)


def examples(labels: np.ndarray, signal_at: int, **options: int) -> Examples:
    groups = tuple(f"field {i // 2}" for i in range(len(labels)))
    return Examples(cells(labels, signal_at, **options), labels, groups)


LABELS = np.tile([0, 1, 2], 20)
UNSEEN = np.tile([0, 1, 2], 200)


def accuracy(head: Head, labels: np.ndarray, signal_at: int) -> float:
    rows = cells(labels, signal_at, seed=9)[:, 0]
    return float((head.logits(rows).argmax(axis=1) == labels).mean())


def test_the_correction_fits_a_lab_whose_cells_look_different(head):
    fitted = fit_correction(head, SPREAD, examples(LABELS, 500), UNIFORM)
    assert accuracy(head, UNSEEN, 500) < 0.45  # a guess is right once in three
    assert accuracy(corrected(head, fitted.correction), UNSEEN, 500) > 0.7
    assert fitted.strength in STRENGTHS


def test_more_views_help_and_stay_in_one_fold(head):
    one, four = (
        fit_correction(head, SPREAD, examples(LABELS, 500, views=views), UNIFORM)
        for views in (1, 4)
    )
    assert accuracy(corrected(head, four.correction), UNSEEN, 500) > accuracy(
        corrected(head, one.correction), UNSEEN, 500
    )
    assert four.unseen_logits.shape == (60, 3)


def test_there_is_no_correction_if_the_head_is_already_right(head):
    proportions = np.array([90.0, 7.0, 3.0])
    sure = Head(tuple((kernel * 3, bias) for kernel, bias in head.layers))
    calibrated = sure.calibrated(1.0, np.log(proportions))
    fitted = fit_correction(calibrated, SPREAD, examples(LABELS, 0), proportions)
    assert fitted.strength is None
    assert not fitted.correction.kernel.any()
    assert not fitted.correction.bias.any()  # not even for frequent classes


def test_random_labels_give_almost_no_correction(head):
    random = np.random.default_rng(5).permutation(LABELS)
    given = Examples(cells(LABELS, 0), random, tuple(f"field {i // 2}" for i in range(len(LABELS))))
    fitted = fit_correction(head, SPREAD, given, UNIFORM)
    predicted = fitted.unseen_logits.argmax(axis=1)
    assert (predicted == random).mean() < 0.5
    assert accuracy(corrected(head, fitted.correction), UNSEEN, 0) > 0.6


def test_out_of_fold_logits_come_from_corrections_without_the_group(head):
    given = examples(LABELS, 500)
    fitted = fit_correction(head, SPREAD, given, UNIFORM)
    rows = given.features[:, 0]
    seen = corrected(head, fitted.correction).logits(rows)
    right = [(logits.argmax(axis=1) == LABELS).mean() for logits in (seen, fitted.unseen_logits)]
    assert right[0] == 1.0
    assert 0.6 < right[1] < 1.0


def test_a_class_without_images_keeps_its_logit(head):
    two = LABELS[LABELS < 2]
    correction = fit_correction(head, SPREAD, examples(two, 500), UNIFORM).correction
    assert not correction.kernel[:, 2].any()
    assert correction.bias[2] == 0
    np.testing.assert_allclose(correction.kernel[:, :2].sum(axis=1), 0, atol=1e-9)


def test_a_correction_favours_classes_that_are_frequent_in_use(head):
    given = examples(LABELS, 500)
    uniform, natural = (
        fit_correction(head, SPREAD, given, proportions).correction
        for proportions in (UNIFORM, np.array([100.0, 4.0, 1.0]))
    )
    np.testing.assert_allclose(natural.kernel, uniform.kernel, atol=1e-3)
    favoured = natural.bias - uniform.bias
    assert favoured[0] - favoured[2] == pytest.approx(np.log(100), abs=0.05)
    assert favoured[0] - favoured[1] == pytest.approx(np.log(25), abs=0.05)


def test_the_correction_is_deterministic(head):
    one, two = (fit_correction(head, SPREAD, examples(LABELS, 500), UNIFORM, 4) for _ in range(2))
    np.testing.assert_array_equal(one.correction.kernel, two.correction.kernel)


@pytest.mark.parametrize("units", [(3,), (128, 3), (64, 32, 3)])
def test_layers_add_the_correction_to_the_logits(units):
    head = random_head(*units)
    rng = np.random.default_rng(1)
    correction = Correction(rng.normal(0, 0.05, (WIDTH, 3)), rng.normal(size=3))
    rows = rng.uniform(0, 2, (7, WIDTH)).astype(np.float32)
    wanted = head.logits(rows) + rows @ correction.kernel + correction.bias
    found = corrected(head, correction)
    np.testing.assert_allclose(found.logits(rows), wanted, atol=1e-4)
    assert [bias.shape[0] for _, bias in found.layers] == [*(u + 6 for u in units[:-1]), 3]


def test_examples_are_selected_by_mask_and_position():
    given = examples(LABELS, 0)
    assert given.take(LABELS == 1).labels.tolist() == [1] * 20
    assert given.take(np.array([5, 0])).groups == ("field 2", "field 0")


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 3], (30, 20, 10))
    rows = rng.normal(0, 0.3, (60, 5))
    rows[np.arange(60), labels] += 0.5
    return Problem(rows, rng.normal(0, 1, (60, 4)), labels)


def test_every_class_has_the_same_weight(problem: Problem):
    shares = problem.shares()
    assert [shares[problem.labels == i].sum() for i in (0, 1, 3)] == pytest.approx([1 / 3] * 3)


def test_a_weaker_penalty_gives_a_larger_correction_and_a_lower_loss(problem: Problem):
    found = solutions(problem)
    assert len(found) == len(STRENGTHS)
    sizes = [float(np.linalg.norm(weights)) for weights, _ in found]
    losses = [problem.loss(problem.logits(*solution)) for solution in found]
    assert sizes == sorted(sizes)
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < problem.loss(problem.offsets)


def test_no_step_from_the_solution_is_better(problem: Problem):
    strength = STRENGTHS[1]
    weights, bias = solutions(problem, strength)[-1]
    # The logit of a class without images is left out of the softmax.
    present = [0, 1, 3]

    def objective(moved: np.ndarray) -> float:
        logits = problem.logits(moved, bias)
        logits[:, 2] = -np.inf
        penalty = float((moved[:, present] ** 2).sum())
        with np.errstate(invalid="ignore"):
            return problem.loss(logits) + strength / 2 * penalty

    least = objective(weights)
    rng = np.random.default_rng(1)
    for _ in range(20):
        step = rng.normal(0, 0.05, weights.shape)
        step[:, 2] = 0
        assert objective(weights + step) > least


def test_a_class_without_images_gets_no_correction(problem: Problem):
    for weights, bias in solutions(problem):
        assert not weights[:, 2].any()
        assert bias[2] == 0
        np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-12)


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([0] * 60 + [1] * 10 + [2] * 5)


def test_no_group_is_in_two_folds(labels):
    groups = [f"field {i % 20}" for i in range(len(labels))]
    folds = group_folds(labels, groups, 5)
    sides = {(group, fold) for group, fold in zip(groups, folds, strict=True)}
    assert len(sides) == 20
    assert set(folds) == {0, 1, 2, 3, 4}


def test_each_class_is_spread_evenly_over_the_folds(labels):
    folds = group_folds(labels, [str(i) for i in range(len(labels))], 5)
    for label, each in ((0, 12), (1, 2), (2, 1)):
        assert np.bincount(folds[labels == label], minlength=5).tolist() == [each] * 5


def test_a_large_group_does_not_attract_groups_of_its_class():
    labels = np.array([0] * 6 + [1] * 10)
    groups = ["a"] * 4 + ["b", "c"] + [str(i) for i in range(10)]
    folds = group_folds(labels, groups, 3)
    assert len({folds[0], folds[4], folds[5]}) == 3


def test_the_order_of_the_images_does_not_matter(labels):
    groups = np.array([f"field {i % 20}" for i in range(len(labels))])
    order = np.random.default_rng(1).permutation(len(labels))
    straight = group_folds(labels, groups, 4, seed=3)
    np.testing.assert_array_equal(group_folds(labels[order], groups[order], 4, 3), straight[order])


def test_there_are_no_more_folds_than_groups():
    assert sorted(group_folds(np.array([0, 1, 0]), ["a", "b", "c"], 5)) == [0, 1, 2]


def test_one_group_cannot_be_split():
    with pytest.raises(TrainingError, match=r"All 3 images are in one group \(field\)"):
        group_folds(np.array([0, 1, 0]), ["field"] * 3, 5)
