"""The sections above a stage as a PyTorch module that sees no later frame, for every frame at once.

It is the semi-causal form (`export.graph.per_frame`) of a checkpoint's network before its batch
norms are folded, so that its weights can be trained for the ticks that they see there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from r2p_edge.errors import ModelError
from r2p_edge.export.checkpoints.structure import Conv, Norm, Step, VideoNetwork
from r2p_edge.export.graph.builder import BatchNorm
from r2p_edge.export.graph.per_frame.weights import causal_weight
from r2p_edge.training.network import TrainableNetwork


class CausalConv3d(nn.Conv3d):
    """A convolution whose newest tap is the present tick; there are zeros before the first one.

    Args:
        conv: of a clip, centred, with a stride in time.
        name: of it, for errors.
        gap: ticks from one tap to the next.

    Raises:
        ModelError: it sees another number of positions than 1 or 3.
    """

    def __init__(self, conv: nn.Conv3d, name: str, gap: int) -> None:
        size, rows, columns = conv.kernel_size
        _, down, right = conv.stride
        _, top, left = map(int, conv.padding)
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            (size, rows, columns),
            (1, down, right),
            (0, top, left),
            (gap, 1, 1),
            bias=conv.bias is not None,
        )
        self._before = gap * (size - 1)
        weight = conv.weight.detach().numpy()
        if size > 1:
            weight = causal_weight(name, weight)
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(weight))
            if self.bias is not None and conv.bias is not None:
                self.bias.copy_(conv.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the output at each tick, (N, C, T, H, W)."""
        if self._before:
            input = functional.pad(input, (0, 0, 0, 0, self._before, 0))
        return super().forward(input)


