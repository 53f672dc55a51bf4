"""The reference of the public API: an entry for each name in ``hematovision.__all__``.

The entries are directives of mkdocstrings, which reads the docstrings without importing anything.
"""

from __future__ import annotations

from pathlib import Path

import griffe

import hematovision

__all__ = ["GROUPS", "api_pages", "group_of"]

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "predict": (
        "Load and predict",
        ("model", "fields", "workflows.analyze", "workflows.classify", "workflows.explain"),
    ),
    "train": ("Train and evaluate", ("workflows", "training", "evaluation", "retraining")),
    "data": ("Datasets and classes", ("data", "synthetic", "taxonomy", "images")),
    "client": ("HTTP client", ("client",)),
    "errors": ("Errors", ("errors",)),
    "more": ("Other names", ("",)),
}
"""Pages: title, and the modules whose names they hold; the longest module that fits decides."""


def group_of(module: str) -> str:
    """Give the page of names that a module defines.

    Parameters
    ----------
    module
        Path below the package, such as ``workflows.adapt``.

    Returns
    -------
    str
        A key of `GROUPS`.
    """
    fitting = [
        (len(prefix), name)
        for name, (_, prefixes) in GROUPS.items()
        for prefix in prefixes
        if not prefix or module == prefix or module.startswith(f"{prefix}.")
    ]
    return max(fitting)[1]


def api_pages(root: Path) -> dict[str, str]:
    """Generate the pages of the API reference.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    dict of str to str
        Path in the site to Markdown: ``api/index.md``, then a page for each group that has names.
    """
    package = griffe.load("hematovision", search_paths=[str(root / "src")])
    names: dict[str, list[str]] = {group: [] for group in GROUPS}
    index: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in sorted(hematovision.__all__, key=str.lower):
        member = package.members[name]
        path = member.target_path if isinstance(member, griffe.Alias) else member.path
        group = group_of(path.removeprefix("hematovision").strip(".").rpartition(".")[0])
        names[group].append(name)
        index[group].append(_line(name, group, member))
    pages = {"api/index.md": _index(index)}
    return pages | {f"api/{key}.md": _page(key, names[key]) for key in GROUPS if names[key]}


def _line(name: str, group: str, member: griffe.Object | griffe.Alias) -> str:
    text = member.docstring.value if member.docstring else ""
    summary = " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")
    return f"| [`{name}`]({group}.md#hematovision.{name}) | {summary} |"


def _index(index: dict[str, list[str]]) -> str:
    lines = [
        "# Python API",
        "",
        "Everything in `hematovision.__all__` is public, and follows semantic versioning. Every",
        "other module is private and may change in any version.",
        "",
    ]
    for key, rows in index.items():
        if rows:
            lines += [f"## {GROUPS[key][0]}", "", "| name | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _page(key: str, names: list[str]) -> str:
    return "\n\n".join([f"# {GROUPS[key][0]}", *(f"::: hematovision.{name}" for name in names), ""])
