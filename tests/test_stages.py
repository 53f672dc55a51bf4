"""The log states how long each stage took."""

import logging

import pytest

from hematovision.stages import stage

LOG = logging.getLogger("hematovision.example")


def test_a_stage_is_logged_with_its_seconds(caplog, monkeypatch):
    times = iter([10.0, 12.34])
    monkeypatch.setattr("hematovision.stages.time.perf_counter", lambda: next(times))
    with caplog.at_level(logging.INFO, "hematovision"), stage(LOG, "Reading %d of %s", 3, "100%"):
        pass
    assert caplog.messages == ["Reading 3 of 100% took 2.3 s."]


def test_a_stage_that_fails_logs_nothing(caplog):
    caplog.set_level(logging.INFO, "hematovision")
    with pytest.raises(ValueError, match="no"), stage(LOG, "Reading"):
        raise ValueError("no")
    assert caplog.messages == []
