"""Stand-ins and servers for a watch: answers, receivers of events, and a broker of MQTT."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
from live import free_port

from r2p_edge.prediction import Live, Prediction, Timing


def answer(score, end, *, wall=0.0, gaps=0, still=False, source="door"):
    """Return an answer of "fall" with this score, on a window of a second."""
    return Prediction(
        labels=("walk", "fall"),
        scores=np.array([1 - score, score], np.float32),
        clips=1,
        span=(end - 1.0, float(end)),
        coverage=1.0,
        truncated=False,
        runtime="none",
        device="none",
        precision="none",
        timing=Timing(),
        live=Live(
            source,
            "fall",
            still,
            0.0,
            0,
            0,
            gaps,
            wall,
            lambda: np.full((48, 64, 3), 100, np.uint8),
        ),
    )


def message(number=1, kind="begin", **more):
    """Return an event as sinks take it."""
    return {
        "id": f"id{number}",
        "type": kind,
        "source": "door",
        "rule": "fall",
        "label": "fall",
        "score": 0.9,
        **more,
    }


class Receiver:
    """A server of HTTP that keeps what is posted to it.

    Attributes:
        requests: (headers, body) of each.
        paths: their paths.
        answers: status codes of the next answers; 200 where there is none.
    """

    def __init__(self):
        self.requests, self.paths, self.answers = [], [], []
        self._changed = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._changed:
                    receiver.paths.append(self.path)
                    receiver.requests.append((dict(self.headers), body))
                    code = receiver.answers.pop(0) if receiver.answers else 200
                    receiver._changed.notify_all()
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def events(self):
        """Return what was posted, from JSON."""
        with self._changed:
            return [json.loads(body) for _, body in self.requests]

    def wait_for(self, condition, seconds=60):
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.requests), seconds)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Broker:
    """A real Mosquitto, which can be stopped and started again with all that it knew.

    Args:
        folder: for its configuration and its memory.
        login: user and password that it demands.
    """

    def __init__(self, folder: Path, login=None):
        self.port, self._folder, self._process = free_port(), folder, None
        folder.mkdir(exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if login else 'true'}",
            "persistence true",
            f"persistence_location {folder}/",
            "user root",
        ]
        if login:
            command = ["mosquitto_passwd", "-b", "-c", folder / "users", *login]
            subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {folder / 'users'}")
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self):
        program = next(p for p in ("/usr/sbin/mosquitto", "/usr/bin/mosquitto") if Path(p).exists())
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", self._folder / "mosquitto.conf", "-v"], stdout=log, stderr=log
            )
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            time.sleep(0.05)
        raise AssertionError("mosquitto does not listen")

    def stop(self):
        self._process.terminate()  # it writes what it knows
        self._process.wait(30)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Subscriber:
    """A client of MQTT that keeps all messages, in a session that outlasts the broker."""

    def __init__(self, port, login=None, topic="#"):
        import paho.mqtt.client as mqtt

        self.messages, self._changed = [], threading.Condition()
        self._ready = threading.Event()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False
        )
        if login:
            self._client.username_pw_set(*login)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 2)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._keep
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(60)

    def _keep(self, _, __, received):
        with self._changed:
            self.messages.append((received.topic, received.payload.decode()))
            self._changed.notify_all()

    def of(self, topic):
        with self._changed:
            return [payload for found, payload in self.messages if found == topic]

    def wait_for(self, condition, seconds=60):
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.messages), seconds)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
