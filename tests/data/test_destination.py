"""Folders that appear when they are complete."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hematovision.data.destination import (
    appearing,
    check_free,
    safe_folder,
    safe_name,
    unique_names,
)
from hematovision.data.importing import import_dataset
from hematovision.errors import DatasetError, OutputError
from hematovision.images import write
from hematovision.taxonomy import normalise

IMPORT = """
import os, signal, sys
from pathlib import Path
from hematovision.data import importing as run
from hematovision.data import destination

target, name, nth = sys.argv[3], sys.argv[4], int(sys.argv[5])
owner = {"Path": Path, "run": run, "destination": destination}[target]
original = getattr(owner, name)
calls = 0

def killing(*args, **kwargs):
    global calls
    calls += 1
    if calls == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, killing)
run.import_dataset(Path(sys.argv[1]), Path(sys.argv[2]), format="folders")
"""

kills = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for label in ("RBC", "WBC"):
        for i in range(4):
            image = np.full((8, 8, 3), i * 20, np.uint8)
            write(tmp_path / "set" / label / f"{i}.png", image)
    return tmp_path / "set"


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".importing-" in path.name]


def age(folder: Path) -> None:
    """Make the files next to the destination an hour old."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - 3600, time.time() - 3600))


@kills
@pytest.mark.parametrize(
    ("target", "name", "nth"),
    [
        ("destination", "wait_for_lock", 1),  # before its lock is there
        ("run", "_import_folders", 1),  # before the first image
        ("Path", "mkdir", 4),  # between images
        ("run", "write_cells", 1),  # before cells.csv
        ("run", "write_text", 1),  # before import.json
        ("Path", "unlink", 3),  # complete, and not yet named
        ("Path", "rename", 1),
    ],
)
def test_a_killed_import_leaves_nothing_after_the_next_one(
    source: Path, tmp_path: Path, target: str, name: str, nth: int
):
    dest = tmp_path / "out" / "cells"
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(source), str(dest), target, name, str(nth)],
        check=False, timeout=60, env=os.environ.copy(), capture_output=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not dest.exists()
    assert all(left.startswith(".cells.importing-") for left in leftovers(dest.parent))
    assert len(leftovers(dest.parent)) == 1
    age(dest.parent)
    report = import_dataset(source, dest, format="folders")
    assert report.total == 8
    assert [path.name for path in dest.parent.iterdir()] == ["cells"]
    assert not list(dest.rglob(".*"))


HOLD = """
import sys, time
from pathlib import Path
from hematovision.data.destination import appearing

with appearing(Path(sys.argv[1])) as folder:
    (folder / "mine").touch()
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_the_folder_of_a_running_process_is_kept(tmp_path: Path):
    dest = tmp_path / "cells"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(dest)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == b"ready\n"
        age(tmp_path)
        with appearing(dest) as folder:
            (folder / "ours").touch()
        assert len(leftovers(tmp_path)) == 1
        _, errors = other.communicate(b"\n", timeout=30)
    # The first to finish gets the name; the other fails and leaves nothing.
    assert b"OutputError" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]
    assert [path.name for path in dest.iterdir()] == ["ours"]


def test_a_new_folder_without_a_lock_yet_is_kept(tmp_path: Path):
    (tmp_path / ".cells.importing-0123").mkdir()
    (tmp_path / ".cells-other.importing-0123").mkdir()
    with appearing(tmp_path / "cells"):
        pass
    assert leftovers(tmp_path).count(".cells.importing-0123") == 1
    age(tmp_path)
    (tmp_path / "cells").rmdir()
    with appearing(tmp_path / "cells"):
        pass
    assert leftovers(tmp_path) == [".cells-other.importing-0123"]


def test_an_error_in_the_block_leaves_nothing_and_passes_through(tmp_path: Path):
    with pytest.raises(OSError, match="mine"), appearing(tmp_path / "cells") as folder:
        (folder / "half").touch()
        raise OSError("mine")
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_destination_is_an_output_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot create"), appearing(tmp_path / "file" / "cells"):
        pass


def test_a_destination_in_use_is_an_error(tmp_path: Path):
    check_free(tmp_path / "new")
    (tmp_path / "full").mkdir()
    check_free(tmp_path / "full")
    (tmp_path / "full" / "x").touch()
    for taken in ("full", "full/x"):
        with pytest.raises(DatasetError, match="already exists and is not empty"):
            check_free(tmp_path / taken)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BloodImage_00007", "BloodImage_00007"), ("a b  c", "a_b_c"), ("é/ü?.x", "e_u_.x"),
        ("血液", "image"), ("..hidden", "image_hidden"), ("-rf", "image_rf"), ("CON", "image_CON"),
        ("lpt1.old", "image_lpt1.old"), ("x" * 200, "x" * 80), ("end.", "end"), ("", "image"),
    ],
)  # fmt: skip
def test_a_safe_name_has_plain_characters_only(text: str, name: str):
    assert safe_name(text) == name


@pytest.mark.parametrize(
    "label", ["RBC/normal?", "..RBC", "лейкоцит", "con", "con.1", 'a"b', "a\nb"]
)
def test_a_safe_folder_name_means_the_same_class(label: str):
    folder = safe_folder(label)
    assert not set(folder) & set('<>:"/\\|?*\n')
    assert not folder.startswith(".")
    assert normalise(folder) == normalise(label)


def test_names_are_unique_ignoring_case():
    assert unique_names(["a", "A-2", "A", "a"]) == ["a", "A-2", "A-3", "a-4"]
    many = unique_names(["x"] * 1000)
    assert len(set(many)) == 1000


@pytest.mark.parametrize("label", ["con", "NUL", "com1.old"])
def test_a_safe_folder_is_not_a_device_of_windows(label: str):
    assert safe_folder(label) == f"_{label}"
