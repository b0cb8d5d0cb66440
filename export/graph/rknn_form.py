"""The form of a video network that Rockchip's NPUs run from end to end.

It begins with the form without 3-D operators, whose images are (T, C, H, W), and computes the same.
RKNN-Toolkit2 2.5.0 puts three things of that form on the CPU, each of which copies a whole tensor
out of the NPU and back (the table of layers that it logs when it builds): the transposition of a
clip of five axes into images, a slice of every other image, and the reshaping behind a dense layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.export.graph.model import attributes, axis_sizes, network_input, network_output
from r2p_edge.export.graph.static import drop_unused

try:
    import onnx
    from onnx import helper, numpy_helper, shape_inference
except ImportError as error:
    raise missing("onnx") from error


def rknn_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose clip is a batch of images, without what the toolkit puts on the CPU.

    What does not have the structure that a rewrite knows stays as it is, and runs as the toolkit
    decides.

    Args:
        model: float32, without 3-D operators, of one clip (1, C, T, H, W); it is left unchanged.

    Returns:
        A new model. Its input, of the same name, is (T, C, H, W); its output may have two more axes
        of size 1.
    """
    form = _Form(model)
    form.take_images()
    form.pair_images()
    form.pool_and_classify()
    return form.finished()


class _Form:
    """A copy of a model that is rewritten in place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = shape_inference.infer_shapes(model)
        graph = self._graph = self._model.graph
        self._arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        values = (*graph.value_info, *graph.input, *graph.output)
        # 0 for an open axis, which no rewrite matches.
        self._shapes = {v.name: [size or 0 for size in axis_sizes(v)] for v in values}

    def finished(self) -> onnx.ModelProto:
        """Return the model, without shapes and constants that are no longer its own."""
        del self._graph.value_info[:]
        drop_unused(self._graph)
        return self._model

    def take_images(self) -> None:
        """Let the input be the images, which the first two nodes make of a clip."""
        value = network_input(self._model)
        _, channels, frames, height, width = self._shapes[value.name]
        images = [frames, channels, height, width]
        clip = self._readers(value.name)
        turned = self._readers(clip[0].output[0]) if len(clip) == 1 else []
        sizes = value.type.tensor_type.shape
        del sizes.dim[:]
        sizes.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in images)
        if (
            [node.op_type for node in (*clip, *turned)] == ["Reshape", "Transpose"]
            and self._shapes.get(clip[0].output[0]) == [channels, frames, height, width]
            and list(attributes(turned[0]).get("perm", ())) == [1, 0, 2, 3]
        ):
            for node in (*clip, *turned):
                self._graph.node.remove(node)
            self._rename(turned[0].output[0], value.name)
            self._shapes[value.name] = images
            return
        made = f"{value.name}.clip"
        self._rename(value.name, made)
        planes = f"{made}.planes"
        shape = self._constant(f"{made}.shape", [1, channels, frames, height, width])
        nodes = (
            helper.make_node("Transpose", [value.name], [planes], planes, perm=[1, 0, 2, 3]),
            helper.make_node("Reshape", [planes, shape], [made], made),
        )
        for place, node in enumerate(nodes):
            self._graph.node.insert(place, node)

    def pair_images(self) -> None:
        """Slice every other image as a half of the channels of pairs of images.

        In memory two images one after the other are one of twice as many channels.
        """
        for node in [each for each in self._graph.node if each.op_type == "Slice"]:
            found = self._shapes.get(node.input[0])
            bounds = [self._arrays.get(name) for name in node.input[1:]]
            if len(bounds) != 4 or any(b is None or b.size != 1 for b in bounds) or not found:
                continue
            start, _, axis, step = (int(bound.item()) for bound in bounds if bound is not None)
            if len(found) != 4 or (axis, step) != (0, 2) or start < 0 or found[0] % 2:
                continue
            images, channels, height, width = found
            (count, *_), made = self._shapes[node.output[0]], node.output[0]
            pairs = f"{made}.pairs"
            shape = self._constant(f"{pairs}.shape", [images // 2, 2 * channels, height, width])
            steps = [helper.make_node("Reshape", [node.input[0], shape], [pairs], pairs)]
            first, half = start // 2, start % 2
            cut = (first, count) != (0, images // 2)
            name = f"{made}.half" if cut else made
            steps.append(self._slice(pairs, name, 1, half * channels, channels))
            if cut:
                steps.append(self._slice(name, made, 0, first, count))
            self._replace(node, steps)

    def pool_and_classify(self) -> None:
        """Compute the mean over all images and pixels, and the dense layer on it, by convolution.

        The mean of each image is a global pool, and the mean of these is in the layer's weights.
        """
        for dense in [each for each in self._graph.node if each.op_type == "Gemm"]:
            chain = self._mean_before(dense)
            weights = self._arrays.get(dense.input[1])
            if chain is None or weights is None or dense.output[0] != self._output.name:
                continue
            images, channels = self._shapes[chain[0].input[0]][:2]
            given = attributes(dense)
            plain = all(given.get(name, 1.0) == 1.0 for name in ("alpha", "beta"))
            kernel = weights if given.get("transB") else weights.T
            bias = self._arrays.get(dense.input[2]) if len(dense.input) > 2 else None
            outputs = len(kernel)
            if not plain or given.get("transA") or kernel.shape != (outputs, channels):
                continue
            if len(dense.input) > 2 and (bias is None or bias.shape != (outputs,)):
                continue
            made = self._output.name
            pooled, row = f"{made}.pooled", f"{made}.row"
            spread = np.tile(kernel / images, (1, images))[:, :, None, None]
            self._add(f"{made}.kernel", spread.astype(np.float32))
            shape = self._constant(f"{row}.shape", [1, images * channels, 1, 1])
            steps = [
                helper.make_node("GlobalAveragePool", [chain[0].input[0]], [pooled], pooled),
                helper.make_node("Reshape", [pooled, shape], [row], row),
                helper.make_node(
                    "Conv", [row, f"{made}.kernel", *dense.input[2:3]], [made], dense.name
                ),
            ]
            for node in chain:
                self._graph.node.remove(node)
            self._replace(dense, steps)
            sizes = self._output.type.tensor_type.shape
            sizes.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=1) for _ in range(2))

    @property
    def _output(self) -> onnx.ValueInfoProto:
        return network_output(self._model)

    def _mean_before(self, dense: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Return the nodes from a mean over images and pixels to a dense layer; None if others."""
        nodes: list[onnx.NodeProto] = []
        name = dense.input[0]
        while not nodes or nodes[0].op_type in ("Reshape", "Flatten", "Squeeze", "Identity"):
            made_by = [node for node in self._graph.node if name in node.output]
            if len(made_by) != 1 or len(self._readers(name)) != 1:
                return None
            nodes.insert(0, made_by[0])
            name = made_by[0].input[0]
        mean = nodes[0]
        pooled = self._shapes.get(mean.input[0]) or []
        if mean.op_type != "ReduceMean" or len(pooled) != 4:
            return None
        given = attributes(mean).get("axes")
        if given is None:
            given = self._arrays.get(mean.input[1]) if len(mean.input) > 1 else None
        axes = None if given is None else sorted(int(axis) % 4 for axis in given)
        return nodes if axes == [0, 2, 3] or (axes == [2, 3] and pooled[0] == 1) else None

    def _slice(self, source: str, made: str, axis: int, start: int, count: int) -> onnx.NodeProto:
        bounds = (start, start + count, axis, 1)
        names = [
            self._constant(f"{made}.{what}", [bound])
            for what, bound in zip(("start", "end", "axis", "step"), bounds)
        ]
        return helper.make_node("Slice", [source, *names], [made], made)

    def _constant(self, name: str, numbers: Sequence[int]) -> str:
        return self._add(name, np.array(numbers, np.int64))

    def _add(self, name: str, array: np.ndarray) -> str:
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self._graph.node if name in node.input]

    def _rename(self, old: str, new: str) -> None:
        """Let the nodes that read one tensor read another."""
        for node in self._readers(old):
            node.input[:] = [new if name == old else name for name in node.input]

    def _replace(self, node: onnx.NodeProto, steps: Sequence[onnx.NodeProto]) -> None:
        place = list(self._graph.node).index(node)
        self._graph.node.remove(node)
        for number, step in enumerate(steps):
            self._graph.node.insert(place + number, step)
