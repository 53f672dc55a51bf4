"""What the command lines of benchmarks share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import options
from benchmarks.options import images_option, parse, publish, results_options


def parsed(monkeypatch, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    images_option(parser)
    results_options(parser)
    monkeypatch.setattr("sys.argv", ["benchmark", *words])
    return parse(parser)


def test_the_default_data_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("HEMATOVISION_DATA", "here")
    assert parsed(monkeypatch).data == Path("here")
    assert parsed(monkeypatch, "--data", "there").data == Path("there")


def test_without_data_the_message_names_the_option(monkeypatch):
    monkeypatch.delenv("HEMATOVISION_DATA", raising=False)
    with pytest.raises(SystemExit, match="give --data or set HEMATOVISION_DATA"):
        parsed(monkeypatch)


def test_results_and_tables_are_written_to_the_given_files(monkeypatch, tmp_path: Path):
    results = tmp_path / "results.md"
    results.write_text("<!-- table:speed -->\nold\n<!-- /table:speed -->\n", encoding="utf-8")
    monkeypatch.setattr(options, "RESULTS", results)
    words = ("--data", "x", "--json", str(tmp_path / "speed.json"), "--fill")
    publish(parsed(monkeypatch, *words), "speed", "new", {"rate": 3})
    assert json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["rate"] == 3
    assert results.read_text(encoding="utf-8").splitlines()[1] == "new"


def test_nothing_is_written_unasked(monkeypatch, tmp_path: Path):
    results = tmp_path / "results.md"
    monkeypatch.setattr(options, "RESULTS", results)
    publish(parsed(monkeypatch, "--data", "x"), "speed", "new", {})
    assert not list(tmp_path.iterdir())
