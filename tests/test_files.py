"""Files are written whole or not at all, and hashes are those of the standard."""

from pathlib import Path

import pytest

from hematovision import files
from hematovision.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_hashes_are_those_of_the_standard(tmp_path: Path):
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


def test_while_it_is_written_the_old_content_is_seen(tmp_path: Path):
    path = files.write_bytes(tmp_path / "table.csv", b"old")
    with files.replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_after_an_error_the_old_content_is_there_and_nothing_else(tmp_path: Path, error):
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


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(OutputError, match=r"Cannot create the folder .*runs.*another place"):
        files.write_text(tmp_path / "runs" / "a.txt", "text")


def test_a_full_disk_is_an_output_error(tmp_path: Path):
    message = r"No space left on device\. Free some space"
    with pytest.raises(OutputError, match=message), files.writing(tmp_path / "a.csv"):
        raise OSError(28, "No space left on device")
