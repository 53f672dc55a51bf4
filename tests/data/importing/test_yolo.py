"""YOLO boxes."""

from pathlib import Path

import pytest

from hematovision.data.importing.yolo import read
from hematovision.errors import AnnotationError, DatasetError

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
     "names: [[a], b]", "names: &anchor [a, b]", "names:\n  white\n  red\n", "names: {0: , 1: b}"],
)  # fmt: skip
def test_other_yaml_is_refused_rather_than_guessed(source: Path, yaml: str):
    (source / "data.yaml").write_text(yaml)
    with pytest.raises(AnnotationError, match=r"data\.yaml: cannot understand `names:`.*--names"):
        read(source)


def test_given_names_come_before_those_found(source: Path):
    (source / "classes.txt").write_text("x\ny\n")
    assert [b.label for b in read(source, names=NAMES).fields[0].boxes] == ["WBC", "RBC"]


@pytest.mark.parametrize("yaml", [None, "nc: 3\n"])
def test_ids_without_names_ask_for_them(source: Path, yaml):
    if yaml:
        (source / "data.yaml").write_text(yaml)
    with pytest.raises(AnnotationError, match=r"a\.txt, line 1: .*id 0 has no name.*--names WBC"):
        read(source)


def test_an_id_beyond_the_names_says_which_are_known(source: Path):
    with pytest.raises(AnnotationError, match=r"line 3: .*id 1 has no name.*0 to 0: WBC"):
        read(source, names=["WBC"])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 0.5 0.5 0.1", "expected 5 values.*Received 4: "),
        ("1 0.5 0.5 0.1 0.1 0.9", r"Received 6 \(predictions with confidence"),
        ("1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", r"Received 9 \(polygons"),
        ("RBC 0.5 0.5 0.1 0.1", "a whole number and four fractions"),
        ("1 0.5 half 0.1 0.1", "a whole number and four fractions"),
        ("1 320 240 50 50", "between 0 and 1"),
        ("1 0.5 -0.5 0.1 0.1", "between 0 and 1"),
        ("-1 0.5 0.5 0.1 0.1", "id -1 has no name"),
    ],
)
def test_a_bad_line_is_named(source: Path, line: str, problem: str):
    (source / "labels" / "b.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(AnnotationError, match=rf"b\.txt, line 2: .*{problem}"):
        read(source, names=NAMES)


def test_what_is_no_text_is_named(source: Path):
    (source / "labels" / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match=r"b\.txt is not UTF-8"):
        read(source, names=NAMES)
    (source / "labels" / "b.txt").unlink()
    (source / "labels" / "b.txt").mkdir()
    with pytest.raises(AnnotationError, match=r"Cannot read .*b\.txt"):
        read(source, names=NAMES)


def test_missing_images_and_labels_are_problems(tmp_path: Path, draw):
    draw(tmp_path / "images", "train/a.png", "val/a.png", "c.png")
    for name in ("train/a.txt", "a.txt", "gone.txt"):
        path = tmp_path / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1 0.5 0.5 0.1 0.1\n")
    found = read(tmp_path, names=NAMES)
    assert [field.name for field in found.fields] == ["train/a"]
    several, gone, unused = found.problems
    assert several.endswith("a.txt: several images of that name")
    assert gone.endswith("gone.txt: no image of that name")
    assert unused == "2 images have no label file: c, val/a"


def test_two_label_files_for_one_image_are_an_error(source: Path):
    (source / "labels" / "x").mkdir()
    (source / "labels" / "x" / "a.txt").write_text("")
    with pytest.raises(AnnotationError, match="another label file describes"):
        read(source, names=NAMES)


def test_a_folder_without_labels_says_what_was_expected(tmp_path: Path):
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
