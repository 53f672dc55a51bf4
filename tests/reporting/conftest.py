"""Fixtures: example predictions and their metrics."""

from evaluated_example import facts, history, metrics, predictions

__all__ = ["facts", "history", "metrics", "predictions"]
