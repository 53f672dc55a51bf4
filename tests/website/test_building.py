"""The site is built from the repository, and what is broken fails the build."""

import json
import re
from pathlib import Path

import pytest

import hematovision
from website import building
from website.building import SiteError, build, navigation
from website.sources import page_sources, rewritten

ROOT = Path(__file__).resolve().parents[2]


def page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text(encoding="utf-8")


def identifiers(text: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', text))


def test_every_public_name_is_documented_on_the_site(site: Path):
    found = set[str]()
    for path in (site / "api").rglob("*.html"):
        found |= identifiers(path.read_text(encoding="utf-8"))
    assert {f"hematovision.{name}" for name in hematovision.__all__} <= found
    assert "Parameters:" in page(site, "api/predict")


def test_the_cards_of_all_bundled_models_are_on_the_site(site: Path):
    cards = sorted((ROOT / "src" / "hematovision" / "models").glob("*/MODEL_CARD.md"))
    assert len(cards) == 4
    for card in cards:
        assert "Intended use" in page(site, f"models/{card.parent.name}")


def test_commands_and_options_can_be_found_by_search(site: Path):
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))
    texts = [item["text"] for item in index["items"]]
    assert any("--um-per-px" in text for text in texts)
    assert any("white-cells" in text for text in texts)


def test_links_of_the_readme_lead_to_pages_and_anchors(site: Path):
    pages = page_sources(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^()\s:]+)\)", text):
        assert (ROOT / link.partition("#")[0]).exists(), link
    inside = "".join(f"[x]({link})\n" for link in re.findall(r"\]\((docs/[^()\s]+)\)", text))
    moved = rewritten(inside, "README.md", "index.md", pages, ROOT)
    for name, anchor in re.findall(r"\((\S+?)\.md#(\S+?)\)", moved):
        assert anchor in identifiers(page(site, name)), f"{name}#{anchor}"


def test_the_page_for_missing_addresses_leads_into_the_published_site(site: Path):
    text = (site / "404.html").read_text(encoding="utf-8")
    assert "<h1>Page not found</h1>" in text
    assert '<a href="/hematovision/tutorial/">tutorial</a>' in text
    assert '<link rel="stylesheet" href="/hematovision/assets/style.css">' in text


def small(monkeypatch: pytest.MonkeyPatch, **pages: str) -> None:
    """Let the site consist of a few pages."""
    files = {f"{name}.md": text for name, text in pages.items()}
    monkeypatch.setattr(building, "collect", lambda _root: files)
    monkeypatch.setattr(building, "navigation", lambda _nav, pages: list(pages))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](gone.md)", "page does not exist"),
        ("[a](index.md#gone)", "anchor does not exist"),
        ("![a](gone.png)", "no such page or file: "),
        ('<img src="https://example.org/a.png">', "loaded from another host"),
        ("::: hematovision.no_such_name", "no_such_name"),
    ],
)
def test_a_broken_page_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
):
    small(monkeypatch, index=f"# Home\n\n{text}\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    with pytest.raises(SiteError, match=problem):
        build(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_folders_of_the_navigation_become_their_pages():
    titles = {"index.md": "Home", "cli/index.md": "All", "cli/app.md": "hematovision app"}
    assert navigation([{"Home": "index.md"}, {"Commands": "cli/"}], titles) == [
        {"Home": "index.md"},
        {"Commands": ["cli/index.md", {"app": "cli/app.md"}]},
    ]


def test_titles_in_the_navigation_have_no_backticks():
    titles = {"recipes/index.md": "Recipes", "recipes/b.md": "The `hematology` weights"}
    assert navigation([{"Recipes": "recipes/"}], titles) == [
        {"Recipes": ["recipes/index.md", {"The hematology weights": "recipes/b.md"}]}
    ]


def test_a_page_that_is_missing_in_the_navigation_fails_the_build():
    with pytest.raises(SiteError, match=r"new\.md is missing\n  gone\.md does not exist"):
        navigation([{"Home": "index.md"}, {"Old": "gone.md"}], {"index.md": "", "new.md": ""})
