"""Annotated fields as whole images with boxes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.data.labelled_fields import read_labelled_fields
from hematovision.errors import AnnotationError, DatasetError, ImageError, TaxonomyError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two fields of 40 x 30 pixels, one of them without a cell, and a YOLO file for each."""
    root = tmp_path / "lab 7"
    for name, text in (("a", "0 0.5 0.5 0.5 0.5\n1 0.95 0.5 0.2 0.2\n"), ("b", "")):
        images.write(root / "images" / f"{name}.png", np.zeros((30, 40, 3), np.uint8))
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{name}.txt").write_text(text)
    return root


def test_boxes_are_in_pixels_and_clipped_to_the_field(folder: Path):
    first, empty = read_labelled_fields(folder, names=["neutrophil", "red cell"])
    loaded = first.load()
    assert loaded.pixels.shape == (30, 40, 3)
    assert loaded.boxes.tolist() == [[10, 7.5, 30, 22.5], [34, 12, 40, 18]]
    assert loaded.labels.tolist() == [1, 0]  # a neutrophil is a white cell
    assert loaded.problems == ()
    assert (first.name, first.lab, first.group) == ("a", "lab 7", "lab 7/a")
    assert empty.load().boxes.shape == (0, 4)


def test_classes_without_a_box_anywhere_are_not_annotated(folder: Path):
    fields = read_labelled_fields(folder, names=["WBC", "RBC"], lab="Tehran")
    assert fields.annotated == ("RBC", "WBC")
    assert fields.splits == ()
    assert {field.lab for field in fields} == {"Tehran"}
    assert fields.with_fields(fields.fields[1:]).annotated == ("RBC", "WBC")


def test_numbers_without_names_and_other_classes_are_errors(folder: Path):
    with pytest.raises(AnnotationError, match="--names"):
        read_labelled_fields(folder)
    with pytest.raises(TaxonomyError, match=r"cannot predict: 'Trypanosoma' \(1\)"):
        read_labelled_fields(folder, names=["Trypanosoma", "RBC"])


def test_class_folders_and_missing_folders_are_errors(tmp_path: Path):
    for name in ("RBC", "WBC"):
        images.write(tmp_path / "cells" / name / "a.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DatasetError, match="class folders, images of single cells"):
        read_labelled_fields(tmp_path / "cells")
    with pytest.raises(DatasetError, match="not a folder"):
        read_labelled_fields(tmp_path / "none")
    with pytest.raises(DatasetError, match="`format` must be one of voc"):
        read_labelled_fields(tmp_path / "cells", format="png")


def test_a_damaged_image_is_an_error_of_its_field_only(folder: Path):
    (folder / "images" / "b.png").write_bytes(b"x")
    first, damaged = read_labelled_fields(folder, names=["WBC", "RBC"])
    assert len(first.load().boxes) == 2
    with pytest.raises(ImageError, match=r"b\.png"):
        damaged.load()


def test_the_official_split_of_bccd(real_data: Path):
    fields = read_labelled_fields(real_data / "bccd", format="voc")
    assert {split: len(fields.subset(split)) for split in fields.splits} == {
        "train": 205, "valid": 87, "test": 72,
    }  # fmt: skip
    assert fields.annotated == ("RBC", "WBC", "Platelets")
    test = fields.subset("test")
    named = Counter(box.label for field in test for box in field.source.boxes)
    assert named == {"RBC": 805, "WBC": 71, "Platelets": 69}
    for field in test.fields[::12]:
        loaded = field.load()
        assert len(loaded.labels) == len(field.source.boxes)
        assert (loaded.boxes[:, 2:] <= (640, 480)).all()


def test_a_degenerate_box_is_left_out_and_listed(real_data: Path):
    fields = read_labelled_fields(real_data / "bccd", format="voc")
    (field,) = (one for one in fields if one.name == "BloodImage_00343")
    (problem,) = field.load().problems
    assert "BloodImage_00343.xml, line 50" in problem
    assert "has no area" in problem


def test_draaslan_annotates_no_platelets(real_data: Path):
    fields = read_labelled_fields(real_data / "draaslan")
    assert len(fields) == 100
    assert fields.annotated == ("RBC", "WBC")
    assert fields.fields[0].load().pixels.shape == (256, 256, 3)
