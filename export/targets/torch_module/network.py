"""A user's module, prepared for an exporter: unwrapped, in float32, on the CPU, in evaluation mode.

All of this changes the module, and is done to a child's copy of it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from r2p_edge.errors import ModelError
from r2p_edge.export.targets.torch_module.outputs import chosen_output, class_scores

_JIT: Any = torch.jit  # it has no types
_WRAPPERS = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel, AveragedModel)


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module in wrappers of PyTorch's: parallel ones, averages, compiled ones."""
    while True:
        if isinstance(module, _WRAPPERS):
            module = module.get_submodule("module")
        elif type(module).__name__ == "OptimizedModule":
            module = module.get_submodule("_orig_mod")
        else:
            return module


def prepared(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module within its wrappers, changed in place to what an exporter can read.

    Raises:
        ModelError: it was exported in training mode.
    """
    module = unwrapped(module)
    for part in list(module.modules()):
        if getattr(part, "_compiled_call_impl", None) is not None:
            part._compiled_call_impl = None
        if not isinstance(part, _JIT.ScriptModule):
            for name, child in part.named_children():
                part._modules[name] = unwrapped(child)
    try:
        module.eval()
    except NotImplementedError:  # of `torch.export`: it has one mode
        for part in module.modules():
            _check_mode(part)
            part.training = False
    tensors = [*module.parameters(), *module.buffers()]
    if any(each.is_floating_point() and each.dtype != torch.float32 for each in tensors):
        module = module.float()
    if any(each.device.type != "cpu" for each in tensors):
        module = module.cpu()
    return module


def _check_mode(part: torch.nn.Module) -> None:
    """Raise ModelError where a program of `torch.export` has a step of training."""
    if not isinstance(part, torch.fx.GraphModule):
        return
    for node in part.graph.nodes:
        operator = str(node.target)
        place = {"aten.dropout.default": 2, "aten.batch_norm.default": 5}.get(operator)
        trains = operator.startswith(("aten.native_dropout", "aten._native_batch_norm_legit."))
        if trains or (place is not None and len(node.args) > place and node.args[place] is True):
            raise ModelError(
                f"the program was exported in training mode ({operator} is in it); call "
                "model.eval() before torch.export.export"
            )


class Scored(torch.nn.Module):
    """A module that answers the scores of the classes alone, (N, classes).

    Args:
        module: the user's.
        output: the place of the scores in what it answers, see `tensors_in`.
        classes: number of labels.
        name: of the module, for errors.
    """

    def __init__(
        self, module: torch.nn.Module, output: str | None, classes: int, name: str
    ) -> None:
        super().__init__()
        self.module = module
        self._output, self._classes, self._name = output, classes, name

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the scores for normalised clips (N, 3, T, H, W)."""
        if _JIT.is_tracing():
            with _data_is_traced():
                answer = self.module(clips)
        else:
            answer = self.module(clips)
        _, tensor = chosen_output(answer, self._output, self._name)
        return class_scores(tensor, self._classes, self._name)


@contextlib.contextmanager
def _data_is_traced() -> Iterator[None]:
    """Make each read of `tensor.data` a step of the trace, in this process alone.

    Otherwise the tracer takes it for a constant, and the network would answer every clip as it
    did the example: kenshohara's ResNets with shortcut A read it in each of their stages.
    """
    tensors: Any = torch.Tensor
    own = inspect.getattr_static(tensors, "data")
    tensors.data = property(lambda tensor: tensor.detach(), own.__set__)
    try:
        yield
    finally:
        del tensors.data  # that of its base class is there again
