"""The reference of the command line, generated from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from hematovision.cli.program import program

__all__ = ["cli_pages", "commands"]

NAME = "hematovision"

# What Typer appends to the help of an argument or option: "[env var: X; default: 1; required]".
_NOTES = re.compile(r"\s*\[((?:env var: |default: |required|\S*x?[<>]).*)\]$")


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Walk the commands of the program.

    Yields
    ------
    tuple of str, command and context
        The words after ``hematovision``, such as ``data import``; Typer's command; and the context
        that its help is printed in. The first one is the program itself, with no words.
    """
    root = typer.main.get_command(program)
    context = root.context_class(root, info_name=NAME, **root.context_settings)
    yield "", root, context
    yield from _below(root, context)


def _below(group: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        context = command.context_class(
            command, info_name=name, parent=parent, **command.context_settings
        )
        if hasattr(command, "commands"):
            yield from _below(command, context)
        else:
            yield context.command_path.removeprefix(NAME).strip(), command, context


def cli_pages() -> dict[str, str]:
    """Generate a page for each command, and one that lists them.

    Returns
    -------
    dict of str to str
        Path in the site to Markdown; ``cli/index.md`` comes first.
    """
    (_, root, context), *rest = commands()
    rows = [
        f"| [`{words}`]({_file(words)}) | {_paragraphs(command.help)[0].strip()} |"
        for words, command, _ in rest
    ]
    index = ["# Command line", "", *_paragraphs(root.help), *_columns("command", "what it does")]
    index += [*rows, "", "## Options before the command", "", *_table(root, context, "option"), ""]
    pages = {"cli/index.md": "\n".join(index)}
    return pages | {f"cli/{_file(words)}": _page(*found) for words, *found in rest}


def _file(words: str) -> str:
    return f"{words.replace(' ', '-')}.md"


def _page(command: Any, context: Any) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines = [f"# {context.command_path}", "", *_paragraphs(command.help)]
    lines += ["```text", " ".join(usage.split()), "```", ""]
    for kind in ("argument", "option"):
        if rows := _table(command, context, kind):
            lines += [f"## {kind.title()}s", "", *rows, ""]
    return "\n".join(lines)


def _paragraphs(text: str | None) -> list[str]:
    """Give the paragraphs of a help text, each in one line, with an empty line after it."""
    parts = re.split(r"\n\s*\n", text or "")
    return [_cell(" ".join(part.split())) + "\n" for part in parts if part.strip()]


def _table(command: Any, context: Any, kind: str) -> list[str]:
    """Give the lines of a table of a command's arguments or options; none if it has none."""
    records = [
        parameter.get_help_record(context)
        for parameter in command.get_params(context)
        if parameter.param_type_name == kind
    ]
    rows = [_row(kind, *record) for record in records if record]
    if not rows:
        return []
    names = [kind, "meaning", "default", "environment variable"]
    kept = [index for index in range(4) if index < 2 or any(row[index] for row in rows)]
    lines = ["| " + " | ".join(row[index] for index in kept) + " |" for row in rows]
    return [*_columns(*(names[index] for index in kept)), *lines]


def _columns(*names: str) -> list[str]:
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def _row(kind: str, name: str, text: str) -> list[str]:
    """Give name, meaning, default and environment variables from a line of ``--help``."""
    name = name.partition(" ")[0] if kind == "argument" else name.replace(" range>", ">")
    text, default, variables = " ".join(text.split()), "", ""
    if notes := _NOTES.search(text):
        text = _cell(text[: notes.start()])
        for note in notes[1].split("; "):
            label, _, value = note.partition(": ")
            if label == "default":
                default = f"`{value}`"
            elif label == "env var":
                variables = ", ".join(f"`{variable}`" for variable in value.split(", "))
            else:
                text += " **Required.**" if note == "required" else f" ({_cell(note)})"
    else:
        text = _cell(text)
    name = name.replace("|", " | ")  # a long list of choices can be wrapped on a phone
    # Python-Markdown keeps a pipe in code within its cell, and shows a backslash before it.
    return [f"`{name}`", text, default, variables]


def _cell(text: str) -> str:
    """Escape a text for a cell of a table."""
    for mark in "|*_<":
        text = text.replace(mark, f"\\{mark}")
    return text
