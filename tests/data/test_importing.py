"""Imports from annotated fields and class folders to a dataset."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.data.cells import read_cells
from hematovision.data.folders import read_dataset
from hematovision.data.importing import import_dataset
from hematovision.errors import (
    AnnotationError,
    DatasetError,
    OutputError,
    SplitError,
    TaxonomyError,
)
from hematovision.images.crops import crop
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_voc_boxes_become_cell_images_in_splits(voc: Path, tmp_path: Path):
    report = import_dataset(voc, tmp_path / "new" / "cells", format="voc")
    assert report.dest == tmp_path / "new" / "cells"
    assert report.taxonomy is RBC_WBC_PLATELETS
    assert report.by_class == {"RBC": 30, "WBC": 10, "Platelets": 0}
    assert {split: sum(n.values()) for split, n in report.counts.items()} == {
        "train": 28, "valid": 8, "test": 4,
    }  # fmt: skip
    assert (report.total, report.fields, report.touching) == (40, 10, 10)
    assert report.ok
    assert sorted(p.name for p in report.dest.iterdir()) == [
        "Test", "Train", "Valid", "cells.csv", "import.json",
    ]  # fmt: skip
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["cells"]


def test_every_cell_image_is_the_crop_that_cells_csv_describes(voc: Path, tmp_path: Path):
    report = import_dataset(voc, tmp_path / "cells", format="voc", lab="Ward 3")
    cells = read_cells(report.dest / "cells.csv")
    assert len(cells) == 40
    assert [cell.file for cell in cells] == sorted(cell.file for cell in cells)
    for cell in cells:
        field = images.read(voc / cell.source)
        assert cell.box is not None
        expected, touches = crop(field, cell.box)
        assert np.array_equal(images.read(report.dest / cell.file), expected)
        assert cell.touches_border is touches
        assert (cell.lab, cell.group) == ("Ward 3", f"Ward 3/{cell.field}")
    one = next(cell for cell in cells if cell.field == "f3" and cell.label == "WBC")
    assert Path(one.file).name == "f3_004.png"
    assert one.box == (40.0, 30.0, 70.0, 55.0)


def test_the_dataset_read_back_keeps_each_field_in_one_split(voc: Path, tmp_path: Path):
    dataset = read_dataset(import_dataset(voc, tmp_path / "cells", format="voc").dest)
    assert len({(s.group, s.split) for s in dataset}) == 10
    assert {s.lab for s in dataset} == {"smear"}


def test_the_same_seed_gives_the_same_files(voc: Path, tmp_path: Path):
    one = import_dataset(voc, tmp_path / "one", format="voc", seed=3)
    two = import_dataset(voc, tmp_path / "two", format="voc", seed=3)
    other = import_dataset(voc, tmp_path / "other", format="voc", seed=4)
    assert tree(one.dest) == tree(two.dest)
    assert tree(one.dest).keys() != tree(other.dest).keys()


def test_official_lists_are_followed_by_default(voc: Path, tmp_path: Path):
    lists = voc / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, names in {"train": "012345", "val": "67", "test": "8x"}.items():
        (lists / f"{split}.txt").write_text("".join(f"f{name}\n" for name in names))
    report = import_dataset(voc, tmp_path / "cells", format="voc")
    assert {split: n["WBC"] for split, n in report.counts.items()} == {
        "train": 6, "valid": 2, "test": 1,
    }  # fmt: skip
    unlisted, idle = report.problems
    assert unlisted.endswith("left out: f9")
    assert idle.endswith("without a field: fx")
    assert report.options["split"] == str(lists)
    assert report.notes == (f"The split of the lists in {lists} was used.",)
    again = import_dataset(voc, tmp_path / "other", format="voc", split="80/20")
    assert list(again.counts) == ["train", "valid"]


def test_without_a_split_there_are_only_class_folders(voc: Path, tmp_path: Path):
    report = import_dataset(voc, tmp_path / "cells", format="voc", split="none")
    assert report.counts == {"all": {"RBC": 30, "WBC": 10, "Platelets": 0}}
    assert sorted(p.name for p in report.dest.iterdir() if p.is_dir()) == ["RBC", "WBC"]
    assert read_dataset(report.dest).splits == ()


def test_degenerate_boxes_and_unreadable_fields_are_listed(voc: Path, tmp_path: Path, xml):
    xml(
        voc / "Annotations" / "f3.xml",
        [("RBC", 5, 5, 5, 5), ("RBC", 10, 10, 20, 20), ("WBC", "nan", 1, 30, 30)],
    )
    (voc / "JPEGImages" / "f4.png").write_bytes(b"no image")
    report = import_dataset(voc, tmp_path / "cells", format="voc")
    assert report.total == 8 * 4 + 1
    first, second = report.left_out
    assert (first.field, first.label, first.box) == ("f3", "RBC", (5.0, 5.0, 5.0, 5.0))
    assert first.where.endswith("f3.xml, line 3")
    assert "no area" in first.reason
    assert "not a number" in second.reason
    (problem,) = report.problems
    assert "f4.png" in problem
    assert "Left out: 4 boxes." in problem
    assert not report.ok
    written = json.loads((report.dest / "import.json").read_text())
    assert written["left_out"][1]["box"] == ["nan", 1.0, 30.0, 30.0]
    # Numbers stay those of the box file, so that a cell is found again in it.
    names = [Path(c.file).name for c in read_cells(report.dest / "cells.csv") if c.field == "f3"]
    assert names == ["f3_002.png"]


def test_the_report_has_the_crop_rule_and_the_options(voc: Path, tmp_path: Path):
    report = import_dataset(voc, tmp_path / "cells", format="voc", seed=5, split="80/20")
    written = json.loads((report.dest / "import.json").read_text())
    assert written["crop_rule"]["context"] == 1.2
    assert written["options"]["seed"] == 5
    assert written["options"]["split"] == "80/20"
    assert written["total"] == 40
    assert written["counts"]["train"]["RBC"] + written["counts"]["valid"]["RBC"] == 30


def test_fields_with_the_same_name_get_safe_unique_names(tmp_path: Path, draw, xml):
    draw(tmp_path / "s" / "JPEGImages", "x/my cell (1).png", "y/my cell (1).png", "z/My_cell_1.png")
    for folder, stem in (("x", "my cell (1)"), ("y", "my cell (1)"), ("z", "My_cell_1")):
        boxes = [("RBC", 10, 10, 20, 20), ("WBC", 30, 30, 50, 50)]
        xml(tmp_path / "s" / "Annotations" / folder / f"{stem}.xml", boxes)
    report = import_dataset(tmp_path / "s", tmp_path / "cells", format="voc")
    cells = read_cells(report.dest / "cells.csv")
    assert {Path(c.file).name: c.field for c in cells if c.label == "RBC"} == {
        "my_cell_1_001.png": "x/my cell (1)",
        "my_cell_1-2_001.png": "y/my cell (1)",
        "My_cell_1-3_001.png": "z/My_cell_1",
    }
    assert len({c.group for c in cells}) == 3


def test_groups_from_a_table_stay_in_one_split(voc: Path, tmp_path: Path):
    table = tmp_path / "manifest.csv"
    table.write_text("image,patient\n" + "".join(f"f{i}.png,p{i % 4}\n" for i in range(10)))
    report = import_dataset(voc, tmp_path / "cells", format="voc", groups=f"{table}:patient")
    dataset = read_dataset(report.dest)
    assert len({(s.group, s.split) for s in dataset}) == 4
    assert {s.group for s in dataset} == {"p0", "p1", "p2", "p3"}
    table.write_text("image,patient\nf1.png,p\n")
    with pytest.raises(SplitError, match="9 of 10 images have no group"):
        import_dataset(voc, tmp_path / "again", format="voc", groups=f"{table}:patient")


def test_unknown_classes_become_a_taxonomy_unless_one_was_requested(tmp_path, voc, xml):
    xml(voc / "Annotations" / "f1.xml", [("Malaria/ring?", 10, 10, 20, 20)] * 2)
    with pytest.raises(TaxonomyError, match=r"'Malaria/ring\?' \(2\) is not in the taxonomy"):
        import_dataset(voc, tmp_path / "a", format="voc", taxonomy=RBC_WBC_PLATELETS)
    for i in range(10):
        xml(
            voc / "Annotations" / f"f{i}.xml",
            [("Malaria/ring?", 9, 9, 20, 20), ("rbc", 1, 1, 9, 9)],
        )
    report = import_dataset(voc, tmp_path / "b", format="voc")
    assert report.by_class == {"Malaria_ring": 10, "rbc": 10}
    assert read_dataset(report.dest).counts() == report.by_class


def test_yolo_and_csv_give_the_same_cells(tmp_path: Path, draw):
    source = draw(tmp_path / "s" / "images", "a.png", "b.png").parent
    (source / "labels").mkdir()
    lines = ["image,xmin,ymin,xmax,ymax,label"]
    for name in "ab":
        (source / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.2 0.2\n")
        lines += [f"{name}.png,30,15,50,45,WBC", f"{name}.png,12,9,28,21,RBC"]
    (source / "annotations.csv").write_text("\n".join(lines))
    yolo = import_dataset(source, tmp_path / "y", format="yolo", names=["WBC", "RBC"])
    table = import_dataset(source, tmp_path / "c", format="csv")
    assert yolo.by_class == {"RBC": 2, "WBC": 2, "Platelets": 0}
    one, two = tree(yolo.dest), tree(table.dest)
    del one["import.json"], two["import.json"]
    assert one == two
    with pytest.raises(AnnotationError, match="--names"):
        import_dataset(source, tmp_path / "z", format="yolo")
    assert not (tmp_path / "z").exists()


def test_progress_counts_the_fields(voc: Path, tmp_path: Path):
    calls: list[tuple[int, int, str]] = []
    import_dataset(voc, tmp_path / "cells", format="voc", progress=lambda *call: calls.append(call))
    assert calls[0] == (0, 10, "cropping cells", "fields")
    assert calls[-1] == (10, 10, "cropping cells", "fields")


def test_an_empty_destination_is_filled(voc: Path, tmp_path: Path):
    (tmp_path / "cells").mkdir()
    assert import_dataset(voc, tmp_path / "cells", format="voc").total == 40


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"format": "coca"},
            "one of voc, yolo, csv, coco, geojson, labelstudio, folders. Received: 'coca'",
        ),
        ({"source": "gone"}, "is not a folder"),
        ({"dest": "smear"}, "not empty"),
        ({"dest": "file.txt"}, "not empty"),
        ({"annotations": "gone"}, "gone does not exist"),
        ({"format": "folders", "annotations": "smear"}, "no box files"),
        ({"names": ["a", "b"]}, "--names is only for --format yolo"),
        ({"split": "gone"}, "is not a folder"),
    ],
)
def test_invalid_arguments_are_errors_before_any_work(voc, tmp_path: Path, options, problem):
    (tmp_path / "file.txt").touch()
    before = sorted(tmp_path.iterdir())
    values = {"source": "smear", "dest": "cells", "format": "voc"} | options
    for key in ("source", "dest", "annotations"):
        if key in values:
            values[key] = tmp_path / values[key]
    with pytest.raises(DatasetError, match=problem):
        import_dataset(values.pop("source"), values.pop("dest"), **values)
    assert sorted(tmp_path.iterdir()) == before


def test_fields_without_boxes_and_boxes_without_cells_make_no_dataset(tmp_path, draw, xml):
    draw(tmp_path / "s" / "JPEGImages", "a.png")
    xml(tmp_path / "s" / "Annotations" / "a.xml", [])
    with pytest.raises(DatasetError, match="No usable boxes in"):
        import_dataset(tmp_path / "s", tmp_path / "cells", format="voc")
    xml(tmp_path / "s" / "Annotations" / "a.xml", [("RBC", 1, 1, 1, 1)])
    with pytest.raises(DatasetError, match=r"No cell images .* from 1 field\..*line 3: .*no area"):
        import_dataset(tmp_path / "s", tmp_path / "cells", format="voc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_a_disk_that_fails_leaves_nothing(voc: Path, tmp_path: Path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="No space left"):
        import_dataset(voc, tmp_path / "cells", format="voc")
    assert [p.name for p in tmp_path.iterdir()] == ["smear"]


def test_an_interrupt_leaves_nothing(voc: Path, tmp_path: Path):
    def interrupt(done: int, total: int, what: str, unit: str = "") -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dataset(voc, tmp_path / "cells", format="voc", progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["smear"]


KILLED = """
import os, signal, sys
from pathlib import Path
from hematovision.data.importing import import_dataset

