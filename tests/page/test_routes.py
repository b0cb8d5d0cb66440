import contextlib
import http.client
import json
import re
import socket
import time

import pytest
from feeding import decoded_jpeg, event, level_of, live_answer, page_of
from live import Clock
from requirements import needs
from web import ask, say

from r2p_edge.page.board import Board
from r2p_edge.page.serve import serve_page

TOKEN = "correct-horse-battery-staple"
PATHS = ["/", "/page.js", "/page.css", "/icon.svg", "/next", "/frame.jpg", "/stream.mjpg"]
PATHS += ["/events", "/answers", "/metrics"]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def page(clock):
    """A board of one source, which is live, and its server."""
    with page_of("door", about={"model": "net"}, clock=clock) as (board, server):
        board.frame("door", level_of(100), 1e9)
        yield board, server


def told(headers):
    text = headers["X-R2P"]
    assert text.isascii()
    return json.loads(text)


def read_next(server, path):
    """Return the state and the pictures of all sources."""
    status, headers, body = ask(server, path)
    assert status == 200
    length = told(headers)["bytes"]
    state, pictures, start = json.loads(body[:length]), [], length
    for row in state["sources"]:
        pictures.append(body[start : start + row["bytes"]])
        start += row["bytes"]
    assert start == len(body)
    return state, pictures


def test_the_page_has_nothing_inline(page):
    _, server = page
    status, headers, body = ask(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = body.decode()
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    assert scripts == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?:", text)
    for name, kind in (("page.js", "javascript"), ("page.css", "css"), ("icon.svg", "svg")):
        assert f'"/{name}"' in text
        status, headers, _ = ask(server, f"/{name}")
        assert status == 200
        assert kind in headers["Content-Type"]


def test_the_script_puts_no_text_into_markup(page):
    script = ask(page[1], "/page.js")[2].decode()
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", script)


def test_the_next_picture_of_a_source(page):
    board, server = page
    board.answer("door", live_answer("é \u2028"[:1], labels=("é", "b")))
    status, headers, body = ask(server, "/next?source=door&after=0")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert decoded_jpeg(body).mean() == pytest.approx(100, abs=2)
    state = told(headers)
    (row,) = state["sources"]
    assert (row["name"], row["state"], row["answer"]["label"]) == ("door", "live", "é")
    assert row["bytes"] == len(body)
    board.answer("door", live_answer())
    status, headers, body = ask(server, f"/next?source=door&after={state['n']}")
    assert (status, body) == (204, b"")  # the picture is the same
    assert told(headers)["sources"][0]["answer"]["label"] == "run"


def test_nothing_new_is_said_after_a_while(page):
    board, server = page
    status, headers, _ = ask(server, f"/next?source=door&after={board.newest}")
    assert status == 204
    assert told(headers)["n"] == board.newest


def test_the_next_of_all_sources():
    with page_of("door", "yard", "cellar") as (board, server):
        board.frame("door", level_of(40), 0)
        board.frame("cellar", level_of(200), 0)
        state, pictures = read_next(server, "/next?after=0")
        assert [row["name"] for row in state["sources"]] == ["door", "yard", "cellar"]
        assert [bool(picture) for picture in pictures] == [True, False, True]
        assert decoded_jpeg(pictures[2]).mean() == pytest.approx(200, abs=2)
        board.event(event(1))
        again, pictures = read_next(server, f"/next?after={state['n']}")
        assert (again["event"], pictures) == (1, [b""] * 3)


def test_a_number_of_another_run_is_taken_for_none(page):
    board, server = page
    state, pictures = read_next(server, f"/next?after={board.newest + 1000}")
    assert state["run"] == board.events.run
    assert pictures[0]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "²", "9" * 30])
def test_a_number_that_is_none_is_refused(page, value):
    quoted = "%C2%B2" if value == "²" else value
    assert ask(page[1], f"/next?after={quoted}")[0] == 400


