"""The names of one release, and how the classes of its bindings behave."""

from __future__ import annotations

import functools
import json
import operator
import os
import sys
import time
from pathlib import Path

__all__ = ["Dims", "IHostMemory", "ILogger", "Logger"]

_API = {
    path.stem: json.loads(path.read_text())
    for path in (Path(__file__).resolve().parents[1] / "api").glob("*.json")
}
_RELEASE = os.environ.get("FAKE_TENSORRT_VERSION", "10.3.0")
API = _API[_RELEASE]

# The four numbers of a release, which its plans and messages have, and `__version__`.
_NUMBERS = {
    "8.6.1": ((8, 6, 1, 6), "8.6.1"),
    "10.3.0": ((10, 3, 0, 26), "10.3.0"),
    "10.13.3": ((10, 13, 3, 9), "10.13.3.9"),
    "10.16.1": ((10, 16, 1, 11), "10.16.1.11"),
    "11.4": ((11, 4, 0, 106), "11.4.0.106"),
    "rtx-1.7.1": ((1, 7, 1, 116), "1.7.1.116"),
}
NUMBERS, VERSION = _NUMBERS[_RELEASE]
RTX = _RELEASE.startswith("rtx")
GENERATION = (11, 4) if RTX else NUMBERS[:2]
"""Release of TensorRT that the API is of."""


def dotted(numbers):
    return ".".join(map(str, numbers))


def bound(cls):
    """Leave in `cls` the names that this release has, all of which some release must have."""
    if cls.__name__ in API:
        for name in [name for name in vars(cls) if not name.startswith("_")]:
            if name not in API[cls.__name__]:
                delattr(cls, name)
                assert any(name in api.get(cls.__name__, ()) for api in _API.values()), name
    return cls


def public(module):
    """Return the names of a module that this release has; some release has each."""
    for name in module.__all__:
        assert any(name in api for api in _API.values()), name
    return {name: getattr(module, name) for name in module.__all__ if name in API}


class _Enum:
    """An enumeration as pybind11 makes it: no int, and its class no collection."""

    def __init__(self, value):
        self.value = operator.index(value)

    @property
    def name(self):
        return next((k for k, v in type(self)._values.items() if v == self.value), "???")

    def __int__(self):
        return self.value

    __index__ = __hash__ = __int__

    def __eq__(self, other):
        return type(self) is type(other) and self.value == other.value

    def __repr__(self):
        return f"<{type(self).__name__}.{self.name}: {self.value}>"

    def __str__(self):
        return f"{type(self).__name__}.{self.name}"


class _OrderedEnum(_Enum):
    def _compare(self, other, compare):
        if type(self) is not type(other):
            raise TypeError("Expected an enumeration of matching type!")
        return compare(self.value, other.value)

    __lt__ = functools.partialmethod(_compare, compare=operator.lt)
    __le__ = functools.partialmethod(_compare, compare=operator.le)
    __gt__ = functools.partialmethod(_compare, compare=operator.gt)
    __ge__ = functools.partialmethod(_compare, compare=operator.ge)


def _enumeration(name, values, base=_Enum):
    made = type(name, (base,), {"_values": values})
    for each, value in values.items():
        setattr(made, each, made(value))
    made.__members__ = {each: getattr(made, each) for each in values}
    return made


ENUMS = {
    name: _enumeration(name, values)
    for name, values in API.items()
    if isinstance(values, dict) and "." not in name
}
Severity = _enumeration("Severity", API["ILogger.Severity"], _OrderedEnum)


def check(value, kind):
    """Raise TypeError if pybind11 would find no overload; return an int where one is wanted."""
    if kind is int and hasattr(value, "__index__"):
        return operator.index(value)
    if kind is int or not isinstance(value, kind):
        raise TypeError(f"incompatible function arguments: {value!r} should be a {kind}")
    return value


def size_t(value):
    value = check(value, int)
    if value < 0:
        raise TypeError(f"incompatible function arguments: {value} should be positive")
    return value


class _Checked(type):
    """As in pybind11, a subclass whose constructor forgets the base's cannot be made."""

    def __call__(cls, *args, **kwargs):
        self = super().__call__(*args, **kwargs)
        if not self._initialized:
            base = next(each.__name__ for each in cls.__mro__ if each.__name__ in API)
            raise TypeError(f"tensorrt.{base}.__init__() must be called when overriding __init__")
        return self


