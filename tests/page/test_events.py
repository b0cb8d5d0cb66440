import json
import threading

from feeding import event

from r2p_edge.page.events import EventRing


def test_a_thousand_are_kept():
    ring = EventRing()
    for number in range(1005):
        ring.add(event(number))
    kept = ring.since(0)
    assert len(kept) == 1000
    assert (kept[0].number, kept[-1].number, ring.newest) == (6, 1005, 1005)
    assert [each.number for each in ring.since(1003)] == [1004, 1005]
    assert json.loads(kept[0].data) == event(5)


def test_their_names_lead_back_to_them():
    ring, other = EventRing(), EventRing()
    for number in range(3):
        ring.add(event(number))
    assert ring.number(ring.name(2)) == 2
    assert ring.number("2") == 2
    # Of another run, or none: all that are kept are new.
    assert ring.run != other.run
    for name in (other.name(2), "", "x", "2-", "-", f"{ring.run}-x", f"{ring.run}-²", "-1-2"):
        assert ring.number(name) == 0, name
    assert ring.number(ring.name(99)) == 3
    assert ring.number("9" * 40) == 3


def test_they_are_one_line_of_ascii():
    ring = EventRing()
    ring.add(event(1, label="é\r\ndata: x\u2028"))
    (found,) = ring.since(0)
    assert found.data.isascii()
    assert found.data.isprintable()


def test_one_who_waits_is_woken():
    ring, found = EventRing(), []
    waiting = threading.Thread(target=lambda: found.extend(ring.wait(0, 60)))
    waiting.start()
    ring.add(event(1))
    waiting.join(60)
    assert [each.number for each in found] == [1]
    assert ring.wait(1, 0) == []
