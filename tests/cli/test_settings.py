"""Settings: command line, environment, files and defaults, in this order."""

import os
from pathlib import Path

import pytest
from typer.main import get_command

from hematovision.cli import settings
from hematovision.cli.program import program
from hematovision.cli.settings import FOUND, SECTIONS

NEAREST = '[analyze]\nedges = "inside"\n'
OWN = '[analyze]\nedges = "all"\nlevel = 3\n'


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HEMATOVISION_") and name != "HEMATOVISION_DATA":
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("typed", "variable", "nearest", "own", "expected"),
    [
        ("all", "inside", "two", "two", "all"),
        ("two", None, "all", None, "two"),
        (None, "inside", "all", "two", "inside"),
        (None, "inside", None, "all", "inside"),
        (None, None, "inside", "all", "inside"),
        (None, None, "inside", None, "inside"),
        (None, None, None, "all", "all"),
        (None, None, None, None, "two"),
    ],
)
def test_the_command_line_comes_first_then_environment_nearest_file_own_file_and_default(
    folders, options, monkeypatch, typed, variable, nearest, own, expected
):
    if variable:
        monkeypatch.setenv("HEMATOVISION_ANALYZE_EDGES", variable)
    if nearest:
        folders.write(f'[analyze]\nedges = "{nearest}"')
    if own:
        folders.write_own(f'[analyze]\nedges = "{own}"')
    assert options(*(["--edges", typed] if typed else []))["edges"] == expected


def test_files_are_merged_by_option(folders, options):
    folders.write(NEAREST)
    folders.write_own(OWN)
    found = options()
    assert (found["edges"], found["level"]) == ("inside", 3)


def test_all_kinds_of_values_arrive_with_their_type(folders, options):
    folders.write(
        '[analyze]\nrbc-diameter = 36\nlevel = 2\noverlays = true\nexport = ["coco", "voc"]\n'
        'format = "jsonl"\nclassifier = "none"\n'
    )
    found = options()
    wanted = {"rbc_diameter": 36.0, "level": 2, "overlays": True, "exports": ("coco", "voc")}
    wanted |= {"format": "jsonl", "classifier": None}
    assert {name: found[name] for name in wanted} == wanted
    assert isinstance(found["rbc_diameter"], float)


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_a_flag_of_a_file_or_variable_can_be_turned_off(folders, options, monkeypatch, value):
    folders.write("[analyze]\noverlays = true")
    assert options("--no-overlays")["overlays"] is False
    monkeypatch.setenv("HEMATOVISION_ANALYZE_OVERLAYS", "0")
    assert options()["overlays"] is False
    monkeypatch.setenv("HEMATOVISION_ANALYZE_OVERLAYS", value)
    assert options()["overlays"] is True
    assert options("--no-overlays")["overlays"] is False


