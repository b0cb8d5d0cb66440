"""The settings of layers that files describe."""

from __future__ import annotations

from typing import Any

import pytest

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.layers import (
    Layer,
    check_kinds,
    eps_of,
    exported_layers,
    layer_of,
    pools_of,
    stride_of,
)
from r2p_edge.export.checkpoints.layouts import Pool

SCRIPTED = """
  __parameters__ = ["weight", ]
  weight : Tensor
  stride : Final[Tuple[int, int, int]] = (1, 2, 2)
  padding : Final[Tuple[int, int, int]] = (0, 1, 1)
  padding_mode : Final[str] = "zeros"
  eps : Final[float] = 1.0000000000000001e-05
  ceil_mode : Final[bool] = True
  groups : Final[int] = 1
"""
TRACED = """
  def forward(self, x: Tensor) -> Tensor:
    weight = self.weight
    a = torch._convolution(x, weight, None, [1, 2, 2], [0, 1, 1], [1, 1, 1], False, [0, 0, 0], 1)
    b = torch.batch_norm(a, weight, bias, mean, var, False, 0.10000000000000001, 0.001, True)
    return torch.max_pool3d(b, [1, 3, 3], [1, 2, 2], [0, 1, 1], [1, 1, 1], True)
"""


LONG = int("9" * 4000) ** 2  # Python refuses to print it


def test_the_source_of_a_scripted_class():
    layer = layer_of("__torch__.torch.nn.modules.conv.___torch_mangle_12.Conv3d", {}, SCRIPTED)
    assert layer == Layer(
        "torch.nn.modules.conv.Conv3d",
        {
            "stride": (1, 2, 2),
            "padding": (0, 1, 1),
            "padding_mode": "zeros",
            "eps": 1e-5,
            "ceil_mode": True,
        },
    )


@pytest.mark.parametrize(
    ("call", "settings"),
    [
        ("_convolution", {"stride": (1, 2, 2), "padding": (0, 1, 1), "dilation": (1, 1, 1)}),
        ("batch_norm", {"eps": 0.001}),
        (
            "max_pool3d",
            {
                "kernel_size": (1, 3, 3),
                "stride": (1, 2, 2),
                "padding": (0, 1, 1),
                "dilation": (1, 1, 1),
                "ceil_mode": True,
            },
        ),
    ],
)
def test_the_source_of_a_traced_class(call, settings):
    line = next(line for line in TRACED.splitlines() if call in line)
    assert layer_of("Layer", {}, line).settings == settings
    assert layer_of("Layer", {}, f"{line}\n{line}").settings == {}  # whose is it?


def conv(**settings: Any) -> Layer:
    return Layer("torch.nn.modules.conv.Conv3d", settings)


def test_strides():
    assert stride_of("a", conv(stride=(1, 2, 2), padding="same"), (1, 3, 3)) == (1, 2, 2)
    assert stride_of("a", conv(stride=2.0, padding=1.0), (3, 3, 3)) == (2, 2, 2)
    assert stride_of("a", conv(padding="valid"), (1, 1, 1)) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": (1, 2)}, r"a has stride \(1, 2\), and only three whole numbers"),
        ({"stride": (1, 1, 1, 1, 1)}, "only three whole numbers"),
        ({"stride": "x\n"}, r"a has stride 'x\\n'"),
        ({"stride": [1, 2, None]}, "only three whole numbers"),
        ({"stride": (1, 1, -1)}, "only three whole numbers"),
        ({"stride": 1.5}, "only three whole numbers"),
        ({"stride": True}, "only three whole numbers"),
        ({"stride": LONG}, "a has stride of type int, and only three whole numbers"),
        ({"stride": [[]] * 99}, "a has stride of type list, and only three whole numbers"),
        ({"stride": float("nan")}, "only three whole numbers"),
        ({"padding": 0}, r"a has padding \(0, 0, 0\), and only \(0, 1, 1\)"),
        ({"dilation": 2}, r"a has dilation \(2, 2, 2\)"),
        ({"padding_mode": "circular"}, "padding_mode circular"),
    ],
)
def test_what_cannot_be_placed(settings, message):
    with pytest.raises(CheckpointError, match=message):
        stride_of("a", conv(**settings), (1, 3, 3))


@pytest.mark.parametrize(
    "eps", [0, -1, float("nan"), LONG, "x", None], ids=lambda eps: type(eps).__name__
)
def test_epsilons(eps):
    layer = Layer("BatchNorm3d", {"eps": eps})
    if eps is None:
        assert eps_of("n", layer) is None
        return
    with pytest.raises(
        CheckpointError, match=r"its layer n has eps .* only a number between 0 and 1"
    ):
        eps_of("n", layer)


def test_pools():
    good = {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}
    layers = {"stem.pool": Layer("max_pool3d", good), "pool2": Layer("MaxPool3d", good)}
    assert pools_of(layers, ("pool2",)) == {"stem.pool": Pool((1, 3, 3), (1, 2, 2))}
    alone = Layer("MaxPool3d", {"kernel_size": 3, "stride": None, "padding": 1})
    assert pools_of({"p": alone}, ()) == {"p": Pool((3, 3, 3), (3, 3, 3))}
    assert pools_of({"p": Layer("MaxPool3d", {})}, ()) == {}
    for other in ({"ceil_mode": True}, {"padding": 0}, {"dilation": 2}):
        with pytest.raises(CheckpointError, match=f"its layer p has {next(iter(other))}"):
            pools_of({"p": Layer("MaxPool3d", good | other)}, ())


def test_kinds():
    torch = "torch.nn.modules"
    known = {
        "": Layer("net.Network", {}),
        "stem": Layer(f"{torch}.container.Sequential", {}),
        "stem.0": conv(),
        "drop": Layer(f"{torch}.dropout.Dropout3d", {}),
        "criterion": Layer(f"{torch}.loss.CrossEntropyLoss", {}),
    }
    check_kinds(known)
    check_kinds({})
    for kind in (f"{torch}.activation.GELU", "net.Conv3d", "silu"):
        with pytest.raises(CheckpointError, match=rf"its layer stem\.1 is a {kind}, which no k"):
            check_kinds({**known, "stem.1": Layer(kind, {})})


def test_a_program_of_another_shape():
    with pytest.raises((LookupError, TypeError)):
        exported_layers({"graph_module": []})
