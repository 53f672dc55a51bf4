"""Annotated fields from one format to another."""

import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.data.converting import convert_dataset
from hematovision.data.formats import FORMATS
from hematovision.data.formats.reading import read_fields
from hematovision.data.importing import import_dataset
from hematovision.errors import DatasetError

LABELS = ("WBC", "RBC", "nucleated, red \u00fc", "no")
SIZES = ((80, 60), (641, 479), (1000, 333))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A COCO folder of three splits, with sub-folders, an empty field and an unused class."""
    draw = random.Random(5)
    root = tmp_path / "set"
    number = 0
    for split in ("train", "valid", "test"):
        entries, annotations = [], []
        for i, (width, height) in enumerate(SIZES):
            name = f"slide {i}/field.{i}.png" if i else "field 0.png"
            pixels = np.full((height, width, 3), number, np.uint8)
            images.write(root / "images" / split / name, pixels)
            entries.append({"id": f"{split}-{i}", "file_name": f"{split}/{name}",
                            "width": width, "height": height})  # fmt: skip
            for _ in range(0 if i == 1 and split == "train" else 6):
                number += 1
                x, y = draw.randrange(width - 30), round(draw.random() * (height - 30), 2)
                annotations.append({
                    "id": number, "image_id": f"{split}-{i}",
                    "category_id": draw.choice([7, 2, 90]),
                    "bbox": [x, y, draw.randrange(4, 29), round(4 + draw.random() * 20, 3)],
                })  # fmt: skip
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        ids = zip((7, 2, 90, 91), LABELS, strict=True)
        categories = [{"id": key, "name": name} for key, name in ids]
        path.write_text(json.dumps(
            {"images": entries, "annotations": annotations, "categories": categories}
        ))  # fmt: skip
    return root


def content(folder: Path, format_, names=None) -> dict:
    """The content of a folder: size, split and boxes by the image's bytes."""
    found = read_fields(folder, format_, names=names)
    assert found.problems == ()
    result = {}
    for field in found.fields:
        height, width = images.read(field.image).shape[:2]
        boxes = [(b.label, field.box_in_pixels(b.box, width, height, 9)) for b in field.boxes]
        result[field.image.read_bytes(), field.split] = boxes
    return result


def with_lists(folder: Path, format_) -> dict:
    """The same for VOC, whose splits are in lists."""
    if format_ != "voc":
        return content(folder, format_)
    lists = {
        line: {"val": "valid"}.get(path.stem, path.stem)
        for path in (folder / "ImageSets" / "Main").glob("*.txt")
        for line in path.read_text().splitlines()
    }
    found = read_fields(folder, "voc")
    assert found.problems == ()
    return {
        (field.image.read_bytes(), lists[field.name]): [(b.label, b.box) for b in field.boxes]
        for field in found.fields
    }


# Every format is written and read as the first and as the second, next to two others.
ROUND = [(a, b) for shift in (1, 3) for a, b in zip(FORMATS, (*FORMATS, *FORMATS)[shift:])]  # noqa: B905


@pytest.mark.parametrize(("first", "second"), ROUND)
def test_every_round_trip_gives_the_same_values(source: Path, tmp_path: Path, first, second):
    expected = content(source, "coco")
    one = convert_dataset(source, tmp_path / "one", to=first)
    assert one.ok, one.problems
    assert (one.from_format, one.fields, one.boxes) == ("coco", 9, 48)
    assert dict(one.splits) == {"train": 3, "valid": 3, "test": 3}
    assert with_lists(tmp_path / "one", first) == expected
    two = convert_dataset(tmp_path / "one", tmp_path / "two", to=second, format=first)
    assert two.ok, two.problems
    assert with_lists(tmp_path / "two", second) == expected
    three = convert_dataset(tmp_path / "two", tmp_path / "three", to="coco")
    assert three.ok, three.problems
    assert content(tmp_path / "three", "coco") == expected


def test_coco_keeps_the_order_of_classes_and_is_read_by_pycocotools(source: Path, tmp_path: Path):
    convert_dataset(source, tmp_path / "yolo", to="yolo")
    convert_dataset(tmp_path / "yolo", tmp_path / "coco", to="coco")
    files = sorted((tmp_path / "coco" / "annotations").iterdir())
    assert [file.name for file in files] == [
        "instances_test.json", "instances_train.json", "instances_valid.json",
    ]  # fmt: skip
    for file in files:
        value = json.loads(file.read_text("utf-8"))
        assert [(c["id"], c["name"]) for c in value["categories"]] == [
            (1, "RBC"), (2, "WBC"), (3, "nucleated, red \u00fc"), (4, "no"),
        ]  # fmt: skip
        ids = [annotation["id"] for annotation in value["annotations"]]
        assert ids == list(range(1, len(ids) + 1))
        known = {image["id"]: image for image in value["images"]}
        assert len(known) == 3
        for annotation in value["annotations"]:
            image = known[annotation["image_id"]]
            x, y, width, height = annotation["bbox"]
            assert 0 <= x < x + width <= image["width"]
            assert 0 <= y < y + height <= image["height"]
            assert annotation["area"] == pytest.approx(width * height)
            assert annotation["iscrowd"] == 0
            assert annotation["segmentation"] == []
        for image in value["images"]:
            with Image.open(tmp_path / "coco" / "images" / image["file_name"]) as opened:
                assert opened.size == (image["width"], image["height"])


