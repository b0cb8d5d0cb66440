"""Fine-tuning: the classifier first, then the sections above a chosen one.

Batch norms keep the statistics that they have, as batches on small machines are too small for new
ones, and as the exported network has them folded in. The epoch whose loss on held-out groups is
least is the result, and the classifier alone is one of these epochs.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from r2p_edge.training.files import Trainable
from r2p_edge.training.network import UpperSections
from r2p_edge.training.recipe import Recipe
from r2p_edge.training.rounding import with_rounding
from r2p_edge.training.state import TrainingState
from r2p_edge.training.views import Views

_HEAD_STEPS = 200
_RANGES = 300  # inputs from which the ranges of int8 are taken
_HEAD_L2 = 1e-3  # of the classifier that is trained first, on features that stand still


class Sets(NamedTuple):
    """Views to train on, and those to judge by.

    Attributes:
        train, held_out: the views; without held-out ones the last epoch is the result.
        classes: names of the classes.
        soft: the scores that a teacher gives a video, by its name; none without a teacher.
    """

    train: Views
    held_out: Views | None
    classes: Sequence[str]
    soft: Mapping[str, npt.NDArray[np.float32]]


class Judged(NamedTuple):
    """How the held-out videos are answered.

    Attributes:
        loss: mean cross-entropy of all classes alike.
        right, total: number of videos answered rightly, and of all.
    """

    loss: float
    right: int
    total: int


class Epoch(NamedTuple):
    """An epoch that is over; number 0 is the classifier alone.

    Attributes:
        number: from 0 on.
        loss: mean of the steps' losses.
        judged: see `Judged`; None without held-out videos.
        seconds_left: an estimate, until all epochs are over.
    """

    number: int
    loss: float
    judged: Judged | None
    seconds_left: float


def best_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """Return the epoch of the least loss on the held-out videos; the newest one without these."""
    return min(epochs, key=lambda each: each.judged.loss if each.judged else -each.number)


def fine_tune(
    trained: Trainable,
    sets: Sets,
    recipe: Recipe,
    *,
    device: torch.device,
    state: TrainingState,
    report: Callable[[Epoch], None],
) -> list[Epoch]:
    """Train a network in place; return its epochs.

    Args:
        trained: the network, with a class for each of the sets'.
        sets: of views that `recipe.lower` has made.
        recipe: the settings.
        device: where the network is.
        state: keeps what is reached after each epoch, and has what was reached before.
        report: called after each epoch.

    Raises:
        OutputError: the state cannot be written.
        MissingDependencyError: the recipe needs NNCF, which is not installed.
    """
    torch.manual_seed(recipe.seed)
    upper = UpperSections(trained.network, recipe.upper).eval()  # and batch norms stay in it
    for section in recipe.lower:
        for module in trained.network.of_section(section):
            module.requires_grad_(False)
    found = state.load()
    loss = math.nan if found is not None else fit_classifier(upper, sets, recipe.batch, device)
    if recipe.quantisation_aware:
        some = sets.train.batches(1, np.random.default_rng(recipe.seed))
        inputs = [inputs.to(device) for inputs, _ in itertools.islice(some, _RANGES)]
        upper = with_rounding(upper, inputs)
    tuning = _Tuning(upper, sets, recipe, device)
    if found is None:
        epochs = [Epoch(0, loss, tuning.judge(), math.nan)]
        tuning.keep()
        report(epochs[-1])
    else:
        epochs = [
            Epoch(number, loss, None if found is None else Judged(*found), seconds)
            for number, loss, found, seconds in found["epochs"]
        ]
        tuning.restore(found)
    begun, before = time.monotonic(), len(epochs) - 1
    while len(epochs) <= recipe.epochs and not _is_over(epochs, recipe):
        loss, number = tuning.epoch(), len(epochs)
        seconds = (time.monotonic() - begun) / (number - before) * (recipe.epochs - number)
        epochs.append(Epoch(number, loss, tuning.judge(), seconds))
        if best_epoch(epochs) is epochs[-1]:
            tuning.keep()
        state.save({"epochs": [_plain(epoch) for epoch in epochs], **tuning.kept()})
        report(epochs[-1])
    trained.network.load_state_dict(tuning.best)
    return epochs


def _is_over(epochs: Sequence[Epoch], recipe: Recipe) -> bool:
    """Tell whether no epoch was better for as long as the recipe waits."""
    return epochs[-1].number - best_epoch(epochs).number >= recipe.patience


def _plain(epoch: Epoch) -> list[Any]:
    """Return an epoch as lists, which PyTorch reads without running code."""
    number, loss, found, seconds = epoch
    return [number, loss, None if found is None else list(found), seconds]


class _Tuning:
    """A network that is being trained, and all that a later epoch depends on."""

    def __init__(
        self, upper: UpperSections, sets: Sets, recipe: Recipe, device: torch.device
    ) -> None:
        self._upper, self._sets, self._recipe, self._device = upper, sets, recipe, device
        self._network = upper.network
        self._rng = np.random.default_rng(recipe.seed)
        self._labels = _labels(sets.train, sets.classes)
        self._weights = _balanced(self._labels, sets.classes).to(device)
        rates, groups = recipe.rates(), []
        for section in recipe.upper:
            parameters = [
                parameter
                for module in self._network.of_section(section)
                for parameter in module.parameters()
                if parameter.requires_grad
            ]
            groups.append({"params": parameters, "lr": rates[section]})
        self._optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        steps = recipe.epochs * math.ceil(len(self._labels) / recipe.batch)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, max(1, steps))
        self._scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.best: dict[str, Tensor] = {}

    def epoch(self) -> float:
        """Train on one view of each video; return the mean loss."""
        losses = []
        self._network.dropout.train()
        for inputs, videos in self._sets.train.batches(self._recipe.batch, self._rng):
            self._optimizer.zero_grad()
            with torch.autocast(self._device.type, torch.float16, self._device.type == "cuda"):
                logits = self._upper(inputs.to(self._device))
            loss = self._loss(logits.float(), videos)
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._schedule.step()
            losses.append(loss.item())
        self._network.dropout.eval()
        return float(np.mean(losses))

    def _loss(self, logits: Tensor, videos: npt.NDArray[np.int64]) -> Tensor:
        recipe, soft = self._recipe, self._sets.soft
        labels = torch.from_numpy(self._labels[videos]).to(self._device)
        hard = functional.cross_entropy(logits, labels, self._weights)
        if not soft:
            return hard
        scores = np.stack([soft[self._sets.train.videos[video].name] for video in videos])
        target = torch.from_numpy(scores ** (1 / recipe.temperature)).to(self._device)
        # Hinton et al., "Distilling the knowledge in a neural network" (arXiv 1503.02531), section
        # 2: the gradients of soft labels shrink with the square of the temperature.
        alike = functional.cross_entropy(
            logits / recipe.temperature, target / target.sum(1, keepdim=True)
        )
        share = recipe.teacher_share
        return (1 - share) * hard + share * recipe.temperature**2 * alike

    def judge(self) -> Judged | None:
        """Answer the held-out videos."""
        views = self._sets.held_out
        if views is None:
            return None
        return judged(self._upper, views, self._sets.classes, self._recipe.batch, self._device)

    def keep(self) -> None:
        """Keep the weights as they are now, as those of the best epoch so far."""
        self.best = copy.deepcopy(self._network.state_dict())

    def kept(self) -> dict[str, Any]:
        """Return all that the next epoch depends on."""
        return {
            "upper": self._upper.state_dict(),
            "best": self.best,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rng": self._rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `kept` returned."""
        self._upper.load_state_dict(kept["upper"])
        self.best = kept["best"]
        self._optimizer.load_state_dict(kept["optimizer"])
        self._schedule.load_state_dict(kept["schedule"])
        self._scaler.load_state_dict(kept["scaler"])
        self._rng.bit_generator.state = kept["rng"]
        torch.set_rng_state(kept["torch_rng"])


