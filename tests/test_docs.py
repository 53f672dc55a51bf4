"""Every command in the README and docs exists and is spelled correctly."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hematovision.cli.program import program

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def lines(page: Path) -> Iterator[str]:
    """Give the lines of code of a page: indented by four, or fenced."""
    fenced = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = "" if fenced else line
        elif fenced in ("```sh", "```bash", "```") or (not fenced and line.startswith("    ")):
            yield line.strip()


def documented() -> list[tuple[str, str]]:
    """Every command of ours, with its page; also those between backticks in a sentence."""
    found = set[tuple[str, str]]()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        spans = re.findall(r"`((?:hematovision|make) [^`\n]+)`", text)
        for line in [*lines(page), *spans]:
            for command in re.split(r"\s+(?:&&|\\?\|)\s+|\s{2,}", line.partition(" #")[0]):
                if re.match(r"(hematovision|make) ", command):
                    found.add((page.name, command.strip()))
    return sorted(found)


@pytest.mark.parametrize(("page", "command"), documented())
def test_a_documented_command_exists(page: str, command: str):
    program_name, *words = shlex.split(command)
    if program_name == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for word in (word for word in words if "=" not in word):
            assert re.search(rf"(?m)^{re.escape(word)}:", makefile), f"{page}: {command}"
        return
    # Unknown commands and options are refused before --help is looked at.
    done = CliRunner().invoke(program, [*words, "--help"])
    assert done.exit_code == 0, f"{page}: {command}: {done.output}"


def test_the_pages_are_searched():
    pages = {page for page, _ in documented()}
    assert {"README.md", "CONTRIBUTING.md", "app.md", "from-the-brief.md"} <= pages
    assert len(documented()) > 40
