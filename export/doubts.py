"""Doubts about a contract: warnings of a recipe that is another network's.

Weights do not say how pixels were prepared or which output means what. Where the file, the family
of its network or the bundled model's own recipe say otherwise than the caller, the artifact would
answer wrongly without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from r2p_edge.export.labels import LISTS, read_labels
from r2p_edge.export.presets import PRESETS, Preset, presets_of
from r2p_edge.export.source import WeightsFacts
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.checks import some_of
from r2p_edge.spec.class_names import fold

_SHOWN = 4  # outputs in a warning

# The order in which each family's own code numbers UCF101. `classInd.txt`, from 1, is read by
# kenshohara (util_scripts/ucf101_json.py), VCOP (datasets/ucf101.py) and mmaction2
# (tools/data/ucf101); the others sort the names of folders: torchvision/datasets/ucf101.py and what
# trains with it, jfzhang95 dataloaders/dataset.py, mindspore-ai/models src/dataset.py.
_CLASS_IND = ("kenshohara", "kenshohara-50", "vcop", "mmaction2")
_FOLDERS = ("torchvision", "vmz", "vmz-pool1", "vmz-152", "jfzhang95", "irhum", "mindspore")


class Choices(NamedTuple):
    """The words of the caller about the recipe.

    Attributes:
        preset: name of a preset; None for a spec, or for what an artifact carries.
        labels: whether a file of class names was given.
        golden: whether a golden pair was given, which the network has to reproduce.
    """

    preset: str | None
    labels: bool
    golden: bool = False


def doubts_of(
    facts: WeightsFacts | None, choices: Choices, contract: ModelSpec, bundled: bool
) -> list[str]:
    """Return what speaks against a contract, a sentence each.

    Args:
        facts: what the checkpoint says; None for an ONNX model.
        choices: what the caller said.
        contract: what came of it.
        bundled: whether the weights are the bundled model's.
    """
    if facts is None:
        return []
    preset = None if choices.preset is None else PRESETS[choices.preset]
    found = [
        _other_family(facts, preset),
        _inexact(preset),
        _other_order(facts, preset, contract.labels),
        _other_clip(contract) if bundled else None,
        _foreign_motion(preset, bundled),
        *_carried(facts, choices, contract),
        *_numbers(facts, contract),
        *(() if choices.golden else facts.doubts),
        _untrained(facts),
    ]
    return [doubt for doubt in found if doubt is not None]


def _other_family(facts: WeightsFacts, preset: Preset | None) -> str | None:
    if preset is None or facts.family in preset.families:
        return None
    known = presets_of(facts.family)
    own = [item.name for item in known if item.channels == facts.channels]
    way = f"--preset {' or '.join(own)}" if own else "--spec with the recipe of its training"
    return (
        f"the network's names are those of {facts.family} and preset {preset.name} is the recipe "
        f"of {', '.join(preset.families)}: if it was trained otherwise its answers will be wrong; "
        f"give {way}"
    )


def _inexact(preset: Preset | None) -> str | None:
    if preset is None or not preset.inexact:
        return None
    return (
        f"preset {preset.name} comes near the recipe of its repository and is not it: "
        f"{preset.inexact}"
    )


def _other_order(facts: WeightsFacts, preset: Preset | None, labels: Sequence[str]) -> str | None:
    """Return the doubt where labels are the family's, in another order."""
    known: list[tuple[str, Sequence[str]]] = []
    if preset is not None and preset.label_file is not None:
        known.append((f"preset {preset.name}", preset.labels))
    if facts.family in _CLASS_IND:
        known.append((f"{facts.family} (classInd.txt)", read_labels(LISTS / "ucf101.txt")))
    if facts.family in _FOLDERS:
        listed = read_labels(LISTS / "ucf101-mindspore.txt")
        known.append((f"{facts.family} (folders, sorted)", listed))
    for source, expected in known:
        if moved := exchanged(labels, expected):
            return (
                f"the labels are those of {source} in another order ({moved}): if it was trained "
                "in that order these names will be exchanged; give the labels in the order of the "
                "outputs"
            )
    return None