class SemiCausalNetwork(TrainableNetwork):
    """The sections above a stage, each of whose answers sees the features up to its own tick.

    Args:
        parameters: the ones in which `network` was found.
        network: its structure.
        stage: last one that stays as it was trained; 0 is the stem. Its features are given.

    Attributes:
        sections: those above.

    Raises:
        ModelError: a convolution above sees more than 3 positions.
    """

    def __init__(
        self, parameters: Mapping[str, np.ndarray], network: VideoNetwork, stage: int
    ) -> None:
        super().__init__(parameters, network)
        blocks = network.residual_blocks
        self._blocks = [block for block in blocks if _stage_of(block.name) > stage]
        below = [block for block in blocks if _stage_of(block.name) <= stage]
        gap = _time_stride([*network.stem, *(step for block in below for step in block.steps)])
        for block in self._blocks:
            self._make_causal(block.shortcut, gap)
            gap = self._make_causal(block.steps, gap)
        self.sections = (*(f"layer{number}" for number in range(stage + 1, 5)), "head")
        kept = {name for section in self.sections for name in _names(self, section)}
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in kept)

    def forward(self, x: Tensor, sections: Sequence[str] = ()) -> Tensor:
        """Run the sections above the stage.

        Args:
            x: features of the stage, (N, C, T, H, W), one slice for each tick.
            sections: those to run, in their order; none for all.

        Returns:
            Logits of each tick, (N, T, classes).
        """
        x = super().forward(x, [each for each in sections or self.sections if each != "head"])
        x = x.mean((3, 4)).transpose(1, 2)
        for name in self.network.hidden:
            x = functional.relu(self.get_submodule(name)(x))
        logits: Tensor = self.get_submodule("fc")(self.dropout(x))
        return logits

    def estimate_norms(self, batches: Iterable[Tensor]) -> None:
        """Give the batch norms above the stage the statistics of features, and keep them.

        Args:
            batches: features, (N, C, T, H, W) each.
        """
        norms = [
            self.get_submodule(step.name)
            for block in self._blocks
            for step in (*block.steps, *block.shortcut)
            if isinstance(step, Norm)
        ]
        for norm in norms:
            assert isinstance(norm, nn.BatchNorm3d)
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        with torch.no_grad():
            for batch in batches:
                self(batch)
        for norm in norms:
            norm.eval()

    def load_constants(self, constants: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Take weights that `constants` returned, also those of a form that was fitted without it.

        Batch norms keep their statistics and factors, and the convolutions are divided by these.

        Raises:
            ModelError: one is missing, of another network, or has another shape.
        """
        sizes = {name: value.shape for name, value in self.constants().items()}
        given = {name: value.shape for name, value in constants.items()}
        for name in sorted(sizes.keys() | given.keys()):
            if sizes.get(name) != given.get(name):
                raise ModelError(
                    f"{name} has shape {given.get(name)} in the weights and {sizes.get(name)} in "
                    "the network; give those of the same network and --stages"
                )
        with torch.no_grad():
            for conv, norm in self._convolutions():
                self._unfold(conv, norm, constants)
            for name in self._dense():
                for leaf in ("weight", "bias"):
                    value = torch.from_numpy(constants[f"{name}.{leaf}"].astype(np.float32))
                    self.get_parameter(f"{name}.{leaf}").copy_(value)

    def constants(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the weights for `semi_causal_form`, with batch norms folded into convolutions."""
        found: dict[str, npt.NDArray[np.float32]] = {}
        for conv, norm in self._convolutions():
            found |= self._folded(conv, norm)
        for name in self._dense():
            for leaf in ("weight", "bias"):
                value = self.get_parameter(f"{name}.{leaf}").detach().numpy()
                found[f"{name}.{leaf}"] = value.astype(np.float32)
        return found

    def _convolutions(self) -> Iterator[tuple[str, Norm | None]]:
        """Return the names of those above the stage, each with the batch norm behind it."""
        for block in self._blocks:
            for steps in (block.steps, block.shortcut):
                for step, following in zip(steps, [*steps[1:], None]):
                    if isinstance(step, Conv):
                        yield step.name, following if isinstance(following, Norm) else None

    def _dense(self) -> list[str]:
        return [*self.network.hidden, "fc"]

    def _norm_values(self, norm: Norm) -> BatchNorm:
        state = self.get_submodule(norm.name).state_dict()
        return BatchNorm(
            state["weight"].numpy(),
            state["bias"].numpy(),
            state["running_mean"].numpy(),
            state["running_var"].numpy(),
            norm.eps,
        )

    def _folded(self, name: str, norm: Norm | None) -> dict[str, npt.NDArray[np.float32]]:
        conv = self.get_submodule(name)
        assert isinstance(conv, nn.Conv3d)
        weight = conv.weight.detach().numpy().astype(np.float64)
        bias = np.zeros(len(weight))
        if conv.bias is not None:
            bias = conv.bias.detach().numpy().astype(np.float64)
        if norm is not None:
            values = self._norm_values(norm)
            weight = weight * values.factor[:, None, None, None, None]
            bias = values.bias - (values.running_mean - bias) * values.factor
        return {
            f"{name}.weight": weight.astype(np.float32),
            f"{name}.bias": bias.astype(np.float32),
        }

    def _unfold(
        self, name: str, norm: Norm | None, constants: Mapping[str, npt.NDArray[np.floating]]
    ) -> None:
        conv = self.get_submodule(name)
        assert isinstance(conv, nn.Conv3d)
        weight = constants[f"{name}.weight"].astype(np.float64)
        bias = constants[f"{name}.bias"].astype(np.float64)
        if norm is not None:
            values = self._norm_values(norm)
            # A channel that its batch norm blots out has weights of zero, whatever they are here.
            factor = np.where(values.factor == 0, 1, values.factor)
            weight = weight / factor[:, None, None, None, None]
            bias = bias + values.running_mean * values.factor
            self.get_parameter(f"{norm.name}.bias").copy_(torch.from_numpy(bias))
            bias = np.zeros(len(weight))
        conv.weight.copy_(torch.from_numpy(weight))
        if conv.bias is not None:
            conv.bias.copy_(torch.from_numpy(bias))

    def _make_causal(self, steps: Sequence[Step], gap: int) -> int:
        """Make the convolutions of some steps causal; return the stride in time after them."""
        for step in steps:
            if isinstance(step, Conv):
                conv = self.get_submodule(step.name)
                assert isinstance(conv, nn.Conv3d)
                *path, last = step.name.split(".")
                parent = self.get_submodule(".".join(path))
                parent.add_module(last, CausalConv3d(conv, step.name, gap))
                gap *= step.stride[0]
        return gap


def _stage_of(block: str) -> int:
    return int(block.removeprefix("layer").split(".")[0])


def _time_stride(steps: Iterable[Step]) -> int:
    stride = 1
    for step in steps:
        stride *= getattr(step, "stride", (1, 1, 1))[0]
    return stride


def _names(network: TrainableNetwork, section: str) -> set[str]:
    parameters = {
        id(each) for module in network.of_section(section) for each in module.parameters()
    }
    return {name for name, each in network.named_parameters() if id(each) in parameters}