def kill(done, total, what, unit):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)

import_dataset(Path(sys.argv[1]), Path(sys.argv[2]), format="voc", progress=kill)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_import_leaves_no_dataset_behind(voc: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(voc), str(tmp_path / "cells")],
        check=False,
        timeout=60,
        env=os.environ.copy(),
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "cells").exists()
    (left,) = (p for p in tmp_path.iterdir() if p.name != "smear")
    assert left.name.startswith(".cells.importing-")
    assert not (left / "cells.csv").exists()
    # The next import works, and removes what the killed one left.
    assert import_dataset(voc, tmp_path / "cells", format="voc").total == 40
    assert not left.exists()


def test_bccd_gives_the_945_official_test_crops(real_data: Path, tmp_path: Path, monkeypatch):
    def touch(path: Path, image: np.ndarray) -> Path:
        path.touch()
        return path

    monkeypatch.setattr(images, "write", touch)  # they are counted here; compression takes seconds
    lists = tmp_path / "lists"
    lists.mkdir()
    official = real_data / "bccd" / "ImageSets" / "Main"
    (lists / "test.txt").write_text((official / "test.txt").read_text())
    (lists / "train.txt").write_text("BloodImage_00338\n")  # one of the two degenerate boxes
    report = import_dataset(real_data / "bccd", tmp_path / "cells", format="voc", split=str(lists))
    assert report.counts["test"] == {"RBC": 805, "WBC": 71, "Platelets": 69}
    cells = [c for c in read_cells(report.dest / "cells.csv") if c.split == "test"]
    assert len(cells) == 945
    assert len({c.field for c in cells}) == 72
    assert sum(c.touches_border for c in cells) == 244
    (bad,) = report.left_out
    assert (bad.field, bad.box) == ("BloodImage_00338", (504.0, 337.0, 504.0, 337.0))


