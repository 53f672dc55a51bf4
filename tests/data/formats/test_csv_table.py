"""Boxes in CSV files."""

from pathlib import Path

import pytest

from hematovision.data.formats.csv_table import CsvTable
from hematovision.errors import AnnotationError, DatasetError

read = CsvTable().read


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
def test_columns_of_corner_and_size_are_found(source: Path, header: str):
    (field,) = read(write(source, f"{header}\na.png,10,20,30,50,RBC\n")).fields
    assert field.boxes[0].box == (10.0, 20.0, 40.0, 70.0)


def test_corners_take_precedence_over_the_image_size(source: Path):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,80,60,RBC,1,2,3,9\n"
    assert read(write(source, text)).fields[0].boxes[0].box == (1.0, 2.0, 3.0, 9.0)


def test_a_file_name_takes_precedence_over_a_number(source: Path):
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


def test_the_only_csv_file_is_read_and_images_may_be_next_to_it(tmp_path: Path, draw):
    draw(tmp_path, "a.png")
    write(tmp_path, "image,xmin,ymin,xmax,ymax,label\na.png,1,2,30,40,RBC\n", "boxes.csv")
    assert read(tmp_path).fields[0].image == tmp_path / "a.png"
    write(tmp_path, "image\n", "other.csv")
    with pytest.raises(
        DatasetError, match=r"several CSV files: boxes.csv, other.csv.*--annotations FILE"
    ):
        read(tmp_path)
    assert len(read(tmp_path, tmp_path / "boxes.csv").fields) == 1


def test_no_csv_file_is_an_error(source: Path):
    with pytest.raises(DatasetError, match="has no CSV file"):
        read(source)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("photo,xmin,ymin,xmax,ymax,label\n", "line 1: no column for the image.*photo, xmin"),
        ("image,xmin,ymin,xmax,ymax\n", "line 1: no column for the class"),
        ("image,xmin,ymin,label\n", "line 1: no columns for the boxes"),
    ],
)
def test_an_invalid_table_is_named_with_its_line(source: Path, text, problem):
    with pytest.raises(AnnotationError, match=problem):
        read(write(source, text))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a.png,1,2,x,4,RBC", "line 3: column 'width' must contain a number. Received: 'x'"),
        ("a.png,1,2,3,4,", "line 3: the columns 'image' and 'label' must not be empty"),
        (",1,2,3,4,RBC", "line 3: the columns 'image' and 'label' must not be empty"),
        ("a.png,1,2,3,4,RBC,9", "line 3: expected 6 values"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(source: Path, line: str, problem: str):
    text = f"image,x,y,width,height,label\na.png,1,2,30,40,RBC\n{line}\nb.png,1,2,30,40,WBC\n"
    found = read(write(source, text))
    assert found.spellings() == {"RBC": 1, "WBC": 1}
    assert len(found.problems) == 1
    assert problem in found.problems[0]


def test_many_bad_lines_are_counted(source: Path):
    bad = "a.png,1,2,x,4,RBC\n" * 50
    found = read(write(source, f"image,x,y,width,height,label\na.png,1,2,30,40,RBC\n{bad}"))
    assert len(found.problems) == 5  # three lines, the number of the others, and the unused image
    assert found.problems[3].endswith("47 more of this kind")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_of_spreadsheets_in_any_language_are_read(
    source: Path, encoding: str, separator: str, decimal: str, end: str
):
    def number(value: float) -> str:
        text = f"{value:.1f}".replace(".", decimal)
        return f'"{text}"' if separator == decimal else text

    values = [number(v) for v in (10.5, 20.5, 30.5, 50.5)]
    lines = [
        ["filename", "class", "xmin", "ymin", "xmax", "ymax"],
        ["a.png", "Zelle \u00fc", *values],
    ]
    text = "".join(separator.join(line) + end for line in lines)
    (source / "annotations.csv").write_bytes(text.encode(encoding))
    found = read(source)
    assert found.fields[0].boxes[0].box == (10.5, 20.5, 30.5, 50.5)
    assert found.fields[0].boxes[0].label == "Zelle \u00fc"
    named = any("separated by" in note for note in found.notes)
    assert named == (separator != "," or encoding not in ("utf-8", "utf-8-sig"))


@pytest.mark.parametrize(
    ("header", "values", "box"),
    [
        ("file_name,cx,cy,w,h,label", "30,40,20,10", (20.0, 35.0, 40.0, 45.0)),
        ("img_path,x_center,y_center,width,height,label", "30,40,20,10", (20.0, 35.0, 40.0, 45.0)),
        ("imageName,xtl,ytl,xbr,ybr,label", "1,2,30,40", (1.0, 2.0, 30.0, 40.0)),
        ("path,xmin,ymin,width,height,label", "1,2,30,40", (1.0, 2.0, 31.0, 42.0)),
        ("fname,bbox_left,bbox_top,bbox_width,bbox_height,label", "1,2,3,4", (1.0, 2.0, 4.0, 6.0)),
        ("image,bbox_x1,bbox_y1,bbox_x2,bbox_y2,label", "1,2,30,40", (1.0, 2.0, 30.0, 40.0)),
    ],
)
def test_further_spellings_of_columns_are_known(source: Path, header: str, values: str, box):
    found = read(write(source, f"{header}\na.png,{values},RBC\n"))
    assert found.fields[0].boxes[0].box == box


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_without_boxes_has_single_cell_images(source: Path, separator: str):
    text = "image,label\na.png,RBC\nsub/b.png,WBC\n".replace(",", separator)
    found = read(write(source, text, "labels.csv"))
    assert found.whole
    assert [(f.name, f.boxes[0].label) for f in found.fields] == [("a", "RBC"), ("sub/b", "WBC")]
    assert found.problems == ()


def test_an_image_with_two_labels_is_left_out(source: Path):
    found = read(write(source, "image,label\na.png,RBC\na.png,WBC\nb.png,WBC\nb.png,wbc\n"))
    assert [field.name for field in found.fields] == ["sub/b"]
    (problem,) = found.problems
    assert "a has several labels: 'RBC', 'WBC'" in problem


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("line", ["a.png,1,2,30,40,RBC", "a.png,RBC", "7,1,2,30,40,RBC"])
def test_a_file_without_header_is_an_error_with_a_remedy(source: Path, line: str, separator: str):
    text = f"{line}\n{line}\n".replace(",", separator)
    name = {",": "comma", ";": "semicolon"}[separator]
    with pytest.raises(AnnotationError) as caught:
        read(write(source, text))
    message = str(caught.value)
    assert "line 1: the first line looks like data" in message or "there are two columns" in message
    assert f"separated by {name}s" in message or "there are two columns" in message


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("photo;xmin;ymin;xmax;ymax;label", "no column for the image"),
        ("image;xmin;ymin;xmax;ymax", "no column for the class"),
        ("image;xmin;ymin;label", "no columns for the boxes"),
        ("image;bbox;label", "no columns for the boxes"),
    ],
)
def test_missing_columns_are_named_with_the_separator_and_those_found(source, header, problem):
    with pytest.raises(AnnotationError, match=problem) as caught:
        read(write(source, f"{header}\n"))
    assert "separated by semicolons: " + header.replace(";", ", ") in str(caught.value)


