"""Detecting the format of a folder."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hematovision.data.converting import convert_dataset
from hematovision.data.formats import FORMATS
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    NamedBox,
)
from hematovision.data.formats.export import open_export
from hematovision.data.formats.reading import detect_format
from hematovision.data.importing import import_dataset
from hematovision.errors import DatasetError, OutputError, PluginError, TaxonomyError
from hematovision.workflows.analyze import AnalyzeOptions


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


def test_a_registered_format_is_detected_imported_converted_and_written(tmp_path: Path, draw):
    FORMATS.register("one-line", OneLine)
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


def reading(fields):
    """A format that returns these fields, whatever the folder."""

    class Returning(AnnotationFormat):
        def read(self, source, annotations=None, names=None):
            return fields() if callable(fields) else fields

    return Returning


BOX = NamedBox("WBC", (1, 1, 9, 9), "here")
FIELD = AnnotatedField(Path("a.png"), "a", (BOX,))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1], "returned list instead of Annotations"),
        (Annotations((("a.png", ()),)), "whose fields are not a tuple of AnnotatedField"),
        (Annotations(None), "whose fields are not a tuple"),
        (Annotations(iter([FIELD])), "whose fields are not a tuple"),
        (Annotations((FIELD,), problems="unreadable"), "whose problems are not a tuple of texts"),
        (Annotations((FIELD,), notes=(1,)), "whose notes are not a tuple of texts"),
        (Annotations((replace(FIELD, image="a.png"),)), "without the path of its image"),
        (Annotations((replace(FIELD, name=None),)), "without the path of its image and a name"),
        (Annotations((replace(FIELD, boxes=((1, 2, 3, 4),)),)), "boxes are not a tuple of NamedB"),
        (Annotations((replace(FIELD, boxes=None),)), "boxes are not a tuple of NamedBox"),
        (Annotations((replace(FIELD, boxes=iter([BOX])),)), "boxes are not a tuple of NamedBox"),
        (
            Annotations((replace(FIELD, boxes=(BOX, replace(BOX, box=(1, 2, "3", 4)))),)),
            r"box of a\.png without a label and four numbers: .*box=\(1, 2, '3', 4\)",
        ),
        (Annotations((replace(FIELD, boxes=(replace(BOX, box=5),)),)), "box of a.png without"),
        (Annotations((replace(FIELD, boxes=(replace(BOX, label=5),)),)), "box of a.png without"),
        (Annotations((AnnotatedField(Path("a.png"), "a", (BOX,)),) * 2), "of one name: a"),
        (lambda: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_what_a_format_from_outside_returns_is_checked(tmp_path: Path, draw, returned, message):
    FORMATS.register("odd", reading(returned))
    expected = r"annotation format 'odd' \(registered by a call\) .*" + message
    with pytest.raises(PluginError, match=expected):
        import_dataset(draw(tmp_path / "set", "a.png"), tmp_path / "cells", format="odd")
    assert not (tmp_path / "cells").exists()


def test_a_thing_that_is_no_format_is_rejected():
    with pytest.raises(TypeError, match="must be a subclass of AnnotationFormat"):
        FORMATS.register("odd", object())


def test_a_format_may_not_be_called_like_the_choice_of_class_folders():
    with pytest.raises(ValueError, match="'folders' exists already: the choice of class folders"):
        FORMATS.register("folders", OneLine, replace=True)


def test_a_format_that_is_only_read_or_only_written_is_named(tmp_path: Path, draw):
    class Written(AnnotationFormat):
        def open_writer(self, folder, header):
            return OneLineWriter(folder / "all.boxes")

    image = draw(tmp_path / "set", "a.png") / "a.png"
    found = Annotations((AnnotatedField(image, "a", (replace(BOX, box=(1, 1, 9, 9)),)),))
    FORMATS.register("in", reading(found))
    FORMATS.register("out", Written)
    with pytest.raises(OutputError, match="'in' can be read, but not written"):
        convert_dataset(tmp_path / "set", tmp_path / "new", to="in", format="in")
    with pytest.raises(DatasetError, match="'out' can be written, but not read"):
        convert_dataset(tmp_path / "set", tmp_path / "new", to="in", format="out")
    with pytest.raises(ValueError, match="'in' can be read, but not written"):
        AnalyzeOptions(exports=("in",))
    assert AnalyzeOptions(exports=("out",)).exports == ("out",)
    assert convert_dataset(tmp_path / "set", tmp_path / "new", to="out", format="in").boxes == 1


def test_a_format_that_fails_while_writing_is_named_and_leaves_nothing(tmp_path: Path, draw):
    class Broken(OneLineWriter):
        def close(self):
            raise RuntimeError("no licence")

    class Format(OneLine):
        def open_writer(self, folder, header):
            return Broken(folder / "all.boxes")

    image = draw(tmp_path / "set", "a.png") / "a.png"
    FORMATS.register("broken", Format)
    FORMATS.register("in", reading(Annotations((AnnotatedField(image, "a", (BOX,)),))))
    with pytest.raises(PluginError, match=r"'broken' .* failed: RuntimeError: no licence"):
        convert_dataset(tmp_path / "set", tmp_path / "new", to="broken", format="in")
    assert not (tmp_path / "new").exists()
    with (
        pytest.raises(PluginError, match=r"'broken' .* failed: RuntimeError: no licence"),
        open_export("broken", tmp_path / "export") as export,
    ):
        export.field("a.png", 80, 60)


@pytest.mark.parametrize(("writer", "lacks"), [(3, "field"), (SimpleNamespace(field=len), "box")])
def test_what_a_format_from_outside_returns_as_its_writer_is_checked(
    tmp_path: Path, writer: object, lacks: str
):
    class Format(OneLine):
        def open_writer(self, folder, header):
            return writer

    FORMATS.register("odd", Format)
    with pytest.raises(PluginError, match=rf"'odd' .* returned a writer without `{lacks}`: "):
        open_export("odd", tmp_path / "export")


def test_a_writer_that_fails_to_discard_its_files_is_named(tmp_path: Path, draw):
    class Stuck(OneLineWriter):
        def discard(self):
            raise RuntimeError("no such file")

    class Format(OneLine):
        def open_writer(self, folder, header):
            return Stuck(folder / "all.boxes")

    FORMATS.register("stuck", Format)
    failed = r"'stuck' .* failed: RuntimeError: no such file"
    with (
        pytest.raises(PluginError, match=failed),
        open_export("stuck", tmp_path / "export") as export,
    ):
        export.field("a.png", 0, 0)


def test_a_format_that_fails_to_recognise_is_logged_and_the_others_are_detected(
    tmp_path: Path, draw, caplog
):
    class Broken(OneLine):
        def recognise(self, folders):
            raise RuntimeError("no licence")

    FORMATS.register("broken", Broken)
    assert detect_format(lay(tmp_path / "set", draw, "a.png", "a.xml")) == "voc"
    assert "annotation format 'broken' (registered by a call) failed: RuntimeError" in caplog.text
