"""NumPy's arrays and numbers in pickles that are not run."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

from r2p_edge.export.checkpoints.inert_pickle import Global, Instance, read_pickle
from r2p_edge.export.checkpoints.numpy_pickle import numpy_value
from r2p_edge.export.checkpoints.torch_pickle import KNOWN, storage_of

DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float16", ">f4", "float64")


def found(value: Any, protocol: int) -> Any:
    data = pickle.dumps(value, protocol)
    return numpy_value(read_pickle(io.BytesIO(data), len(data), known=KNOWN, persistent=storage_of))


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays(dtype, protocol):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for each in (array, np.asfortranarray(array), array[:, ::2], array[:0], array.reshape(-1)):
        np.testing.assert_array_equal(found(each, protocol), each, strict=True)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers(protocol):
    for number in (np.float64(0.1), np.float32(2.5), np.int64(-3), np.bool_(True)):
        assert found(number, protocol) == number


@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, "text", [1.0], np.array(["a"]), np.array([{}]), np.array([1j])),
        *(np.zeros(2, "f4,i4"), np.datetime64("2020-01-01")),
    ],
)
def test_what_is_no_array_of_numbers(value):
    assert found(value, 4) is None


def state(shape: Any = (2,), content: Any = bytes(8), code: str = "f4", order: str = "<") -> Any:
    dtype = Instance(Global("numpy", "dtype"), (code, False, True), (3, order, None))
    return 1, shape, dtype, False, content


@pytest.mark.parametrize(
    "state",
    [
        *(None, (), state(shape=(3,)), state(shape=(1,)), state(shape=(-1,)), state(shape="ab")),
        *(state(shape=(1 << 40, 1 << 40)), state(content=None), state(content="\u4e2d" * 8)),
        *(state(code="O8"), state(code="f16"), state(order="?"), state(order=[])),
    ],
)
def test_damaged_arrays(state):
    array = Instance(Global("numpy.core.multiarray", "_reconstruct"), (), state)
    assert numpy_value(array) is None
