"""The exporters of `torch.onnx`, in the order in which they are tried."""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from r2p_edge.export.graph.builder import OPSET
from r2p_edge.export.targets.torch_module.user_code import is_users

if TYPE_CHECKING:
    import torch

_DYNAMO_OPSET = 18  # the oldest that it writes


class Exporter(NamedTuple):
    """A way to write a module as an ONNX file.

    Attributes:
        name: as errors name it.
        write: takes the module, an example of its input and the path of the file.
    """

    name: str
    write: Callable[[torch.nn.Module, torch.Tensor, Path], None]


def exporters() -> list[Exporter]:
    """Return the exporters that are installed, the one without further packages first."""
    found = [Exporter("the TorchScript exporter", _write_traced)]
    if has_dynamo() and importlib.util.find_spec("onnxscript") is not None:
        found.append(Exporter("the dynamo exporter", _write_exported))
    return found


def has_dynamo() -> bool:
    """Return whether this torch has the exporter that needs onnxscript, and takes its options."""
    import torch

    return "external_data" in inspect.signature(torch.onnx.export).parameters


def second_exporter() -> str:
    """Return how to get the exporter that is not here; "" if it is."""
    if len(exporters()) > 1:
        return ""
    if not has_dynamo():
        return "; torch 2.5 and later have a second exporter, which is tried too"
    return (
        "; where onnxscript is installed (pip install onnxscript), a second exporter is tried too"
    )


def _write_traced(module: torch.nn.Module, example: torch.Tensor, file: Path) -> None:
    import torch

    # torch 2.5 to 2.8 have the argument but not the new default, earlier ones have neither.
    arguments: dict[str, Any] = {"opset_version": OPSET}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        arguments["dynamo"] = False
    jit: Any = torch.jit
    if any(isinstance(part, jit.ScriptModule) for part in module.modules()):
        # The exporter cannot trace through TorchScript; PyTorch's own tracer can.
        module = jit.trace(module, example, check_trace=False)
    torch.onnx.export(module, (example,), file, **arguments)


def _write_exported(module: torch.nn.Module, example: torch.Tensor, file: Path) -> None:
    import torch

    torch.onnx.export(
        module,
        (example,),
        file,
        dynamo=True,
        opset_version=_DYNAMO_OPSET,
        external_data=False,
        verbose=False,
    )


def tracer_doubts(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return what the tracer took for a constant though it may depend on the clip, with places."""
    import torch

    jit: Any = torch.jit
    return [
        f"{Path(each.filename).name}, line {each.lineno}: {str(each.message).partition('.')[0]}"
        for each in caught
        if issubclass(each.category, jit.TracerWarning) and is_users(each.filename)
    ]
