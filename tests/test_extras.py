"""Commands that need a missing extra fail before they start, with the command to install it."""

import importlib.metadata
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from hematovision import extras, images
from hematovision.cli.program import program
from hematovision.errors import MissingExtraError
from hematovision.extras import NEEDS, needs_extra, require
from hematovision.synthetic import render_cell

# The datasets do not exist, nor do most models: whatever looks at them first complains about them.
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
    "evaluate": (["evaluate", "pbc8", "no-data", "--out", "OUT"], ["jinja2", "matplotlib"]),
    "evaluate a detector": (
        ["evaluate", "blood-fields", "no-data", "--out", "OUT"],
        ["jinja2", "faster_coco_eval"],
    ),
    "compare": (
        ["compare", "no-model", "no-other", "no-data", "--out", "OUT"],
        ["jinja2", "matplotlib"],
    ),
    "export h5": (["export", "no-model", "--to", "h5", "--out", "OUT"], ["keras", "tensorflow"]),
    "export keras": (["export", "no-model", "--to", "keras", "--out", "OUT"], ["keras", "onnx"]),
    "export litert": (["export", "no-model", "--to", "litert", "--out", "OUT"], ["keras"]),
    "export onnx": (["export", "rbc-wbc-platelets", "--to", "onnx", "--out", "OUT"], ["onnx"]),
    "features": (["features", "no-data"], ["onnx", "h5py"]),
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
    """Hide an installed module."""
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


def test_the_outermost_work_is_what_a_missing_module_is_needed_for():
    with (
        pytest.raises(MissingExtraError, match=r"^Training needs the module 'no_such'"),
        needs_extra("train", "Training"),
        needs_extra("train", "Reading an ONNX model"),
    ):
        import no_such
    with (
        pytest.raises(MissingExtraError, match=r"^A data frame needs the module 'no_such'"),
        needs_extra("train", "Training"),
        needs_extra("notebook", "A data frame"),
    ):
        import no_such  # noqa: F401


def test_a_comparison_without_files_needs_no_extra(without):
    without("jinja2")
    done = CliRunner().invoke(program, ["compare", "no-model", "no-other", "no-data"])
    assert "no-model" in done.stderr
    assert "jinja2" not in done.stderr


def test_the_backend_that_keras_is_configured_for_is_required(without, tmp_path, monkeypatch):
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
    optional = project["optional-dependencies"]
    providers = importlib.metadata.packages_distributions()

    def brought(extra: str) -> set[str]:
        names = set()
        for line in optional[extra]:
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


CORE_ONLY = """
import importlib.metadata, re, sys
from pathlib import Path
core = {"hematovision", *re.findall(r"(?m)^([a-z0-9.-]+)==", Path(sys.argv[1]).read_text())}
for module, names in importlib.metadata.packages_distributions().items():
    if not any(re.sub("[-_.]+", "-", name).lower() in core for name in names):
        sys.modules[module] = None  # importing it fails
from hematovision.cli.program import program
sys.exit(program(["data", "check", sys.argv[2]], standalone_mode=False))
"""


def test_the_core_alone_finds_near_duplicates(tmp_path):
    core = Path(__file__).resolve().parent.parent / "requirements" / "core.txt"
    cell = render_cell("neutrophil", 3, size=96)
    images.write(tmp_path / "WBC" / "a.png", cell)
    images.write(tmp_path / "RBC" / "turned.png", images.view(cell, 1))
    command = [sys.executable, "-c", CORE_ONLY, str(core), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "near duplicate" in done.stdout.casefold().replace("-", " ")


REQUIRES = [
    "numpy>=2",
    "absent-one>=3; extra == 'serve'",
    "absent-two[fast]<9,>=1.5; extra == 'serve'",
    "numpy>=1; extra == 'serve'",
    "elsewhere>=1; sys_platform == 'none-such' and extra == 'serve'",
    "hematovision[data]; extra == 'serve'",
    "absent-three; extra == 'data'",
    "absent-four; extra == 'train'",
]


@pytest.fixture
def requires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: list(REQUIRES))


@pytest.mark.usefixtures("requires")
def test_only_missing_requirements_are_named_including_nested_extras():
    assert extras.missing_requirements("serve") == [
        "absent-one>=3",
        "absent-three",
        "absent-two[fast]<9,>=1.5",
    ]


@pytest.mark.usefixtures("requires")
def test_an_outdated_requirement_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    assert "absent-one>=3" in extras.missing_requirements("serve")
    assert "absent-three" not in extras.missing_requirements("serve")


@pytest.mark.usefixtures("requires")
def test_the_command_survives_a_shell_and_names_this_interpreter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(extras.install_command("serve", "absent_one"))
    assert words == [
        sys.executable,
        "-m",
        "pip",
        "install",
        "absent-one>=3",
        "absent-three",
        "absent-two[fast]<9,>=1.5",
    ]


@pytest.mark.usefixtures("requires")
def test_an_activated_environment_is_called_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert extras.install_command("serve", "x").startswith("python -m pip install ")


@pytest.mark.usefixtures("requires")
def test_an_environment_without_pip_gets_a_uv_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    assert extras.install_command("serve", "x").startswith("uv pip install --python ")


@pytest.mark.usefixtures("requires")
def test_windows_gets_double_quotes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "_python", lambda: "python")
    monkeypatch.setattr(extras.os, "name", "nt")
    line = extras.install_command("serve", "x")
    monkeypatch.undo()
    assert line == 'python -m pip install "absent-one>=3" absent-three "absent-two[fast]<9,>=1.5"'


def test_a_package_without_metadata_names_the_module(monkeypatch: pytest.MonkeyPatch):
    def unknown(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    assert extras.missing_requirements("serve") == []
    assert extras.install_command("serve", "fastapi").endswith("pip install fastapi")


def test_the_error_of_a_missing_module_never_names_an_extra_of_a_package_on_no_index():
    def use() -> None:
        with needs_extra("serve", "The HTTP server"):
            import no_such_module_anywhere  # noqa: F401

    with pytest.raises(MissingExtraError, match="The HTTP server needs the module") as caught:
        use()
    assert "hematovision[" not in str(caught.value)
    assert " install " in str(caught.value)


@pytest.mark.parametrize(
    "extra", ["app", "data", "eval", "formats", "scale", "serve", "slides", "train"]
)
def test_every_extra_has_requirements_and_this_environment_meets_them(extra: str):
    found = [
        one for one in importlib.metadata.requires("hematovision") or () if f"'{extra}'" in one
    ]
    assert found
    assert all(Requirement(one).name for one in found)
    assert extras.missing_requirements(extra) == []