def test_real_rgba_fields_with_fractions_are_cropped(real_data: Path, tmp_path: Path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("image-100\n")
    report = import_dataset(
        real_data / "draaslan", tmp_path / "cells", format="csv", split=str(lists),
        taxonomy=RBC_WBC_PLATELETS,
    )  # fmt: skip
    cells = {Path(c.file).name: c for c in read_cells(report.dest / "cells.csv")}
    first = cells["image-100_001.png"]
    assert first.box == (0.0, 0.0, 25.19, 40.817)  # 0.09839921 * 256, 0.15944064 * 256
    assert first.touches_border
    assert images.read(report.dest / first.file).shape == (49, 49, 3)


def lay(root: Path, draw, *files: str) -> Path:
    draw(root, *files, size=(8, 8))
    return root


def test_class_folders_are_copied_byte_by_byte(tmp_path: Path, draw):
    files = [f"{label}/{i}.png" for label in ("rbc", "white cells") for i in range(20)]
    source = lay(tmp_path / "s", draw, *files)
    (source / "rbc" / "broken.jpg").write_bytes(b"not decoded")
    report = import_dataset(source, tmp_path / "d", format="folders", lab="here")
    assert report.by_class == {"RBC": 21, "WBC": 20, "Platelets": 0}
    assert Counter(p.read_bytes() for p in source.rglob("*.*")) == Counter(
        p.read_bytes() for p in report.dest.rglob("*.*") if p.suffix in {".png", ".jpg"}
    )
    cells = read_cells(report.dest / "cells.csv")
    assert {c.source for c in cells} == {*files, "rbc/broken.jpg"}
    assert {(c.lab, c.box, c.field) for c in cells} == {("here", None, "")}
    dataset = read_dataset(report.dest)
    assert {split: len(dataset.subset(split)) for split in dataset.splits} == {
        "train": 29, "valid": 6, "test": 6,
    }  # fmt: skip


def test_existing_splits_are_kept_and_missing_ones_made(tmp_path: Path, draw):
    files = [f"{split}/{la}/{i}.png" for split in ("train", "test") for la in ("RBC", "WBC")
             for i in range(20)]  # fmt: skip
    source = lay(tmp_path / "s", draw, *files)
    report = import_dataset(source, tmp_path / "d", format="folders")
    assert report.counts == {
        "train": {"RBC": 17, "WBC": 17, "Platelets": 0},
        "valid": {"RBC": 3, "WBC": 3, "Platelets": 0},
        "test": {"RBC": 20, "WBC": 20, "Platelets": 0},
    }
    (note,) = report.notes
    assert note == (
        "The split of the dataset was kept: train, test. "
        "Made from train, keeping groups together: valid."
    )
    again = import_dataset(source, tmp_path / "again", format="folders", split="50/50")
    assert again.notes == (
        "A split was made that keeps groups together: 50% train, 50% valid, 0% test.",
    )
    assert {split: n["RBC"] for split, n in again.counts.items()} == {
        "train": 20,
        "valid": 20,
    }
    none = import_dataset(source, tmp_path / "none", format="folders", split="none")
    assert none.counts == {"all": {"RBC": 40, "WBC": 40, "Platelets": 0}}
    # train/RBC/1.png and test/RBC/1.png are two images of one name.
    assert (none.dest / "RBC" / "1.png").exists()
    assert (none.dest / "RBC" / "1-2.png").exists()


def test_lists_and_groups_also_work_for_class_folders(tmp_path: Path, draw):
    source = lay(
        tmp_path / "s", draw, *(f"{la}/{la}{i}.png" for la in ("ba", "eo") for i in range(4))
    )
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("ba0\neo0\nba1.png\n")
    (lists / "test.txt").write_text("eo/eo1.png\n")
    table = tmp_path / "g.csv"
    table.write_text(
        "file,p\n" + "".join(f"{la}{i},p{i}\n" for la in ("ba", "eo") for i in range(4))
    )
    report = import_dataset(
        source, tmp_path / "d", format="folders", split=str(lists), groups=f"{table}:p",
        taxonomy=PBC8,
    )  # fmt: skip
    dataset = read_dataset(report.dest, PBC8)
    assert [(s.path.name, s.split, s.group) for s in dataset] == [
        ("eo1.png", "test", "p1"), ("ba0.png", "train", "p0"), ("ba1.png", "train", "p1"),
        ("eo0.png", "train", "p0"),
    ]  # fmt: skip
    unlisted, leak = report.problems
    assert unlisted.startswith("4 fields in none of the lists")
    assert leak.startswith("1 group of images, such as copies of one image, in several splits: p1")


def test_an_imported_dataset_can_be_imported_again_with_another_split(voc: Path, tmp_path: Path):
    first = import_dataset(voc, tmp_path / "one", format="voc", split="none", lab="lab 1")
    second = import_dataset(first.dest, tmp_path / "two", format="folders", split="50/50")
    before = {Path(c.file).name: c for c in read_cells(first.dest / "cells.csv")}
    for cell in read_cells(second.dest / "cells.csv"):
        old = before[Path(cell.file).name]
        assert (cell.box, cell.lab, cell.group, cell.field, cell.touches_border) == (
            old.box, old.lab, old.group, old.field, old.touches_border,
        )  # fmt: skip
    assert second.touching == 10


def test_an_image_that_cannot_be_copied_is_named(tmp_path: Path, draw):
    source = lay(tmp_path / "s", draw, "RBC/1.png", "WBC/1.png")
    (source / "WBC" / "2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(OutputError, match=r"Cannot copy .*2\.png"):
        import_dataset(source, tmp_path / "d", format="folders")
    assert not (tmp_path / "d").exists()