def test_a_line_without_label_and_box_is_a_field_without_cells(source: Path):
    text = "image,xmin,ymin,xmax,ymax,label\na.png,,,,,\nb.png,1,2,30,40,RBC\n"
    found = read(write(source, text))
    assert [(field.name, len(field.boxes)) for field in found.fields] == [("a", 0), ("sub/b", 1)]
    assert found.problems == ()


def test_tables_in_a_folder_for_each_split_are_found(tmp_path: Path, draw):
    for split in ("train", "valid", "test"):
        draw(tmp_path / split, "x.png")
        write(tmp_path / split, "filename,width,height,class,xmin,ymin,xmax,ymax\n"
              "x.png,80,60,RBC,1,2,30,40\n", "_annotations.csv")  # fmt: skip
    found = read(tmp_path)
    assert [(f.name, f.split, f.size) for f in found.fields] == [
        ("test/x", "test", (80, 60)),
        ("train/x", "train", (80, 60)),
        ("valid/x", "valid", (80, 60)),
    ]
    assert found.problems == ()


def test_a_column_of_splits_is_read(source: Path):
    text = "image,xmin,ymin,xmax,ymax,label,split\na.png,1,2,30,40,RBC,Training\n"
    found = read(write(source, text + "b.png,1,2,30,40,WBC,val\n"))
    assert [field.split for field in found.fields] == ["train", "valid"]


def test_width_columns_may_be_the_size_of_the_box(source: Path):
    text = "image,width,height,xmin,ymin,xmax,ymax,label\na.png,29,38,1,2,30,40,RBC\n"
    assert read(write(source, text)).fields[0].size is None
    text += "b.png,80,60,1,2,30,40,RBC\n"
    assert read(write(source, text)).fields[1].size == (80, 60)


def test_draaslan_has_the_published_counts(real_data: Path):
    found = read(real_data / "draaslan")
    assert len(found.fields) == 100
    assert found.spellings() == {"rbc": 2236, "wbc": 103}
    assert all(field.fractions for field in found.fields)
    assert found.problems == ()


def test_a_spreadsheet_is_an_error_that_asks_for_csv(tmp_path: Path, draw):
    draw(tmp_path / "images", "a.png")
    (tmp_path / "labels.xlsx").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"labels\.xlsx is a spreadsheet, .*\. Save it as CSV\."):
        read(tmp_path)


def test_a_skipped_line_is_reported_in_a_separate_sentence(tmp_path: Path, draw):
    draw(tmp_path / "images", "a.png")
    (tmp_path / "annotations.csv").write_text(
        "image,xmin,ymin,xmax,ymax,label\na,1,2,30,40,RBC\na,x,2,30,40,RBC\n"
    )
    (problem,) = read(tmp_path).problems
    assert problem.endswith("must contain a number. Received: 'x'. This line was skipped.")


def test_a_column_for_each_class_is_an_error_with_a_remedy(tmp_path: Path, draw):
    draw(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "_classes.csv").write_text("filename, RBC, WBC\na.png, 1, 0\nb.png, 0, 1\n")
    with pytest.raises(AnnotationError, match=r"each class \(RBC, WBC\)\. Write .* called label"):
        read(tmp_path)


def test_values_that_are_not_splits_are_reported(tmp_path: Path, draw):
    draw(tmp_path / "images", "a.png", "b.png", "c.png")
    (tmp_path / "annotations.csv").write_text(
        "image,label,split\na,RBC,Train\nb,RBC,fold 2\nc,WBC,\n"
    )
    found = read(tmp_path)
    assert [field.split for field in found.fields] == ["train", None, None]
    (note,) = found.notes
    assert note.endswith("column 'split' that are not train, valid or test were ignored: fold 2")
