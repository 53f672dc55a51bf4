"""Cells of an analysis as files for other tools, read back by us and by others."""

import errno
import json
import tracemalloc
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

import geojson
import pytest
import yaml

from hematovision import images as image_files
from hematovision.data.formats import FORMATS
from hematovision.data.formats.export import open_export
from hematovision.data.formats.reading import read_fields
from hematovision.data.formats.writing import TextFile, class_colours
from hematovision.errors import OutputError
from hematovision.fields.overlay import COLOURS
from hematovision.images.boxes import round_box

EXPORTS = FORMATS.builtin
UMLAUT = "b/Zelle \u00fc\u00df"
NAMES = (
    "a/field 1.png",
    "b/field 1.png",
    f"{UMLAUT}.jpg",
    "b/empty.png",
    "c/x.png",
    "c/x.jpg",
)
SIZE = (641, 479)
CLASSES = ("RBC", "WBC", "Platelets")


def cell(image: str, box=(10.0, 20.0, 46.5, 57.25), label: str = "RBC", **values) -> dict:
    """A row of cells.csv."""
    sides = dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
    scores = {f"p_{name}": 0.9 if name == label else 0.05 for name in CLASSES}
    row = {"image": image, **sides, "label": label, "confidence": 0.9, "decision": "accepted",
           "reason": "", "subtype": "", "subtype_confidence": None, **scores, "on_edge": False,
           "counted": True, "source": "model", "error": ""}  # fmt: skip
    return row | values


@pytest.fixture
def fields(tmp_path: Path, draw) -> Path:
    """Six images in three folders; two have equal names, two differ only in the suffix."""
    return draw(tmp_path / "fields", *NAMES, size=SIZE[::-1])


def cells_of(folder: Path) -> dict[str, list[dict]]:
    """Cells with awkward coordinates for each image but one, which is empty."""
    awkward = [
        (0.0, 0.0, 36.0, 36.0), (1 / 3, 2 / 3, 50.123456, 40.1), (600.0005, 430.9996, 641.0, 479.0),
        (100.0, 100.0, 100.5, 100.25), (7.77, 8.88, 9.99, 12.34),
    ]  # fmt: skip
    found: dict[str, list[dict]] = {str(folder / name): [] for name in NAMES}
    for number, name in enumerate(NAMES):
        if "empty" in name:
            continue
        image = str(folder / name)
        for shift, box in enumerate(awkward):
            label = CLASSES[(number + shift) % 3]
            row = cell(image, box, label, confidence=0.123456789)
            if label == "WBC":
                row |= {"subtype": "neutrophil", "subtype_confidence": 0.75}
            if shift == 1:
                row |= {"decision": "review", "reason": "low confidence", "on_edge": True}
            found[image].append(row)
    return found


def write_export(name: str, folder: Path, cells: dict[str, list[dict]]) -> Path:
    with open_export(
        name, folder, images=list(cells), subtypes=["neutrophil", "lymphocyte"], model="fields 1.0"
    ) as export:
        for image, rows in cells.items():
            export.field(image, *SIZE)
            for row in rows:
                export.cell(row)
    assert export.cells == sum(map(len, cells.values()))
    return folder


def exact(cells: dict[str, list[dict]]) -> dict[str, list[tuple]]:
    """What every format holds: classes and boxes with three decimals."""
    return {
        image: [
            (row["label"], round_box((row["x_min"], row["y_min"], row["x_max"], row["y_max"]), 3))
            for row in rows
        ]
        for image, rows in cells.items()
    }


def boxes_of(name: str, folder: Path) -> Path:
    """What to pass as the annotations: of the table, the file."""
    return folder / "annotations.csv" if name == "csv" else folder


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_imported_with_no_differing_box(name: str, fields: Path, tmp_path: Path):
    cells = cells_of(fields)
    folder = write_export(name, tmp_path / "out", cells)
    found = read_fields(fields, name, boxes_of(name, folder))
    assert found.problems == ()
    back = {
        str(field.image): [(b.label, field.box_in_pixels(b.box, *SIZE)) for b in field.boxes]
        for field in found.fields
    }
    assert back == exact(cells)
    subtypes = [b.subtype for field in found.fields for b in field.boxes if b.label == "WBC"]
    assert subtypes == ["" if name in ("yolo", "csv") else "neutrophil"] * len(subtypes)


