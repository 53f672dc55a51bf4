"""A PostgreSQL server on loopback for tests and benchmarks, gone when the block ends."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

USER = "hematovision"


class NoServerError(Exception):
    """PostgreSQL cannot be started here, for the reason in the message."""


def find_programs() -> Path:
    """The folder with `initdb` and `postgres`, from the PATH or from where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found and shutil.which("postgres") else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServerError(
        "PostgreSQL is not installed (on Debian and Ubuntu: apt install postgresql)"
    )


def as_whom() -> dict[str, Any]:
    """Arguments of `subprocess` by which root becomes `postgres`: the server refuses root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd

    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        raise NoServerError("PostgreSQL does not run as root, and has no user postgres") from None
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextmanager
def postgresql(*, safe: bool = False) -> Iterator[str]:
    """Start a server, and yield the URL of its first database, with a password.

    Parameters
    ----------
    safe : bool
        Write to disk as a real server does; tests do without, in memory where the system lets them.
    """
    programs, whom = find_programs(), as_whom()
    memory = None if safe or not os.access("/dev/shm", os.W_OK) else "/dev/shm"
    folder = Path(tempfile.mkdtemp(prefix="hematovision-postgresql-", dir=memory))
    try:
        if whom:
            os.chown(folder, whom["user"], whom["group"])
        password = secrets.token_hex(8)
        make_cluster(programs, folder, password, whom)
        with running(programs, folder, whom, safe=safe) as port:
            url = f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
            wait_for(url)
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_cluster(programs: Path, folder: Path, password: str, whom: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.write_text(password)
    if whom:
        os.chown(secret, whom["user"], whom["group"])
    command = [programs / "initdb", "--pgdata", folder / "data", f"--pwfile={secret}", "--no-sync"]
    command += ["--auth=scram-sha-256", f"--username={USER}", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **whom)
    if done.returncode:
        raise NoServerError(f"initdb failed: {done.stderr[-500:]}")


@contextmanager
def running(programs: Path, folder: Path, whom: dict[str, Any], *, safe: bool) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=50"]
    settings += [] if safe else ["fsync=off", "full_page_writes=off"]
    command = [programs / "postgres", "-D", folder / "data", "-p", str(port)]
    command += [part for setting in settings for part in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **whom)
    try:
        yield port
    finally:
        # End sessions, and write what is to be written; or stop at once.
        server.send_signal(signal.SIGINT if safe else signal.SIGQUIT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(url: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
            return
        if time.monotonic() > until:
            raise NoServerError(f"PostgreSQL did not start within {seconds:.0f} s")
        time.sleep(0.05)
