"""The kinds of failed requests, with their HTTP statuses.

.. code-block:: text

    400 malformed      the body does not follow the protocol
    401 key            the request does not have the API key
    403 forbidden      the host name or the origin is not allowed
    404 unknown model
    413 too large      more bytes, or more images, than the limit
    415 not an image   the type of the image or body is not supported
    422 broken         a damaged image of a supported type, or a wrong parameter
    503 full, not ready, closing    try again later; with ``Retry-After``
    504 deadline       the request timed out, and the work was dropped
"""

from __future__ import annotations

import math
from typing import Any

from hematovision.errors import ImageError, NotAnImageError, RequestError

__all__ = [
    "LATEST", "SOONEST", "STATUSES", "described", "headers_of", "kind_of", "problem_body",
    "status_of",
]  # fmt: skip

SOONEST, LATEST = 1, 30
"""Limits of ``Retry-After`` in seconds. Cells are classified in less, a queue of fields is not."""

STATUSES = {
    "malformed": 400,
    "key": 401,
    "forbidden": 403,
    "unknown model": 404,
    "too large": 413,
    "not an image": 415,
    "broken": 422,
    "closing": 503,
    "full": 503,
    "not ready": 503,
    "deadline": 504,
}
"""The status of each kind of problem."""

_MEANINGS = {
    400: "The request body is invalid.",
    401: "An API key is required.",
    403: "The host name or origin is not allowed.",
    404: "There is no such model.",
    413: "Too many bytes, or too many images.",
    415: "The content type is not supported.",
    422: "A damaged image, or an invalid parameter.",
    503: "Full, not ready or shutting down: retry after `Retry-After` seconds.",
    504: "The request timed out.",
}


def problem_body(message: str, request_id: str) -> dict[str, str]:
    """Return the body of the response; ``error`` is the protocol's key."""
    return {"error": message, "request_id": request_id}


def status_of(problem: RequestError) -> int:
    """Return the status of the response."""
    return STATUSES[problem.kind]


def kind_of(error: ImageError) -> str:
    """Return the kind of problem for an unreadable image."""
    return "not an image" if isinstance(error, NotAnImageError) else "broken"


def headers_of(problem: RequestError, seconds: float = 0.0) -> dict[str, str]:
    """Return the additional headers of the response; `seconds` is how long the queue will take."""
    if status_of(problem) == STATUSES["full"]:
        return {"Retry-After": str(min(max(math.ceil(seconds), SOONEST), LATEST))}
    return {"WWW-Authenticate": "Bearer"} if problem.kind == "key" else {}


def described(body: Any) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of all error responses, with the body model `body`."""
    return {status: {"description": text, "model": body} for status, text in _MEANINGS.items()}
