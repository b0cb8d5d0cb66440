"""Distillation of the semi-causal form: its later sections learn the clip model's answers.

No labels are needed. The features of the last stage that stays are computed once, by the exported
graph, and only the sections above it run in PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from r2p_edge.calibration.causal_material import CausalMaterial
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.scores import softmax
from r2p_edge.training.causal import SemiCausalNetwork
from r2p_edge.training.recipe import check_settings
from r2p_edge.training.state import TrainingState

_NORM_BATCHES = 8


@dataclass(frozen=True)
class DistilRecipe:
    """Settings of a distillation.

    Attributes:
        stages: last stage that stays as it was trained, 1 or 2.
        wait: ticks after a window's last frame at which the answer about it is trained.
        steps: of the optimiser.
        sequences: of each step.
        ticks: of each sequence.
        rate: AdamW's learning rate at its peak. 1e-3 diverges.
        weight_decay: AdamW's.
        longest_gradient: norm to which longer gradients are shortened.
        kept: steps after which the state is written.
        seed: of everything random.

    Raises:
        UsageError: a number is impossible.
    """

    stages: int = 1
    wait: int = 0
    steps: int = 240
    sequences: int = 2
    ticks: int = 190
    rate: float = 1e-4
    weight_decay: float = 0.01
    longest_gradient: float = 1.0
    kept: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.stages not in (1, 2):
            raise UsageError(f"stages is {self.stages}; choose 1 or 2")
        check_settings(
            self,
            least={"wait": 0, "steps": 1, "sequences": 1, "ticks": 2, "kept": 1, "seed": 0},
            positive=("rate", "longest_gradient"),
            shares=("weight_decay",),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class DistilStep:
    """A step that is over.

    Attributes:
        number: from 1 on.
        loss: divergence from the clip model's answers, in nats.
        agreement: share of its windows with the clip model's best class.
    """

    number: int
    loss: float
    agreement: float


class Sequences:
    """Random stretches of streams, each as if a camera had just started.

    Args:
        material: see `causal_material`.
        recipe: says how long they are, and how late the answers.
        frames: of a window; one is answered only if it lies within the stretch.

    Raises:
        UsageError: the streams are shorter than a sequence, or no window is within one.
    """

    def __init__(self, material: CausalMaterial, recipe: DistilRecipe, frames: int) -> None:
        self._material, self._recipe, self._frames = material, recipe, frames
        self._shares = softmax(material.answers.astype(np.float64)).astype(np.float32)
        ticks = len(material.features)
        starts = np.arange(max(0, ticks - recipe.ticks + 1))
        ends = np.searchsorted(material.ends, starts + recipe.ticks - recipe.wait)
        begins = np.searchsorted(material.ends, starts + frames - 1)
        self._starts = starts[ends > begins]
        if not len(self._starts):
            raise UsageError(
                f"the recordings have {ticks} ticks, and no window lies within {recipe.ticks} of "
                "them; give more recordings, or fewer --ticks"
            )

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, np.ndarray, Tensor]:
        """Return one.

        Returns:
            Features (1, C, T, H, W); the ticks of its answers; and shares of the classes in the
            clip model's answers, (windows, classes).
        """
        material, recipe = self._material, self._recipe
        start = int(rng.choice(self._starts))
        features = material.features[start : start + recipe.ticks].astype(np.float32)
        low = np.searchsorted(material.ends, start + self._frames - 1)
        high = np.searchsorted(material.ends, start + recipe.ticks - recipe.wait)
        places = material.ends[low:high] + recipe.wait - start
        x = torch.from_numpy(np.ascontiguousarray(features.transpose(1, 0, 2, 3)[None]))
        return x, places, torch.from_numpy(self._shares[low:high])


def distil(
    network: SemiCausalNetwork,
    sequences: Sequences,
    recipe: DistilRecipe,
    *,
    device: torch.device,
    state: TrainingState,
    fitted: bool = False,
    report: Callable[[DistilStep], None] = lambda _: None,
) -> list[DistilStep]:
    """Train the sections above a stage in place to answer as the clip model; return the steps.

    Their batch norms get the statistics of the features as the new weights see them, unless these
    are fitted, and keep those: batches are too small for new ones at each step.

    Args:
        network: as `SemiCausalNetwork` makes it.
        sequences: to train on.
        recipe: the settings.
        device: where the network is.
        state: keeps what is reached, and has what was reached before.
        fitted: whether the weights come from an earlier run, whose statistics they have.
        report: called after each step.

    Raises:
        ModelError: the loss is no longer a number, or far above that of the beginning.
        OutputError: the state cannot be written.
    """
    network.eval()
    rng = np.random.default_rng(recipe.seed)
    trained = [each for each in network.parameters() if each.requires_grad]
    found = state.load()
    if found is None and not fitted:
        network.estimate_norms(_features(sequences, recipe, device))
    optimizer = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps + 1
    )
    steps: list[DistilStep] = []
    if found is not None:
        network.load_state_dict(found["network"])
        optimizer.load_state_dict(found["optimizer"])
        schedule.load_state_dict(found["schedule"])
        rng.bit_generator.state = found["rng"]
        steps = [DistilStep(*step) for step in found["steps"]]
    while len(steps) < recipe.steps:
        steps.append(_step(network, sequences, recipe, device, rng, optimizer, len(steps) + 1))
        schedule.step()
        _check(steps)
        report(steps[-1])
        if len(steps) % recipe.kept == 0 or len(steps) == recipe.steps:
            state.save(
                {
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "rng": rng.bit_generator.state,
                    "steps": [list(dataclasses.astuple(step)) for step in steps],
                }
            )
    return steps


def _step(
    network: SemiCausalNetwork,
    sequences: Sequences,
    recipe: DistilRecipe,
    device: torch.device,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
    number: int,
) -> DistilStep:
    optimizer.zero_grad()
    losses, right, windows = [], 0, 0
    for _ in range(recipe.sequences):  # one at a time, which takes less memory
        x, places, shares = sequences.draw(rng)
        logits = network(x.to(device))[0, places].float()
        wanted = shares.to(device)
        loss = functional.kl_div(logits.log_softmax(1), wanted, reduction="batchmean")
        (loss / recipe.sequences).backward()
        losses.append(loss.item())
        right += int((logits.argmax(1) == wanted.argmax(1)).sum())
        windows += len(places)
    (group,) = optimizer.param_groups
    torch.nn.utils.clip_grad_norm_(group["params"], recipe.longest_gradient)
    optimizer.step()
    return DistilStep(number, float(np.mean(losses)), right / windows)


def _features(sequences: Sequences, recipe: DistilRecipe, device: torch.device) -> Iterator[Tensor]:
    rng = np.random.default_rng([recipe.seed, 1])
    for _ in range(_NORM_BATCHES):
        yield torch.cat([sequences.draw(rng)[0] for _ in range(recipe.sequences)]).to(device)


def _check(steps: list[DistilStep]) -> None:
    """Raise ModelError where a distillation has diverged."""
    newest = [step.loss for step in steps[-10:]]
    first = [step.loss for step in steps[:10]]
    if not math.isfinite(newest[-1]) or (
        len(steps) > 20 and np.mean(newest) > 2 * max(float(np.mean(first)), 0.1)
    ):
        raise ModelError(
            f"the loss is {newest[-1]:.3g} after {len(steps)} steps and was {first[0]:.3g}: the "
            "training diverges; begin anew with a lower --rate"
        )
