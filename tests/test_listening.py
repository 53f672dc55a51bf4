"""The addresses servers listen on, and the hosts and origins they accept."""

import socket

import pytest

from hematovision.errors import ListeningError
from hematovision.listening import Hosts, listen, url_of

HERE = Hosts("127.0.0.1")
PROXY = Hosts("127.0.0.1", ["Blood.example.org"])

LOOPBACK = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:1", "127.9.9.9"]
LOOPBACK += ["[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]"]
ADDRESSES = ["192.168.1.5:8000", "[2001:db8::1]:80", "[fe80::1]", "10.0.0.1"]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "", "x@localhost"]
FOREIGN += ["127.0.0.1.evil.example", "localhost/evil", "localhost:port", "0x7f.1", "[::1"]
FOREIGN += ["localhost@evil.example", "localhost#evil", "local\thost", "a b", "\xe9"]


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_named_with_advice(address: str):
    with listen(address, 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ListeningError, match=rf"Port {port} of {address} is in use.*--port"):
            listen(address, port)


@pytest.mark.parametrize("address", ["192.0.2.1", "a..b", "no such host"])
def test_an_address_of_another_computer_is_rejected(address: str):
    with pytest.raises(ListeningError, match=rf"'{address}' is not an address.*--address 127"):
        listen(address, 0)


def test_responses_are_sent_at_once():
    """asyncio disables Nagle's algorithm only if the socket's protocol is set."""
    with listen("127.0.0.1", 0) as opened:
        assert opened.proto == socket.IPPROTO_TCP


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_an_ipv6_address_is_supported():
    try:
        opened = listen("::1", 0)
    except ListeningError:
        pytest.skip("there is no IPv6 loopback here")
    with opened:
        assert opened.family == socket.AF_INET6


def test_a_port_that_was_used_a_moment_ago_is_free():
    port = 0
    for _ in range(2):
        with listen("127.0.0.1", port) as opened:
            port = opened.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as caller:
                opened.settimeout(5)
                accepted, _ = opened.accept()
                accepted.close()
                assert caller.recv(1) == b""


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("lab-server", "http://lab-server:8000"),
    ],
)
def test_the_url_works_in_a_browser_on_this_computer(address: str, url: str):
    assert url_of(address, 8000) == url


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_on_the_loopback_address_only_local_names_are_accepted(address: str):
    hosts = Hosts(address)
    for host in LOOPBACK:
        assert hosts.problem([host], []) is None, host
        assert hosts.problem([host], [f"http://{host}"]) is None, host
    for host in [*FOREIGN, *ADDRESSES]:
        assert "Host" in (hosts.problem([host], []) or ""), host


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "lab-server"])
def test_on_other_addresses_any_address_is_accepted_and_no_name(address: str):
    hosts = Hosts(address)
    for host in LOOPBACK + ADDRESSES:
        assert hosts.problem([host], [f"http://{host}"]) is None, host
        assert hosts.problem([host], ["http://192.0.2.1"]), host
    for host in [*FOREIGN, "1.2.3.4.evil.example"]:
        assert "any IP address" in (hosts.problem([host], []) or ""), host
    assert (hosts.problem(["lab-server:8000"], []) is None) is (address == "lab-server")


def test_only_allowed_names_are_accepted():
    assert PROXY.problem(["blood.example.org"], []) is None
    assert PROXY.problem(["BLOOD.example.org:443"], []) is None
    assert PROXY.problem(["x.blood.example.org"], [])
    assert PROXY.problem(["example.org"], [])
    assert HERE.problem(["blood.example.org"], [])


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "http://localhost:80"),
        ("localhost:443", "https://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("127.0.0.1:8000", "https://blood.example.org"),  # A proxy that keeps no Host.
        ("blood.example.org", "https://blood.example.org"),
        ("blood.example.org", "https://blood.example.org:8443"),
    ],
)
def test_pages_of_this_server_and_of_allowed_names_are_accepted(host: str, origin: str):
    assert PROXY.problem([host], [origin]) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",  # Another program's page.
        "http://127.0.0.1:8000",
        "https://localhost",
        "https://evil.example",
        "http://localhost.evil.example:8000",
        "http://localhost:8000@evil.example",
        "ftp://localhost:8000",
        "file://localhost:8000",
        "ftp://blood.example.org",
        "localhost:8000",
        "null",
        "",
    ],
)
def test_pages_of_other_sites_are_rejected(origin: str):
    own = "http://localhost:8000"
    assert PROXY.problem(["localhost:8000"], [own]) is None
    assert "Origin" in (PROXY.problem(["localhost:8000"], [origin]) or "")
    assert "Origin" in (PROXY.problem(["localhost:8000"], [own, origin]) or "")


def test_a_request_has_one_host():
    assert "Received: 0" in (HERE.problem([], []) or "")
    assert "Received: 2" in (HERE.problem(["localhost", "localhost"], []) or "")


def test_names_are_compared_as_browsers_send_them():
    hosts = Hosts("127.0.0.1", ["Bl\xfcte.example", "[FE80::1]"])
    assert hosts.problem(["xn--blte-1ra.example"], []) is None
    assert hosts.problem(["[fe80::1]:8501"], []) is None


@pytest.mark.parametrize(
    "name", ["https://x.example", "x.example:80", "x.example/app", "", "a b", "a..b", "*"]
)
def test_an_allowed_host_is_a_plain_name(name: str):
    with pytest.raises(ListeningError, match=r"plain name .*Received: "):
        Hosts("127.0.0.1", [name])


def test_messages_state_the_received_header_and_advice():
    problem = HERE.problem(["evil.example:8000"], [])
    assert problem is not None
    assert "'evil.example:8000'" in problem
    assert "127.0.0.1, ::1, localhost, any loopback address" in problem
    assert problem.endswith("--allowed-host evil.example.")
    assert "--allowed-host NAME" in (HERE.problem(["x@localhost"], []) or "")


def test_received_headers_are_shown_shortened_and_without_control_characters():
    problem = HERE.problem(["\x1b[31m" + "a" * 500], [])
    assert problem is not None
    assert "\x1b" not in problem
    assert len(problem) < 400
    assert len(HERE.problem(["a" * 500], []) or "") < 500
