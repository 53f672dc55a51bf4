"""What to type when something optional is missing: a command that works in this environment."""

import importlib.metadata
import shlex
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hematovision import installation
from hematovision.errors import MissingExtraError, needs_extra

REQUIRES = [
    "numpy>=2",
    "absent-one>=3; extra == 'serve'",
    "absent-two[fast]<9,>=1.5; extra == 'serve'",
    "numpy>=1; extra == 'serve'",
    "elsewhere>=1; sys_platform == 'none-such' and extra == 'serve'",
    "hematovision[data]; extra == 'serve'",
    "absent-three; extra == 'data'",
    "absent-four; extra == 'train'",
]


@pytest.fixture
def requires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: list(REQUIRES))


@pytest.mark.usefixtures("requires")
def test_only_what_is_missing_is_named_and_extras_of_our_own_are_followed():
    assert installation.missing_requirements("serve") == [
        "absent-one>=3",
        "absent-three",
        "absent-two[fast]<9,>=1.5",
    ]


@pytest.mark.usefixtures("requires")
def test_a_requirement_that_is_there_but_too_old_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    assert "absent-one>=3" in installation.missing_requirements("serve")
    assert "absent-three" not in installation.missing_requirements("serve")


@pytest.mark.usefixtures("requires")
def test_the_command_survives_a_shell_and_names_this_interpreter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(installation.install_command("serve", "absent_one"))
    assert words == [
        sys.executable,
        "-m",
        "pip",
        "install",
        "absent-one>=3",
        "absent-three",
        "absent-two[fast]<9,>=1.5",
    ]


@pytest.mark.usefixtures("requires")
def test_an_activated_environment_is_called_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installation.install_command("serve", "x").startswith("python -m pip install ")


@pytest.mark.usefixtures("requires")
def test_an_environment_without_pip_is_given_uv(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)
    assert installation.install_command("serve", "x").startswith("uv pip install --python ")


@pytest.mark.usefixtures("requires")
def test_windows_gets_double_quotes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "_python", lambda: "python")
    monkeypatch.setattr(installation.os, "name", "nt")
    line = installation.install_command("serve", "x")
    monkeypatch.undo()
    assert line == 'python -m pip install "absent-one>=3" absent-three "absent-two[fast]<9,>=1.5"'


def test_a_package_without_metadata_names_the_module(monkeypatch: pytest.MonkeyPatch):
    def unknown(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    assert installation.missing_requirements("serve") == []
    assert installation.install_command("serve", "fastapi").endswith("pip install fastapi")


def test_the_error_of_a_missing_module_never_names_an_extra_of_a_package_on_no_index():
    def use() -> None:
        with needs_extra("serve", "The service"):
            import no_such_module_anywhere  # noqa: F401

    with pytest.raises(MissingExtraError, match="The service needs the module") as caught:
        use()
    assert "hematovision[" not in str(caught.value)
    assert " install " in str(caught.value)


@pytest.mark.parametrize("extra", ["app", "data", "formats", "scale", "serve", "train"])
def test_every_extra_has_requirements_and_this_environment_meets_them(extra: str):
    found = [
        one for one in importlib.metadata.requires("hematovision") or () if f"'{extra}'" in one
    ]
    assert found
    assert all(Requirement(one).name for one in found)
    assert installation.missing_requirements(extra) == []
