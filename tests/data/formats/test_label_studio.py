"""Tasks of Label Studio."""

import math
from pathlib import Path

import pytest

from annotation_files import boxes, write_json
from hematovision.data.formats.label_studio import LabelStudio
from hematovision.data.formats.reading import detect_format
from hematovision.errors import AnnotationError, DatasetError

read = LabelStudio().read


def region(x=10.0, y=10.0, width=25.0, height=50.0, label="RBC", key="r1", **more) -> dict:
    """A rectangle as Label Studio exports it, of an image of 80 x 60 pixels."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return {
        "id": key, "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": 80, "original_height": 60, "image_rotation": 0, "origin": "manual",
        "value": {**value, "rectanglelabels": [label]}, **more,
    }  # fmt: skip


def shape(kind: str, **value) -> dict:
    labels = {f"{kind}labels": ["WBC"]}
    return region(key=kind) | {"type": f"{kind}labels", "value": {**value, **labels}}


def task(*regions, image="/data/local-files/?d=set/a.png", key=1, **more) -> dict:
    return {"id": key, "data": {"image": image}, "annotations": [{"result": list(regions)}], **more}


def write(path: Path, *tasks) -> Path:
    return write_json(path, list(tasks))


def test_rectangles_are_in_pixels_with_the_size_of_the_image(source: Path):
    write(source / "project.json", task(region(), region(50, label="WBC", key="r2")))
    found = read(source)
    assert boxes(found) == [("RBC", "", (8, 6, 28, 36)), ("WBC", "", (40, 6, 60, 36))]
    assert (found.fields[0].size, found.fields[0].fractions) == ((80, 60), False)
    assert (found.problems, found.notes) == ((), ())


def test_without_sizes_boxes_are_fractions(source: Path):
    bare = {k: v for k, v in region().items() if not k.startswith("original")}
    write(source / "project.json", task(bare))
    found = read(source)
    assert found.fields[0].fractions
    assert found.fields[0].boxes[0].box == (0.1, 0.1, 0.35, 0.6)


def test_other_shapes_are_replaced_by_their_bounding_boxes(source: Path):
    turned = region(50, 50, 25, 20, key="turned")
    turned["value"]["rotation"] = 90  # clockwise around the first corner: 40, 30 in pixels
    ellipse = shape("ellipse", x=50, y=50, radiusX=10, radiusY=10, rotation=90)
    polygon = shape("polygon", points=[[10, 10], [20, 50], [5, 30]])
    write(source / "p.json", task(turned, ellipse, polygon))
    found = read(source)
    assert boxes(found) == [
        ("RBC", "", (28, 30, 40, 50)), ("WBC", "", (34, 22, 46, 38)), ("WBC", "", (4, 6, 16, 30)),
    ]  # fmt: skip
    assert "3 regions that are not upright rectangles" in found.notes[0]


def test_a_rectangle_turned_by_any_angle_spans_its_corners(source: Path):
    turned = region(50, 50, 25, 20)
    turned["value"]["rotation"] = 30
    write(source / "p.json", task(turned))
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    expected = (40 - 12 * sin, 30, 40 + 20 * cos, 30 + 20 * sin + 12 * cos)
    assert boxes(read(source))[0][2] == pytest.approx(expected, abs=1e-6)


def test_labels_and_subtypes_of_a_region_are_joined_by_its_id(source: Path):
    box = region() | {"type": "rectangle"}
    del box["value"]["rectanglelabels"]
    common = dict(box["value"])
    label = {"id": "r1", "type": "labels", "value": {**common, "labels": ["WBC"]}}
    choice = {"id": "r1", "type": "choices", "value": {**common, "choices": ["eosinophil"]}}
    write(source / "p.json", task(box, label, choice))
    assert boxes(read(source)) == [("WBC", "eosinophil", (8, 6, 28, 36))]


def test_regions_by_people_are_preferred_to_predictions(source: Path, draw):
    draw(source, "b.png")
    guess = [{"model_version": "1", "result": [region(label="WBC")]}]
    write(
        source / "p.json",
        task(region(), predictions=guess),
        task(image="b.png", key=2, predictions=guess) | {"annotations": []},
    )
    found = read(source)
    assert [(f.name, [b.label for b in f.boxes]) for f in found.fields] == [("a", ["RBC"])]
    assert "1 image has no task with an annotation: b" in found.problems[0]


def test_predictions_are_used_if_no_person_submitted_anything(source: Path):
    guess = [{"result": [region()]}, {"result": [region(label="WBC")]}]
    skipped = [{"result": [region(label="Platelets")], "was_cancelled": True}]
    write(source / "p.json", task(predictions=guess) | {"annotations": skipped})
    found = read(source)
    assert boxes(found)[0][0] == "WBC"
    assert "predictions were used" in found.notes[0]


def test_of_several_annotations_the_accepted_or_the_latest_is_used(source: Path):
    late = {"result": [region(label="WBC")], "updated_at": "2026-11-02T10:00:00Z"}
    early = {"result": [region()], "updated_at": "2026-11-01T10:00:00Z"}
    write(source / "p.json", {"id": 3, "data": {"image": "a.png"}, "annotations": [late, early]})
    found = read(source)
    assert boxes(found)[0][0] == "WBC"
    assert "1 task with several annotations" in found.notes[0]
    early["ground_truth"] = True
    write(source / "p.json", {"id": 3, "data": {"image": "a.png"}, "annotations": [late, early]})
    assert boxes(read(source))[0][0] == "RBC"


def test_an_image_in_which_a_person_found_no_cell_is_a_field(source: Path):
    write(source / "p.json", task())
    assert boxes(read(source)) == []


def test_json_min_is_read(source: Path):
    value = region()["value"] | {"original_width": 80, "original_height": 60}
    write(source / "p.json", {"id": 1, "image": "/data/upload/1/0a1b2c3d-a.png", "label": [value]})
    assert detect_format(source) == "labelstudio"
    assert boxes(read(source)) == [("RBC", "", (8, 6, 28, 36))]


@pytest.mark.parametrize(
    "url",
    [
        "a.png", "/data/local-files/?d=set/b/a.png", "/data/local-files/?d=lab%201/b/a.png",
        "/data/upload/3/0123abcd-a.png", "s3://bucket/set/b/a.png?version=2",
        "https://host/set/b/a.png", r"C:\fields\b\a.png", "gs://[broken/b/a.png",
    ],
)  # fmt: skip
def test_the_image_is_found_by_what_a_server_calls_it(tmp_path: Path, draw, url: str):
    names = ("a.png",) if url == "a.png" or "upload" in url else ("b/a.png", "c/a.png")
    draw(tmp_path / "images", *names)
    write(tmp_path / "p.json", task(region(), image=url))
    assert read(tmp_path).fields[0].image == tmp_path / "images" / names[0]


def test_a_task_without_an_image_is_listed(source: Path):
    write(source / "p.json", task(region()), task(region(), image="gone.png", key=2), 7)
    problems = read(source).problems
    assert "1 task that is not an object" in problems[0]
    assert "1 task without an image" in problems[1]
    assert "'gone.png'" in problems[1]


def test_two_tasks_of_one_image_contradict_each_other(source: Path):
    write(source / "p.json", task(region()), task(region(30), key=2))
    found = read(source)
    assert found.fields == ()
    assert "task 1 and" in found.problems[0]


@pytest.mark.parametrize(
    "bad",
    [
        region(x="left"), region(x=float("nan")), region(x=float("inf")), region(x=10**400),
        region(image_rotation=90), region(label=""), region() | {"value": {"x": 1}},
        shape("polygon", points=[[1, 2]]), shape("polygon", points=[[1, 2], [3, 4], [5, "a"]]),
        shape("brush", format="rle", rle=[0, 1]), shape("keypoint", x=1, y=1, width=0.4),
    ],
)  # fmt: skip
def test_a_region_that_is_no_box_is_named_and_the_others_are_read(source: Path, bad: dict):
    write(source / "p.json", task(bad, region(key="good")))
    found = read(source)
    assert len(boxes(found)) == 1
    assert len(found.problems) == 1
    assert "p.json, task 1, region" in found.problems[0]


def test_a_turned_rectangle_without_sizes_is_a_problem(source: Path):
    turned = region(original_width=None)
    turned["value"]["rotation"] = 45
    write(source / "p.json", task(turned))
    assert "original_width" in read(source).problems[0]


def test_a_region_with_two_labels_is_a_problem(source: Path):
    both = region()
    both["value"]["rectanglelabels"] = ["RBC", "WBC"]
    write(source / "p.json", task(both))
    assert "expected one label. Received: RBC, WBC" in read(source).problems[0]


def test_repeated_regions_are_used_once(source: Path):
    write(source / "p.json", task(region(), region(key="r2")))
    found = read(source)
    assert len(boxes(found)) == 1
    assert "1 region repeating another" in found.problems[0]


def test_regions_of_images_of_several_sizes_are_a_problem(source: Path):
    write(source / "p.json", task(region(), region(30, key="r2", original_width=800)))
    found = read(source)
    assert found.fields == ()
    assert "several image sizes" in found.problems[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"a": 1}', "is not a file of tasks"),
        ("null", "Received: a JSON NoneType"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_it(source: Path, content: str, problem: str):
    (source / "p.json").write_text(content)
    with pytest.raises(AnnotationError, match=problem) as caught:
        read(source, source / "p.json")
    assert "p.json" in str(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        {}, {"data": 5}, {"annotations": 5}, {"annotations": [5]}, {"annotations": [{"result": 5}]},
        {"annotations": [{"result": [5, {"value": 6}, {"type": "choices", "value": {}}]}]},
        {"annotations": [{"result": [region() | {"type": [], "id": {}}]}]},
        {"data": {"image": ["a.png"]}, "predictions": [5]}, {"label": [{"labels": 4}]},
    ],
)  # fmt: skip
def test_odd_tasks_never_raise_another_error(source: Path, odd: dict):
    write(source / "p.json", {"data": {"image": "a.png"}} | odd, task(region(), image="b.png"))
    assert read(source, source / "p.json").problems


def test_a_file_that_is_too_long_is_not_read(source: Path, monkeypatch):
    monkeypatch.setattr("hematovision.data.formats.label_studio.MAX_JSON_BYTES", 100)
    write(source / "p.json", task(region()))
    with pytest.raises(AnnotationError, match="at most 100 are read"):
        read(source)


def test_one_damaged_file_of_several_is_listed_and_the_others_are_read(tmp_path: Path, draw):
    for split in ("train", "val"):
        draw(tmp_path / split, "a.png")
        write(tmp_path / split / "p.json", task(region(), image="a.png"))
    assert [field.split for field in read(tmp_path).fields] == ["train", "valid"]
    (tmp_path / "val" / "p.json").write_text('[{"annotations":')
    found = read(tmp_path)
    assert [field.name for field in found.fields] == ["train/a"]
    assert "is not valid JSON" in found.problems[0]


def test_without_tasks_the_error_shows_what_is_expected(source: Path):
    (source / "notes.json").write_text('["hello"]')
    with pytest.raises(DatasetError, match=r"No Label Studio files in .*exported as JSON"):
        read(source)
