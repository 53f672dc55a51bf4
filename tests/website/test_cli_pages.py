"""The reference of the command line has what ``--help`` prints."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from hematovision.cli.program import program
from website.cli_pages import cli_pages

PAGES = cli_pages()


def help_of(*words: str) -> str:
    done = CliRunner().invoke(program, [*words, "--help"], env={"COLUMNS": "400"})
    assert done.exit_code == 0
    return done.output


def listed(*words: str) -> list[str]:
    """The names under Commands in a help text."""
    section = help_of(*words).partition("Commands:\n")[2]
    return re.findall(r"(?m)^  ([a-z]+)\s", section)


def all_commands() -> list[tuple[str, ...]]:
    return [
        *((name,) for name in listed() if name != "data"),
        *(("data", name) for name in listed("data")),
    ]


def test_every_command_has_a_page_and_no_page_is_left_over():
    expected = {f"cli/{'-'.join(words)}.md" for words in all_commands()}
    assert len(expected) >= 17
    assert set(PAGES) == {"cli/index.md", *expected}


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_option_has_a_row_with_its_help(words: tuple[str, ...]):
    page = PAGES[f"cli/{'-'.join(words)}.md"]
    printed = help_of(*words)
    options = re.findall(r"(?m)^  (-[-\w]+)", printed)
    assert "-h" in options
    for option in options:
        assert re.search(rf"(?m)^\| `(?:-\w, )?{option}\b", page), option
    whole = re.sub(r"-\n\s+", "-", printed)
    for default in re.findall(r"\[(?:[^\]]*; )?default: ([^;\]]+)", whole):
        assert f"`{default}`" in page


def test_a_row_gives_meaning_default_and_environment_variable():
    assert (
        "| `--debug` | Show the traceback of an error. | `HEMATOVISION_DEBUG` |"
        in (PAGES["cli/index.md"])
    )
    assert re.search(r"(?m)^\| `--patience \S+` \| .+ \(x>=\d\) \| `5` \|", PAGES["cli/train.md"])
    assert (
        "| `PATH` | Images, slides, and folders of them. **Required.** |"
        in (PAGES["cli/analyze.md"])
    )
    assert "`--edges <two | inside | all>`" in PAGES["cli/analyze.md"]


def test_hidden_commands_are_left_out():
    (group,) = [command for command in get_command(program).commands.values() if is_group(command)]
    hidden = [name for name, command in group.commands.items() if command.hidden]
    assert hidden
    assert not set(PAGES) & {f"cli/data-{name}.md" for name in hidden}


def is_group(command: object) -> bool:
    return hasattr(command, "commands")
