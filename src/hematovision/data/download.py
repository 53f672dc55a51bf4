"""Downloading public datasets by name: resumable, verified, with licence and citation.

A download creates::

    dest/
      bccd/                       the files, unpacked
      BCCD_Dataset-v1.0.zip       the original archive
      download.json               address and SHA-256 of each archive
      LICENCE-AND-CITATION.txt    to be passed on with the images

An archive is verified against its published SHA-256 (`PublicSet.sha256`) if there is one. Otherwise
the hash of the first download is recorded in ``download.json``, and later downloads to the same
folder must match it. This detects a change, but not an archive that was wrong from the start.
"""

from __future__ import annotations

import datetime as dt
import errno
import http.client
import json
import shlex
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hematovision.archives import unpack
from hematovision.data.public_sets import PublicSet, get_set
from hematovision.errors import DownloadError
from hematovision.files import ensure_folder, sha256_file, write_text
from hematovision.progress import Progress, no_progress

__all__ = ["NOTICE_FILE", "RECORD_FILE", "Downloaded", "ResumingDownloader", "download"]

RECORD_FILE = "download.json"
NOTICE_FILE = "LICENCE-AND-CITATION.txt"
_SCHEMA = 1
_BLOCK = 2**16
_TIMEOUT = 60.0  # seconds
_USER_AGENT = "hematovision"


@dataclass(frozen=True)
class Downloaded:
    """A downloaded public dataset.

    Parameters
    ----------
    public_set : PublicSet
        Has the licence and citation to show.
    folder : Path
        The unpacked files.
    sha256 : str or None
        Of the archive; None for a dataset from Kaggle, which is not an archive.
    verified_against : str
        Source of the expected hash: ``"published"``, ``"an earlier download"``, or ``"nothing"``
        (the first download of a dataset without a published hash).
    fetched : bool
        Whether anything was downloaded.

    Examples
    --------
    >>> import hematovision
    >>> found = hematovision.download("cbc", "downloads", address=mirror)
    >>> found
    Downloaded('cbc', 'downloads/cbc')
    >>> found.verified_against, found.public_set.licence
    ('nothing', 'MIT')
    """

    public_set: PublicSet
    folder: Path
    sha256: str | None
    verified_against: str
    fetched: bool

    def __repr__(self) -> str:
        return f"Downloaded({self.public_set.name!r}, {self.folder.as_posix()!r})"

    @property
    def next_command(self) -> str:
        """The command that makes a dataset or trains a model from it."""
        return self.public_set.next_command.format(folder=shlex.quote(str(self.folder)))


@dataclass(frozen=True)
class _Record:
    name: str
    address: str
    archive: str
    sha256: str
    verified_against: str
    first_seen: str
    unpacked_files: int


def download(
    name: str,
    dest: str | Path,
    *,
    progress: Progress = no_progress,
    address: str | None = None,
) -> Downloaded:
    """Download a public dataset, verify it and unpack it.

    A verified archive is not downloaded again. Without a network, download the archive on another
    computer and put it at the path in the error; it is verified and unpacked in the same way.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    dest : str or Path
        Output folder, which may be shared by several datasets.
    progress : Progress, optional
        Receives bytes, then files unpacked.
    address : str, optional
        A mirror of the archive (http or https).

    Raises
    ------
    DownloadError
        If the name is unknown, or the archive can't be downloaded, has the wrong hash (it is then
        moved aside), or can't be unpacked safely.
    OutputError
        If `dest` can't be written.

    Examples
    --------
    Here `mirror` is the address of a copy of the archive.

    >>> import hematovision
    >>> found = hematovision.download("cbc", "public", address=mirror)
    >>> found.folder.as_posix(), found.fetched
    ('public/cbc', True)
    >>> hematovision.download("cbc", "public").fetched
    False
    """
    wanted = get_set(name)
    dest = Path(dest)
    ensure_folder(dest)
    if wanted.kaggle:
        return _from_kaggle(wanted, dest)
    archive = dest / wanted.archive
    fetched = not archive.exists()
    if fetched:
        _fetch(wanted, archive, address or wanted.address, progress)
    records = _read_records(dest)
    known = records.get(name)
    sha256, verified_against = _verify(wanted, archive, known)
    folder = dest / name
    if known is None or known.sha256 != sha256 or not folder.is_dir():
        files = unpack(archive, folder, progress)
        records[name] = _Record(
            name=name,
            address=address or wanted.address,
            archive=wanted.archive,
            sha256=sha256,
            verified_against=verified_against,
            first_seen=known.first_seen if known else dt.datetime.now(dt.UTC).date().isoformat(),
            unpacked_files=files,
        )
        _write_records(dest, records)
    _write_notice(dest, wanted)
    return Downloaded(wanted, folder, sha256, verified_against, fetched)


