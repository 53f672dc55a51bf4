"""Reading files from multipart forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hematovision.errors import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["read_form"]

_FURTHER_PARTS = 64
"""Parts besides files: each takes time to read, and is left out."""


def read_form(body: bytes, content_type: str, most: int) -> list[tuple[str, bytes]]:
    """Return names and contents of the files in parts named ``files``.

    Parameters
    ----------
    body : bytes
    content_type : str
        Value of the header ``Content-Type``.
    most : int
        Files that are taken.

    Raises
    ------
    RequestError
        If it is no whole form, has no such file, or too many.
    """
    _, options = parse_options_header(content_type)
    if not options.get(b"boundary"):
        raise _malformed("its Content-Type has no boundary")
    reading = _Reading(most)
    try:
        parser = MultipartParser(options[b"boundary"], reading.callbacks())
        parser.write(body)
    except FormParserError as error:
        raise _malformed(str(error)) from error
    if not reading.ended:
        raise _malformed("it ends before its closing boundary. Send it again")
    if not reading.files:
        raise RequestError(
            "broken", "The form has no file in a part named files. Send one or more."
        )
    return reading.files


class _Reading:
    """What has been read of a form."""

    def __init__(self, most: int) -> None:
        self.files: list[tuple[str, bytes]] = []
        self.ended = False
        self._most = most
        self._parts = 0
        self._field, self._value, self._disposition = b"", b"", b""
        self._file: str | None = None
        self._content: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._most + _FURTHER_PARTS:
            raise RequestError("too large", f"A form may have at most {self._most} files.")
        self._disposition = b""
        self._content = []

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed('a part has no "name" in its Content-Disposition')
        is_file = options[b"name"] == b"files" and b"filename" in options
        self._file = _text(options[b"filename"]) if is_file else None
        if is_file and len(self.files) >= self._most:
            raise RequestError(
                "too large",
                f"The form has more than {self._most} images; at most {self._most} are accepted at "
                "once. Send them in several requests.",
            )

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._content.append(data[start:end])

    def _end_part(self) -> None:
        if self._file is not None:
            self.files.append((self._file, b"".join(self._content)))

    def _end(self) -> None:
        self.ended = True


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _malformed(what: str) -> RequestError:
    return RequestError("malformed", f"The body is not a valid multipart form: {what}.")
