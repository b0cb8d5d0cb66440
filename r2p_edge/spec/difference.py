"""The difference between two contracts that makes them those of two models."""

from __future__ import annotations

from r2p_edge.spec.model_spec import ModelSpec


def difference_of_models(found: ModelSpec, contract: ModelSpec) -> str:
    """Return in what a model is another one; "" if it may be an older one of the same kind.

    Args:
        found: contract of the model that is there.
        contract: that of the model that is to take its place.
    """
    if found.outputs != contract.outputs:
        return f"{found.outputs} classes, and not {contract.outputs}"
    if set(found.labels) != set(contract.labels):
        return "of other classes"
    if found.arch and contract.arch and found.arch != contract.arch:
        return f"{found.arch}, and not {contract.arch}"
    return ""
