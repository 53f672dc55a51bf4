"""Markdown files become pages whose links still lead to the same things."""

from pathlib import Path

import pytest

from website.sources import BrokenLinkError, page_sources, rewritten, split_code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs/fields.md",
        "docs/images/field.png",
        "docs/decisions/0001-one.md",
        "recipes/detector/README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# Title\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    return tmp_path


def moved(root: Path, text: str, source: str) -> str:
    pages = page_sources(root)
    return rewritten(text, source, pages[source], pages, root)


def test_files_of_the_repository_become_pages(root: Path):
    assert page_sources(root) == {
        "README.md": "index.md",
        "CHANGELOG.md": "project/changelog.md",
        "docs/fields.md": "fields.md",
        "docs/decisions": "decisions/index.md",
        "docs/decisions/0001-one.md": "decisions/0001-one.md",
        "recipes/detector/README.md": "recipes/detector.md",
    }


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("CHANGELOG.md", "docs/fields.md#scale", "../fields.md#scale"),
        ("CHANGELOG.md", "docs/decisions/", "../decisions/index.md"),
        ("docs/fields.md", "../recipes/detector/README.md", "recipes/detector.md"),
        ("docs/fields.md", "images/field.png", "images/field.png"),
        ("recipes/detector/README.md", "../../docs/fields.md", "../fields.md"),
        ("docs/decisions/0001-one.md", "../fields.md", "../fields.md"),
        ("docs/fields.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/fields.md", "#scale", "#scale"),
        ("docs/fields.md", "models/index.md", "models/index.md"),
    ],
)
def test_links_lead_to_the_same_things(root: Path, source: str, link: str, expected: str):
    text = f"See [the\npage]({link}), please.\n"
    assert moved(root, text, source) == f"See [the\npage]({expected}), please.\n"


def test_a_link_to_nothing_is_an_error(root: Path):
    with pytest.raises(BrokenLinkError, match=r"docs/fields\.md: there is no docs/gone\.md"):
        moved(root, "[a](gone.md)", "docs/fields.md")


def test_a_file_outside_the_site_needs_an_address_of_the_repository(root: Path):
    with pytest.raises(BrokenLinkError, match="LICENSE is not part of the site"):
        moved(root, "[a](LICENSE)", "CHANGELOG.md")
    with (root / "pyproject.toml").open("a", encoding="utf-8") as stream:
        stream.write('[project.urls]\nRepository = "https://example.org/code/"\n')
    text = moved(root, "[a](LICENSE)", "CHANGELOG.md")
    assert text == "[a](https://example.org/code/blob/main/LICENSE)"


def test_links_in_code_are_left_alone(root: Path):
    text = "`[a](gone.md)`\n\n    [b](gone.md)\n\n```\n[c](gone.md)\n```\n"
    assert moved(root, text, "docs/fields.md") == text


def test_code_is_fenced_or_indented_after_a_gap():
    page = (
        "# Title\n    command\ntext\n    still text\n\n    code\n\n    code\n```sh\nx\n```\nend\n"
    )
    found = [line.strip() for code, line in split_code(page) if code and line.strip()]
    assert found == ["command", "code", "code", "```sh", "x", "```"]


def test_a_list_right_after_a_paragraph_stays_a_list(root: Path):
    text = "Added\n- one\n  more\n- two\n\n1. three\n\n    - code\n"
    assert moved(root, text, "CHANGELOG.md") == text.replace("Added\n", "Added\n\n")
