"""The rules of MindSpore Lite 2.0 for a node, found by trying each operator on the real library.

Its converter reports success for all of these. `conv2d_from_conv3d` writes none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r2p_edge.export.graph.operator_rules import NodeFacts

_REWRITE = "export the model that it was made from with --graph conv2d, which rewrites it"
_WRITTEN = {
    "Conv": ("strides",),
    "ConvTranspose": ("strides", "dilations", "output_padding"),
    "Elu": ("alpha",),
}


def lite_problems(node: NodeFacts) -> Iterator[tuple[str, str]]:
    """Yield reason and remedy of each problem that MindSpore Lite 2.0 has with a node."""
    given, name = node.attributes, node.operator
    if name in ("Max", "Min", "Sum") and len(node.inputs) != 2:
        yield f"of {len(node.inputs)} inputs, where 2 are known to run", _REWRITE
    wanted = _WRITTEN.get(name, ()) if node.rank in (None, 4) else ()
    for attribute in [each for each in wanted if each not in given]:
        yield f"without {attribute}, which must be written out there", _REWRITE
    if name == "InstanceNormalization" and node.rank == 3:
        yield "input of rank 3, where 4 is known to run", _REWRITE
    if name == "AveragePool" and given.get("count_include_pad") and any(given.get("pads", ())):
        yield "it counts its padding, which is computed wrongly there", _REWRITE
    if name == "Pad" and node.readers[1:2] > [1]:
        reason = "its padding is a constant that other nodes read too, which is read wrongly there"
        yield reason, _REWRITE
    if name == "ReduceMax" and node.rank and min(_axes(node, node.rank)) < 2:
        yield "over axis 0 or 1, which is computed wrongly for negative numbers there", _REWRITE


def _axes(node: NodeFacts, rank: int) -> list[int]:
    """Return the axes of a reduction; from opset 18 on they are an input, and may be any."""
    return [axis % rank for axis in node.attributes.get("axes") or range(rank)]
