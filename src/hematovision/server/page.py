"""The page of the paths: plain HTML from the OpenAPI document, which asks nothing of other hosts.

FastAPI's own pages load scripts from a public network, which a hospital's computer cannot reach
and should not ask.
"""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["documentation"]

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}}
code{{background:#eee;padding:.1em .3em}}dt{{float:left;clear:left;width:4rem}}</style>
<h1>{title}</h1><p>The same for machines: <a href="openapi.json">openapi.json</a>.</p>
"""


def documentation(schema: dict[str, Any]) -> str:
    """Return a page that lists what an OpenAPI document describes."""
    title = f"{schema['info']['title']} {schema['info']['version']}"
    parts = [_HEAD.format(title=escape(title))]
    for path, methods in schema["paths"].items():
        parts += [_entry(path, method, about) for method, about in methods.items()]
    return "".join(parts) + "</html>\n"


def _entry(path: str, method: str, about: dict[str, Any]) -> str:
    statuses = "".join(
        f"<dt>{escape(status)}</dt><dd>{escape(answer['description'])}</dd>"
        for status, answer in about["responses"].items()
    )
    named = "".join(
        f"<li><code>{escape(one['name'])}</code> ({escape(one['in'])}) "
        f"{escape(one.get('description', ''))}</li>"
        for one in about.get("parameters", [])
    )
    kinds = ", ".join(about.get("requestBody", {}).get("content", {}))
    body = f"<p>Body: <code>{escape(kinds)}</code></p>" if kinds else ""
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(about.get('description', ''))}</p><ul>{named}</ul>{body}<dl>{statuses}</dl>\n"
    )