def exchanged(labels: Sequence[str], expected: Sequence[str]) -> str:
    """Return where labels differ from the same ones in another order; "" if they do not.

    Names that are not the same in both give "" too.
    """
    if sorted(map(fold, labels)) != sorted(map(fold, expected)):
        return ""
    return _differences(labels, expected)


def _differences(labels: Sequence[str], expected: Sequence[str]) -> str:
    """Return the outputs that have another name, as text; "" if none has."""
    found = [
        f"output {number} is {name!r} and not {other!r}"
        for number, (name, other) in enumerate(zip(labels, expected, strict=True))
        if fold(name) != fold(other)
    ]
    return some_of(found, _SHOWN)


def _other_clip(contract: ModelSpec) -> str | None:
    """Return the doubt about the bundled model on clips that it was not trained on."""
    own = PRESETS["motion"].spec(name="motion")
    fields = ("clip", "resize", "crop", "scale", "mean", "std", "labels")
    changed = [name for name in fields if getattr(contract, name) != getattr(own, name)]
    if not changed:
        return None
    return (
        "these are the weights of the bundled model, which were trained by preset motion, with "
        f"another {' and another '.join(changed)}: its answers were never measured so; leave these "
        "options out"
    )


def _foreign_motion(preset: Preset | None, bundled: bool) -> str | None:
    """Return the doubt about the bundled model's recipe for another network."""
    if preset is None or preset.name != "motion" or bundled:
        return None
    return (
        "preset motion is the recipe of the bundled model, and these are other weights: if they "
        "were trained otherwise their answers will be wrong; give the preset or --spec of their "
        "own training"
    )


def _untrained(facts: WeightsFacts) -> str | None:
    if not facts.untrained:
        return None
    return (
        "the network's batch norms have means of 0 and variances of 1, as before the first step "
        "of training: it was never trained, or these are not the weights that were; give the "
        "checkpoint that was saved after training"
    )


def _numbers(facts: WeightsFacts, contract: ModelSpec) -> list[str]:
    """Return where numbers that the training script saved contradict the recipe or the network."""
    carried, found = facts.carried, []
    clip, crop = contract.clip, contract.crop
    if carried.frames is not None and carried.frames.value != clip.frames:
        number, key = carried.frames
        found.append(
            f"the file says {number} frames ({key}) and the clips have {clip.frames}; give "
            f"--frames {number} if the network was trained so"
        )
    if carried.size is not None and carried.size.value not in (crop.height, crop.width):
        number, key = carried.size
        found.append(
            f"the file says a size of {number} ({key}) and the crop is {crop.height} x "
            f"{crop.width}; give --size {number} if the network was trained so"
        )
    if carried.bgr_key:
        found.append(
            f"the file says that pixels are in BGR ({carried.bgr_key}) and the model gets RGB: its "
            "answers will be wrong if it was trained so; exchange the first and third channel of "
            "the first convolution's weight, and save it again"
        )
    if carried.classes is not None and carried.classes.value != facts.classes:
        number, key = carried.classes
        found.append(
            f"the file says {number} classes ({key}) and its network has {facts.classes}; check "
            "that the weights and the labels are of one training"
        )
    if carried.labels is not None and len(carried.labels) != facts.classes:
        found.append(
            f"the file has the names of {len(carried.labels)} classes ({carried.labels_key}) and "
            f"its network {facts.classes} outputs, so they are not used; check that the weights "
            "and the labels are of one training"
        )
    return found


def _carried(facts: WeightsFacts, choices: Choices, contract: ModelSpec) -> list[str]:
    """Return where the caller contradicts what the training script saved."""
    carried, found = facts.carried, []
    names = carried.labels
    if choices.labels and names is not None and len(names) == len(contract.labels):
        differ = _differences(contract.labels, names)
        if differ:
            found.append(
                f"the file's own class names ({carried.labels_key}) are others than the labels "
                f"({differ}); leave --labels out, which takes the file's"
            )
    if contract.flow is None and carried.mean is not None and carried.std is not None:
        own = contract.replace(scale=carried.scale, mean=carried.mean, std=carried.std)
        if own != contract:
            found.append(
                f"the file's own mean {carried.mean} and std {carried.std} ({carried.mean_key}) "
                f"are others than the spec's {contract.mean} and {contract.std}"
            )
    return found