def test_yolo_tools_read_the_written_files(source: Path, tmp_path: Path):
    convert_dataset(source, tmp_path / "yolo", to="yolo")
    yaml = pytest.importorskip("yaml").safe_load(
        (tmp_path / "yolo" / "data.yaml").read_text("utf-8")
    )
    assert yaml == {
        "train": "images/train", "val": "images/valid", "test": "images/test", "nc": 4,
        "names": ["RBC", "WBC", "nucleated, red \u00fc", "no"],
    }  # fmt: skip
    for image in (tmp_path / "yolo" / "images").rglob("*.png"):
        relative = image.relative_to(tmp_path / "yolo" / "images")
        label = tmp_path / "yolo" / "labels" / f"{relative.with_suffix('')}.txt"
        for line in label.read_text().splitlines():
            number, *values = line.split()
            assert int(number) in (0, 1, 2)
            assert all(0 <= float(value) <= 1 for value in values)


@pytest.mark.parametrize("through", ["coco", "voc", "csv"])
def test_fractions_of_six_digits_are_unchanged(tmp_path: Path, through):
    draw = random.Random(3)
    lines = []
    for _ in range(200):
        width, height = draw.uniform(0.01, 0.4), draw.uniform(0.01, 0.4)
        x, y = draw.uniform(0.2, 0.8), draw.uniform(0.2, 0.8)
        lines.append(f"{draw.randrange(2)} {x:.6f} {y:.6f} {width:.6f} {height:.6f}")
    images.write(tmp_path / "set" / "images" / "a.png", np.zeros((479, 641, 3), np.uint8))
    (tmp_path / "set" / "labels").mkdir()
    (tmp_path / "set" / "labels" / "a.txt").write_text("\n".join(lines))
    (tmp_path / "set" / "classes.txt").write_text("RBC\nWBC\n")
    convert_dataset(tmp_path / "set", tmp_path / "other", to=through)
    convert_dataset(tmp_path / "other", tmp_path / "back", to="yolo")
    assert (tmp_path / "back" / "labels" / "a.txt").read_text().split() == " ".join(lines).split()
    assert "# There is no split" in (tmp_path / "back" / "data.yaml").read_text()


def test_voc_keeps_names_sizes_and_lists(source: Path, tmp_path: Path):
    report = convert_dataset(source, tmp_path / "voc", to="voc")
    root = ET.parse(
        tmp_path / "voc" / "Annotations" / "train" / "slide 2" / "field.2.xml"
    ).getroot()
    assert root.findtext("filename") == "field.2.png"
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == [
        "1000", "333", "3",
    ]  # fmt: skip
    assert len(root.findall("object")) == 6
    assert report.classes == ("RBC", "WBC", "nucleated, red \u00fc")
    cells = import_dataset(tmp_path / "voc", tmp_path / "cells", format="voc", taxonomy="folders")
    assert cells.ok
    assert {split: sum(n.values()) for split, n in cells.counts.items()} == {
        "train": 12, "valid": 18, "test": 18,
    }  # fmt: skip


@pytest.mark.parametrize(
    "label", ["<RBC> & 'x'", "a\x01b", "=1+1", "no: yes # {", "\u7ea2\u7ec6\u80de"]
)
def test_any_class_names_survive_every_format(source: Path, tmp_path: Path, label: str):
    for file in (source / "annotations").iterdir():
        file.write_text(file.read_text().replace('"WBC"', json.dumps(label)))
    folder, expected = source, content(source, "coco")
    for to in ("yolo", "csv", "coco"):
        assert convert_dataset(folder, tmp_path / to, to=to).ok
        folder = tmp_path / to
        assert content(folder, to) == expected
    convert_dataset(folder, tmp_path / "voc", to="voc")
    found = {
        box.label for field in read_fields(tmp_path / "voc", "voc").fields for box in field.boxes
    }
    assert label.replace("\x01", "\\x01") in found


