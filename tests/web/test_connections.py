import socket

import pytest
from live import Clock

from r2p_edge.web.connections import IDLE_SECONDS, Connections


@pytest.fixture
def sockets():
    """Makes connected sockets; returns the one of the server and that of the client."""
    made = []

    def make():
        made.append(socket.socketpair())
        return made[-1]

    yield make
    for pair in made:
        for each in pair:
            each.close()


def test_the_connection_that_waited_longest_gives_way(sockets):
    clock = Clock()
    connections = Connections(2, clock)
    (first, first_client), (second, second_client) = sockets(), sockets()
    old = connections.admit(first)
    clock.now = 0.1
    connections.admit(second)
    clock.now = IDLE_SECONDS + 0.2
    third = connections.admit(sockets()[0])
    assert not third.refused
    assert first_client.recv(1) == b""
    assert old.gone()
    second_client.setblocking(False)
    with pytest.raises(BlockingIOError):
        second_client.recv(1)


def test_one_that_works_or_has_just_come_does_not_give_way(sockets):
    clock = Clock()
    connections = Connections(2, clock)
    busy = connections.admit(sockets()[0])
    busy.work()
    clock.now = 60.0
    connections.admit(sockets()[0])
    assert connections.admit(sockets()[0]).refused
    busy.wait()
    clock.now += IDLE_SECONDS
    assert not connections.admit(sockets()[0]).refused


def test_a_few_are_told_that_there_are_too_many_and_the_others_are_dropped(sockets):
    connections = Connections(4, Clock())
    admitted = [connections.admit(sockets()[0]) for _ in range(8)]
    assert [each and each.refused for each in admitted] == [False] * 4 + [True] * 2 + [None] * 2
    connections.forget(admitted[0])
    assert not connections.admit(sockets()[0]).refused
    connections.forget(admitted[4])
    assert connections.admit(sockets()[0]).refused


def test_a_client_that_left_is_seen_and_what_it_sent_is_not_taken(sockets):
    connections = Connections(1, Clock())
    server, client = sockets()
    connection = connections.admit(server)
    assert not connection.gone()
    client.send(b"x")
    assert not connection.gone()
    client.close()
    assert not connection.gone()  # there is still something to read
    assert server.recv(9) == b"x"
    assert connection.gone()
    server.close()
    assert connection.gone()


def test_all_can_be_ended(sockets):
    connections = Connections(2, Clock())
    pairs = [sockets() for _ in range(3)]
    for server, _ in pairs:
        connections.admit(server)
    assert len(connections) == 3
    pairs[0][0].close()
    connections.cut_all()
    assert [client.recv(1) for _, client in pairs] == [b"", b"", b""]
