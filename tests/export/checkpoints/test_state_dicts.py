"""The search for weights in what a training script saved."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.inert_pickle import Global, Instance
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.state_dicts import find_weights
from r2p_edge.export.checkpoints.torch_pickle import Storage, TensorView


def tensor(key: str, *shape: int) -> TensorView:
    return TensorView(Storage(key, "float32", 1000), 0, shape, (1,) * len(shape))


def weights(key: str = "w", axes: int = 5) -> dict[str, TensorView]:
    return {"stem.0.weight": tensor(key, *[1] * axes), "fc.bias": tensor(key + "b", 3)}


def module(key: str = "w", **children: Any) -> Instance:
    state = {
        "training": False,
        "_parameters": {"weight": tensor(key, 1, 1, 1, 1, 1), "bias": None},
        "_buffers": {"running_mean": tensor(key + "m", 1)},
        "_modules": children,
    }
    return Instance(Global("networks", "Net"), (), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"anything": w, "epoch": 3},
        lambda w: [1, (2, {"a": {"b": {"c": w}}})],
        lambda w: Instance(Global("train", "State"), (), {"model": w}),
        lambda w: Instance(Global("train", "State"), (w,)),
        lambda w: Instance(Global("train", "State"), items={"model": w}),
        lambda w: Instance(Global("train", "State"), elements=[w]),
        lambda w: {"model": w, "again": w},
        lambda w: {"model": w, "head": {"fc.weight": tensor("h", 2, 2)}},
        lambda w: {"optimizer": {"state": {0: {"exp_avg": tensor("o", 1, 1, 1, 1, 1)}}}, "net": w},
        lambda w: {**w, "epoch": 3},
    ],
)
def test_weights_are_found(wrap):
    assert find_weights(wrap(weights())).tensors.keys() == weights().keys()


def test_the_names_of_a_module():
    net = module("a", stem=module("b"), head=module("c", fc=module("d")))
    names = [
        f"{prefix}{leaf}"
        for prefix in ("", "stem.", "head.", "head.fc.")
        for leaf in ("weight", "running_mean")
    ]
    assert list(find_weights({"net": net}).tensors) == names


def test_several_sets_and_a_key():
    saved = {"model": weights("a"), "ema": {"module": weights("b")}, "mean": tensor("m", 3)}
    with pytest.raises(
        CheckpointError,
        match=r"several sets of weights; choose one of model \(2 tensors\), ema\.module \(2 t",
    ):
        find_weights(saved)
    assert find_weights(saved, "ema.module").tensors == saved["ema"]["module"]
    assert find_weights(saved, ".").tensors == {"mean": saved["mean"]}
    with pytest.raises(
        CheckpointError, match=r"no weights under the key ema; choose one of \. \(1"
    ):
        find_weights(saved, "ema")


def test_many_sets_are_not_all_listed():
    saved = {f"net {number}": weights(str(number)) for number in range(20)}
    with pytest.raises(CheckpointError, match=r"net 7 .* and 12 more with --weights-key"):
        find_weights(saved)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({}, "contains a dict of nothing and no parameters"),
        ({"a\nb": 1, 5: 2}, r"contains a dict of 'a\\nb' and no parameters"),
        ([], "contains a list and"),
        (tensor("w", 400, 512), r"contains a single tensor \(400x512\) and no parameters"),
        (None, "contains a NoneType and"),
        (Instance(Global("os", "system"), ("x",)), r"contains a os\.system and"),
        (Instance([1]), "contains a Instance and"),
    ],
)
def test_no_weights(saved, message):
    with pytest.raises(CheckpointError, match=message):
        find_weights(saved)
    with pytest.raises(CheckpointError, match="under the key a; it has no weights at all"):
        find_weights(saved, "a")


class Regression:
    """A model of another library, with arrays by name."""

    def __init__(self) -> None:
        self.fitted = {"coef_": np.ones((5, 64)), "classes_": np.arange(5)}


def test_arrays_of_something_else(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Regression()))
    message = (
        r"contains a \S+\.Regression with NumPy arrays \(coef_, classes_\) and no network of P"
    )
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "model.pkl")


def test_what_contains_itself():
    saved: dict[str, Any] = {"model": weights()}
    saved["self"] = saved
    assert find_weights(saved).tensors.keys() == weights().keys()
    net = module()
    net.state["_modules"].update(a=net, b=net)
    with pytest.raises(CheckpointError, match="has a network that contains itself"):
        find_weights(net)
