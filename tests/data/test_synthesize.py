"""Datasets of synthetic cells: the layout of real ones, with exact labels."""

import numpy as np
import pytest
from PIL import Image

from hematovision.data.cells import read_cells
from hematovision.data.folders import read_dataset
from hematovision.data.formats.csv_table import CsvTable
from hematovision.data.synthesize import NOTE, NOTE_FILE, write_synthetic_cells
from hematovision.errors import DatasetError, TaxonomyError
from hematovision.taxonomy import PBC8


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """36 images of three fields, and the fields."""
    folder = tmp_path_factory.mktemp("synthetic")
    calls = []
    dataset = write_synthetic_cells(
        folder / "cells", 36, 5, fields=folder / "fields", progress=lambda *a: calls.append(a)
    )
    return dataset, folder / "fields", calls


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    return write_synthetic_cells(
        tmp_path_factory.mktemp("synthetic") / "pbc8", 32, 5, taxonomy="pbc8"
    )


def pixels(dataset):
    return {dataset.relative(s): np.asarray(Image.open(s.path)).tobytes() for s in dataset.samples}


def test_what_is_written_is_read_back_the_same(written, eight):
    assert read_dataset(written[0].root) == written[0]
    assert read_dataset(eight.root, PBC8) == eight


def test_half_of_the_cells_are_red_and_every_split_has_every_class(written):
    dataset = written[0]
    assert dataset.counts() == {"RBC": 18, "WBC": 9, "Platelets": 9}
    for split in ("train", "valid", "test"):
        assert dataset.subset(split).counts() == {"RBC": 6, "WBC": 3, "Platelets": 3}


def test_a_field_is_a_group_and_stays_in_one_split(written):
    splits = {}
    for sample in written[0]:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert len(splits) == 3
    assert all(len(split) == 1 for split in splits.values())


def test_pbc8_renders_the_classes_in_turn_and_changes_labs(eight):
    assert set(eight.counts().values()) == {4}
    assert {s.lab for s in eight} == {"synthetic-a", "synthetic-b", "synthetic-c", "synthetic-d"}
    assert all(s.box is None for s in eight)
    assert len({s.group for s in eight}) == 32


def test_cell_images_follow_the_crop_rule(written):
    for cell in read_cells(written[0].root / "cells.csv"):
        xmin, ymin, xmax, ymax = cell.box
        side = int(1.2 * max(xmax - xmin, ymax - ymin) + 0.5)
        with Image.open(written[0].root / cell.file) as image:
            assert image.size == (side, side)


def test_every_file_is_marked_as_synthetic(written, eight):
    for dataset in (written[0], eight):
        assert NOTE in (dataset.root / NOTE_FILE).read_text(encoding="utf-8")
        for sample in dataset:
            assert "synthetic" in sample.path.name
            assert sample.lab.startswith("synthetic")
            with Image.open(sample.path) as image:
                assert (
                    image.text["Comment"] == NOTE == "HematoVision synthetic image: not a patient"
                )


def test_kept_fields_can_be_imported_and_hold_the_cropped_cells(written):
    dataset, folder, _ = written
    found = CsvTable().read(folder).fields
    assert len(found) == 3
    boxes = {(field.image.name, box.box) for field in found for box in field.boxes}
    for cell in read_cells(dataset.root / "cells.csv"):
        assert (cell.source, cell.box) in boxes
    assert NOTE in (folder / NOTE_FILE).read_text(encoding="utf-8")


def test_an_image_does_not_depend_on_how_many_are_rendered(written, eight, tmp_path):
    fewer = pixels(write_synthetic_cells(tmp_path / "three", 14, 5))
    more = pixels(written[0])
    assert len(fewer) == 14
    assert fewer.items() <= more.items()
    fewer = pixels(write_synthetic_cells(tmp_path / "eight", 9, 5, taxonomy="pbc8"))
    assert len(fewer) == 9
    assert fewer.items() <= pixels(eight).items()


def test_another_seed_gives_other_cells(written, tmp_path):
    other = pixels(write_synthetic_cells(tmp_path / "other", 12, 6))
    assert not set(other.values()) & set(pixels(written[0]).values())


def test_progress_is_reported_after_each_image(written):
    steps = [(done, total, unit) for done, total, _, unit in written[2]]
    assert steps == [(n, 36, "cells") for n in range(1, 37)]


def test_a_destination_that_is_not_empty_is_an_error(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "real.png").write_bytes(b"")
    (tmp_path / "file").write_text("")
    for dest in (tmp_path / "full", tmp_path / "file"):
        with pytest.raises(DatasetError, match="must be an empty folder"):
            write_synthetic_cells(dest, 1, 0)
    with pytest.raises(DatasetError, match="must be an empty folder"):
        write_synthetic_cells(tmp_path / "new", 1, 0, fields=tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["real.png"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("images", "seed"), [(0, 0), (3, -1)])
def test_numbers_out_of_range_are_errors(tmp_path, images, seed):
    with pytest.raises(DatasetError, match=f"Received: images={images}, seed={seed}"):
        write_synthetic_cells(tmp_path / "new", images, seed)


def test_fields_cannot_be_kept_without_fields_or_inside_the_dataset(tmp_path):
    with pytest.raises(DatasetError, match="no fields to keep"):
        write_synthetic_cells(tmp_path / "new", 1, 0, taxonomy="pbc8", fields=tmp_path / "fields")
    with pytest.raises(DatasetError, match="must be outside the dataset"):
        write_synthetic_cells(tmp_path / "new", 1, 0, fields=tmp_path / "new" / "Fields")
    with pytest.raises(TaxonomyError, match="no taxonomy 'nine'"):
        write_synthetic_cells(tmp_path / "new", 1, 0, taxonomy="nine")
