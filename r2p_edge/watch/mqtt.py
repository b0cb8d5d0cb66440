"""Events to an MQTT broker, and their discovery by Home Assistant."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from r2p_edge._optional import import_library
from r2p_edge._version import __version__
from r2p_edge.addresses import is_address
from r2p_edge.errors import UsageError
from r2p_edge.live.credentials import Login
from r2p_edge.watch.delivery import DeliveryError

_BASE = "r2p_edge"  # of all topics, if the address of the broker has none

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEP_ALIVE = 30  # seconds; after one and a half of them the broker takes us for gone
_POLL = 0.2
_PATIENCE = 10.0  # seconds for a broker that is connected to confirm a message
_LEAVE_SECONDS = 2.0  # for the client to end; it may be in the midst of connecting
_AT_LEAST_ONCE, _EXACTLY_ONCE = 1, 2

_log = logging.getLogger(__name__)


def topic_part(name: str) -> str:
    """Return a name as a part of a topic and of an identity of Home Assistant's."""
    return re.sub(r"[^\w-]", "_", name) or "_"


class MqttSink:
    """An MQTT broker, connected to in the background and again whenever it is lost.

    Topics, under the base that the path of the address names:

    * `BASE/available`: "online", or "offline" by the last will (retained);
    * `BASE/SOURCE/RULE/event`: begin and end of each event, in JSON;
    * `BASE/SOURCE/RULE/state`: "ON" during an event, else "OFF" (retained).

    Home Assistant finds each rule of each source as a binary sensor by itself. A message stays in
    the queue until the broker has confirmed it. QoS is 2 and the session outlasts interruptions, so
    that a subscriber of that QoS gets each event once. One watch of a machine may have a base.

    Args:
        url: address of the broker: mqtt://HOST[:PORT][/BASE], or mqtts:// for TLS.
        login: user and password, if the address has none.
        pairs: names of each source and rule.
        discovery: topic of Home Assistant's discovery; None for no discovery.

    Raises:
        UsageError: it is no such address.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        login: Login | None = None,
        pairs: Iterable[tuple[str, str]] = (),
        discovery: str | None = "homeassistant",
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port or _PORTS[parts.scheme]
        except (KeyError, ValueError):
            port = 0
        if not port or not is_address(url, parts.hostname) or parts.query or parts.fragment:
            raise UsageError(
                "the address of the MQTT broker is not one; expected mqtt://HOST[:PORT][/BASE], "
                "or mqtts:// for TLS"
            )
        assert parts.hostname is not None
        if login is None and parts.username is not None:
            unquote = urllib.parse.unquote
            login = Login(unquote(parts.username), unquote(parts.password or ""))
        self.name = f"the MQTT broker {parts.hostname}:{port}"
        self._base = parts.path.strip("/") or _BASE
        if "+" in self._base:
            raise UsageError(
                "the topic in the address of the MQTT broker has a +, which stands for any; give "
                "one without"
            )
        self._available = f"{self._base}/available"
        self._pairs, self._discovery = list(pairs), discovery
        if len({self._topic(*pair) for pair in self._pairs}) < len(self._pairs):
            raise UsageError(
                "two sources or events have the same topic of MQTT, which has letters and digits "
                "only; give one of them another name"
            )
        # The client holds locks of its own while it calls `_on_publish`, and while it publishes.
        self._news = threading.Condition()
        self._confirmed: set[int] = set()  # numbers of messages that somebody waits for
        self._greetings: set[int] = set()  # and of those that nobody does
        self._connected = threading.Event()
        self._refused = ""  # why there is no connection, if that is known

        library = import_library("paho.mqtt.client", "run: pip install 'paho-mqtt>=2'")
        machine = f"{socket.gethostname()} {self._base}"
        self._client = library.Client(
            library.CallbackAPIVersion.VERSION2,
            # Of the same name after a restart, and not longer than every broker takes.
            client_id=f"r2p_edge-{hashlib.sha256(machine.encode()).hexdigest()[:12]}",
            clean_session=False,
        )
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_publish = self._on_publish
        self._client.will_set(self._available, "offline", _AT_LEAST_ONCE, True)
        self._client.reconnect_delay_set(1, 30)
        if login is not None:
            self._client.username_pw_set(login.user, login.password)
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.connect_async(parts.hostname, port, _KEEP_ALIVE)
        self._client.loop_start()

    def _on_connect(self, client: Any, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            self._note(str(reason))
            return
        self._refused = ""
        greetings = [(topic, json.dumps(config)) for topic, config in self._discoveries()]
        for topic, text in [*greetings, (self._available, "online")]:
            # Confirmed in this thread, and so not before the number is known.
            self._greetings.add(client.publish(topic, text, _AT_LEAST_ONCE, True).mid)
        self._connected.set()

    def _on_connect_fail(self, *_: Any) -> None:
        self._note("it cannot be reached")

    def _note(self, reason: str) -> None:
        """Keep why there is no connection, and log it once until there is one."""
        if reason != self._refused:
            self._refused = reason
            _log.warning("%s: %s, and is tried again", self.name, reason)

    def _on_disconnect(self, *_: Any) -> None:
        self._connected.clear()

    def _discoveries(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Yield the topic and the content of each message of Home Assistant's discovery."""
        if self._discovery is None:
            return
        node = topic_part(self._base)
        for source, rule in self._pairs:
            identity = f"{node}_{topic_part(source)}_{topic_part(rule)}"
            topic = self._topic(source, rule)
            yield (
                f"{self._discovery}/binary_sensor/{identity}/config",
                {
                    "name": rule,
                    "unique_id": identity,
                    "state_topic": f"{topic}/state",
                    "json_attributes_topic": f"{topic}/event",
                    "availability_topic": self._available,
                    "device": {
                        "identifiers": [f"{node}_{topic_part(source)}"],
                        "name": source,
                        "manufacturer": "r2p_edge",
                        "sw_version": __version__,
                    },
                },
            )

    def _topic(self, source: str, rule: str) -> str:
        return f"{self._base}/{topic_part(source)}/{topic_part(rule)}"

    def send(self, message: Mapping[str, Any], stop: threading.Event) -> None:
        """Publish a message once the broker is there; see `Sink`."""
        while not self._connected.wait(_POLL):
            if stop.is_set():
                raise DeliveryError(self._refused or "it cannot be reached")
        topic = self._topic(str(message["source"]), str(message["rule"]))
        state = "ON" if message["type"] == "begin" else "OFF"
        published = {
            self._publish(f"{topic}/event", json.dumps(message, ensure_ascii=False), retain=False),
            self._publish(f"{topic}/state", state),
        }
        waited = 0.0
        while not self._confirm(published):
            waited = waited + _POLL if self._connected.is_set() else 0.0
            if stop.is_set() or waited > _PATIENCE:
                raise DeliveryError("it has not confirmed a message")

    def _publish(self, topic: str, payload: str, *, retain: bool = True) -> int:
        """Publish a message, which the client sends again after an interruption; return its number.

        The client's own `wait_for_publish` raises where the connection is lost in the moment of
        publishing, though the message is kept.
        """
        return int(self._client.publish(topic, payload, _EXACTLY_ONCE, retain).mid)

    def _confirm(self, numbers: set[int]) -> bool:
        """Wait a moment for the broker to confirm these messages; return True if it has."""
        with self._news:
            if not self._news.wait_for(lambda: numbers <= self._confirmed, _POLL):
                return False
            self._confirmed -= numbers
            return True

    def _on_publish(self, _: Any, __: Any, number: int, *___: Any) -> None:
        with self._news:
            if number in self._greetings:
                self._greetings.discard(number)
            else:
                self._confirmed.add(number)
                self._news.notify_all()

    def close(self) -> None:
        """Say that this program goes, and leave the broker, within seconds; see `Sink`."""
        if self._connected.is_set():
            self._client.publish(self._available, "offline", _AT_LEAST_ONCE, True)
        self._client.disconnect()
        leaving = threading.Thread(target=self._leave, name=f"r2p_edge {self.name}", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)

    def _leave(self) -> None:
        """End the client's thread, which waits for as long as a look for the broker takes."""
        with contextlib.suppress(AttributeError):  # of paho 2.2, where it ends at this moment
            self._client.loop_stop()
