"""A stand-in for ais_bench's InferSession, with its traps.

After ais-bench_workload/tool/ais_bench of the end of 2024 (interface.py, common/
path_security_check.py, backend/base/include/Base/Log/Log.h): its import sends everybody's INFO to
stdout, and so does its C++ part, through C's buffer; a file that breaks its rules is an error whose
reason is in the log alone; arrays are bytes; a context belongs to a thread. It cannot show what
ACL itself does.

FAKE_AIS_BENCH: "old" for one without `set_context` and `free_resource`.
"""

import ctypes
import logging
import os
import re
import stat
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fake_om import LoadError, Model

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="[%(levelname)s] %(message)s")
_log = logging.getLogger(__name__)
_libc = ctypes.CDLL(None)


def _print(text):
    """Print as its C++ part does: a pipe gets it when C's buffer is full, or at the end."""
    _libc.puts(f"[INFO] {text}".encode())


def check_model_path_legality(value):
    path = Path(value).absolute()
    if re.search(r"[^_A-Za-z0-9/.-]", str(path)):
        _log.error("path contains illegal char, legal chars include A-Z a-z 0-9 _ - / .")
        raise ValueError("The path string is illegal. Please check.")
    if reason := _fault(path):
        _log.error(reason)
        raise ValueError(
            f"The path:{value} is illegal. Please check the error log for more detail."
        )


def _fault(path):
    found = path.stat()
    if path.is_symlink():
        return f"path :{path} is a soft link, not supported"
    if found.st_uid != os.geteuid() and found.st_gid not in os.getgroups():
        return f"current user isn't path:{path}'s owner or ownergroup"
    if stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        return f"The file {path} is group writable, or is others writable"
    if not os.access(path, os.R_OK) or not found.st_mode & stat.S_IRUSR:
        return f"Current user doesn't have read permission to the file {path}"
    return None


class InferSession:
    opened = []  # noqa: RUF012

    def __init__(self, device_id: int, model_path: str):
        check_model_path_legality(model_path)
        _log.info("device %d", device_id)
        _print("acl init success")
        try:
            self._model = Model(model_path)
        except LoadError as error:
            raise RuntimeError("load model from file failed, ret 545001") from error
        _print(f"load model {model_path} success")
        self.device_id, self.freed = device_id, 0
        self._thread = threading.get_ident()
        self.opened.append(self)

    def get_inputs(self):
        return [_end(*each) for each in self._model.inputs]

    def get_outputs(self):
        return [_end(*each) for each in self._model.outputs]

    def set_context(self):
        self._thread = threading.get_ident()

    def infer(self, feeds):
        if self._thread != threading.get_ident():
            raise RuntimeError("context is not set in this thread, ret 107002")
        return self._model.run([np.ascontiguousarray(feed).tobytes() for feed in feeds])

    def free_resource(self):
        self.freed += 1
        _print("unload model success, model Id is 1")


def _end(name, shape, dtype):
    kind = SimpleNamespace(name=np.dtype(dtype).name)
    return SimpleNamespace(name=name, shape=shape, datatype=kind)


if os.environ.get("FAKE_AIS_BENCH") == "old":
    del InferSession.set_context, InferSession.free_resource
