"""Unpacking: what is in the archive lands in the folder, and nothing anywhere else."""

import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from archive_files import zip_of
from hematovision import archives
from hematovision.archives import unpack
from hematovision.errors import DownloadError, OutputError


def tar_of(*members: tarfile.TarInfo, content: bytes = b"", mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def put(tmp_path: Path):
    def write(data: bytes, name: str = "set.zip") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def names(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(found)


def test_a_single_top_folder_is_stripped(put, tmp_path) -> None:
    archive = put(zip_of({"Set-abc/README": b"r", "Set-abc/images/a.jpg": b"a"}))
    assert unpack(archive, tmp_path / "out") == 2
    assert names(tmp_path / "out") == ["README", "images/a.jpg"]


def test_several_top_folders_are_kept(put, tmp_path) -> None:
    unpack(put(zip_of({"Train/a": b"", "Test/b": b""})), tmp_path / "out")
    assert names(tmp_path / "out") == ["Test/b", "Train/a"]


def test_a_single_top_folder_next_to_a_file_is_kept(put, tmp_path) -> None:
    unpack(put(zip_of({"Train/a": b"", "b": b""})), tmp_path / "out")
    assert names(tmp_path / "out") == ["Train/a", "b"]


def test_entries_added_by_macos_are_skipped(put, tmp_path) -> None:
    litter = {"__MACOSX/PBC/._a.jpg": b"", "PBC/.DS_Store": b"", "PBC/._a.jpg": b""}
    assert unpack(put(zip_of({"PBC/a.jpg": b"a", **litter})), tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["a.jpg"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_are_unpacked_too(put, tmp_path, mode: str) -> None:
    data = tar_of(member("top", tarfile.DIRTYPE), member("top/a"), content=b"abc", mode=mode)
    assert unpack(put(data, "set.tar"), tmp_path / "out") == 1
    assert (tmp_path / "out" / "a").read_bytes() == b"abc"


def test_an_older_folder_is_replaced_as_a_whole(put, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    unpack(put(zip_of({"new": b"new"})), tmp_path / "out")
    assert names(tmp_path / "out") == ["new"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:evil", "C:\\evil", "a/b:stream"]
)
def test_a_name_that_leads_outside_is_refused(put, tmp_path, name: str) -> None:
    with pytest.raises(DownloadError, match="leads out of its folder"):
        unpack(put(zip_of({"good": b"", name: b"evil"})), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(put, tmp_path, kind: bytes) -> None:
    data = tar_of(member("a"), member("b", kind, target="/etc"))
    with pytest.raises(DownloadError, match="'b', which is neither a file nor a folder"):
        unpack(put(data, "set.tar.gz"), tmp_path / "out")


def test_links_in_a_zip_are_refused(put, tmp_path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    with pytest.raises(DownloadError, match="neither a file nor a folder"):
        unpack(put(buffer.getvalue()), tmp_path / "out")


def test_a_bomb_is_refused_by_its_declared_size(put, tmp_path) -> None:
    with pytest.raises(DownloadError, match="would unpack to 40000000 bytes"):
        unpack(put(zip_of({"zeros": bytes(40_000_000)})), tmp_path / "out")


def test_a_bomb_that_declares_less_than_it_holds_is_refused(
    put, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SLACK", 1000)
    entry = archives._Entry("zeros", 10, True, False, lambda: io.BytesIO(bytes(10**6)))
    archive = put(zip_of({"zeros": b""}))
    monkeypatch.setattr(archives, "_zip_entry", lambda opened, info: entry)
    with pytest.raises(DownloadError, match="unpacks to more than"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_many_entries_are_refused(
    put, tmp_path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 2)
    data = {
        "zip": zip_of({str(i): b"" for i in range(4)}),
        "tar": tar_of(*(member(str(i)) for i in range(4))),
    }
    with pytest.raises(DownloadError, match="entries"):
        unpack(put(data[kind]), tmp_path / "out")


def test_an_archive_without_files_is_refused(put, tmp_path) -> None:
    with pytest.raises(DownloadError, match="contains no files"):
        unpack(put(zip_of({"folder/": b""})), tmp_path / "out")


def test_an_entry_without_content_is_refused(
    put, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = archives._Entry("a", 0, True, False, lambda: None)
    monkeypatch.setattr(archives, "_zip_entry", lambda opened, info: entry)
    with pytest.raises(DownloadError, match="'a' without content"):
        unpack(put(zip_of({"a": b""})), tmp_path / "out")


def encrypted(data: bytes) -> bytes:
    """Set the flag of an encrypted entry, in both of a zip's headers."""
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", changed, changed.index(signature) + offset, 1)
    return bytes(changed)


def test_damaged_and_foreign_files_are_named(put, tmp_path) -> None:
    good = zip_of({"a": bytes(range(256)) * 40})
    damaged = bytearray(good)
    damaged[60] ^= 255
    for data in (b"", b"<html>Please log in</html>", good[:-30], bytes(damaged), encrypted(good)):
        archive = put(data)
        with pytest.raises(
            DownloadError, match=r"Cannot unpack .*set\.zip(?s:.*)re-run the command"
        ):
            unpack(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_destination_that_cannot_be_created_is_named(put, tmp_path) -> None:
    archive = put(zip_of({"a": b"a"}))
    with pytest.raises(OutputError, match="Cannot create the folder"):
        unpack(archive, archive / "inside a file" / "out")
