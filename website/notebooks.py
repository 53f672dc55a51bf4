"""Notebooks: executed, stored with small figures, and turned into pages.

``python -m website.notebooks`` executes the notebooks of ``docs/notebooks`` and stores them with
their outputs. The site shows what is stored.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import MarkdownExporter
from PIL import Image

__all__ = ["execute", "main", "notebook_pages"]

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "notebooks"
SECONDS = 600
"""Time limit of a cell."""


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


def execute(path: Path) -> Any:
    """Run all cells of a notebook in a new kernel.

    Parameters
    ----------
    path
        The notebook; the file is not changed.

    Returns
    -------
    NotebookNode
        The notebook with new outputs, figures as JPEG.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises an error.
    """
    from nbclient import NotebookClient  # in the group dev: building the site does not need it

    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", coalesce_streams=True)
    client.execute(env={**os.environ, "PATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/jpeg"] = _as_jpeg(output.data.pop("image/png"))
            if "text" in output:
                output.text = _plain(output.text)
    return notebook


def _plain(text: str) -> str:
    """Remove colours, and spaces at the ends of lines, from what a command printed."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def _as_jpeg(figure: str) -> str:
    """Compress a figure, from base64 to base64."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(figure))).convert("RGB")
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def main() -> None:
    """Execute all notebooks and store them."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = execute(path)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path}: {path.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main()
