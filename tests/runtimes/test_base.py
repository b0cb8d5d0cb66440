"""Options of every runtime, and the helpers that runtimes share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError
from r2p_edge.runtimes.base import Options, as_input, check_one_input, position


@pytest.mark.parametrize("threads", [0, 1025, 10**13])
def test_more_threads_than_any_machine_has(threads):
    with pytest.raises(UsageError, match=f"threads is {threads}; it must be from 1 to 1024"):
        Options(threads=threads)


def test_a_precision_that_there_is_not():
    with pytest.raises(UsageError, match="precision is 'int4'; it must be one of fp32, fp16, bf16"):
        Options(precision="int4")


@pytest.mark.parametrize("name", ["absent", "n" * 300, "file", "file/below"])
def test_a_cache_that_is_no_folder(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"does not exist or cannot be written to; create it"):
        Options(cache=tmp_path / name)


def test_an_input_of_another_shape_or_type():
    model = SimpleNamespace(input_shape=(1, 2), input_dtype="uint8")
    strided = np.zeros((2, 1), np.uint8).T
    assert as_input(strided, model).flags.c_contiguous
    for other in (np.zeros((2, 1), np.uint8), np.zeros((1, 2), np.float32)):
        with pytest.raises(BackendError, match=r"takes uint8 \(1, 2\) and was given"):
            as_input(other, model)


@pytest.mark.parametrize("count", [0, 2])
def test_a_model_of_other_inputs_than_one_clip(tmp_path, count):
    check_one_input(tmp_path, 1)
    with pytest.raises(ModelError, match=rf"has {count} inputs; expected one clip"):
        check_one_input(tmp_path, count)


def test_the_tensor_that_the_spec_names():
    assert position("output", "logits", ["anything"]) == 0
    assert position("output", "logits", ["features", "logits"]) == 1
    with pytest.raises(SpecError, match="no output 'logits' but a, b; correct"):
        position("output", "logits", ["a", "b"])
