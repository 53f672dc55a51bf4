"""Every way a request can fail, with the status that it is answered by.

.. code-block:: text

    400 malformed      the body is not what the protocol asks for
    401 key            an API key is set, and the request does not show it
    403 forbidden      called by a host name, or from a web page, that is not allowed
    404 unknown model
    413 too large      more bytes, or more images, than are taken
    415 not an image   the content, or the body, is of no accepted kind
    422 broken         an image of an accepted kind that cannot be used, or a wrong parameter
    503 full, not ready, closing    come again later; with ``Retry-After``
    504 deadline       the time is over, and the work was dropped
"""

from __future__ import annotations

from typing import Any

from hematovision.errors import RequestError

__all__ = ["RETRY_AFTER", "STATUSES", "described", "headers_of", "problem_body", "status_of"]

RETRY_AFTER = 1
"""Seconds after which to come again: a full queue is worked off in less."""

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
    401: "An API key is needed.",
    403: "The host name or origin is not allowed.",
    404: "There is no such model.",
    413: "Too many bytes, or too many images.",
    415: "The content type is not supported.",
    422: "A damaged image, or an invalid parameter.",
    503: "Full, not ready or shutting down: retry after `Retry-After` seconds.",
    504: "The request timed out.",
}


def problem_body(message: str, request_id: str) -> dict[str, str]:
    """Return the body of a problem; ``error`` is the protocol's word."""
    return {"error": message, "request_id": request_id}


def status_of(problem: RequestError) -> int:
    """Return the status that a problem is answered by."""
    return STATUSES[problem.kind]


def headers_of(problem: RequestError) -> dict[str, str]:
    """Return the headers that go along with a problem."""
    if status_of(problem) == STATUSES["full"]:
        return {"Retry-After": str(RETRY_AFTER)}
    return {"WWW-Authenticate": "Bearer"} if problem.kind == "key" else {}


def described(body: Any) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of problems, whose body is of the model `body`."""
    return {status: {"description": text, "model": body} for status, text in _MEANINGS.items()}
