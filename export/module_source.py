"""A PyTorch module that the user's own code makes, as the source of an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.errors import UsageError
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.pixels import Pixels
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:  # they bring in onnx
    from r2p_edge.export.targets.torch_module.factory import ModuleFactory
    from r2p_edge.export.targets.torch_module.trace import TracedModule


def factory_of(
    module: str | None,
    args: Mapping[str, Any] | None,
    source: str | Path | None,
    weights: WeightsOptions,
    *,
    trust_code: bool,
) -> ModuleFactory | None:
    """Return what makes the module that is exported; None for another source."""
    if module is None:
        if args is not None:
            raise UsageError("args are those of a module; give that too, or leave them out")
        if source is None:
            raise UsageError("there is no source; give a checkpoint, an ONNX file or 'motion'")
        return None
    if weights.family is not None:
        raise UsageError("a module says itself what it computes; leave family out")
    from r2p_edge.export.targets.torch_module.factory import module_factory

    return module_factory(module, args, source, weights.key, trust_code=trust_code)


def named_after(factory: ModuleFactory, source: str | Path | None) -> Path:
    """Return the file that the artifact of a module is named after."""
    return Path(factory.function if factory.checkpoint is None or source is None else source)


def traced_source(
    factory: ModuleFactory,
    contract: ModelSpec,
    *,
    pixels: Pixels | None,
    given: bool,
    batch: int | Literal["dynamic"] | None,
    output: str | None,
    progress: Callable[[str], None] | None,
) -> tuple[TracedModule, ModelSpec, str | None]:
    """Trace a module; return it, its contract with what the network takes, and a warning.

    Args:
        factory: of the module.
        contract: its contract so far.
        pixels: what the network takes, if the caller said it; the contract is of these then.
        given: the caller gave the whole spec, which is not changed.
        batch: clips per call.
        output: place of the scores in what the module answers.
        progress: called with the step that begins.

    Raises:
        UsageError: the batch is open, or the module begins with a normalisation and the caller
            has to say what it takes.
        R2PError: the module cannot be traced; see `trace_factory`.
    """
    from r2p_edge.export.graph.settled import with_settled_pixels
    from r2p_edge.export.targets.torch_module.factory import trace_factory

    if batch == "dynamic":
        raise UsageError("a module is traced with a fixed batch; give a number, or none")
    if progress is not None:
        progress("tracing the module")
    clips = 1 if batch is None else batch
    traced = trace_factory(factory, contract, batch=clips, output=output)
    if pixels is not None:
        return traced, contract, None
    front = traced.front(contract)
    taken, doubt = with_settled_pixels(front, contract, traced.name, given=given)
    if taken != contract:
        traced = trace_factory(factory, taken, batch=clips, output=output)
    return traced, taken, doubt
