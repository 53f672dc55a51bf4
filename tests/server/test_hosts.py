"""By which host a service may be called, and from which page."""

import pytest

from colour_squares import COLOUR_MODEL
from hematovision.errors import RequestError
from hematovision.server.application import create_app
from hematovision.server.hosts import Hosts
from hematovision.server.settings import Settings
from server.conftest import asked


def checked(hosts: Hosts, host: str, *origins: str) -> str:
    headers = [(b"host", host.encode("latin-1"))]
    headers += [(b"origin", origin.encode()) for origin in origins]
    try:
        hosts.check({"type": "http", "http_version": "1.1", "headers": headers})
    except RequestError as error:
        return error.kind
    return "taken"


LOCAL = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:1", "127.9.9.9"]
LOCAL += ["[::1]", "[::1]:8000"]
ADDRESSES = ["192.168.1.5:8000", "[2001:db8::1]:80", "10.0.0.1"]
STRANGERS = ["evil.example", "evil.example:8000", "localhost.evil.example", "", "x@localhost"]
STRANGERS += ["127.0.0.1.evil.example", "localhost/evil", "localhost:port", "0x7f.1", "[::1"]
STRANGERS += ["a b", "\xe9"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_where_only_this_computer_reaches_it_only_its_own_names_are_taken(address):
    hosts = Hosts(address)
    assert [checked(hosts, host) for host in LOCAL] == ["taken"] * len(LOCAL)
    for host in [*STRANGERS, *ADDRESSES]:
        assert checked(hosts, host) == "forbidden", host


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "lab-server"])
def test_where_others_reach_it_any_address_is_taken_and_no_name(address):
    hosts = Hosts(address)
    assert [checked(hosts, host) for host in LOCAL + ADDRESSES] == ["taken"] * 11
    for host in STRANGERS:
        assert checked(hosts, host) == "forbidden", host
    assert (checked(hosts, "lab-server:8000") == "taken") is (address == "lab-server")


def test_a_name_that_is_allowed_is_taken_and_no_other():
    hosts = Hosts("127.0.0.1", ["Lab.Example.org"])
    assert checked(hosts, "lab.example.org") == "taken"
    assert checked(hosts, "LAB.example.org:443") == "taken"
    assert checked(hosts, "x.lab.example.org") == "forbidden"
    assert checked(hosts, "example.org") == "forbidden"


@pytest.mark.parametrize(
    ("host", "origin", "result"),
    [
        ("localhost:8000", "http://localhost:8000", "taken"),
        ("localhost", "http://localhost:80", "taken"),
        ("[::1]:8000", "http://[::1]:8000", "taken"),
        ("localhost:8000", "http://localhost:3000", "forbidden"),  # Another program's page.
        ("localhost:8000", "http://127.0.0.1:8000", "forbidden"),
        ("localhost:8000", "https://evil.example", "forbidden"),
        ("127.0.0.1:8000", "null", "forbidden"),
        ("127.0.0.1:8000", "", "forbidden"),
        ("127.0.0.1:8000", "file://127.0.0.1:8000", "forbidden"),
        ("127.0.0.1:8000", "https://lab.example.org", "taken"),  # A proxy that keeps no Host.
        ("lab.example.org", "https://lab.example.org", "taken"),
        ("lab.example.org", "https://evil.example", "forbidden"),
    ],
)
def test_pages_of_other_hosts_are_refused(host, origin, result):
    assert checked(Hosts("127.0.0.1", ["lab.example.org"]), host, origin) == result


def test_a_request_has_one_host_unless_it_is_very_old():
    hosts = Hosts("127.0.0.1")
    with pytest.raises(RequestError, match="Received: 0"):
        hosts.check({"type": "http", "http_version": "1.1", "headers": []})
    twice = [(b"host", b"localhost"), (b"host", b"evil.example")]
    with pytest.raises(RequestError, match="Received: 2"):
        hosts.check({"type": "http", "http_version": "1.1", "headers": twice})
    hosts.check({"type": "http", "http_version": "1.0", "headers": []})


def test_a_rebound_name_reaches_nothing_and_is_told_how_to_be_allowed(cell):
    settings = Settings(models=(COLOUR_MODEL,), threads=1, allowed_hosts=("lab.example.org",))
    with asked(create_app(settings)) as client:
        for path in ("/v2/health/live", "/v1/models", "/docs", "/metrics", "/v2"):
            answer = client.get(path, headers={"Host": "evil.example:8000"})
            assert answer.status_code == 403
            assert "--allowed-host evil.example" in answer.json()["error"]
            assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
            assert client.get(path, headers={"Host": "lab.example.org"}).status_code == 200
        files = [("files", ("a.png", cell))]
        foreign = {"Origin": "http://evil.example"}
        assert client.post("/v1/classify", files=files, headers=foreign).status_code == 403
        own = {"Origin": "http://127.0.0.1:8000"}
        assert client.post("/v1/classify", files=files, headers=own).status_code == 200
        assert 'reason="forbidden"} 6.0' in client.get("/metrics").text
