"""``serve``: what was typed reaches the service."""

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="the service needs the extra 'serve'")

from hematovision.server import running
from hematovision.server.settings import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    seen: list[tuple] = []
    monkeypatch.delenv("HEMATOVISION_API_KEY", raising=False)
    monkeypatch.setattr(running, "serve", lambda settings, **where: seen.append((settings, where)))
    return seen


def test_by_default_this_computer_alone_is_answered_by_the_bundled_model(run, served):
    assert run("serve").exit_code == 0
    assert served == [(Settings(), {"address": "127.0.0.1", "port": 8000})]
    assert served[0][0].models == ("rbc-wbc-platelets",)


def test_models_limits_and_place_can_be_set(run, served):
    options = ["--threads", 3, "--queue", 9, "--deadline", 2.5, "--max-bytes", 1000]
    models = ["--model", "pbc8", "--model", "./mine"]
    assert run("serve", *options, *models, "--port", 9000, "--address", "0.0.0.0").exit_code == 0
    wanted = Settings(("pbc8", "./mine"), threads=3, queue=9, deadline=2.5, max_bytes=1000)
    assert served == [(wanted, {"address": "0.0.0.0", "port": 9000})]


def test_the_key_comes_from_the_environment_and_is_not_shown(run, served, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_API_KEY", "sesame")
    assert "sesame" not in run("serve").output
    assert served[0][0].api_key == "sesame"
    assert run("serve", "--api-key", "sesame").exit_code == 2


def test_an_unknown_model_is_said_before_anything_listens(run):
    result = run("serve", "--model", "no-such-model")
    assert result.exit_code == 1
    assert "no-such-model" in result.stderr


@pytest.mark.parametrize("option", [("--port", 0), ("--queue", 0), ("--deadline", 0)])
def test_impossible_numbers_are_wrong_usage(run, option):
    assert run("serve", *option).exit_code == 2
