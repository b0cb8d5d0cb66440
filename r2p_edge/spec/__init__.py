"""`ModelSpec`: the contract that travels with every artifact."""

from r2p_edge.spec.model_spec import (
    FORMAT,
    LONGEST_SIDE,
    ClipSpec,
    CropSpec,
    InputSpec,
    ModelSpec,
    OutputSpec,
    ResizeSpec,
    parse_json,
)

__all__ = [
    "FORMAT",
    "LONGEST_SIDE",
    "ClipSpec",
    "CropSpec",
    "InputSpec",
    "ModelSpec",
    "OutputSpec",
    "ResizeSpec",
    "parse_json",
]
