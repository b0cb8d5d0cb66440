"""A reader of pickles that runs nothing: what a pickle would import and call stays data.

Python's own unpickler imports every name that a pickle asks for and calls it with what the pickle
gives. This one knows no name and calls nothing: names become `Global`s, and calls `Instance`s that
keep their arguments. A caller says which names stand for what (`known`).

The opcodes are those of `pickletools` in the standard library, protocols 0 to 5.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

OPERATIONS = 2_000_000
"""The most operations of a pickle. A checkpoint of 300 tensors has about 20,000."""

_LINE = 1 << 16  # bytes of a line in the text opcodes; those of numbers and names are short
_KEY_PARTS = 100  # of a key that is a tuple, and of tuples in it


class PickleError(ValueError):
    """The bytes are not a whole pickle."""


class Global(NamedTuple):
    """A name that a pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Instance:
    """A call that a pickle would make, or the object that would come of it.

    Attributes:
        called: what would be called, mostly a `Global`.
        arguments: positional arguments.
        state: attributes, or whatever else was given to `__setstate__`.
        items: keys and values that would be set.
        elements: what would be appended.
    """

    called: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


Known = Mapping[Global, Callable[..., Any]]
"""Functions that stand for names: each takes the arguments that the pickle has for it."""


def read_pickle(
    file: BinaryIO,
    end: int,
    *,
    known: Known,
    persistent: Callable[[Any], Any],
) -> Any:
    """Read one pickle from a file's position on; leave the position behind it.

    Args:
        file: opened for reading in binary mode.
        end: the offset in the file behind which nothing is read.
        known: functions to call in place of the names that they stand for. They raise ValueError
            or TypeError for arguments that they do not take.
        persistent: returns the object for a persistent ID, or raises likewise.

    Returns:
        The object, of plain containers, strings, numbers, `Global`s, `Instance`s and what the
        functions returned. It may contain itself.

    Raises:
        PickleError: the bytes are no pickle, it is cut off, or it has more than `OPERATIONS`.
    """
    machine = _Machine(known, persistent)
    bounded: Any = _Bounded(file, end)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of escapes in damaged text
            for count, (opcode, argument, _) in enumerate(pickletools.genops(bounded)):
                if count == OPERATIONS:
                    raise PickleError(f"its pickle has more than {OPERATIONS:,} operations")
                machine.step(opcode.name, argument)
            return machine.pop()
    except PickleError:
        raise
    # What a damaged pickle makes of a stack: too short, the wrong types, unhashable keys.
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise PickleError(f"its pickle is damaged or cut off ({type(error).__name__})") from error


class _Bounded:
    """A file whose reads ask for no more than it has, whatever length a pickle names."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._end = file, end
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        return self._file.read(max(min(count, self._end - self._file.tell()), 0))

    def readline(self) -> bytes:
        return self._file.readline(max(min(_LINE, self._end - self._file.tell()), 0))


_MARK = object()
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Instance(Global("builtins", "set")),
    "MARK": lambda: _MARK,
}
_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
    )
)
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack and memo of a pickle that is being read."""

    def __init__(self, known: Known, persistent: Callable[[Any], Any]) -> None:
        self._known, self._persistent = known, persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Do one operation."""
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _SHORT_TUPLES:
            self._stack.append(tuple(reversed([self.pop() for _ in range(_SHORT_TUPLES[name])])))
        elif name not in _NOTHING:
            operation = getattr(self, f"_{name.lower()}", None)
            if operation is None:  # objects that the pickle itself does not hold
                raise PickleError(f"its pickle has the operation {name}")
            operation() if argument is None else operation(argument)

    def pop(self) -> Any:
        """Take the top of the stack, which is no mark."""
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark in place of an object")
        return value

    def _to_mark(self) -> list[Any]:
        """Take everything down to the newest mark."""
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            if start == 0:
                raise ValueError("no mark")
            start -= 1
        taken = self._stack[start + 1 :]
        del self._stack[start:]
        return taken

    # Containers.

    def _tuple(self) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _list(self) -> None:
        self._stack.append(self._to_mark())

    def _dict(self) -> None:
        taken = self._to_mark()
        self._stack.append({})
        self._set_items(taken)

    def _frozenset(self) -> None:
        self._stack.append(Instance(Global("builtins", "frozenset"), (self._to_mark(),)))

    def _append(self) -> None:
        self._extend([self.pop()])

    def _appends(self) -> None:
        self._extend(self._to_mark())

    _additems = _appends

    def _setitem(self) -> None:
        value, key = self.pop(), self.pop()
        self._set_items([key, value])

    def _setitems(self) -> None:
        self._set_items(self._to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        elements = target.elements if isinstance(target, Instance) else target
        if not isinstance(elements, list):
            raise TypeError("no list")
        elements.extend(values)

    def _set_items(self, taken: list[Any]) -> None:
        target = self._stack[-1]
        items = target.items if isinstance(target, Instance) else target
        if not isinstance(items, dict) or len(taken) % 2:
            raise TypeError("no dict")
        items.update(mapping(zip(taken[::2], taken[1::2], strict=True)))

    # Stack and memo.

    def _pop(self) -> None:
        self._stack.pop()

    def _pop_mark(self) -> None:
        self._to_mark()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _get(self, number: int) -> None:
        self._stack.append(self._memo[number])

    _binget = _long_binget = _get

    def _put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self) -> None:
        self._put(len(self._memo))

    # Names and calls.

    def _global(self, names: str) -> None:
        self._stack.append(Global(*names.split(" ", 1)))

    def _stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("no name")
        self._stack.append(Global(module, name))

    def _ext1(self, code: int) -> None:
        self._stack.append(Global("copyreg", f"extension {code}"))

    _ext2 = _ext4 = _ext1

    def _reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        self._call(called, arguments)

    _newobj = _reduce

    def _newobj_ex(self) -> None:
        keywords, arguments, called = self.pop(), self.pop(), self.pop()
        self._call(called, (*arguments, keywords) if keywords else arguments)

    def _inst(self, names: str) -> None:
        self._call(Global(*names.split(" ", 1)), tuple(self._to_mark()))

    def _obj(self) -> None:
        called, *arguments = self._to_mark()
        self._call(called, tuple(arguments))

    def _call(self, called: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise TypeError("no arguments")
        replacement = self._known.get(called) if isinstance(called, Global) else None
        self._stack.append(
            Instance(called, arguments) if replacement is None else replacement(*arguments)
        )

    def _build(self) -> None:
        state, target = self.pop(), self._stack[-1]
        if isinstance(target, Instance):
            target.state = state
        # Attributes of anything else, as OrderedDict's _metadata, hold no parameters.

    def _persid(self, text: str) -> None:
        self._stack.append(self._persistent(text))

    def _binpersid(self) -> None:
        self._stack.append(self._persistent(self.pop()))


def mapping(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a dict of what a pickle gives as keys and values.

    Raises:
        TypeError: a key cannot be hashed, or has so many parts that hashing it would not end.
    """
    found = {}
    for key, value in pairs:
        parts, seen = [key], 0
        while parts:
            part = parts.pop()
            parts.extend(part) if isinstance(part, tuple) else hash(part)
            seen += 1
            if seen + len(parts) > _KEY_PARTS:
                raise TypeError("a key of many parts")
        found[key] = value
    return found
