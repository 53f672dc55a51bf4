"""A full disk ends a run with one message that names the file, and leaves no partial file."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from colour_squares import COLOUR_MODEL, COLOURS, write_square, write_squares
from hematovision.cli.program import program
from hematovision.files import open_own

SMALL = 192 * 1024
"""Bytes of the disk: the folder and some blocks of 4 kB fit, no report does."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk; only root can create one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("this system does not allow mounting a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, keep: int) -> None:
    """Leave no more than `keep` bytes free."""
    free = os.statvfs(disk)
    with (disk / "filling").open("wb") as stream:
        stream.write(b"x" * max(0, free.f_bavail * free.f_frsize - keep))


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hematovision", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


def error_of(done: subprocess.CompletedProcess[str], path: Path) -> str:
    """Check the error of a run on a full disk for the file in `path`, and return it."""
    assert done.returncode == 1, done.stderr
    assert f"Error: Cannot write {path}" in done.stderr, done.stderr
    assert "No space left on device. " in done.stderr
    assert "free bytes" in done.stderr
    assert "Free some space or choose another disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred images, with rows that need more than two blocks of a disk."""
    first = write_square(tmp_path_factory.mktemp("many") / "0.png", COLOURS["red"])
    for number in range(1, 200):
        (first.parent / f"{number}.png").write_bytes(first.read_bytes())
    return first.parent


@pytest.mark.parametrize(
    ("suffix", "free"), [(".csv", 4096), (".parquet", 16384), (".csv", 81920), (".jsonl", 81920)]
)
def test_a_table_names_its_file_and_is_resumed(
    disk: Path, many: Path, tmp_path: Path, suffix: str, free: int
):
    out = disk / f"t{suffix}"
    fill(disk, free)
    done = run("classify", many, "--model", COLOUR_MODEL, "--out", out)
    error = error_of(done, out)
    # An empty store takes 20 kB.
    assert (f"The results so far are in {out}.resume" in error) == (free > 20_000)
    assert sorted(path.name for path in disk.iterdir()) == ["filling", f"{out.name}.resume"]
    (disk / "filling").unlink()
    for words in ((out, "--resume"), (tmp_path / f"whole{suffix}",)):
        command = map(str, ("classify", many, "--model", COLOUR_MODEL, "--out", *words))
        assert CliRunner().invoke(program, list(command)).exit_code == 0
    assert out.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_overlays_name_their_file(disk: Path, many: Path, explaining_model: Path):
    fill(disk, 16384)
    done = run("classify", many, "--model", explaining_model, "--explain", disk / "seen")
    error_of(done, disk / "seen")
    assert not [path for path in (disk / "seen").iterdir() if path.name.startswith(".")]


def test_an_evaluation_names_its_file(disk: Path, tmp_path: Path):
    data = write_squares(tmp_path / "data")
    fill(disk, 8192)
    error_of(run("evaluate", COLOUR_MODEL, data, "--out", disk / "e"), disk / "e")


def test_an_export_names_its_file(disk: Path):
    fill(disk, 8192)
    done = run("export", "rbc-wbc-platelets", "--to", "onnx", "--out", disk / "m.onnx")
    error = error_of(done, disk / "m.onnx")
    assert "free bytes; " in error
    assert [path.name for path in disk.iterdir()] == ["filling"]


def test_the_feature_cache_is_named(disk: Path, tmp_path: Path):
    data = write_squares(tmp_path / "data")
    fill(disk, 40960)
    done = run("features", data, HEMATOVISION_CACHE=str(disk / "cache"))
    assert done.returncode == 1
    assert f"The feature cache {disk / 'cache'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lock_on_a_full_disk_is_an_error(disk: Path):
    fill(disk, 0)
    with open_own(disk / "a.lock") as stream, pytest.raises(OSError, match="No space left"):
        stream.write(b"x" * 5000)
