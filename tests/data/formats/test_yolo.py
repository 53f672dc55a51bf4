"""YOLO boxes."""

import re
from pathlib import Path

import pytest
import yaml

from hematovision.data.formats.writing import Header
from hematovision.data.formats.yolo import Yolo
from hematovision.errors import AnnotationError, DatasetError

read = Yolo().read

NAMES = ["WBC", "RBC", "Platelets"]


@pytest.fixture
def source(tmp_path: Path, draw) -> Path:
    draw(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n\n1 0.1 0.1 0.2 0.2\n")
    (tmp_path / "labels" / "b.txt").write_text("")
    return tmp_path


def labels(source: Path) -> list[str]:
    return [box.label for field in read(source).fields for box in field.boxes]


def test_centre_and_size_become_corners_in_pixels(source: Path):
    field, empty = read(source, names=NAMES).fields
    assert (field.name, empty.name, empty.boxes) == ("a", "b", ())
    assert [box.label for box in field.boxes] == ["WBC", "RBC"]
    assert field.boxes[1].where == f"{source / 'labels' / 'a.txt'}, line 3"
    assert field.box_in_pixels(field.boxes[0].box, 80, 60) == (30.0, 15.0, 50.0, 45.0)


def test_the_names_of_ids_are_found_where_yolo_tools_write_them(source: Path):
    for file in ("classes.txt", "obj.names", "labels/classes.txt"):
        (source / file).write_text("white\nred\n")
        assert labels(source) == ["white", "red"]
        (source / file).unlink()


@pytest.mark.parametrize(
    "yaml",
    [
        "nc: 2\nnames: ['white', \"red\"]\ntrain: x\n",
        "names: [white, red]",
        "names: {0: white, 1: red}",
        "names: {1: red, 0: white}",
        "names:\n  - white\n  - 'red'\nnc: 2\n",
        "names:\n- white\n- red\n",
        "train: images # names: [x]\nnames:  # all\n  0: white\n  1: red  # cells\n",
        "names:\n\n  1: red\n  0: white\n",
        "names: [\n  white,\n  red,\n]\n",
    ],
)
def test_the_names_in_a_data_yaml_are_understood(source: Path, yaml: str):
    (source / "data.yaml").write_text(yaml)
    assert labels(source) == ["white", "red"]


@pytest.mark.parametrize(
    "yaml",
    ["names: classes.txt", "names:", "names: []", "names: {1: red, 2: white}", "names: {a: b}",
     "names: [[a], b]", "names: [yes, no]", "names:\n  white\n  red\n", "names: {0: , 1: b}"],
)  # fmt: skip
def test_other_yaml_is_an_error(source: Path, yaml: str):
    (source / "data.yaml").write_text(yaml)
    with pytest.raises(AnnotationError, match=r"data\.yaml: cannot read `names:`.*--names"):
        read(source)


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("names: &anchor [a, b]", "anchors and aliases"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: *b", "anchors and aliases"),
        ("names: [a, b", ": not valid YAML"),
        ("names: !!python/object/apply:os.system [echo]", ": not valid YAML"),
        ("names: [" + "[" * 1_000_000, ": not valid YAML: nested more than 100 levels"),
        ("names: " + "- " * 500_000, ": not valid YAML"),
        ("names: [a]\n" + "# long\n" * 200_000, "at most 1,048,576 are read"),
    ],
)
def test_a_hostile_yaml_is_an_error(source: Path, yaml: str, problem: str):
    (source / "data.yaml").write_text(yaml)
    with pytest.raises(AnnotationError, match=problem):
        read(source)


def test_class_names_with_any_character_are_written_and_read_back(tmp_path: Path):
    names = [f"a {chr(code)} b" for code in (*range(0x3000), *range(0xD7F0, 0x10000), 0x1F9E0)]
    Yolo().open_writer(tmp_path, Header(tuple(names))).close()
    assert yaml.safe_load((tmp_path / "data.yaml").read_bytes())["names"] == names


def test_lists_of_names_that_differ_are_a_problem(source: Path):
    (source / "classes.txt").write_text("white\nred\n")
    (source / "data.yaml").write_text("names: [red, white]\n")
    found = read(source)
    assert [box.label for box in found.fields[0].boxes] == ["white", "red"]
    (problem,) = found.problems
    assert "give different names" in problem


def test_names_from_the_user_replace_the_detected_ones(source: Path):
    (source / "classes.txt").write_text("x\ny\n")
    assert [b.label for b in read(source, names=NAMES).fields[0].boxes] == ["WBC", "RBC"]


@pytest.mark.parametrize("yaml", [None, "nc: 3\n"])
def test_ids_without_names_are_an_error_that_asks_for_them(source: Path, yaml):
    if yaml:
        (source / "data.yaml").write_text(yaml)
    with pytest.raises(AnnotationError, match=r"a\.txt, line 1: .*id 0 has no name.*--names WBC"):
        read(source)


