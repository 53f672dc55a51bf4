"""What is deprecated states its replacement and the version in which it goes; the docs list it."""

import ast
import re
from pathlib import Path

import pytest
from packaging.version import Version

import hematovision

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "hematovision"
PROMISE = re.compile(r"removed in (\d+\.\d+)")
REPLACEMENT = re.compile(r"\b(?:use|is now) ([A-Za-z_][\w ]*(?:\.\w+)*)")
KINDS = {"DeprecationWarning", "PendingDeprecationWarning", "FutureWarning"}


def literal(node: ast.AST) -> str:
    """The text of a string or f-string; values of an f-string are `_`."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "_" for part in node.values
        )
    return str(node.value) if isinstance(node, ast.Constant) else ""


def warnings_of(text: str) -> list[str]:
    """The messages that a module passes together with a kind of deprecation warning."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        given = [*call.args, *(word.value for word in call.keywords)]
        if any(isinstance(one, ast.Name) and one.id in KINDS for one in given):
            found.append(literal(call.args[0]) if call.args else "")
    return found


def notices(text: str) -> list[str]:
    """Every string of a module that announces a removal, as the command line and metrics do."""
    strings = (literal(node) for node in ast.walk(ast.parse(text)))
    return [one for one in strings if PROMISE.search(one)]


def shortcomings(message: str, version: str) -> list[str]:
    """What a message of deprecation lacks."""
    found = []
    if not REPLACEMENT.search(message):
        found.append("no replacement")
    promise = PROMISE.search(message)
    if not promise:
        found.append("no version")
    elif Version(promise[1]) <= Version(version):
        found.append(f"due in {promise[1]}")
    return found


def listed() -> list[tuple[str, str, str]]:
    """The rows of the table in docs/deprecation.md: old, replacement, version."""
    text = (ROOT / "docs" / "deprecation.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (.+) \| `(.+)` \| (\d+\.\d+) \|$", text)
    return [(re.findall(r"`(.+?)`", old)[0], new, version) for old, new, version in rows]


def messages() -> dict[str, str]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(SOURCE).as_posix()
        found |= dict.fromkeys([*warnings_of(text), *notices(text)], name)
    return found


def test_every_deprecation_names_its_replacement_and_a_later_version():
    wrong = {
        f"{name}: {message!r}": lacks
        for message, name in messages().items()
        if (lacks := shortcomings(message, hematovision.__version__))
    }
    assert not wrong


def test_the_docs_list_what_is_deprecated_and_nothing_else():
    promised = sorted(
        (REPLACEMENT.search(message)[1].strip(), PROMISE.search(message)[1])
        for message in messages()
    )
    documented = sorted(
        (new.removeprefix("hematovision ").removesuffix("()"), version)
        for _, new, version in listed()
    )
    assert documented == promised


@pytest.mark.parametrize(
    ("message", "lacks"),
    [
        ("a() is deprecated and will be removed in 0.9; use b()", []),
        ("a() is deprecated and will be removed in 0.9", ["no replacement"]),
        ("a() is deprecated; use b()", ["no version"]),
        ("a() will be removed in 0.4; use b()", ["due in 0.4"]),
    ],
)
def test_a_message_without_a_promise_is_found(message: str, lacks: list[str]):
    module = f"import warnings\nwarnings.warn({message!r}, category=DeprecationWarning)\n"
    (found,) = warnings_of(module)
    assert shortcomings(found, "0.4.0") == lacks
