"""Pascal VOC boxes."""

import re
from collections import Counter
from pathlib import Path

import pytest

from hematovision.data.formats.layout import without_wrapper
from hematovision.data.formats.voc import Voc
from hematovision.errors import DatasetError

read = Voc().read


def test_boxes_are_read_unchanged_with_their_lines(voc: Path):
    found = read(voc)
    assert [field.name for field in found.fields] == [f"f{i}" for i in range(10)]
    field = found.fields[3]
    assert field.image == voc / "JPEGImages" / "f3.png"
    assert not field.fractions
    assert [box.label for box in field.boxes] == ["RBC", "rbc", "Red blood cell", "WBC"]
    assert field.boxes[1].box == (30.0, 10.0, 50.0, 20.0)
    assert field.boxes[1].where == f"{voc / 'Annotations' / 'f3.xml'}, line 4"
    assert found.spellings() == {"RBC": 10, "rbc": 10, "Red blood cell": 10, "WBC": 10}
    assert found.problems == ()


def test_the_xml_files_name_takes_precedence_over_its_filename_element(voc: Path, xml):
    xml(voc / "Annotations" / "f3.xml", [("RBC", 1, 1, 9, 9)], filename="f4.png")
    assert len(read(voc).fields) == 10


def test_the_filename_element_is_used_if_the_file_name_fails(tmp_path: Path, draw, xml):
    draw(tmp_path / "images", "a.png")
    xml(tmp_path / "Annotations" / "0001.xml", [("RBC", 1, 1, 9, 9)], filename="a.jpg")
    assert read(tmp_path).fields[0].name == "a"


def test_images_may_be_in_the_source_itself(tmp_path: Path, draw, xml):
    draw(tmp_path, "a.png")
    xml(tmp_path / "Annotations" / "a.xml", [("RBC", 1, 1, 9, 9)])
    assert read(tmp_path).fields[0].image == tmp_path / "a.png"


def test_another_folder_of_annotations_is_searched_recursively(voc: Path, xml):
    for name in ("training/f1", "testing/f2"):
        xml(voc / "repaired" / f"{name}.xml", [("RBC", 1, 1, 9, 9)])
    found = read(voc, voc / "repaired")
    assert [field.name for field in found.fields] == ["f1", "f2"]
    assert found.problems == ("8 images have no box file: f0, f3, f4, f5, f6 and 3 more",)


def test_missing_and_ambiguous_images_are_problems_that_name_the_file(tmp_path: Path, draw, xml):
    draw(tmp_path / "JPEGImages", "a.png", "x/b.png", "y/b.png")
    for name in ("a", "b", "gone"):
        xml(tmp_path / "Annotations" / f"{name}.xml", [("RBC", 1, 1, 9, 9)])
    found = read(tmp_path)
    assert [field.name for field in found.fields] == ["a"]
    ambiguous, gone, unused = found.problems
    assert "b.xml: several images are called 'b'" in ambiguous
    assert "gone.xml: no image 'gone' (nor 'elsewhere.jpg')" in gone
    assert unused == "2 images have no box file: x/b, y/b"


