"""Imports of the layouts and faults found in public datasets."""

import json
import random
import shutil
import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.data.cells import read_cells
from hematovision.data.converting import convert_dataset
from hematovision.data.folders import read_dataset
from hematovision.data.importing import import_dataset
from hematovision.errors import DatasetError, MissingExtraError
from hematovision.images.crops import crop

BOXES = (("RBC", (10, 8, 26, 24)), ("WBC", (40, 30, 70, 55)))
SPLITS = ("train", "valid", "test")
WIDTH, HEIGHT = 80, 60


def ramp(blue: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A field whose pixels hold their row (red) and column (green)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 4, columns * 3, np.full_like(rows, blue)], axis=-1).astype(np.uint8)


def write_yolo(path: Path) -> None:
    lines = []
    for label, (a, b, c, d) in BOXES:
        values = ((a + c) / 2 / WIDTH, (b + d) / 2 / HEIGHT, (c - a) / WIDTH, (d - b) / HEIGHT)
        lines.append(" ".join(map(str, (["RBC", "WBC"].index(label), *values))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def write_voc(path: Path, size: tuple[int, int] | None = None) -> None:
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>\n"
        for label, (a, b, c, d) in BOXES
    )
    declared = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{declared}\n{objects}</annotation>")


def write_csv(path: Path, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    lines += [
        f"{name},{size[0]},{size[1]},{label},{a},{b},{c},{d}"
        for name in names
        for label, (a, b, c, d) in BOXES
    ]
    path.write_text("\n".join(lines))


def write_coco(path: Path, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    annotations = [
        {"image_id": i, "category_id": ["RBC", "WBC"].index(label) + 3,
         "bbox": [a, b, c - a, d - b]}
        for i in range(len(names)) for label, (a, b, c, d) in BOXES
    ]  # fmt: skip
    value = {
        "images": [
            {"id": i, "file_name": name, "width": size[0], "height": size[1]}
            for i, name in enumerate(names)
        ],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations)],
        "categories": [{"id": 3, "name": "RBC"}, {"id": 4, "name": "WBC"}],
    }
    path.write_text(json.dumps(value))


def roboflow(root: Path, format_: str, names: dict[str, list[str]]) -> Path:
    """Lay out fields as Roboflow exports them: a folder for each split."""
    blue = 0
    for split, members in names.items():
        folder = root / split
        image_folder = folder / "images" if format_ == "yolo" else folder
        for name in members:
            images.write(image_folder / name, ramp(blue))
            blue += 1
            if format_ == "yolo":
                write_yolo((folder / "labels" / name).with_suffix(".txt"))
            elif format_ == "voc":
                write_voc((folder / name).with_suffix(".xml"), (WIDTH, HEIGHT))
        if format_ == "csv":
            write_csv(folder / "_annotations.csv", members)
        elif format_ == "coco":
            write_coco(folder / "_annotations.coco.json", members)
    if format_ == "yolo":
        (root / "data.yaml").write_text(
            "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
            "nc: 2\nnames: ['RBC', 'WBC']\n"
        )
    return root


def split_of_sources(dest: Path) -> dict[str, str | None]:
    return {Path(cell.source).name: cell.split for cell in read_cells(dest / "cells.csv")}


NAMES = {split: [f"{split}{i}.png" for i in range(3)] for split in SPLITS}


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("format_", ["yolo", "voc", "csv", "coco"])
def test_the_layouts_of_roboflow_are_found_and_their_splits_kept(
    tmp_path: Path, format_, explicit: bool, wrapped: bool
):
    source = tmp_path / "set"
    roboflow(source / "export" if wrapped else source, format_, NAMES)
    report = import_dataset(source, tmp_path / "cells", format=format_ if explicit else None)
    assert report.format == format_
    assert report.ok, report.problems
    assert split_of_sources(report.dest) == {n: s for s, members in NAMES.items() for n in members}
    assert report.by_class == {"RBC": 9, "WBC": 9, "Platelets": 0}
    for cell in read_cells(report.dest / "cells.csv"):
        expected, _ = crop(images.read(source / cell.source), cell.box)
        assert np.array_equal(images.read(report.dest / cell.file), expected)


@pytest.mark.parametrize("format_", ["yolo", "voc", "csv", "coco"])
def test_all_formats_give_the_same_cells(tmp_path: Path, format_):
    report = import_dataset(roboflow(tmp_path / "set", format_, NAMES), tmp_path / "cells")
    cells = read_cells(report.dest / "cells.csv")
    assert {(c.label, c.box) for c in cells} == {
        (label, tuple(map(float, box))) for label, box in BOXES
    }


@pytest.mark.parametrize("valid", ["valid", "val", "Validation"])
@pytest.mark.parametrize(
    "yaml",
    [
        "names: [RBC, WBC]\n",
        "train: images/train\nval: images/{valid}\ntest: images/test\nnames: [RBC, WBC]\n",
        """path: /content/set
train: images/train
val: images/{valid}
test: images/test
nc: 2
names:
  0: RBC
  1: WBC
""",
        """train: ../set/images/train
val: ['../set/images/{valid}']
test: images/test
names: {{0: RBC, 1: WBC}}
""",
    ],
)
def test_the_splits_of_a_yolo_folder_are_kept(tmp_path: Path, valid: str, yaml: str):
    source = tmp_path / "set"
    for split in ("train", valid, "test"):
        for i in range(3):
            images.write(source / "images" / split / f"{split}{i}.png", ramp(i))
            write_yolo(source / "labels" / split / f"{split}{i}.txt")
    (source / "data.yaml").write_text(yaml.format(valid=valid))
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    assert report.ok, report.problems
    found = split_of_sources(report.dest)
    assert {name: split for name, split in found.items() if name.startswith(valid)} == {
        f"{valid}{i}.png": "valid" for i in range(3)
    }
    assert sorted(map(str, found.values())) == ["test"] * 3 + ["train"] * 3 + ["valid"] * 3
    assert "The split of the dataset was kept: train, valid, test." in report.notes
    written = json.loads((report.dest / "import.json").read_text())
    assert list(report.notes) == written["notes"]


def test_data_yaml_takes_precedence_over_folder_names(tmp_path: Path):
    source = tmp_path / "set"
    for folder in ("one", "two", "test"):
        images.write(source / "images" / folder / f"{folder}.png", ramp())
        write_yolo(source / "labels" / folder / f"{folder}.txt")
    (source / "two.txt").write_text("./images/two/two.png\n")
    (source / "data.yaml").write_text(
        "train: images/one\nval: two.txt\ntest: images/test\nnames: [RBC, WBC]\n"
    )
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    assert split_of_sources(report.dest) == {
        "one.png": "train", "two.png": "valid", "test.png": "test",
    }  # fmt: skip


def test_paths_in_data_yaml_outside_the_source_are_problems(tmp_path: Path):
    images.write(tmp_path / "elsewhere" / "secret.png", ramp())
    source = roboflow(tmp_path / "set", "yolo", NAMES)
    (source / "data.yaml").write_text(
        "train: ../train/images\nval: ../../elsewhere\ntest: /etc\nnames: [RBC, WBC]\n"
    )
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    assert len(report.problems) == 2
    assert "'../../elsewhere' is not in" in report.problems[0]
    assert split_of_sources(report.dest)["valid0.png"] == "valid"  # from its folder
    assert "secret.png" not in (report.dest / "cells.csv").read_text()


def test_links_inside_the_folder_are_followed(tmp_path: Path):
    roboflow(tmp_path / "elsewhere", "yolo", NAMES)
    source = tmp_path / "set"
    source.mkdir()
    (source / "data.yaml").write_text((tmp_path / "elsewhere" / "data.yaml").read_text())
    for split in SPLITS:
        (source / split).symlink_to(tmp_path / "elsewhere" / split)
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    assert report.ok, report.problems
    assert split_of_sources(report.dest)["valid1.png"] == "valid"


def test_label_files_next_to_their_images_in_a_folder_for_each_split_are_found(tmp_path: Path):
    source = tmp_path / "set"
    for split, members in NAMES.items():
        for name in members:
            images.write(source / split / name, ramp())
            write_yolo((source / split / name).with_suffix(".txt"))
        (source / split / "_darknet.labels").write_text("RBC\nWBC\n")
        (source / f"{split}.txt").write_text("\n".join(members))
    (source / "README.roboflow.txt").write_text("0 is not a label file")
    report = import_dataset(source, tmp_path / "cells")
    assert report.format == "yolo"
    assert report.ok, report.problems
    assert split_of_sources(report.dest) == {n: s for s, members in NAMES.items() for n in members}


@pytest.mark.parametrize("format_", ["yolo", "voc"])
def test_leftovers_of_macos_archives_are_ignored(tmp_path: Path, format_):
    source = roboflow(tmp_path / "set", format_, NAMES)
    for folder in ("__MACOSX/train", "train"):
        shadow = source / folder / f"._train0.{'txt' if format_ == 'yolo' else 'xml'}"
        shadow.parent.mkdir(parents=True, exist_ok=True)
        shadow.write_bytes(b"\0\5\x16\7")
    report = import_dataset(source, tmp_path / "cells", format=format_)
    assert report.ok, report.problems


def test_without_pyyaml_the_extra_is_named_before_any_work(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    source = roboflow(tmp_path / "set", "yolo", NAMES)
    with pytest.raises(MissingExtraError, match=r"Reading data\.yaml needs"):
        import_dataset(source, tmp_path / "cells", format="yolo")
    assert not (tmp_path / "cells").exists()


def test_the_same_folder_for_two_splits_is_a_problem(tmp_path: Path):
    source = roboflow(tmp_path / "set", "yolo", NAMES)
    (source / "data.yaml").write_text("train: train/images\nval: train/images\nnames: [RBC, WBC]\n")
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    assert any("are the same folder" in problem for problem in report.problems)


def test_a_single_folder_named_like_a_split_is_not_a_split(tmp_path: Path):
    source = tmp_path / "set"
    for folder in ("test", "other"):
        for i in range(4):
            images.write(source / "images" / folder / f"{folder}{i}.png", ramp(i))
            write_yolo(source / "labels" / folder / f"{folder}{i}.txt")
    report = import_dataset(source, tmp_path / "cells", format="yolo", names=["RBC", "WBC"])
    assert set(report.counts) == {"train", "valid", "test"}
    assert report.total == 16
    assert any("so new splits were made" in note for note in report.notes)


def test_fields_outside_the_splits_are_left_out_and_listed(tmp_path: Path):
    source = roboflow(tmp_path / "set", "yolo", {**NAMES, "spare": ["spare0.png"]})
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    (problem,) = report.problems
    assert problem.endswith("left out: spare/spare0")
    assert report.total == 18


def test_a_requested_split_replaces_the_datasets_own(tmp_path: Path):
    source = roboflow(tmp_path / "set", "yolo", NAMES)
    report = import_dataset(source, tmp_path / "cells", format="yolo", split="50/50")
    assert list(report.counts) == ["train", "valid"]
    assert any("was not used" in note for note in report.notes)
    assert any("50% train, 50% valid, 0% test" in note for note in report.notes)


COPIES = (
    "{}_png.rf.{:032x}.png",
    "{}.rf.{:032x}.png",
    "{}_jpg.rf.{:05d}.png",
    "{}.jpeg.rf.A{}z.png",
)


@pytest.mark.parametrize("pattern", COPIES)
def test_augmented_copies_of_one_source_stay_together(tmp_path: Path, pattern: str):
    draw = random.Random(1)
    names = [pattern.format(f"field{i % 8}", draw.randrange(10**5)) for i in range(24)]
    source = tmp_path / "set"
    for i, name in enumerate(names):
        images.write(source / "images" / name, ramp(i))
        write_yolo((source / "labels" / name).with_suffix(".txt"))
    report = import_dataset(source, tmp_path / "cells", format="yolo", names=["RBC", "WBC"])
    splits: dict[str, set] = {}
    for cell in read_cells(report.dest / "cells.csv"):
        splits.setdefault(Path(cell.source).name.split(".")[0].split("_")[0], set()).add(cell.split)
    assert len(splits) == 8
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "valid", "test"}
    assert any(note.startswith("24 images are copies of 8 sources") for note in report.notes)


@pytest.mark.parametrize("format_", ["yolo", "voc", "csv", "coco"])
def test_copies_in_several_splits_are_a_finding_and_the_split_is_kept(tmp_path: Path, format_):
    names = {
        "train": ["a_png.rf.11111.png", "b_png.rf.22222.png"],
        "valid": ["a_png.rf.33333.png"],
        "test": ["c_png.rf.44444.png"],
    }
    report = import_dataset(roboflow(tmp_path / "set", format_, names), tmp_path / "cells")
    assert split_of_sources(report.dest) == {n: s for s, members in names.items() for n in members}
    (leak,) = report.problems
    assert (
        "1 group of images, such as copies of one image, in several splits: set/a (train, valid)"
        in leak
    )
    assert "--split 70/15/15" in leak
    again = import_dataset(tmp_path / "set", tmp_path / "again", split="50/25/25")
    assert again.ok
    groups: dict[str, set] = {}
    for cell in read_cells(again.dest / "cells.csv"):
        groups.setdefault(cell.group, set()).add(cell.split)
    assert {len(found) for found in groups.values()} == {1}


def test_copies_in_class_folders_are_one_group(tmp_path: Path):
    for label in ("RBC", "WBC"):
        for i in range(12):
            name = f"cell{i % 4}_jpg.rf.{i:08x}.png"
            images.write(tmp_path / "set" / label / name, ramp(i))
    assert len({sample.group for sample in read_dataset(tmp_path / "set")}) == 8
    report = import_dataset(tmp_path / "set", tmp_path / "cells", format="folders")
    found: dict[str, set] = {}
    for sample in read_dataset(report.dest):
        found.setdefault(sample.group, set()).add(sample.split)
    assert len(found) == 8
    assert all(len(splits) == 1 for splits in found.values())
    assert any(note.startswith("24 images are copies of 8 sources") for note in report.notes)


def test_copies_across_the_splits_of_class_folders_are_a_finding(tmp_path: Path):
    for blue, (split, label) in enumerate(product(("train", "valid"), ("RBC", "WBC"))):
        images.write(tmp_path / "set" / split / label / f"x_jpg.rf.{split}.png", ramp(blue))
    report = import_dataset(tmp_path / "set", tmp_path / "cells", format="folders")
    (leak,) = report.problems
    assert "RBC/x (train, valid), WBC/x (train, valid)" in leak


FORMATS_WITH_SIZE = ("voc", "csv", "coco")


def sized(root: Path, format_: str, declared: tuple[int, int], image: np.ndarray) -> Path:
    """Four fields with a declared size that may differ from the images'."""
    names = [f"f{i}.png" for i in range(4)]
    for name in names:
        images.write(root / "images" / name, image)
        if format_ == "voc":
            write_voc((root / "Annotations" / name).with_suffix(".xml"), declared)
    if format_ == "csv":
        write_csv(root / "annotations.csv", names, declared)
    elif format_ == "coco":
        write_coco(root / "instances.json", names, declared)
    return root


@pytest.mark.parametrize("format_", FORMATS_WITH_SIZE)
@pytest.mark.parametrize("factor", [0.5, 0.75, 2, 3.2])
def test_boxes_of_resized_images_are_scaled_and_that_is_reported(tmp_path, format_, factor):
    width, height = round(WIDTH * factor), round(HEIGHT * factor)
    source = sized(tmp_path / "set", format_, (WIDTH, HEIGHT), ramp(0, width, height))
    report = import_dataset(source, tmp_path / "cells", format=format_)
    assert report.ok
    boxes = {cell.label: cell.box for cell in read_cells(report.dest / "cells.csv")}
    assert boxes == {
        label: pytest.approx(tuple(side * factor for side in box)) for label, box in BOXES
    }
    (note,) = (text for text in report.notes if "scaled" in text)
    assert f"scaled by {factor:g}, from 80 x 60 to {width} x {height} (4 fields" in note


@pytest.mark.parametrize("format_", FORMATS_WITH_SIZE)
@pytest.mark.parametrize("size", [(100, 60), (60, 80), (81, 70)])
def test_a_size_that_contradicts_the_image_is_a_finding_and_crops_nothing(tmp_path, format_, size):
    source = sized(tmp_path / "set", format_, (WIDTH, HEIGHT), ramp(0, *size))
    images.write(source / "images" / "f3.png", ramp())
    report = import_dataset(source, tmp_path / "cells", format=format_)
    assert {cell.field for cell in read_cells(report.dest / "cells.csv")} == {"f3"}
    assert len(report.problems) == 3
    assert f"declares 80 x 60 pixels, but the image has {size[0]} x {size[1]}" in report.problems[0]
    assert "Left out: 2 boxes." in report.problems[0]


@pytest.mark.parametrize("format_", FORMATS_WITH_SIZE)
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("factor", [1, 2])
def test_boxes_for_a_stored_image_are_rotated_with_it(tmp_path, format_, orientation, factor):
    stored = ramp(0, WIDTH * factor, HEIGHT * factor)
    source = sized(tmp_path / "set", format_, (WIDTH, HEIGHT), stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in (source / "images").iterdir():
        Image.fromarray(stored).save(path, exif=exif)
    report = import_dataset(source, tmp_path / "cells", format=format_)
    assert report.ok, report.problems
    assert any("turned upright" in note for note in report.notes)
    cells = read_cells(report.dest / "cells.csv")
    assert len(cells) == 8
    for cell in cells:
        # The colours at the corners of the turned box are those of the box in the stored image.
        upright = images.read(source / cell.source)
        a, b, c, d = (round(side) for side in cell.box)
        (inner,) = (box for label, box in BOXES if label == cell.label)
        left, top, right, bottom = (side * factor for side in inner)
        expected = stored[top:bottom, left:right].reshape(-1, 3)
        found = upright[b:d, a:c].reshape(-1, 3)
        assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_boxes_without_a_size_on_a_rotated_image_are_read_as_upright_with_a_note(
    tmp_path: Path, orientation: int
):
    source = tmp_path / "set"
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(4):
        write_yolo(source / "labels" / f"f{i}.txt")
        (source / "images").mkdir(exist_ok=True)
        Image.fromarray(ramp(i)).save(source / "images" / f"f{i}.jpg", exif=exif)
    report = import_dataset(source, tmp_path / "cells", format="yolo", names=["RBC", "WBC"])
    assert report.ok
    assert any("read as for the rotated image (4 fields" in note for note in report.notes)


def test_a_polygon_and_a_bad_line_do_not_stop_the_import(tmp_path: Path):
    source = roboflow(tmp_path / "set", "yolo", NAMES)
    label = source / "train" / "labels" / "train0.txt"
    label.write_text(label.read_text() + "\n0 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5\nnonsense\n")
    report = import_dataset(source, tmp_path / "cells", format="yolo")
    assert report.total == 19
    assert any(
        note.startswith("1 polygon or rotated box in 1 label file replaced")
        for note in report.notes
    )
    (problem,) = report.problems
    assert "train0.txt, line 4" in problem


@pytest.mark.parametrize("format_", ["yolo", "voc", "coco"])
def test_one_damaged_box_file_does_not_stop_the_import(tmp_path: Path, format_):
    source = roboflow(tmp_path / "set", format_, NAMES)
    broken = {
        "yolo": "train/labels/train0.txt", "voc": "train/train0.xml",
        "coco": "train/_annotations.coco.json",
    }[format_]  # fmt: skip
    (source / broken).write_bytes(b"\x00\x01{<")
    report = import_dataset(source, tmp_path / "cells", format=format_, split="50/50")
    assert report.total == (12 if format_ == "coco" else 16)
    assert any(Path(broken).name in problem for problem in report.problems)


def test_a_table_of_images_and_labels_becomes_class_folders(tmp_path: Path):
    lines = ["image;label"]
    for i in range(12):
        images.write(tmp_path / "set" / "images" / f"c{i}.png", ramp(i))
        lines.append(f"c{i}.png;{('RBC', 'WBC', 'Platelets')[i % 3]}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(lines))
    report = import_dataset(tmp_path / "set", tmp_path / "cells", format="csv")
    assert report.ok
    assert report.by_class == {"RBC": 4, "WBC": 4, "Platelets": 4}
    for cell in read_cells(report.dest / "cells.csv"):
        original = tmp_path / "set" / cell.source
        assert (report.dest / cell.file).read_bytes() == original.read_bytes()
    assert set(report.counts) == {"train", "valid", "test"}
    assert any("no boxes" in note for note in report.notes)
    assert "crop_rule" not in json.loads((report.dest / "import.json").read_text())


@pytest.mark.parametrize("taxonomy", [None, "folders", "rbc-wbc-platelets"])
@pytest.mark.parametrize("format_", ["yolo", "voc", "csv", "coco"])
def test_names_of_boxes_are_kept_or_mapped_in_every_format(tmp_path: Path, format_, taxonomy):
    source = roboflow(tmp_path / "set", format_, NAMES)
    for path in source.rglob("*.*"):
        if path.suffix in {".xml", ".csv", ".json", ".yaml"}:
            path.write_text(path.read_text().replace("RBC", "eosinophil"))
    if taxonomy == "rbc-wbc-platelets":
        with pytest.raises(DatasetError, match="leaves one class"):
            import_dataset(source, tmp_path / "cells", taxonomy=taxonomy)
        return
    report = import_dataset(source, tmp_path / "cells", taxonomy=taxonomy)
    assert report.by_class == {"eosinophil": 9, "WBC": 9}


def test_names_that_are_not_utf8_are_written_as_text(tmp_path: Path):
    source = roboflow(tmp_path / "set", "voc", NAMES)
    unusual = source / "train" / "caf\udce9"
    try:
        shutil.copy(source / "train" / "train0.png", f"{unusual}.png")
    except OSError:
        pytest.skip("this file system holds no such names")
    write_voc(Path(f"{unusual}.xml"), (WIDTH, HEIGHT))
    report = import_dataset(source, tmp_path / "cells", format="voc")
    assert report.ok
    cells = read_cells(report.dest / "cells.csv")
    (first, _) = (cell for cell in cells if "caf" in cell.source)
    assert first.source == "train/caf\\xe9.png"
    (report.dest / "import.json").read_text(encoding="utf-8")
    Path(f"{unusual}.xml").write_text("broken")
    again = import_dataset(source, tmp_path / "again", format="voc")
    assert any("caf" in problem for problem in again.problems)
    assert (
        "caf\\xe9.xml" in json.loads((again.dest / "import.json").read_text("utf-8"))["problems"][0]
    )


def test_class_folders_with_names_that_are_not_utf8_are_imported(tmp_path: Path):
    for label in ("RBC", "WBC"):
        for i in range(3):
            images.write(tmp_path / "set" / label / f"{i}.png", ramp(i))
    try:
        shutil.copy(tmp_path / "set/RBC/0.png", tmp_path / "set/RBC/caf\udce9.png")
    except OSError:
        pytest.skip("this file system holds no such names")
    report = import_dataset(tmp_path / "set", tmp_path / "cells", format="folders")
    (cell,) = (c for c in read_cells(report.dest / "cells.csv") if "caf" in c.source)
    assert cell.source == "RBC/caf\\xe9.png"
    assert (report.dest / cell.file).is_file()
    assert len(read_dataset(report.dest)) == 7


@pytest.mark.parametrize("label", ["=cmd|'/C calc'!A0", "@SUM(1)", "+1+1", "'=x"])
def test_class_names_like_formulas_are_harmless_in_tables_and_read_back(tmp_path: Path, label):
    source = roboflow(tmp_path / "set", "csv", NAMES)
    for path in source.rglob("*.csv"):
        path.write_text(path.read_text().replace("RBC", f'"{label}"'))
    report = import_dataset(source, tmp_path / "cells", lab=label)
    lines = (report.dest / "cells.csv").read_text().splitlines()
    for line in lines[1:]:
        assert not any(value[:1] in "=+-@" for value in line.split(",") if value)
    assert {cell.lab for cell in read_cells(report.dest / "cells.csv")} == {label}


@pytest.mark.parametrize("order", ["images/{}", "{}/images"])
@pytest.mark.parametrize(
    "given",
    [
        "/content/drive/BCCD/{}/images",
        "../{}/images",
        "C:\\data\\BCCD\\images\\{}",
        "/kaggle/input/bccd/images/{}",
    ],
)
def test_paths_of_another_layout_in_data_yaml_keep_the_split(tmp_path: Path, order, given):
    for split in SPLITS:
        folder = tmp_path / "set" / order.format(split)
        images.write(folder / f"{split}1.png", ramp())
        labels = Path(str(folder).replace("images", "labels"))
        write_yolo(labels / f"{split}1.txt")
    keys = {"train": "train", "val": "valid", "test": "test"}
    lines = [f"{key}: {given.format(split)}" for key, split in keys.items()]
    (tmp_path / "set" / "data.yaml").write_text("\n".join([*lines, "names: [RBC, WBC]"]))
    report = import_dataset(tmp_path / "set", tmp_path / "out", format="yolo")
    assert report.problems == ()
    assert {cell.split: cell.field for cell in read_cells(tmp_path / "out" / "cells.csv")} == {
        split: (f"{split}/{split}1") for split in SPLITS
    }


def test_invalid_data_yaml_is_an_error_that_names_the_line(tmp_path: Path):
    images.write(tmp_path / "set" / "images" / "a.png", ramp())
    write_yolo(tmp_path / "set" / "labels" / "a.txt")
    (tmp_path / "set" / "data.yaml").write_text("names: [RBC\nval: x\n")
    with pytest.raises(DatasetError, match=r"data\.yaml, line 2: not valid YAML: expected ',' or"):
        import_dataset(tmp_path / "set", tmp_path / "out", format="yolo")


@pytest.mark.parametrize("make", [import_dataset, partial(convert_dataset, to="coco")])
@pytest.mark.parametrize("dest", ["set/cells", "set/images/cells", "link/cells"])
def test_a_destination_inside_the_source_is_an_error(tmp_path: Path, make, dest):
    images.write(tmp_path / "set" / "images" / "a.png", ramp())
    write_csv(tmp_path / "set" / "annotations.csv", ["a.png"])
    (tmp_path / "link").symlink_to(tmp_path / "set", target_is_directory=True)
    with pytest.raises(DatasetError, match=rf"inside the source .*such as {tmp_path}/cells"):
        make(tmp_path / "set", tmp_path / dest)
    assert not (tmp_path / dest).exists()


def test_lists_of_images_next_to_yolo_folders_keep_the_split(tmp_path: Path):
    names = {"train": ["a1", "a2"], "valid": ["b1"]}
    for split, members in names.items():
        for name in members:
            folder = tmp_path / "set" / f"obj_{split}_data"
            images.write(folder / f"{name}.png", ramp())
            write_yolo(folder / f"{name}.txt")
        lines = [f"data/obj_{split}_data/{name}.png" for name in members]
        (tmp_path / "set" / f"{split}.txt").write_text("\n".join(lines))
    (tmp_path / "set" / "obj.names").write_text("RBC\nWBC\n")
    report = import_dataset(tmp_path / "set", tmp_path / "out")
    assert report.problems == ()
    assert report.notes[0] == "The split of the dataset was kept: train, valid."
    assert {split: sum(n.values()) for split, n in report.counts.items()} == {
        "train": 4,
        "valid": 2,
    }


def test_notes_of_label_tools_are_not_coco_files(tmp_path: Path):
    images.write(tmp_path / "set" / "images" / "a.png", ramp())
    write_yolo(tmp_path / "set" / "labels" / "a.txt")
    (tmp_path / "set" / "classes.txt").write_text("RBC\nWBC\n")
    (tmp_path / "set" / "notes.json").write_text('{"categories": [{"id": 0}], "info": {}}')
    assert import_dataset(tmp_path / "set", tmp_path / "out").format == "yolo"


def test_box_files_with_a_suffix_in_capitals_are_read(tmp_path: Path):
    images.write(tmp_path / "set" / "JPEGImages" / "A.PNG", ramp())
    write_voc(tmp_path / "set" / "Annotations" / "A.XML")
    assert import_dataset(tmp_path / "set", tmp_path / "out", format="voc").total == 2
