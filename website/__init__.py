"""The documentation site: its pages are collected, some generated, and built with Zensical.

``python -m website`` writes ``site/``. Pages come from four places: ``docs/``, Markdown files
elsewhere in the repository (`website.sources`), the notebooks (`website.notebooks`), and the
package itself: the command line (`website.cli_pages`), the public API (`website.api_pages`) and
the bundled models (`website.model_pages`).
"""

from __future__ import annotations

__all__: list[str] = []
