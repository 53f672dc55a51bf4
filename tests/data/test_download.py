"""Downloading public datasets from a local server that disconnects or sends wrong files."""

import errno
import hashlib
import json
import os
import shutil
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archive_files import zip_of
from hematovision.data import download as module
from hematovision.data import public_sets
from hematovision.data.download import NOTICE_FILE, RECORD_FILE, ResumingDownloader, download
from hematovision.data.public_sets import SETS, PublicSet
from hematovision.errors import DownloadError

FILES = {"Set-1/BCCD/a.xml": b"<annotation/>", "Set-1/BCCD/b.jpg": os.urandom(300_000)}


@dataclass
class Server:
    """The content and faults of the server on the loopback, and the requests it received."""

    content: bytes
    address: str = ""
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    states_length: bool = True
    cuts: list[int] = field(default_factory=list)
    status: int | None = None
    wrong_start: bool = False
    ranges_asked: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)

    def part_for(self, asked: str | None, condition: str | None) -> tuple[int, int]:
        """Return the status and the first byte to send."""
        if self.status:
            return self.status, 0
        current = condition in (None, self.etag, self.modified)
        if not (asked and self.ranges and current):
            return 200, 0
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return (206, start) if start < len(self.content) else (416, 0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server.what  # type: ignore[attr-defined]
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.ranges_asked.append(asked)
        server.conditions.append(condition)
        status, start = server.part_for(asked, condition)
        self.send_response(status)
        body = server.content[start:] if status in (200, 206) else b""
        if server.states_length:
            self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.modified:
            self.send_header("Last-Modified", server.modified)
        if status == 206:
            first = start + 1 if server.wrong_start else start
            total = len(server.content)
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    what = Server(zip_of(FILES))
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.what = what  # type: ignore[attr-defined]
    what.address = f"http://127.0.0.1:{httpd.server_port}/set.zip"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield what
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def one_set(server: Server, monkeypatch: pytest.MonkeyPatch) -> PublicSet:
    """A dataset named ``small``, served on the loopback, without a published hash."""
    small = replace(
        SETS["bccd"],
        name="small",
        address=server.address,
        archive="set.zip",
        sha256=None,
        sha256_source="",
    )
    publish(monkeypatch, small)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return small


def publish(monkeypatch: pytest.MonkeyPatch, one: PublicSet) -> None:
    monkeypatch.setattr(public_sets, "SETS", {**SETS, one.name: one})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


UNPACKED = {name.removeprefix("Set-1/"): data for name, data in FILES.items()}


def test_a_set_is_fetched_checked_and_unpacked(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    got = download("small", tmp_path / "sets", progress=lambda *what: calls.append(what))

    assert contents(got.folder) == UNPACKED
    assert (got.fetched, got.verified_against) == (True, "nothing")
    assert got.sha256 == sha256(server.content)
    size = len(server.content)
    assert (size, size, "Downloading", "bytes") in calls
    assert calls[-1] == (2, 2, "Unpacking", "files")
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == sorted(
        ["small", "set.zip", RECORD_FILE, NOTICE_FILE]
    )


def test_licence_citation_hash_and_next_command_are_kept_and_returned(
    server: Server, tmp_path: Path
) -> None:
    got = download("small", tmp_path / "my sets")
    notice = (tmp_path / "my sets" / NOTICE_FILE).read_text()
    assert got.public_set.licence in notice
    assert got.public_set.citation in notice
    record = json.loads((tmp_path / "my sets" / RECORD_FILE).read_text())["sets"]["small"]
    assert record["sha256"] == sha256(server.content)
    assert record["address"] == server.address
    assert record["verified_against"] == "nothing"
    assert record["unpacked_files"] == 2
    assert f"'{tmp_path / 'my sets' / 'small'}'/BCCD" in got.next_command


def test_existing_files_are_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    download("small", tmp_path)
    again = download("small", tmp_path)
    assert len(server.ranges_asked) == 1
    assert (again.fetched, again.verified_against) == (False, "an earlier download")


def test_a_deleted_folder_is_unpacked_again_without_the_network(
    server: Server, tmp_path: Path
) -> None:
    shutil.rmtree(download("small", tmp_path).folder)
    assert contents(download("small", tmp_path).folder) == UNPACKED
    assert len(server.ranges_asked) == 1


def test_two_sets_share_a_folder(
    one_set: PublicSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download("small", tmp_path)
    other = replace(one_set, name="other", archive="other.zip", title="Another set")
    publish(monkeypatch, other)
    download("other", tmp_path)
    download("other", tmp_path)
    assert set(json.loads((tmp_path / RECORD_FILE).read_text())["sets"]) == {"small", "other"}
    assert (tmp_path / NOTICE_FILE).read_text().count("Licence:") == 2


def test_a_broken_connection_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000]
    got = download("small", tmp_path)
    assert server.ranges_asked == [None, "bytes=100000-"]
    assert server.conditions == [None, '"one"']
    assert contents(got.folder) == UNPACKED
    assert not list(tmp_path.glob("*.part*"))


def test_a_later_run_resumes_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.cuts = [50_000, 20_000, 10_000, 5_000]
    with pytest.raises(DownloadError, match=r"85000 bytes are kept.*put the file at .*set\.zip"):
        download("small", tmp_path)
    assert contents(download("small", tmp_path).folder) == UNPACKED
    assert server.ranges_asked[-1] == "bytes=85000-"


def test_a_date_replaces_a_missing_etag(server: Server, tmp_path: Path) -> None:
    server.etag, server.modified = None, "Wed, 21 Oct 2015 07:28:00 GMT"
    server.cuts = [1000]
    download("small", tmp_path)
    assert server.conditions == [None, server.modified]


def test_without_range_support_the_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [100_000]
    got = download("small", tmp_path)
    assert server.ranges_asked == [None, "bytes=100000-"]
    assert contents(got.folder) == UNPACKED


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"', None])
def test_parts_of_two_versions_are_never_joined(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.etag, server.cuts = etag, [50_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        download("small", tmp_path)
    server.content = zip_of({"Set-1/new.txt": os.urandom(400_000)})
    server.etag = etag and etag.replace("one", "two")
    assert download("small", tmp_path).sha256 == sha256(server.content)


def test_a_server_that_sends_another_range_than_requested_is_not_trusted(
    server: Server, tmp_path: Path
) -> None:
    server.cuts, server.wrong_start = [50_000], True
    assert download("small", tmp_path).sha256 == sha256(server.content)
    assert server.ranges_asked == [None, "bytes=50000-", None]


def test_a_part_longer_than_the_file_is_discarded(server: Server, tmp_path: Path) -> None:
    server.cuts = [50_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        download("small", tmp_path)
    (tmp_path / "set.zip.part").write_bytes(bytes(len(server.content) + 9))
    assert download("small", tmp_path).sha256 == sha256(server.content)


def test_a_complete_part_needs_no_network(server: Server, tmp_path: Path) -> None:
    server.cuts = [50_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        download("small", tmp_path)
    asked = len(server.ranges_asked)
    (tmp_path / "set.zip.part").write_bytes(server.content)
    assert download("small", tmp_path).sha256 == sha256(server.content)
    assert len(server.ranges_asked) == asked


@pytest.mark.parametrize("notes", ["", "{", '{"address": "elsewhere"}', "[]"])
def test_a_part_without_a_readable_version_is_fetched_from_the_beginning(
    server: Server, tmp_path: Path, notes: str
) -> None:
    (tmp_path / "set.zip.part").write_bytes(b"of unknown origin")
    (tmp_path / "set.zip.part.json").write_text(notes)
    assert download("small", tmp_path).sha256 == sha256(server.content)
    assert server.ranges_asked == [None]


def test_a_server_that_states_no_length_is_read_to_its_end(server: Server, tmp_path: Path) -> None:
    server.states_length = False
    assert contents(download("small", tmp_path).folder) == UNPACKED


def test_a_range_that_is_always_rejected_ends_in_an_error(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(b"1")
    downloader = ResumingDownloader(part, attempts=1)
    server.status = 416
    with pytest.raises(DownloadError, match="rejects the range"):
        downloader(server.address, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_http_error_names_address_status_and_the_manual_way(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.status = status
    with pytest.raises(DownloadError) as caught:
        download("small", tmp_path)
    message = str(caught.value)
    assert f"{server.address} returned {status}" in message
    assert f"put the file at {tmp_path / 'set.zip'}" in message
    assert len(server.ranges_asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_offline_the_error_names_the_address_and_where_to_put_the_file(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download("small", tmp_path, address="http://127.0.0.1:9/set.zip")
    message = str(caught.value)
    assert "http://127.0.0.1:9/set.zip cannot be reached" in message
    assert f"put the file at {tmp_path / 'set.zip'}; then run the same command again" in message


def test_a_file_put_there_manually_is_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(server.content)
    got = download("small", tmp_path, address="http://127.0.0.1:9/set.zip")
    assert contents(got.folder) == UNPACKED
    assert not got.fetched


def test_a_mirror_must_be_http(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"must be http or https. Received: 'file:///etc/x'"):
        download("small", tmp_path, address="file:///etc/x")


def test_a_published_hash_is_required(
    one_set: PublicSet, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = sha256(server.content), "0" * 64
    publish(monkeypatch, replace(one_set, sha256=right, sha256_source="us"))
    assert download("small", tmp_path / "a").verified_against == "published"

    publish(monkeypatch, replace(one_set, sha256=wrong, sha256_source="us"))
    with pytest.raises(DownloadError) as caught:
        download("small", tmp_path / "b")
    aside = tmp_path / "b" / f"set.zip.wrong-{right[:8]}"
    assert aside.read_bytes() == server.content
    for expected in (right, wrong, str(aside), "as published by us"):
        assert expected in str(caught.value)
    assert [path.name for path in (tmp_path / "b").iterdir()] == [aside.name]


def test_a_set_that_changed_since_the_first_download_is_noticed(
    server: Server, tmp_path: Path
) -> None:
    download("small", tmp_path)
    (tmp_path / "set.zip").unlink()
    server.content = zip_of({"Set-1/other.txt": b"something else"})
    with pytest.raises(DownloadError, match=r"expected .* \(as it was on \d{4}-\d\d-\d\d\)"):
        download("small", tmp_path)
    assert contents(tmp_path / "small") == UNPACKED


def test_an_unreadable_record_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text('{"sets": {"small": {"sha256": 1}}}')
    with pytest.raises(DownloadError, match="can't be read"):
        download("small", tmp_path)


def test_a_full_disk_is_an_error_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = types.SimpleNamespace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DownloadError, match=r"is full: .* 1000 are free\. Free some space"):
        download("small", tmp_path)
    assert len(server.ranges_asked) == 1


def test_a_download_to_a_full_disk_is_not_retried(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ResumingDownloader, "_copy", copy)
    with pytest.raises(DownloadError, match="is full"):
        download("small", tmp_path)
    assert len(server.ranges_asked) == 1


def test_an_archive_that_writes_outside_is_rejected(server: Server, tmp_path: Path) -> None:
    server.content = zip_of({"good.txt": b"good", "../../evil.txt": b"evil"})
    with pytest.raises(DownloadError, match="leads out of its folder"):
        download("small", tmp_path / "sets")
    assert not list(tmp_path.rglob("*.txt"))
    assert not (tmp_path / "sets" / "small").exists()


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download("lisc", tmp_path)
    for name in SETS:
        assert f"  {name} " in str(caught.value)


def test_every_set_can_be_cited_and_fetched() -> None:
    for name, one in SETS.items():
        assert name == one.name
        assert one.licence
        assert one.citation
        assert one.next_command.format(folder="X").startswith("hematovision ")
        assert one.home.startswith("https://")
        assert bool(one.kaggle) != bool(one.address)
        assert one.kaggle or (one.archive.endswith(".zip") and one.address.startswith("https://"))
        assert one.sha256 is None or (len(one.sha256) == 64 and one.sha256_source)
        assert (one.address or str(one.kaggle)) in one.notice()
    assert SETS["bccd"].archive == "BCCD_Dataset-v1.0.zip"


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for the package kagglehub."""
    cached = tmp_path / "cache" / "bloodcells_dataset" / "basophil"
    cached.mkdir(parents=True)
    (cached / "BA_1.jpg").write_bytes(b"cell")
    stand_in = types.ModuleType("kagglehub")
    stand_in.dataset_download = lambda handle: str(tmp_path / "cache")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", stand_in)
    return stand_in


def test_a_dataset_from_kaggle_is_copied_next_to_its_notice(
    kaggle: types.ModuleType, tmp_path: Path
) -> None:
    got = download("pbc-kaggle", tmp_path / "sets")
    assert contents(got.folder) == {"bloodcells_dataset/basophil/BA_1.jpg": b"cell"}
    assert (got.fetched, got.sha256) == (True, None)
    assert "CC BY 4.0" in (tmp_path / "sets" / NOTICE_FILE).read_text()
    assert not download("pbc-kaggle", tmp_path / "sets").fetched


def test_an_unreachable_kaggle_is_an_error_with_manual_steps(
    kaggle: types.ModuleType, tmp_path: Path
) -> None:
    def fail(handle: str) -> str:
        raise ConnectionError(handle)

    kaggle.dataset_download = fail  # type: ignore[attr-defined]
    with pytest.raises(DownloadError, match=r"ConnectionError.*(?s:.*)unpack it as .*pbc-kaggle"):
        download("pbc-kaggle", tmp_path)


def test_kagglehub_is_required_only_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DownloadError, match="pip install kagglehub"):
        download("pbc-kaggle", tmp_path)
    assert SETS["pbc"].kaggle is None
