"""Collect the pages of the site, and build it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from website.api_pages import api_pages
from website.cli_pages import cli_pages
from website.links import problems
from website.model_pages import model_pages
from website.notebooks import notebook_pages
from website.sources import page_sources, repository_address, rewritten, site_address

__all__ = ["SiteError", "build", "collect", "navigation"]

ASSETS = Path(__file__).parent / "assets"
CONFIG = Path(__file__).parent / "mkdocs.yml"
TEMPLATES = Path(__file__).parent / "templates"


class SiteError(Exception):
    """The site cannot be built as it should be; the message lists what is wrong."""


def collect(root: Path) -> dict[str, str | bytes | Path]:
    """Collect all files of the site.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    dict of str to str, bytes or Path
        Path in the site to its content, or to the file that is copied untouched.
    """
    pages = page_sources(root)
    files: dict[str, str | bytes | Path] = {
        path.relative_to(root / "docs").as_posix(): path
        for path in sorted((root / "docs").rglob("*"))
        if path.is_file() and path.suffix not in (".md", ".ipynb")
    }
    files |= {f"assets/{path.name}": path for path in sorted(ASSETS.iterdir())}
    for source, page in pages.items():
        if source.endswith(".md") and source != "README.md":
            text = (root / source).read_text(encoding="utf-8")
            files[page] = rewritten(text, source, page, pages, root)
    files |= {**cli_pages(), **api_pages(root), **model_pages(root)}
    files |= notebook_pages(root / "docs" / "notebooks")
    indexes: dict[str, str | bytes | Path] = {
        f"{folder}/index.md": _index(title, folder, files)
        for folder, title in (("decisions", "Decisions"), ("recipes", "Recipes"))
    }
    return indexes | files


def _index(title: str, folder: str, files: Mapping[str, object]) -> str:
    """List the pages of a folder by their titles."""
    pages = sorted(page for page in files if page.startswith(f"{folder}/"))
    lines = [
        f"- [{_title(files[page])}]({page.removeprefix(f'{folder}/')})".replace(". ", "\\. ", 1)
        for page in pages
    ]
    return "\n".join([f"# {title}", "", *lines, ""])


def _title(text: object) -> str:
    return str(text).partition("\n")[0].removeprefix("# ")


def navigation(nav: list[Any], pages: Mapping[str, str]) -> list[Any]:
    """Replace the folders of a navigation by their pages.

    Parameters
    ----------
    nav
        As in ``mkdocs.yml``; an entry that ends with ``/`` is a folder.
    pages
        Title of each page of the site, in order.

    Returns
    -------
    list
        The navigation, with pages only.

    Raises
    ------
    SiteError
        If a page is not in the navigation, or an entry has no page.
    """
    listed: set[str] = set()

    def entry(value: Any) -> Any:
        if isinstance(value, list):
            return [item for each in value for item in item_of(each)]
        if not value.endswith("/"):
            listed.add(value)
            return value
        inside = [page for page in pages if page.startswith(value)]
        listed.update(inside)
        return [
            page if page.endswith("/index.md") else {_label(pages[page]): page} for page in inside
        ]

    def item_of(item: Any) -> list[Any]:
        if isinstance(item, str):
            found = entry(item)
            return found if isinstance(found, list) else [found]
        return [{title: entry(value)} for title, value in item.items()]

    full = entry(nav)
    missing, unknown = sorted(set(pages) - listed), sorted(listed - set(pages))
    if missing or unknown:
        raise SiteError(
            "website/mkdocs.yml, nav:"
            + "".join(f"\n  {page} is missing" for page in missing)
            + "".join(f"\n  {page} does not exist" for page in unknown)
        )
    return list(full)


def _label(title: str) -> str:
    """Shorten the title of a page for the navigation."""
    return title.removeprefix("hematovision ").replace("`", "")


def build(root: Path, site: Path) -> int:
    """Build the site; warnings and broken links are errors.

    Parameters
    ----------
    root
        The repository.
    site
        Folder to write; what is there is replaced.

    Returns
    -------
    int
        Number of pages.

    Raises
    ------
    SiteError
        If Zensical warns, a link leads nowhere, or a page loads something from another host.
    BrokenLinkError
        If a link between files of the repository leads to nothing.
    """
    work = root / "build" / "website"
    shutil.rmtree(work, ignore_errors=True)
    files = collect(root)
    for name, content in files.items():
        _write(work / "docs" / name, content)
    pages = {name: _title(text) for name, text in files.items() if name.endswith(".md")}
    config = _config(root, pages)
    (work / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    _run_zensical(work)
    if found := problems(work / "site", urlsplit(config["site_url"]).path or "/"):
        raise SiteError("\n".join(found))
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(work / "site", site)
    return len(pages)


def _config(root: Path, pages: Mapping[str, str]) -> dict[str, Any]:
    """Give the settings for Zensical: those of ``mkdocs.yml``, and what the repository states."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["site_url"] = site_address(root)  # the page for missing addresses has absolute links
    config["theme"]["custom_dir"] = str(TEMPLATES)
    config["nav"] = navigation(config["nav"], pages)
    # As `repo_url` the theme would ask GitHub for its stars.
    if address := repository_address(root):
        config["copyright"] += f' <a href="{address}">Source code</a>'
    config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(root / "src")]
    return config


def _write(path: Path, content: str | bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")


def _run_zensical(work: Path) -> None:
    """Build the collected pages; strict, so that a warning ends it."""
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        printed = re.sub(r"\x1b\[[\d;]*m", "", done.stderr)
        raise SiteError(printed.partition("Traceback")[0].strip() or printed)
