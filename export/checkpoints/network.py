"""The network that named parameters belong to: its steps, and the shapes of its parameters.

Canonical names are those of GluonCV's r2plus1d_v1 with torch's batch-norm leaves, and likewise for
what other families have::

    conv1 bn1 conv2 bn2                                          the stem's halves
    layerL.B.convK bnK                                           a plain convolution of a block
    layerL.B.convK.{conv1,bn1} layerL.B.bnK                      one with two norms
    layerL.B.convK.{conv1,bn1,conv2[,bn2]} layerL.B.bnK          one with two halves
    layerL.B.downsample.{0,1}                                    a shortcut, or
    layerL.B.downsample.0.{conv1,bn1[,conv2[,bn2]]}, .downsample.1
    hidden.N.{weight,bias}                                       layers before the classifier
    fc.{weight,bias}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.families import Family
from r2p_edge.export.checkpoints.inception import inception_network
from r2p_edge.export.checkpoints.layers import Layers, eps_of, modules_of, stride_of
from r2p_edge.export.checkpoints.layouts import InceptionLayout, NetworkLayout, Triple
from r2p_edge.export.checkpoints.parameter_check import UNKNOWN, ParameterShape, check_parameters
from r2p_edge.export.checkpoints.structure import (
    HALVES,
    NORM,
    Block,
    Conv,
    Norm,
    Relu,
    Step,
    VideoNetwork,
    frame_channels,
    strides_of,
)

_KINDS: dict[tuple[int, ...], str] = {
    (3, 3, 3, 3): "r3d",
    (3, 1, 1, 1): "mc3",
    (1, 1, 3, 3): "r2plus3d",
}
"""Names of networks of kernels over time and space, by their moments in each stage."""

_BLOCKS = 1000  # the most of a stage


def network_from_parameters(
    parameters: Mapping[str, np.ndarray],
    family: Family,
    names: Mapping[str, str] | None = None,
    layers: Layers | None = None,
) -> VideoNetwork:
    """Find the network that canonically named parameters belong to.

    Args:
        parameters: floating-point arrays, named as above.
        family: decides what neither shapes nor layers tell.
        names: names in the file by canonical name, for errors.
        layers: what the file says of convolutions and norms, by canonical name.

    Raises:
        CheckpointError: a parameter is missing, unknown, has a shape or dtype other than the
            network implies, contains NaN or infinity, or is a negative variance; or a layer cannot
            be one of the family.
    """
    network = network_of(parameters, family, names, layers)
    check_parameters(parameters, network.shapes, names or {}, family.network)
    return network


def network_of(
    parameters: Mapping[str, np.ndarray],
    family: Family,
    names: Mapping[str, str] | None = None,
    layers: Layers | None = None,
) -> VideoNetwork:
    """Return the same network, whether or not the parameters have its shapes.

    Raises:
        CheckpointError: a layer cannot be one of the family.
    """
    layout = family.layout
    if isinstance(layout, InceptionLayout):
        return inception_network(parameters, family, layout)
    return _Guess(parameters, family, layout, names or {}, layers or {}).network()


def unit_names(unit: str, outer: str, count: int, layout: NetworkLayout) -> list[str]:
    """Return the canonical names of a convolution of `count` convolutions and norms.

    Args:
        unit: its name.
        outer: name of the norm after it.
        layout: whose convolution it is.
    """
    halves = [f"{unit}.conv1", f"{unit}.bn1", f"{unit}.conv2", f"{unit}.bn2", outer]
    return {
        1: [unit],
        2: [unit, outer],
        3: [*halves[:2], outer] if layout.kernels else halves[:3],
        4: [*halves[:3], outer],
        5: halves,
    }[count]


def identity_shortcuts(
    parameters: Mapping[str, np.ndarray], family: Family
) -> dict[str, np.ndarray]:
    """Return the weights of shortcuts that have none in a file, of a family whose have none.

    They are matrices of ones on the diagonal: more channels than there were are zeros.

    Args:
        parameters: the others, by canonical name.
    """
    layout, found = family.layout, {}
    if isinstance(layout, InceptionLayout):
        return {}
    for stage, strides in enumerate(layout.strides, 1):
        name = f"layer{stage}.0"
        first = parameters.get(f"{name}.conv1.conv1.weight", parameters.get(f"{name}.conv1.weight"))
        last = parameters.get(f"{name}.bn{len(layout.convs)}.weight")
        if layout.shortcut or first is None or first.ndim != 5 or last is None:
            continue
        if strides != (1, 1) or first.shape[1] != last.size:
            ones = np.eye(last.size, first.shape[1], dtype=np.float32)
            found[f"{name}.downsample.0.weight"] = ones[:, :, None, None, None]
    return found


def stem_names(count: int) -> list[str]:
    """Return the canonical names of a stem of `count` convolutions and norms."""
    return ["conv1", "bn1", "conv2", "bn2"][:count]


def block_count(modules: Collection[str], name: Callable[[int], str]) -> int:
    """Return how many blocks a stage has, by their names; gaps count.

    A stage without parameters counts one block, whose parameters are then missing.
    """
    return max((index for index in range(_BLOCKS) if name(index) in modules), default=0) + 1


class _Guess:
    """The network that the names and the convolutions' output channels suggest."""

    def __init__(
        self,
        parameters: Mapping[str, np.ndarray],
        family: Family,
        layout: NetworkLayout,
        names: Mapping[str, str],
        layers: Layers,
    ) -> None:
        self._parameters, self._family, self._layout = parameters, family, layout
        self._names, self._layers = names, layers
        self._shapes: dict[str, ParameterShape] = {}
        self._modules = modules_of(parameters)

    def network(self) -> VideoNetwork:
        layout = self._layout
        names = stem_names(len(layout.stem.split()))
        inputs = frame_channels(self._parameters.get(f"{names[0]}.weight"))
        stem, channels = self._convolution(names, inputs, (1, 2), kernel=7)
        if self._family.pool is not None:
            stem.append(self._family.pool)
        counts, blocks = [], []
        for stage, strides in enumerate(layout.strides, 1):
            counts.append(block_count(self._modules, f"layer{stage}.{{}}".format))
            if layout.kernels and self._stage_length(stage) == 1:
                strides = (1, strides[1])
            for index in range(counts[-1]):
                stride = strides if index == 0 else (1, 1)
                block, channels = self._block(f"layer{stage}.{index}", channels, stride)
                blocks.append(block)
        if self._family.headless:
            blocks[-1] = replace(blocks[-1], relu=False)
        hidden: list[str] = []
        while (name := f"hidden.{len(hidden)}") in self._modules:
            hidden.append(name)
        for name in [*hidden, "fc"]:
            before, channels = channels, self._channels(name)
            self._shapes |= {f"{name}.weight": (channels, before), f"{name}.bias": (channels,)}
        kind = HALVES
        if layout.kernels:
            lengths = tuple(self._stage_length(stage) for stage in range(1, len(counts) + 1))
            kind = _KINDS.get(lengths, "-".join(["r3d", *map(str, lengths)]))
        return VideoNetwork(
            tuple(counts),
            tuple(stem),
            tuple(blocks),
            channels,
            self._shapes,
            tuple(hidden),
            self._family.features,
            kind,
            channels=inputs,
        )

    def _stage_length(self, stage: int) -> int:
        """Return the moments of a stage's kernels, of those over time and space."""
        layout, name = self._layout, f"layer{stage}.0"
        number = layout.strided + 1
        count = len(layout.convs[layout.strided].split())
        first, *_ = unit_names(f"{name}.conv{number}", f"{name}.bn{number}", count, layout)
        return self._time(first)

    def _block(self, name: str, inputs: int, stride: tuple[int, int]) -> tuple[Block, int]:
        layout, channels, steps = self._layout, inputs, []
        for number, conv in enumerate(layout.convs, 1):
            count = len(conv.split())
            names = unit_names(f"{name}.conv{number}", f"{name}.bn{number}", count, layout)
            own = stride if number - 1 == layout.strided else (1, 1)
            kernel = layout.kernels[number - 1] if layout.kernels else 3 if count > 2 else 1
            more, channels = self._convolution(names, channels, own, kernel=kernel)
            steps += more
        shortcut: list[Step] = []
        changes = UNKNOWN not in (inputs, channels) and inputs != channels
        if stride != (1, 1) or changes or f"{name}.downsample" in self._modules:
            count = len(layout.shortcut.split()) or 1  # the identity, with zeros
            names = unit_names(f"{name}.downsample.0", f"{name}.downsample.1", count, layout)
            shortcut, _ = self._convolution(names, inputs, stride, kernel=1, outputs=channels)
        if strides_of(steps) != strides_of(shortcut):
            raise CheckpointError(
                f"the two paths of block {name} have strides {strides_of(steps)} and "
                f"{strides_of(shortcut)}, which differ; {ADVICE}"
            )
        # The ReLU of a block's end comes after the sum.
        paths = [
            path[:-1] if path and isinstance(path[-1], Relu) else path for path in (steps, shortcut)
        ]
        return Block(name, tuple(paths[0]), tuple(paths[1])), channels

    def _convolution(
        self,
        names: list[str],
        inputs: int,
        stride: tuple[int, int],
        *,
        kernel: int,
        outputs: int | None = None,
    ) -> tuple[list[Step], int]:
        """Return the steps of a convolution, a ReLU after each norm, and its output channels.

        Args:
            names: canonical names of its convolutions and norms in turn.
            inputs: channels.
            stride: in time and space.
            kernel: size in space.
            outputs: channels, where they are known.
        """
        steps: list[Step] = []
        channels, layout = inputs, self._layout
        halves = len(names) > 2 and not layout.kernels
        for number, name in enumerate(names):
            if number not in layout.convolutions:
                inner = self._family.inner_eps is not None and number == 1 and halves
                eps = self._family.inner_eps if inner else self._family.eps
                assert eps is not None
                if name in self._layers:
                    eps = eps_of(self._in_file(name), self._layers[name]) or eps
                steps += [Norm(name, eps), Relu(name)]
                self._shapes |= {f"{name}.{leaf}": (channels,) for leaf in NORM}
                continue
            in_time = halves and (number == 0) == layout.time_first
            time, space = stride
            if halves:
                time, space = (time, 1) if in_time else (1, space)
            before, channels = channels, self._channels(name)
            if outputs is not None and number == (2 if halves else 0):
                channels = outputs
            length = self._time(name) if in_time or (layout.kernels and kernel > 1) else 1
            sizes = (length, 1, 1) if in_time else (length, kernel, kernel)
            strides: Triple = (time, space, space)
            if name in self._layers:
                strides = stride_of(self._in_file(name), self._layers[name], sizes) or strides
            steps.append(Conv(name, strides))
            self._shapes[f"{name}.weight"] = (channels, before, *sizes)
            if f"{name}.bias" in self._parameters:
                self._shapes[f"{name}.bias"] = (channels,)
        return steps, channels

    def _in_file(self, name: str) -> str:
        """Return the name that a module has in the file."""
        return self._names.get(f"{name}.weight", f"{name}.weight").rpartition(".")[0]

    def _channels(self, name: str) -> int:
        value = self._parameters.get(f"{name}.weight")
        return value.shape[0] if value is not None and value.ndim else UNKNOWN

    def _time(self, name: str) -> int:
        """Return the length in time of a kernel, which has to be odd."""
        value = self._parameters.get(f"{name}.weight")
        if value is None or value.ndim != 5 or value.shape[2] % 2 == 0:
            return 3
        return int(value.shape[2])
