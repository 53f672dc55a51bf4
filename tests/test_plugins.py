"""Registries: what is built in, registered by a call, or installed."""

import logging
import sys
from pathlib import Path

import pytest

from hematovision.errors import ModelError, PluginError
from hematovision.plugins import Registry
from outside_distribution import installed


def number(thing: object) -> float:
    if not isinstance(thing, float):
        raise TypeError(f"it must be a number. Received: {thing!r}")
    return thing


@pytest.fixture
def constants() -> Registry[float]:
    builtin = {"tau": "math:tau", "e": "math:e"}
    return Registry("constant", "hematovision.constants", builtin, number)


@pytest.fixture
def install(monkeypatch, tmp_path: Path):
    def call(name: str, code: str, **entries: str) -> None:
        group = {key.replace("_", "-"): value for key, value in entries.items()}
        files = {f"{name}.py": code}
        installed(monkeypatch, tmp_path, name, files, {"hematovision.constants": group})

    return call


def test_built_in_things_are_found_without_searching_distributions(constants, monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    assert constants["tau"] == pytest.approx(6.283185307)
    assert "e" in constants
    assert constants.builtin == ("tau", "e")


def test_an_unknown_name_is_a_key_error(constants):
    with pytest.raises(KeyError, match="pi"):
        constants["pi"]
    assert constants.get("pi") is None
    assert "pi" not in constants


def test_a_registered_thing_is_found_and_listed_after_the_built_in_ones(constants):
    constants.register("pi", 3.14)
    constants.register("half", 0.5)
    assert constants["pi"] == 3.14
    assert list(constants) == ["tau", "e", "half", "pi"]
    assert len(constants) == 4
    constants.clear()
    assert list(constants) == ["tau", "e"]


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "é", None, 3])
def test_a_name_must_be_a_word_for_the_command_line(constants, name: object):
    with pytest.raises(ValueError, match="name of a constant must have letters"):
        constants.register(name, 1.0)


def test_a_name_can_be_registered_again_only_on_request(constants):
    constants.register("pi", 3.0)
    with pytest.raises(
        ValueError, match=r"'pi' exists already: registered by a call.*replace=True"
    ):
        constants.register("pi", 3.14)
    constants.register("pi", 3.14, replace=True)
    assert constants["pi"] == 3.14
    with pytest.raises(ValueError, match=r"'tau' exists already: a part of HematoVision\. Cho"):
        constants.register("tau", 6.0, replace=True)


def test_a_thing_of_another_type_is_rejected_at_once(constants):
    with pytest.raises(TypeError, match="The constant 'pi' can't be used: it must be a number"):
        constants.register("pi", "3.14")
    assert "pi" not in constants


def test_an_installed_thing_is_imported_when_it_is_looked_up_and_not_before(constants, install):
    install("outside_pi", "pi = 3.14", pi="outside_pi:pi")
    assert list(constants) == ["tau", "e", "pi"]
    assert "outside_pi" not in sys.modules
    assert constants["pi"] == 3.14
    assert "outside_pi" in sys.modules


def test_a_broken_distribution_is_named_and_the_others_work(constants, install):
    install("outside_bad", "raise RuntimeError('no licence')", bad="outside_bad:x")
    install("outside_good", "pi = 3.14", good="outside_good:pi")
    assert list(constants) == ["tau", "e", "bad", "good"]
    assert constants["good"] == 3.14
    expected = (
        r"constant 'bad' \(entry point 'bad' = 'outside_bad:x' of outside_bad 1\.0\) can't be "
        r"imported: RuntimeError: no licence"
    )
    with pytest.raises(PluginError, match=expected):
        constants["bad"]


@pytest.mark.parametrize("code", ["import sys\nsys.exit()", "raise SystemExit('no licence')"])
def test_a_module_that_ends_the_program_when_it_is_imported_is_named(constants, install, code: str):
    install("outside_script", code, bad="outside_script:x")
    with pytest.raises(PluginError, match=r"outside_script 1\.0\) can't be imported: SystemExit"):
        constants["bad"]


