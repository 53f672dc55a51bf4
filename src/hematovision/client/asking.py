"""The client itself: asking, coming again where it is told to, and giving up in good time."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from hematovision.client.answers import (
    ServedModel,
    json_object,
    listed,
    prediction_of,
    problem_of,
    served_model,
    strange,
)
from hematovision.client.sending import Item, batches, form
from hematovision.errors import RequestError
from hematovision.model.prediction import Prediction

__all__ = ["Client"]

_COME_AGAIN = 503
_LONGEST_WAIT = 30.0  # Seconds, whatever a service asks for.
_SURELY_TAKEN = 2**20  # Bytes that any service takes.
_LONGEST_ANSWER = 2**26  # Bytes.


class Client:
    """A service as seen from outside. Several threads may use one.

    Parameters
    ----------
    url : str
        Where it listens, for instance ``"http://127.0.0.1:8000"``.
    api_key : str, optional
        Shown with every request, if given.
    timeout : float
        Seconds to wait for each answer.
    retries : int
        How often to come again where a service is full, warms up or is about to end (503). It says
        itself after how long; at most 30 seconds are waited each time.

    Raises
    ------
    ValueError
        If `url` is no address of the web, or no header can carry the key.
    """

    def __init__(
        self, url: str, api_key: str | None = None, timeout: float = 30.0, *, retries: int = 5
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"`url` must be like 'http://127.0.0.1:8000'. Received: {url!r}")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self._headers = {} if api_key is None else {"Authorization": _shown(api_key)}
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ready(self) -> bool:
        """Tell whether the service takes requests; False, too, where nobody answers."""
        try:
            self._ask("/v2/health/ready", retries=0)
        except RequestError:
            return False
        return True

    def models(self) -> list[ServedModel]:
        """List the models; the first one answers where none is asked for.

        Raises
        ------
        RequestError
            If the service cannot be reached, wants a key, or is no HematoVision.
        """
        return [served_model(one) for one in listed(self._ask("/v1/models"), "models")]

    def classify(
        self, images: str | Path | bytes | Iterable[str | Path | bytes], model: str | None = None
    ) -> list[Prediction]:
        """Answer for images as `Classifier.predict` does, by the service.

        Parameters
        ----------
        images : path, bytes, or iterable of them
            Image files, or the contents of some. One that cannot be read or used is answered with
            the decision ``"refused"``; the others go on. Names of files are not sent.
        model : str, optional
            One of `models`; by default the first.

        Returns
        -------
        list of Prediction
            In the order of `images`; ``path`` is the path as it was given, or ``"image 0"``.

        Raises
        ------
        RequestError
            If a request is not answered: see `KINDS`.
        """
        given = [images] if isinstance(images, str | Path | bytes) else images
        return [one for batch in batches(given) for one in self._classify(batch, model)]

    def _classify(self, batch: list[Item], model: str | None) -> list[Prediction]:
        sent = [one.content for one in batch if one.content is not None]
        classes, rows = self._rows(sent, model) if sent else (self._classes(model), iter(()))
        return [
            Prediction.refused(one.name, classes, one.reason)
            if one.content is None
            else prediction_of(one.name, classes, next(rows))
            for one in batch
        ]

    def _rows(
        self, contents: list[bytes], model: str | None
    ) -> tuple[tuple[str, ...], Iterator[dict[str, Any]]]:
        query = {"lenient": "true"} | ({} if model is None else {"model": model})
        body, kind = form(contents)
        answer = self._ask(f"/v1/classify?{urlencode(query)}", body, kind)
        rows = listed(answer, "rows")
        if len(rows) != len(contents):
            raise strange(f"{len(rows)} rows for {len(contents)} images")
        return served_model(answer.get("model", {})).classes, iter(rows)

    def _classes(self, model: str | None) -> tuple[str, ...]:
        for one in self.models():
            if model in (None, one.name):
                return one.classes
        raise RequestError("unknown model", f"{self.url} has no model {model!r}.")

    def _ask(
        self,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        retries: int | None = None,
    ) -> dict[str, Any]:
        left = self.retries if retries is None else retries
        headers = self._headers | ({} if body is None else {"Content-Type": kind})
        while True:
            request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310 - see __init__
            try:
                with self._opener.open(request, timeout=self.timeout) as answer:
                    return json_object(answer.read(_LONGEST_ANSWER))
            except urllib.error.HTTPError as error:
                with error:
                    wait, problem = _seconds(error.headers), problem_of(error)
                if error.code != _COME_AGAIN or left <= 0:
                    raise problem from error
            except (OSError, HTTPException) as error:
                raise self._unanswered(error, len(body or b"")) from error
            left -= 1
            time.sleep(wait)

    def _unanswered(self, error: Exception, size: int) -> RequestError:
        reason = getattr(error, "reason", error)
        if size > _SURELY_TAKEN and isinstance(reason, ConnectionError):
            return RequestError(
                "too large",
                f"{self.url} closed the connection while {size:,} bytes were sent; perhaps "
                "its limit is lower (option --max-bytes). Send smaller images.",
            )
        return RequestError(
            "unreachable",
            f"There was no answer from {self.url} within {self.timeout:g} seconds: {reason}. Is "
            "the service running there (`hematovision serve`), and is the address right?",
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Images and keys go where they were sent, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none: the answer becomes an `HTTPError`."""


def _shown(api_key: str) -> str:
    """Return the key as a header; urllib writes it in Latin-1, so that UTF-8 goes out."""
    if not api_key.strip() or not api_key.isprintable():
        raise ValueError(
            "`api_key` must not be empty or have line breaks; leave it out for a service without "
            f"one. Received: {len(api_key)} characters"
        )
    return f"Bearer {api_key}".encode().decode("latin-1")


def _seconds(headers: Message) -> float:
    """Return after how long to come again."""
    text = headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else 1.0