def test_coco_is_read_by_another_reader_with_equal_boxes(fields: Path, tmp_path: Path):
    from faster_coco_eval import COCO

    cells = cells_of(fields)
    coco = COCO(str(write_export("coco", tmp_path / "out", cells) / "annotations.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    back = {}
    for entry in coco.loadImgs(coco.getImgIds()):
        assert (entry["width"], entry["height"]) == SIZE
        found = []
        for one in coco.loadAnns(coco.getAnnIds(imgIds=[entry["id"]])):
            x, y, width, height = one["bbox"]
            label = coco.loadCats(one["category_id"])[0]["name"]
            found.append((label, round_box((x, y, x + width, y + height), 6)))
        back[str(fields / entry["file_name"])] = found
    assert back == exact(cells)
    second = coco.loadAnns([2])[0]
    assert second["score"] == 0.123457
    assert second["attributes"]["decision"] == "review"
    assert second["attributes"]["subtype"] == "neutrophil"


def test_voc_marks_cells_to_review_and_at_the_edge(fields: Path, tmp_path: Path):
    cells = cells_of(fields)
    folder = write_export("voc", tmp_path / "out", cells)
    root = ET.parse(folder / "Annotations" / f"{UMLAUT}.xml").getroot()
    assert (root.findtext("folder"), root.findtext("filename")) == ("b", "Zelle \u00fc\u00df.jpg")
    assert (root.findtext("size/width"), root.findtext("source/annotation")) == (
        "641",
        "fields 1.0",
    )
    objects = root.findall("object")
    assert [one.findtext("difficult") for one in objects] == ["0", "1", "0", "0", "0"]
    assert [one.findtext("truncated") for one in objects] == ["0", "1", "0", "0", "0"]
    boxes = [
        tuple(float(one.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
        for one in objects
    ]
    assert boxes == [box for _, box in exact(cells)[str(fields / NAMES[2])]]
    named = {a.findtext("name"): a.findtext("value") for a in objects[2].iter("attribute")}
    assert (named["subtype"], named["confidence"], named["counted"]) == (
        "neutrophil", "0.123457", "true",
    )  # fmt: skip


def test_yolo_is_read_by_a_plain_parser_with_equal_boxes(fields: Path, tmp_path: Path):
    cells = cells_of(fields)
    folder = write_export("yolo", tmp_path / "out", cells)
    described = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))
    assert (described["nc"], described["names"]) == (3, list(CLASSES))
    files = {p.relative_to(folder / "labels").as_posix() for p in folder.rglob("*.txt")}
    assert files == {"a/field 1.txt", "b/field 1.txt", f"{UMLAUT}.txt", "b/empty.txt",
                     "c/x.png.txt", "c/x.jpg.txt"}  # fmt: skip
    assert (folder / "labels" / "b" / "empty.txt").read_text() == ""
    back = []
    for line in (folder / "labels" / "a" / "field 1.txt").read_text().splitlines():
        number, x, y, width, height = (float(word) for word in line.split())
        sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        pixels = tuple(side * SIZE[i % 2] for i, side in enumerate(sides))
        back.append((CLASSES[int(number)], round_box(pixels, 6)))
    assert back == exact(cells)[str(fields / NAMES[0])]


def test_geojson_is_read_by_another_reader_with_equal_boxes(fields: Path, tmp_path: Path):
    cells = cells_of(fields)
    folder = write_export("geojson", tmp_path / "out", cells)
    back = {}
    for image in cells:
        file = (folder / Path(image).relative_to(fields)).with_suffix(".geojson")
        if "c/x" in image:
            file = file.with_name(f"{Path(image).name}.geojson")
        value = geojson.loads(file.read_text("utf-8"))
        assert isinstance(value, geojson.FeatureCollection)
        assert value.is_valid, value.errors()
        found = []
        for feature in value.features:
            xs, ys = zip(*geojson.utils.coords(feature), strict=True)
            label = feature.properties["classification"]["name"].partition(": ")[0]
            found.append((label, (min(xs), min(ys), max(xs), max(ys))))
        back[image] = found
    assert back == exact(cells)


def test_geojson_has_what_qupath_reads(fields: Path, tmp_path: Path):
    cells = cells_of(fields)
    folder = write_export("geojson", tmp_path / "out", cells)
    value = json.loads((folder / "a" / "field 1.geojson").read_text("utf-8"))
    about = {"image": "a/field 1.png", "width": 641, "height": 479, "model": "fields 1.0"}
    assert value["hematovision"] == about
    accepted, review = (feature["properties"] for feature in value["features"][:2])
    assert accepted["objectType"] == "detection"
    assert accepted["classification"] == {"name": "RBC", "color": [0, 114, 178]}
    assert review["objectType"] == "annotation"
    assert review["classification"] == {"name": "WBC: neutrophil", "color": [0, 128, 90]}
    # QuPath reads measurements as numbers and metadata as texts; null is an error.
    assert review["measurements"] == {
        "confidence": 0.123457, "subtype_confidence": 0.75, "p_RBC": 0.05, "p_WBC": 0.9,
        "p_Platelets": 0.05, "on_edge": 1, "counted": 1, "review": 1,
    }  # fmt: skip
    assert review["metadata"] == {
        "decision": "review", "reason": "low confidence", "source": "model"
    }  # fmt: skip
    ids = [feature["id"] for path in folder.rglob("*.geojson")
           for feature in json.loads(path.read_text("utf-8"))["features"]]  # fmt: skip
    assert len(ids) == len({uuid.UUID(one) for one in ids}) == 25


def test_classes_have_the_colours_of_the_overlays():
    assert class_colours(CLASSES) == COLOURS
    many = class_colours(["a", "WBC", "b"])
    assert len(set(many.values())) == 3


def test_label_studio_gets_one_prediction_per_image_and_its_configuration(
    fields: Path, tmp_path: Path
):
    cells = cells_of(fields)
    folder = write_export("labelstudio", tmp_path / "out", cells)
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    assert [task["data"]["file"] for task in tasks] == list(NAMES)
    assert tasks[2]["data"]["image"] == ("/data/local-files/?d=fields/b/Zelle%20%C3%BC%C3%9F.jpg")
    assert [(task["data"]["cells"], task["data"]["review"]) for task in tasks] == [
        (0, 0) if "empty" in name else (5, 1) for name in NAMES
    ]
    (prediction,) = tasks[0]["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("fields 1.0", 0.123457)
    view = ET.parse(folder / "label_config.xml").getroot()
    known = {(tag.tag.lower(), tag.get("name")) for tag in view}
    image = view.find("Image")
    assert (image.get("name"), image.get("value")) == ("image", "$image")
    for task in tasks:
        for result in task["predictions"][0]["result"]:
            assert (result["type"], result["from_name"]) in known
            assert (result["to_name"], result["original_width"]) == ("image", 641)
            (text,) = result["value"].get("rectanglelabels") or result["value"]["choices"]
            assert view.find(f".//*[@value='{text}']") is not None
    regions = prediction["result"]
    assert [r["id"] for r in regions] == ["cell1", "cell2", "cell2", "cell3", "cell4", "cell5",
                                          "cell5"]  # fmt: skip
    assert [r.get("meta") for r in regions[:3]] == [
        None, {"text": ["review: low confidence"]}, None,
    ]  # fmt: skip


def test_label_studio_is_read_by_its_own_converter_with_equal_boxes(fields: Path, tmp_path: Path):
    # pip install label-studio-sdk brings 40 packages, and older versions of two that we use.
    converter = pytest.importorskip("label_studio_sdk.converter", reason="not in the pins")
    label_interface = pytest.importorskip("label_studio_sdk.label_interface")
    cells = cells_of(fields)
    folder = write_export("labelstudio", tmp_path / "out", cells)
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    interface = label_interface.LabelInterface((folder / "label_config.xml").read_text("utf-8"))
    interface.validate()
    for task in tasks:
        assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
    for number, task in enumerate(tasks, start=1):
        regions = task.pop("predictions")[0]["result"]
        task |= {"id": number, "annotations": [{"id": number, "result": regions}]}
    (folder / "annotated.json").write_text(json.dumps(tasks), encoding="utf-8")
    made = converter.Converter(
        str(folder / "label_config.xml"), str(fields), download_resources=False
    )
    made.convert_to_coco(
        str(folder / "annotated.json"), str(tmp_path / "coco"), str(tmp_path / "coco/images"),
        is_dir=False,
    )  # fmt: skip
    value = json.loads((tmp_path / "coco" / "result.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in value["categories"]}
    back = {image: [] for image in cells}
    files = dict(zip((image["id"] for image in value["images"]), cells, strict=True))
    for one in value["annotations"]:
        x, y, width, height = one["bbox"]
        box = round_box((x, y, x + width, y + height), 6)
        back[files[one["image_id"]]].append((names[one["category_id"]], box))
    assert back == exact(cells)


def test_yolo_clips_boxes_at_the_border(tmp_path: Path):
    with open_export("yolo", tmp_path, images=["a.png"]) as export:
        export.field("a.png", 100, 50)
        export.cell(cell("a.png", (-10.0, -10.0, 10.0, 10.0)))
    assert (tmp_path / "labels" / "a.txt").read_text() == (
        "0 0.050000 0.100000 0.100000 0.200000\n"
    )


@pytest.mark.parametrize("name", EXPORTS)
def test_without_the_list_of_images_paths_stay_inside_the_export(name: str, tmp_path: Path):
    with open_export(name, tmp_path / "out") as export:
        for image in ("../up/1.png", "/data/1.png", "/data/1.bmp", "up/1.png"):
            export.field(image, 100, 100)
            export.cell(cell(image))
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert all(p.is_relative_to(tmp_path / "out") for p in files)
    assert not any(".." in p.parts for p in files)
    if name in ("yolo", "voc", "geojson"):
        assert len([p for p in files if "1" in p.name]) == 4


@pytest.mark.parametrize("name", EXPORTS)
def test_an_error_leaves_no_incomplete_file(name: str, tmp_path: Path):
    def fail() -> None:
        with open_export(name, tmp_path / "out") as export:
            export.field("a.png", 100, 100)
            export.cell(cell("a.png"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


class FullDisk:
    """A stream to a disk without space."""

    def write(self, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        self.write(b"")


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("name", EXPORTS)
def test_a_full_disk_is_an_error_and_leaves_no_incomplete_file(
    name: str, at_the_end: bool, tmp_path: Path, monkeypatch
):
    with pytest.raises(OutputError, match="free bytes"), open_export(name, tmp_path) as export:
        export.field("a.png", 100, 100)
        if at_the_end:
            export.cell(cell("a.png"))
        monkeypatch.setattr(TextFile, "_stream", property(lambda _: FullDisk()), raising=False)
        if not at_the_end:
            export.cell(cell("a.png"))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_images_without_a_common_folder_keep_their_paths(tmp_path: Path):
    images = ["/a/1.png", "b/1.png"]
    with open_export("yolo", tmp_path, images=images) as export:
        for image in images:
            export.field(image, 100, 100)
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.txt")}
    assert files == {"labels/a/1.txt", "labels/b/1.txt"}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_folder_that_cannot_be_written_is_an_error(name: str, tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"), open_export(name, tmp_path / "out") as export:
        export.field("a.png", 100, 100)
        export.cell(cell("a.png"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": "other.png"}, {"label": "Blast"}, {"x_min": None}, {"x_max": 10.0},
        {"y_min": float("nan")}, {"x_max": 10.0004},
    ],
)  # fmt: skip
def test_a_cell_that_does_not_fit_is_rejected(wrong: dict, tmp_path: Path):
    with open_export("coco", tmp_path) as export:
        export.field("a.png", 100, 100)
        with pytest.raises(ValueError, match="cell"):
            export.cell(cell("a.png") | wrong)
    assert json.loads((tmp_path / "annotations.json").read_text())["annotations"] == []


def test_a_cell_outside_its_image_is_an_error(tmp_path: Path):
    with open_export("geojson", tmp_path) as export:
        export.field("a.png", 100, 50)
        with pytest.raises(OutputError, match=r"100 x 50 pixels.*Analyse it again"):
            export.cell(cell("a.png", (100.0, 10.0, 120.0, 20.0)))


def test_a_field_is_written_once(tmp_path: Path):
    with open_export("coco", tmp_path) as export:
        export.field("a.png", 100, 100)
        with pytest.raises(ValueError, match=r"a\.png"):
            export.field("a.png", 100, 100)
        with pytest.raises(ValueError, match=r"b\.png"):
            export.field("b.png", 0, 100)


def test_an_unknown_format_is_an_error_that_lists_the_formats(tmp_path: Path):
    with pytest.raises(OutputError, match=r"must be one of voc, .*'pdf'"):
        open_export("pdf", tmp_path)


def test_an_analysis_without_images_has_empty_files(tmp_path: Path):
    for name in EXPORTS:
        with open_export(name, tmp_path / name):
            pass
    value = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert (value["images"], value["annotations"], len(value["categories"])) == ([], [], 3)


def test_a_name_that_is_not_utf8_is_exported_and_found_again(tmp_path: Path, draw):
    name = "caf\udce9.png"
    try:
        draw(tmp_path / "fields", "a.png")
        (tmp_path / "fields" / "a.png").rename(tmp_path / "fields" / name)
    except (OSError, UnicodeError):
        pytest.skip("the file system takes only UTF-8 names")
    image = str(tmp_path / "fields" / name)
    assert image_files.read(Path(image)).shape[:2] == (60, 80)
    for form in (name for name in EXPORTS if name != "csv"):  # a table is UTF-8
        folder = tmp_path / form
        with open_export(form, folder, images=[image]) as export:
            export.field(image, 80, 60)
            export.cell(cell(image))
        found = read_fields(tmp_path / "fields", form, boxes_of(form, folder))
        assert [len(field.boxes) for field in found.fields] == [1]
        assert found.problems == ()


@pytest.mark.parametrize("name", EXPORTS)
def test_memory_does_not_grow_with_the_cells(name: str, tmp_path: Path):
    row = cell("slide.svs", label="WBC", subtype="neutrophil", confidence=0.5, decision="review")
    peaks = []
    tracemalloc.start()
    try:
        with open_export(name, tmp_path, images=["slide.svs"]) as export:
            export.field("slide.svs", 50_000, 50_000)
            for count in (200, 1_500):
                tracemalloc.reset_peak()
                for _ in range(count):
                    export.cell(row)
                peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert export.cells == 1_700
    # Every cell has at least 30 bytes, most formats hundreds.
    assert peaks[1] - peaks[0] < 10_000