def _fetch(wanted: PublicSet, archive: Path, address: str, progress: Progress) -> None:
    if not address.startswith(("https://", "http://")):
        raise DownloadError(f"The address must be http or https. Received: {address!r}")
    download_file = ResumingDownloader(archive.with_name(archive.name + ".part"), progress)
    try:
        download_file(address, archive)
    except DownloadError as error:
        raise DownloadError(
            f"{error} Run the same command again later, or download {address} yourself (see "
            f"{wanted.home}) and put the file at {archive}; then run the same command again."
        ) from error


def _verify(wanted: PublicSet, archive: Path, known: _Record | None) -> tuple[str, str]:
    """Return the archive's hash and the source of the expected hash."""
    sha256 = sha256_file(archive)
    if wanted.sha256:
        expected, source = wanted.sha256, f"as published by {wanted.sha256_source}"
    elif known:
        expected, source = known.sha256, f"as it was on {known.first_seen}"
    else:
        return sha256, "nothing"
    if sha256 != expected:
        aside = archive.with_name(f"{archive.name}.wrong-{sha256[:8]}")
        archive.replace(aside)
        raise DownloadError(
            f"{archive.name} has SHA-256 {sha256}, expected {expected} ({source}). It was moved to "
            f"{aside} and not unpacked. If the transfer failed, run the same command again; "
            "if the hash stays the same, the publisher has changed the archive: compare with "
            f"{wanted.home}."
        )
    return sha256, "published" if wanted.sha256 else "an earlier download"


def _from_kaggle(wanted: PublicSet, dest: Path) -> Downloaded:
    folder = dest / wanted.name
    fetched = not folder.is_dir()
    if fetched:
        cached = _kaggle_folder(wanted, folder)
        fresh = dest / f".{wanted.name}.copying"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(cached, fresh)
        fresh.rename(folder)
    _write_notice(dest, wanted)
    return Downloaded(wanted, folder, None, "nothing", fetched)


def _kaggle_folder(wanted: PublicSet, folder: Path) -> Path:
    by_hand = (
        f"Or download it yourself from {wanted.home}, unpack it as {folder}, and run the same "
        "command again."
    )
    try:
        import kagglehub
    except ModuleNotFoundError as error:
        raise DownloadError(
            f"{wanted.name} comes from Kaggle and needs the package kagglehub, which is not "
            f"installed. Install it with: pip install kagglehub\n{by_hand}"
        ) from error
    try:
        return Path(kagglehub.dataset_download(wanted.kaggle))
    except Exception as error:  # kagglehub raises what its many backends raise
        raise DownloadError(
            f"Kaggle did not provide {wanted.kaggle}: {type(error).__name__}: {error}. Without a "
            f"network, try again later.\n{by_hand}"
        ) from error


