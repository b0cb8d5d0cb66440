"""TorchScript's source is followed, never executed, and what cannot be followed is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from r2p_edge.export.checkpoints.calls import INPUT, Call, Calls
from r2p_edge.export.checkpoints.inert_pickle import Global, Instance
from r2p_edge.export.checkpoints.script_calls import script_calls

RELU = Global("__torch__.torch.nn.modules.activation.___torch_mangle_3", "ReLU")
NET = Global("__torch__.net", "Net")


def layer(called: Global) -> Instance:
    return Instance(called, (), {"training": False})


def calls_of(*lines: str, **more: Any) -> Calls | None:
    """Return the calls of a module with a ReLU whose forward has these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    text = "  training : bool\n  def forward(self: __torch__.net.Net,\n    x: Tensor) -> Tensor:\n"
    state = {"training": False, "relu": layer(RELU), "n": 3} | more
    sources = {NET: text + body}
    return script_calls(Instance(NET, (), state), lambda called: sources.get(called, ""))


def test_layers_operators_and_functions() -> None:
    found = calls_of(
        "relu = self.relu",
        "_0 = __torch__.torch.nn.functional.adaptive_avg_pool3d",
        "if self.training:",
        "  y = torch.sigmoid(x)",
        "else:",
        "  y = torch.flip(x, [1])",
        "if torch.ne(torch.dim(x), 5):",
        "  ops.prim.RaiseException('5')",
        "else:",
        "  pass",
        "z = torch.add_((relu).forward(y, ), x, alpha=1)",
        "return _0(annotate(Tensor, z), [1, 1, 1], )",
    )
    assert found is None  # the number of axes is not known here
    found = calls_of(
        "relu = self.relu",
        "_0 = __torch__.torch.nn.functional.adaptive_avg_pool3d",
        "if self.training:",
        "  y = torch.sigmoid(x)",
        "else:",
        "  y = torch.flip(x, [1])",
        "z = torch.add_((relu).forward1(y, ), x, alpha=1)",
        "return _0(annotate(Tensor, z), [1, 1, 1], )",
    )
    assert found == Calls(
        (
            Call("flip", (INPUT,)),
            Call("ReLU", (0,), "relu"),
            Call("add", (1, INPUT)),
            Call("adaptive_avg_pool3d", (2,)),
        ),
        3,
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("for i in range(3):", "  x = torch.neg(x)", "return x"),
        ("while True:", "  x = torch.neg(x)", "return x"),
        ("return x[0]",),
        ("return (self).forward(x, )",),
        ("return __torch__.mine.relu(x)",),
        ("return open('/etc/passwd')(x)",),
        ("return [x]",),
        ("return (x",),
        ("return " + "torch.neg(" * 200 + "x" + ")" * 200,),
        ("return " + "-" * 5000 + "x",),
        ("return self.absent.forward(x)",),
    ],
    ids=range(11),
)
def test_what_cannot_be_followed(lines: tuple[str, ...]) -> None:
    assert calls_of(*lines) is None


def test_hooks() -> None:
    text = '  __forward_hooks__ = ["hook", ]\n  def forward(self, x):\n    return x\n'
    assert script_calls(Instance(NET, (), {}), lambda called: text) is None
    empty = text.replace('"hook", ', "")
    assert script_calls(Instance(NET, (), {}), lambda called: empty) == Calls((), INPUT)


def test_calls_that_double_end() -> None:
    text = "  def forward(self, x):\n    x = x\n"
    for number in range(60):
        text += f"  def f{number}(self, x):\n    y = (self).f{number + 1}(x, )\n"
        text += f"    return (self).f{number + 1}(y, )\n"
    text += "  def f60(self, x):\n    return x\n"
    text = text.replace("    x = x\n", "    return (self).f0(x, )\n", 1)
    assert script_calls(Instance(NET, (), {}), lambda called: text) is None
