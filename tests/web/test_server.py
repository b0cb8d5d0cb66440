import errno
import http.client
import logging
import os
import socket
import threading

import pytest
from live import Clock
from web import ask, say, serving_routes

from r2p_edge.errors import UsageError
from r2p_edge.web.listen import parse_listen
from r2p_edge.web.request import HttpError, Route
from r2p_edge.web.server import WebServer

TOKEN = "correct-horse-battery-staple"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


def test_an_answer_and_its_headers():
    with serving_routes(root="hello") as server:
        status, headers, body = ask(server)
    assert (status, body) == (200, b"hello")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert "Python" not in headers["Server"]


def test_a_connection_is_used_again():
    with serving_routes(root="hello") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
        assert server.open_connections == 1
        connection.close()


def test_head_has_no_body():
    with serving_routes(root="hello") as server:
        status, headers, body = ask(server, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "5", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_only_get_and_head(method):
    with serving_routes(root="hello") as server:
        status, headers, _ = ask(server, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert ask(server, "/other", method=method)[0] == 404


def test_paths_and_queries_reach_the_route():
    seen = []

    def note(request):
        seen.append((request.path, dict(request.query)))
        request.reply_json({"é": 1})

    with serving_routes(**{"a b": note}) as server:
        assert ask(server, "/a%20b?x=1&y=%26&x=2&z")[2] == rb'{"\u00e9": 1}'
    assert seen == [("/a b", {"x": "2", "y": "&", "z": ""})]


# Requests, and the status of the answer to each.
MALFORMED = [
    (b"\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"POST /\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/x\r\n\r\n", 400),
    (b"GET / FTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1 more\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # of TLS
    (b"\xff\xfe \xfd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (GET + b"Host: localhost\r\n\r\n", 400),
    (GET + b"no colon\r\n\r\n", 400),
    (GET + b"Content-Length: x\r\n\r\n", 400),
    (GET + b"Content-Length: -1\r\n\r\n", 400),
    (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (GET + b"X: y\r\n" * 200 + b"\r\n", 431),
    (GET + b"X: " + b"y" * 70000 + b"\r\n\r\n", 431),
    (b"GET /" + b"y" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
    (GET.replace(b"/ ", b"/?" + b"a=1&" * 40 + b" ", 1) + b"\r\n", 400),
    (GET.replace(b"/ ", b"http://[ ", 1) + b"\r\n", 400),
]


@pytest.mark.parametrize(("text", "status"), MALFORMED)
def test_what_is_malformed_is_told_so(text, status):
    with serving_routes(root="hello") as server:
        answer = say(server, text)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


def test_a_body_that_nobody_wants_is_no_second_request():
    with serving_routes(root="hello") as server:
        body = b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = say(server, GET + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"200 OK" in answer


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:80", 200), ("evil.example", 421), ("192.0.2.7", 421)],
)
def test_the_header_host_is_checked(host, status):
    with serving_routes(root="hello") as server:
        assert ask(server, Host=host)[0] == status


class TestToken:
    """A server that has one."""

    @pytest.fixture
    def server(self):
        open_route = Route(lambda request: request.reply("open"), open=True)
        post = Route(lambda request: request.reply("posted"), ("POST",))
        with serving_routes(token=TOKEN, root="hello", open=open_route, post=post) as server:
            yield server

    @pytest.mark.parametrize(
        "path", ["/", "/?token=wrong", "/?token=", "/absent", f"/?token={TOKEN}x", "/post"]
    )
    def test_without_it_nothing_is_answered(self, server, path):
        status, headers, body = ask(server, path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert b"hello" not in body
        assert TOKEN.encode() not in body
        assert "Set-Cookie" not in headers

    def test_a_wrong_one_beside_a_right_cookie_is_wrong(self, server):
        cookie = ask(server, f"/?token={TOKEN}")[1]["Set-Cookie"].split(";")[0]
        assert ask(server, "/", Cookie=cookie)[0] == 200
        assert ask(server, "/?token=wrong", Cookie=cookie)[0] == 401

    def test_the_address_is_exchanged_for_a_cookie(self, server):
        status, headers, body = ask(server, f"/?a=b+c&token={TOKEN}")
        assert (status, headers["Location"], body) == (303, "/?a=b+c", b"")
        cookie = headers["Set-Cookie"].split(";")[0]
        assert ask(server, headers["Location"], Cookie=cookie)[2] == b"hello"

    def test_the_redirection_stays_here(self, server):
        for path in (f"//evil.example/?token={TOKEN}", f"/%0d%0aX:%20y?token={TOKEN}"):
            status, headers, _ = ask(server, path)
            assert status == 303
            assert headers["Location"].startswith("/")
            assert not headers["Location"].startswith("//")
            assert "X" not in headers

    def test_programs_send_a_header(self, server):
        assert ask(server, Authorization=f"Bearer {TOKEN}")[2] == b"hello"
        assert ask(server, Authorization="Bearer wrong")[0] == 401

    def test_a_browser_gets_a_page_that_leads_on(self, server):
        """Through a link in a message, a browser sends no cookie before the next click."""
        _, headers, body = ask(server, Accept="text/html,*/*")
        assert headers["Content-Type"].startswith("text/html")
        assert b'<a href="/">' in body

    def test_what_is_open_needs_none(self, server):
        assert ask(server, "/open")[2] == b"open"

    def test_a_change_needs_the_header(self, server):
        """A browser sends its cookie also for the form of another site on the same machine."""
        cookie = ask(server, f"/?token={TOKEN}")[1]["Set-Cookie"].split(";")[0]
        assert ask(server, "/post", method="POST", Cookie=cookie)[0] == 401
        assert ask(server, f"/post?token={TOKEN}", method="POST")[0] == 401
        assert ask(server, "/post", method="POST", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_another_site_may_change_nothing():
    post = Route(lambda request: request.reply("posted"), ("POST",))
    with serving_routes(post=post) as server:
        own = f"127.0.0.1:{server.port}"
        assert ask(server, "/post", "POST", Origin="http://evil.example")[0] == 403
        assert ask(server, "/post", "POST", Origin="null")[0] == 403
        assert ask(server, "/post", "POST", Origin=f"http://{own}")[0] == 200
        assert ask(server, "/post", "POST")[0] == 200


class TestBody:
    """Routes that read one."""

    @pytest.fixture
    def server(self):
        echo = Route(lambda request: request.reply(request.body(1000)), ("POST",))
        with serving_routes(echo=echo) as server:
            yield server

    def test_it_is_read(self, server):
        assert ask(server, "/echo", "POST", body=b"x" * 1000)[2] == b"x" * 1000
        assert ask(server, "/echo", "POST", body=b"")[2] == b""

    def test_one_that_is_too_long_is_refused_and_the_refusal_arrives(self, server):
        status, _, body = ask(server, "/echo", "POST", body=b"x" * 2_000_000)
        assert status == 413
        assert b"2000000 bytes; at most 1000" in body

    def test_the_length_has_to_be_known(self, server):
        assert ask(server, "/echo", "POST", body=iter([b"x"]))[0] == 411

    def test_it_is_asked_for_once_it_is_allowed(self, server):
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(head + b"Content-Length: 2\r\n\r\n")
            assert client.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"ab")
            assert client.recv(9999).endswith(b"ab")
        assert say(server, head + b"Content-Length: 2000\r\n\r\n").startswith(b"HTTP/1.1 413 ")

    def test_a_client_that_leaves_in_the_middle_is_no_fault(self, server, caplog):
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        with (
            caplog.at_level(logging.INFO),
            socket.create_connection(("127.0.0.1", server.port)) as client,
        ):
            client.sendall(head + b"1234")
        assert ask(server, "/echo", "POST", body=b"x")[2] == b"x"
        assert not caplog.records


def test_the_errors_of_a_route():
    def teapot(request):
        raise HttpError(418, "it is a teapot", X_Pot="tea")

    with serving_routes(teapot=teapot) as server:
        status, headers, body = ask(server, "/teapot")
    assert (status, headers["X-Pot"], body) == (418, "tea", b"it is a teapot\n")


@pytest.mark.parametrize("error", [KeyError, FileNotFoundError, RuntimeError])
def test_a_fault_is_logged_and_not_shown(caplog, error):
    def broken(request):
        raise error("secret")

    with serving_routes(broken=broken) as server:
        status, _, body = ask(server, f"/broken?token={TOKEN}")
    assert status == 500
    assert b"secret" not in body
    (record,) = caplog.records
    assert "/broken" in record.getMessage()
    assert TOKEN not in caplog.text


def test_a_fault_in_the_middle_of_a_stream_ends_it(caplog):
    def broken(request):
        request.begin_stream("text/plain")
        request.send(b"part")
        raise KeyError

    with serving_routes(broken=broken) as server:
        assert ask(server, "/broken")[2] == b"part"


class TestStream:
    """Answers without an end."""

    @pytest.fixture
    def counting(self):
        """A server that sends numbers until the client leaves, and the event of that."""
        left = threading.Event()

        def count(request):
            if request.begin_stream("text/plain"):
                try:
                    while not request.stopping.is_set():
                        request.send(b"1" * 100)
                finally:
                    left.set()

        with serving_routes(count=count, root="hello") as server:
            yield server, left

    def test_it_goes_on_until_the_client_leaves(self, counting, capfd, caplog):
        server, left = counting
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(GET.replace(b"/ ", b"/count ") + b"\r\n")
            while client.recv(4096).count(b"1") < 1000:
                pass
        assert left.wait(10)
        assert capfd.readouterr() == ("", "")
        assert not caplog.records

    def test_head_gives_its_head(self, counting):
        assert ask(counting[0], "/count", "HEAD")[0] == 200

    def test_the_end_of_the_server_ends_it(self, counting):
        server, left = counting
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(GET.replace(b"/ ", b"/count ") + b"\r\n")
            assert client.recv(10)
            server.stop()
            assert left.wait(10)
        assert server.open_connections == 0


class TestLimit:
    """A server that has one, with a clock that a test moves."""

    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def server(self, clock):
        with serving_routes(limit=4, clock=clock, root="hello") as server:
            yield server

    @pytest.fixture
    def connect(self, server):
        """Makes connections that say nothing."""
        made = []

        def connect(count):
            made.extend(socket.create_connection(("127.0.0.1", server.port)) for _ in range(count))
            while server.open_connections < count:
                pass

        yield connect
        for each in made:
            each.close()

    def test_one_too_many_is_told_so(self, server, connect):
        connect(4)
        status, headers, _ = ask(server)
        assert (status, headers["Retry-After"]) == (503, "2")

    def test_one_that_says_nothing_gives_way(self, server, connect, clock):
        connect(4)
        clock.now = 5.0
        assert ask(server)[2] == b"hello"

    def test_those_that_are_many_too_many_are_dropped(self, server, connect):
        connect(6)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            ask(server)


def test_it_can_be_stopped_at_any_time(caplog):
    before = threading.active_count()
    WebServer(parse_listen("127.0.0.1:0"), lambda path: None).stop()
    with serving_routes(root="hello") as server:
        with socket.create_connection(("127.0.0.1", server.port)):
            assert ask(server)[0] == 200
            server.stop()
            server.stop()
        with pytest.raises(ConnectionRefusedError):
            ask(server)
    assert threading.active_count() == before
    assert not caplog.records


def test_its_port_can_be_had_again_at_once():
    with serving_routes(root="hello") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/")
        connection.getresponse().read()
    with serving_routes(f"127.0.0.1:{server.port}", root="again") as again:
        assert ask(again)[2] == b"again"
    connection.close()


@pytest.mark.parametrize(
    ("listen", "message"),
    [("192.0.2.7:0", "not an address of this machine"), ("0.0.0.0:0", "there is no token")],
)
def test_where_it_cannot_listen_is_one_sentence(listen, message):
    with pytest.raises(UsageError, match=message):
        WebServer(parse_listen(listen), lambda path: None, token=TOKEN if "192" in listen else None)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EACCES, r"may not listen on 127\.0\.0\.1:80 .*; choose a port above 1023"),
        (errno.EINVAL, r"127\.0\.0\.1:80 is not an address of this machine \(Invalid argument\)"),
    ],
)
def test_why_the_system_refuses(monkeypatch, code, message):
    class Refused(socket.socket):
        def bind(self, address):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket, "socket", Refused)
    with pytest.raises(UsageError, match=message):
        WebServer(parse_listen("127.0.0.1:80"), lambda path: None)


def test_a_port_in_use_is_one_sentence():
    with (
        serving_routes(root="hello") as server,
        pytest.raises(UsageError, match=rf"another program listens on 127.0.0.1:{server.port}"),
    ):
        WebServer(parse_listen(f"127.0.0.1:{server.port}"), lambda path: None)


def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    try:
        with serving_routes("[::1]:0", root="hello") as server:
            connection = http.client.HTTPConnection("::1", server.port)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
            connection.close()
    except UsageError:
        pytest.skip("this machine has no IPv6")