def _read_records(dest: Path) -> dict[str, _Record]:
    path = dest / RECORD_FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: _Record(**values) for name, values in content["sets"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadError(
            f"{path} can't be read ({type(error).__name__}: {error}). It contains the hashes of "
            "earlier downloads. Restore it, or delete it to accept the archives in that folder as "
            "they are."
        ) from error


def _write_records(dest: Path, records: dict[str, _Record]) -> None:
    content = {
        "schema": _SCHEMA,
        "sets": {name: asdict(record) for name, record in sorted(records.items())},
    }
    write_text(dest / RECORD_FILE, json.dumps(content, indent=2) + "\n")


def _write_notice(dest: Path, wanted: PublicSet) -> None:
    path = dest / NOTICE_FILE
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    if wanted.notice() not in earlier:
        rule = "\n" + "-" * 72 + "\n\n" if earlier else ""
        write_text(path, earlier + rule + wanted.notice())


@dataclass(frozen=True)
class _Version:
    """The version of a file on a server, so that parts of two versions are never joined."""

    address: str
    length: int | None
    etag: str | None
    modified: str | None

    @property
    def condition(self) -> str | None:
        """The value of ``If-Range``: a strong ETag or a date (RFC 9110, section 13.1.5)."""
        return self.modified if self.etag is None or self.etag.startswith("W/") else self.etag

    def agrees(self, other: _Version) -> bool:
        """Return whether all values that both have are equal."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


class ResumingDownloader:
    """Downloads a file; resumes after a broken connection.

    The incomplete file is kept in `part`, with its version in a JSON file next to it. The next
    attempt, in this call or in a later run, requests only the rest (``Range`` with ``If-Range``,
    RFC 9110, section 14). If the server doesn't support ranges, or has another version now, the
    download starts from the beginning. `pause` (seconds) is doubled after each of the `attempts`.
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

    def __call__(self, url: str, target: Path) -> None:
        """Download `url` to `target`, which is on the same disk as `part`.

        Raises `DownloadError` if the server can't be reached, responds with an error or keeps
        disconnecting, or the disk is full. The incomplete file is kept.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                self._attempt(url)
                break
            except urllib.error.HTTPError as error:
                self._handle_status(url, error)
            except urllib.error.URLError as error:
                # No server: do not retry.
                raise DownloadError(f"{url} cannot be reached: {error.reason}.") from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == self.attempts or getattr(error, "errno", None) == errno.ENOSPC:
                    raise DownloadError(self._broken(url, error)) from error
                time.sleep(self.pause * 2 ** (attempt - 1))
        else:
            raise DownloadError(self._broken(url, OSError("the server rejects the range")))
        self.part.replace(target)
        self.notes.unlink(missing_ok=True)

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
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            version = _version(url, response.status, response.headers)
            if response.status == http.client.PARTIAL_CONTENT:
                self._require_same(known, version, response.headers, offset)
            else:
                offset = 0
            write_text(self.notes, json.dumps(asdict(version)))
            self._require_space(version.length, offset)
            with self.part.open("ab" if offset else "wb") as stream:
                self._copy(response, stream, offset, version.length)

    def _copy(self, response: Any, stream: BinaryIO, done: int, total: int | None) -> None:
        while block := response.read(_BLOCK):
            stream.write(block)
            done += len(block)
            self.progress(done, total or 0, "Downloading", "bytes")
        if total is not None and done < total:
            raise ConnectionError(f"the connection was closed after {done} of {total} bytes")

    def _require_same(
        self, known: _Version | None, version: _Version, headers: Mapping[str, str], offset: int
    ) -> None:
        fits = (headers.get("Content-Range") or "").startswith(f"bytes {offset}-")
        if known is None or not fits or not known.agrees(version):
            self._forget()
            raise ConnectionError("the server now has another version of the file")

    def _require_space(self, length: int | None, offset: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if length is not None and length - offset > free:
            raise OSError(errno.ENOSPC, f"{length - offset} bytes are missing, {free} are free")

    def _known(self, url: str) -> _Version | None:
        try:
            version = _Version(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.address == url else None

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _handle_status(self, url: str, error: urllib.error.HTTPError) -> None:
        """Start from the beginning if the range was rejected; other errors are permanent."""
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and self.part.exists():
            self._forget()
            return
        raise DownloadError(f"{url} returned {error.code} {error.reason}.") from error

    def _broken(self, url: str, error: Exception) -> str:
        if getattr(error, "errno", None) == errno.ENOSPC:
            return f"The disk of {self.part.parent} is full: {error}. Free some space."
        kept = self.part.stat().st_size if self.part.exists() else 0
        failed = f"{url} could not be downloaded in {self.attempts} attempts: {error}."
        return f"{failed} {kept} bytes are kept; the next run resumes there." if kept else failed


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
