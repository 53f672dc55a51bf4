"""The package as a user gets it: built, installed into a fresh environment, and used there."""

import json
import os
import shlex
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "requirements" / "core.txt"
MAX_WHEEL_BYTES = 33 * 2**20

pytestmark = pytest.mark.install

CLASSIFY = """
import json, sys
from hematovision import Classifier
prediction = Classifier.load("rbc-wbc-platelets").predict(sys.argv[1])[0]
heavy = [n for n in ("tensorflow", "keras", "onnx", "pandas", "matplotlib") if n in sys.modules]
print(json.dumps([prediction.label, prediction.decision, prediction.error, heavy]))
"""


def run(*command: object, **options) -> subprocess.CompletedProcess[str]:
    """Run a program outside the repository, so that nothing of it is found by accident."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the pinned tools of this environment."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (found,) = folder.glob("*.whl")
    return found


def need_index(python: Path) -> None:
    """Skip if no package index provides the first requirement."""
    first = CORE.read_text(encoding="utf-8").partition("==")[0]
    pip = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    asked = subprocess.run(
        [*pip, "--retries", "1", "--dest", python.parent.parent / "probe", first],
        capture_output=True,
    )
    if asked.returncode:
        pytest.skip(f"no package index can be reached: pip cannot get {first}")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment with the core and the wheel."""
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    need_index(python)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--require-hashes", "-r", CORE)
    run(*pip, "--no-deps", wheel)
    return programs


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real white cell if real images are available, else a synthetic one."""
    real = Path(os.environ.get("HEMATOVISION_DATA", "")) / "pbc" / "val" / "neutrophil"
    found = sorted(real.glob("*.jpg")) if real.is_absolute() else []
    if found:
        return found[0]
    from hematovision import images
    from hematovision.synthetic import render_cell

    folder = tmp_path_factory.mktemp("synthetic")
    return images.write(folder / "cell.png", render_cell("neutrophil", 0))


def test_the_wheel_is_small_and_holds_the_models_and_their_licence(wheel: Path):
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    for model in ("rbc-wbc-platelets", "pbc8"):
        assert f"hematovision/models/{model}/bundle.json" in names
        assert f"hematovision/models/{model}/MODEL_CARD.md" in names
        assert f"hematovision/models/{model}/report.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert "hematovision/py.typed" in names


def test_the_core_alone_classifies_without_tensorflow(installed: Path, cell: Path, tmp_path: Path):
    printed = run(installed / "python", "-c", CLASSIFY, cell, cwd=tmp_path).stdout
    label, decision, error, heavy = json.loads(printed)
    assert (label, error, heavy) == ("WBC", None, [])
    assert decision in ("accepted", "review")


def test_the_command_line_classifies_too(installed: Path, cell: Path, tmp_path: Path):
    table = tmp_path / "predictions.csv"
    run(installed / "hematovision", "classify", cell, "--out", table, cwd=tmp_path)
    assert table.read_text(encoding="utf-8").splitlines()[1].startswith(f"{cell},WBC,")


def test_a_command_that_needs_more_names_an_installation_that_works(
    installed: Path, cell: Path, tmp_path: Path
):
    table = tmp_path / "predictions.parquet"
    classify = [installed / "hematovision", "classify", cell, "--out", table]
    done = subprocess.run(classify, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    command = done.stderr.partition("Install it with: ")[2].strip()
    assert command.startswith(str(installed / "python"))
    run(*shlex.split(command), "--quiet", cwd=tmp_path)
    run(*classify, cwd=tmp_path)
    assert table.stat().st_size > 0


def test_a_clone_installs_as_git_gives_it(installed: Path, tmp_path: Path):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: there is no .git")
    pip = [installed / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--target", tmp_path / "there", f"git+{ROOT.as_uri()}", cwd=tmp_path)
    assert (tmp_path / "there" / "hematovision" / "models" / "pbc8" / "bundle.json").exists()