def test_a_list_in_a_variable_is_separated_by_spaces(folders, options, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_ANALYZE_EXPORT", "coco  yolo")
    assert options()["exports"] == ("coco", "yolo")


def test_the_scale_on_the_command_line_replaces_the_other_kind_of_scale(folders, options):
    folders.write_own("[analyze]\num-per-px = 0.1")
    found = options("--rbc-diameter", 80, "-v")
    assert (found["rbc_diameter"], found["um_per_px"]) == (80, None)
    assert "um-per-px" not in found["stderr"]
    assert options()["um_per_px"] == 0.1


def test_a_cluster_of_a_file_is_not_used_by_a_local_run(folders, options):
    folders.write_own('[analyze]\nengine = "ray"\nray-address = "10.0.0.1:6379"')
    assert "Error" not in options("--engine", "local")["stderr"]


def test_settings_of_a_file_that_was_found_are_shown_and_others_logged(
    folders, options, monkeypatch
):
    path = folders.write('[analyze]\nedges = "all"\nexport = ["coco"]')
    own = folders.write_own("[analyze]\nlevel = 1")
    monkeypatch.setenv("HEMATOVISION_ANALYZE_OVERLAYS", "1")
    shown = f'Settings from {path}: edges = "all", export = ["coco"]\n'
    assert options()["stderr"] == shown
    assert options("--edges", "two")["stderr"] == shown.replace('edges = "all", ', "")
    assert options("-q")["stderr"] == ""
    assert options("-v")["stderr"] == (
        f"{shown}Setting level = 1: {own}, line 2.\n"
        "Setting overlays: HEMATOVISION_ANALYZE_OVERLAYS.\n"
    )
    assert options()["stdout"] == ""


def error_of(run, *arguments: object) -> str:
    result = run(*(arguments or ("models",)))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("Error: ")
    return result.stderr.removeprefix("Error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[analyse]\nedges = "all"', "line 1: unknown section [analyse]. Did you mean 'analyze'?"),
        (
            '\n[data.imprt]\nlab = "x"',
            "line 2: unknown section [data.imprt]. Did you mean 'import'?",
        ),
        ("[models]\n", "line 1: unknown section [models]. Known sections: adapt, analyze, app"),
        (
            'edges = "all"',
            "line 1: unknown setting 'edges' outside sections. Known sections: adapt",
        ),
        ('analyze = "all"', "line 1: 'analyze' is a section: write [analyze] in a line of its own"),
        (
            '[analyze]\n# a comment\nedge = "all"',
            "line 3: unknown setting [analyze] edge. Did you mean 'edges'?",
        ),
        (
            "[train]\nlabel = 1",
            "line 2: unknown setting [train] label. Known settings: backbone, batch-size, epochs",
        ),
        (
            "[analyze]\num_per_px = 1.0",
            "line 2: unknown setting [analyze] um_per_px. Did you mean 'um-per-px'?",
        ),
        (
            '[analyze]\nedges = "tow"',
            "line 2: [analyze] edges must be one of 'two', 'inside', 'all'. Received: 'tow'. Did ",
        ),
        (
            '[train]\nepochs = "15"',
            "[train] epochs must be a whole number of at least 1. Received: '15'.",
        ),
        ("[train]\nepochs = 0", "line 2: [train] epochs must be a whole number of at least 1"),
        ("[train]\nepochs = 1.5", "line 2: [train] epochs must be a whole number"),
        ("[train]\nepochs = true", "line 2: [train] epochs must be a whole number"),
        (
            "[train]\nseed = 4294967296",
            "[train] seed must be a whole number from 0 to 4,294,967,295. Received: 4294967296.",
        ),
        (
            "[serve]\nport = 65536",
            "line 2: [serve] port must be a whole number from 1 to 65,535. Received: 65536.",
        ),
        ('[analyze]\num-per-px = "0.1"', "[analyze] um-per-px must be a number. Received: '0.1'."),
        ("[analyze]\num-per-px = nan", "[analyze] um-per-px must be a number. Received: nan."),
        (
            "[analyze]\nrbc-diameter = inf",
            "[analyze] rbc-diameter must be a number. Received: inf.",
        ),
        ("[analyze]\noverlays = 1", "[analyze] overlays must be true or false. Received: 1."),
        (
            '[analyze]\nexport = "coco"',
            "'labelstudio'. Received: 'coco'. Did you mean 'coco'?",
        ),
        ("[analyze]\nexport = [1]", "[analyze] export must be a list of some of 'voc', 'yolo'"),
        ("[analyze]\nclassifier = 3", "[analyze] classifier must be text in quotes. Received: 3"),
        ("[train]\ntaxonomy = ''", "[train] taxonomy must be text in quotes. Received: ''."),
        ('[data.synthesize]\nimages = "many"', "line 2: [data.synthesize] images must be a whole"),
    ],
)
def test_an_invalid_setting_names_the_file_the_line_what_is_expected_and_a_near_match(
    folders, run, text, message
):
    path = folders.write_own(text)
    assert error_of(run).startswith(f"{path}, {message}" if "line" in message else f"{path}, line ")
    assert message in error_of(run)


def test_the_line_is_left_out_where_it_cannot_be_found(folders, run):
    path = folders.write_own('analyze = { edges = "tow" }')
    assert error_of(run).startswith(f"{path}: [analyze] edges must be one of")


