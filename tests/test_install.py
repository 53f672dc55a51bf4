"""The package as a user gets it: built, installed into a fresh environment, and used there."""

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "requirements" / "core.txt"
MAX_WHEEL_BYTES = 33 * 2**20
MAX_SDIST_BYTES = 36 * 2**20
MAX_TEST_DATA_BYTES = 2**20

pytestmark = pytest.mark.install

CLASSIFY = """
import json, sys
from hematovision import Classifier
prediction = Classifier.load("rbc-wbc-platelets").predict(sys.argv[1])[0]
heavy = [n for n in ("tensorflow", "keras", "onnx", "pandas", "matplotlib") if n in sys.modules]
print(json.dumps([prediction.label, prediction.decision, prediction.error, heavy]))
"""

TYPED = """
from hematovision import Classifier

def labels(paths: list[str]) -> list[str]:
    return [one.label or "refused" for one in Classifier.load("pbc8").predict(paths)]
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
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel built from it, with pinned tools."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    (found,) = dist.glob("*.tar.gz")
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
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "hematovision"
    }


def test_the_wheel_of_the_repository_is_the_wheel_of_the_sdist(wheel: Path, tmp_path: Path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT)
    (direct,) = tmp_path.glob("*.whl")
    contents = [
        {entry.filename: entry.CRC for entry in zipfile.ZipFile(path).infolist()}
        for path in (direct, wheel)
    ]
    assert contents[0] == contents[1]


def test_the_sdist_holds_what_its_tests_need_and_nothing_large_but_the_models(sdist: Path):
    assert sdist.stat().st_size < MAX_SDIST_BYTES
    with tarfile.open(sdist) as archive:
        sizes = {file.name.partition("/")[2]: file.size for file in archive if file.isfile()}
    for name in ("LICENSE", "NOTICE", "Makefile", "requirements/dev.txt", "tests/conftest.py"):
        assert name in sizes
    assert sum(size for name, size in sizes.items() if "/data/" in name) < MAX_TEST_DATA_BYTES
    models = "src/hematovision/models/"
    large = {name for name, size in sizes.items() if size > 2**21 and not name.startswith(models)}
    assert large == set()


def test_the_sdist_holds_the_files_that_git_holds_wherever_it_is_built(tmp_path: Path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git cannot list its files")
    clone = tmp_path / "site" / "build" / "project"
    run("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), clone)
    for generated in ("web/node_modules/a/b.js", "docs/demo/models/m.onnx", "runs/1/x", ".env"):
        file = clone / generated
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("generated")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, clone)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {one.name.partition("/")[2] for one in archive if one.isfile()}
    held = run("git", "-C", clone, "ls-files").stdout.splitlines()
    left_out = (".github/", ".ci/", ".pre-commit-config.yaml")
    assert names - {"PKG-INFO"} == {name for name in held if not name.startswith(left_out)}


def test_the_metadata_passes_and_its_links_lead_somewhere(dist: Path, wheel: Path):
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Author"] == metadata["Maintainer"] == "The HematoVision developers"
    assert len(metadata.get_all("Project-URL")) == 5
    links = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert len(links) > 20
    assert relative == []
    places = {
        link.partition("/v")[2].partition("/")[2].partition("#")[0]
        for link in links
        if f"/v{metadata['Version']}/" in link
    }
    assert "docs/images/report.png" in places
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_the_core_alone_classifies_without_tensorflow(installed: Path, cell: Path, tmp_path: Path):
    printed = run(installed / "python", "-c", CLASSIFY, cell, cwd=tmp_path).stdout
    label, decision, error, heavy = json.loads(printed)
    assert (label, error, heavy) == ("WBC", None, [])
    assert decision in ("accepted", "review")


def test_the_command_line_classifies_too(installed: Path, cell: Path, tmp_path: Path):
    table = tmp_path / "predictions.csv"
    run(installed / "hematovision", "classify", cell, "--out", table, cwd=tmp_path)
    assert table.read_text(encoding="utf-8").splitlines()[1].startswith(f"{cell},WBC,")


def check_types(script: str, installed: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check a script as a user of the installed package does, with this environment's mypy."""
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    python = installed / ("python.exe" if os.name == "nt" else "python")
    where = ["--python-executable", python, "--cache-dir", folder / "cache"]
    mypy = [sys.executable, "-m", "mypy", "--strict", *where, path]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(mypy, capture_output=True, text=True, cwd=folder, env=outside)


def test_a_strict_type_checker_reads_the_types_of_the_package(installed: Path, tmp_path: Path):
    done = check_types(TYPED, installed, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = TYPED.replace("one.label", "one.confidence")
    done = check_types(wrong, installed, tmp_path)
    assert done.returncode == 1
    assert "List comprehension has incompatible type" in done.stdout


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
