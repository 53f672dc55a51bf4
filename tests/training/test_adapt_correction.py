"""A correction is as large as the images justify, exact as layers, and blind to absent classes."""

import numpy as np
import pytest

from hematovision.model.head import Head
from hematovision.training.adapt_correction import (
    STRENGTHS,
    Correction,
    Examples,
    corrected,
    fit_correction,
)

WIDTH = 1280
SPREAD = np.full(WIDTH, 0.5)
ALIKE = np.ones(3)


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
    """It tells three classes by ten features each."""
    kernel = np.zeros((WIDTH, 3), np.float32)
    for label in range(3):
        kernel[10 * label : 10 * label + 10, label] = 1.0
    return Head(((kernel, np.zeros(3, np.float32)),))


def cells(labels: np.ndarray, signal_at: int, seed: int = 0, views: int = 1) -> np.ndarray:
    """Images whose class shows in ten features each, from `signal_at` on; views differ by noise."""
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


def test_a_lab_whose_cells_look_different_is_learnt(head):
    fitted = fit_correction(head, SPREAD, examples(LABELS, 500), ALIKE)
    assert accuracy(head, UNSEEN, 500) < 0.45  # a guess is right once in three
    assert accuracy(corrected(head, fitted.correction), UNSEEN, 500) > 0.7
    assert fitted.strength in STRENGTHS


def test_views_of_an_image_are_learnt_from_and_stay_on_one_side(head):
    one, four = (
        fit_correction(head, SPREAD, examples(LABELS, 500, views=views), ALIKE) for views in (1, 4)
    )
    assert accuracy(corrected(head, four.correction), UNSEEN, 500) > accuracy(
        corrected(head, one.correction), UNSEEN, 500
    )
    assert four.unseen_logits.shape == (60, 3)


def test_a_lab_that_the_head_knows_is_left_alone(head):
    proportions = np.array([90.0, 7.0, 3.0])
    sure = Head(tuple((kernel * 3, bias) for kernel, bias in head.layers))
    calibrated = sure.calibrated(1.0, np.log(proportions))
    fitted = fit_correction(calibrated, SPREAD, examples(LABELS, 0), proportions)
    assert fitted.strength is None
    assert not fitted.correction.kernel.any()
    assert not fitted.correction.bias.any()  # nor does it lean to frequent classes


def test_labels_without_meaning_are_not_learnt(head):
    nonsense = np.random.default_rng(5).permutation(LABELS)
    shown = Examples(
        cells(LABELS, 0), nonsense, tuple(f"field {i // 2}" for i in range(len(LABELS)))
    )
    fitted = fit_correction(head, SPREAD, shown, ALIKE)
    said = fitted.unseen_logits.argmax(axis=1)
    assert (said == nonsense).mean() < 0.5
    assert accuracy(corrected(head, fitted.correction), UNSEEN, 0) > 0.6


def test_the_unseen_logits_are_of_corrections_that_did_not_see_the_group(head):
    shown = examples(LABELS, 500)
    fitted = fit_correction(head, SPREAD, shown, ALIKE)
    rows = shown.features[:, 0]
    seen = corrected(head, fitted.correction).logits(rows)
    right = [(logits.argmax(axis=1) == LABELS).mean() for logits in (seen, fitted.unseen_logits)]
    assert right[0] == 1.0
    assert 0.6 < right[1] < 1.0


def test_a_class_without_images_keeps_its_logit(head):
    two = LABELS[LABELS < 2]
    correction = fit_correction(head, SPREAD, examples(two, 500), ALIKE).correction
    assert not correction.kernel[:, 2].any()
    assert correction.bias[2] == 0
    np.testing.assert_allclose(correction.kernel[:, :2].sum(axis=1), 0, atol=1e-9)


def test_a_correction_leans_to_the_classes_that_are_frequent_in_use(head):
    shown = examples(LABELS, 500)
    alike, natural = (
        fit_correction(head, SPREAD, shown, proportions).correction
        for proportions in (ALIKE, np.array([100.0, 4.0, 1.0]))
    )
    np.testing.assert_allclose(natural.kernel, alike.kernel, atol=1e-3)
    leaning = natural.bias - alike.bias
    assert leaning[0] - leaning[2] == pytest.approx(np.log(100), abs=0.05)
    assert leaning[0] - leaning[1] == pytest.approx(np.log(25), abs=0.05)


def test_twice_the_same_gives_the_same(head):
    one, two = (fit_correction(head, SPREAD, examples(LABELS, 500), ALIKE, 4) for _ in range(2))
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


def test_examples_can_be_taken_by_mask_and_position():
    shown = examples(LABELS, 0)
    assert shown.take(LABELS == 1).labels.tolist() == [1] * 20
    assert shown.take(np.array([5, 0])).groups == ("field 2", "field 0")
