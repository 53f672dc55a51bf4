"""Benchmarks describe the machine, and their tables find their place."""

import json
import platform
import re
from pathlib import Path

import pytest

from benchmarks.machine import describe, fill, markdown_table, write_json

PAGE = "# Results\n\nBefore.\n\n<!-- table:rates -->\nold\n<!-- /table:rates -->\n\nAfter, é.\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "results.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_the_machine_is_one_line_with_cores_and_versions():
    line = describe()
    assert "\n" not in line
    assert re.match(r"\d+ cores? of \S", line)
    assert f"Python {platform.python_version()}" in line
    assert re.search(r"onnxruntime \d+\.\d+", line)


def test_a_machine_without_a_known_name_or_memory_is_described_all_the_same(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Plan 9")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr("os.sysconf", lambda _: (_ for _ in ()).throw(ValueError))
    assert f"of {platform.machine()}, Plan 9" in describe()


def test_figures_are_written_with_the_machine(tmp_path: Path):
    path = tmp_path / "deep" / "rates.json"
    write_json(path, {"classify": [1.5, 2]})
    assert json.loads(path.read_text()) == {"machine": describe(), "classify": [1.5, 2]}


def test_a_table_replaces_the_one_before_and_nothing_else(page: Path):
    table = markdown_table(["what", "rate"], [["classify", 210], ["limit", 230]])
    fill(page, "rates", table)
    fill(page, "rates", table)
    inside = "| what | rate |\n| --- | --- |\n| classify | 210 |\n| limit | 230 |"
    assert page.read_text(encoding="utf-8") == PAGE.replace("old", inside)


@pytest.mark.parametrize(
    "text",
    ["nothing", PAGE + PAGE, PAGE.replace("<!-- /table", "<!-- table"), "<!-- table:rates -->"],
)
def test_a_page_without_the_place_is_left_alone(page: Path, text: str):
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"<!-- /table:rates -->"):
        fill(page, "rates", "new")
    assert page.read_text(encoding="utf-8") == text
