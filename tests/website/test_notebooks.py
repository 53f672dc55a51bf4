"""The notebooks run, and what is stored with them is what they show."""

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from quick_program import quick_path
from website.notebooks import execute, notebook_pages

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def stored(path: Path) -> Any:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def outputs(notebook: Any) -> list[str]:
    """The texts that the cells show, without numbers and spaces."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            shown.append(" ".join(re.sub(r"\d+([.,]\d+)*", "#", text).split()))
    return shown


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["classify-and-train", "count-a-field"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", quick_path())  # trains with few decoys
    found = outputs(execute(path))
    assert found == outputs(stored(path))
    assert any("# RBC" in text for text in found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_executed_and_small(path: Path):
    cells = [cell for cell in stored(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size < 300_000
    figures = [
        output.data["image/jpeg"]
        for cell in cells
        for output in cell.outputs
        if "image/jpeg" in output.get("data", {})
    ]
    assert figures
    assert "\\u001b" not in path.read_text(encoding="utf-8")
    assert all(base64.b64decode(figure).startswith(b"\xff\xd8") for figure in figures)


def test_a_notebook_becomes_a_page_with_its_figures():
    files = notebook_pages(FOLDER)
    page = files["notebooks/count-a-field.md"]
    assert isinstance(page, str)
    assert page.startswith("# Notebook: count the cells of a field")
    images = re.findall(r"!\[.*?\]\((.+?)\)", page)
    assert images
    for image in images:
        content = files[f"notebooks/{image}"]
        assert isinstance(content, bytes)
        assert content.startswith(b"\xff\xd8")
