"""`check_dataset` finds every kind of problem, and reports nothing else."""

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.data import check
from hematovision.data.check import (
    ADVICE,
    MAX_RATIO,
    MIN_IMAGES,
    CheckReport,
    balance_findings,
    check_dataset,
)
from hematovision.data.samples import Dataset, Sample, Split
from hematovision.data.screening import unsupported_warnings
from hematovision.synthetic import render_cell
from hematovision.taxonomy import RBC_WBC_PLATELETS


class Builder:
    """Writes synthetic cells into a folder and keeps the samples."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.samples: list[Sample] = []

    def add(
        self,
        name: str,
        image: np.ndarray | bytes | None = None,
        label: str = "RBC",
        split: Split | None = "train",
        group: str | None = None,
    ) -> "Builder":
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            pixels = cell_image(len(self.samples)) if image is None else image
            Image.fromarray(pixels).save(path, quality=60)
        self.samples.append(Sample(path, label, split, name if group is None else group))
        return self

    def check(self) -> CheckReport:
        return check_dataset(Dataset(self.root, RBC_WBC_PLATELETS, tuple(self.samples)))


@functools.cache
def cell_image(seed: int, kind: str = "rbc") -> np.ndarray:
    """Render one of many different red cells, or a cell of another kind."""
    return render_cell(kind, 1000 + seed, size=96)


def of_kind(report: CheckReport, kind: str) -> list:
    return [finding for finding in report.findings if finding.kind == kind]


@pytest.fixture
def build(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def without_balance(report: CheckReport) -> list[tuple[str, str]]:
    ignored = ("small-class", "missing-class", "class-imbalance")
    return [(one.kind, one.severity) for one in report.findings if one.kind not in ignored]


def test_a_mirrored_cropped_recompressed_copy_in_test_is_a_leak(build) -> None:
    cell = cell_image(907, "neutrophil")
    rows, columns = (round(side * 0.035) for side in cell.shape[:2])
    copy = images.view(cell[rows:-rows, columns:-columns], 4)
    build.add("train/a.png", cell).add("test/b.jpg", copy, split="test").add("train/c.png")
    report = build.check()
    assert without_balance(report) == [("near-duplicates-across", "error")]
    (finding,) = of_kind(report, "near-duplicates-across")
    assert finding.files == ("train/a.png", "test/b.jpg")
    assert "test, train" in finding.message
    assert not report.ok


def test_the_same_pixels_are_exact_duplicates_across_and_within(build) -> None:
    one, other = cell_image(50), cell_image(51)
    build.add("a.png", one).add("b.tif", one, split="valid")
    build.add("c.png", other).add("d.png", other)
    report = build.check()
    assert without_balance(report) == [
        ("exact-duplicates-across", "error"),
        ("exact-duplicates-within", "warning"),
    ]
    across, within = report.findings[0], of_kind(report, "exact-duplicates-within")[0]
    assert across.files == ("a.png", "b.tif")
    assert "the same pixels)" in across.message
    assert "the same pixels and bytes)" in within.message


def test_a_near_duplicate_of_one_of_two_equal_images_is_one_of_both(build) -> None:
    cell = cell_image(903, "neutrophil")
    build.add("a.png", cell).add("b.png", cell).add("c.png", images.view(cell, 1), split="test")
    report = build.check()
    (near,) = of_kind(report, "near-duplicates-across")
    assert near.files == ("a.png", "b.png", "c.png")
    assert of_kind(report, "exact-duplicates-within")[0].files == ("a.png", "b.png")


@pytest.mark.parametrize(("group", "severity"), [("field-1", "note"), (None, "warning")])
def test_near_duplicates_in_one_group_are_only_a_note(build, group, severity: str) -> None:
    cell = cell_image(903, "neutrophil")
    build.add("a.png", cell, group=group).add("b.png", images.view(cell, 2), group=group)
    assert without_balance(build.check()) == [("near-duplicates-within", severity)]


def test_without_splits_there_are_no_leaks(build) -> None:
    cell = cell_image(903, "neutrophil")
    for name in ("a.png", "b.png"):
        build.add(name, cell, split=None, group="one field")
    report = build.check()
    assert without_balance(report) == [("exact-duplicates-within", "warning")]
    assert report.counts["no part"]["RBC"] == 2


@pytest.mark.parametrize("view", [0, 6])
def test_one_image_in_two_classes_is_a_conflict(build, view: int) -> None:
    cell = cell_image(909, "neutrophil")
    build.add("RBC/a.png", cell).add("WBC/b.png", images.view(cell, view), label="WBC")
    (conflict,) = of_kind(build.check(), "label-conflict")
    assert conflict.severity == "error"
    assert "RBC, WBC" in conflict.message
    assert conflict.files == ("RBC/a.png", "WBC/b.png")


def test_a_group_in_two_splits_is_named_with_them(build) -> None:
    build.add("a.png", group="patient 7").add("b.png", group="patient 7", split="test")
    build.add("c.png", group="patient 8").add("d.png", group="patient 8")
    build.add("e.png", group="").add("f.png", group="", split="test")
    (finding,) = of_kind(build.check(), "group-across")
    assert finding.files == ("a.png", "b.png")
    assert finding.message.startswith("Group 'patient 7' has images in test, train")


def test_unreadable_files_are_listed_with_the_reason_and_the_rest_is_checked(build) -> None:
    cell = cell_image(1)
    build.add("a.png", cell).add("bad.jpg", b"GIF?").add("empty.jpg", b"").add("z.png", cell)
    build.samples.append(Sample(build.root / "gone.png", "RBC", "train", "gone"))
    report = build.check()
    named = {finding.files[0]: finding for finding in of_kind(report, "unreadable")}
    assert list(named) == ["bad.jpg", "empty.jpg", "gone.png"]
    assert named["empty.jpg"].message.startswith("empty.jpg: ")
    assert of_kind(report, "exact-duplicates-within")[0].files == ("a.png", "z.png")
    assert report.files == 5


def test_a_file_outside_the_root_keeps_its_whole_path(build, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.jpg"
    elsewhere.write_bytes(b"")
    build.samples.append(Sample(elsewhere, "RBC", "train", "x"))
    assert of_kind(build.check(), "unreadable")[0].files == (elsewhere.as_posix(),)


def counted(**counts: tuple[int, int]) -> Dataset:
    """A dataset of so many (train, test) samples per class; no files are needed."""
    samples = [
        Sample(Path(f"{label}/{split}/{i}.png"), label, split, f"{label}{split}{i}")
        for label, both in counts.items()
        for split, count in zip(("train", "test"), both, strict=True)
        for i in range(count)
    ]
    return Dataset(Path(), RBC_WBC_PLATELETS, tuple(samples))


def test_balance_is_checked_at_the_documented_limits() -> None:
    assert MAX_RATIO == 10
    assert MIN_IMAGES == 20
    even = counted(RBC=(150, 50), WBC=(15, 5), Platelets=(15, 5))
    assert list(balance_findings(even)) == []
    uneven = counted(RBC=(151, 50), WBC=(15, 5), Platelets=(14, 5))
    found = [(one.kind, one.severity) for one in balance_findings(uneven)]
    assert found == [("small-class", "warning"), ("class-imbalance", "note")]


def test_a_class_missing_from_a_split_or_completely_is_named() -> None:
    found = list(balance_findings(counted(RBC=(30, 10), WBC=(30, 0), Platelets=(0, 0))))
    assert [one.kind for one in found] == ["small-class", "missing-class"]
    assert found[0].message.startswith("Class 'Platelets' has 0 images")
    assert found[1].message.startswith(
        "Split 'test' has no images of class 'WBC'; the dataset has 30"
    )


def test_notes_alone_leave_a_dataset_ok() -> None:
    note = next(
        one
        for one in balance_findings(counted(RBC=(400, 100), WBC=(20, 5), Platelets=(20, 5)))
        if one.severity == "note"
    )
    assert CheckReport(1, (note,), {}).ok


def test_messages_are_short_and_json_is_complete(build) -> None:
    cell = cell_image(3)
    for number in range(9):
        build.add(f"{number}.png", cell)
    report = build.check()
    (finding,) = of_kind(report, "exact-duplicates-within")
    assert "0.png, 1.png, 2.png, 3.png, 4.png and 4 more" in finding.message
    stated = json.loads(json.dumps(report.to_json()))
    assert stated["files"] == 9
    assert stated["ok"] is False
    assert stated["counts"]["train"] == {"RBC": 9, "WBC": 0, "Platelets": 0}
    assert list(stated["counts"]) == ["train", "all"]
    (as_json,) = (one for one in stated["findings"] if one["kind"] == finding.kind)
    assert as_json["files"] == [f"{number}.png" for number in range(9)]
    assert report.kinds["exact-duplicates-within"] == 1


def test_progress_covers_reading_and_searching(build) -> None:
    build.add("a.png").add("b.png")
    calls = []
    dataset = Dataset(build.root, RBC_WBC_PLATELETS, tuple(build.samples))
    check_dataset(dataset, lambda *what: calls.append(what))
    assert (2, 2, "Reading images", "images") in calls
    assert calls[-1] == (2, 2, "Looking for near duplicates", "images")


def test_an_empty_dataset_reports_only_empty_classes(tmp_path: Path) -> None:
    report = check_dataset(Dataset(tmp_path, RBC_WBC_PLATELETS, ()))
    assert report.kinds == {"small-class": 3}


def test_a_folder_that_could_not_be_listed_is_a_finding(build) -> None:
    build.add("RBC/a.png")
    dataset = Dataset(build.root, RBC_WBC_PLATELETS, tuple(build.samples))
    report = check_dataset(dataset, unlistable=[(build.root / "WBC", "Permission denied")])
    (finding,) = of_kind(report, "unlistable")
    assert finding.severity == "error"
    assert finding.message.startswith("WBC: Permission denied. Its images are left out")
    assert not report.ok


def test_the_json_has_the_classes_and_how_often_each_kind_is_found(build) -> None:
    build.add("a.png", label="RBC").add("b.png", b"x").add("c.png", b"y")
    stated = build.check().to_json()
    assert stated["kinds"]["unreadable"] == 2
    assert stated["taxonomy"] == RBC_WBC_PLATELETS.to_json()


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
def test_names_that_are_not_utf8_are_escaped(build) -> None:
    build.add("caf\udce9.png", b"x", group="g").add("r.png", split="test", group="g")
    report = build.check()
    assert of_kind(report, "unreadable")[0].files == (r"caf\xe9.png",)
    assert of_kind(report, "group-across")[0].files == (r"caf\xe9.png", "r.png")
    json.dumps(report.to_json(), ensure_ascii=False).encode("utf-8")


def test_every_kind_that_can_be_found_twice_has_its_advice() -> None:
    kinds = re.findall(r"^    ([a-z-]+) +(?:error|warning|note) ", check.__doc__, re.MULTILINE)
    assert set(kinds) - {"class-imbalance"} == set(ADVICE)


def test_images_of_other_formats_are_named(build) -> None:
    build.add("RBC/a.png")
    for name in ("RBC/b.czi", "WBC/deeper/c.lif", "RBC/.hidden.czi", "RBC/notes.txt"):
        (build.root / name).parent.mkdir(parents=True, exist_ok=True)
        (build.root / name).write_bytes(b"x")
    found = of_kind(build.check(), "unsupported")
    assert [finding.files for finding in found] == [("RBC/b.czi",), ("WBC/deeper/c.lif",)]
    assert found[0].message.startswith("RBC/b.czi: a Zeiss image (CZI), which is not supported.")
    assert found[0].severity == "warning"
    dataset = Dataset(build.root, RBC_WBC_PLATELETS, tuple(build.samples))
    (warning,) = unsupported_warnings(dataset)
    assert warning.startswith("2 files have an unsupported format: RBC/b.czi, a Zeiss image")


def test_images_in_no_class_folder_are_named(tmp_path: Path):
    build = Builder(tmp_path).add("Train/RBC/1.png").add("Test/WBC/2.png", label="WBC")
    for name in ("a.png", "Train/b.JPG", ".c.png", "figures/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = of_kind(build.check(), "outside-classes")
    assert [finding.files for finding in found] == [("a.png",), ("Train/b.JPG",)]
    assert {finding.severity for finding in found} == {"note"}
