"""What a learning tells is read while it is written, whole lines only, by whoever looks."""

from hematovision.progress import EpochProgress, no_progress
from hematovision.retraining.events import (
    EventLog,
    Figures,
    SideBySide,
    append_event,
    first_event,
    read_events,
)


def named(path, event):
    return [one for one in read_events(path) if one["event"] == event]


def test_progress_is_told_now_and_then_and_at_the_end(tmp_path):
    path = tmp_path / "events"
    with path.open("ab", buffering=0) as stream:
        log = EventLog(stream)
        for done in range(1, 1001):
            log(done, 1000, "features")
        log(1, 5, "head")
    told = [(one["what"], one["done"]) for one in named(path, "progress")]
    assert told[0] == ("features", 1)
    assert told[-2:] == [("features", 1000), ("head", 1)]
    assert len(told) < 100


def test_epochs_of_two_stages_are_counted_through(tmp_path):
    path = tmp_path / "events"
    with path.open("ab", buffering=0) as stream:
        log = EventLog(stream)
        log.epoch({"epoch": 1.0, "loss": 0.5}, "head")
        log.epoch({"epoch": 1.0, "loss": 0.4}, "fine-tuning")
    figures = [one["figures"] for one in named(path, "epoch")]
    assert figures == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}]


def test_only_who_wants_epochs_is_told_of_them(tmp_path):
    with (tmp_path / "events").open("ab", buffering=0) as stream:
        assert isinstance(EventLog(stream), EpochProgress)
    assert not isinstance(no_progress, EpochProgress)


def test_half_a_line_is_passed_over_and_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "events"
    first_event(path, "started", kind="train")
    with path.open("ab") as stream:
        stream.write(b'{"event": "progr')
    assert [one["event"] for one in read_events(path)] == ["started"]
    append_event(path, "stopped")
    assert [one["event"] for one in read_events(path)] == ["started", "stopped"]


def test_a_comparison_comes_back_as_it_was():
    found = SideBySide(3, Figures("a", 0.5, 0.6, 2), Figures("b", 1.0, 1.0, 0), "b", "few")
    assert SideBySide.from_json(found.to_json()) == found
