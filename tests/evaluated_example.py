"""Example predictions for the tests of metrics, reports and cards."""

from datetime import UTC, datetime

import numpy as np
import pytest

from hematovision.evaluation import TrainingSplit, evaluate
from hematovision.reporting.report import ReportFacts

CLASSES = ("RBC", "WBC", "Platelets")


@pytest.fixture(scope="session")
def predictions():
    """300 predictions, 12 of them wrong, in 30 fields of two labs: the arguments of `evaluate`."""
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1, 2], [200, 60, 40])
    predicted = labels.copy()
    predicted[[3, 50, 120, 180, 199]] = [1, 2, 2, 1, 2]
    predicted[[205, 230, 255]] = 0
    predicted[[262, 270, 281, 299]] = [0, 0, 1, 0]
    confidence = np.round(rng.uniform(0.55, 0.99, 300), 3)
    table = np.repeat((1 - confidence)[:, None] / 2, 3, axis=1)
    table[np.arange(300), predicted] = confidence
    sizes = np.array([70.0, 160, 35])[labels] + rng.normal(0, 4, 300)
    return {
        "labels": labels,
        "probabilities": table,
        "accepted": confidence > 0.7,
        "groups": [f"field-{i % 30:02d}" for i in range(300)],
        "labs": [("Basel", "Tehran")[i % 2] for i in range(300)],
        "boxes": np.column_stack([np.zeros((300, 2)), sizes, sizes]),
        "colours": np.array([[200.0, 150, 150], [150, 110, 170], [170, 130, 180]])[labels]
        + rng.normal(0, 15, (300, 3)),
    }


@pytest.fixture(scope="session")
def metrics(predictions):
    """The metrics of `predictions`, with baselines, groups and labs."""
    train = TrainingSplit(predictions["labels"], predictions["boxes"], predictions["colours"])
    return evaluate(classes=CLASSES, train=train, **predictions)


@pytest.fixture(scope="session")
def facts():
    """The contents of a report except the metrics."""
    return ReportFacts(
        title="Two hospitals",
        model="runs/first",
        dataset="cells",
        split="test",
        created=datetime(2025, 3, 1, 14, 30, tzinfo=UTC),
        split_sizes={"train": {"RBC": 1400, "WBC": 90, "Platelets": 80}, "test": {"RBC": 200}},
        details={"Seed": "0"},
    )


@pytest.fixture(scope="session")
def history():
    """Four epochs; the third is the best."""
    losses = [0.5, 0.3, 0.2, 0.35]
    return [
        {"epoch": i + 1, "loss": v, "accuracy": 1 - v, "val_loss": v + 0.1, "val_accuracy": 0.9 - v}
        for i, v in enumerate(losses)
    ]
