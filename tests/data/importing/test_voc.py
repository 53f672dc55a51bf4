"""Pascal VOC boxes."""

from collections import Counter
from pathlib import Path

import pytest

from hematovision.data.importing.voc import read
from hematovision.errors import AnnotationError, DatasetError


def test_boxes_are_read_as_they_stand_with_their_lines(voc: Path):
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


def test_the_name_of_the_file_comes_before_the_filename_inside(voc: Path, xml):
    xml(voc / "Annotations" / "f3.xml", [("RBC", 1, 1, 9, 9)], filename="f4.png")
    assert len(read(voc).fields) == 10


def test_the_filename_inside_serves_where_the_name_fails(tmp_path: Path, draw, xml):
    draw(tmp_path / "images", "a.png")
    xml(tmp_path / "Annotations" / "0001.xml", [("RBC", 1, 1, 9, 9)], filename="a.jpg")
    assert read(tmp_path).fields[0].name == "a"


def test_images_may_lie_in_the_source_itself(tmp_path: Path, draw, xml):
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


def test_two_files_for_one_image_are_an_error(voc: Path, xml):
    xml(voc / "Annotations" / "again" / "f1.xml", [("RBC", 1, 1, 9, 9)])
    with pytest.raises(AnnotationError, match=r"f1\.xml and .*f1\.xml both describe"):
        read(voc)


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
def test_a_file_that_cannot_be_understood_is_named_with_its_line(voc: Path, content, problem):
    (voc / "Annotations" / "f5.xml").write_bytes(content)
    with pytest.raises(AnnotationError, match=problem) as caught:
        read(voc)
    assert "f5.xml" in str(caught.value)


def test_a_billion_laughs_are_refused_at_once(voc: Path):
    lines = ['<!ENTITY a "ha">']
    lines += [
        f'<!ENTITY {n} "{f"&{o};" * 10}">' for o, n in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    bomb = f"<!DOCTYPE annotation [{''.join(lines)}]><annotation>&i;</annotation>"
    (voc / "Annotations" / "f5.xml").write_text(bomb)
    with pytest.raises(AnnotationError, match="DOCTYPE"):
        read(voc)


def test_a_file_that_cannot_be_read_is_named(voc: Path):
    (voc / "Annotations" / "dir.xml").mkdir()
    with pytest.raises(AnnotationError, match=r"Cannot read .*dir\.xml"):
        read(voc)


def test_a_folder_without_boxes_or_images_says_what_was_expected(tmp_path: Path, xml):
    with pytest.raises(DatasetError, match=r"No XML files in .*Annotations"):
        read(tmp_path)
    xml(tmp_path / "Annotations" / "a.xml", [])
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DatasetError, match=r"no image in the folder .*JPEGImages"):
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
