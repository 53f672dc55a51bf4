"""A Python client for the HTTP server; needs only the core dependencies."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from hematovision.errors import ImageError, RequestError, UnreadableFileError
from hematovision.fields.analysis import FieldAnalyses, FieldAnalysis
from hematovision.fields.edges import EdgeRule
from hematovision.fields.rows import CellRow, FieldRow
from hematovision.images import encode_png
from hematovision.model.inference import Item
from hematovision.model.inputs import ImageInputs, items
from hematovision.model.prediction import Prediction
from hematovision.model.predictions import Predictions
from hematovision.plurals import counted

__all__ = ["KINDS", "Client", "ServedModel"]

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
"""`RequestError.kind` for each status; ``"unreachable"`` without a response, otherwise
``"failed"``."""

_TRY_AGAIN = 503
_LONGEST_WAIT = 30.0  # seconds, even if the server asks for more
_ALWAYS_ACCEPTED = 2**20  # bytes that any server accepts
_LONGEST_RESPONSE = 2**26  # bytes
_BATCH = 16  # files per request: enough to keep every server thread busy
_FIELDS = 4  # fields per request: within the server's deadline
_BATCH_BYTES = 2**23  # per request, unless a single file is larger; a server accepts 2**25


@dataclass(frozen=True)
class ServedModel:
    """A model on a server.

    Parameters
    ----------
    name : str
        The name to pass as `model`.
    hash : str
        SHA-256 of the ONNX file.
    classes : tuple of str
        In the order of the probabilities.
    explains : bool
        Whether the model can return explanation maps.
    task : str
        ``"classification"``, or ``"detection"`` for `Client.analyze`.

    Examples
    --------
    Here `url` is the address of a server.

    >>> import hematovision
    >>> model = hematovision.Client(url).models()[0]
    >>> model.name, model.classes, model.task
    ('rbc-wbc-platelets', ('RBC', 'WBC', 'Platelets'), 'classification')
    """

    name: str
    hash: str
    classes: tuple[str, ...]
    explains: bool
    task: str = "classification"


class Client:
    """A client for one server; safe to share between threads.

    Parameters
    ----------
    url : str
        The server's address, such as ``"http://127.0.0.1:8000"``.
    api_key : str, optional
        Sent with every request.
    timeout : float
        Request timeout in seconds.
    retries : int
        Number of retries if the server is full, starting up or shutting down (503). The server
        sets the delay, which is limited to 30 seconds.

    Raises
    ------
    ValueError
        If `url` is not an HTTP address, or the key is not valid in a header.

    Examples
    --------
    Here `url` is the address of a server, such as ``"http://127.0.0.1:8000"``.

    >>> import hematovision
    >>> client = hematovision.Client(url)
    >>> client.ready()
    True
    >>> client.classify(["cell.png", "cells/Test/RBC/cell0.png"]).labels
    ('WBC', 'RBC')
    >>> client.analyze("field.png").counts
    {'RBC': 35, 'WBC': 1, 'Platelets': 3}
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
        self._headers = {} if api_key is None else {"Authorization": _bearer(api_key)}
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def ready(self) -> bool:
        """Return whether the server is reachable and accepts requests."""
        try:
            self._request("/v2/health/ready", retries=0)
        except RequestError:
            return False
        return True

    def models(self) -> list[ServedModel]:
        """List the models; the first is the default.

        Raises
        ------
        RequestError
            If the server cannot be reached, requires a key, or is not a HematoVision server.
        """
        return [_served_model(one) for one in _objects(self._request("/v1/models"), "models")]

    def classify(self, images: ImageInputs, model: str | None = None) -> Predictions:
        """Classify images on the server; the results are those of `Classifier.predict`.

        Parameters
        ----------
        images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
            As for `Classifier.predict`. An unreadable file gets the decision ``"refused"``;
            the rest are processed normally. File names are not sent.
        model : str, optional
            One of `models`; by default the first.

        Returns
        -------
        Predictions
            In the order of `images`; ``path`` is the path as given, or ``"image 0"`` for bytes.

        Raises
        ------
        RequestError
            If a request fails: see `KINDS`.
        """
        found = [one for batch in _batches(images) for one in self._classify(batch, model)]
        return Predictions(found, found[0].classes if found else self._classes(model))

    def analyze(
        self,
        images: ImageInputs,
        model: str | None = None,
        *,
        edges: EdgeRule = "two",
        rbc_diameter: float | None = None,
        um_per_px: float | None = None,
    ) -> FieldAnalyses:
        """Find, classify and count the cells of fields on the server.

        Parameters
        ----------
        images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
            As for `Classifier.predict`. An unreadable file has a `FieldRow` with an ``error``;
            the rest are processed normally. File names are not sent.
        model : str, optional
            A detector of `models`; by default the first.
        edges : {"two", "inside", "all"}
            Which cells at the border count: those at the top and left, none, or all.
        rbc_diameter, um_per_px : float, optional
            Width of a red cell in pixels, or micrometres per pixel, instead of the measured scale.

        Returns
        -------
        FieldAnalyses
            In the order of `images`; ``image`` is the path as given, or ``"image 0"`` for bytes.

        Raises
        ------
        RequestError
            If a request fails: see `KINDS`.
        """
        options = {"model": model, "rbc_diameter": rbc_diameter, "um_per_px": um_per_px}
        query = {"lenient": "true", "edges": edges}
        query |= {name: str(value) for name, value in options.items() if value is not None}
        batches = _batches(images, _FIELDS)
        return FieldAnalyses(one for batch in batches for one in self._analyze(batch, query))

    def _analyze(self, batch: list[Item], query: Mapping[str, str]) -> list[FieldAnalysis]:
        sent = [one.source for one in batch if isinstance(one.source, bytes)]
        found = iter(self._fields(sent, query) if sent else ())
        return [
            FieldAnalysis(FieldRow.unreadable(name, source.reason))
            if isinstance(source, ImageError)
            else _renamed(next(found), name)
            for name, source in batch
        ]

    def _fields(self, contents: list[bytes], query: Mapping[str, str]) -> list[FieldAnalysis]:
        body, kind = _form(contents)
        response = self._request(f"/v1/analyze?{urlencode(query)}", body, kind)
        try:
            fields = [FieldRow.from_values(row) for row in _objects(response, "fields")]
            cells = [CellRow.from_values(row) for row in _objects(response, "cells")]
        except (KeyError, TypeError, ValueError) as error:
            raise _unexpected(f"a row is neither a field nor a cell: {error}") from error
        if [row.image for row in fields] != [str(i) for i in range(len(contents))]:
            raise _unexpected(f"{counted(len(fields), 'field')} for {len(contents)}")
        by_image: dict[str, list[CellRow]] = {row.image: [] for row in fields}
        for cell in cells:
            by_image.setdefault(cell.image, []).append(cell)
        return [FieldAnalysis(row, tuple(by_image[row.image])) for row in fields]

    def _classify(self, batch: list[Item], model: str | None) -> list[Prediction]:
        sent = [one.source for one in batch if isinstance(one.source, bytes)]
        classes, rows = self._rows(sent, model) if sent else (self._classes(model), iter(()))
        return [
            Prediction.refused(name, classes, source.reason)
            if isinstance(source, ImageError)
            else _prediction(next(rows), name, classes)
            for name, source in batch
        ]

    def _rows(
        self, contents: list[bytes], model: str | None
    ) -> tuple[tuple[str, ...], Iterator[dict[str, Any]]]:
        query = {"lenient": "true"} | ({} if model is None else {"model": model})
        body, kind = _form(contents)
        response = self._request(f"/v1/classify?{urlencode(query)}", body, kind)
        rows = _objects(response, "rows")
        if len(rows) != len(contents):
            raise _unexpected(f"{counted(len(rows), 'row')} for {counted(len(contents), 'image')}")
        return _served_model(response.get("model", {})).classes, iter(rows)

    def _classes(self, model: str | None) -> tuple[str, ...]:
        for one in self.models():
            if model in (None, one.name):
                return one.classes
        raise RequestError("unknown model", f"{self.url} has no model {model!r}.")

    def _request(
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
                with self._opener.open(request, timeout=self.timeout) as response:
                    return _json_object(response.read(_LONGEST_RESPONSE))
            except urllib.error.HTTPError as error:
                with error:
                    wait, problem = _seconds(error.headers), _problem(error)
                if error.code != _TRY_AGAIN or left <= 0:
                    raise problem from error
            except (OSError, HTTPException) as error:
                raise self._unreachable(error, len(body or b"")) from error
            left -= 1
            time.sleep(wait)

    def _unreachable(self, error: Exception, size: int) -> RequestError:
        reason = getattr(error, "reason", error)
        if size > _ALWAYS_ACCEPTED and isinstance(reason, ConnectionError):
            return RequestError(
                "too large",
                f"{self.url} closed the connection while {size:,} bytes were being sent; its "
                "limit may be lower (option --max-bytes). Send smaller images.",
            )
        return RequestError(
            "unreachable",
            f"No response from {self.url} within {self.timeout:g} seconds: {reason}. Check that "
            "the server is running (`hematovision serve`) and that the address is right.",
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keeps images and keys from being sent to another address."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect: the response becomes an `HTTPError`."""


def _batches(images: ImageInputs, most: int = _BATCH) -> Iterator[list[Item]]:
    """Read images lazily, and group them by request."""
    batch: list[Item] = []
    size = 0
    for item in map(_read, items(images)):
        length = len(item.source) if isinstance(item.source, bytes) else 0
        if batch and (len(batch) == most or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _renamed(found: FieldAnalysis, name: str) -> FieldAnalysis:
    cells = tuple(replace(cell, image=name) for cell in found.cells)
    return FieldAnalysis(replace(found.field, image=name), cells)


def _read(item: Item) -> Item:
    """Read a file, or encode an array as PNG."""
    name, source = item
    if isinstance(source, np.ndarray):
        return Item(name, encode_png(source))
    if not isinstance(source, str | Path):
        return item
    path = Path(source)
    try:
        if path.exists() and not path.is_file():
            return Item(name, ImageError(name, "it is not a file. Give the path of an image file."))
        return Item(name, path.read_bytes())
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        return Item(
            name,
            UnreadableFileError(
                name, f"the file cannot be read: {reason}. Check its path and permissions."
            ),
        )


def _form(contents: list[bytes]) -> tuple[bytes, str]:
    """Return a multipart form and its content type."""
    boundary = uuid.uuid4().hex
    parts = []
    for i, content in enumerate(contents):
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{i}"\r\n\r\n'
        )
        parts += [head.encode(), content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _bearer(api_key: str) -> str:
    """Return the header's value, which urllib encodes as Latin-1 so that UTF-8 is sent."""
    if not api_key.strip() or not api_key.isprintable():
        raise ValueError(
            "`api_key` must not be empty or contain line breaks; omit it if the server needs no "
            f"key. Received: {len(api_key)} characters"
        )
    return f"Bearer {api_key}".encode().decode("latin-1")


def _seconds(headers: Message) -> float:
    """Return the number of seconds until the next attempt."""
    text = headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else 1.0


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise _unexpected("no JSON") from error
    if not isinstance(value, dict):
        raise _unexpected("not a JSON object")
    return value


def _objects(response: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the list of objects at `key`."""
    value = response.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _unexpected(f"no list {key!r}")
    return value


def _served_model(value: dict[str, Any]) -> ServedModel:
    try:
        return ServedModel(
            value["name"],
            value["hash"],
            tuple(value["classes"]),
            value["explains"],
            str(value.get("task", "classification")),  # absent up to 0.2
        )
    except (KeyError, TypeError) as error:
        raise _unexpected("no model") from error


def _prediction(row: dict[str, Any], name: str, classes: tuple[str, ...]) -> Prediction:
    try:
        return Prediction.from_values(row | {"path": name}, classes)
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected(f"a row does not fit {', '.join(classes)}: {error}") from error


def _problem(error: urllib.error.HTTPError) -> RequestError:
    """Return the server's message or, if another server responded, its status."""
    kind = KINDS.get(error.code, "failed")
    try:
        return RequestError(kind, str(json.loads(error.read(2**16))["error"]))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return RequestError(
            kind, f"{error.url} responded {error.code} {error.reason}. Check the address."
        )


def _unexpected(what: str) -> RequestError:
    return RequestError(
        "failed",
        f"The response is not from a compatible HematoVision server: {what}. Check the address, "
        "and that the server and client have the same version.",
    )
