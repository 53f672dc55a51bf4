"""Export of reviewed cells as a dataset: each image once, with its newest decision."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.data.folders import read_dataset
from hematovision.errors import DatasetError, OutputError
from hematovision.files import sha256_bytes
from hematovision.model.bundle import read_bundle
from hematovision.model.registry import find_model
from hematovision.retraining.dataset import COLUMNS, Exported, export_reviewed
from hematovision.review.records import ModelRef, RecordedPrediction, Reviewed
from hematovision.workflows.adapt import adapt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = ModelRef("mine", "ab" * 32, ("RBC", "WBC", "Platelets"))


def image(shade: int) -> bytes:
    return images.encode_png(np.full((20, 20, 3), shade, np.uint8))


def decided(
    shade: int, label: str, *, number: int = 1, hours: int = 0, by: str = "Ada"
) -> Reviewed:
    prediction = RecordedPrediction(
        id=number,
        batch=1,
        name=f"cell {shade}.png",
        image=sha256_bytes(bytes([shade])),
        model=MODEL,
        label="RBC",
        probabilities=(0.6, 0.3, 0.1),
        confidence=0.6,
        novelty=1.0,
        decision="review",
        reason="low confidence",
        at=NOON,
    )
    return Reviewed(prediction, label, by, NOON + timedelta(hours=hours), image(shade))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "reviewed.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_folder_is_a_dataset(tmp_path):
    out = tmp_path / "cells"
    cells = [decided(1, "RBC"), decided(2, "WBC"), decided(3, "WBC"), decided(4, "Platelets")]
    exported = export_reviewed(iter(cells), out)
    assert exported == Exported(out, {"Platelets": 1, "RBC": 1, "WBC": 2}, 4)
    data = read_dataset(out)
    assert data.taxonomy.name == "rbc-wbc-platelets"
    assert data.counts() == {"RBC": 1, "WBC": 2, "Platelets": 1}
    path = out / "RBC" / f"{sha256_bytes(bytes([1]))[:16]}.png"
    assert path.read_bytes() == image(1)


def test_the_table_lists_decisions_and_predictions(tmp_path):
    export_reviewed([decided(7, "WBC", hours=1, by="Grace")], tmp_path / "cells")
    (row,) = table(tmp_path / "cells")
    digest = sha256_bytes(bytes([7]))
    assert tuple(row) == COLUMNS
    assert row == {
        "sha256": digest,
        "file": f"WBC/{digest[:16]}.png",
        "name": "cell 7.png",
        "model": "mine",
        "model_sha256": "ab" * 32,
        "model_label": "RBC",
        "confidence": "0.600000",
        "label": "WBC",
        "reviewer": "Grace",
        "at": "2026-03-01T13:00:00+00:00",
    }


@pytest.mark.parametrize("newest_first", [False, True])
def test_an_image_in_two_batches_is_exported_once_with_the_newest_decision(tmp_path, newest_first):
    cells = [decided(1, "RBC"), decided(1, "WBC", number=9, hours=2, by="Grace")]
    out = tmp_path / "cells"
    exported = export_reviewed(reversed(cells) if newest_first else cells, out)
    assert (exported.n, dict(exported.counts)) == (1, {"WBC": 1})
    assert [path.parent.name for path in out.rglob("*.png")] == ["WBC"]
    assert exported.notes == (
        "cell 1.png has conflicting decisions: RBC, WBC. The newest was used: WBC, by Grace.",
    )


def test_the_same_decision_twice_is_no_conflict(tmp_path):
    cells = [decided(1, "RBC"), decided(1, "RBC", number=2)]
    exported = export_reviewed(cells, tmp_path / "cells")
    assert (exported.n, exported.notes) == (1, ())


@pytest.mark.parametrize("label", ["../../evil", "CON", "a/b", ".hidden", "tail. ", "a:b|c?"])
def test_a_class_of_any_name_stays_in_the_folder_and_is_read_back(tmp_path, label):
    out = tmp_path / "cells"
    export_reviewed([decided(1, label), decided(2, "other")], out)
    assert {path.name for path in tmp_path.iterdir()} == {"cells"}
    folders = {path.name for path in out.iterdir() if path.is_dir()} - {"other"}
    (folder,) = folders
    assert not set(folder) & set('/\\:|?*"<>')
    assert not folder.startswith(".")
    assert not folder.endswith((".", " "))
    assert len(read_dataset(out)) == 2


def test_an_export_without_reviewed_cells_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no reviewed cell to export"):
        export_reviewed([], tmp_path / "cells")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_changed(tmp_path):
    (tmp_path / "cells").mkdir()
    export_reviewed([decided(1, "RBC")], tmp_path / "cells")  # An empty folder will do.
    with pytest.raises(OutputError, match="already exists"):
        export_reviewed([decided(2, "RBC")], tmp_path / "cells")
    assert len(table(tmp_path / "cells")) == 1


def test_an_export_that_fails_half_way_leaves_nothing(tmp_path):
    def cells():
        yield decided(1, "RBC")
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError):
        export_reviewed(cells(), tmp_path / "cells")
    assert list(tmp_path.iterdir()) == []


def test_times_are_compared_across_time_zones(tmp_path):
    early = decided(1, "RBC")
    late = replace(decided(1, "WBC"), at=(NOON + timedelta(minutes=1)).astimezone())
    exported = export_reviewed([late, early], tmp_path / "cells")
    assert dict(exported.counts) == {"WBC": 1}


def test_a_model_of_white_cells_is_adapted_to_reviewed_images(real_data, tmp_path):
    """Images are framed by their red cells in adapting, as when they were classified."""
    with (real_data / "raabin" / "index.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] != "basophil"]
    cells = []
    for kind in ("eosinophil", "lymphocyte", "neutrophil"):
        for row in [row for row in rows if row["kind"] == kind][:60:10]:
            png = images.encode_png(images.read(real_data / "raabin" / row["image"]))
            cell = decided(len(cells), kind, number=len(cells))
            prediction = replace(cell.prediction, image=sha256_bytes(png))
            cells.append(replace(cell, prediction=prediction, png=png))
    exported = export_reviewed(cells, tmp_path / "cells")
    assert exported.n == 18
    adapted = adapt("white-cells", exported.folder, out=tmp_path / "adapted")
    before, after = (read_bundle(find_model(name)) for name in ("white-cells", adapted.folder))
    assert after.manifest.framing == before.manifest.framing is not None
    assert adapted.metrics.n == 18
    assert adapted.metrics.accuracy >= adapted.before.accuracy
