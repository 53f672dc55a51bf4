"""Detecting the format of a folder."""

from pathlib import Path

import pytest

from hematovision.data.converting import convert_dataset
from hematovision.data.formats import FORMATS, detect_format
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    NamedBox,
)
from hematovision.data.importing import import_dataset
from hematovision.errors import DatasetError, TaxonomyError


def lay(root: Path, draw, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            draw(path.parent, path.name)
        else:
            path.write_text('{"images": []}')
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["images/a.png", "labels/a.txt"], "yolo"),
        (["images/a.png", "labels/a.txt", "data.yaml", "README.txt"], "yolo"),
        (["train/images/a.png", "train/labels/a.txt"], "yolo"),
        (["a.png", "a.txt"], "yolo"),
        (["JPEGImages/a.png", "Annotations/a.xml"], "voc"),
        (["train/a.png", "train/a.xml", "README.roboflow.txt"], "voc"),
        (["a.png", "a.xml"], "voc"),
        (["images/a.png", "annotations.csv"], "csv"),
        (["images/a.png", "boxes.csv"], "csv"),
        (["train/a.png", "train/_annotations.csv"], "csv"),
        (["train/a.png", "train/_annotations.coco.json"], "coco"),
        (["images/a.png", "annotations/instances_train.json"], "coco"),
        (["images/a.png", "result.json"], "coco"),
        (["RBC/a.png", "WBC/a.png"], "folders"),
        (["Train/RBC/a.png", "Train/WBC/a.png"], "folders"),
        (["export/JPEGImages/a.png", "export/Annotations/a.xml"], "voc"),
    ],
)
def test_the_format_is_detected_if_only_one_fits(tmp_path: Path, draw, files, expected: str):
    assert detect_format(lay(tmp_path / "set", draw, *files)) == expected


@pytest.mark.parametrize(
    "files",
    [
        ["JPEGImages/a.png", "Annotations/a.xml", "cells.csv"],
        ["RBC/a.png", "WBC/a.png", "manifest.csv"],
    ],
)
def test_if_several_formats_fit_the_error_asks_for_the_format(tmp_path: Path, draw, files):
    with pytest.raises(DatasetError, match=r"is ambiguous.*--format"):
        import_dataset(lay(tmp_path / "set", draw, *files), tmp_path / "cells")


@pytest.mark.parametrize("file", ["a.png", "notes.txt"])
def test_if_no_format_fits_the_error_names_what_is_missing(tmp_path: Path, draw, file):
    with pytest.raises(DatasetError, match=r"neither box files nor class folders.*--format"):
        import_dataset(lay(tmp_path / "set", draw, file), tmp_path / "cells")


@pytest.mark.parametrize("format_", ["voc", "yolo"])
def test_one_box_file_instead_of_their_folder_is_an_error(tmp_path: Path, draw, format_):
    source = lay(tmp_path / "set", draw, "a.png", "a.xml")
    with pytest.raises(DatasetError, match=r"must be a folder .*Received the file .*a\.xml"):
        import_dataset(
            source, tmp_path / "cells", format=format_, annotations=source / "a.xml", names=["a"]
        )


def test_the_formats_of_real_datasets_are_detected(real_data: Path):
    assert detect_format(real_data / "draaslan") == "csv"
    assert detect_format(real_data / "txl" / "raabin") == "yolo"
    with pytest.raises(DatasetError, match=r"csv \(.*folders \("):
        detect_format(real_data / "pbc")


class OneLine(AnnotationFormat):
    """One text file with the boxes of one field: image, class and corners."""

    name = "one-line"
    one_file = True

    def recognise(self, folders):
        return next((file for folder in folders for file in folder.glob("*.boxes")), None)

    def read(self, source, annotations=None, names=None):
        words = (source / "all.boxes").read_text().split()
        box = NamedBox(words[1], tuple(map(float, words[2:])), "all.boxes")
        return Annotations((AnnotatedField(source / words[0], "a", (box,)),))

    def open_writer(self, folder, header):
        return OneLineWriter(folder / "all.boxes")


class OneLineWriter:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []

    def field(self, field):
        self.file = field.file

    def box(self, box):
        self.lines.append(f"{self.file} {box.label} {box.box}")

    def close(self):
        self.path.write_text("\n".join(self.lines))

    def discard(self):
        self.lines.clear()


def test_a_registered_format_is_detected_imported_converted_and_written(
    tmp_path: Path, draw, monkeypatch
):
    monkeypatch.setitem(FORMATS, "one-line", OneLine())
    source = draw(tmp_path / "set", "a.png")
    (source / "all.boxes").write_text("a.png WBC 10 10 30 40")
    assert detect_format(source) == "one-line"
    with pytest.raises(TaxonomyError, match="only one class"):
        import_dataset(source, tmp_path / "cells", taxonomy="folders")
    report = import_dataset(source, tmp_path / "cells", taxonomy="rbc-wbc-platelets", split="none")
    assert (report.format, report.by_class["WBC"]) == ("one-line", 1)
    convert_dataset(source, tmp_path / "voc", to="voc")
    back = convert_dataset(tmp_path / "voc", tmp_path / "back", to="one-line")
    assert back.boxes == 1
    assert "a.png WBC (10.0, 10.0, 30.0, 40.0)" in (tmp_path / "back" / "all.boxes").read_text()
