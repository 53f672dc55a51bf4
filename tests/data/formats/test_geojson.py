"""GeoJSON of QuPath."""

import json
from pathlib import Path

import geojson
import pytest

from annotation_files import boxes, write_json
from hematovision.data.formats.geojson import GeoJson
from hematovision.data.formats.reading import detect_format
from hematovision.errors import DatasetError

read = GeoJson().read


def feature(x=10, y=10, width=20, height=30, name="RBC", **properties) -> dict:
    """An object as QuPath 0.5 exports it."""
    ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    return {
        "type": "Feature",
        "id": "0f9b3f5e-7f0e-4b53-8c9a-5d3c8f0a9a11",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": [200, 0, 0]},
            **properties,
        },
    }


def collection(path: Path, *features, **members) -> Path:
    return write_json(path, {"type": "FeatureCollection", "features": list(features), **members})


def test_an_export_of_qupath_is_read(source: Path):
    circle = [[20 + 5 * x, 30 + 5 * y] for x, y in [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 0)]]
    collection(
        source / "a.geojson",
        feature(),
        feature(30, classification={"names": ["WBC", "neutrophil"], "color": [0, 0, 1]}),
        feature(40, objectType="detection", classification="Platelets", measurements={"x": 1}),
        feature() | {"geometry": {"type": "Polygon", "coordinates": [circle], "isEllipse": True}},
    )
    found = read(source)
    assert boxes(found) == [
        ("RBC", "", (10, 10, 30, 40)), ("WBC", "neutrophil", (30, 10, 50, 40)),
        ("Platelets", "", (40, 10, 60, 40)), ("RBC", "", (15, 25, 25, 35)),
    ]  # fmt: skip
    assert found.problems == ()
    assert "1 object with a derived class" in " ".join(found.notes)
    assert "1 object with an outline that is not a rectangle" in " ".join(found.notes)


def test_boxes_of_an_export_that_nobody_has_saved_are_noted(source: Path):
    predicted = feature()
    predicted["properties"]["metadata"] = {"source": "model"}
    reviewed = feature(30)
    reviewed["properties"]["metadata"] = {"source": "person"}
    path = collection(source / "a.geojson", predicted, reviewed)
    saved_by_qupath = read(source)
    assert saved_by_qupath.notes == ()
    collection(path, predicted, reviewed, hematovision={"image": "a.png"})
    as_exported = read(source)
    assert boxes(as_exported) == boxes(saved_by_qupath)
    assert "1 object predicted by a model" in " ".join(as_exported.notes)


def test_older_and_other_spellings_are_read(source: Path):
    old = feature(name="WBC: eosinophil")
    old |= {"id": "PathDetectionObject"}
    del old["properties"]["objectType"]
    old["properties"]["classification"] = {"name": "WBC: eosinophil", "colorRGB": -377282}
    child = feature(40)
    parent = feature(5, 5, 60, 50, childObjects=[child])
    (source / "a.geojson").write_text(json.dumps([old, parent]))
    assert boxes(read(source)) == [
        ("WBC", "eosinophil", (10, 10, 30, 40)), ("RBC", "", (5, 5, 65, 55)),
        ("RBC", "", (40, 10, 60, 40)),
    ]  # fmt: skip


def test_several_polygons_and_collections_have_one_box(source: Path):
    ring = [[10, 10], [20, 10], [20, 20], [10, 10]]
    other = [[x + 30, y] for x, y in ring]
    hole = [[0, 0], [70, 0], [70, 50], [0, 0]]
    multi = feature() | {
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring, hole], [other]]}
    }
    parts = [{"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": [1, 1]}]
    group = feature() | {"geometry": {"type": "GeometryCollection", "geometries": parts}}
    collection(source / "a.geojson", multi, group)
    assert [box for _, _, box in boxes(read(source))] == [(10, 10, 50, 20), (10, 10, 20, 20)]


def test_tiles_unclassified_and_ignored_objects_are_left_out_and_counted(source: Path):
    collection(
        source / "a.geojson",
        feature(objectType="tile"), feature(objectType="tmaCore"), feature(name="Ignore*"),
        feature(classification=None), feature(classification={}), feature(), feature(),
    )  # fmt: skip
    found = read(source)
    assert len(boxes(found)) == 1
    assert [p.removeprefix(f"{source}: ").partition(" (first")[0] for p in found.problems] == [
        "2 objects that are tiles, cores or the root, left out",
        "2 objects without a class, left out",
        "1 object repeating another (same class and box), left out",
    ]
    assert "QuPath ignores" in found.notes[0]


