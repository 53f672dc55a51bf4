r"""Every file name has a written form that leads back to it, and none steers a terminal."""

import json
import os
import re
import sys
from pathlib import Path

import platformdirs
import platformdirs.macos
import platformdirs.unix
import platformdirs.windows
import pytest

from hematovision import paths

AWKWARD = [
    b"caf\xe9.png",
    b"\xff\xfe/\x80.png",
    rb"caf\xe9.png",
    b"a\\b\xe9.png",
    rb"a\\b.png",
    rb"\\xe9",
    "Zellen ä 細胞.png".encode(),
    b"plain.png",
    b"tab\t.png",
]


@pytest.mark.parametrize("raw", AWKWARD)
def test_a_written_name_is_converted_back_to_its_file(raw: bytes):
    name = raw.decode("utf-8", "surrogateescape")
    written = paths.escape_name(name)
    written.encode("utf-8")
    assert paths.unescape_name(written) == name


def test_no_two_names_are_written_the_same_way():
    decoded = [raw.decode("utf-8", "surrogateescape") for raw in AWKWARD]
    assert len({paths.escape_name(name) for name in decoded}) == len(AWKWARD)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("plain name é.png", "plain name é.png"),
        ("caf\udce9.png", r"caf\xe9.png"),
        ("a\nb\x1b[2J.png", r"a\x0ab\x1b[2J.png"),
        (r"caf\xe9.png", r"caf\x5cxe9.png"),
        (r"caf\x5cxe9.png", r"caf\x5cx5cxe9.png"),
        (r"back\slash\x", r"back\slash\x"),
    ],
)
def test_every_file_name_can_be_written_as_text_and_read_back(name, escaped):
    assert paths.escape_name(name) == escaped
    assert paths.unescape_name(escaped) == name
    escaped.encode("utf-8")


def test_on_windows_a_backslash_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths.os, "sep", "\\")
    path = r"C:\Program Files\x86\cell.png"
    assert paths.escape_name(path) == path
    assert paths.unescape_name(path) == path


@pytest.mark.skipif(os.sep == "\\", reason="file names are text on Windows")
def test_a_lone_surrogate_that_is_not_a_byte_can_be_written():
    assert paths.valid_text("\ud800") == r"\ud800"
    assert paths.name_bytes("a\udce9") != paths.name_bytes("aé")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("red\x1b[31m.png", r"red\x1b[31m.png"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x9b2J", r"\x9b2J"),
        ("\x7f\x00", r"\x7f\x00"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("\u2066x\u2069\u200f", r"\u2066x\u2069\u200f"),
        ("a\u2028b\ufeff", r"a\u2028b\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("caf\udce9", r"caf\xe9"),
        ("Zellen ä 細胞 \u200d.png", "Zellen ä 細胞 \u200d.png"),
    ],
)
def test_characters_that_change_a_terminal_are_shown_escaped(name: str, expected: str):
    assert paths.shown(name) == expected


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "'=", "''@"])
def test_a_formula_in_a_cell_is_text_and_is_read_back(start: str):
    text = f"{start}cmd|' /C calc'!A0"
    cell = paths.csv_cell(text)
    assert cell == f"'{text}"
    assert paths.from_csv_cell(cell) == text


def test_every_text_is_read_back_unchanged():
    texts = ["-1", "'-1", "''-1", "=1", "'=1", "-1\n", "-1a", "@", "'", "''"]
    assert [paths.from_csv_cell(paths.csv_cell(text)) for text in texts] == texts


def test_a_table_keeps_other_values():
    assert paths.csv_text([["=1+1", 0.5, None, -2, "x"], ["a,b"]]) == '\'=1+1,0.5,,-2,x\n"a,b"\n'


@pytest.mark.parametrize(
    "text", ["cell.png", "'quoted'", "a=b", "", "'", "it's", "-1.5", "+2", "-1e-05"]
)
def test_other_cells_are_unchanged(text: str):
    assert paths.csv_cell(text) == text
    assert paths.from_csv_cell(text) == text


def test_every_csv_file_is_written_without_formulas():
    root = Path(paths.__file__).parent
    writers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"csv\.(writer|DictWriter)\(", path.read_text(encoding="utf-8"))
    }
    assert writers == {"paths.py"}  # `csv_text` escapes formulas


