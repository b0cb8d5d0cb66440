"""Pickles that are read without running them: what they hold, and what they cannot do."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import pickletools
import random
import re
import struct
import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from r2p_edge.export.checkpoints.inert_pickle import Global, Instance, PickleError, read_pickle
from r2p_edge.export.checkpoints.torch_pickle import KNOWN, storage_of

SECONDS = 5.0
"""No input may take so long."""


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data), len(data), known=KNOWN, persistent=storage_of)


PLAIN = [
    *(None, True, False, 0, 255, 70_000, -1, 1 << 80, -(1 << 80), 1.5, float("inf")),
    *("", "a name", "\u00e9\u4e2d\U0001f600", b"", b"\x00\xff", "x" * 300, b"y" * 300),
    *((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2, [3]]], {}, {"a": {"b": [1]}}),
    {(1, ("a", None)): 1, 2.5: 2, b"k": 3, True: 4},
    list(range(5000)),
    collections.OrderedDict([("b", 1), ("a", 2)]),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:30])
def test_plain_objects_are_as_pickle_reads_them(value, protocol):
    found = read(pickle.dumps(value, protocol))
    assert found == value
    if isinstance(value, dict):
        assert list(found) == list(value)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_objects_are_data(protocol):
    namespace = argparse.Namespace(depth=18, names=["a", "b"])
    found = read(
        pickle.dumps({"args": namespace, "seen": {1, 2}, "loss": np.float64(0.5)}, protocol)
    )
    assert isinstance(found["args"], Instance)
    assert found["args"].called == Global("argparse", "Namespace") or found["args"].arguments
    assert found["args"].state == {"depth": 18, "names": ["a", "b"]}
    assert isinstance(found["seen"], Instance)
    assert isinstance(found["loss"], Instance)


def test_a_bytearray():
    assert read(pickle.dumps(bytearray(b"bytes"), 5)) == b"bytes"
    assert isinstance(read(pickle.dumps(bytearray(b"bytes"), 4)), Instance)


def test_an_object_that_contains_itself():
    value: list[Any] = [1]
    value.append(value)
    found = read(pickle.dumps(value))
    assert found[1] is found


def test_a_file_has_several_pickles():
    data = pickle.dumps([1]) + pickle.dumps("two") + b"the rest"
    file = io.BytesIO(data)
    values = [read_pickle(file, len(data), known={}, persistent=storage_of) for _ in range(2)]
    assert values == [[1], "two"]
    assert file.read() == b"the rest"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80",
        b"\x80\x05",
        b"0.",  # pops nothing
        b"(.",  # a mark is no object
        b"t.",
        b"K\x01h\x00.",  # a memo that was never put
        b"]K\x01K\x02s.",  # items of a list
        b"}K\x01a.",  # elements of a dict
        b"}]K\x01s.",  # a list is no key
        b"K\x01K\x02R.",  # arguments that are no tuple
        b"Pname\n.",
        b"K\x01Q.",
        b"\x97.",
        b"\xff.",
        b"cos\n",
        b"I" + b"9" * 10_000 + b"\n.",
        b"(lp0\n" + b"9" * 100_000,
    ],
)
def test_what_is_no_pickle(data):
    with pytest.raises(PickleError, match=r"^its pickle "):
        read(data)


def test_every_cut_of_a_pickle():
    data = pickle.dumps({"a": [1, "b", b"c", (2, 3.5)], "d": np.arange(5)})
    for cut in range(len(data)):
        with pytest.raises(PickleError):
            read(data[:cut])


def key_of_tuples(width: int, depth: int) -> bytes:
    """Return a dict whose key is a tuple of equal tuples, which takes width ** depth to hash."""
    return b"}(" + b")" + (b"q\x00" + b"(" + b"h\x00" * width + b"t") * depth + b"K\x01u."


BOMBS = {
    "a string of 2 ** 62 bytes": b"\x8e" + struct.pack("<Q", 1 << 62) + b"ab.",
    "a text of 2 ** 32 bytes": b"X" + struct.pack("<I", (1 << 32) - 1) + b"ab.",
    "a number of 2 ** 31 bytes": b"\x8b" + struct.pack("<I", (1 << 31) - 1) + b"ab.",
    "a frame of 2 ** 62 bytes": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "a memo of 2 ** 32 places": b"Nr" + struct.pack("<I", (1 << 32) - 1) + b".",
    "tuples 100,000 deep": b")" + b"\x85" * 100_000 + b".",
    "tuples 100,000 deep as a key": b"})" + b"\x85" * 100_000 + b"K\x01s.",
    "a key of 1,000 ** 8 parts": key_of_tuples(1000, 8),
    "lists 100,000 deep": b"]" * 100_001 + b"a" * 100_000 + b".",
    "calls 100,000 deep": b"cos\nsystem\n" + b"\x85cos\nsystem\n" * 10_000 + b"R" * 1 + b".",
    "a list doubled 60 times": b"]" + b"q\x00(h\x00h\x00l" * 60 + b".",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name):
    data = BOMBS[name]
    begun = time.process_time()
    tracemalloc.start()
    try:
        outcome(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < SECONDS
    # An object takes some 200 bytes, whatever a pickle says of its length.
    assert peak < 200 * len(data) + 200_000


def test_operations_have_a_limit(monkeypatch):
    from r2p_edge.export.checkpoints import inert_pickle

    monkeypatch.setattr(inert_pickle, "OPERATIONS", 100)
    assert len(read(b"(" + b"N" * 97 + b"t.")) == 97
    with pytest.raises(PickleError, match="has more than 100 operations"):
        read(b"(" + b"N" * 98 + b"t.")


# Mutated pickles.

EVENTS: list[str] | None = None


def _watch(event: str, _: Any) -> None:
    if EVENTS is not None:
        EVENTS.append(event)


sys.addaudithook(_watch)

HARMFUL = (
    *("os system", "builtins eval", "builtins exec", "builtins getattr", "subprocess Popen"),
    *("__main__ no_such_name", "importlib import_module", "functools partial", "torch load"),
)
KNOWN_NAMES = [f"{name.module} {name.name}" for name in KNOWN]
CALLS = (
    *("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"),
    *("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "MARK", "TUPLE", "TUPLE1", "EMPTY_TUPLE"),
)


WHOLE_CALLS = (
    "c{}\n)R",
    "c{}\n)\x81",
    "c{}\n)}}\x92",
    "(c{}\no",
    "(i{}\n",
    "c{}\n)R}}b",
    "c{}\n)R(NNu",
)
"""Calls with all that they need on the stack, in each way that a pickle has."""


def some_argument(opcode: pickletools.OpcodeInfo, rng: random.Random) -> bytes:
    """Return an argument of an operation, mostly of the form that it has."""
    kind = "" if opcode.arg is None else opcode.arg.name
    number = rng.choice((0, 1, 2, 7, 255, (1 << 31) - 1))
    text = rng.choice((*HARMFUL, *KNOWN_NAMES)).encode()
    if kind == "stringnl_noescape_pair":
        return text.replace(b" ", b"\n", 1) + b"\n"
    if kind == "stringnl":
        return b"'" + text + b"'\n"
    if kind.endswith(("nl_short", "nl_long")):
        return str(number).encode() + (b"L\n" if kind.endswith("long") else b"\n")
    if kind.endswith("nl"):
        return text.replace(b" ", b".") + b"\n"
    if kind == "float8":
        return struct.pack(">d", rng.random())
    size = {"1": 1, "2": 2, "4": 4, "8": 8}.get(kind[-1:], 0)
    if kind.startswith(("uint", "int")):
        return (number % (1 << (8 * size - 1))).to_bytes(size, "little")
    if size:  # bytes, text or a number with its length before it
        length = len(text) if rng.random() < 0.9 else number % (1 << (8 * size - 1))
        return (length % (1 << 8 * size)).to_bytes(size, "little") + text
    return b""


def of_opcodes(rng: random.Random) -> bytes:
    """Return a pickle of random valid operations, more of them of those that name and call."""
    by_name = {opcode.name: opcode for opcode in pickletools.opcodes}
    names = [name for name in by_name if name != "STOP"]
    data, whole = b"\x80\x04", rng.choice((0.5, 1.0))
    for _ in range(rng.randrange(1, 60)):
        if rng.random() < whole:
            call = rng.choice(WHOLE_CALLS).format(rng.choice(HARMFUL).replace(" ", "\n"))
            data += call.encode("latin1")
            continue
        name = rng.choice(CALLS) if rng.random() < 0.5 else rng.choice(names)
        data += by_name[name].code.encode("latin1") + some_argument(by_name[name], rng)
    return data + b"."


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """Return a valid pickle with some bytes changed, removed, doubled or put in."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(1, 6)):
        at, length = rng.randrange(len(data)), rng.randrange(1, 9)
        change = rng.randrange(4)
        if change == 0:
            data[at] = rng.randrange(256)
        elif change == 1 and len(data) > 20:
            del data[at : at + length]
        elif change == 2:
            data[at:at] = data[at : at + length]
        else:
            data[at:at] = of_opcodes(rng)[2:-1]
    return bytes(data)


