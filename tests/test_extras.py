"""Work that needs an extra is refused before it begins, wherever the extra is missing."""

import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hematovision.cli.program import program
from hematovision.errors import MissingExtraError
from hematovision.extras import NEEDS, require

# Neither the model nor the dataset exist: whoever looks at them first complains about them.
COMMANDS = {
    "demo": (["demo", "--out", "OUT"], ["jinja2", "matplotlib", "keras", "tensorflow", "onnx"]),
    "train": (
        ["train", "no-data", "--out", "OUT"],
        ["jinja2", "matplotlib", "keras", "tensorflow", "onnx", "h5py"],
    ),
    "adapt": (
        ["adapt", "no-model", "no-data", "--out", "OUT"],
        ["jinja2", "matplotlib", "keras", "tensorflow", "onnx"],
    ),
    "evaluate": (["evaluate", "no-model", "no-data", "--out", "OUT"], ["jinja2", "matplotlib"]),
    "compare": (
        ["compare", "no-model", "no-other", "no-data", "--out", "OUT"],
        ["jinja2", "matplotlib"],
    ),
    "export h5": (["export", "no-model", "--to", "h5", "--out", "OUT"], ["keras", "tensorflow"]),
    "export keras": (["export", "no-model", "--to", "keras", "--out", "OUT"], ["keras", "onnx"]),
    "export litert": (["export", "no-model", "--to", "litert", "--out", "OUT"], ["keras"]),
    "export onnx": (["export", "rbc-wbc-platelets", "--to", "onnx", "--out", "OUT"], ["onnx"]),
    "features": (["features", "no-data"], ["onnx", "h5py"]),
    "data download": (["data", "download", "bccd", "OUT"], ["pooch"]),
    "classify to Parquet": (["classify", "no-image", "--out", "OUT.parquet"], ["pyarrow"]),
    "classify on Ray": (
        ["classify", "no-image", "--model", "no-model", "--out", "OUT", "--engine", "ray"],
        ["ray", "fsspec"],
    ),
    "features on Ray": (["features", "no-data", "--engine", "ray"], ["ray"]),
    "app": (["app", "--no-browser", "--home", "OUT"], ["streamlit", "sqlalchemy", "alembic"]),
    "serve": (
        ["serve", "--model", "no-model"],
        ["fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn"],
    ),
}
CASES = [(name, module) for name, (_, modules) in COMMANDS.items() for module in modules]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """Make a module look as if it were not installed."""
    return lambda module: monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(("name", "module"), CASES)
def test_a_command_without_its_extra_fails_before_it_works(
    name, module, without, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    without(module)
    done = CliRunner().invoke(program, COMMANDS[name][0])
    assert done.exit_code == 1
    assert f"needs the module '{module}', which is not installed" in done.stderr
    assert "no-" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_not_read_before_its_check_can_be_made(without, tmp_path, monkeypatch):
    for label in ("RBC", "WBC"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(b"")
    without("imagehash")
    monkeypatch.setattr("hematovision.data.fingerprints.fingerprint", pytest.fail)
    done = CliRunner().invoke(program, ["data", "check", str(tmp_path)])
    assert done.exit_code == 1
    assert "needs the module 'imagehash'" in done.stderr


def test_a_comparison_without_files_needs_no_extra(without):
    without("jinja2")
    done = CliRunner().invoke(program, ["compare", "no-model", "no-other", "no-data"])
    assert "no-model" in done.stderr
    assert "jinja2" not in done.stderr


def test_the_backend_that_keras_is_told_to_use_is_the_one_needed(without, tmp_path, monkeypatch):
    without("tensorflow")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    require("train")
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"backend": "numpy"}')
    require("train")
    (tmp_path / "keras.json").write_text("[]")
    with pytest.raises(MissingExtraError, match="'tensorflow'"):
        require("train")


def test_every_needed_module_comes_with_the_extra_that_is_named():
    root = Path(__file__).resolve().parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    providers = metadata.packages_distributions()

    def brought(extra: str) -> set[str]:
        names = set()
        for line in extras[extra]:
            name = line.partition(">")[0].partition(";")[0].strip()
            if name.startswith("hematovision["):
                for inner in name[len("hematovision[") : -1].split(","):
                    names |= brought(inner)
            else:
                names.add(name.partition("[")[0].lower())
        return names

    for need in NEEDS.values():
        for module in need.modules:
            distributions = {name.lower().replace("_", "-") for name in providers[module]}
            assert distributions & brought(need.extra), (module, need.extra)