def test_two_files_for_one_image_are_both_ignored(voc: Path, xml):
    xml(voc / "Annotations" / "again" / "f1.xml", [("RBC", 1, 1, 9, 9)])
    found = read(voc)
    assert [field.name for field in found.fields] == [f"f{i}" for i in (0, 2, 3, 4, 5, 6, 7, 8, 9)]
    (problem,) = found.problems
    assert problem.count("f1.xml") == 2
    assert "neither was used" in problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: not well-formed XML: no element found"),
        (b"<annotation>\n<object></annotation>", "line 2: not well-formed XML: mismatched tag"),
        (b"<html></html>", "expected a Pascal VOC file.*<html>"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><annotation/>', "line 1: a DOCTYPE is not accepted"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>'.encode("utf-16"), "DOCTYPE"),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "unknown encoding"),
        (b"<annotation>\n<object/></annotation>", "line 2: an <object> needs a <name>"),
        (b"<annotation>\n\n<object><name>R</name></object></annotation>",
         "line 3: <bndbox> needs a number in <xmin>. Received: None"),
        (b"<annotation><object><name>R</name><bndbox><xmin>1</xmin><ymin>2 px</ymin></bndbox>",
         "line 1: not well-formed"),
        (b"<annotation><object><name>R</name><bndbox><xmin>?</xmin></bndbox></object></annotation>",
         "line 1: <bndbox> needs a number in <xmin>. Received: '[?]'"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_named_with_its_line(voc: Path, content, problem):
    (voc / "Annotations" / "f5.xml").write_bytes(content)
    found = read(voc)
    assert sum(len(field.boxes) for field in found.fields) == 36  # the other nine files
    assert len(found.problems) == 1
    assert re.search(problem, found.problems[0])
    assert "f5.xml" in found.problems[0]


def test_a_bad_object_is_named_and_the_others_of_its_file_are_read(voc: Path):
    file = voc / "Annotations" / "f5.xml"
    file.write_text(file.read_text().replace("<xmin>30</xmin>", "<xmin>?</xmin>"))
    found = read(voc)
    assert [box.label for box in found.fields[5].boxes] == ["RBC", "Red blood cell", "WBC"]
    (problem,) = found.problems
    assert "f5.xml, line 4: <bndbox> needs a number in <xmin>" in problem


def test_a_billion_laughs_are_rejected_at_once(voc: Path):
    lines = ['<!ENTITY a "ha">']
    lines += [
        f'<!ENTITY {n} "{f"&{o};" * 10}">' for o, n in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    bomb = f"<!DOCTYPE annotation [{''.join(lines)}]><annotation>&i;</annotation>"
    (voc / "Annotations" / "f5.xml").write_text(bomb)
    (problem,) = read(voc).problems
    assert "DOCTYPE" in problem


def test_a_file_that_cannot_be_read_is_named(voc: Path, monkeypatch):
    (voc / "Annotations" / "dir.xml").mkdir()
    monkeypatch.setattr("hematovision.data.formats.voc.MAX_TEXT_BYTES", 5000)
    (voc / "Annotations" / "f5.xml").write_text("<annotation>" + " " * 5000)
    problems = read(voc).problems
    assert any("Cannot read" in problem and "dir.xml" in problem for problem in problems)
    assert any("f5.xml has more than 5,000 bytes" in problem for problem in problems)


@pytest.mark.parametrize("folders", ["{}", "{}/images", "data/{}"])
def test_box_files_next_to_their_images_in_a_folder_for_each_split_are_found(
    tmp_path: Path, draw, xml, folders: str
):
    for split in ("train", "valid", "test"):
        folder = tmp_path / "set" / folders.format(split)
        draw(folder, "x.jpg", "y.jpg")
        for name in "xy":
            xml(folder / f"{name}.xml", [("RBC", 1, 2, 30, 40)])
    found = read(without_wrapper(tmp_path))
    assert [field.split for field in found.fields] == ["test"] * 2 + ["train"] * 2 + ["valid"] * 2
    assert found.problems == ()


def test_a_folder_of_annotations_for_each_split_is_found(tmp_path: Path, draw, xml):
    for split in ("train", "val"):
        draw(tmp_path / split / "JPEGImages", "x.jpg")
        xml(tmp_path / split / "Annotations" / "x.xml", [("RBC", 1, 2, 30, 40)])
    draw(tmp_path / "test", "notes.jpg")
    found = read(tmp_path)
    assert [(f.name, f.split) for f in found.fields] == [("train/x", "train"), ("val/x", "valid")]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("<width>80</width><height>60</height>", (80, 60)),
        ("<width>80.0</width><height> 60 </height>", (80, 60)),
        ("<width>0</width><height>0</height>", None),
        ("<width></width><height>60</height>", None),
        ("<width>wide</width><height>60</height>", None),
        ("<width>nan</width><height>inf</height>", None),
    ],
)
def test_only_a_valid_size_is_read(voc: Path, size: str, expected):
    file = voc / "Annotations" / "f0.xml"
    file.write_text(file.read_text().replace("<filename>", f"<size>{size}</size><filename>"))
    assert read(voc).fields[0].size == expected


def test_a_folder_without_boxes_or_images_is_an_error_with_the_layout(tmp_path: Path, xml):
    with pytest.raises(DatasetError, match=r"No XML files in .*Annotations"):
        read(tmp_path)
    xml(tmp_path / "Annotations" / "a.xml", [])
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DatasetError, match=r"no images in the folder .*JPEGImages"):
        read(tmp_path)


def test_bccd_has_the_published_counts(real_data: Path):
    found = read(real_data / "bccd")
    assert len(found.fields) == 364
    assert found.spellings() == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    assert found.problems == ()


def test_the_repaired_boxes_of_bccd_are_found_in_both_folders(real_data: Path):
    found = read(real_data / "bccd", real_data / "bccd" / "Annotations-CBC")
    assert len(found.fields) == 360
    assert found.spellings() == Counter(RBC=3341 + 792, WBC=307 + 61, Platelets=304 + 55)
    (unused,) = found.problems
    assert unused.startswith("4 images have no box file: BloodImage_00341")
