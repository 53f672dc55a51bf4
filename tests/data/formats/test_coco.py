"""COCO boxes."""

import json
from pathlib import Path

import pytest

from annotation_files import write_json
from hematovision.data.formats.coco import Coco
from hematovision.errors import AnnotationError, DatasetError

read = Coco().read

TWICE = json.dumps(
    {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}],
    }
)


def coco(path: Path, annotations: list, **changes: object) -> Path:
    value: dict = {
        "images": [{"id": 7, "file_name": "a.png", "width": 80, "height": 60}],
        "annotations": annotations,
        "categories": [{"id": 20, "name": "WBC"}, {"id": 3, "name": "RBC"}],
    } | changes
    return write_json(path, value)


def box(category: object = 3, **changes: object) -> dict:
    return {"id": 1, "image_id": 7, "category_id": category, "bbox": [10, 20, 20, 30]} | changes


@pytest.fixture
def source(tmp_path: Path, draw) -> Path:
    return draw(tmp_path / "images", "a.png", "sub/b.png").parent


def test_a_corner_and_a_size_become_corners(source: Path):
    coco(source / "instances.json", [box(), box(20, bbox=[0.1, 0.2, 0.3, 0.4], id=5)])
    found = read(source)
    (field,) = found.fields
    assert (field.name, field.size, field.split, field.fractions) == ("a", (80, 60), None, False)
    assert [(b.label, b.box) for b in field.boxes] == [
        ("RBC", (10, 20, 30, 50)),
        ("WBC", (0.1, 0.2, 0.4, 0.6)),
    ]
    assert field.boxes[1].where.endswith("instances.json, annotation id 5")
    assert found.classes == ("RBC", "WBC")  # in the order of their ids
    assert found.problems == ("1 image has no entry in a COCO file: sub/b",)


@pytest.mark.parametrize("name", ["a.png", "./a.png", "images/a.png", "C:\\data\\a.png", "A.PNG"])
def test_images_are_found_by_any_path_in_the_file(source: Path, name: str):
    coco(source / "i.json", [box()], images=[{"id": 7, "file_name": name}])
    assert [field.name for field in read(source).fields] == ["a"]


@pytest.mark.parametrize("key", ["seven", 7.0, 10**18, -1, "007"])
def test_ids_are_arbitrary(source: Path, key):
    coco(
        source / "i.json",
        [box(key, image_id=key)],
        images=[{"id": key, "file_name": "sub/b.png"}],
        categories=[{"id": key, "name": "RBC"}],
    )
    (field,) = read(source).fields
    assert [b.label for b in field.boxes] == ["RBC"]


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[10, 20, 30, 20, 30, 50, 10, 50]], (10, 20, 30, 50)),
        ([[10, 20, 15, 20, 15, 25], [20, 30, 30.5, 30, 30.5, 50]], (10, 20, 30.5, 50)),
        ([10, 20, 30, 20, 30, 50], (10, 20, 30, 50)),
        # A mask of 4 rows and 5 columns, down the columns: rows 1 and 2 of columns 1 and 2.
        ({"size": [4, 5], "counts": [5, 2, 2, 2, 9]}, (1, 1, 3, 3)),
        ({"size": [4, 5], "counts": [6, 4, 10]}, (1, 0, 3, 4)),
    ],
)
@pytest.mark.parametrize("bbox", [None, []])
def test_without_bbox_the_bounding_box_of_the_segmentation_is_used_and_counted(
    source: Path, segmentation, expected, bbox
):
    annotation = box(segmentation=segmentation, bbox=bbox)
    if bbox is None:
        del annotation["bbox"]
    coco(source / "i.json", [annotation])
    found = read(source)
    assert found.fields[0].boxes[0].box == expected
    (note,) = found.notes
    assert "1 annotation without bbox" in note


def test_crowds_and_repetitions_are_left_out_and_counted(source: Path):
    crowd = box(iscrowd=1, id=2, segmentation={"size": [60, 80], "counts": "abc"})
    coco(source / "i.json", [box(), crowd, crowd, box(id=4), box(20, id=5)])
    found = read(source)
    assert [b.label for b in found.fields[0].boxes] == ["RBC", "WBC"]
    crowds, repeated, _ = found.problems
    assert "2 annotations of regions of many cells (iscrowd)" in crowds
    assert "annotation id 2" in crowds
    assert "1 annotation repeating another" in repeated
    assert "annotation id 4" in repeated


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        (box(image_id=8), "annotation id 1: there is no image 8"),
        (box(image_id=[7]), "there is no image [7]"),
        (box(image_id=True), "there is no image True"),
        (box(99), "there is no category 99"),
        (box(None), "there is no category None"),
        (box(bbox=[1, 2, 3]), "expected bbox: [x, y, width, height]"),
        (box(bbox=["a", 2, 3, 4]), "expected bbox"),
        (box(bbox=[10**400, 2, 3, 4]), "expected bbox"),
        (box(bbox={"x": 1}), "expected bbox"),
        (box(bbox=[], segmentation=[[1, 2, 3]]), "expected bbox"),
        (box(bbox=[], segmentation={"size": [60, 80], "counts": "abc"}), "expected bbox"),
        (box(bbox=[], segmentation=[]), "expected bbox"),
        ("nonsense", "annotation number 1 is not a JSON object"),
        ([[]], "annotation number 1 is not a JSON object"),
    ],
)
def test_a_bad_annotation_is_named_and_the_others_are_read(source: Path, annotation, problem: str):
    coco(source / "i.json", [annotation, box(20, id=9)])
    found = read(source)
    assert [b.label for b in found.fields[0].boxes] == ["WBC"]
    assert len(found.problems) == 2  # and the unused image
    assert problem in found.problems[0]
    assert "i.json" in found.problems[0]


