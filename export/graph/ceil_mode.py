"""Pools with ceil_mode, rewritten with the padding that it stands for.

Shape inference and runtimes disagree about a last window that would start in the padding. It is
left out here, as by PyTorch and ONNX Runtime.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from r2p_edge.export.graph.model import Shape, attributes


def without_ceil_mode(model: onnx.ModelProto, shapes: dict[str, Shape]) -> bool:
    """Replace ceil_mode of pools by padding, in place, up to the first whose output changes size.

    Args:
        shapes: the known shapes, by tensor.

    Returns:
        True if a size changed, so that the shapes have to be inferred again.
    """
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in model.graph.node:
        found = attributes(node) if node.op_type in ("AveragePool", "MaxPool") else {}
        rounds_up = found.get("ceil_mode", 0) and set(found.get("dilations", ())) <= {1}
        if not rounds_up or node.input[0] not in shapes or changed:
            nodes.append(node)
            continue
        replacement, sizes = _padded_pool(node, shapes[node.input[0]][2:])
        nodes += replacement
        changed = len(replacement) > 1 or shapes.get(node.output[0], ())[2:] != sizes
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return changed


def _padded_pool(node: onnx.NodeProto, sizes: Shape) -> tuple[list[onnx.NodeProto], Shape]:
    """Return a pool without ceil_mode and the sizes of its output.

    Args:
        sizes: of the axes that it slides over.
    """
    given, rank = attributes(node), len(sizes)
    kernel, strides = given["kernel_shape"], given.get("strides", [1] * rank)
    pads = list(given.get("pads", [0] * 2 * rank))
    auto_pad = given.get("auto_pad", "NOTSET")
    results, more = [], []
    for size, k, stride, before, after in zip(sizes, kernel, strides, pads, pads[rank:]):
        count = -(-(size + before + after - k) // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1
        if auto_pad.startswith("SAME"):
            count = -(-size // stride)
        results.append(count)
        more.append(max((count - 1) * stride + k - size - before - after, 0))
    changes: dict[str, Any] = {"ceil_mode": 0}
    nodes, data = [], node.input[0]
    if not auto_pad.startswith("SAME"):
        changes["auto_pad"] = "NOTSET"
        if given.get("count_include_pad", 0) and any(more):
            # The model's own padding counts in the mean, the added padding does not.
            data, amounts = f"{node.output[0]}.padded", f"{node.output[0]}.pads"
            around = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
            nodes.append(helper.make_node("Constant", [], [amounts], value_ints=around))
            nodes.append(helper.make_node("Pad", [node.input[0], amounts], [data]))
            changes["count_include_pad"] = 0
            pads = [0] * 2 * rank
        changes["pads"] = [*pads[:rank], *(a + b for a, b in zip(pads[rank:], more))]
    pool = helper.make_node(node.op_type, [data], node.output, node.name, **{**given, **changes})
    return [*nodes, pool], tuple(results)
