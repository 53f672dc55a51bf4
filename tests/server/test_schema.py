"""The OpenAPI document against the server, by an independent tool."""

import subprocess
import sys
from contextlib import nullcontext, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

pytest.importorskip("schemathesis", reason="the schema's tester is not there")

import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from server.conftest import running

# No schema can require bytes to be an image, so most data that fit it are rejected.
EXCLUDED = "positive_data_acceptance"


@pytest.fixture(scope="module")
def address():
    # No deadline that a busy machine could miss: 504 counts as a failure of the server here.
    with running("--deadline", 60) as (_, address):
        yield address


def test_every_response_matches_the_schema(address):
    load_all_checks()
    excluded = CHECKS.get_by_names([EXCLUDED])
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    requests = 0

    def ask(case):
        nonlocal requests
        requests += 1
        case.call_and_validate(excluded_checks=excluded)

    careful = settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    for operation in schema.get_all_operations():
        for mode in GenerationMode:
            try:
                # Where nothing is to be given, nothing can be given wrongly.
                with suppress(Unsatisfiable) if mode.is_negative else nullcontext():
                    careful(given(operation.ok().as_strategy(generation_mode=mode))(ask))()
            except Exception as error:
                error.add_note(f"{operation.ok().label}, {mode}")
                raise
    assert requests > 50


@pytest.mark.slow
def test_the_tool_finds_no_failure_in_all_its_phases(address, tmp_path):
    command = "from schemathesis.cli import schemathesis; schemathesis()"
    options = ["--max-examples", "100", "--exclude-checks", EXCLUDED, "--generation-database=none"]
    done = subprocess.run(
        [sys.executable, "-c", command, "run", f"{address}/openapi.json", *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # It leaves a folder of its own.
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
