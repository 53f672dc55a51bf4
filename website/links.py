"""Check a built site: every link leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

__all__ = ["problems"]

_HERE = "http://site.invalid"
_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "object": "data"}


@dataclass
class _Page(HTMLParser):
    """Identifiers, links and loaded files of a page."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and not {"canonical", "prev", "next"} & set(found.get("rel", "").split()):
            self.loaded.append(found.get("href", ""))
        if found.get(_LOADED.get(tag, "")):
            self.loaded.append(found[_LOADED[tag]])


def problems(site: Path, base: str = "/") -> list[str]:
    """Find what is broken in a built site.

    Parameters
    ----------
    site
        Folder with the pages, as a web server would serve them.
    base
        Path on the web server that the folder is served at, with ``/`` at both ends.

    Returns
    -------
    list of str
        ``page: problem`` for links to pages, files and anchors that do not exist, and for scripts,
        styles and images that come from another host. Links to other hosts are not followed.
    """
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path] = page
    return [
        f"{path.relative_to(site).as_posix()}: {problem}"
        for path, page in pages.items()
        for link, loaded in [*((x, False) for x in page.links), *((x, True) for x in page.loaded)]
        if (problem := _problem(site, base, path, link, pages, loaded=loaded))
    ]


def _problem(
    site: Path, base: str, path: Path, link: str, pages: dict[Path, _Page], *, loaded: bool
) -> str | None:
    """Describe what is wrong with a link; None if nothing is."""
    parts = urlsplit(urljoin(_HERE + base + path.relative_to(site).as_posix(), link))
    if parts.scheme not in ("http", "https"):
        return None
    if parts.netloc != urlsplit(_HERE).netloc:
        return f"loaded from another host: {link}" if loaded else None
    if not parts.path.startswith(base):
        return f"outside the site: {link}"
    target = site / unquote(parts.path.removeprefix(base)).lstrip("/")
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return f"no such page or file: {link}"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].ids:
        return f"no such anchor: {link}"
    return None
