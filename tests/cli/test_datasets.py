"""``data``: import, convert, check, synthesize and download at the command line."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from hematovision import images
from hematovision.data.cells import read_cells
from hematovision.data.download import Downloaded
from hematovision.data.formats import FORMATS
from hematovision.data.public_sets import SETS
from hematovision.paths import unescape_name
from hematovision.synthetic import render_cell


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic fields with boxes in ``fields``, and the cells cropped from them in ``cells``."""
    from hematovision.data.synthesize import write_synthetic_cells

    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic_cells(folder / "cells", 36, 0, fields=folder / "fields")
    return folder


def test_synthetic_cells_are_written_and_counted(run, tmp_path: Path):
    dest = tmp_path / "synthetic"
    result = run("data", "synthesize", dest, "--images", 12, "--seed", 3)
    assert result.exit_code == 0
    assert len(list(dest.rglob("*.png"))) == 12
    assert f"12 synthetic cell images in {dest}" in result.stdout
    assert re.search(r"RBC +\d+", result.stdout)
    assert result.stdout.endswith(f"hematovision train {dest} --out RUN\n")
    assert "now data synthesize" not in result.stderr


def test_the_old_name_of_synthesize_works_with_a_warning(run, tmp_path: Path):
    old = run("data", "phantom", tmp_path / "old", "--images", 3, "--seed", 3)
    new = run("data", "synthesize", tmp_path / "new", "--images", 3, "--seed", 3)
    assert old.exit_code == new.exit_code == 0
    warning = "data phantom is now data synthesize; the old name will be removed in 0.4\n"
    assert old.stderr.startswith(warning)
    assert old.stdout.replace(str(tmp_path / "old"), str(tmp_path / "new")) == new.stdout
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.png")}
        for root in (tmp_path / "old", tmp_path / "new")
    ]
    assert files[0] == files[1]
    assert "phantom" not in run("data", "--help").stdout


