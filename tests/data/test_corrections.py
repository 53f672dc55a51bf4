"""An analysis, corrected by a person in another program, comes back as annotated fields."""

import json
from pathlib import Path

import geojson
import pytest

from hematovision.data.converting import convert_dataset
from hematovision.data.formats.export import open_export
from hematovision.data.formats.reading import read_fields
from hematovision.data.importing import import_dataset
from hematovision.data.labelled_fields import read_labelled_fields

SIZE = (80, 60)
FOUND = {
    "1.png": [((2.0, 2.0, 22.25, 22.5), "RBC"), ((30.0, 5.0, 60.0, 40.0), "RBC"),
              ((60.125, 40.0, 75.0, 55.0), "Platelets")],
    "2.png": [((10.0, 10.0, 30.0, 30.0), "RBC"), ((40.0, 20.0, 60.0, 41.0), "WBC")],
}  # fmt: skip
# The second cell is a white one, the third an artefact, and a cell was missed; field 2 is right.
CORRECTED = {
    "1": [("RBC", (2.0, 2.0, 22.25, 22.5)), ("WBC", (30.0, 5.0, 60.0, 40.0)),
          ("RBC", (4.0, 30.0, 24.0, 51.0))],
    "2": [("RBC", (10.0, 10.0, 30.0, 30.0)), ("WBC", (40.0, 20.0, 60.0, 41.0))],
}  # fmt: skip


@pytest.fixture
def fields(tmp_path: Path, draw) -> Path:
    return draw(tmp_path / "fields", *FOUND, size=SIZE[::-1])


def export(name: str, fields: Path, folder: Path) -> Path:
    names = [str(fields / name) for name in FOUND]
    with open_export(name, folder, images=names, subtypes=["lymphocyte", "monocyte"]) as sink:
        for image, cells in zip(names, FOUND.values(), strict=True):
            sink.field(image, *SIZE)
            for number, (box, label) in enumerate(cells):
                sides = dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
                decision = "review" if number == 1 else "accepted"
                subtype = "lymphocyte" if label == "WBC" else ""
                sink.cell({
                    "image": image, **sides, "label": label, "confidence": 0.7,
                    "decision": decision, "reason": "", "subtype": subtype, "source": "model",
                })  # fmt: skip
    return folder


def correct_in_label_studio(folder: Path, back: Path) -> None:
    """Submit the predictions of every task, corrected, and export the project as JSON."""
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    for number, task in enumerate(tasks, start=1):
        regions = json.loads(json.dumps(task["predictions"][0]["result"]))
        if number == 1:
            regions[1]["value"]["rectanglelabels"] = ["WBC"]
            choice = {**regions[1]["value"], "choices": ["monocyte"]}
            del choice["rectanglelabels"]
            regions.append(
                regions[1] | {"type": "choices", "from_name": "subtype", "value": choice}
            )
            added = {"x": 5, "y": 50, "width": 25, "height": 35, "rotation": 0}
            regions[2] |= {"id": "Xy7_new", "origin": "manual", "value": added}
            regions[2]["value"]["rectanglelabels"] = ["RBC"]
        person = {"id": number, "completed_by": 1, "was_cancelled": False, "result": regions}
        task |= {"id": number, "annotations": [person], "file_upload": "", "drafts": []}
    back.write_text(json.dumps(tasks), encoding="utf-8")


def correct_in_qupath(folder: Path, back: Path) -> None:
    """Load the objects, correct those of field 1, and export them, with two decimals."""
    for path in sorted(folder.glob("*.geojson")):
        objects = geojson.loads(path.read_text("utf-8"))["features"]
        for one in objects:
            one["geometry"] = geojson.Polygon(one["geometry"]["coordinates"], precision=2)
        if path.stem == "1":
            names = {"names": ["WBC", "monocyte"], "color": [0, 128, 90]}
            objects[1]["properties"]["classification"] = names
            ring = [(4, 30), (24, 30), (24, 51), (4, 51), (4, 30)]
            properties = {"objectType": "annotation", "classification": {"name": "RBC"}}
            objects[2] = geojson.Feature(geometry=geojson.Polygon([ring]), properties=properties)
        (back / path.name).write_text(geojson.dumps(geojson.FeatureCollection(objects)))


@pytest.fixture(params=["labelstudio", "geojson"])
def corrected(request, fields: Path, tmp_path: Path) -> Path:
    """The fields with the corrected annotations next to them."""
    folder = export(request.param, fields, tmp_path / "out")
    if request.param == "labelstudio":
        correct_in_label_studio(folder, fields / "project-1.json")
    else:
        correct_in_qupath(folder, fields)
    return fields


def test_corrected_fields_are_truth_for_evaluating_and_training_detectors(corrected: Path):
    found = read_labelled_fields(corrected)
    assert found.problems == ()
    assert found.annotated == ("RBC", "WBC")
    for field in found:
        loaded = field.load()
        boxes = [tuple(map(float, box)) for box in loaded.boxes]
        labels = [found.taxonomy.classes[label] for label in loaded.labels]
        assert list(zip(labels, boxes, strict=True)) == [
            (label, pytest.approx(box, abs=0.01)) for label, box in CORRECTED[field.name]
        ]


def test_corrected_subtypes_come_back_too(corrected: Path):
    form = "labelstudio" if list(corrected.glob("*.json")) else "geojson"
    found = read_fields(corrected, form)
    assert [[box.subtype for box in field.boxes] for field in found.fields] == [
        ["", "monocyte", ""], ["", "lymphocyte"],
    ]  # fmt: skip


def test_corrected_cells_become_a_dataset_of_cell_images(corrected: Path, tmp_path: Path):
    report = import_dataset(corrected, tmp_path / "cells", split="none")
    assert report.ok, (report.problems, report.left_out)
    assert report.by_class == {"RBC": 3, "WBC": 2, "Platelets": 0}


def test_corrected_subtypes_are_classes_on_request(corrected: Path, tmp_path: Path):
    report = import_dataset(corrected, tmp_path / "cells", split="none", subtypes=True)
    assert report.ok, (report.problems, report.left_out)
    assert report.by_class == {"lymphocyte": 1, "monocyte": 1}
    assert "The subtypes of boxes are the classes: 2 of 5 boxes." in report.notes
    assert json.loads(report.to_json())["options"]["subtypes"] is True


def test_corrected_fields_are_converted_to_other_formats(corrected: Path, tmp_path: Path):
    for to in ("coco", "geojson", "labelstudio"):
        report = convert_dataset(corrected, tmp_path / to, to=to)
        assert (report.ok, report.fields, report.boxes) == (True, 2, 5)
        found = read_fields(tmp_path / to, to)
        assert [[(b.label, b.subtype) for b in field.boxes] for field in found.fields] == [
            [("RBC", ""), ("WBC", "monocyte"), ("RBC", "")], [("RBC", ""), ("WBC", "lymphocyte")],
        ]  # fmt: skip
