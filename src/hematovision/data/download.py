"""Fetching public sets of images: by name, resumable, checked, with licence and citation.

What a download leaves in its folder::

    dest/
      bccd/                       the files, unpacked
      BCCD_Dataset-v1.0.zip       the archive as it came
      download.json               where each archive came from and its SHA-256
      LICENCE-AND-CITATION.txt    to be passed on with the images

How far to trust it: where others have published an archive's SHA-256 (`PublicSet.sha256`), the
archive must have it. Where nobody has, the first archive that arrives is trusted, its hash is
written to ``download.json``, and every later download into the same folder must have that hash:
this notices a change, not a forgery that was there from the beginning.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hematovision.archives import unpack
from hematovision.data.fetching import ResumingDownloader
from hematovision.data.public_sets import SETS, PublicSet, get_set
from hematovision.errors import DownloadError
from hematovision.extras import needs_extra, require
from hematovision.files import ensure_folder, sha256_file, write_text
from hematovision.progress import Progress, no_progress

__all__ = ["NOTICE_FILE", "RECORD_FILE", "SETS", "Downloaded", "PublicSet", "download", "get_set"]

RECORD_FILE = "download.json"
NOTICE_FILE = "LICENCE-AND-CITATION.txt"
_SCHEMA = 1


@dataclass(frozen=True)
class Downloaded:
    """A public set on this machine.

    Parameters
    ----------
    public_set : PublicSet
        With licence and citation, to be shown.
    folder : Path
        The unpacked files.
    sha256 : str or None
        Of the archive; None for a set from Kaggle, which comes unpacked.
    verified_against : str
        Who vouches for the hash: ``"published"``, ``"an earlier download"``, or ``"nothing"`` (the
        first download of a set without a published hash).
    fetched : bool
        Whether anything came over the network now.
    """

    public_set: PublicSet
    folder: Path
    sha256: str | None
    verified_against: str
    fetched: bool

    @property
    def next_command(self) -> str:
        """The command that makes a dataset or a model of it."""
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
    dest: Path,
    *,
    progress: Progress = no_progress,
    address: str | None = None,
) -> Downloaded:
    """Fetch a public set, check it and unpack it.

    A set that is there and checked is not fetched again. Without a network, fetch the archive on
    another machine and put it where the error says: it is checked and unpacked like any other.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    dest : Path
        The folder to put it into; several sets may share one.
    progress : Progress, optional
    address : str, optional
        A mirror to fetch the archive from, instead of the set's own address (http or https).

    Returns
    -------
    Downloaded

    Raises
    ------
    DownloadError
        If the name is not known, the archive cannot be fetched, has another hash than it should (it
        is moved aside), or cannot be unpacked safely.
    MissingExtraError
        If pooch is not installed.
    OutputError
        If `dest` cannot be written.
    """
    wanted = get_set(name)
    if not wanted.kaggle:
        require("data download")
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
            first_seen=known.first_seen if known else _today(),
            unpacked_files=files,
        )
        _write_records(dest, records)
    _write_notice(dest, wanted)
    return Downloaded(wanted, folder, sha256, verified_against, fetched)


def _fetch(wanted: PublicSet, archive: Path, address: str, progress: Progress) -> None:
    with needs_extra("data", "Downloading a public set"):
        import pooch
    if not address.startswith(("https://", "http://")):
        raise DownloadError(f"The address must be http or https. Received: {address!r}")
    downloader = ResumingDownloader(archive.with_name(archive.name + ".part"), progress)
    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(
                address,
                known_hash=None,  # `_verify` does it, and keeps what fails instead of deleting it
                fname=archive.name,
                path=archive.parent,
                downloader=downloader,
            )
    except DownloadError as error:
        raise DownloadError(
            f"{error} Run the same command again later, or fetch {address} by hand (see "
            f"{wanted.home}) and put the file at {archive}; then run the same command again."
        ) from error


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from writing to the terminal: only doors do that."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _verify(wanted: PublicSet, archive: Path, known: _Record | None) -> tuple[str, str]:
    """Return the archive's hash and who vouches for it."""
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
            f"{aside} and not unpacked. If the transfer was at fault, run the same command again; "
            "if the hash stays, the publisher has changed the archive: compare with "
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
        f"Or fetch it by hand from {wanted.home}, unpack it as {folder}, and run the same command "
        "again."
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
            f"Kaggle did not give {wanted.kaggle}: {type(error).__name__}: {error}. Without a "
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
            f"{path} cannot be understood: {error!r}. It holds the hashes of earlier downloads; "
            "restore it, or delete it to trust the archives that are there."
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


def _today() -> str:
    return dt.datetime.now(tz=dt.UTC).date().isoformat()