def test_a_folder_in_use_is_left_unchanged(run, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep me")
    result = run("data", "synthesize", tmp_path, "--images", 3)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_boxes_become_cell_images(run, synthetic: Path, tmp_path: Path):
    dest = tmp_path / "cells"
    result = run("data", "import", synthetic / "fields", dest, "--format", "csv", "--split", "none")
    assert result.exit_code in (0, 3), result.stderr
    written = len(list(dest.rglob("*.png")))
    assert written > 36  # every cell of the fields, not only those that were cropped before
    assert f"{written} cell images in {dest}" in result.stdout
    assert (dest / "cells.csv").is_file()


def test_boxes_that_give_no_image_are_listed_and_the_exit_code_is_three(
    run, synthetic: Path, tmp_path: Path
):
    fields = shutil.copytree(synthetic / "fields", tmp_path / "fields")
    table = next(fields.glob("*.csv"))
    header, first, *rest = table.read_text(encoding="utf-8").splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    cells["xmax"] = cells["xmin"]
    table.write_text("\n".join([header, ",".join(cells.values()), *rest]), encoding="utf-8")
    result = run("data", "import", fields, tmp_path / "cells", "--format", "csv")
    assert result.exit_code == 3
    assert "Omitted boxes (1):" in result.stderr
    assert "import.json" in result.stderr
    assert "Next:" not in result.stdout


def test_an_unknown_taxonomy_is_an_error(run, synthetic: Path, tmp_path: Path):
    result = run(
        "data",
        "import",
        synthetic / "fields",
        tmp_path / "c",
        "--format",
        "csv",
        "--taxonomy",
        "pbc9",
    )
    assert result.exit_code == 1
    assert "There is no taxonomy 'pbc9'" in result.stderr


def test_leaks_and_unreadable_files_are_listed_and_the_exit_code_is_three(
    run, synthetic: Path, tmp_path: Path
):
    cells = shutil.copytree(synthetic / "cells", tmp_path / "cells")
    (cells / "cells.csv").unlink()
    image = next((cells / "Train" / "RBC").glob("*.png"))
    shutil.copy(image, cells / "Test" / "RBC" / "leaked.png")
    (cells / "Train" / "WBC" / "cut.png").write_bytes(image.read_bytes()[:60])
    result = run("data", "check", cells)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    leak = next(line for line in lines if "exact-duplicates-across" in line)
    assert "leaked.png" in leak
    assert any("unreadable" in line and "cut.png" in line for line in lines)
    assert "Traceback" not in result.output


@pytest.fixture
def copied(synthetic: Path, tmp_path: Path) -> Path:
    """A dataset with twelve training images that are in the test set, too."""
    cells = shutil.copytree(synthetic / "cells", tmp_path / "cells")
    (cells / "cells.csv").unlink()
    for i, image in enumerate(sorted((cells / "Train").rglob("*.png"))[:12]):
        shutil.copy(image, cells / "Test" / image.parent.name / f"copy{i}.png")
    return cells


def test_findings_of_one_kind_are_grouped_and_capped(run, copied: Path):
    result = run("data", "check", copied)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    heads = [i for i, line in enumerate(lines) if "exact-duplicates-across" in line]
    (head,) = heads
    assert lines[head].startswith("error exact-duplicates-across, 12 times. The test set")
    assert all("test, train: " in line and "copy" in line for line in lines[head + 1 : head + 6])
    assert lines[head + 6].strip() == "and 7 more; --json lists all"
    assert result.stdout.count("one split only") == 1


def test_json_is_all_of_stdout_and_lists_everything(run, copied: Path):
    result = run("data", "check", copied, "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["kinds"]["exact-duplicates-across"] == 12
    leaks = [one for one in report["findings"] if one["kind"] == "exact-duplicates-across"]
    assert len({tuple(one["files"]) for one in leaks}) == 12
    assert report["files"] == 48
    assert report["ok"] is False
    assert result.stderr.startswith(
        "Classes: RBC, WBC, Platelets (folder names; nucleated red cells count as RBC)"
    )


def test_a_folder_that_cannot_be_listed_does_not_end_the_check(run, copied: Path, monkeypatch):
    closed, listed = str(copied / "Train" / "Platelets"), os.scandir

    def scandir(path):
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = run("data", "check", copied)
    assert result.exit_code == 3
    assert "error unlistable: Train/Platelets: Permission denied. Its images" in result.stdout
    assert "exact-duplicates-across" in result.stdout


def test_an_unlistable_folder_may_leave_no_dataset(run, copied: Path, monkeypatch):
    closed, listed = [str(copied / split) for split in ("Train", "Test", "Valid")], os.listdir

    def listdir(path):
        if str(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", listdir)
    result = run("data", "check", copied)
    assert result.exit_code == 1
    assert "These folders cannot be listed: " in result.stderr
    assert "Train (Permission denied)" in result.stderr


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Four kinds of white cells in folders, as in a well-known dataset on Kaggle."""
    for split, n in (("TRAIN", 5), ("TEST", 2)):
        for kind in ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"):
            for i in range(n):
                cell = render_cell(kind.lower(), 100 * n + i, size=64)
                images.write(tmp_path / "set" / split / kind / f"{i}.png", cell)
    return tmp_path / "set"


FOUR = "Classes: EOSINOPHIL, LYMPHOCYTE, MONOCYTE, NEUTROPHIL (folder names)"


@pytest.mark.parametrize("options", [(), ("--taxonomy", "folders")])
def test_finer_classes_are_imported_under_their_own_names(run, kaggle: Path, tmp_path, options):
    dest = tmp_path / "cells"
    result = run("data", "import", kaggle, dest, "--format", "folders", *options)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(FOUR)
    assert {path.parent.name for path in dest.rglob("*.png")} == {
        "EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL",
    }  # fmt: skip
    checked = run("data", "check", dest, *options)
    assert checked.stderr.startswith(FOUR)


@pytest.mark.parametrize("command", [("import", "--format", "folders"), ("check",)])
def test_mapping_them_all_to_white_cells_is_an_error(run, kaggle: Path, tmp_path: Path, command):
    name, *options = command
    places = [kaggle, tmp_path / "out"] if name == "import" else [kaggle]
    result = run("data", name, *places, *options, "--taxonomy", "rbc-wbc-platelets")
    assert result.exit_code == 1
    assert "mean WBC" in result.stderr
    assert "leaves one class" in result.stderr
    assert "--taxonomy folders" in result.stderr
    assert not (tmp_path / "out").exists()


def test_boxes_keep_their_names_or_are_mapped_with_a_message(run, synthetic: Path, tmp_path: Path):
    fields = shutil.copytree(synthetic / "fields", tmp_path / "fields")
    table = next(fields.glob("*.csv"))
    table.write_text(table.read_text(encoding="utf-8").replace("WBC", "neutrophil"), "utf-8")
    command = ("data", "import", fields)
    kept = run(*command, tmp_path / "kept", "--format", "csv")
    assert "neutrophil" in kept.stderr.splitlines()[0]
    assert kept.stderr.splitlines()[0].endswith("(names of the boxes)")
    mapped = run(*command, tmp_path / "m", "--format", "csv", "--taxonomy", "rbc-wbc-platelets")
    assert "WBC (neutrophil)" in mapped.stderr.splitlines()[0]
    assert list((tmp_path / "m").rglob("WBC/*.png"))


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
@pytest.mark.parametrize("name", ["caf\udce9.png", "a\x1b[31mb\n.png"])
def test_names_of_any_bytes_are_imported_and_checked(run, kaggle: Path, tmp_path: Path, name):
    (kaggle / "TRAIN" / "MONOCYTE" / "0.png").rename(kaggle / "TRAIN" / "MONOCYTE" / name)
    checked = run("data", "check", kaggle, "--json")
    assert json.loads(checked.stdout)["files"] == 28
    result = run("data", "import", kaggle, tmp_path / "cells", "--format", "folders")
    assert result.exit_code == 0, result.stderr
    cells = read_cells(tmp_path / "cells" / "cells.csv")
    assert all((tmp_path / "cells" / cell.file).is_file() for cell in cells)
    (source,) = {cell.source for cell in cells if "\\x" in cell.source}
    assert unescape_name(source) == f"TRAIN/MONOCYTE/{name}"


def test_copies_in_two_classes_and_other_formats_are_problems_of_an_import(
    run, kaggle: Path, tmp_path: Path
):
    shutil.copy(kaggle / "TRAIN" / "MONOCYTE" / "0.png", kaggle / "TRAIN" / "NEUTROPHIL" / "x.png")
    (kaggle / "TEST" / "MONOCYTE" / "9.czi").write_bytes(b"x")
    result = run("data", "import", kaggle, tmp_path / "cells", "--format", "folders")
    assert result.exit_code == 3
    assert "Problems (2):" in result.stderr
    assert "One file has an unsupported format: TEST/MONOCYTE/9.czi" in result.stderr
    assert "One image is in several classes (2 files" in result.stderr
    assert "TRAIN/MONOCYTE/0.png, TRAIN/NEUTROPHIL/x.png" in result.stderr


def test_a_dataset_without_problems_passes(run, synthetic: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("hematovision.data.check.MIN_IMAGES", 1)
    result = run("data", "check", synthetic / "cells", "--taxonomy", "folders")
    assert result.exit_code == 0, result.output
    assert "36 images checked. No problems" in result.stdout


def test_a_missing_dataset_is_an_error(run, tmp_path: Path):
    result = run("data", "check", tmp_path / "gone")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_a_download_shows_the_licence_and_the_next_command(run, monkeypatch, tmp_path: Path):
    def fetched(name, dest, *, progress):
        return Downloaded(SETS[name], dest / name, "0" * 64, "nothing", fetched=True)

    monkeypatch.setattr("hematovision.data.download.download", fetched)
    result = run("data", "download", "bccd", tmp_path)
    assert result.exit_code == 0
    assert "Licence:  MIT" in result.stdout
    assert "Citation: " in result.stdout
    assert "the hash of this download was recorded" in result.stdout
    assert any(line.startswith("Licence:  MIT") for line in result.stdout.splitlines())
    assert f"Next: hematovision data import {tmp_path / 'bccd'}" in result.stdout


def test_an_unknown_public_dataset_is_an_error_that_lists_those_known(run, tmp_path: Path):
    result = run("data", "download", "nonsense", tmp_path / "sets")
    assert result.exit_code == 1
    assert "There is no public dataset 'nonsense'" in result.stderr
    assert all(f"  {name}" in result.stderr for name in SETS)
    assert not (tmp_path / "sets").exists()


def test_the_format_is_detected_and_the_new_split_is_reported(run, synthetic: Path, tmp_path: Path):
    result = run("data", "import", synthetic / "fields", tmp_path / "cells")
    assert result.exit_code == 0, result.output
    assert (
        "A split was made that keeps groups together: 70% train, 15% valid, 15% test."
        in result.stdout
    )


def test_fields_are_converted_and_counted(run, synthetic: Path, tmp_path: Path):
    result = run("data", "convert", synthetic / "fields", tmp_path / "coco", "--to", "coco")
    assert result.exit_code == 0, result.output
    assert re.search(r"\d+ fields with \d+ boxes in ", result.stdout)
    assert (tmp_path / "coco" / "annotations").is_dir()
    back = run(
        "data", "convert", tmp_path / "coco", tmp_path / "y", "--from", "coco", "--to", "yolo"
    )
    assert back.exit_code == 0, back.output
    assert (tmp_path / "y" / "data.yaml").is_file()


def test_what_cannot_be_converted_is_listed_and_the_exit_code_is_three(
    run, synthetic: Path, tmp_path: Path
):
    fields = shutil.copytree(synthetic / "fields", tmp_path / "fields")
    with next(fields.glob("*.csv")).open("a", encoding="utf-8") as stream:
        stream.write("one,value,too,few\n")
    result = run("data", "convert", fields, tmp_path / "coco", "--to", "coco")
    assert result.exit_code == 3
    assert "Problems (1):" in result.stderr
    assert "expected" in result.stderr


@pytest.mark.parametrize("option", ["import --format", "convert --to", "convert --from"])
def test_the_choices_of_a_format_are_the_registered_formats(run, tmp_path: Path, option: str):
    command, name = option.split()
    result = run("data", command, tmp_path, tmp_path / "new", name, "nonsense")
    assert result.exit_code == 2
    found = re.findall(r"'([a-z-]+)'", result.stderr.partition("not one of")[2])
    assert found == [*FORMATS, *(["folders"] if command == "import" else [])]