def inputs(count: int) -> Iterator[bytes]:
    rng = random.Random(0)
    value = {
        "args": argparse.Namespace(depth=18),
        "state_dict": collections.OrderedDict(weight=np.arange(6.0), names=("a", b"b")),
        "seen": frozenset((1, 2)),
    }
    seeds = [pickle.dumps(value, protocol) for protocol in range(6)]
    for number in range(count):
        yield of_opcodes(rng) if number % 2 else mutated(seeds, rng)


def outcome(data: bytes) -> str:
    """Return the reason why a pickle is refused; "read" if it is not."""
    try:
        read(data)
    except PickleError as error:
        return str(error)
    return "read"


@pytest.mark.slow
def test_ten_thousand_mutated_pickles():
    """None imports, calls, hangs or takes memory; each is read, or refused in one sentence."""
    global EVENTS
    outcomes: collections.Counter[str] = collections.Counter()
    assert outcome(pickle.dumps(1)) == "read"
    for data in inputs(10_000):
        begun, EVENTS = time.process_time(), []
        tracemalloc.start()
        found = outcome(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        events, EVENTS = EVENTS, None
        assert events == []
        assert peak < 2 * len(data) + 100_000
        assert time.process_time() - begun < SECONDS
        outcomes["read" if found == "read" else "refused"] += 1
        assert found == "read" or re.fullmatch("its pickle .+", found)
    assert min(outcomes["read"], outcomes["refused"]) > 2000