def test_an_attribute_that_is_missing_or_of_another_type_is_named(constants, install):
    install("outside_none", "pi = '3'", pi="outside_none:pi", no="outside_none:no")
    with pytest.raises(PluginError, match=r"'pi' .*outside_none 1\.0\) can't be used: it must be"):
        constants["pi"]
    with pytest.raises(PluginError, match=r"'no' .*can't be imported: AttributeError"):
        constants["no"]


def test_a_name_of_two_distributions_is_an_error_that_names_both(constants, install):
    install("outside_a", "x = 1.0", same="outside_a:x", a="outside_a:x")
    install("outside_b", "x = 2.0", same="outside_b:x")
    with pytest.raises(PluginError, match=r"outside_a 1\.0.*outside_b 1\.0|outside_b.*outside_a"):
        constants["same"]
    assert constants["a"] == 1.0
    with pytest.raises(ValueError, match=r"'same' exists already: .*outside_a 1\.0"):
        constants.register("same", 3.0)
    constants.register("same", 3.0, replace=True)
    assert constants["same"] == 3.0


def test_an_installed_thing_does_not_replace_a_built_in_one(constants, install, caplog):
    install("outside_tau", "tau = 1.0", tau="outside_tau:tau")
    with caplog.at_level(logging.WARNING, "hematovision.plugins"):
        assert list(constants) == ["tau", "e"]
    assert "'tau' of entry point 'tau' = 'outside_tau:tau' of outside_tau 1.0" in caplog.text
    assert constants["tau"] > 6


def test_a_reserved_name_cannot_be_taken(install, caplog):
    constants = Registry("constant", "hematovision.constants", {}, number, {"none": "no constant"})
    install("outside_none", "x = 1.0", none="outside_none:x", one="outside_none:x")
    with caplog.at_level(logging.WARNING, "hematovision.plugins"):
        assert list(constants) == ["one"]
        assert len(constants) == 1
    assert caplog.text.count("of outside_none 1.0 is not used: this name is no constant.") == 1
    assert "none" not in constants
    assert constants.get("none") is None
    with pytest.raises(ValueError, match="'none' exists already: no constant"):
        constants.register("none", 1.0, replace=True)


def test_a_class_from_outside_that_cannot_be_made_is_named(install):
    def made(thing: object) -> object:
        return thing() if isinstance(thing, type) else thing

    classes = Registry("class", "hematovision.constants", {}, made)
    code = "class Bad:\n    def __init__(self): raise RuntimeError('no licence')\n"
    install("outside_bad", code, bad="outside_bad:Bad")
    with pytest.raises(
        PluginError, match=r"outside_bad 1\.0\) failed: RuntimeError: no lic"
    ) as info:
        classes["bad"]
    assert isinstance(info.value.__cause__, RuntimeError)


def test_damaged_entry_points_do_not_break_the_built_in_things(constants, monkeypatch, caplog):
    def damaged(**_):
        raise ValueError("line 3 has no '='")

    monkeypatch.setattr("importlib.metadata.entry_points", damaged)
    assert list(constants) == ["tau", "e"]
    assert "can't be read: line 3 has no '='" in caplog.text


def test_an_exception_from_outside_names_its_owner(constants):
    constants.register("pi", 3.14)
    with (
        pytest.raises(PluginError, match=r"'pi' \(registered by a call\) failed: ZeroDivision"),
        constants.calling("pi"),
    ):
        1 / 0  # noqa: B018
    with pytest.raises(PluginError, match="failed: SystemExit: 0"), constants.calling("pi"):
        sys.exit(0)
    with pytest.raises(KeyboardInterrupt), constants.calling("pi"):
        raise KeyboardInterrupt
    with pytest.raises(ModelError, match="as it is"), constants.calling("pi"):
        raise ModelError("as it is")
    with pytest.raises(ZeroDivisionError), constants.calling("tau"):
        1 / 0  # noqa: B018
