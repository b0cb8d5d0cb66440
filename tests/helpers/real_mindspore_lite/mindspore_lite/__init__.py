"""The names of mindspore_lite, each of which is forwarded to the real library in Python 3.7.

An array that was set as a tensor's data is read when `predict` is called, as in the library.
"""

from __future__ import annotations

import builtins
import os
import pickle
import socket
import subprocess
import threading
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

_SERVER = Path(__file__).resolve().parents[1] / "server.py"


class _Link:
    """The process of Python 3.7, and what is said to it.

    Attributes:
        seconds: that the library has taken for all calls, without the way there and back.
    """

    def __init__(self) -> None:
        python = os.environ.get("R2P_LITE_PYTHON")
        if not python:
            raise ImportError("R2P_LITE_PYTHON names no Python 3.7")
        ours, theirs = socket.socketpair()
        command = [python, "-I", str(_SERVER), str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._connection = Connection(ours.detach())
        self._lock = threading.Lock()
        self.seconds = 0.0
        self.freed: list[int] = []  # a finalizer must not ask while another request is under way
        self.close = weakref.finalize(self, _stop, self._connection, process)

    def ask(self, *request: Any) -> Any:
        with self._lock:
            freed, self.freed = self.freed, []
            self._connection.send_bytes(pickle.dumps((freed, *request), protocol=4))
            try:
                kind, value, seconds = pickle.loads(self._connection.recv_bytes())
            except (EOFError, ConnectionError) as error:
                raise RuntimeError("the process of mindspore_lite ended") from error
            self.seconds += seconds
        if kind == "error":
            name, text = value
            raise getattr(builtins, name, RuntimeError)(text)
        return self._decoded(value)

    def _decoded(self, value: Any) -> Any:
        kind, content = value
        if kind == "object":
            return _Remote(self, content)
        if kind == "array":
            dtype, shape, data = content
            return np.frombuffer(bytearray(data), dtype).reshape(shape)
        if kind in ("list", "tuple"):
            return (list if kind == "list" else tuple)(map(self._decoded, content))
        return content


def _stop(connection: Connection, process: subprocess.Popen[bytes]) -> None:
    connection.close()
    process.wait()


def _encoded(value: Any) -> tuple[str, Any]:
    if isinstance(value, _Remote):
        return "object", value._key
    if isinstance(value, np.ndarray):
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        return "array", (value.dtype.str, value.shape, order, value.tobytes(order))
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [_encoded(each) for each in value]
    return "plain", value


class _Remote:
    """An object of the library."""

    def __init__(self, link: _Link, key: int, owner: _Remote | None = None, name: str = "") -> None:
        vars(self).update(_link=link, _key=key, _owner=owner, _name=name, _array=None)

    def __getattr__(self, name: str) -> Any:
        found = self._link.ask("get", self._key, name)
        if isinstance(found, _Remote):
            vars(found).update(_owner=self, _name=name)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self._key, name, _encoded(value))

    def __call__(self, *arguments: Any) -> Any:
        if self._name == "set_data_from_numpy" and self._owner is not None:
            vars(self._owner)["_array"] = arguments[0]
        if self._name == "predict" and isinstance(arguments[0], list):
            for each in arguments[0]:
                if isinstance(each, _Remote) and each._array is not None:
                    each.set_data_from_numpy(each._array)
        return self._link.ask("call", self._key, [_encoded(each) for each in arguments])

    def __repr__(self) -> str:
        return str(self._link.ask("repr", self._key))

    def __del__(self) -> None:
        self._link.freed.append(self._key)


_link = _Link()
_library = _link.ask("library")


def library_seconds() -> float:
    """Return the seconds that the library has taken in this process of Python 3.7."""
    return _link.seconds


def __getattr__(name: str) -> Any:
    return getattr(_library, name)