def test_a_value_with_any_name_is_valid_json():
    value = {"caf\udce9": ["\udcff", ("a\udce9", 1.5, None, True)], "plain": "ä"}
    text = json.dumps(paths.valid_value(value), ensure_ascii=False)
    text.encode("utf-8")
    expected = {r"caf\xe9": [r"\xff", [r"a\xe9", 1.5, None, True]], "plain": "ä"}
    assert json.loads(text) == expected


def test_names_reserved_by_windows_are_recognised_with_any_suffix_and_case():
    assert all(
        paths.is_reserved(name) for name in ("con", "NUL.png", "Com1.tar.gz", "lpt9", "prn.")
    )
    assert not any(
        paths.is_reserved(name) for name in ("cone", "com0", "com10", ".con", "a.con", "")
    )


PLATFORMS = {
    "linux": platformdirs.unix.Unix,
    "darwin": platformdirs.macos.MacOS,
    "win32": platformdirs.windows.Windows,
}


@pytest.fixture
def on_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Choose a platform, with `tmp_path` as the home folder and none of the variables."""
    own, xdg = ("HEMATOVISION_HOME", "HEMATOVISION_CACHE"), ("XDG_DATA_HOME", "XDG_CACHE_HOME")
    for name in (*own, *xdg):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", "C:/Local")

    def choose(platform: str) -> None:
        if os.name == "nt" and platform != "win32":
            pytest.skip("Windows has other paths")
        if platform == "darwin":
            monkeypatch.setattr(paths.sys, "platform", platform)
        monkeypatch.setattr(platformdirs, "PlatformDirs", PLATFORMS[platform])

    return choose


def test_data_and_cache_folders_follow_the_variables_of_hematovision(
    on_platform, monkeypatch, tmp_path
):
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "fast"))
    assert paths.data_folder() == tmp_path / "mine"
    assert paths.cache_folder() == tmp_path / "fast"
    assert not list(tmp_path.iterdir())


def test_settings_are_in_the_users_folder_of_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = paths.config_folder()
    assert found.name == "hematovision"
    assert found.is_absolute()
    if sys.platform.startswith("linux"):
        assert found == tmp_path / "hematovision"
    assert not list(tmp_path.iterdir())


# The folders of version 0.2, which must still be found.
@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [
        ("linux", ".local/share/hematovision", ".cache/hematovision"),
        (
            "darwin",
            "Library/Application Support/hematovision",
            "Library/Caches/hematovision",
        ),
    ],
)
def test_default_folders_are_those_of_the_platform(on_platform, tmp_path, platform, data, cache):
    on_platform(platform)
    assert paths.data_folder() == tmp_path / data
    assert paths.cache_folder() == tmp_path / cache
    assert not list(tmp_path.iterdir())


def test_records_and_caches_share_one_folder_on_windows(on_platform):
    on_platform("win32")
    for folder in (paths.data_folder(), paths.cache_folder()):
        assert folder.as_posix().replace("\\", "/") == "C:/Local/hematovision"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_default_folders_follow_the_variables_of_xdg(on_platform, monkeypatch, tmp_path, platform):
    on_platform(platform)
    for variable, found in (
        ("XDG_DATA_HOME", paths.data_folder),
        ("XDG_CACHE_HOME", paths.cache_folder),
    ):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert found() == tmp_path / variable / "hematovision"


def test_with_the_variables_of_xdg_a_home_folder_is_not_needed(on_platform, monkeypatch, tmp_path):
    on_platform("linux")
    monkeypatch.setattr(Path, "home", lambda: pytest.fail("no home"))
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_folder() == tmp_path / "hematovision"


def test_records_of_version_02_are_found_on_macos_although_xdg_is_set(
    on_platform, monkeypatch, tmp_path
):
    on_platform("darwin")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    old = tmp_path / "Library" / "Application Support" / "hematovision"
    old.mkdir(parents=True)
    assert paths.data_folder() == old
    (tmp_path / "xdg" / "hematovision").mkdir(parents=True)
    assert paths.data_folder() == tmp_path / "xdg" / "hematovision"
