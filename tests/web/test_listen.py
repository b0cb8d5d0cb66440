import socket

import pytest

from r2p_edge.errors import UsageError
from r2p_edge.web.listen import parse_listen


@pytest.mark.parametrize(
    ("text", "host", "address", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1", 8080),
        ("localhost:0", "localhost", "127.0.0.1", 0),
        ("[::1]:80", "::1", "::1", 80),
        ("0.0.0.0:65535", "0.0.0.0", "0.0.0.0", 65535),
    ],
)
def test_an_address_is_read(text, host, address, port):
    listen = parse_listen(text)
    assert (listen.host, listen.address, listen.port) == (host, address, port)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8080", "give HOST:PORT"),
        (":8080", "give HOST:PORT"),
        ("127.0.0.1:", "give HOST:PORT"),
        ("127.0.0.1:http", "give HOST:PORT"),
        ("::1:8080", r"give HOST:PORT, .* brackets around a host with colons, as in \[::1\]:8080"),
        ("", "'' is no address"),
        ("[127.0.0.1]:80", "give HOST:PORT"),
        ("127.0.0.1:65536", "above 65535"),
        ("no.such.host.invalid:80", "knows no host"),
        ("a" * 70 + ".example:80", "knows no host"),
    ],
)
def test_what_is_no_address_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "loopback", "everywhere"),
    [
        ("127.0.0.1:1", True, False),
        ("127.9.9.9:1", True, False),
        ("localhost:1", True, False),
        ("[::1]:1", True, False),
        ("0.0.0.0:1", False, True),
        ("[::]:1", False, True),
        ("192.0.2.7:1", False, False),
    ],
)
def test_who_can_connect_follows_from_the_number(text, loopback, everywhere):
    listen = parse_listen(text)
    assert (listen.loopback, listen.everywhere) == (loopback, everywhere)


OWN = ["localhost", "localhost:9", "127.0.0.1", "127.0.0.1:8080", "[::1]:1", "LOCALHOST."]
OTHERS = ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"]
MALFORMED = ["", "a b", "localhost:", "localhost:x", "::1", "[::1", "user@localhost", "localhost/"]


def test_a_loopback_address_answers_to_its_own_names_alone():
    listen = parse_listen("127.0.0.1:8080")
    assert all(map(listen.allows, OWN))
    assert not any(map(listen.allows, [*OTHERS, *MALFORMED, "192.0.2.7", socket.gethostname()]))


def test_a_name_that_was_listened_on_is_answered_to(monkeypatch):
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    listen = parse_listen("box.example:80")
    assert listen.allows("Box.example:8080")
    assert listen.allows("192.0.2.7")
    assert not listen.allows("192.0.2.8")
    assert not listen.allows("evil.example")


def test_all_networks_are_answered_by_number_and_by_the_name_of_the_machine(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Box")
    listen = parse_listen("0.0.0.0:80")
    assert all(map(listen.allows, [*OWN, "192.0.2.7:80", "[2001:db8::1]", "box", "box.local:80"]))
    assert not any(map(listen.allows, [*OTHERS, *MALFORMED, "boxes", "my.box"]))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:7/"),
        ("[::1]:0", "http://[::1]:7/"),
        ("0.0.0.0:0", "http://box:7/"),
    ],
)
def test_the_address_of_the_page_can_be_opened(text, url, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    assert parse_listen(text).url("http", 7) == url