def test_a_long_value_is_cut(folders, run):
    folders.write_own(f'[analyze]\nedges = "{"x" * 1000}"')
    assert len(error_of(run)) < 400


def test_what_belongs_to_one_run_is_set_by_no_file_and_no_variable(folders, run, monkeypatch):
    path = folders.write_own('[analyze]\nout = "results"')
    assert error_of(run) == (
        f"{path}, line 2: [analyze] out belongs to a single run. Pass --out on the command line."
    )
    path.unlink()
    monkeypatch.setenv("HEMATOVISION_ANALYZE_OUT", "results")
    assert "Missing option '--out'" in run("analyze", "fields").stderr


@pytest.mark.parametrize("key", ["api-key", "database-url"])
def test_secrets_are_not_accepted_and_not_shown(folders, run, key):
    folders.write_own(f'[serve]\n{key} = "open sesame"')
    message = error_of(run)
    assert f"Set the environment variable HEMATOVISION_{key.upper().replace('-', '_')}" in message
    assert "sesame" not in message


# What a file in a folder from somebody else must not do.
NOT_ALLOWED = sorted(
    (section, key) for section, keys in SECTIONS.items() for key in keys if key not in FOUND
)
VALUES = {
    "images": "9",
    "engine": '"ray"',
    "allowed-host": '["x"]',
    "queue": "9",
    "deadline": "9.0",
}
NUMBERS = {"max-bytes", "max-pixels", "max-images", "max-upload", "max-connections"}


@pytest.mark.parametrize(("section", "key"), NOT_ALLOWED)
def test_a_file_that_was_found_opens_no_address_cluster_folder_or_limit(
    folders, run, monkeypatch, section, key
):
    value = "100000" if key in NUMBERS else VALUES.get(key, '"x"')
    value = "9.0" if key == "header-timeout" else value
    text = f"[{section.replace(' ', '.')}]\n{key} = {value}"
    path = folders.write(text)
    message = error_of(run)
    assert f"{path}, line 2: {text.splitlines()[0]} {key} is not allowed here" in message
    assert str(folders.user) in message
    # The same file is fine if the user names it.
    monkeypatch.setenv("HEMATOVISION_CONFIG", str(path))
    assert run("models").exit_code == 0


def test_these_options_need_the_users_own_file():
    assert {key for _, key in NOT_ALLOWED} == {
        "address", "allowed-host", "base-path", "deadline", "engine", "header-timeout", "home",
        "images", "max-bytes", "max-connections", "max-images", "max-pixels", "max-upload", "queue",
        "ray-address", "weights",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("analyze", "detector", '"./blood-fields"'),
        ("analyze", "classifier", '"runs/lab"'),
        ("classify", "model", '"lab"'),
        ("serve", "model", '["pbc8", "/tmp/lab"]'),
    ],
)
def test_a_file_that_was_found_chooses_bundled_models_only(folders, run, section, key, value):
    path = folders.write(f"[{section}]\n{key} = {value}")
    message = error_of(run)
    assert f"{path}, line 2: [{section}] {key} may only name a bundled model here" in message
    folders.write(f"[{section}]\n{key} = " + ('["pbc8"]' if section == "serve" else '"pbc8"'))
    assert run("models").exit_code == 0


def test_paths_are_relative_to_the_file(folders, options):
    folders.write_own('[analyze]\ndetector = "runs/lab"\nclassifier = "~/runs/white"')
    found = options()
    assert found["detector"] == str(folders.user.parent / "runs" / "lab")
    assert found["classifier"] == str(folders.home / "runs" / "white")
    folders.write_own('[analyze]\ndetector = "~nobody-of-this-name/lab"')
    unknown = folders.user.parent / "~nobody-of-this-name" / "lab"
    assert Path(str(options()["detector"])) == unknown
    folders.write_own('[analyze]\ndetector = "./lab"\nclassifier = "white-cells"')
    found = options()
    assert Path(str(found["detector"])) == folders.user.parent / "lab"
    assert found["classifier"] == "white-cells"


