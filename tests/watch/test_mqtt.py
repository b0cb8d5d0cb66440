"""MQTT, with a real Mosquitto: topics, discovery, the last will, and a broker that is down."""

import json
import socket
import threading

import pytest
from kserve import until
from live import free_port
from requirements import require
from watching import Broker, Subscriber, message

from r2p_edge.errors import UsageError
from r2p_edge.live.credentials import Login
from r2p_edge.watch import mqtt
from r2p_edge.watch.delivery import DeliveryError, SinkQueue, finish_all
from r2p_edge.watch.mqtt import MqttSink

SECRET = "S3cret"
STOP = threading.Event()


@pytest.fixture(autouse=True)
def _library():
    require("paho")


@pytest.fixture
def broker(tmp_path):
    require("mosquitto")
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def subscriber(broker):
    subscriber = Subscriber(broker.port)
    yield subscriber
    subscriber.close()


@pytest.mark.slow
def test_events_states_and_discovery(broker, subscriber):
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/home/box", pairs=[("T\u00fcr 1", "fall")])
    for kind in ("begin", "end"):
        sink.send(message(kind=kind, source="T\u00fcr 1"), STOP)
    sink.close()
    topic = "home/box/T\u00fcr_1/fall"
    last = {("home/box/available", "offline"), (f"{topic}/state", "OFF")}
    assert subscriber.wait_for(lambda found: last <= set(found))
    assert subscriber.of("home/box/available") == ["online", "offline"]
    assert [json.loads(each)["type"] for each in subscriber.of(f"{topic}/event")] == [
        "begin",
        "end",
    ]
    assert subscriber.of(f"{topic}/state") == ["ON", "OFF"]
    (found,) = subscriber.of("homeassistant/binary_sensor/home_box_T\u00fcr_1_fall/config")
    config = json.loads(found)
    assert config["state_topic"] == f"{topic}/state"
    assert config["json_attributes_topic"] == f"{topic}/event"
    assert config["availability_topic"] == "home/box/available"
    assert config["unique_id"] == "home_box_T\u00fcr_1_fall"
    assert config["device"]["identifiers"] == ["home_box_T\u00fcr_1"]
    # Whoever comes later is told at once.
    late = Subscriber(broker.port, topic="homeassistant/#")
    assert late.wait_for(len)
    late.close()


@pytest.mark.slow
def test_a_program_that_dies_is_offline(broker, subscriber, monkeypatch):
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}")
    assert subscriber.wait_for(lambda found: ("r2p_edge/available", "online") in found)
    monkeypatch.setattr(sink._client, "reconnect", lambda: 4)
    sink._client._sock_close()  # as a machine does that loses its power
    assert subscriber.wait_for(lambda found: ("r2p_edge/available", "offline") in found)
    sink._client.loop_stop()


@pytest.mark.slow
def test_a_broker_that_is_down_gets_each_event_once(broker, subscriber, monkeypatch):
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}")
    sink._client.reconnect_delay_set(0.1, 0.1)
    queue = SinkQueue(sink, size=10)
    queue.put(message(0))
    assert subscriber.wait_for(lambda found: len(found) >= 3)
    broker.stop()
    for number in range(1, 20):
        queue.put(message(number))
    assert queue.counts.dropped >= 8
    broker.start()
    finish_all([queue], 60)
    topic = "r2p_edge/door/fall/event"
    assert subscriber.wait_for(lambda found: '"id19"' in str(found))
    ids = [json.loads(each)["id"] for each in subscriber.of(topic)]
    assert ids[0] == "id0"
    assert sorted(set(ids)) == sorted(ids)  # none twice
    assert len(ids) == 20 - queue.counts.dropped
    assert ids[-9:] == [f"id{number}" for number in range(11, 20)]


@pytest.mark.slow
def test_user_and_password(tmp_path):
    require("mosquitto")
    with Broker(tmp_path / "broker", ("box", SECRET)) as broker:
        subscriber = Subscriber(broker.port, ("box", SECRET))
        sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}", login=Login("box", SECRET))
        sink.send(message(), STOP)
        sink.close()
        inline = MqttSink(f"mqtt://box:{SECRET}@127.0.0.1:{broker.port}")
        inline.send(message(2), STOP)
        inline.close()
        assert SECRET not in f"{sink.name} {inline.name}"
        wrong = MqttSink(f"mqtt://box:wrong@127.0.0.1:{broker.port}")
        stop = threading.Event()
        threading.Timer(2.0, stop.set).start()
        with pytest.raises(DeliveryError, match=r"Not authorized"):
            wrong.send(message(3), stop)
        wrong.close()
        assert subscriber.wait_for(lambda found: '"id2"' in str(found))
        subscriber.close()


@pytest.mark.slow
def test_a_broker_that_does_not_confirm(monkeypatch):
    monkeypatch.setattr(mqtt, "_PATIENCE", 0.1)
    sink = MqttSink(f"mqtt://127.0.0.1:{free_port()}")
    sink._connected.set()
    with pytest.raises(DeliveryError, match="it has not confirmed a message"):
        sink.send(message(), STOP)
    sink._connected.clear()
    stop = threading.Event()
    stop.set()
    with pytest.raises(DeliveryError, match="it cannot be reached"):
        sink.send(message(), stop)
    sink.close()


@pytest.mark.slow
def test_why_there_is_no_connection_is_logged_once(tmp_path, caplog):
    require("mosquitto")
    with Broker(tmp_path / "broker", ("box", SECRET)) as broker:
        sink = MqttSink(f"mqtt://box:wrong@127.0.0.1:{broker.port}")
        sink._client.reconnect_delay_set(0.01, 0.01)
        until(lambda: (tmp_path / "broker" / "log").read_text().count("not authorised") >= 3)
    until(lambda: "cannot be reached" in caplog.text)
    sink.close()
    assert [record.getMessage() for record in caplog.records if record.name == mqtt.__name__] == [
        f"{sink.name}: Not authorized, and is tried again",
        f"{sink.name}: it cannot be reached, and is tried again",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho's own socket
def test_it_ends_though_the_broker_never_shakes_hands(monkeypatch):
    """Its thread waits for the broker for longer than a watch has for its end."""
    monkeypatch.setattr(mqtt, "_LEAVE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = MqttSink(f"mqtts://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        with connection:
            ending = threading.Thread(target=sink.close, daemon=True)
            ending.start()
            ending.join(60)
            assert not ending.is_alive()
            assert sink._client._thread is not None
    until(lambda: sink._client._thread is None)


@pytest.mark.parametrize(
    "url",
    [
        *(f"http://a:{SECRET}@h", "mqtt://", f"mqtt:{SECRET}", f"mqtt://a:{SECRET}@h:port"),
        *(f"mqtt://a:{SECRET}@a..b", f"mqtt://a:{SECRET}@h/a b", f"mqtt://a:{SECRET}@h/a#b"),
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(UsageError, match="the address of the MQTT broker is not one") as caught:
        MqttSink(url)
    assert SECRET not in str(caught.value)


def test_a_topic_that_stands_for_many():
    with pytest.raises(UsageError, match=r"the topic .* has a \+, which stands for any") as caught:
        MqttSink(f"mqtt://a:1/{SECRET}@127.0.0.1:9/home/+")  # "/" ends the host
    assert SECRET not in str(caught.value)


def test_two_names_of_one_topic():
    with pytest.raises(UsageError, match="have the same topic of MQTT"):
        MqttSink("mqtt://127.0.0.1:9", pairs=[("a b", "fall"), ("a_b", "fall")])
