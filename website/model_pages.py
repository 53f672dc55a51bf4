"""The bundled models: a table of them, and their model cards."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["model_pages"]

FOLDER = "src/hematovision/models"


def model_pages(root: Path) -> dict[str, str]:
    """Generate the pages of the bundled models.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    dict of str to str
        Path in the site to Markdown: ``models/index.md``, then the card of each model as it is in
        its bundle.
    """
    bundles = sorted(path.parent for path in (root / FOLDER).glob("*/bundle.json"))
    rows = [_row(bundle) for bundle in bundles]
    index = [
        "# Bundled models",
        "",
        "These models come with the package and need no download. The cards describe their data,",
        "ground truth, splits and failures, after the CLAIM checklist; `hematovision models`",
        "prints the paths of the installed cards.",
        "",
        "| model | task | classes |",
        "|---|---|---|",
        *rows,
        "",
        "They are trained by the [recipes](../recipes/index.md), and evaluated in the",
        "[results](../results.md).",
        "",
    ]
    cards = {
        f"models/{bundle.name}.md": (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
        for bundle in bundles
    }
    return {"models/index.md": "\n".join(index), **cards}


def _row(bundle: Path) -> str:
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    classes = ", ".join(manifest["taxonomy"]["classes"])
    return f"| [`{bundle.name}`]({bundle.name}.md) | {manifest['task']} | {classes} |"
