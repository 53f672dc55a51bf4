"""``serve``: the options reach the server."""

import socket

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="the server needs the extra 'serve'")

from hematovision.server import running
from hematovision.server.settings import Settings
from server.conftest import free_port


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    seen: list[tuple] = []

    def settle(settings, where):
        where["announce"]()
        seen.append((settings, where["port"]))
        return True

    monkeypatch.delenv("HEMATOVISION_API_KEY", raising=False)
    monkeypatch.setattr(running, "serve", lambda settings, **where: settle(settings, where))
    return seen


def test_the_bundled_model_is_served_to_this_computer_only_by_default(run, served):
    assert run("serve").exit_code == 0
    assert served == [(Settings(), 8000)]
    assert served[0][0].models == ("rbc-wbc-platelets", "blood-fields")


def test_models_limits_and_place_can_be_set(run, served):
    options = ["--threads", 3, "--queue", 9, "--deadline", 2.5, "--max-bytes", 1000]
    options += ["--max-pixels", 10**6, "--max-connections", 70]
    options += ["--allowed-host", "lab.example.org", "--allowed-host", "10.1.2.3"]
    models = ["--model", "pbc8", "--model", "white-cells"]
    assert run("serve", *options, *models, "--port", 9000, "--address", "0.0.0.0").exit_code == 0
    wanted = Settings(
        ("pbc8", "white-cells"),
        threads=3,
        queue=9,
        deadline=2.5,
        max_bytes=1000,
        max_pixels=10**6,
        max_connections=70,
        address="0.0.0.0",
        allowed_hosts=("lab.example.org", "10.1.2.3"),
    )
    assert served == [(wanted, 9000)]


def test_the_key_comes_from_the_environment_and_is_not_shown(run, served, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_API_KEY", "sesame")
    assert "sesame" not in run("serve").output
    assert served[0][0].api_key == "sesame"
    assert run("serve", "--api-key", "sesame").exit_code == 2


def test_an_unknown_model_is_reported_before_the_port_is_opened(run):
    result = run("serve", "--model", "no-such-model", "--port", free_port())
    assert result.exit_code == 1
    assert "no-such-model" in result.stderr
    assert "http://" not in result.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--port", 0),
        ("--queue", 0),
        ("--deadline", 0),
        ("--deadline", "inf"),
        ("--deadline", "nan"),
        ("--header-timeout", "inf"),
        ("--max-pixels", 2**27),
        ("--max-connections", 10**9),
        ("--allowed-host", "https://lab.example.org"),
    ],
)
def test_impossible_values_are_wrong_usage(run, served, option):
    result = run("serve", *option)
    assert (result.exit_code, served) == (2, [])
    assert option[0] in result.stderr
    assert "defect" not in result.stderr


@pytest.mark.parametrize("key", ["", "  ", "a\nb"])
def test_a_key_that_would_let_everybody_in_is_wrong_usage(run, served, monkeypatch, key):
    monkeypatch.setenv("HEMATOVISION_API_KEY", key)
    result = run("serve")
    assert (result.exit_code, served) == (2, [])
    assert "HEMATOVISION_API_KEY" in result.stderr


def test_a_port_in_use_is_reported_before_a_model_is_opened(run, monkeypatch):
    monkeypatch.delenv("HEMATOVISION_API_KEY", raising=False)
    monkeypatch.setattr(running, "create_app", lambda _: pytest.fail("a model was opened"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--port", port)
    assert result.exit_code == 1
    assert f"Port {port} of 127.0.0.1 is in use" in result.stderr
    assert "--port" in result.stderr
    assert "http://" not in result.stderr


@pytest.mark.parametrize("address", ["192.0.2.1", "a..b", "no such host"])
def test_an_address_of_another_computer_is_reported(run, monkeypatch, address):
    monkeypatch.delenv("HEMATOVISION_API_KEY", raising=False)
    result = run("serve", "--address", address, "--port", free_port())
    assert result.exit_code == 1
    assert f"{address!r} is not an address" in result.stderr
    assert "0.0.0.0" in result.stderr