def test_folders_and_lists_of_models_are_relative_to_the_file_too(folders, run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "hematovision.app.launch.launch",
        lambda _, environment, **__: seen.append(environment) or 0,
    )
    folders.write_own('[app]\nhome = "records"\nmodel = ["pbc8", "runs/a"]')
    assert run("app").exit_code == 0
    home = folders.user.parent
    assert seen[0]["HEMATOVISION_HOME"] == str(home / "records")
    assert seen[0]["HEMATOVISION_APP_MODELS"] == os.pathsep.join(["pbc8", str(home / "runs/a")])


def test_every_setting_is_an_option_and_every_option_that_a_found_file_sets_is_a_setting():
    tree = get_command(program)
    for section, names in SECTIONS.items():
        command, *words = tree, *section.split()
        for word in words:
            command = command.commands[word]
        assert set(settings.settable(tuple(words), command)) == names, section
    assert set().union(*SECTIONS.values()) >= FOUND


def test_variables_are_named_after_the_command_and_the_option():
    found = set(settings.variables(get_command(program)))
    for section, names in SECTIONS.items():
        for name in names:
            text = f"HEMATOVISION_{section}_{name}".upper().replace(" ", "_").replace("-", "_")
            assert text in found
            found.remove(text)
    assert not found


def test_no_other_option_has_a_variable(run, monkeypatch):
    tree = get_command(program)
    monkeypatch.setenv("HEMATOVISION_VERSION", "1")
    assert run("models").stdout.strip() != ""
    for name, command in tree.commands.items():
        for option in getattr(command, "params", []):
            if getattr(option, "allow_from_autoenv", False) and name in SECTIONS:
                assert settings.option_name(option) in SECTIONS[name]


@pytest.mark.parametrize(
    ("text", "variables", "origin"),
    [
        ("[analyze]\nrbc-diameter = -3", {}, "(--rbc-diameter is set in {path}, line 2.)"),
        (
            "",
            {"HEMATOVISION_ANALYZE_EDGES": "tow"},
            "(--edges is set by the environment variable HEMATOVISION_ANALYZE_EDGES.)",
        ),
        (
            "",
            {"HEMATOVISION_ANALYZE_UM_PER_PX": "-1"},
            "(--um-per-px is set by the environment variable HEMATOVISION_ANALYZE_UM_PER_PX.)",
        ),
    ],
)
def test_a_usage_error_states_where_the_value_comes_from(
    folders, run, monkeypatch, text, variables, origin
):
    path = folders.write(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = run("analyze", "fields", "--out", "results")
    assert result.exit_code == 2
    assert origin.format(path=path) in " ".join(result.stderr.split())
    assert "is set" not in run("analyze", "fields", "--out", "results", "--level", "-1").stderr


def test_help_works_with_a_damaged_file(folders, run):
    folders.write("[analyze")
    for arguments in (["--help"], ["analyze", "--help"], ["data", "import", "-h"], ["--version"]):
        assert run(*arguments).exit_code == 0
    assert "is not valid TOML" in error_of(run)


def test_help_shows_the_defaults_of_the_program(folders, run):
    plain = run("analyze", "--help").stdout
    folders.write(NEAREST)
    assert run("analyze", "--help").stdout == plain
    assert "HEMATOVISION_" not in plain


def test_settings_of_a_group_of_commands(folders, run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "hematovision.data.synthesize.write_synthetic_cells",
        lambda dest, images, seed, **_: seen.append((images, seed)) or [][0],
    )
    folders.write_own("[data.synthesize]\nimages = 7\nseed = 5")
    run("data", "synthesize", "new", "--seed", 6)
    assert seen == [(7, 6)]


def test_a_name_that_does_not_exist_lists_those_that_do(folders, run):
    folders.write('[analyze]\nexport = ["cocoa"]')
    result = run("analyze", "fields", "--out", "results")
    assert result.exit_code == 2
    text = " ".join(result.stderr.split())
    assert "line 2: [analyze] export must be a list of some of 'voc', 'yolo', 'csv'," in text
    assert "Received: ['cocoa']. Did you mean 'coco'?" in text
