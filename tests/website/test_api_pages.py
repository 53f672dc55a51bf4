"""Every public name has an entry in the API reference."""

from pathlib import Path

import pytest

import hematovision
from website.api_pages import GROUPS, api_pages, group_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = api_pages(ROOT)


@pytest.mark.parametrize("name", hematovision.__all__)
def test_every_public_name_has_one_entry_and_a_line_in_the_index(name: str):
    holders = [
        page for page, text in PAGES.items() if f"::: hematovision.{name}\n" in text.rstrip() + "\n"
    ]
    assert len(holders) == 1
    (holder,) = holders
    link = f"[`{name}`]({holder.removeprefix('api/')}#hematovision.{name})"
    assert link in PAGES["api/index.md"]


@pytest.mark.parametrize(
    ("module", "group"),
    [
        ("model.classifier", "predict"),
        ("workflows.analyze", "predict"),
        ("workflows.analyze.engine", "predict"),
        ("workflows.adapt", "train"),
        ("taxonomy", "data"),
        ("errors", "errors"),
        ("clients", "more"),
    ],
)
def test_the_module_of_a_name_decides_its_page(module: str, group: str):
    assert group_of(module) == group


def test_the_index_shows_what_each_name_is_for():
    lines = PAGES["api/index.md"].splitlines()
    (line,) = [line for line in lines if "[`Classifier`]" in line]
    assert len(line.split("|")[2].split()) > 3
    assert lines[0] == "# Python API"
    assert f"## {GROUPS['predict'][0]}" in lines
