"""Datasets as class folders."""

import os
from pathlib import Path

import pytest

from hematovision.data.cells import Cell, write_cells
from hematovision.data.folders import class_folders, find_split, read_dataset
from hematovision.data.splits import split_dataset, write_splits
from hematovision.errors import AnnotationError, DatasetError, TaxonomyError
from hematovision.paths import escape_name
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS


def lay(root: Path, *files: str) -> Path:
    """Create empty files, which is enough where nothing is decoded."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def files_of(root: Path, **options) -> list[tuple[str, str, str | None]]:
    dataset = read_dataset(root, **options)
    return [(dataset.relative(s), s.label, s.split) for s in dataset]


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("Train", "train"), ("TRAIN", "train"), ("training", "train"), ("training_set", "train"),
        ("trn", "train"), ("Valid", "valid"), ("val", "valid"), ("Validation", "valid"),
        ("dev", "valid"), ("Test", "test"), ("TESTING", "test"), ("tst", "test"), ("eval", "test"),
        ("RBC", None), ("trainval", None), ("", None),
    ],
)  # fmt: skip
def test_splits_are_found_by_their_usual_spellings(folder, split):
    assert find_split(folder) == split


def test_splits_and_classes_are_read_and_sorted(tmp_path: Path):
    root = lay(
        tmp_path,
        "Train/RBC/b.png", "Train/RBC/a.JPG", "val/white blood cells/c.tif", "TEST/plt/d.webp",
    )  # fmt: skip
    assert files_of(root) == [
        ("TEST/plt/d.webp", "Platelets", "test"),
        ("Train/RBC/a.JPG", "RBC", "train"),
        ("Train/RBC/b.png", "RBC", "train"),
        ("val/white blood cells/c.tif", "WBC", "valid"),
    ]


def test_without_splits_each_sample_is_its_own_group(tmp_path: Path):
    dataset = read_dataset(lay(tmp_path, "RBC/1.png", "WBC/1.png"))
    assert dataset.splits == ()
    assert [s.group for s in dataset] == ["RBC/1.png", "WBC/1.png"]
    assert dataset.counts() == {"RBC": 1, "WBC": 1, "Platelets": 0}


def test_wrapping_folders_are_skipped_at_any_depth(tmp_path: Path):
    lay(
        tmp_path,
        "README.md",
        "outer/Blood cells/Train/RBC/1.png",
        "outer/Blood cells/Test/WBC/2.png",
    )
    dataset = read_dataset(tmp_path)
    assert dataset.root == tmp_path / "outer" / "Blood cells"
    assert dataset.splits == ("train", "test")


def test_splits_inside_class_folders_are_read(tmp_path: Path):
    root = lay(
        tmp_path, "RBC/train/a.png", "RBC/TEST/b.png", "WBC/Training/c.png", "WBC/test/p1/d.png"
    )
    assert files_of(root) == [
        ("RBC/TEST/b.png", "RBC", "test"),
        ("RBC/train/a.png", "RBC", "train"),
        ("WBC/Training/c.png", "WBC", "train"),
        ("WBC/test/p1/d.png", "WBC", "test"),
    ]
    groups = [sample.group for sample in read_dataset(root)]
    assert groups == ["RBC/TEST/b.png", "RBC/train/a.png", "WBC/Training/c.png", "p1"]


def test_augmented_copies_in_splits_inside_class_folders_are_one_group(tmp_path: Path):
    root = lay(tmp_path, "RBC/train/a_png.rf.1.png", "RBC/test/a_png.rf.2.png", "WBC/train/b.png")
    assert [s.group for s in read_dataset(root)] == ["RBC/a", "RBC/a", "WBC/train/b.png"]


def test_folders_inside_classes_are_groups_unless_all_are_splits(tmp_path: Path):
    root = lay(tmp_path, "RBC/train/a.png", "RBC/b.png", "WBC/patient 1/c.png")
    assert [sample.split for sample in read_dataset(root)] == [None, None, None]


@pytest.mark.parametrize(
    ("files", "inner"),
    [
        (["one/TRAIN/RBC/a.png", "two/TRAIN/WBC/b.png"], "one"),
        (["v1/v1/images/train/RBC/a.png", "v1/v1/images/test/RBC/b.png", "v2/JPEGImages/c.png"],
         "v1/v1/images"),
    ],
)  # fmt: skip
def test_a_folder_of_several_datasets_is_not_a_dataset(tmp_path: Path, files, inner):
    with pytest.raises(DatasetError, match="is probably a dataset, not a class") as caught:
        read_dataset(lay(tmp_path, *files))
    assert str(tmp_path / inner) in str(caught.value)


def test_a_single_split_is_not_a_wrapper(tmp_path: Path):
    dataset = read_dataset(lay(tmp_path, "Train/RBC/1.png", "Train/WBC/1.png"))
    assert dataset.root == tmp_path
    assert dataset.splits == ("train",)


def test_a_single_class_is_not_a_wrapper(tmp_path: Path):
    dataset = read_dataset(lay(tmp_path, "Platelets/patient 1/1.png"))
    assert dataset.counts() == {"RBC": 0, "WBC": 0, "Platelets": 1}


def test_hidden_files_and_other_files_are_left_out(tmp_path: Path):
    root = lay(
        tmp_path,
        "RBC/1.png", "RBC/.2.png", "RBC/notes.txt", "RBC/.cache/3.png", "RBC/__MACOSX/4.png",
        ".git/WBC/5.png", "__MACOSX/RBC/6.png", "WBC/7.png", "preview.png", "empty/readme.txt",
    )  # fmt: skip
    assert [file for file, _, _ in files_of(root)] == ["RBC/1.png", "WBC/7.png"]


def test_a_folder_inside_a_class_folder_is_a_group_across_classes(tmp_path: Path):
    root = lay(tmp_path, "RBC/p1/1.png", "RBC/p1/a/2.png", "WBC/p1/3.png", "WBC/4.png")
    groups = {s.path.name: s.group for s in read_dataset(root)}
    assert groups == {"1.png": "p1", "2.png": "p1/a", "3.png": "p1", "4.png": "WBC/4.png"}


def test_the_eight_classes_count_as_three_or_as_eight(tmp_path: Path):
    root = lay(tmp_path, *(f"train/{label}/1.png" for label in PBC8.classes))
    assert read_dataset(root).counts() == {"RBC": 1, "WBC": 6, "Platelets": 1}
    assert set(read_dataset(root, PBC8).counts().values()) == {1}


def test_two_folders_that_mean_one_class_are_merged(tmp_path: Path):
    root = lay(
        tmp_path,
        "Train/rbc/1.png", "Train/RBCs/2.png", "Test/Red Blood Cells/3.png", "Test/wbc/4.png",
    )  # fmt: skip
    assert [label for _, label, _ in files_of(root)] == ["RBC", "WBC", "RBC", "RBC"]
    assert class_folders(root) == {"rbc": 1, "RBCs": 1, "Red Blood Cells": 1, "wbc": 1}


def test_finer_classes_keep_their_names(tmp_path: Path):
    root = lay(
        tmp_path, "TRAIN/EOSINOPHIL/1.jpeg", "TRAIN/NEUTROPHIL/2.jpeg", "TEST/NEUTROPHIL/3.jpeg"
    )
    dataset = read_dataset(root)
    assert dataset.taxonomy.name == "folders"
    assert dataset.counts() == {"EOSINOPHIL": 1, "NEUTROPHIL": 2}


class Notes:
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        pass

    def note(self, sentence: str, /) -> None:
        self.notes.append(sentence)


def test_the_choice_of_classes_is_reported(tmp_path: Path):
    root, progress = lay(tmp_path, "RBC/1.png", "blast/2.png"), Notes()
    read_dataset(root, progress=progress)
    assert progress.notes == ["Classes: blast, RBC (folder names)"]


def test_unknown_folders_become_a_new_taxonomy(tmp_path: Path):
    root = lay(tmp_path, "Train/RBC/1.png", "Train/blast/2.png", "Test/Blast/3.png")
    dataset = read_dataset(root)
    assert dataset.taxonomy.name == "folders"
    assert dataset.counts() == {"Blast": 2, "RBC": 1}


def test_a_folder_that_the_requested_taxonomy_lacks_is_an_error(tmp_path: Path):
    root = lay(tmp_path, "RBC/1.png", "blast/2.png", "blast/3.png", "nothing/readme.txt")
    with pytest.raises(TaxonomyError, match=r"'blast' \(2\) is not in the .*rbc-wbc-platelets"):
        read_dataset(root, RBC_WBC_PLATELETS)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ((), r"No images in class folders .*contains no folders.*ROOT/Train/CLASS"),
        (("1.png", "2.png"), "No images in class folders"),
        (("Train/1.png", "Test/2.png"), "'Test', 'Train'"),
        (("RBC/notes.txt",), "'RBC'"),
        (
            ("RBC/1.czi", "WBC/2.czi"),
            r"There are 2 in an unsupported format, such as 1\.czi \(a Zeiss image",
        ),
        (("Train/RBC/1.png", "extra/2.png"), "splits 'Train'.*'extra' with images"),
    ],
)
def test_a_folder_that_is_not_a_dataset_is_an_error_with_the_layout(tmp_path: Path, files, problem):
    with pytest.raises(DatasetError, match=problem):
        read_dataset(lay(tmp_path, *files))


def test_folders_without_images_may_be_next_to_splits(tmp_path: Path):
    assert len(files_of(lay(tmp_path, "Train/RBC/1.png", "docs/readme.md"))) == 1


def test_a_missing_folder_and_a_file_are_named(tmp_path: Path):
    with pytest.raises(DatasetError, match="does not exist"):
        read_dataset(tmp_path / "gone")
    with pytest.raises(DatasetError, match="is a file"):
        read_dataset(lay(tmp_path, "a.zip") / "a.zip")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0,
                    reason="root may read everything")  # fmt: skip
@pytest.mark.parametrize("folder", ["RBC", "RBC/p1"])
def test_a_folder_without_permission_is_an_error(tmp_path: Path, folder: str):
    root = lay(tmp_path, "RBC/p1/1.png", "WBC/2.png")
    (root / folder).chmod(0)
    try:
        with pytest.raises(DatasetError, match="Cannot read the folder"):
            read_dataset(root)
    finally:
        (root / folder).chmod(0o755)


@pytest.mark.parametrize("call", ["os.scandir", "os.listdir"])
def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch, call):
    root = lay(tmp_path, "RBC/1.png", "WBC/2.png")

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(call, refuse)
    with pytest.raises(DatasetError, match=r"Cannot read the folder .*Permission denied"):
        read_dataset(root)


def cell(file: str, **known) -> Cell:
    values = {"source": "s.png", "field": "f1", "lab": "bccd", "box": (1.0, 2.0, 3.0, 5.0)}
    return Cell(file=file, label="RBC", **(values | known))


def test_cells_csv_gives_group_lab_and_box(tmp_path: Path):
    root = lay(tmp_path, *(f"RBC/{i}.png" for i in range(5)))
    write_cells(
        root / "cells.csv",
        [
            cell("RBC/0.png"),
            cell("RBC/1.png", group="patient 3", split="test"),
            cell("RBC/2.png", lab=None),
            cell("RBC/3.png", field="", box=None),
            cell("RBC/gone.png"),
        ],
    )
    dataset = read_dataset(root)
    groups = ["bccd/f1", "patient 3", f"{tmp_path.name}/f1", "RBC/3.png", "RBC/4.png"]
    assert [s.group for s in dataset] == groups
    assert [s.lab for s in dataset] == ["bccd", "bccd", None, "bccd", None]
    assert dataset.samples[0].box == (1.0, 2.0, 3.0, 5.0)
    assert [s.split for s in dataset] == [None, "test", None, None, None]


def test_split_csv_overrides_splits_and_groups(tmp_path: Path):
    root = lay(tmp_path, *(f"Train/RBC/{i}.png" for i in range(4)))
    write_cells(root / "cells.csv", [cell(f"Train/RBC/{i}.png", split="train") for i in range(4)])
    (root / "split.csv").write_text(
        "file,split,group\nTrain/RBC/0.png,Valid,g\nTrain/RBC/1.png,,\nTrain/RBC/2.png,test,\n"
    )
    dataset = read_dataset(root)
    assert [s.split for s in dataset] == ["valid", "train", "test", "train"]
    assert [s.group for s in dataset] == ["g", "bccd/f1", "bccd/f1", "bccd/f1"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [("RBC/1.png,later", "'later'"), ("RBC/0.png,test", "'RBC/0.png' is listed twice")],
)
def test_a_bad_line_of_split_csv_is_named(tmp_path: Path, line, problem):
    root = lay(tmp_path, "RBC/0.png")
    (root / "split.csv").write_text(f"file,split\nRBC/0.png,train\n{line}\n")
    with pytest.raises(AnnotationError, match=rf"split\.csv, line 3: .*{problem}"):
        read_dataset(root)


def test_the_public_eight_class_set_is_read(real_data: Path):
    dataset = read_dataset(real_data / "pbc", PBC8)
    assert dataset.splits == ("train", "valid")
    train, valid = (
        {
            label: len(list((real_data / "pbc" / split / label).glob("*.jpg")))
            for label in PBC8.classes
        }
        for split in ("train", "val")
    )
    assert min(*train.values(), *valid.values()) > 0
    assert dataset.subset("train").counts() == train
    assert dataset.subset("valid").counts() == valid
    three = read_dataset(real_data / "pbc", RBC_WBC_PLATELETS).counts()
    both = {label: train[label] + valid[label] for label in PBC8.classes}
    assert three["RBC"] == both["erythroblast"]
    assert three["Platelets"] == both["platelet"]
    assert sum(three.values()) == sum(both.values())


def test_another_split_file_replaces_the_datasets_own(tmp_path: Path):
    root = lay(tmp_path / "cells", "RBC/1.png", "WBC/1.png")
    (root / "split.csv").write_text("file,split\nRBC/1.png,train\nWBC/1.png,train\n")
    run = tmp_path / "split.csv"
    run.write_text("file,split\nRBC/1.png,test\nWBC/1.png,train\n")
    assert [split for _, _, split in files_of(root, splits=run)] == ["test", "train"]


not_on_windows = pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")


@not_on_windows
@pytest.mark.parametrize("name", ["caf\udce9.png", r"caf\xe9.png", "Zelle ä (1).png"])
def test_any_file_name_is_written_to_tables_and_found_again(tmp_path: Path, name: str):
    root = lay(tmp_path, f"RBC/{name}", "RBC/2.png", "WBC/3.png", "WBC/patient \udcff/4.png")
    split = split_dataset(read_dataset(root), (0.5, 0.5, 0.0), seed=1)
    write_splits(split, root / "split.csv")
    assert read_dataset(root) == split
    files = [split.relative(sample) for sample in split]
    write_cells(root / "cells.csv", [cell(file, field=f"field {file}") for file in files])
    (root / "split.csv").unlink()
    groups = {sample.path.name: sample.group for sample in read_dataset(root)}
    assert groups[name] == f"bccd/field RBC/{escape_name(name)}"


@pytest.mark.parametrize("split", ["", "Train/"])
def test_folders_that_cannot_be_listed_can_be_collected(tmp_path: Path, monkeypatch, split: str):
    root = lay(tmp_path, f"{split}RBC/1.png", f"{split}WBC/2.png", f"{split}WBC/p1/3.png")
    closed = {str(root / split / "RBC"), str(root / split / "WBC" / "p1")}
    listed = os.scandir

    def scandir(path):
        if str(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DatasetError, match=r"Cannot read the folder .*RBC: Permission denied"):
        read_dataset(root)
    found: list[tuple[Path, str]] = []
    dataset = read_dataset(root, RBC_WBC_PLATELETS, on_unlistable=lambda *of: found.append(of))
    assert [dataset.relative(sample) for sample in dataset] == [f"{split}WBC/2.png"]
    assert {str(folder) for folder, _ in found} == closed
    assert {reason for _, reason in found} == {"Permission denied"}


def test_a_link_to_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch):
    root = lay(tmp_path, "RBC/1.png", "WBC/2.png")
    known = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path.name == "WBC":
            raise PermissionError(13, "Permission denied", str(path))
        return known(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    with pytest.raises(DatasetError, match=r"Cannot read the folder .*WBC: Permission denied"):
        read_dataset(root)


def test_linked_folders_are_read_and_loops_end(tmp_path: Path):
    lay(tmp_path / "elsewhere", "1.png", "deeper/2.png")
    root = lay(tmp_path / "cells", "RBC/0.png", "WBC/3.png")
    try:
        (root / "Platelets").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (root / "RBC" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (root / "WBC" / "loop").symlink_to(root / "WBC", target_is_directory=True)
        (root / "nowhere").symlink_to(tmp_path / "gone", target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert [file for file, _, _ in files_of(root)] == [
        "Platelets/1.png", "Platelets/deeper/2.png", "RBC/0.png", "RBC/more/1.png",
        "RBC/more/deeper/2.png", "WBC/3.png",
    ]  # fmt: skip
