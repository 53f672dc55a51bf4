"""The Dockerfile's commands, run in a folder, install a server that becomes ready."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "Dockerfile"


class Step(NamedTuple):
    stage: int
    word: str
    rest: str


def steps() -> list[Step]:
    """The instructions, each with the number of its stage."""
    found: list[Step] = []
    stage = -1
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            stage += word == "FROM"
            found.append(Step(stage, word, rest))
    return found


def last(word: str) -> str:
    return next(step.rest for step in reversed(steps()) if step.word == word)


def sent() -> list[str]:
    """What .dockerignore leaves of the repository: it begins by leaving out all."""
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    assert lines[-1] == "**/__pycache__"
    return [line.removeprefix("!") for line in lines[1:-1]]


def test_the_service_does_not_run_as_root_nor_behind_a_shell():
    user = last("USER").partition(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    assert json.loads(last("CMD"))[:2] == ["hematovision", "serve"]
    stages = [step.rest.split()[0] for step in steps() if step.word == "FROM"]
    assert all(image.endswith("-slim") for image in stages)


def test_every_package_from_an_index_is_held_by_its_hash():
    installs = [step.rest for step in steps() if step.word == "RUN" and " install " in step.rest]
    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes" in line or "--no-deps dist/" in line


def test_what_is_copied_is_sent_to_the_builder_and_there():
    copied = [step.rest.split()[:-1] for step in steps() if step.word == "COPY"]
    names = [name for one in copied if not one[0].startswith("--") for name in one]
    assert {name.partition("/")[0] for name in names} == set(sent())
    assert all((ROOT / name).exists() for name in names)


def test_the_health_check_asks_whether_it_is_ready():
    rest = last("HEALTHCHECK")
    command = json.loads(rest[rest.index("CMD ") + 4 :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/v2/health/ready" in command[2]
    assert f"{last('EXPOSE')}, timeout" in command[2]
    assert json.loads(last("CMD"))[-2:] == ["--port", last("EXPOSE")]


class Image:
    """A stage of a build as a folder; the interpreter of the base image is a fresh environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home
        venv.create(home / "base", with_pip=True)
        self.context = home / "context"
        for name in sent():
            source, target = ROOT / name, self.context / name
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def local(self, text: str) -> str:
        """Put the folders of the image below ours."""
        return re.sub(r"(?<!\w)/(venv|build)\b", rf"{self.home}/\1", text)

    def environment(self, programs: str) -> dict[str, str]:
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        return outside | {"PATH": f"{self.home}/{programs}/bin:{os.environ['PATH']}"}

    def do(self, step: Step) -> None:
        if step.word == "WORKDIR":
            self.folder = Path(self.local(step.rest))
            self.folder.mkdir()
        elif step.word == "COPY":
            *names, target = step.rest.split()
            for name in names:
                source, there = self.context / name, self.folder / target
                if source.is_dir():
                    shutil.copytree(source, there, dirs_exist_ok=True)
                else:
                    there.mkdir(exist_ok=True)
                    shutil.copy(source, there)
        elif step.word == "RUN":
            done = subprocess.run(
                ["/bin/sh", "-c", self.local(step.rest)],
                cwd=self.folder,
                env=self.environment("base"),
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{step.rest}\n{done.stdout}\n{done.stderr}"


def need_index(home: Path) -> None:
    """Skip if no package index provides the first requirement."""
    first = (ROOT / "requirements" / "serve.txt").read_text(encoding="utf-8").partition("==")[0]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1"]
    if subprocess.run([*pip, "--dest", home / "probe", first], capture_output=True).returncode:
        pytest.skip(f"no package index can be reached: pip cannot get {first}")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    home = tmp_path_factory.mktemp("container")
    need_index(home)
    made = Image(home)
    for step in steps():
        if step.stage == 0:
            made.do(step)
    return made


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def status(port: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.install
@pytest.mark.skipif(os.name == "nt", reason="the lines of a Dockerfile are for a Unix shell")
def test_its_lines_install_a_service_that_becomes_ready_and_ends_well(image: Image):
    port = free_port()
    command = [port if part == last("EXPOSE") else part for part in json.loads(last("CMD"))]
    command = ["127.0.0.1" if part == "0.0.0.0" else part for part in command]
    inside = {"env": image.environment("venv"), "cwd": image.home}
    assert not (image.home / "venv" / "bin" / "pip").exists()
    with subprocess.Popen(
        [image.home / "venv" / "bin" / command[0], *command[1:]], stderr=subprocess.PIPE, **inside
    ) as service:
        try:
            until = time.monotonic() + 30
            while status(port) != 200 and time.monotonic() < until and service.poll() is None:
                time.sleep(0.05)
            check = last("HEALTHCHECK").partition("CMD ")[2].replace(last("EXPOSE"), port)
            healthy = subprocess.run(json.loads(check), capture_output=True, text=True, **inside)
            assert healthy.returncode == 0, healthy.stderr
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(20) == 0, service.stderr.read()
    sick = subprocess.run(json.loads(check), capture_output=True, **inside)
    assert sick.returncode == 1  # the server is gone