def fit_classifier(upper: UpperSections, sets: Sets, batch: int, device: torch.device) -> float:
    """Train the last layer alone, on the features of all views at once; return its loss.

    Args:
        upper: the sections that take the views, in evaluation mode.
        sets, batch, device: see `fine_tune`.
    """
    taken: list[Tensor] = []
    layer = upper.network.get_submodule("fc")
    hook = layer.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    numbers = []
    with torch.no_grad():
        for inputs, videos in sets.train.every_view(batch):
            upper(inputs.to(device))
            numbers.append(videos)
    hook.remove()
    x = torch.cat(taken)
    labels = _labels(sets.train, sets.classes)
    weights = _balanced(labels, sets.classes).to(device)
    wanted = torch.from_numpy(labels[np.concatenate(numbers)]).to(device)
    mean, std = x.mean(0), x.std(0) + 1e-6
    x = (x - mean) / std
    weight = torch.zeros(len(sets.classes), x.shape[1], device=device, requires_grad=True)
    bias = torch.zeros(len(sets.classes), device=device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_HEAD_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ weight.T + bias, wanted, weights)
        total: Tensor = loss + _HEAD_L2 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(closure)
    loss = float(closure().detach())
    with torch.no_grad():  # the layer takes features as they are
        upper.network.get_parameter("fc.weight").copy_(weight / std)
        upper.network.get_parameter("fc.bias").copy_(bias - (weight / std) @ mean)
    return loss


def judged(
    run: Callable[[Tensor], Tensor],
    views: Views,
    classes: Sequence[str],
    batch: int,
    device: torch.device,
) -> Judged:
    """Answer the first view of each video.

    Args:
        run: gives the logits.
        views: without augmentation, one of each video.
        classes: names of the classes.
        batch: videos at a time.
        device: where the network is.
    """
    labels = torch.from_numpy(_labels(views, classes))
    with torch.inference_mode():
        found = [run(inputs.to(device)).float().cpu() for inputs, _ in views.every_view(batch)]
    logits = torch.cat(found)
    counts = torch.bincount(labels, minlength=len(classes)).clamp(min=1)
    loss = functional.cross_entropy(logits, labels, 1 / counts.float())
    right = int((logits.argmax(1) == labels).sum())
    return Judged(float(loss), right, len(labels))


def _balanced(labels: npt.NDArray[np.int64], classes: Sequence[str]) -> Tensor:
    """Return the weight of each class, by which all count alike."""
    counts = np.bincount(labels, minlength=len(classes))
    weights: Tensor = torch.from_numpy(len(labels) / (len(classes) * np.maximum(counts, 1)))
    return weights.float()


def _labels(views: Views, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    index = {label: number for number, label in enumerate(classes)}
    return np.array([index[video.label] for video in views.videos], np.int64)
