"""Functions of CUDA's library."""

from __future__ import annotations

import os

import numpy as np
import pytest
from fake_tensorrt import cudart_library

from r2p_edge.errors import MissingDependencyError
from r2p_edge.runtimes.tensorrt.cudart import LIBRARY, CudaError, load

PETABYTE = 1 << 50


TO_DEVICE, TO_HOST = "host to device", "device to host"


def test_what_is_wrong_otherwise_is_said_in_cudas_words(fake, keep):
    stream, device = keep(fake.stream()), keep(fake.device_memory(8))
    pageable = np.zeros(8, np.uint8)
    for source, nbytes in ((pageable.ctypes.data, 8), (device.address, 9)):
        with pytest.raises(CudaError, match=r"cudaMemcpyAsync failed: invalid argument .*error 1"):
            stream.copy(device.address, source, nbytes, TO_DEVICE)


def test_a_function_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", f"{os.environ.get('CC', 'cc')} -DcudaGraphLaunch=cudaGraphLaunched")
    monkeypatch.setenv(LIBRARY, str(cudart_library(tmp_path)))
    with pytest.raises(MissingDependencyError, match=r"has no cudaGraphLaunch, .* older than CUDA"):
        load()
