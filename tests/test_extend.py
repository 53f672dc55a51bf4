"""The four extension points, with the examples of docs/extend.md: called, and installed."""

import doctest
import json
import re
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import hematovision.extend
from colour_squares import COLOUR_MODEL, COLOURS, write_square
from hematovision import images
from hematovision.cli.program import program
from hematovision.data.formats import FORMATS
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.evaluation.metric import METRICS
from hematovision.evaluation.metrics import read_metrics
from hematovision.model.bundle import ONNX
from hematovision.model.classifier import Classifier
from hematovision.model.registry import BACKBONES
from hematovision.workflows.exporters import EXPORTERS
from outside_distribution import installed

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
REGISTRIES = {
    "backbones": BACKBONES, "formats": FORMATS, "metrics": METRICS, "exporters": EXPORTERS,
}  # fmt: skip
EXAMPLES = dict(zip(REGISTRIES, re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), strict=True))
ENTRY_POINTS = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])["project"][
    "entry-points"
]

Add = Callable[[str], str]


def run(*words: object) -> Result:
    return CliRunner().invoke(program, [str(word) for word in words], prog_name="hematovision")


@pytest.fixture(params=["registered by a call", "installed"])
def add(request, monkeypatch, tmp_path: Path) -> Add:
    """Add the example of one kind in one of the two ways, and return its name."""

    def call(kind: str) -> str:
        ((name, _),) = ENTRY_POINTS[f"hematovision.{kind}"].items()
        if request.param == "installed":
            install(monkeypatch, tmp_path)
        else:
            exec(EXAMPLES[kind], {"__name__": "example"})
        return name

    return call


def install(monkeypatch, folder: Path) -> None:
    """Install the examples of the page, without their calls, with the entry points of the page."""
    files = {"smear_tools/__init__.py": ""}
    for kind, code in EXAMPLES.items():
        lines = code.splitlines(keepends=True)
        kept = [
            line for line in lines if not re.match(r"(from hematovision import )?register_", line)
        ]
        files[f"smear_tools/{kind}.py"] = "".join(kept)
    installed(monkeypatch, folder, "smear_tools", files, ENTRY_POINTS)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_example_has_at_most_ten_lines_of_code(kind: str):
    assert len([line for line in EXAMPLES[kind].splitlines() if line.strip()]) <= 10


def test_the_page_names_the_groups_of_entry_points():
    assert [registry.group for registry in REGISTRIES.values()] == list(ENTRY_POINTS)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_built_in_thing_can_be_loaded(kind: str):
    registry = REGISTRIES[kind]
    assert all(registry[name] is not None for name in registry.builtin)


def test_the_examples_of_the_functions_run():
    failed, tried = doctest.testmod(hematovision.extend)
    assert (failed, tried) == (0, 14)
    assert "worst_recall" in METRICS


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("train", "backbones"), ("export", "exporters"), ("data import", "formats"),
        ("data convert", "formats"), ("evaluate", "formats"), ("adapt", "formats"),
        ("analyze", "formats"),
    ],
)  # fmt: skip
def test_help_lists_what_was_added(add: Add, command: str, kind: str):
    name = add(kind)
    shown = re.sub(r"\s", "", run(*command.split(), "--help").stdout)
    assert "|".join((*REGISTRIES[kind].builtin, name)) in shown


def test_broken_entry_points_leave_help_and_everything_else_alone(monkeypatch, tmp_path: Path):
    groups = {f"hematovision.{kind}": {"broken": "smear_tools:missing"} for kind in REGISTRIES}
    files = {"smear_tools.py": "raise RuntimeError('no licence')"}
    installed(monkeypatch, tmp_path, "smear_tools", files, groups)
    assert "litert|broken" in run("export", "--help").stdout.replace("\n", "")
    assert run("export", COLOUR_MODEL, "--to", "onnx", "--out", tmp_path / "m.onnx").exit_code == 0
    result = run("export", COLOUR_MODEL, "--to", "broken", "--out", tmp_path / "m.x")
    assert result.exit_code == 1
    assert "The exporter 'broken' (entry point 'broken' = 'smear_tools:missing' of" in result.stderr
    assert "smear_tools 1.0) can't be imported: RuntimeError: no licence" in result.stderr


def test_fields_in_a_format_from_outside_are_imported_and_converted(add: Add, tmp_path: Path):
    name = add("formats")
    source = tmp_path / "fields"
    for image in ("a.png", "b.png"):
        write_square(source / image, (200, 180, 190), side=80)
    lines = ["a.png RBC 5 5 25 30", "a.png WBC 30 30 75 70", "b.png RBC 60 60 95 85"]
    (source / "boxes.txt").write_text("\n".join([*lines, "b.png WBC 90 10 110 20"]))
    cells = tmp_path / "cells"
    result = run("data", "import", source, cells, "--format", name, "--split", "none")
    assert result.exit_code == 3, result.output
    assert "3 cell images" in result.stdout
    assert "boxes.txt: b.png ['90', '10', '110', '20']: WBC in b" in result.stderr
    report = json.loads((cells / "import.json").read_text())
    assert report["format"] == name
    assert report["counts"] == {"all": {"RBC": 2, "WBC": 1, "Platelets": 0}}
    coco = tmp_path / "coco"
    result = run("data", "convert", source, coco, "--from", name, "--to", "coco")
    boxes = json.loads((coco / "annotations" / "instances.json").read_text())["annotations"]
    assert [box["bbox"] for box in boxes][:3] == [
        [5, 5, 20, 25],
        [30, 30, 45, 40],
        [60, 60, 35, 25],
    ]