def test_names_that_differ_only_by_suffix_or_case_stay_distinct(tmp_path: Path):
    names = ("a.png", "a.bmp", "sub/a.png")
    for i, name in enumerate(names):
        path = tmp_path / "set" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 80, 3), i, np.uint8)).save(path)
    lines = [
        f"{name},1,2,{10 + i},20,RBC" for i, name in enumerate(("a.png", "a.bmp", "sub/a.png"))
    ]
    (tmp_path / "set" / "boxes.csv").write_text(
        "image,xmin,ymin,xmax,ymax,label\n" + "\n".join(lines)
    )
    expected = content(tmp_path / "set", "csv")
    assert len(expected) == 3
    for to in FORMATS:
        report = convert_dataset(tmp_path / "set", tmp_path / to, to=to)
        assert report.ok, report.problems
        assert content(tmp_path / to, to) == expected


def test_boxes_on_rotated_and_scaled_images_are_written_for_the_upright_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = tmp_path / "set" / "images"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(folder / "a.jpg", exif=exif)
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / "b.jpg")
    (tmp_path / "set" / "annotations.csv").write_text(
        "image,width,height,xmin,ymin,xmax,ymax,label\n"
        "a.jpg,80,60,10,20,30,50,RBC\nb.jpg,80,60,10,20,30,50,WBC\n"
    )
    report = convert_dataset(tmp_path / "set", tmp_path / "coco", to="coco")
    value = json.loads((tmp_path / "coco" / "annotations" / "instances.json").read_text())
    assert [(i["width"], i["height"]) for i in value["images"]] == [(60, 80), (40, 30)]
    # Orientation 6: the first row is the right-hand side, so (x, y) becomes (60 - y, x).
    assert [a["bbox"] for a in value["annotations"]] == [[10, 10, 30, 20], [5, 10, 10, 15]]
    assert len(report.notes) == 3
    again = convert_dataset(tmp_path / "coco", tmp_path / "yolo", to="yolo")
    assert again.ok
    assert not any("turned" in note or "scaled" in note for note in again.notes)


def test_failed_conversions_are_listed_in_the_report(tmp_path: Path, source: Path):
    file = source / "annotations" / "instances_test.json"
    value = json.loads(file.read_text())
    value["annotations"][0]["bbox"] = [5, 5, -3, 4]
    value["annotations"][1]["bbox"] = [70, 50, 30, 30]
    value["annotations"][1]["image_id"] = "test-0"
    value["images"][2] |= {"width": 500, "height": 500}
    file.write_text(json.dumps(value))
    (source / "images" / "train" / "field 0.png").write_bytes(b"no image")
    report = convert_dataset(source, tmp_path / "yolo", to="yolo")
    assert (report.fields, report.boxes) == (7, 48 - 6 - 6 - 1)
    area, image, size = sorted(report.problems, key=lambda problem: (
        "no area" not in problem, "field 0.png" not in problem
    ))  # fmt: skip
    assert "instances_test.json, annotation id" in area
    assert "field 0.png" in image
    assert "declares 500 x 500 pixels, but the image has 1000 x 333" in size
    assert any("clipped at its border" in note for note in report.notes)
    written = json.loads((tmp_path / "yolo" / "convert.json").read_text())
    assert written["problems"] == list(report.problems)


def test_invalid_arguments_are_errors_before_any_work(tmp_path: Path, source: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for label in ("RBC", "WBC"):
        images.write(tmp_path / "cells" / label / "a.png", np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "labels").mkdir()
    images.write(tmp_path / "labels" / "a.png", np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "labels" / "labels.csv").write_text("image,label\na.png,RBC\n")
    for arguments, problem in (
        ((source, tmp_path / "full"), "already exists and is not empty"),
        ((tmp_path / "gone", tmp_path / "new"), "is not a folder"),
        (
            (tmp_path / "cells", tmp_path / "new"),
            "Received: 'folders'. Class folders",
        ),
        ((tmp_path / "labels", tmp_path / "new"), "labels but no boxes"),
    ):
        with pytest.raises(DatasetError, match=problem):
            convert_dataset(*arguments, to="coco")
    assert not (tmp_path / "new").exists()


def test_the_real_fields_convert_and_give_the_same_cells(real_data: Path, tmp_path: Path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("".join(f"image-{i}\n" for i in (1, 2, 3, 100)))
    report = convert_dataset(real_data / "draaslan", tmp_path / "coco", to="coco")
    assert (report.fields, report.boxes, report.ok) == (100, 2339, True)
    one = import_dataset(real_data / "draaslan", tmp_path / "one", format="csv", split=str(lists))
    two = import_dataset(tmp_path / "coco", tmp_path / "two", format="coco", split=str(lists))
    assert one.counts == two.counts
    first = {path.name: path.read_bytes() for path in one.dest.rglob("*.png")}
    assert first == {path.name: path.read_bytes() for path in two.dest.rglob("*.png")}
