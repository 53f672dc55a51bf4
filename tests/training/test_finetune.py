"""Fine-tuning moves what it is told to move, for several tasks at once, and can go on."""

from dataclasses import replace

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.errors import TrainingError
from hematovision.model.weights import BackboneWeights
from hematovision.training.batches import TaskBatches, class_balanced, steps_per_epoch
from hematovision.training.finetune import FineTuning, Task, fine_tune

QUICK = FineTuning(blocks=1, epochs=2, batch_size=8, samples_per_epoch=16)


@pytest.fixture(scope="module")
def tasks(phantoms: Dataset) -> tuple[Task, Task]:
    train, valid = phantoms.part("train"), phantoms.part("valid")
    cells = Task(
        "cells",
        3,
        [s.path for s in train],
        train.labels,
        valid_paths=[s.path for s in valid],
        valid_labels=valid.labels,
    )
    white = Task(
        "white", 2, [s.path for s in train], (train.labels == 1).astype(np.int64), share=0.5
    )
    return cells, white


def test_two_tasks_share_a_backbone_and_only_its_open_blocks_move(
    tasks: tuple[Task, Task], weights: BackboneWeights
):
    tuned = fine_tune(tasks, weights, QUICK)
    assert {name: head.n_classes for name, head in tuned.heads.items()} == {"cells": 3, "white": 2}
    changed = {
        name
        for name, array in weights.arrays.items()
        if (array != tuned.weights.arrays[name]).any()
    }
    assert "block_16_project/kernel" in changed
    assert all(name.startswith(("block_16", "Conv_1/")) for name in changed)
    assert not any(name.endswith(("gamma", "beta", "moving_mean")) for name in changed)
    assert [row["epoch"] for row in tuned.history] == [1, 2]
    assert {"loss", "val_loss"} <= set(tuned.history[0])


def test_the_same_seed_gives_the_same_weights(tasks: tuple[Task, Task], weights: BackboneWeights):
    one, again = (fine_tune(tasks[:1], weights, replace(QUICK, epochs=1)) for _ in range(2))
    assert one.weights.sha256 == again.weights.sha256 != weights.sha256


def test_a_single_task_has_the_curves_that_a_report_draws(
    tasks: tuple[Task, Task], weights: BackboneWeights
):
    tuned = fine_tune(tasks[:1], weights, replace(QUICK, epochs=1))
    assert set(tuned.history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_a_killed_run_goes_on_after_its_last_epoch(
    tasks: tuple[Task, Task], weights: BackboneWeights, tmp_path
):
    seen = []

    class KilledError(Exception):
        pass

    def kill(done: int, total: int, what: str) -> None:
        seen.append(done)
        if done == 3:  # the first batch of the second epoch
            raise KilledError

    with pytest.raises(KilledError):
        fine_tune(tasks[:1], weights, QUICK, checkpoint=tmp_path / "kept", progress=kill)
    resumed = fine_tune(tasks[:1], weights, QUICK, checkpoint=tmp_path / "kept")
    assert [row["epoch"] for row in resumed.history] == [2]
    assert resumed.weights.sha256 != weights.sha256


def test_ctrl_c_keeps_the_best_epoch_so_far(tasks: tuple[Task, Task], weights: BackboneWeights):
    def press(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    tuned = fine_tune(tasks[:1], weights, QUICK, progress=press)
    assert tuned.interrupted
    assert len(tuned.history) == 1


def test_a_task_without_images_or_with_too_few_labels_is_refused(
    tasks: tuple[Task, Task], weights: BackboneWeights
):
    for broken in (replace(tasks[0], paths=[]), replace(tasks[0], labels=np.zeros(2, int))):
        with pytest.raises(TrainingError, match="'cells'"):
            fine_tune([broken], weights, QUICK)


def test_task_names_must_not_begin_with_one_another(
    tasks: tuple[Task, Task], weights: BackboneWeights
):
    other = replace(tasks[1], name="cells_2")
    with pytest.raises(TrainingError, match="cells_2"):
        fine_tune([tasks[0], other], weights, QUICK)


def test_batches_are_drawn_by_seed_epoch_and_number_alone(tasks: tuple[Task, Task]):
    one, again = TaskBatches.training(tasks, QUICK), TaskBatches.training(tasks, QUICK)
    np.testing.assert_array_equal(one[1][0], again[1][0])
    before = one[1][0]
    one.follow(1)
    one.on_epoch_begin()
    assert (one[1][0] != before).any()


def test_an_image_counts_in_its_own_task_only(tasks: tuple[Task, Task]):
    pixels, targets, weights = TaskBatches.training(tasks, QUICK)[0]
    assert pixels.shape == (8, 64, 64, 3)
    np.testing.assert_array_equal(weights["cells"] + weights["white"], np.ones(8))
    for name in ("cells", "white"):
        np.testing.assert_allclose(targets[name].sum(axis=1), 1, rtol=1e-6)
        assert set(targets[name][weights[name] == 1].max(axis=1)) <= {1.0}


def test_validation_sees_every_image_once_and_unchanged(tasks: tuple[Task, Task]):
    batches = TaskBatches.validation(tasks, QUICK)
    labels = np.concatenate([batches[i][1]["cells"].argmax(axis=1) for i in range(len(batches))])
    assert labels.tolist() == tasks[0].valid_labels.tolist()
    np.testing.assert_array_equal(batches[0][0], batches[0][0])


def test_classes_are_drawn_alike_however_many_images_they_have():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    frequency = class_balanced(labels)
    assert [frequency[labels == i].sum() for i in range(3)] == pytest.approx([1, 1, 1])


def test_an_epoch_has_every_image_unless_told_otherwise(tasks: tuple[Task, Task]):
    images = sum(len(task.paths) for task in tasks)
    assert steps_per_epoch(tasks, replace(QUICK, samples_per_epoch=None)) == -(-images // 8)
    assert steps_per_epoch(tasks, QUICK) == 2