def test_a_metric_from_outside_is_in_the_metrics_and_the_report(
    add: Add, tmp_path: Path, without_figures
):
    name = add("metrics")
    for label, colour in COLOURS.items():
        for i in range(4):
            wrong = "green" if (label, i) == ("red", 0) else label
            write_square(tmp_path / "cells" / wrong / f"{label}{i}.png", colour)
    result = run("evaluate", COLOUR_MODEL, tmp_path / "cells", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    root = json.loads((tmp_path / "out" / "metrics.json").read_text())
    kappa = root["added"][name]
    # 11 of 12 are correct; by chance (3 * 4 + 5 * 4 + 4 * 4) / 144 = 1 / 3 would be
    assert kappa["value"] == pytest.approx((11 / 12 - 1 / 3) / (2 / 3))
    low, high = kappa["interval"]
    assert 0.4 < low < 0.875 < high == 1.0
    assert "Cohen's kappa: 0.875 (95% interval" in result.stdout
    report = (tmp_path / "out" / "report.html").read_text()
    assert re.search(r"Cohen&#39;s kappa</th>\s*<td class=\"n\">0\.875</td>", report)
    assert read_metrics(tmp_path / "out" / "metrics.json").added[name].value == kappa["value"]


def test_a_model_is_exported_by_an_exporter_from_outside(add: Add, tmp_path: Path):
    file = tmp_path / "model.zip"
    result = run("export", COLOUR_MODEL, "--to", add("exporters"), "--out", file)
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(file) as archive:
        assert archive.read("model.onnx") == (COLOUR_MODEL / ONNX).read_bytes()
        assert archive.read("classes.txt").decode().split() == ["red", "green", "blue"]


def test_the_backbone_of_the_page_is_converted_with_all_its_layers(add: Add):
    from hematovision.training.keras_backbone import built_backbone, network_of

    name = add("backbones")
    network = network_of(built_backbone(name), name)
    assert network.features == 1280
    assert {layer.op for layer in network.layers} >= {"swish", "sigmoid", "multiply", "depthwise"}
    assert sum(array.size for array in network.arrays.values()) == 5_919_312


TINY = """
import keras
from hematovision.extend import KerasBackbone

def tiny(weights):
    keras.utils.set_random_seed(7)
    images = value = keras.Input((224, 224, 3))
    for width in (8, 16, 24, 32, 48):
        conv = keras.layers.Conv2D(width, 3, 2, "same", activation="relu", name=f"conv{width}")
        value = conv(value)
    return keras.Model(images, value)

TINY = KerasBackbone(tiny, weights=("random",))
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "cells"
    write_synthetic_cells(folder, 60, seed=5)
    return folder


@pytest.fixture(params=["registered by a call", "installed"])
def tiny(request, tmp_path: Path) -> Iterator[str]:
    """Add a small backbone in one of the two ways, until the end of the test."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "installed":
            groups = {"hematovision.backbones": {"tiny": "small_nets:TINY"}}
            installed(patch, tmp_path, "small_nets", {"small_nets.py": TINY}, groups)
        else:
            example: dict[str, object] = {"__name__": "example"}
            exec(TINY, example)
            BACKBONES.register("tiny", example["TINY"])
        yield "tiny"


def test_a_model_on_a_backbone_from_outside_works_where_it_is_not_installed(
    tiny: str, cells: Path, tmp_path: Path, without_figures, monkeypatch
):
    out = tmp_path / "run"
    result = run("train", cells, "--out", out, "--backbone", tiny, "--epochs", 3)
    assert result.exit_code == 1
    assert "For tiny, use --weights random or a Keras file." in result.stderr
    words = ("--backbone", tiny, "--weights", "random", "--epochs", 3)
    result = run("train", cells, "--out", out, *words)
    assert result.exit_code == 0, result.output
    BACKBONES.clear()
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    assert tiny not in BACKBONES
    root = json.loads((out / "bundle.json").read_text())
    assert root["backbone"]["architecture"] == tiny
    assert root["outputs"]["feature_map"] == [7, 7, 48]
    image = next((cells / "Test").rglob("*.png"))
    table, maps = tmp_path / "rows.csv", tmp_path / "maps"
    result = run("classify", image, "--model", out, "--out", table, "--explain", maps)
    assert result.exit_code == 0, result.output
    expected = Classifier.load(out).predict(image)[0]
    assert f"{expected.confidence:.6f}" in table.read_text()
    file = tmp_path / "model.h5"
    assert run("export", out, "--to", "h5", "--out", file).exit_code == 0
    import keras

    model = keras.saving.load_model(file, compile=False)
    found = model.predict(images.load(image)[None].astype("float32"), verbose=0)[0]
    assert found == pytest.approx(list(expected.probabilities), abs=1e-4)
    result = run("adapt", out, cells / "Valid", "--out", tmp_path / "adapted")
    assert result.exit_code == 0, result.output
