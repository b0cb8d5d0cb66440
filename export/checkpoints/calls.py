"""The calls that the code of a network makes, as TorchScript and `torch.export` keep it."""

from __future__ import annotations

from typing import NamedTuple

INPUT = -1
"""Number that stands for the network's input among the results of calls."""


class Call(NamedTuple):
    """An operation on tensors.

    Attributes:
        operator: name in ATen, in `torch.nn.functional`, or of a class of `torch.nn`.
        inputs: numbers of the calls whose results it takes, or `INPUT`.
        layer: name of the module whose weights it takes; "" for none.
    """

    operator: str
    inputs: tuple[int, ...]
    layer: str = ""


class Calls(NamedTuple):
    """Calls in the order of execution, of which the last is not always the answer.

    Attributes:
        output: number of the call whose result is the network's.
    """

    calls: tuple[Call, ...]
    output: int
