"""``data``: import, check, draw and fetch at the command line."""

import re
import shutil
from pathlib import Path

import pytest

from hematovision.data.download import Downloaded
from hematovision.data.public_sets import SETS


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn fields with boxes, in ``fields``, and the cell images cut out of them, in ``cells``."""
    from hematovision.data.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("drawn")
    write_phantoms(folder / "cells", 36, 0, fields=folder / "fields")
    return folder


def test_phantoms_are_drawn_counted_and_called_drawn(run, tmp_path: Path):
    dest = tmp_path / "drawn"
    result = run("data", "phantom", dest, "--images", 12, "--seed", 3)
    assert result.exit_code == 0
    assert len(list(dest.rglob("*.png"))) == 12
    assert f"12 drawn cell images in {dest}" in result.stdout
    assert re.search(r"RBC +\d+", result.stdout)
    assert result.stdout.endswith(f"hematovision train {dest} --out RUN\n")


def test_a_folder_in_use_is_not_drawn_into(run, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep me")
    result = run("data", "phantom", tmp_path, "--images", 3)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_boxes_become_cell_images(run, drawn: Path, tmp_path: Path):
    dest = tmp_path / "cells"
    result = run("data", "import", drawn / "fields", dest, "--format", "csv", "--split", "none")
    assert result.exit_code in (0, 3), result.stderr
    written = len(list(dest.rglob("*.png")))
    assert written > 36  # every cell of the fields, not only those that were cut out before
    assert f"{written} cell images in {dest}" in result.stdout
    assert (dest / "cells.csv").is_file()


def test_boxes_that_give_no_image_are_listed_and_the_exit_code_is_three(
    run, drawn: Path, tmp_path: Path
):
    fields = shutil.copytree(drawn / "fields", tmp_path / "fields")
    table = next(fields.glob("*.csv"))
    header, first, *rest = table.read_text(encoding="utf-8").splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    cells["xmax"] = cells["xmin"]
    table.write_text("\n".join([header, ",".join(cells.values()), *rest]), encoding="utf-8")
    result = run("data", "import", fields, tmp_path / "cells", "--format", "csv")
    assert result.exit_code == 3
    assert "1 boxes gave no image:" in result.stderr
    assert "import.json" in result.stderr
    assert "Next:" not in result.stdout


def test_a_taxonomy_that_is_not_known_is_an_error(run, drawn: Path, tmp_path: Path):
    result = run(
        "data", "import", drawn / "fields", tmp_path / "c", "--format", "csv", "--taxonomy", "pbc9"
    )
    assert result.exit_code == 1
    assert "There is no taxonomy 'pbc9'" in result.stderr


def test_leaks_and_unreadable_files_are_listed_and_the_exit_code_is_three(
    run, drawn: Path, tmp_path: Path
):
    cells = shutil.copytree(drawn / "cells", tmp_path / "cells")
    (cells / "cells.csv").unlink()
    picture = next((cells / "Train" / "RBC").glob("*.png"))
    shutil.copy(picture, cells / "Test" / "RBC" / "leaked.png")
    (cells / "Train" / "WBC" / "cut.png").write_bytes(picture.read_bytes()[:60])
    result = run("data", "check", cells)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    leak = next(line for line in lines if "exact-duplicates-across" in line)
    assert "leaked.png" in leak
    assert any("unreadable" in line and "cut.png" in line for line in lines)
    assert "Traceback" not in result.output


def test_a_sound_dataset_passes(run, drawn: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("hematovision.data.findings.MIN_IMAGES", 1)
    result = run("data", "check", drawn / "cells", "--taxonomy", "folders")
    assert result.exit_code == 0, result.output
    assert "36 images, and nothing that stands in the way" in result.stdout


def test_a_dataset_that_is_none_is_an_error(run, tmp_path: Path):
    result = run("data", "check", tmp_path / "gone")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_a_set_comes_with_its_licence_and_the_next_command(run, monkeypatch, tmp_path: Path):
    def fetched(name, dest, *, progress):
        return Downloaded(SETS[name], dest / name, "0" * 64, "nothing", fetched=True)

    monkeypatch.setattr("hematovision.data.download.download", fetched)
    result = run("data", "download", "bccd", tmp_path)
    assert result.exit_code == 0
    assert "Licence:  MIT" in result.stdout
    assert "Citation: " in result.stdout
    assert "this download is now remembered" in result.stdout
    assert f"Next: hematovision data import {tmp_path / 'bccd'}" in result.stdout


def test_an_unknown_set_is_an_error_that_lists_those_known(run, tmp_path: Path):
    result = run("data", "download", "nonsense", tmp_path / "sets")
    assert result.exit_code == 1
    assert "There is no public set 'nonsense'" in result.stderr
    assert all(f"  {name}" in result.stderr for name in SETS)
    assert not (tmp_path / "sets").exists()
