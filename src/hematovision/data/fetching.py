"""Fetching one large file over HTTP, and going on where a broken transfer stopped."""

from __future__ import annotations

import errno
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hematovision.errors import DownloadError
from hematovision.files import write_text
from hematovision.progress import Progress, no_progress

__all__ = ["ResumingDownloader"]

_BLOCK = 2**16
_TIMEOUT = 60.0
_USER_AGENT = "hematovision"


@dataclass(frozen=True)
class _Version:
    """Which version of a file a server has, so that two halves are never of two versions."""

    address: str
    length: int | None
    etag: str | None
    modified: str | None

    @property
    def condition(self) -> str | None:
        """What ``If-Range`` may carry: a strong ETag or a date (RFC 9110, section 13.1.5)."""
        return self.modified if self.etag is None or self.etag.startswith("W/") else self.etag

    def agrees(self, other: _Version) -> bool:
        """Whether nothing that both state differs."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


class ResumingDownloader:
    """A downloader for pooch that keeps what it has when the connection breaks.

    What has arrived is in ``part``, and beside it what is known of the version it is of. The next
    attempt, in this call or in a later run, asks for the rest only (``Range`` with ``If-Range``,
    RFC 9110 section 14). If the server cannot serve parts, or has another version now, it starts
    anew.

    Parameters
    ----------
    part : Path
        Where the incomplete file is kept between attempts.
    progress : Progress
        Told of bytes done and in all (0 if the server does not say).
    attempts : int
        How often to try again after a broken connection within one call.
    pause : float
        Seconds before another attempt, doubled each time.
    """

    def __init__(
        self,
        part: Path,
        progress: Progress = no_progress,
        attempts: int = 4,
        pause: float = 1.0,
    ) -> None:
        self.part = part
        self.notes = part.with_name(part.name + ".json")
        self.progress = progress
        self.attempts = attempts
        self.pause = pause

    def __call__(
        self,
        url: str,
        output_file: str,
        pooch: object = None,  # noqa: ARG002  # the protocol of pooch's downloaders
        check_only: bool = False,  # noqa: FBT001, FBT002
    ) -> bool | None:
        """Fetch `url` into `output_file`.

        Raises
        ------
        DownloadError
            If the server cannot be reached, answers with an error, keeps breaking off, or the
            disk is full. What arrived is kept.
        """
        if check_only:
            return True
        for attempt in range(1, self.attempts + 1):
            try:
                self._attempt(url)
                break
            except urllib.error.HTTPError as error:
                self._answered(url, error)
            except urllib.error.URLError as error:
                # Nobody is there: trying again in a second would only keep a person waiting.
                raise DownloadError(f"{url} cannot be reached: {error.reason}.") from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == self.attempts or getattr(error, "errno", None) == errno.ENOSPC:
                    raise DownloadError(self._broken(url, error)) from error
                time.sleep(self.pause * 2 ** (attempt - 1))
        else:
            raise DownloadError(self._broken(url, OSError("the server refuses the range")))
        self.part.replace(output_file)
        self.notes.unlink(missing_ok=True)
        return None

    def _attempt(self, url: str) -> None:
        offset = self.part.stat().st_size if self.part.exists() else 0
        known = self._known(url) if offset else None
        if known is not None and offset == known.length:
            return
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
        if known is not None:
            headers["Range"] = f"bytes={offset}-"
            if known.condition:
                headers["If-Range"] = known.condition
        # The addresses are http(s): `download` checks them.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            version = _version(url, answer.status, answer.headers)
            if answer.status == http.client.PARTIAL_CONTENT:
                self._require_same(known, version, answer.headers, offset)
            else:
                offset = 0
            write_text(self.notes, json.dumps(asdict(version)))
            self._require_space(version.length, offset)
            with self.part.open("ab" if offset else "wb") as stream:
                self._copy(answer, stream, offset, version.length)

    def _copy(self, answer: Any, stream: BinaryIO, done: int, total: int | None) -> None:
        while block := answer.read(_BLOCK):
            stream.write(block)
            done += len(block)
            self.progress(done, total or 0, "Downloading")
        if total is not None and done < total:
            raise ConnectionError(f"the connection was closed after {done} of {total} bytes")

    def _require_same(
        self,
        known: _Version | None,
        version: _Version,
        headers: Mapping[str, str],
        offset: int,
    ) -> None:
        expected = f"bytes {offset}-"
        fits = (headers.get("Content-Range") or "").startswith(expected)
        if known is None or not fits or not known.agrees(version):
            self._forget()
            raise ConnectionError("the server has another version of the file now")

    def _require_space(self, length: int | None, offset: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if length is not None and length - offset > free:
            raise OSError(errno.ENOSPC, f"{length - offset} bytes are to come, {free} are free")

    def _known(self, url: str) -> _Version | None:
        try:
            version = _Version(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.address == url else None

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _answered(self, url: str, error: urllib.error.HTTPError) -> None:
        """Start anew if the range was refused; any other error will not go away by itself."""
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and self.part.exists():
            self._forget()
            return
        raise DownloadError(f"{url} answers {error.code} {error.reason}.") from error

    def _broken(self, url: str, error: Exception) -> str:
        if getattr(error, "errno", None) == errno.ENOSPC:
            return f"The disk of {self.part.parent} is full: {error}. Free some space."
        kept = self.part.stat().st_size if self.part.exists() else 0
        tried = f"{url} could not be fetched in {self.attempts} attempts: {error}."
        return tried + (f" {kept} bytes are kept, the next run goes on there." if kept else "")


def _version(url: str, status: int, headers: Mapping[str, str]) -> _Version:
    length = headers.get("Content-Length")
    if status == http.client.PARTIAL_CONTENT:
        length = (headers.get("Content-Range") or "").rpartition("/")[2]
    return _Version(
        address=url,
        length=int(length) if length and length.isdigit() else None,
        etag=headers.get("ETag"),
        modified=headers.get("Last-Modified"),
    )
