"""Files of weights for a semi-causal form: what comes back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from r2p_edge.errors import ModelError, ModelNotFoundError, OutputError, UsageError
from r2p_edge.export.causal_weights import (
    CausalWeights,
    read_causal_weights,
    save_causal_weights,
)

WEIGHTS = CausalWeights(
    1,
    3,
    {
        "layer2.0.conv1.conv1.weight": np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1, 1),
        "fc.bias": np.ones(2, np.float32),
    },
    {"steps": 240, "on": "recordings in hall"},
)


def test_they_come_back_and_are_the_same_bytes_each_time(tmp_path):
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    for path in (one, other):
        save_causal_weights(WEIGHTS, path)
    assert one.read_bytes() == other.read_bytes()
    found = read_causal_weights(one)
    assert found[:2] == WEIGHTS[:2]
    assert found.record == WEIGHTS.record
    assert found.constants.keys() == WEIGHTS.constants.keys()
    for name, value in found.constants.items():
        assert np.array_equal(value, WEIGHTS.constants[name])


def test_half_precision_is_read_as_float32(tmp_path):
    halves = {name: value.astype(np.float16) for name, value in WEIGHTS.constants.items()}
    save_causal_weights(WEIGHTS._replace(constants=halves), tmp_path / "half.npz")
    found = read_causal_weights(tmp_path / "half.npz")
    assert {value.dtype for value in found.constants.values()} == {np.dtype(np.float32)}


def test_names_that_no_file_can_have(tmp_path):
    with pytest.raises(UsageError, match=r"weights\.txt is no name of an \.npz file"):
        save_causal_weights(WEIGHTS, tmp_path / "weights.txt")
    with pytest.raises(OutputError):
        save_causal_weights(WEIGHTS, tmp_path / "absent" / "weights.npz")


SAID = json.dumps({"stages": 1, "wait": 0, "record": {}})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "does not say for which form; give a file that r2p-edge adapt"),
        ({"r2p_edge.semi-causal": np.zeros(3)}, "does not say for which form"),
        ({"r2p_edge.semi-causal": np.array(SAID), "fc.bias": np.array([np.nan])}, "finite numbers"),
        ({"r2p_edge.semi-causal": np.array(SAID), "fc.bias": np.array(["a"])}, "finite numbers"),
        ({"r2p_edge.semi-causal": np.array(SAID), "fc.bias": np.array([1e300])}, "finite numbers"),
        ({"r2p_edge.semi-causal": np.array("{")}, "it is damaged"),
        ({"r2p_edge.semi-causal": np.array(SAID.replace("1", "9"))}, "it says .*stages"),
        ({"r2p_edge.semi-causal": np.array(SAID.replace("0", "true"))}, "it says "),
        ({"r2p_edge.semi-causal": np.array("[1]")}, r"it says '\[1\]'"),
    ],
)
def test_other_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ModelError, match=f"form weights .*{message}"):
        read_causal_weights(tmp_path / "other.npz")


def test_what_is_no_such_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"form weights .* does not exist"):
        read_causal_weights(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ModelError, match=r"cannot be read .*; give a file that"):
        read_causal_weights(tmp_path / "text.npz")
    np.savez(tmp_path / "pickled.npz", allow_pickle=True, a=np.array([{}], object))
    with pytest.raises(ModelError, match="cannot be read"):
        read_causal_weights(tmp_path / "pickled.npz")