def test_an_id_beyond_the_names_is_a_problem_with_the_known_names(source: Path):
    found = read(source, names=["WBC"])
    assert found.spellings() == {"WBC": 1}
    (problem,) = found.problems
    assert re.search(r"line 3: .*id 1 has no name.*0 to 0 have names: WBC", problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 0.5 0.5 0.1", "Received 4 values: "),
        ("1 0.5 0.5 0.1 0.1 0.9", r"Received 6 values \(predictions with a confidence"),
        ("1 0.1 0.1 0.2 0.1 0.2 0.2 0.1", "Received 8 values"),
        ("1 0.1 0.1 0.2 0.1 0.2 20", "between 0 and 1"),
        ("RBC 0.5 0.5 0.1 0.1", "a whole number and then fractions"),
        ("1 0.5 half 0.1 0.1", "a whole number and then fractions"),
        ("1 320 240 50 50", "between 0 and 1"),
        ("1 0.5 -0.5 0.1 0.1", "between 0 and 1"),
        ("1 0.5 nan 0.1 0.1", "between 0 and 1"),
        ("-1 0.5 0.5 0.1 0.1", "id -1 has no name"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(source: Path, line: str, problem: str):
    (source / "labels" / "b.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n1 0.5 0.5 0.1 0.1\n")
    found = read(source, names=NAMES)
    assert [box.label for box in found.fields[1].boxes] == ["WBC", "RBC"]
    assert len(found.problems) == 1
    assert re.search(rf"b\.txt, line 2: .*{problem}", found.problems[0])


def test_many_bad_lines_of_a_file_are_counted(source: Path):
    (source / "labels" / "b.txt").write_text("0 320 240 50 50\n" * 40)
    problems = read(source, names=NAMES).problems
    assert len(problems) == 4
    assert problems[3].endswith("b.txt: 37 more of this kind")


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        ("0 0.1 0.1 0.25 0.08 0.26 0.4 0.1 0.38", (0.1, 0.08, 0.26, 0.4)),  # also a rotated box
        ("0 0.1 0.5 0.3 0.2 0.5 0.6", (0.1, 0.2, 0.5, 0.6)),
        ("0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5 0.3 0.3", (0.25, 0.25, 0.75, 0.75)),
    ],
)
def test_polygons_are_replaced_by_bounding_boxes_and_counted(source: Path, line: str, corners):
    (source / "labels" / "b.txt").write_text(f"1 0.5 0.5 0.1 0.1\n{line}\n{line}\n")
    found = read(source, names=NAMES)
    assert [box.box for box in found.fields[1].boxes[1:]] == [corners, corners]
    assert found.problems == ()
    (note,) = found.notes
    assert note.startswith("2 polygons or rotated boxes in 1 label file replaced")


def test_a_binary_file_is_named_and_its_image_left_out(source: Path):
    (source / "labels" / "b.txt").write_bytes(b"\xff\xfe\x00")
    found = read(source, names=NAMES)
    assert [field.name for field in found.fields] == ["a"]
    (problem,) = found.problems
    assert re.search(r"b\.txt is not UTF-8.*Its image was left out", problem)
    (source / "labels" / "b.txt").unlink()
    (source / "labels" / "b.txt").mkdir()
    (problem,) = read(source, names=NAMES).problems
    assert re.search(r"Cannot read .*b\.txt", problem)


def test_missing_images_and_labels_are_problems(tmp_path: Path, draw):
    draw(tmp_path / "images", "train/a.png", "val/a.png", "c.png")
    for name in ("train/a.txt", "a.txt", "gone.txt"):
        path = tmp_path / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1 0.5 0.5 0.1 0.1\n")
    found = read(tmp_path, names=NAMES)
    assert [field.name for field in found.fields] == ["train/a"]
    several, gone, unused = found.problems
    assert "a.txt: several images of that name" in several
    assert "gone.txt: no image of that name" in gone
    assert unused == "2 images have no label file: c, val/a"


def test_two_label_files_for_one_image_are_both_ignored(source: Path):
    (source / "labels" / "x").mkdir()
    (source / "labels" / "x" / "a.txt").write_text("")
    found = read(source, names=NAMES)
    assert [field.name for field in found.fields] == ["b"]
    (problem,) = found.problems
    assert "neither was used" in problem


def test_a_folder_without_labels_is_an_error_with_the_layout(tmp_path: Path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_text("RBC\n")
    with pytest.raises(DatasetError, match=r"No label files in .*labels"):
        read(tmp_path, names=NAMES)


@pytest.mark.parametrize(
    ("folder", "fields", "counts"),
    [
        ("raabin", 500, {"RBC": 6299, "WBC": 517, "Platelets": 28}),
        ("pbc", 363, {"RBC": 6019, "WBC": 382, "Platelets": 259}),
    ],
)
def test_txl_has_the_published_counts(real_data: Path, folder, fields, counts):
    found = read(real_data / "txl" / folder, names=NAMES)
    assert (len(found.fields), found.spellings(), found.problems) == (fields, counts, ())
