"""Executed notebooks as pages: Markdown with their outputs and figures."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

__all__ = ["notebook_pages"]


def notebook_pages(folder: Path) -> dict[str, str | bytes]:
    """Convert the notebooks of a folder.

    Parameters
    ----------
    folder
        ``docs/notebooks``; its notebooks are stored with their outputs.

    Returns
    -------
    dict of str to str or bytes
        Path in the site to Markdown, and to each figure.
    """
    files: dict[str, str | bytes] = {}
    for path in sorted(folder.glob("*.ipynb")):
        where = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        body, made = MarkdownExporter().from_notebook_node(notebook, resources=where)
        files[f"notebooks/{path.stem}.md"] = body
        for name, content in made["outputs"].items():
            files[f"notebooks/{name}"] = content
    return files
