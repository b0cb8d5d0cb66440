"""The process of Python 3.7 that has the real mindspore_lite: does what is asked over a socket.

Arrays go as bytes, because what pickles of NumPy 2 name is not in a NumPy of Python 3.7.
"""

import itertools
import pickle
import sys
import time
from multiprocessing.connection import Connection

import numpy as np

PLAIN = (type(None), bool, int, float, str, bytes)


class Server:
    """The library's objects by number, and the requests."""

    def __init__(self):
        self.objects = {}
        self.numbers = itertools.count()

    def library(self):
        import mindspore_lite

        return mindspore_lite

    def get(self, key, name):
        return getattr(self.objects[key], name)

    def set(self, key, name, value):
        setattr(self.objects[key], name, self.decoded(value))

    def call(self, key, arguments):
        return self.objects[key](*[self.decoded(each) for each in arguments])

    def repr(self, key):
        return repr(self.objects[key])

    def decoded(self, value):
        kind, content = value
        if kind == "object":
            return self.objects[content]
        if kind == "array":
            dtype, shape, order, data = content
            return np.frombuffer(data, dtype).reshape(shape, order=order)
        if kind in ("list", "tuple"):
            return (list if kind == "list" else tuple)([self.decoded(each) for each in content])
        return content

    def encoded(self, value):
        if isinstance(value, PLAIN):
            return "plain", value
        if isinstance(value, np.ndarray):
            return "array", (value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, (list, tuple)):
            kind = "list" if isinstance(value, list) else "tuple"
            return kind, [self.encoded(each) for each in value]
        key = next(self.numbers)
        self.objects[key] = value
        return "object", key

    def answer(self, what, *arguments):
        start = time.perf_counter()
        try:
            found = getattr(self, what)(*arguments)
        except Exception as error:
            return "error", (type(error).__name__, str(error)), time.perf_counter() - start
        return "result", self.encoded(found), time.perf_counter() - start


def main():
    connection, server = Connection(int(sys.argv[1])), Server()
    while True:
        try:
            freed, *request = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        for key in freed:
            server.objects.pop(key, None)
        connection.send_bytes(pickle.dumps(server.answer(*request), protocol=4))


if __name__ == "__main__":
    main()
