"""Events of a training can be read while they are written."""

import os

import pytest

from hematovision.errors import OutputError
from hematovision.progress import EpochProgress, no_progress, notify
from hematovision.retraining.run import (
    EventLog,
    ModelComparison,
    Scores,
    append_event,
    first_event,
    read_events,
)


def named(path, event):
    return [one for one in read_events(path) if one["event"] == event]


def test_progress_is_written_at_intervals_and_at_the_end(tmp_path):
    path = tmp_path / "events"
    with path.open("ab", buffering=0) as stream:
        log = EventLog(stream)
        for done in range(1, 1001):
            log(done, 1000, "features", "images")
        log(1, 5, "head")
    written = [(one["what"], one["done"]) for one in named(path, "progress")]
    assert written[0] == ("features", 1)
    assert written[-2:] == [("features", 1000), ("head", 1)]
    assert len(written) < 100
    assert {one["unit"] for one in named(path, "progress")} == {"images", ""}


def test_epochs_are_numbered_across_stages(tmp_path):
    path = tmp_path / "events"
    with path.open("ab", buffering=0) as stream:
        log = EventLog(stream)
        log.epoch({"epoch": 1.0, "loss": 0.5}, "head")
        log.epoch({"epoch": 1.0, "loss": 0.4}, "fine-tuning")
    figures = [one["figures"] for one in named(path, "epoch")]
    assert figures == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}]


def test_an_event_log_receives_epochs(tmp_path):
    with (tmp_path / "events").open("ab", buffering=0) as stream:
        assert isinstance(EventLog(stream), EpochProgress)
    assert not isinstance(no_progress, EpochProgress)


def test_an_incomplete_line_is_skipped_and_does_not_hide_the_next(tmp_path):
    path = tmp_path / "events"
    first_event(path, "started", kind="train")
    with path.open("ab") as stream:
        stream.write(b'{"event": "progr')
    assert [one["event"] for one in read_events(path)] == ["started"]
    append_event(path, "stopped")
    assert [one["event"] for one in read_events(path)] == ["started", "stopped"]


def test_a_comparison_survives_json():
    found = ModelComparison(3, Scores("a", 0.5, 0.6, 2), Scores("b", 1.0, 1.0, 0), "b", "few")
    assert ModelComparison.from_json(found.to_json()) == found


def test_notes_are_written_for_the_user(tmp_path):
    path = tmp_path / "events"
    with path.open("ab", buffering=0) as stream:
        notify(EventLog(stream), "The classes are A and B.")
    assert [one["sentence"] for one in named(path, "note")] == ["The classes are A and B."]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links need a privilege on Windows")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_event_is_appended_through_a_link(tmp_path, link):
    target = tmp_path / "precious"
    target.write_text("mine")
    link(target, tmp_path / "mine.events.jsonl")
    with pytest.raises(OutputError, match="is a link"):
        append_event(tmp_path / "mine.events.jsonl", "stopped")
    assert target.read_text() == "mine"
