"""Webhooks: signatures, attempts, and what a server may answer."""

import hashlib
import hmac
import json
import socket
import threading

import pytest
from live import free_port
from watching import Receiver, message

from r2p_edge.errors import UsageError
from r2p_edge.watch import webhook
from r2p_edge.watch.delivery import DeliveryError
from r2p_edge.watch.webhook import PAUSES, WebhookSink

STOP = threading.Event()
SECRET = "S3cret"


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


class Waits:
    """Waits for nothing, and keeps for how long it should."""

    def __init__(self):
        self.waited = []

    def __call__(self, event, seconds):
        self.waited.append(seconds)
        return event.is_set()


def test_an_event_is_posted_and_signed(receiver):
    url = receiver.url.replace("//", "//me:p%40ss@")
    sink = WebhookSink(url, secret=SECRET)
    sink.send(message(label="T\u00fcr"), STOP)
    ((headers, body),) = receiver.requests
    assert json.loads(body) == message(label="T\u00fcr")
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={expected}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "id1.begin"
    assert headers["Authorization"] == "Basic bWU6cEBzcw=="
    assert sink.name == f"the webhook {receiver.url.rsplit('/', 1)[0]}"


def test_a_server_that_fails_is_tried_again_with_the_same_key(receiver):
    receiver.answers = [500, 503, 429]
    waits = Waits()
    WebhookSink(receiver.url, wait=waits).send(message(), STOP)
    assert waits.waited == list(PAUSES[:3])
    assert len(receiver.requests) == 4
    assert {headers["Idempotency-Key"] for headers, _ in receiver.requests} == {"id1.begin"}
    assert "X-Hub-Signature-256" not in receiver.requests[0][0]


@pytest.mark.parametrize("code", [400, 401, 404, 301, 302, 307])
def test_an_answer_that_means_no_is_not_tried_again(receiver, code):
    receiver.answers = [code]
    waits = Waits()
    with pytest.raises(DeliveryError, match=f"the server answered {code}"):
        WebhookSink(receiver.url, wait=waits).send(message(), STOP)
    assert (len(receiver.requests), waits.waited) == (1, [])


def test_a_server_that_is_gone_is_given_up_at_last():
    waits = Waits()
    sink = WebhookSink(f"http://127.0.0.1:{free_port()}/{SECRET}", wait=waits)
    with pytest.raises(DeliveryError, match="refused") as caught:
        sink.send(message(), STOP)
    assert waits.waited == list(PAUSES)
    assert SECRET not in f"{caught.value} {sink.name}"


def test_a_watch_that_ends_does_not_wait():
    stop = threading.Event()
    stop.set()
    waits = Waits()
    with pytest.raises(DeliveryError):
        WebhookSink(f"http://127.0.0.1:{free_port()}", wait=waits).send(message(), stop)
    assert len(waits.waited) == 1


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_a_server_that_hangs_or_talks_nonsense(monkeypatch, answer):
    monkeypatch.setattr(webhook, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve():
            for _ in range(2):
                connection, _ = server.accept()
                if answer:
                    connection.recv(1 << 16)
                    connection.sendall(answer)
                    connection.close()
                else:
                    kept.append(connection)

        kept = []
        thread = threading.Thread(target=serve)
        thread.start()
        stop = threading.Event()

        def second(event, _):
            return bool(waits.append(1)) or len(waits) == 2

        waits = []
        with pytest.raises(DeliveryError):
            WebhookSink(f"http://127.0.0.1:{port}", wait=second).send(message(), stop)
        thread.join(60)
        for connection in kept:
            connection.close()


def test_a_path_of_other_letters(receiver):
    WebhookSink(f"{receiver.url}/T\u00fcr%20auf?a=%C3%A4&b=\u00f6").send(message(), STOP)
    assert receiver.paths == ["/hook/T%C3%BCr%20auf?a=%C3%A4&b=%C3%B6"]


@pytest.mark.parametrize(
    "url",
    [
        *(f"ftp://a:{SECRET}@h/x", f"http:///{SECRET}", SECRET, f"http://h:port/{SECRET}"),
        *("http://[", f"http://a..b/{SECRET}", f"http://h/{SECRET} x", f"http://h/{SECRET}\n"),
        f"http://{'h' * 64}/{SECRET}",
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(UsageError, match="the address of the webhook is not one of HTTP") as caught:
        WebhookSink(url)
    assert SECRET not in str(caught.value)
