"""Check that a commit can be released, and print the notes of a release.

    python scripts/release.py check v0.3.0
    python scripts/release.py notes v0.3.0

It needs nothing but Python.
"""

import argparse
import datetime as dt
import hashlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version(root: Path) -> str:
    """Return ``__version__``, read without importing the package."""
    text = (root / "src" / "hematovision" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not found:
        raise SystemExit("src/hematovision/__init__.py has no line: __version__ = ...")
    return found[1]


def section(root: Path, number: str) -> tuple[str, str]:
    """Return the date of a version in CHANGELOG.md, and what is written below its heading."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(number)}\] - (.+)\n"
    found = re.search(heading + r"((?:(?!^## ).*\n?)*)", text, re.MULTILINE)
    if not found:
        raise SystemExit(f"CHANGELOG.md has no section: ## [{number}] - YYYY-MM-DD")
    return found[1].strip(), found[2].strip()


def dated(text: str) -> bool:
    """Return whether the text is a date such as 2026-11-30."""
    try:
        return bool(dt.date.fromisoformat(text))
    except ValueError:
        return False


def changed_files(root: Path) -> list[str]:
    """Return the files of bundled models whose SHA-256 is not the one in ``bundle.json``."""
    models = root / "src" / "hematovision" / "models"
    changed = []
    for manifest in sorted(models.glob("*/bundle.json")):
        described = json.loads(manifest.read_text(encoding="utf-8"))
        hashes = {manifest.parent / name: value for name, value in described["files"].items()}
        backbone = described.get("backbone") or {}
        if backbone.get("file"):
            hashes[models / backbone["file"]] = backbone["sha256"]
        for path, expected in hashes.items():
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                changed.append(f"{manifest.parent.name}: {path.name}")
    return changed


def problems(root: Path, tag: str) -> list[str]:
    """Return what has to change before the tag can be published."""
    number = version(root)
    found = []
    if tag != f"v{number}":
        found.append(f"the tag is {tag}, but the version of the package is {number}")
    date, notes = section(root, number)
    if not dated(date):
        found.append(f"CHANGELOG.md: the date of {number} is {date!r}; expected YYYY-MM-DD")
    if not notes:
        found.append(f"CHANGELOG.md: the section of {number} is empty")
    found += [f"not the file in bundle.json: {name}" for name in changed_files(root)]
    return found


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run one of the two commands; return 1 if the tag can't be released."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=["check", "notes"])
    parser.add_argument("tag", help="v<version>")
    given = parser.parse_args(arguments)
    if given.command == "notes":
        print(section(root, given.tag.removeprefix("v"))[1])
        return 0
    found = problems(root, given.tag)
    for line in found:
        print(f"release: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
