"""Where servers listen, and who may talk to them."""

import socket

import pytest

from hematovision.errors import ListeningError
from hematovision.listening import host_names, listen, refused_request

HERE = host_names("127.0.0.1")
PROXY = host_names("127.0.0.1", ["blood.example.org"])


def test_a_taken_port_is_named_with_what_to_do():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ListeningError, match=rf"port {port}: .*in use.*--port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_computer_is_refused():
    with pytest.raises(ListeningError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_an_ipv6_address_is_listened_at():
    try:
        with listen("::1", 0) as found:
            assert found.family == socket.AF_INET6
    except ListeningError:
        pytest.skip("there is no IPv6 loopback here")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8501", "LOCALHOST:80", "127.0.0.1:8501", "[::1]:8501", "localhost."],
)
def test_this_computer_reaches_its_server_by_every_loopback_name(host: str):
    assert refused_request([host], [], HERE) is None
    assert refused_request([host], [f"http://{host}"], HERE) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8501",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost#evil.example",
        "localhost:port",
        "192.168.1.5:8501",
        "",
        "[::1",
    ],
)
def test_a_name_that_is_not_known_is_refused(host: str):
    problem = refused_request([host], [], HERE)
    assert problem is not None
    assert "--allowed-host" in problem
    assert "127.0.0.1, ::1, localhost" in problem


def test_one_host_is_needed():
    assert refused_request([], [], HERE)
    assert refused_request(["localhost", "localhost"], [], HERE)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost:3000",
        "http://localhost.evil.example:8501",
        "http://localhost:8501@evil.example",
        "ftp://localhost:8501",
        "localhost:8501",
    ],
)
def test_pages_of_other_sites_are_refused(origin: str):
    assert "Origin" in (refused_request(["localhost:8501"], [origin], HERE) or "")
    assert refused_request(["localhost:8501"], ["http://localhost:8501", origin], HERE)


def test_a_proxy_is_let_in_by_its_name_whatever_host_it_hands_on():
    for host in ("blood.example.org", "127.0.0.1:8501"):
        assert refused_request([host], ["https://blood.example.org"], PROXY) is None
        assert refused_request([host], ["https://blood.example.org:8443"], PROXY) is None
        assert refused_request([host], ["https://evil.example"], PROXY)
    assert refused_request(["blood.example.org"], [], HERE)


def test_a_server_that_listens_at_one_address_is_reached_by_it():
    names = host_names("192.168.1.5")
    assert refused_request(["192.168.1.5:8501"], ["http://192.168.1.5:8501"], names) is None
    assert refused_request(["192.168.1.6:8501"], [], names)


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_server_that_listens_at_all_addresses_is_reached_by_each_but_by_no_name(wildcard: str):
    names = host_names(wildcard)
    for host in ("192.168.1.5:8501", "[fe80::1]:8501", "localhost:8501"):
        assert refused_request([host], [f"http://{host}"], names) is None
        assert refused_request([host], ["http://192.0.2.1"], names)
    assert "any IP address" in (refused_request(["evil.example"], [], names) or "")
    assert refused_request(["1.2.3.4.evil.example"], [], names)


def test_names_are_compared_as_browsers_send_them():
    names = host_names("127.0.0.1", ["Blüte.example", "[FE80::1]"])
    assert refused_request(["xn--blte-1ra.example"], [], names) is None
    assert refused_request(["[fe80::1]:8501"], [], names) is None


@pytest.mark.parametrize("name", ["https://x.example", "x.example:80", "x.example/app", "", "a b"])
def test_what_is_not_a_plain_name_is_refused(name: str):
    with pytest.raises(ListeningError, match="plain name"):
        host_names("127.0.0.1", [name])


def test_what_others_sent_is_shown_shortened_and_without_control_characters():
    problem = refused_request(["\x1b[31m" + "a" * 500], [], HERE)
    assert problem is not None
    assert "\x1b" not in problem
    assert len(problem) < 400