def test_a_box_that_is_not_finite_is_read_and_reported_on_cropping(source: Path):
    text = coco(source / "i.json", [box(bbox=[1, 2, 3, 4])]).read_text()
    (source / "i.json").write_text(text.replace("[1, 2, 3, 4]", "[1, NaN, 3, Infinity]"))
    assert len(read(source).fields[0].boxes) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not valid JSON"),
        ("[]", "is not a COCO object file"),
        ('{"images": [], "annotations": []}', "is not a COCO object file"),
        ('{"images": {}, "annotations": [], "categories": []}', "is not a COCO object file"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "has no id or no name"),
        (TWICE, "its id is used twice"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_it(source, content, problem):
    (source / "i.json").write_text(content)
    with pytest.raises(AnnotationError, match=problem) as caught:
        read(source, source / "i.json")
    assert "i.json" in str(caught.value)


def test_a_file_that_is_too_long_is_not_read(source: Path, monkeypatch):
    monkeypatch.setattr("hematovision.data.formats.coco.MAX_JSON_BYTES", 100)
    coco(source / "i.json", [box()])
    with pytest.raises(AnnotationError, match="at most 100 are read"):
        read(source)


def test_several_entries_of_one_image_are_joined_and_listed(source: Path):
    entries = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "images/a.png"}]
    coco(source / "i.json", [box(), box(20, image_id=8)], images=entries)
    found = read(source)
    assert [b.label for b in found.fields[0].boxes] == ["RBC", "WBC"]
    assert "1 image with several entries" in found.problems[0]


def test_bad_entries_of_images_are_listed(source: Path):
    entries = [{"id": 7, "file_name": "a.png"}, {"id": 7, "file_name": "b.png"}, {"id": 9}, "x",
               {"id": 10, "file_name": "gone.png"}]  # fmt: skip
    coco(source / "i.json", [box()], images=entries)
    problems = read(source).problems
    assert "the image id 7 is used twice; 'b.png' was skipped" in problems[0]
    assert "has no id or no file_name" in problems[1]
    assert "has no id or no file_name" in problems[2]
    assert "1 image not in" in problems[3]
    assert "'gone.png'" in problems[3]


def test_the_split_of_a_file_is_found_by_its_name(tmp_path: Path, draw):
    draw(tmp_path / "images", "train2017/1.png", "val2017/1.png", "val2017/2.png")
    for name, files in {"instances_train2017": ["1.png"], "instances_val2017": ["1.png", "2.png"],
                        "captions_train2017": ["1.png"]}.items():  # fmt: skip
        entries = [{"id": i, "file_name": file} for i, file in enumerate(files)]
        entries[0]["file_name"] = f"{name.partition('_')[2]}/1.png"
        coco(tmp_path / "annotations" / f"{name}.json", [box(image_id=0)], images=entries)
    found = read(tmp_path)
    assert [(f.name, f.split, len(f.boxes)) for f in found.fields] == [
        ("train2017/1", "train", 1), ("val2017/1", "valid", 1), ("val2017/2", "valid", 0),
    ]  # fmt: skip
    assert found.problems == ()


def test_equal_names_in_two_splits_are_distinguished_by_the_folder(tmp_path: Path, draw):
    draw(tmp_path / "images", "train/1.png", "val/1.png")
    for split in ("train", "val"):
        coco(tmp_path / "annotations" / f"instances_{split}.json", [box()],
             images=[{"id": 7, "file_name": "1.png"}])  # fmt: skip
    found = read(tmp_path)
    assert [(f.name, f.split) for f in found.fields] == [("train/1", "train"), ("val/1", "valid")]


def test_one_damaged_file_of_several_is_listed_and_the_others_are_read(tmp_path: Path, draw):
    for split in ("train", "valid"):
        draw(tmp_path / split, "a.png")
        coco(tmp_path / split / "_annotations.coco.json", [box()])
    (tmp_path / "valid" / "_annotations.coco.json").write_text("{")
    found = read(tmp_path)
    assert [field.name for field in found.fields] == ["train/a"]
    assert "is not valid JSON" in found.problems[0]


def test_the_project_category_of_roboflow_is_not_a_class(source: Path):
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 3, "name": "RBC", "supercategory": "cells"},
    ]
    coco(source / "i.json", [box()], categories=categories)
    assert read(source).classes == ("RBC",)


def test_names_with_lone_surrogates_are_written_as_text(source: Path):
    coco(source / "i.json", [box()], categories=[{"id": 3, "name": "R\ud800"}])
    assert read(source).classes == ("R\\ud800",)
    coco(source / "i.json", [], images=[{"id": 7, "file_name": "\ud800.png"}])
    assert "1 image not in" in read(source).problems[0]


def test_without_a_coco_file_the_error_shows_the_layout(source: Path):
    (source / "notes.json").write_text('{"hello": 1}')
    with pytest.raises(DatasetError, match=r"No COCO files in .*instances_\*\.json"):
        read(source)
