"""The scores of the classes in what a module answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from r2p_edge.errors import ModelError, SpecError, UsageError
from r2p_edge.spec.checks import some_of

if TYPE_CHECKING:
    import torch

_SHOWN = 12  # tensors in a message


def tensors_in(answer: Any) -> dict[str, torch.Tensor]:
    """Return the tensors in an answer by their places: keys, names and indices, with dots."""
    return dict(_walk("", answer))


def _walk(place: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield place, value
        return
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = list(zip(value._fields, value))
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    for name, part in parts:
        yield from _walk(f"{place}.{name}" if place else str(name), part)


def chosen_output(answer: Any, output: str | None, name: str) -> tuple[str, torch.Tensor]:
    """Return one of the tensors that a module answers, and its place.

    Args:
        answer: of the module.
        output: the place of the tensor, see `tensors_in`; None for the only one.
        name: of the module, for errors.

    Raises:
        UsageError: there are several and none is chosen, or none is there.
        ModelError: the answer has no tensor.
    """
    found = tensors_in(answer)
    if not found:
        raise ModelError(
            f"{name} returns a {type(answer).__name__} in which there is no tensor; wrap it in a "
            "module that returns the scores of the classes"
        )
    if output is None and len(found) == 1:
        return next(iter(found.items()))
    if "" in found:
        raise UsageError(
            f"{name} returns one tensor, so that the output {output} chooses nothing; leave it out"
        )
    if output is None or output not in found:
        asked = f", none of them {output}" if output is not None else ""
        listed = [f"{place} {tuple(tensor.shape)}" for place, tensor in found.items()]
        raise UsageError(
            f"{name} returns {len(found)} tensors{asked}: {some_of(listed, _SHOWN)}; "
            "choose the scores of the classes with --output NAME (in Python output=NAME)"
        )
    return output, found[output]


def class_scores(tensor: torch.Tensor, classes: int, name: str) -> torch.Tensor:
    """Return the scores (N, classes) in a tensor of one, or of one for each place in time.

    Args:
        tensor: (N, classes), or (N, classes, T', 1, ...), of which the mean over T' is taken.
        classes: number of labels.
        name: of the module, for errors.

    Raises:
        SpecError: the tensor has another shape.
    """
    shape = tuple(tensor.shape)
    if len(shape) < 2 or shape[1] != classes:
        raise SpecError(
            f"{name} returns {shape} where the spec has {classes} labels; give one label per class"
        )
    if any(size != 1 for size in shape[3:]):
        raise SpecError(
            f"{name} returns {shape}, scores for places of each frame; wrap it in a module that "
            "takes their mean, or whatever its training took"
        )
    scores = tensor.float()
    return scores if len(shape) == 2 else scores.flatten(2).mean(2)


def places_in_time(tensor: torch.Tensor) -> int:
    """Return how many scores of each class `class_scores` takes the mean of."""
    return int(tensor.shape[2]) if tensor.dim() > 2 else 1
