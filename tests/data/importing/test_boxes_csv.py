"""Boxes in CSV files."""

from pathlib import Path

import pytest

from hematovision.data.importing.boxes_csv import read
from hematovision.errors import AnnotationError, DatasetError


@pytest.fixture
def source(tmp_path: Path, draw) -> Path:
    return draw(tmp_path / "images", "a.png", "sub/b.png").parent


def write(source: Path, text: str, name: str = "annotations.csv") -> Path:
    (source / name).write_text(text)
    return source


@pytest.mark.parametrize(
    "header",
    [
        "image,xmin,ymin,xmax,ymax,label",
        "Filename,x_min,y_min,x_max,y_max,Class",
        "file,x1,y1,x2,y2,class_name",
        "image_path,left,top,right,bottom,cell type",
        "image_id,xmin,ymin,xmax,ymax,name",
    ],
)
def test_columns_are_found_under_their_usual_names(source: Path, header: str):
    (field,) = read(write(source, f"{header}\na.png,10,20,30,50,RBC\n")).fields
    assert field.boxes[0].label == "RBC"
    assert field.box_in_pixels(field.boxes[0].box, 80, 60) == (10.0, 20.0, 30.0, 50.0)


@pytest.mark.parametrize("header", ["image,x,y,width,height,label", "img,bbox_x,bbox_y,w,h,type"])
def test_a_corner_and_a_size_do_too(source: Path, header: str):
    (field,) = read(write(source, f"{header}\na.png,10,20,30,50,RBC\n")).fields
    assert field.boxes[0].box == (10.0, 20.0, 40.0, 70.0)


def test_corners_come_before_the_size_of_the_image(source: Path):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,80,60,RBC,1,2,3,9\n"
    assert read(write(source, text)).fields[0].boxes[0].box == (1.0, 2.0, 3.0, 9.0)


def test_a_file_name_comes_before_a_number(source: Path):
    text = "image_id,image,xmin,ymin,xmax,ymax,label\n7,a.png,1,2,3,9,RBC\n"
    assert read(write(source, text)).fields[0].name == "a"


def test_values_up_to_one_are_fractions_and_others_pixels(source: Path):
    head = "image,xmin,ymin,xmax,ymax,label\n"
    line = "a.png,0,0,0.5,1.0,RBC\n"
    (field,) = read(write(source, head + line)).fields
    assert field.fractions
    assert field.box_in_pixels(field.boxes[0].box, 80, 60) == (0.0, 0.0, 40.0, 60.0)
    assert read(write(source, head + line + "a.png,nan,0,0.5,1.0,RBC\n")).fields[0].fractions
    assert not read(write(source, head + line + "a.png,0,0,7,9,RBC\n")).fields[0].fractions


def test_images_are_found_with_and_without_folder_and_suffix(source: Path):
    text = "image,xmin,ymin,xmax,ymax,label\n"
    for name in ("a.png", "images/a.png", "a", "a.jpg", "sub/b.png", "b.png", "C:\\x\\b.png"):
        text += f"{name},1,2,30,40,RBC\n"
    found = read(write(source, text))
    assert [(field.name, len(field.boxes)) for field in found.fields] == [("a", 4), ("sub/b", 3)]
    assert found.problems == ()


def test_missing_and_ambiguous_images_are_listed_once_with_their_line(source: Path, draw):
    draw(source / "images", "other/b.png")
    text = "image,xmin,ymin,xmax,ymax,label\n"
    for name in ("a.png", "gone.png", "gone.png", "b.png"):
        text += f"{name},1,2,30,40,RBC\n"
    gone, several, unused = read(write(source, text)).problems
    assert "annotations.csv, line 3: no image called 'gone.png'" in gone
    assert "line 5: several images called 'b.png'" in several
    assert unused == "2 images have no boxes: other/b, sub/b"


def test_the_only_csv_file_serves_and_images_may_lie_beside_it(tmp_path: Path, draw):
    draw(tmp_path, "a.png")
    write(tmp_path, "image,xmin,ymin,xmax,ymax,label\na.png,1,2,30,40,RBC\n", "boxes.csv")
    assert read(tmp_path).fields[0].image == tmp_path / "a.png"
    write(tmp_path, "image\n", "other.csv")
    with pytest.raises(DatasetError, match=r"has 2 CSV files .*--annotations FILE"):
        read(tmp_path)
    assert len(read(tmp_path, tmp_path / "boxes.csv").fields) == 1


def test_no_csv_file_is_an_error(source: Path):
    with pytest.raises(DatasetError, match="has no CSV files"):
        read(source)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("picture,xmin,ymin,xmax,ymax,label\n", "line 1: no column for the image.*picture, xmin"),
        ("image,xmin,ymin,xmax,ymax\n", "line 1: no column for the class"),
        ("image,xmin,ymin,label\n", "line 1: no columns for the boxes"),
        ("image,x,y,width,height,label\na.png,1,2,x,4,RBC\n", "line 2: column 'width' .*number"),
        ("image,x,y,width,height,label\na.png,1,2,3,4,\n", "line 2: .*may not be empty"),
        ("image,x,y,width,height,label\n,1,2,3,4,RBC\n", "line 2: .*may not be empty"),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_line(source: Path, text, problem):
    with pytest.raises(AnnotationError, match=problem):
        read(write(source, text))


def test_draaslan_has_the_published_counts(real_data: Path):
    found = read(real_data / "draaslan")
    assert len(found.fields) == 100
    assert found.spellings() == {"rbc": 2236, "wbc": 103}
    assert all(field.fractions for field in found.fields)
    assert found.problems == ()
