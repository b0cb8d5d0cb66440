"""Damage within valid texts and archives: one value of JSON, one line, one member of a zip."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from typing import Any

from damage import damaged

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 2**64, 1e308, -0.0, 0.5, 1 << 44),
    *("", "x" * 5000, "../../../etc/passwd", "/dev/zero", "\x00", "\ud800", "é", "0", "nan"),
    *([], {}, [[]], [0] * 1000, {"": None}, ["a", 1, None]),
)
# What no Python value writes; they stand in the text for a placeholder.
_RAW = (
    "1e999",
    "NaN",
    "-Infinity",
    "9" * 5000,
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000,
    "0x10",
    "01",
)
_MARK = "=placeholder="


def json_changed(data: bytes, rng: random.Random) -> bytes:
    """Return a JSON text with one value, key or entry changed."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return damaged(data, rng)
    value = rng.choice((*_VALUES, *[_MARK] * 8))
    tree = _changed(tree, value, rng)
    text = json.dumps(tree).replace(json.dumps(_MARK), rng.choice(_RAW))
    return text.encode("utf-8", "surrogatepass")


def _changed(tree: Any, value: Any, rng: random.Random) -> Any:
    if not isinstance(tree, (dict, list)) or not tree or rng.random() < 0.1:
        return value
    key = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
    way = rng.random()
    if way < 0.1:
        del tree[key]
    elif way < 0.2 and isinstance(tree, dict):
        tree[str(rng.choice(_VALUES)).encode(errors="replace").decode()] = tree.pop(key)
    elif way < 0.2:
        tree[key:key] = [tree[key]] * 3
    else:
        tree[key] = _changed(tree[key], value, rng)
    return tree


def header_changed(data: bytes, rng: random.Random) -> bytes:
    """Return a .safetensors file with its JSON header changed, and its length right."""
    length = int.from_bytes(data[:8], "little")
    header = json_changed(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


_WORDS = (
    "",
    "-1",
    "9" * 30,
    "0.5",
    "nan",
    "../..",
    "/etc",
    "a b",
    "é",
    "\x00",
    "#",
    ",",
    '"',
    "\t",
    "\\",
)


def lines_changed(data: bytes, rng: random.Random) -> bytes:
    """Return a text with one line, or one word of it, changed."""
    lines = data.decode(errors="replace").split("\n")
    number = rng.randrange(len(lines))
    way = rng.randrange(5)
    if way == 0:
        del lines[number]
    elif way == 1:
        lines[number:number] = [lines[number]] * rng.choice((1, 1000))
    elif way == 2:
        lines[number] = rng.choice(_WORDS).join(lines[number].split(" "))
    elif way == 3:
        words = lines[number].split(" ")
        words[rng.randrange(len(words))] = rng.choice(_WORDS)
        lines[number] = " ".join(words)
    else:
        lines[number] += rng.choice((" ", ",", "/", "\t")) + rng.choice(_WORDS)
    ending = rng.choice(("\n", "\n", "\r\n", "\r", "\u2028"))
    return ending.join(lines).encode(
        rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "replace"
    )


def zip_changed(data: bytes, rng: random.Random) -> bytes:
    """Return an archive with one member changed, its checksum right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return damaged(data, rng)
    number = rng.randrange(len(members))
    pickles = [n for n, (name, _) in enumerate(members) if name.endswith(".pkl")]
    if pickles and rng.random() < 0.5:  # where the structure is
        number = rng.choice(pickles)
    name, content = members[number]
    method = zipfile.ZIP_STORED
    way = rng.randrange(8)
    if way == 0:
        del members[number]
    elif way == 1:
        members.append(members[number])
    elif way == 2:
        members[number] = (rng.choice(("../../x", "/x", "", name + "/", name.upper())), content)
    elif way == 3:
        members[number] = (name, bytes(50 << 20))  # a bomb, deflated to nothing
        method = zipfile.ZIP_DEFLATED
    else:
        members[number] = (name, damaged(content, rng))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()
