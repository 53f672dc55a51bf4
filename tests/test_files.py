"""Atomic writes, hashes and locks."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hematovision import files
from hematovision.errors import OutputError
from hematovision.files import (
    delete_leftovers,
    hold_lock,
    is_held,
    wait_for_lock,
    write_new,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_hashes_match_the_sha256_standard(tmp_path: Path):
    # FIPS 180-4, the example "abc"
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_bytes(b"abc") == digest
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "abc") == digest


def test_a_file_is_written_into_folders_that_did_not_exist(tmp_path: Path):
    path = tmp_path / "a" / "b" / "c.txt"
    assert files.write_text(path, "Zellen ä\n") == path
    assert path.read_bytes() == "Zellen ä\n".encode()
    assert names(path.parent) == ["c.txt"]


def test_an_existing_file_is_replaced(tmp_path: Path):
    path = tmp_path / "c.bin"
    files.write_bytes(path, b"a much longer content")
    files.write_bytes(path, b"short")
    assert path.read_bytes() == b"short"


def test_readers_see_the_old_content_during_a_write(tmp_path: Path):
    path = files.write_bytes(tmp_path / "table.csv", b"old")
    with files.replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_after_an_error_only_the_old_content_remains(tmp_path: Path, error):
    path = files.write_bytes(tmp_path / "table.csv", b"old")
    with pytest.raises(error), files.replacing(path) as stream:
        stream.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["table.csv"]


def test_a_folder_in_the_way_of_a_file_is_named(tmp_path: Path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*report\.html: .*choose another"):
        files.write_text(tmp_path / "report.html", "text")
    assert names(tmp_path) == ["report.html"]


@pytest.mark.parametrize("below", ["", "cells", "cells/day-1"])
def test_a_file_in_the_way_of_a_folder_is_named(below: str, tmp_path: Path):
    (tmp_path / "runs").write_text("not a folder")
    expected = r"Cannot create the folder .*runs is not a folder\. Choose another folder"
    with pytest.raises(OutputError, match=expected):
        files.write_text(tmp_path / "runs" / below / "a.txt", "text")


def test_a_full_disk_is_an_output_error(tmp_path: Path):
    message = (
        r"a\.csv: No space left on device\. The disk has [\d,]+ free bytes; 1,234 are needed\. Free"
    )
    with pytest.raises(OutputError, match=message), files.writing(tmp_path / "a.csv", 1234):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EFBIG, "ulimit"), (errno.ENAMETOOLONG, "shorter name"), (errno.EROFS, "another one")],
)
def test_the_advice_fits_the_error(tmp_path: Path, number: int, advice: str):
    with pytest.raises(OutputError, match=advice), files.writing(tmp_path / "a.csv"):
        raise OSError(number, "no")


def test_an_error_of_the_stream_is_not_hidden_by_one_of_closing_it(tmp_path: Path):
    path = tmp_path / "a.csv"
    with (
        pytest.raises(OutputError, match=r"Cannot write .*a\.csv"),
        files.replacing(path) as stream,
    ):
        stream.write(b"x")  # still in the buffer, so that closing would write it
        os.close(stream.fileno())
        with files.writing(path):
            stream.flush()
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [200, 250])
def test_a_long_name_is_shortened_for_the_temporary_one(tmp_path: Path, length: int):
    path = tmp_path / ("ä" * (length // 2 - 2) + ".csv")
    assert files.write_text(path, "a").read_text() == "a"
    assert names(tmp_path) == [path.name]


def test_text_that_utf_8_cannot_encode_is_escaped(tmp_path: Path):
    path = files.write_text(tmp_path / "a.json", json.dumps("caf\udce9", ensure_ascii=False))
    assert path.read_text(encoding="utf-8") == r'"caf\udce9"'
    assert json.loads(path.read_text(encoding="utf-8")) == "caf\udce9"


posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other links and pipes")


@posix
def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path):
    target = files.write_text(tmp_path / "precious.txt", "precious")
    link = tmp_path / "t.csv"
    link.symlink_to(target)
    files.write_text(link, "table")
    assert (link.read_text(), target.read_text()) == ("table", "precious")
    assert not link.is_symlink()


class TestOwnFile:
    def test_it_is_made_and_opened_again_to_append(self, tmp_path: Path):
        for text in (b"one", b"two"):
            with files.open_own(tmp_path / "a.lock") as stream:
                stream.write(text)
        assert (tmp_path / "a.lock").read_bytes() == b"onetwo"
        assert not (tmp_path / "a.lock").stat().st_mode & 0o111

    @posix
    @pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
    def test_a_link_is_rejected_and_its_target_kept(self, tmp_path: Path, make: str):
        target = files.write_text(tmp_path / "precious.txt", "precious")
        getattr(tmp_path / "a.lock", make)(target)
        with pytest.raises(OutputError, match=r"a\.lock is a link.*Delete it"):
            files.open_own(tmp_path / "a.lock")
        assert target.read_text() == "precious"

    @posix
    def test_a_broken_link_creates_no_file(self, tmp_path: Path):
        (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match="is a link"):
            files.open_own(tmp_path / "a.lock")
        assert names(tmp_path) == ["a.lock"]

    @posix
    def test_a_pipe_is_rejected_at_once(self, tmp_path: Path):
        os.mkfifo(tmp_path / "a.lock")
        with pytest.raises(OutputError, match="is not a regular file"):
            files.open_own(tmp_path / "a.lock")


def test_one_of_two_simultaneous_writes_of_a_new_file_is_rejected(tmp_path: Path):
    path = tmp_path / "model.onnx"

    def write(number: int) -> bool:
        try:
            write_new(path, bytes([number]) * 1000)
        except OutputError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(write, range(32)))
    assert sum(wrote) == 1
    assert path.read_bytes() == bytes([wrote.index(True)]) * 1000
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]


def test_a_new_file_is_written_on_file_systems_without_links(tmp_path: Path, monkeypatch):
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert write_new(tmp_path / "a", b"a").read_bytes() == b"a"
    with pytest.raises(OutputError, match="already exists"):
        write_new(tmp_path / "a", b"b")
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"a"]


def test_a_copy_is_made_into_new_folders_and_a_failure_names_both_places(tmp_path: Path):
    source, target = tmp_path / "a.bin", tmp_path / "new" / "folder" / "b.bin"
    source.write_bytes(b"\x00content")
    files.copy_file(source, target)
    assert target.read_bytes() == b"\x00content"
    with pytest.raises(OutputError, match=r"missing\.bin to .*c\.bin: No such file"):
        files.copy_file(tmp_path / "missing.bin", tmp_path / "c.bin")


HOLDER = """
import sys, time
from pathlib import Path
from hematovision.files import hold_lock
with hold_lock(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds ``a.lock``."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


class TestLock:
    def test_it_is_held_during_the_block_and_then_deleted(self, tmp_path: Path):
        lock = tmp_path / "a.lock"
        assert not is_held(lock)
        with hold_lock(lock, "taken"):
            assert is_held(lock)
            with pytest.raises(OutputError, match=r"^taken$"), hold_lock(lock, "taken"):
                pytest.fail("entered")
            assert is_held(lock)
        assert not is_held(lock)
        assert names(tmp_path) == []

    def test_it_is_held_by_another_process_until_that_ends(self, tmp_path: Path, holder):
        lock = tmp_path / "a.lock"
        assert is_held(lock)
        with pytest.raises(OutputError, match=r"^taken$"), hold_lock(lock, "taken"):
            pytest.fail("entered")
        threading.Timer(0.3, holder.stdin.close).start()
        with wait_for_lock(lock):
            assert holder.poll() is not None or holder.wait(10) == 0
            assert is_held(lock)

    def test_that_of_a_killed_process_is_free_and_deleted_by_a_check(self, tmp_path: Path, holder):
        holder.kill()
        holder.wait()
        assert names(tmp_path) == ["a.lock"]
        assert not is_held(tmp_path / "a.lock")
        assert names(tmp_path) == []

    def test_it_is_held_by_one_of_many_threads_though_each_deletes_it(self, tmp_path: Path):
        inside, counts = [], []

        def work(number: int) -> None:
            held = 0
            while held < 5:
                with suppress(OutputError), hold_lock(tmp_path / "a.lock", "taken"):
                    inside.append(number)
                    time.sleep(0.001)
                    counts.append(len(inside))
                    inside.remove(number)
                    held += 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert counts == [1] * 20

    def test_checks_at_the_same_time_do_not_see_each_other(self, tmp_path: Path):
        lock = tmp_path / "a.lock"

        def check(_: int) -> bool:
            lock.touch()
            return is_held(lock)

        with ThreadPoolExecutor(4) as pool:
            assert not any(pool.map(check, range(40)))

    @posix
    @pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
    def test_without_locks_in_the_file_system_the_error_names_the_file(
        self, tmp_path: Path, monkeypatch, code: int
    ):
        def refuse(*arguments: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr("fcntl.flock", refuse)
        message = rf"Cannot write .*a\.lock: {os.strerror(code)}"
        with pytest.raises(OutputError, match=message), hold_lock(tmp_path / "a.lock", "taken"):
            pytest.fail("entered")

    @posix
    @pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
    def test_a_link_is_rejected_and_its_target_kept(self, tmp_path: Path, make: str):
        target = files.write_text(tmp_path / "precious.txt", "precious")
        getattr(tmp_path / "a.lock", make)(target)
        with (
            pytest.raises(OutputError, match=r"a\.lock is a link.*Delete it"),
            hold_lock(tmp_path / "a.lock", "taken"),
        ):
            pytest.fail("entered")
        assert target.read_text() == "precious"

    @posix
    def test_one_that_cannot_be_checked_counts_as_held(self, tmp_path: Path):
        os.mkfifo(tmp_path / "a.lock")
        assert is_held(tmp_path / "a.lock")

    @posix
    def test_a_pipe_is_rejected_at_once(self, tmp_path: Path):
        os.mkfifo(tmp_path / "a.lock")
        with (
            pytest.raises(OutputError, match="is not a regular file"),
            wait_for_lock(tmp_path / "a.lock"),
        ):
            pytest.fail("entered")


def test_only_temporary_files_of_the_same_name_are_leftovers(tmp_path: Path):
    stray, kept = ".t[1].csv.0123abcd", [".t[1].csv.0123abcde", ".t1.csv.0123abcd", "t[1].csv"]
    for name in (stray, *kept):
        (tmp_path / name).touch()
    delete_leftovers(tmp_path / "t[1].csv")
    delete_leftovers(tmp_path / "no" / "folder.csv")
    assert names(tmp_path) == sorted(kept)