class Overridable(metaclass=_Checked):
    """A class that users derive from; its callbacks must not raise."""

    _initialized = False

    def __init__(self):
        self._initialized = True

    def _call(self, name, *args):
        try:
            return getattr(self, name)(*args)
        except BaseException as error:
            print(f"[ERROR] Exception caught in {name}(): {error}", file=sys.stderr)
            return None


def pure(function):
    raise RuntimeError(f'Tried to call pure virtual function "{function}"')


class Owned:
    """A class that users neither derive from nor, as a rule, make; it has no other attributes."""

    def __init__(self):
        raise TypeError(f"tensorrt.{type(self).__name__}: No constructor defined!")

    @classmethod
    def _make(cls, *args):
        self = object.__new__(cls)
        self._setup(*args)
        return self

    def __setattr__(self, name, value):
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"'tensorrt.{type(self).__name__}' has no attribute '{name}'")
        super().__setattr__(name, value)


def rw(name, kind):
    """Return a property that can be written, of one type."""

    def put(self, value):
        setattr(self, name, check(value, kind))

    return property(lambda self: getattr(self, name), put)


@bound
class ILogger(Overridable):
    Severity = Severity

    def log(self, severity, msg):
        pure("ILogger::log")


@bound
class Logger(ILogger):
    def __init__(self, min_severity=Severity.WARNING):
        super().__init__()
        self._minimum = check(min_severity, Severity)

    min_severity = rw("_minimum", Severity)

    def log(self, severity, msg):
        if severity <= self._minimum:
            now = time.strftime("%m/%d/%Y-%H:%M:%S")
            print(f"[{now}] [TRT] [{severity.name[0]}] {msg}", file=sys.stderr)


for _each in API["ILogger.Severity"]:
    setattr(ILogger, _each, getattr(Severity, _each))


_KINDS = {1: "Serialization", 2: "OutOfMemory", 3: "API Usage Error", 6: "API Usage Error"}


def log(logger, severity, message):
    logger._call("log", getattr(Severity, severity), message)


def error(logger, function, code, message):
    """Log an error in the form of this release."""
    kind = _KINDS.get(code, "Internal Error")
    where = (
        f"{code}: [{function.rpartition('::')[2]}.cpp]" if GENERATION < (10,) else f"{function}:"
    )
    log(logger, "ERROR", f"{where} Error Code {code}: {kind} ({message})")


@bound
class Dims:
    """The real one can hold a number of axes of -1, on which len() and tuple() raise."""

    MAX_DIMS = 8

    def __init__(self, shape=()):
        if isinstance(shape, (str, bytes)) or not hasattr(shape, "__len__"):
            raise TypeError(f"incompatible constructor arguments: {shape!r}")
        if len(shape) > self.MAX_DIMS:
            raise ValueError(f"Input length {len(shape)}. Max expected length is 8")
        self._sizes = tuple(check(size, int) for size in shape)

    @classmethod
    def _invalid(cls):
        self = cls()
        self._sizes = None
        return self

    def __len__(self):
        return -1 if self._sizes is None else len(self._sizes)

    def __getitem__(self, index):
        return self._sizes[index]

    def __eq__(self, other):
        return self._sizes == tuple(check(other, (list, tuple)))

    __hash__ = None

    def __repr__(self):
        return repr(self._sizes)


def sizes(shape):
    """Return the sizes in anything that pybind11 converts to Dims."""
    return tuple(Dims(check(shape, (tuple, list, Dims))))


@bound
class IHostMemory(bytes):
    """A buffer and nothing else; that it is a `bytes` lets it be one before Python 3.12."""

    __len__ = __getitem__ = __iter__ = __contains__ = __add__ = None

    def __bool__(self):
        return True

    @property
    def dtype(self):
        return ENUMS["DataType"].INT8

    @property
    def nbytes(self):
        return memoryview(self).nbytes

    def __getattribute__(self, name):
        if not name.startswith("_") and name not in API["IHostMemory"]:
            raise AttributeError(f"'tensorrt.IHostMemory' has no attribute '{name}'")
        return super().__getattribute__(name)
