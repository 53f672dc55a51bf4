"""Markdown files of the repository as pages of the site, with their links rewritten."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = [
    "GENERATED",
    "BrokenLinkError",
    "page_sources",
    "repository_address",
    "rewritten",
    "site_address",
    "split_code",
]

# The end of a link: its text may begin in another line.
_LINK = re.compile(r"(\]\()([^()\s]+)(?=\))")
_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")
_FENCE = re.compile(r"^(```|~~~)")
_ITEM = re.compile(r"([-*+]|\d+\.) ")


GENERATED = ("docs/api/", "docs/cli/", "docs/models/", "docs/recipes/")
"""Folders of generated pages, which pages in ``docs/`` link to; the built site is checked."""


class BrokenLinkError(Exception):
    """A link of a Markdown file leads to nothing."""


def page_sources(root: Path) -> dict[str, str]:
    """Map the Markdown files of a repository to pages of the site.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    dict of str to str
        Path in the repository to path in the site, both with ``/``: all of ``docs/`` with its
        notebooks, the files in the root, and the README of each recipe. The home page takes the
        place of the README, and a generated index that of the folder of decisions.
    """
    docs = (path.relative_to(root) for path in sorted((root / "docs").rglob("*.md")))
    pages = {path.as_posix(): path.relative_to("docs").as_posix() for path in docs}
    for path in sorted(root.glob("*.md")):
        pages[path.name] = f"project/{path.stem.lower().replace('_', '-')}.md"
    for path in sorted(root.glob("recipes/*/README.md")):
        pages[path.relative_to(root).as_posix()] = f"recipes/{path.parent.name}.md"
    for path in sorted((root / "docs" / "notebooks").glob("*.ipynb")):
        pages[path.relative_to(root).as_posix()] = f"notebooks/{path.stem}.md"
    return {**pages, "README.md": "index.md", "docs/decisions": "decisions/index.md"}


def repository_address(root: Path) -> str:
    """Give the address of the repository, as ``pyproject.toml`` states it, or an empty string."""
    urls = _addresses(root)
    return (urls.get("repository") or urls.get("source") or "").rstrip("/")


def site_address(root: Path) -> str:
    """Give the address of the published site, as ``pyproject.toml`` states it, or empty."""
    return _addresses(root).get("documentation", "")


def _addresses(root: Path) -> dict[str, str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name.lower(): url for name, url in project.get("urls", {}).items()}


def split_code(text: str) -> Iterator[tuple[bool, str]]:
    """Split Markdown into lines of prose and lines of code.

    Parameters
    ----------
    text
        A page.

    Yields
    ------
    tuple of bool and str
        Whether the line is code (fenced, or indented by four after a heading or a blank line), and
        the line with its end.
    """
    fence, code, opens = "", False, True
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
            yield True, line
            continue
        code = (line.startswith("    ") and (opens or code)) or (code and not line.strip())
        opens = not line.strip() or line.startswith("#")
        yield bool(fence) or code, line


def rewritten(text: str, source: str, page: str, pages: Mapping[str, str], root: Path) -> str:
    """Point the links of a Markdown file at pages of the site.

    Parameters
    ----------
    text
        Content of the file.
    source, page
        Its path in the repository, and in the site.
    pages
        As of `page_sources`.
    root
        The repository.

    Returns
    -------
    str
        The text; links in code are left alone. A link to a file of the repository that is not
        part of the site leads to the repository's address.

    Raises
    ------
    BrokenLinkError
        If a link leads to a file that does not exist, or that is not part of the site while the
        repository has no address.
    """

    def one(match: re.Match[str], code: list[tuple[int, int]]) -> str:
        if re.match(r"[a-z]+:|#", match[2]) or any(a <= match.start() < b for a, b in code):
            return match[0]
        return match[1] + _moved(match[2], source, page, pages, root)

    def prose(line: str) -> str:
        spans = [match.span() for match in _SPAN.finditer(line)]
        return _LINK.sub(lambda match: one(match, spans), line)

    return "".join(line if code else prose(line) for code, line in split_code(_spaced(text)))


def _spaced(text: str) -> str:
    """Put an empty line between a paragraph and a list, which Python-Markdown needs."""
    spaced, in_list, after_text = [], False, False
    for code, line in split_code(text):
        item = not code and bool(_ITEM.match(line))
        if item and after_text and not in_list:
            spaced.append("\n")
        if not code:
            in_list = item or (in_list and (line.startswith(" ") or not line.strip()))
        after_text = not code and bool(line.strip()) and not line.startswith("#")
        spaced.append(line)
    return "".join(spaced)


def _moved(link: str, source: str, page: str, pages: Mapping[str, str], root: Path) -> str:
    """Give the link from a page of the site to what a file of the repository links to."""
    path, mark, anchor = link.partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if found.startswith(GENERATED):
        return link
    if not (root / found).exists():
        raise BrokenLinkError(f"{source}: there is no {found} (link {link!r})")
    moved = pages.get(found)
    if moved is None and found.startswith("docs/") and (root / found).is_file():
        moved = found.removeprefix("docs/")
    if moved is not None:
        return posixpath.relpath(moved, posixpath.dirname(page) or ".") + mark + anchor
    address = repository_address(root)
    if not address:
        raise BrokenLinkError(f"{source}: {found} is not part of the site (link {link!r})")
    return f"{address}/blob/main/{found}{mark}{anchor}"