def test_the_newest_picture(page):
    _, server = page
    ask(server, "/next?source=door")  # somebody looks already, so that no other frame is waited for
    status, headers, body = ask(server, "/frame.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert decoded_jpeg(body).mean() == pytest.approx(100, abs=2)
    assert told(headers)["sources"][0]["name"] == "door"
    status, headers, body = ask(server, "/frame.jpg?source=door", method="HEAD")
    assert (status, body) == (200, b"")


def test_which_source_is_asked_for():
    with page_of("door", "yard") as (_, server):
        assert ask(server, "/frame.jpg?source=yard")[0] == 404  # it has shown nothing
        status, _, body = ask(server, "/frame.jpg")
        assert status == 404
        assert b"door, yard" in body
        assert ask(server, "/stream.mjpg?source=cellar")[0] == 404
        assert ask(server, "/next?source=cellar")[0] == 404
        assert ask(server, "/answers?source=cellar")[0] == 404
    with page_of() as (_, server):
        assert ask(server, "/frame.jpg")[1]["Retry-After"] == "1"


class Reader:
    """A client that reads an answer without an end."""

    def __init__(self, server, path, **headers):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()

    def until(self, mark):
        """Return what comes until a mark."""
        text = b""
        while not text.endswith(mark):
            byte = self.answer.read(1)
            assert byte, text
            text += byte
        return text

    def close(self):
        self.answer.close()
        self._connection.close()


@pytest.fixture
def reading():
    with contextlib.ExitStack() as ends:

        def reading(*arguments, **headers):
            reader = Reader(*arguments, **headers)
            ends.callback(reader.close)
            return reader

        yield reading


def test_a_stream_shows_each_picture_at_once(page, clock, reading):
    board, server = page
    reader = reading(server, "/stream.mjpg")
    kind = reader.answer.getheader("Content-Type")
    mark = b"--" + kind.partition("boundary=")[2].encode() + b"\r\n"
    assert reader.until(mark) == mark
    for level in (100, 50, 200):
        head = reader.until(b"\r\n\r\n")
        assert b"Content-Type: image/jpeg" in head
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        assert decoded_jpeg(reader.answer.read(length)).mean() == pytest.approx(level, abs=2)
        assert reader.until(mark) == b"\r\n" + mark
        clock.now += 0.1
        board.frame("door", level_of({100: 50, 50: 200, 200: 0}[level]), 0)
    assert ask(server, "/stream.mjpg", "HEAD")[0] == 200


def sse(reader, count):
    """Return ids and data of the next events."""
    found = []
    while len(found) < count:
        text = reader.until(b"\n\n").decode()
        if not text.startswith(":"):
            fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
            found.append((fields["id"], json.loads(fields["data"])))
    return found


def test_events_come_as_they_are(page, reading):
    board, server = page
    board.event(event(0))
    reader = reading(server, "/events")
    assert reader.answer.getheader("Content-Type") == "text/event-stream"
    assert reader.answer.getheader("X-Accel-Buffering") == "no"
    reader.until(b": events follow\n\n")
    board.event(event(1))
    board.event(event(1, "end"))
    found = sse(reader, 2)
    assert [data for _, data in found] == [event(1), event(1, "end")]


def test_a_reader_that_was_cut_off_goes_on_where_it_was(page, reading):
    """Nothing is lost and nothing comes twice among the last thousand."""
    board, server = page
    reader = reading(server, "/events?after=0")
    seen = []
    for start in range(0, 900, 300):
        for number in range(start, start + 300):
            board.event(event(number))
        seen += sse(reader, 150)  # it is cut off in the middle
        reader.close()
        known = {"Last-Event-ID": seen[-1][0]}
        reader = reading(server, "/events", **known)
    seen += sse(reader, 900 - len(seen))
    assert [data["id"] for _, data in seen] == [f"event-{number}" for number in range(900)]
    assert len({name for name, _ in seen}) == 900


def test_a_reader_that_was_away_too_long_is_told_so(page, reading):
    board, server = page
    for number in range(1010):
        board.event(event(number))
    reader = reading(server, "/events", **{"Last-Event-ID": board.events.name(3)})
    reader.until(b": events follow\n\n")
    assert reader.until(b"\n\n") == b": 7 older events are no longer kept\n\n"
    assert sse(reader, 1)[0][1]["id"] == "event-10"


def test_a_reader_of_another_run_gets_all(page, reading):
    board, server = page
    board.event(event(1))
    reader = reading(server, "/events", **{"Last-Event-ID": "0badcafe-77"})
    assert sse(reader, 1)[0][1]["id"] == "event-1"


def test_events_as_json(page):
    board, server = page
    for number in range(3):
        board.event(event(number))
    _, headers, body = ask(server, "/events?after=1", Accept="application/json")
    assert headers["Content-Type"] == "application/json"
    found = json.loads(body)
    assert [(each["n"], each["id"]) for each in found["events"]] == [(2, "event-1"), (3, "event-2")]


def test_answers(page):
    board, server = page
    for _ in range(3):
        board.answer("door", live_answer())
    (row,) = json.loads(ask(server, "/answers")[2])["sources"]
    assert [each["label"] for each in row["answers"]] == ["run"] * 3
    after = row["answers"][0]["n"]
    (row,) = json.loads(ask(server, f"/answers?source=door&after={after}")[2])["sources"]
    assert len(row["answers"]) == 2


def test_health(clock):
    with page_of("door", clock=clock) as (board, server):
        assert ask(server, "/healthz")[::2] == (503, b"1 of 1 source without frames\n")
        board.frame("door", level_of(1), 0)
        assert ask(server, "/healthz")[::2] == (200, b"ok\n")
        clock.now = 60.0
        assert ask(server, "/healthz")[0] == 503
    with page_of() as (_, server):
        assert ask(server, "/healthz")[0] == 503


@needs("prometheus_client")
def test_metrics_are_prometheus_own(page):
    from prometheus_client.parser import text_string_to_metric_families

    board, server = page
    label = 'a "b"\\\n<img src=x onerror=alert(1)>'
    board.answer("door", live_answer(label, labels=(label, "b"), gaps=2, dropped=5))
    board.event(event(1))
    board.state("door", "lost", "")
    board.frame("door", level_of(1), 0)
    _, headers, body = ask(server, "/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert found["r2p_frames_total", "door"] == 2
    assert found["r2p_answers_total", "door", label] == 1
    assert found["r2p_gaps_total", "door"] == 2
    assert found["r2p_frames_dropped_total", "door"] == 5
    assert found["r2p_lag_seconds", "door"] == 0.042
    assert found["r2p_inference_seconds_count", "door"] == 1
    assert found["r2p_source_up", "door"] == 1
    assert found["r2p_source_reconnects_total", "door"] == 1
    assert found["r2p_events_total", "door", "fall>0.8", "begin"] == 1
    assert found[("r2p_page_connections",)] == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading_is_allowed(page, method):
    for path in [*PATHS, "/healthz"]:
        assert ask(page[1], path, method)[0] == 405, path


def test_nothing_else_is_there(page):
    for path in ("/page.html", "/page.py", "/../page.js", "/assets/page.js", "/next/", "/%2e%2e/x"):
        assert ask(page[1], path)[0] == 404, path


def test_without_the_token_nothing_is_shown():
    with page_of("door", token=TOKEN) as (board, server):
        board.frame("door", level_of(1), 0)
        for path in PATHS:
            assert ask(server, path)[0] == 401, path
            assert ask(server, f"{path}?token=wrong")[0] == 401, path
            assert ask(server, path, Host="evil.example")[0] == 421, path
        # A probe has no token; it learns a number.
        assert ask(server, "/healthz")[2] == b"ok\n"
        status, headers, _ = ask(server, f"/frame.jpg?source=door&token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/frame.jpg?source=door")


def test_a_name_cannot_break_a_header():
    name = 'door\r\nX-Evil: 1\r\n\r\n<img src=x onerror=alert(1)>"'
    with page_of(name) as (board, server):
        board.frame(name, level_of(1), 0)
        board.state(name, "live", "a\r\nX-Evil: 2")
        status, headers, _ = ask(server, "/frame.jpg")
        assert status == 200
        assert "X-Evil" not in headers
        assert told(headers)["sources"][0]["name"] == name


def test_the_server_ends_while_viewers_wait():
    with page_of("door") as (_, server):
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        for path, connection in zip(("/next?after=0", "/events", "/stream.mjpg"), connections):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while server.open_connections < 3:
            pass
    assert server.open_connections == 0
    for connection in connections:
        connection.close()


def test_a_board_may_be_served_again():
    board = Board(["door"])
    for _ in range(2):
        with serve_page(board, "127.0.0.1:0") as server:
            assert ask(server, "/metrics")[0] == 200


def test_a_viewer_that_left_is_noticed(page):
    _, server = page
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(99)
        assert server.open_connections == 1
    deadline = time.monotonic() + 30
    while server.open_connections and time.monotonic() < deadline:
        pass
    assert server.open_connections == 0


def test_malformed_requests_harm_nothing(page, capfd):
    _, server = page
    for path in (b"/next?after=%00", b"/next?source=%ff", b"/?%", b"/next?" + b"&" * 40):
        answer = say(server, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer[9:10] in b"24", answer
    assert capfd.readouterr() == ("", "")
