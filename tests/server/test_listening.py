"""The socket of the service, and how many connections the process can hold."""

import socket

import pytest

from hematovision.errors import AddressError
from hematovision.server.listening import affordable, listening
from server.conftest import free_port


def test_answers_are_sent_at_once():
    """asyncio turns the waiting for the other side's word off only where the protocol is named."""
    with listening("127.0.0.1", 0) as opened:
        assert opened.proto == socket.IPPROTO_TCP


@pytest.mark.skipif(not socket.has_ipv6, reason="this computer has no IPv6")
def test_it_listens_on_ipv6_too():
    try:
        opened = listening("::1", 0)
    except AddressError:
        pytest.skip("this computer has no IPv6")
    with opened:
        assert opened.family == socket.AF_INET6


def test_a_taken_port_names_itself_and_what_to_do():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(AddressError, match=f"Port {taken.getsockname()[1]} .* in use .*--port"),
    ):
        listening("127.0.0.1", taken.getsockname()[1])


def test_a_port_that_was_used_a_moment_ago_is_free():
    port = free_port()
    for _ in range(2):
        with listening("127.0.0.1", port) as opened:
            opened.listen()
            with socket.create_connection(("127.0.0.1", port)) as caller:
                opened.settimeout(5)
                accepted, _ = opened.accept()
                accepted.close()
                assert caller.recv(1) == b""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "found"),
    [
        (1024, 1024, 1000, 924),
        (256, 1024, 1000, 924),  # As on macOS; the soft limit is raised.
        (256, -1, 1000, 1000),
        (-1, -1, 1000, 1000),
        (20000, 20000, 1000, 1000),
        (50, 50, 1000, 1),
    ],
)
def test_connections_stay_below_the_limit_on_open_files(monkeypatch, soft, hard, wanted, found):
    resource = pytest.importorskip("resource")
    limits = [resource.RLIM_INFINITY if one == -1 else one for one in (soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.__setitem__(0, given[0]))
    assert affordable(wanted) == found


def test_a_limit_that_cannot_be_raised_is_kept_to(monkeypatch):
    resource = pytest.importorskip("resource")

    def refuse(*_):
        raise ValueError("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert affordable(1000) == 156
