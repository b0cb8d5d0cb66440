"""Contract that travels with every artifact: `ModelSpec` and its parts."""

from r2p_edge.spec.flow import FLOW_PARAMETERS, FLOW_RECIPES, FlowMethod, FlowSpec
from r2p_edge.spec.model_spec import FORMAT, ModelSpec
from r2p_edge.spec.parsing import parse_json
from r2p_edge.spec.parts import (
    LONGEST_SIDE,
    ClipSpec,
    CropSpec,
    InputSpec,
    OutputKind,
    OutputSpec,
    ResizeSpec,
)
from r2p_edge.spec.per_frame import PartSpec, PerFrameSpec, RingSpec
from r2p_edge.spec.two_streams import FUSION_RECIPES, FusionSpec, TwoStreamSpec

__all__ = [
    "FLOW_PARAMETERS",
    "FLOW_RECIPES",
    "FORMAT",
    "FUSION_RECIPES",
    "LONGEST_SIDE",
    "ClipSpec",
    "CropSpec",
    "FlowMethod",
    "FlowSpec",
    "FusionSpec",
    "InputSpec",
    "ModelSpec",
    "OutputKind",
    "OutputSpec",
    "PartSpec",
    "PerFrameSpec",
    "ResizeSpec",
    "RingSpec",
    "TwoStreamSpec",
    "parse_json",
]
