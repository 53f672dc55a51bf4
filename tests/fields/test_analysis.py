"""The analyses of fields: a sequence with rows, arrays, tables and plots; every input is read."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from discs import DiscFinder, disc_field
from field_rows import FIELD, cell
from hematovision import images
from hematovision.errors import DatasetError, ImageError, NotAnImageError
from hematovision.fields.analysis import FieldAnalyses, FieldAnalysis
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.rows import CELL_SCHEMA, FIELD_SCHEMA, FieldRow, split
from hematovision.model.inference import Item, predict_image
from hematovision.regions import Region

PIXELS = disc_field(diameter=30, seed=4).image


@pytest.fixture(scope="module")
def analyzer() -> FieldAnalyzer:
    return FieldAnalyzer(DiscFinder(), workers=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("fields")
    for name in ("a.png", "more/b.png"):
        images.write(root / name, PIXELS)
    return root


@pytest.fixture(scope="module")
def expected(analyzer):
    return split(analyzer.predict_rows(PIXELS, "a")[0])


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


KINDS = {
    "path": (lambda folder: folder / "a.png", 1),
    "string": (lambda folder: str(folder / "a.png"), 1),
    "folder": (lambda folder: folder, 2),
    "glob": (lambda folder: str(folder / "**" / "*.png"), 2),
    "bytes": (lambda folder: (folder / "a.png").read_bytes(), 1),
    "array": (lambda _: PIXELS, 1),
    "arrays": (lambda _: np.stack([PIXELS, PIXELS]), 2),
    "Pillow image": (lambda folder: opened(folder / "a.png"), 1),
    "mixed": (lambda folder: [folder, PIXELS, opened(folder / "a.png").convert("RGBA")], 4),
    "generator": (lambda _: iter([PIXELS]), 1),
    "nothing": (lambda _: [], 0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["predict", "stream"])
def test_every_method_takes_every_input(analyzer, folder, expected, method: str, kind: str):
    given, n = KINDS[kind]
    found = list(getattr(analyzer, method)(given(folder)))
    assert len(found) == n
    cells, (field,) = expected
    for one in found:
        assert one.counts == {"RBC": field.rbc, "WBC": field.wbc, "Platelets": field.platelets}
        assert [c.x_min for c in one.cells] == [c.x_min for c in cells]


def test_wrong_inputs_name_the_right_call(analyzer, tmp_path):
    with pytest.raises(TypeError, match="Multiply by 255"):
        analyzer.predict(PIXELS / 255)
    with pytest.raises(DatasetError, match="No file matches"):
        analyzer.predict(str(tmp_path / "*.png"))


def test_the_scale_in_the_metadata_of_a_file_is_used(tmp_path):
    plain = np.full((200, 300, 3), 240, np.uint8)
    path = tmp_path / "scaled.tif"
    Image.fromarray(plain).save(path, dpi=(254000, 254000))  # 0.1 um
    analyzer = FieldAnalyzer(DiscFinder())
    (from_file,), (from_array,) = analyzer.predict(path), analyzer.predict(plain)
    assert (from_file.field.scale_source, from_file.field.um_per_px) == ("metadata", 0.1)
    assert from_array.field.scale_source == "none"


ROWS = (
    cell("RBC", x=10.5),
    cell("WBC", "neutrophil", x=100),
    cell("WBC", "lymphocyte", x=200, decision="review", reason="low confidence"),
    cell("Platelets", x=300, width=12, on_edge=True, counted=False),
)
ONE = FieldAnalysis(
    FieldRow("a.png", "", 640, 480, 36.0, None, "red cells", 1, 2, 0, 1, 2.0, 0.1, 0.0),
    ROWS,
    ("neutrophil", "lymphocyte"),
    np.full((480, 640, 3), 200, np.uint8),
)
GONE = FieldAnalysis(FieldRow.unreadable("b.png", "the file does not exist. Check the path."))
ALL = FieldAnalyses([ONE, GONE], ONE.subtypes)


def test_counts_are_those_of_the_counted_cells():
    assert ONE.counts == ALL.counts == {"RBC": 1, "WBC": 2, "Platelets": 0}
    assert GONE.counts == {"RBC": 0, "WBC": 0, "Platelets": 0}
    differential = ONE.differential
    assert {name: one.n for name, one in differential.classes.items()} == {
        "neutrophil": 1, "lymphocyte": 0, "unclassified": 1,
    }  # fmt: skip
    assert ALL.statistics.fields.unreadable == 1
    assert ALL.differential.n == 2


def test_boxes_and_labels_of_all_cells():
    assert ONE.boxes.dtype == np.float64
    assert ONE.boxes[0].tolist() == [10.5, 100, 46.5, 136]
    assert ONE.labels == ("RBC", "WBC", "WBC", "Platelets")
    assert GONE.boxes.shape == (0, 4)


def test_tables_have_the_columns_of_the_files():
    cells, fields = ALL.to_pandas(), ALL.to_pandas("fields")
    assert tuple(cells.columns) == CELL_SCHEMA.names
    assert tuple(fields.columns) == FIELD_SCHEMA.names
    assert len(cells) == len(ONE.to_pandas()) == 4
    assert cells["x_min"].tolist() == [10.5, 100, 200, 300]
    assert cells["counted"].sum() == 3
    assert fields["wbc"].isna().tolist() == [False, True]
    assert (fields["wbc"].dtype.name, cells["on_edge"].dtype.name) == ("Int64", "boolean")
    assert (GONE.to_pandas().dtypes == cells.dtypes).all(), "the same without cells"
    with pytest.raises(ValueError, match=r"must be 'cells' or 'fields'\. Received: 'wells'"):
        ALL.to_pandas("wells")


def test_the_representations_are_short():
    assert repr(ONE) == "FieldAnalysis('a.png': 1 RBC, 2 WBC, 0 Platelets; 1 to review)"
    assert repr(GONE) == (
        "FieldAnalysis('b.png': refused: the file does not exist. Check the path.)"
    )
    assert repr(ALL).splitlines() == [
        "FieldAnalyses: 2 fields, 1 refused: 1 RBC, 2 WBC, 0 Platelets; 1 to review",
        "  image  RBC  WBC  Platelets  review  flags",
        "  a.png    1    2          0       1",
        "  b.png                               the file does not exist. Check the path.",
    ]
    assert repr(FieldAnalyses([])) == "FieldAnalyses: 0 fields"
    assert ALL._repr_html_().count("<tr>") == 3


def test_they_are_a_sequence():
    assert isinstance(ALL[:1], FieldAnalyses)
    assert ALL[:1] == [ONE]
    assert ALL[0] is ONE
    assert (ALL == 3) is False
    assert ALL.fields == (ONE.field, GONE.field)
    assert ALL.cells == ROWS
    assert ALL[:1].differential.n == 2


def test_plots_are_the_overlays_of_analyze():
    figure = ONE.plot()
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), ONE.overlay())
    assert axes.get_title() == "a.png: 1 RBC, 2 WBC, 0 Platelets; 1 to review"
    both = ALL.plot()
    assert [len(one.images) for one in both.axes] == [1, 0]
    assert both.axes[1].get_title() == "Not read"
    assert ALL.plot(1).get_suptitle() == "1 of 2 fields"


def test_every_cell_is_outlined():
    overlay = ONE.overlay()
    scale = overlay.shape[1] / 640
    for one in ROWS:  # the middle of the upper side of each box is on its outline
        y, x = round(one.y_min * scale), round((one.x_min + one.x_max) / 2 * scale)
        assert (overlay[y - 2 : y + 3, x - 6 : x + 6] != 200).any()
    assert (overlay[20:60, 20:60] == 200).all(), "nothing is outlined where there is no cell"


def test_without_its_image_an_analysis_cannot_be_plotted(tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        GONE.plot()
    (tmp_path / "x.png").write_bytes(b"x")
    (broken,) = FieldAnalyzer(DiscFinder()).predict(tmp_path / "x.png")
    with pytest.raises(NotAnImageError):
        broken.overlay()
    lost = FieldAnalyses([FieldAnalysis(FIELD)])
    assert not lost.plot().axes[0].images


def test_copies_are_equal():
    assert pickle.loads(pickle.dumps(ALL)) == ALL
    assert copy.deepcopy(ONE) == ONE


def test_an_analyzer_states_its_models(analyzer):
    assert repr(analyzer) == "FieldAnalyzer('DiscFinder')"


def test_a_region_of_a_slide_is_refused(analyzer):
    result = predict_image(analyzer, Item("s", Region.parse(Path("s.svs"), "0,0,9,9")))
    assert "hematovision analyze" in result.error.reason
    assert result.rows[0].of.region == "0,0,9,9"
