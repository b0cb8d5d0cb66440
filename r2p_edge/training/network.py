"""The network of a checkpoint as a PyTorch module.

It is built from the same table of families as the exported graph, so that one program trains the
weights of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from r2p_edge.export.checkpoints.layouts import Triple
from r2p_edge.export.checkpoints.structure import NORM, Conv, Norm, Relu, Step, VideoNetwork

SECTIONS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
"""Parts of a network in the order of execution."""


class TrainableNetwork(nn.Module):
    """A ResNet of video, whose parameters have the canonical names of `checkpoints.network`.

    It is made in evaluation mode. In PyTorch's usual one, batch norms would take the statistics of
    whatever passes, and change with it.

    Args:
        parameters: the ones in which `network` was found.
        network: its structure.
        frozen: names of modules whose parameters stay as they are.
        dropout: share of the features that training sets to zero before the classifier.

    Attributes:
        network: its structure.
    """

    def __init__(
        self,
        parameters: Mapping[str, np.ndarray],
        network: VideoNetwork,
        frozen: Sequence[str] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.dropout = nn.Dropout(dropout)
        for step in _steps(network):
            if isinstance(step, Conv):
                outputs, inputs, time, height, width = parameters[f"{step.name}.weight"].shape
                kernel = time, height, width
                half = _half(kernel)
                bias = f"{step.name}.bias" in parameters
                _place(
                    self,
                    step.name,
                    nn.Conv3d(inputs, outputs, kernel, step.stride, half, bias=bias),
                )
            elif isinstance(step, Norm):
                channels = parameters[f"{step.name}.{NORM[0]}"].size
                _place(self, step.name, nn.BatchNorm3d(channels, step.eps))
        for name in [*network.hidden, "fc"]:
            outputs, inputs = parameters[f"{name}.weight"].shape
            _place(self, name, nn.Linear(inputs, outputs))
        state = {name: torch.from_numpy(np.array(parameters[name])) for name in network.shapes}
        # Strictly but for the norms' counters, with which nothing computes.
        counters = {name for name in self.state_dict() if name.endswith(".num_batches_tracked")}
        found = self.load_state_dict(state, strict=False)
        assert not found.unexpected_keys, found
        assert set(found.missing_keys) <= counters, found
        for name in frozen:
            self.get_submodule(name).requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor, sections: Sequence[str] = SECTIONS) -> Tensor:
        """Run the network, or some of its sections.

        Args:
            x: normalised clips, (N, 3, T, H, W), or what the section before the first one gave.
            sections: in their order.

        Returns:
            Logits (N, classes), or what the last one gives.
        """
        for section in sections:
            if section == "stem":
                x = self._run(self.network.stem, x)
            elif section == "head":
                x = x.mean((2, 3, 4))
                for name in self.network.hidden:
                    x = functional.relu(self.get_submodule(name)(x))
                x = self.get_submodule("fc")(self.dropout(x))
            else:
                for block in self.network.residual_blocks:
                    if block.name.startswith(f"{section}."):
                        shorter = self._run(block.shortcut, x)
                        x = self._run(block.steps, x) + shorter
                        x = functional.relu(x) if block.relu else x
        return x

    def of_section(self, section: str) -> Iterator[nn.Module]:
        """Yield the modules with parameters of a section."""
        names = {"stem": _names(self.network.stem), "head": [*self.network.hidden, "fc"]}
        if section in names:
            yield from map(self.get_submodule, names[section])
        else:
            yield self.get_submodule(section)

    def replace_classifier(self, classes: int) -> None:
        """Begin anew with the last layer, for another number of classes."""
        _, features = self.get_parameter("fc.weight").shape
        self.fc = nn.Linear(features, classes)

    def _run(self, steps: Sequence[Step], x: Tensor) -> Tensor:
        for step in steps:
            if isinstance(step, (Conv, Norm)):
                x = self.get_submodule(step.name)(x)
            elif isinstance(step, Relu):
                x = functional.relu(x)
            else:
                x = functional.max_pool3d(x, step.kernel, step.stride, _half(step.kernel))
        return x


class UpperSections(nn.Module):
    """Some sections of a network, as a module by themselves.

    Attributes:
        network: all of it.
    """

    def __init__(self, network: TrainableNetwork, sections: Sequence[str]) -> None:
        super().__init__()
        self.network, self._sections = network, tuple(sections)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes), of what the section below gave."""
        logits: Tensor = self.network(x, self._sections)
        return logits


def _steps(network: VideoNetwork) -> Iterator[Step]:
    yield from network.stem
    for block in network.residual_blocks:
        yield from (*block.steps, *block.shortcut)


def _half(kernel: Triple) -> Triple:
    time, height, width = (size // 2 for size in kernel)
    return time, height, width


def _names(steps: Sequence[Step]) -> list[str]:
    return [step.name for step in steps if isinstance(step, (Conv, Norm))]


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Add a module under a name with dots."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, module)
