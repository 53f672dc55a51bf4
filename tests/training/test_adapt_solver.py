"""The solver finds the minimum, and what is pulled harder stays nearer to nothing."""

import numpy as np
import pytest

from hematovision.training.adapt_solver import STRENGTHS, Problem, solutions


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 3], (30, 20, 10))
    rows = rng.normal(0, 0.3, (60, 5))
    rows[np.arange(60), labels] += 0.5
    return Problem(rows, rng.normal(0, 1, (60, 4)), labels)


def test_every_class_counts_alike(problem: Problem):
    shares = problem.shares()
    assert [shares[problem.labels == i].sum() for i in (0, 1, 3)] == pytest.approx([1 / 3] * 3)


def test_the_weaker_the_pull_the_further_it_goes_and_the_lower_the_loss(problem: Problem):
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
    # A class without images takes no part: its logit is left out of the softmax.
    present = [0, 1, 3]

    def objective(moved: np.ndarray) -> float:
        logits = problem.logits(moved, bias)
        logits[:, 2] = -np.inf
        pulled = float((moved[:, present] ** 2).sum())
        with np.errstate(invalid="ignore"):
            return problem.loss(logits) + strength / 2 * pulled

    least = objective(weights)
    rng = np.random.default_rng(1)
    for _ in range(20):
        step = rng.normal(0, 0.05, weights.shape)
        step[:, 2] = 0
        assert objective(weights + step) > least


def test_a_class_without_images_is_left_alone(problem: Problem):
    for weights, bias in solutions(problem):
        assert not weights[:, 2].any()
        assert bias[2] == 0
        np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-12)
