"""A tag is published only if version, changelog and the hashes of the bundled models agree."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

import hematovision

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = "# Changelog\n\n## [{0}] - {1}\n\n{2}\n## [0.1.0] - 2026-01-31\n\n- First.\n"


def load_script():
    spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = load_script()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of version 0.2.0 with one bundled model, ready for release."""
    model = tmp_path / "src" / "hematovision" / "models" / "small"
    model.mkdir(parents=True)
    (model / "hematovision_model.onnx").write_bytes(b"graph")
    (model.parent / "backbone.weights").write_bytes(b"weights")
    manifest = {
        "files": {"hematovision_model.onnx": hashlib.sha256(b"graph").hexdigest()},
        "backbone": {
            "file": "backbone.weights",
            "sha256": hashlib.sha256(b"weights").hexdigest(),
        },
    }
    (model / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "src" / "hematovision" / "__init__.py").write_text(
        '"""A package."""\n\n__version__ = "0.2.0"\n', encoding="utf-8"
    )
    write_changelog(tmp_path, "2026-11-30")
    return tmp_path


def write_changelog(project: Path, date: str, notes: str = "- Second.\n") -> None:
    text = CHANGELOG.format("0.2.0", date, notes)
    (project / "CHANGELOG.md").write_text(text, encoding="utf-8")


def test_a_finished_version_can_be_released(project: Path):
    assert release.main(["check", "v0.2.0"], project) == 0


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "v0.2.1", "v0.1.0"])
def test_a_tag_of_another_version_is_refused(project: Path, tag: str, capsys):
    assert release.main(["check", tag], project) == 1
    assert f"the tag is {tag}, but the version of the package is 0.2.0" in capsys.readouterr().err


@pytest.mark.parametrize("date", ["unreleased", "2026-13-01", "30.11.2026"])
def test_a_version_without_a_date_is_refused(project: Path, date: str, capsys):
    write_changelog(project, date)
    assert release.main(["check", "v0.2.0"], project) == 1
    assert f"the date of 0.2.0 is {date!r}" in capsys.readouterr().err


def test_a_version_without_notes_is_refused(project: Path, capsys):
    write_changelog(project, "2026-11-30", "")
    assert release.main(["check", "v0.2.0"], project) == 1
    assert "the section of 0.2.0 is empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["small/hematovision_model.onnx", "backbone.weights"])
def test_a_changed_or_missing_file_of_a_model_is_found(project: Path, name: str, capsys):
    path = project / "src" / "hematovision" / "models" / name
    path.write_bytes(b"other")
    assert release.main(["check", "v0.2.0"], project) == 1
    path.unlink()
    assert release.main(["check", "v0.2.0"], project) == 1
    assert capsys.readouterr().err.count(f"bundle.json: small: {path.name}") == 2


def test_the_notes_are_the_section_of_the_version(project: Path, capsys):
    assert release.main(["notes", "v0.1.0"], project) == 0
    assert release.main(["notes", "v0.2.0"], project) == 0
    assert capsys.readouterr().out == "- First.\n- Second.\n"
    with pytest.raises(SystemExit, match=r"no section: ## \[0\.3\.0\]"):
        release.main(["notes", "v0.3.0"], project)


def test_this_project_lacks_at_most_the_date():
    found = release.problems(ROOT, f"v{hematovision.__version__}")
    assert [line for line in found if "'unreleased'" not in line] == []
