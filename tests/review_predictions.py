"""Predictions as a model would give them, to record and review."""

import hashlib
from typing import Any

from hematovision.model.prediction import Prediction
from hematovision.review.records import ModelRef, NewPrediction

CLASSES = ("RBC", "WBC", "Platelets")
MODEL = ModelRef("three", hashlib.sha256(b"three").hexdigest(), CLASSES)
OTHER = ModelRef("two", hashlib.sha256(b"two").hexdigest(), ("a", "b"))


def png(text: object) -> bytes:
    """A stand-in for an image: it starts with the PNG signature and contains `text`."""
    return b"\x89PNG\r\n\x1a\n" + str(text).encode()


def predicted(label: str | None = "RBC", confidence: float = 0.6, **values: Any) -> Prediction:
    """A prediction of one of `CLASSES`, by default for review."""
    rest = (1 - confidence) / 2
    return Prediction(
        **{
            "path": "as/given.png",
            "classes": CLASSES,
            "label": label,
            "probabilities": tuple(confidence if c == label else rest for c in CLASSES),
            "confidence": confidence,
            "novelty": 1.0,
            "decision": "review",
            "reason": "low confidence",
            **values,
        }
    )


def new(
    key: object = "x", label: str = "RBC", confidence: float = 0.6, **values: Any
) -> NewPrediction:
    """A prediction for the image `key`, whose content is ``png(key)``."""
    content = values.pop("png", png(key))
    name = values.pop("name", f"{key}.png")
    sha256 = hashlib.sha256(str(key).encode()).hexdigest()
    return NewPrediction(name, sha256, predicted(label, confidence, **values), content)
