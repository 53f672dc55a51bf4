"""``config`` shows the settings that differ from the defaults, and where they come from."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from hematovision.cli import files
from hematovision.cli.config import VARIABLES
from hematovision.cli.files import MAX_BYTES, files_in_use, places
from hematovision.cli.program import program
from hematovision.cli.settings import FOUND, SECRETS, SECTIONS, variables

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HEMATOVISION_") and name != "HEMATOVISION_DATA":
            monkeypatch.delenv(name)


def test_every_setting_is_shown_with_its_origin(folders, run, monkeypatch):
    nearest = folders.write('[analyze]\nedges = "inside"\nlevel = 0\n[data.import]\nseed = 4')
    own = folders.write_own('[analyze]\nedges = "all"\num-per-px = 0.1\n[serve]\nport = 81')
    monkeypatch.setenv("HEMATOVISION_SERVE_PORT", "8123")
    monkeypatch.setenv("HEMATOVISION_SERVE_MODEL", "pbc8 white-cells")
    monkeypatch.setenv("HEMATOVISION_CACHE", "fast")
    result = run("config")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [re.split(r"\s+# ", line) for line in result.stdout.splitlines()] == [
        ["[analyze]"],
        ['edges = "inside"', f"{nearest}, line 2"],
        ["um-per-px = 0.1", f"{own}, line 3"],
        ["[data.import]"],
        ["seed = 4", f"{nearest}, line 5"],
        ["[serve]"],
        ['model = ["pbc8", "white-cells"]', "HEMATOVISION_SERVE_MODEL"],
        ["port = 8123", "HEMATOVISION_SERVE_PORT"],
        ["# HEMATOVISION_CACHE=fast"],
    ]
    assert tomllib.loads(result.stdout)["data"]["import"] == {"seed": 4}  # `level` is the default


def test_without_settings_it_states_that(folders, run):
    assert run("config").stdout == "No setting differs from the defaults.\n"


def test_secrets_are_not_shown(folders, run, monkeypatch):
    for name in SECRETS.values():
        monkeypatch.setenv(name, "postgresql://ana:sesame@host/x")
    output = run("config", "-vv").output
    assert "sesame" not in output
    assert "# HEMATOVISION_API_KEY is set" in output


def test_a_variable_that_has_no_effect_is_reported_with_a_near_match(folders, run, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_ANALYZE_EDGE", "all")
    assert run("config").stderr == (
        "Warning: The environment variable HEMATOVISION_ANALYZE_EDGE has no effect. Did you mean "
        "HEMATOVISION_ANALYZE_EDGES?\n"
    )


def test_an_invalid_variable_is_an_error(folders, run, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_TRAIN_EPOCHS", "many")
    result = run("config")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: HEMATOVISION_TRAIN_EPOCHS must be a whole number of at least 1. Received: 'many'.\n"
    )


def paths(run) -> list[tuple[str, str]]:
    result = run("config", "--path")
    assert result.exit_code == 0
    return [
        tuple(line.split(None, 1)) for line in result.stdout.replace("not u", "not-u").splitlines()
    ]


def test_path_lists_the_files_even_if_one_is_damaged(folders, run):
    folders.write("[analyze", folders.project)
    folders.write("", folders.home)
    assert paths(run) == [
        ("missing", str(folders.current / files.NAME)),
        ("used", str(folders.project / files.NAME)),
        ("not-used", str(folders.home / files.NAME)),
        ("missing", str(folders.user)),
    ]
    folders.write_own("")
    assert paths(run)[-1] == ("used", str(folders.user))


def looked_for() -> list[Path]:
    return [place.path.parent for place in places() if not place.own]


def test_the_search_ends_at_the_repository(folders):
    assert looked_for() == [folders.current, folders.project, folders.home]
    (folders.project / ".git").mkdir()
    assert looked_for() == [folders.current, folders.project]


def test_outside_the_home_and_repositories_only_the_current_folder_counts(
    folders, tmp_path, monkeypatch
):
    shared = tmp_path.resolve() / "shared" / "data"
    shared.mkdir(parents=True)
    monkeypatch.chdir(shared)
    assert looked_for() == [shared]
    (shared.parent / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    assert looked_for() == [shared, shared.parent]


def test_a_deleted_current_folder_has_no_file(folders, monkeypatch):
    def fail() -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(files.Path, "cwd", fail)
    assert [place.path for place in places()] == [folders.user]


def test_without_a_home_no_relative_file_is_the_users_own(folders, monkeypatch):
    monkeypatch.setattr(files, "config_folder", lambda: Path("~/.config/hematovision"))
    assert not any(place.own for place in places())


def test_a_file_that_is_found_and_the_users_own_is_read_once_as_his_own(folders, monkeypatch):
    path = folders.write_own("[serve]\nqueue = 3")
    monkeypatch.chdir(path.parent)
    assert [(place.path, place.own) for place in places()] == [(path, True)]


def test_the_variable_names_the_only_file(folders, run, monkeypatch):
    folders.write("[analyze]\nlevel = 1")
    folders.write_own("[analyze]\nlevel = 2")
    other = folders.home / "other.toml"
    monkeypatch.setenv(files.VARIABLE, str(other))
    result = run("models")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{other} is not a file. HEMATOVISION_CONFIG must name a settings file" in result.stderr
    other.write_text("[analyze]\nlevel = 3")
    assert "level = 3" in run("config").stdout
    assert paths(run) == [("used", str(other))]
    monkeypatch.setenv(files.VARIABLE, "~/other.toml")
    assert "level = 3" in run("config").stdout
    monkeypatch.setenv(files.VARIABLE, "~nobody-of-this-name/other.toml")
    result = run("config")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "~nobody-of-this-name/other.toml is not a file" in result.stderr.replace("\\", "/")
    monkeypatch.setenv(files.VARIABLE, os.devnull)
    assert run("config").stdout.startswith("No setting differs")


def test_a_folder_or_a_pipe_of_that_name_is_no_file(folders, run):
    (folders.current / files.NAME).mkdir()
    assert run("models").exit_code == 0
    (folders.current / files.NAME).rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folders.current / files.NAME)
        assert run("models").exit_code == 0


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf[train]\nepochs = 7", b"[train]\r\nepochs = 7\r\n"]
)
def test_files_of_windows_editors_are_read(folders, run, content: bytes):
    path = folders.user
    path.write_bytes(content)
    assert run("config").stdout.splitlines()[1] == f"{'epochs = 7':<40} # {path}, line 2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[analyze\n", "is not valid TOML: Expected ']' at the end of a table declaration (at "),
        (b"[analyze]\nlevel 3", "is not valid TOML: Expected '=' after a key in a key/value pair"),
        (b"x = " + b"[" * 10_000, "is not valid TOML: too many levels."),
        (b"[analyze]\n# caf\xe9", "is not encoded in UTF-8 (byte 16). Save it as UTF-8."),
        (b"#" * (MAX_BYTES + 1), "has more than 1,048,576 bytes: it is not a settings file."),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(folders, run, content, message):
    path = folders.current / files.NAME
    path.write_bytes(content)
    result = run("models")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {path} ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_cannot_be_read_is_an_error(folders, run, monkeypatch):
    path = folders.write("")

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.Path, "open", fail)
    result = run("models")
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: Cannot read {path}: Permission denied.\n",
    )


# --- the page of the documentation ---------------------------------------------------------------


def test_the_example_of_the_page_is_valid_in_any_folder(folders, run):
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1]
    folders.write(example)
    result = run("config")
    assert (result.exit_code, result.stderr) == (0, "")
    assert tomllib.loads(result.stdout) == tomllib.loads(example)
    assert [file.place.own for file in files_in_use()] == [False]


def test_the_page_lists_all_variables_and_settings():
    rows = re.findall(r"(?m)^\| `(HEMATOVISION_\w+)` \|", PAGE)
    assert sorted(rows) == sorted({*VARIABLES, "HEMATOVISION_DATA"})
    for section, names in SECTIONS.items():
        (row,) = re.findall(rf"(?m)^\| `\[{section.replace(' ', '.')}\]` \| (.*) \| (.*) \|$", PAGE)
        anywhere, own = (set(re.findall(r"`([\w-]+)`", cell)) for cell in row)
        assert (anywhere, own) == (set(names & FOUND), set(names - FOUND)), section


def test_every_variable_in_the_source_is_listed():
    named = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"HEMATOVISION_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))
    }
    assert named <= {
        *VARIABLES, *variables(get_command(program)), "HEMATOVISION_DATA",
        "HEMATOVISION_SCREENSHOTS",
    }  # fmt: skip
