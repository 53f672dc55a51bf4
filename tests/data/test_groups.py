"""Groups come from a column of a table, and every image has exactly one."""

from pathlib import Path

import pytest

from hematovision.data.groups import read_groups, source_of, with_groups
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import AnnotationError, SplitError
from hematovision.taxonomy import Taxonomy

ROOT = Path("/data")
ABC = Taxonomy("abc", ("a", "b", "c"))


def dataset(*names: str) -> Dataset:
    return Dataset(ROOT, ABC, tuple(Sample(ROOT / name, "a") for name in names))


def table(tmp_path: Path, text: str) -> str:
    (tmp_path / "manifest.csv").write_text(text)
    return str(tmp_path / "manifest.csv")


def test_groups_are_read_from_a_column(tmp_path: Path):
    path = table(tmp_path, "Image,patient,name\nx/1.png,p1,n\n2.png,p2,n\n3.png,,n\n2.png,p2,n\n")
    assert read_groups(f"{path}:patient") == {"x/1.png": "p1", "2.png": "p2"}


def test_the_column_of_groups_is_not_used_for_the_files(tmp_path: Path):
    path = table(tmp_path, "name,image\np1,1.png\n")
    assert read_groups(f"{path}:name") == {"1.png": "p1"}


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("image,patient\n", "ward", "needs a column 'ward'. Its columns are: image, patient"),
        ("photo,patient\n", "patient", "needs a column 'file'"),
        ("image,patient\n1.png,a\n1.png,b\n", "patient", "line 3: '1.png' has the group 'b'"),
    ],
)
def test_a_table_without_usable_groups_is_an_error(tmp_path: Path, text, column, problem):
    path = table(tmp_path, text)
    with pytest.raises(SplitError, match=problem):
        read_groups(f"{path}:{column}")


@pytest.mark.parametrize("spec", ["manifest.csv", ":patient", "manifest.csv:", ""])
def test_groups_need_a_file_and_a_column(spec):
    with pytest.raises(SplitError, match="FILE:COLUMN"):
        read_groups(spec)


def test_a_missing_table_of_groups_is_named(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"gone\.csv"):
        read_groups(f"{tmp_path / 'gone.csv'}:patient")


def test_groups_are_found_by_path_by_name_and_by_stem():
    named = dataset("a/1.png", "a/2.png", "a/3.png")
    grouped = with_groups(named, {"a/1.png": "x", "2.png": "y", "3": "z"})
    assert [s.group for s in grouped] == ["x", "y", "z"]


def test_images_without_a_group_are_listed():
    with pytest.raises(SplitError, match=r"2 of 3 images have no group: 1.png, 2.png"):
        with_groups(dataset("0.png", "1.png", "2.png"), {"0.png": "p"})


def test_a_name_that_matches_two_groups_is_an_error():
    with pytest.raises(SplitError, match=r"0.png matches several groups: p, q"):
        with_groups(dataset("0.png"), {"x/0.png": "p", "y/0.png": "q"})


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("field7_jpg.rf.5b1c0f7a.jpg", "field7"),
        ("train/field7.rf.5b1c0f7a.jpg", "train/field7"),
        ("a/field.7_png.rf.AbC-9_x.png", "a/field.7"),
        ("field7.jpeg.rf.0.PNG", "field7"),
        ("field7_JPG.rf.abc", "field7"),
        ("field7.jpg", None),
        ("field7.rf.jpg", None),
        ("my.rf.notes/field7.jpg", None),
    ],
)
def test_the_source_of_an_augmented_copy_is_found_by_its_name(name: str, source: str | None):
    assert source_of(name) == source
