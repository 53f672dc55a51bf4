"""What a client receives: answers and problems, as the types of this package."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from hematovision.errors import RequestError
from hematovision.model.prediction import Prediction

__all__ = [
    "KINDS",
    "ServedModel",
    "json_object",
    "listed",
    "prediction_of",
    "problem_of",
    "served_model",
    "strange",
]

KINDS: Mapping[int, str] = {
    400: "malformed",
    401: "key",
    403: "forbidden",
    404: "unknown model",
    413: "too large",
    415: "not an image",
    422: "broken",
    503: "full",
    504: "deadline",
}
"""What `RequestError.kind` is for each status; ``"unreachable"`` where there was no answer, and
``"failed"`` for any other."""


@dataclass(frozen=True)
class ServedModel:
    """A model of a service.

    Parameters
    ----------
    name : str
    hash : str
        SHA-256 of its ONNX file.
    classes : tuple of str
    explains : bool
        Whether it can say where it looked.
    """

    name: str
    hash: str
    classes: tuple[str, ...]
    explains: bool


def json_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object, or raise `strange`."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise strange("no JSON") from error
    if not isinstance(value, dict):
        raise strange("no JSON object")
    return value


def listed(answer: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the list of objects at `key`, or raise `strange`."""
    value = answer.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise strange(f"no list {key!r}")
    return value


def served_model(value: dict[str, Any]) -> ServedModel:
    """Read what the service says of a model, or raise `strange`."""
    try:
        return ServedModel(value["name"], value["hash"], tuple(value["classes"]), value["explains"])
    except (KeyError, TypeError) as error:
        raise strange("no model") from error


def prediction_of(name: str, classes: tuple[str, ...], row: dict[str, Any]) -> Prediction:
    """Turn a row back into what `Prediction.row` made it of."""
    try:
        if row["decision"] == "refused":
            return Prediction.refused(name, classes, str(row["error"]))
        return Prediction(
            path=name,
            classes=classes,
            label=row["label"],
            probabilities=tuple(float(row[f"p_{one}"]) for one in classes),
            confidence=float(row["confidence"]),
            novelty=None if row["novelty"] is None else float(row["novelty"]),
            decision=row["decision"],
            reason=row["reason"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise strange(f"a row without {error}") from error


def problem_of(error: urllib.error.HTTPError) -> RequestError:
    """Return what the service said, or, where it was not the service, its status."""
    kind = KINDS.get(error.code, "failed")
    try:
        return RequestError(kind, str(json.loads(error.read(2**16))["error"]))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return RequestError(
            kind, f"{error.url} answered {error.code} {error.reason}. Is the address right?"
        )


def strange(what: str) -> RequestError:
    """Return the error about an answer that no HematoVision service gives."""
    return RequestError(
        "failed",
        f"The answer is not that of a HematoVision service: {what}. Check the address, and that "
        "service and client are of one version.",
    )