@pytest.mark.parametrize(
    "geometry",
    [
        None, 7, {}, {"type": "Point", "coordinates": [3, 4]},
        {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
        {"type": "Polygon", "coordinates": []}, {"type": "Polygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [[[1, 1], [1, 9], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[1, 1], ["a", 9], [5, 1]]]},
        {"type": "Polygon", "coordinates": [[[1, 1], [10**400, 9], [5, 1]]]},
        {"type": "Polygon", "coordinates": [[1, 2, 3]]},
        {"type": "MultiPolygon", "coordinates": "x"},
        {"type": "GeometryCollection", "geometries": 5},
    ],
)  # fmt: skip
def test_a_geometry_without_an_area_is_named_and_the_others_are_read(source: Path, geometry):
    collection(source / "a.geojson", feature() | {"geometry": geometry}, feature(30), "nonsense")
    found = read(source)
    assert [box for _, _, box in boxes(found)] == [(30, 10, 50, 40)]
    assert "a.geojson, object 1: expected a polygon with an area" in found.problems[0]
    assert "object 3 is not a GeoJSON feature" in found.problems[1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"type": "FeatureCollection"}', "is not a GeoJSON file of QuPath"),
        ('{"type": "FeatureCollection", "features": {"a": NaN}}', "is not a GeoJSON file"),
        ('{"type": "Topology"}', "Received: 'Topology'"),
        ("7", "Received: a JSON int"),
    ],
)
def test_a_damaged_file_leaves_out_its_image(source: Path, draw, content: str, problem: str):
    draw(source, "b.png")
    (source / "a.geojson").write_text(content)
    collection(source / "b.geojson", feature())
    found = read(source)
    assert [field.name for field in found.fields] == ["b"]
    assert len(found.problems) == 1
    assert problem in found.problems[0]
    assert "Its image was left out." in found.problems[0]


def test_odd_values_never_raise_another_error(source: Path):
    odd = [None, 5, [], {}, [[]], "", float("nan"), 10**400]
    made = [feature(objectType=value, childObjects=value) for value in odd]
    made += [feature(30, classification=value) for value in odd]
    made += [feature(30, classification={"name": value, "names": value}) for value in odd]
    made += [feature(50) | {"properties": value, "id": value} for value in odd]
    collection(source / "a.geojson", *made, hematovision={"image": [], "width": "w"})
    assert [box for _, _, box in boxes(read(source))] == [(10, 10, 30, 40)]


def test_infinite_coordinates_are_no_box(source: Path):
    path = collection(source / "a.geojson", feature())
    path.write_text(path.read_text().replace("[30, 10]", "[Infinity, NaN]"))
    assert "expected a polygon" in read(source).problems[0]


def test_a_file_that_is_too_long_is_not_read(source: Path, monkeypatch):
    monkeypatch.setattr("hematovision.data.formats.geojson.MAX_JSON_BYTES", 100)
    collection(source / "a.geojson", feature())
    assert "at most 100 are read" in read(source).problems[0]


def test_images_are_found_by_file_name_or_by_the_name_inside(tmp_path: Path, draw):
    draw(tmp_path / "images", "a/1.png", "b/1.png", "b/2.png")
    folder = tmp_path / "annotations"
    collection(folder / "a" / "1.geojson", feature())
    about = {"image": "b/1.png", "width": 160, "height": 120}
    collection(folder / "renamed.geojson", feature(), hematovision=about)
    collection(folder / "gone.geojson", feature())
    found = read(tmp_path)
    assert [(field.name, field.size) for field in found.fields] == [
        ("a/1", None), ("b/1", (160, 120)),
    ]  # fmt: skip
    assert "no image 'gone'" in found.problems[0]
    assert "1 image has no GeoJSON file: b/2" in found.problems[1]


def test_the_split_is_kept_by_folders(tmp_path: Path, draw):
    for split in ("train", "val"):
        draw(tmp_path / split, "a.png")
        collection(tmp_path / split / "a.geojson", feature())
    assert [(field.name, field.split) for field in read(tmp_path).fields] == [
        ("train/a", "train"), ("val/a", "valid"),
    ]  # fmt: skip


def test_the_format_is_recognised_by_suffix_or_content(source: Path):
    collection(source / "a.json", feature())
    assert detect_format(source) == "geojson"
    (source / "a.json").rename(source / "a.geojson")
    assert detect_format(source) == "geojson"


def test_without_a_file_the_error_shows_the_layout(source: Path):
    with pytest.raises(DatasetError, match=r"No GeoJSON files in .*annotations/\*\.geojson"):
        read(source)


def test_what_the_package_geojson_writes_is_read(source: Path):
    ring = [(1.0, 2.0), (30.0, 2.0), (30.0, 20.5), (1.0, 2.0)]
    made = geojson.Feature(geometry=geojson.Polygon([ring]), properties={"classification": "WBC"})
    (source / "a.geojson").write_text(geojson.dumps(geojson.FeatureCollection([made])))
    assert boxes(read(source)) == [("WBC", "", (1.0, 2.0, 30.0, 20.5))]
