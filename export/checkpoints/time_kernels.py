"""Kernels that are of another length in time than those of a family's own code.

How a convolution is padded leaves no trace in weights. Within a block both paths have to give as
many moments, which only a padding of half the kernel does; in the stem any padding may stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.families import ANY, Family
from r2p_edge.export.checkpoints.layers import Layers
from r2p_edge.export.checkpoints.layouts import InceptionLayout
from r2p_edge.export.checkpoints.matching import Arrays, Fit
from r2p_edge.spec.checks import plain, some_of

_OF_BLOCKS = 3  # moments, in all families
_SHOWN = 3


class OtherLengths(NamedTuple):
    """The kernels of other lengths.

    Attributes:
        stem: what is unknown of the stem, as a sentence; "" for nothing.
        blocks: what is taken for granted in the blocks, as a sentence; None for nothing.
    """

    stem: str
    blocks: str | None


def families_of_lengths(families: Sequence[Family], fit: Fit, parameters: Arrays) -> list[Family]:
    """Return the families whose code makes kernels of the lengths in time that a network has.

    Args:
        families: those of its names, of one layout.
        fit: the names.
        parameters: all of the file.

    Raises:
        CheckpointError: there is none.
    """
    found: list[set[int]] = []
    for part in ("conv1.", *(f"layer{stage}." for stage in range(1, 5))):
        arrays = [parameters[name] for key, name in fit.names.items() if key.startswith(part)]
        found.append({array.shape[2] for array in arrays if array.ndim == 5 and array.shape[3] > 1})
    fitting = [
        family
        for family in families
        if not family.lengths
        or any(
            all(own in (ANY, *lengths) and len(lengths) == 1 for own, lengths in zip(each, found))
            for each in family.lengths
        )
    ]
    if fitting:
        return fitting
    shown = ", ".join("/".join(map(str, sorted(lengths))) or "none" for lengths in found)
    expected = {
        ", ".join(str(own or "any") for own in each) for one in families for each in one.lengths
    }
    raise CheckpointError(
        f"its kernels have {shown} moments in the stem and the stages, and those of an "
        f"{families[0].network} as {families[0].name} names it {' or '.join(sorted(expected))}: "
        f"weights do not say how others are padded and how far they step; {ADVICE}"
    )


def other_lengths(
    parameters: Arrays, family: Family, names: Mapping[str, str], layers: Layers
) -> OtherLengths:
    """Return the kernels whose length in time is not that of the family's own code.

    Args:
        parameters: arrays by canonical name.
        names: names in the file by canonical name.
        layers: what the file says of layers, by canonical name; it says how they are padded.
    """
    layout = family.layout
    if isinstance(layout, InceptionLayout):  # whose shapes are fixed but for widths
        return OtherLengths("", None)
    half = "conv1" if layout.time_first else "conv2"
    stem, blocks = "", []
    in_block = re.compile(rf"layer\d\.\d+\.conv\d\.{half}")
    for canonical, array in parameters.items():
        module, _, leaf = canonical.rpartition(".")
        if leaf != "weight" or array.ndim != 5 or module in layers:
            continue
        length, name = array.shape[2], plain(names.get(canonical, canonical))
        usual = layout.stem_lengths
        if module == half and len(layout.stem.split()) > 2 and usual and length not in usual:
            stem = (
                f"{name} is a kernel of {length} moments and that of {family.name} one of "
                f"{' or '.join(map(str, usual))}, and weights do not say how it is padded"
            )
        elif in_block.fullmatch(module) and length != _OF_BLOCKS:
            blocks.append(f"{name} of {length}")
    if not blocks:
        return OtherLengths(stem, None)
    return OtherLengths(
        stem,
        f"kernels are of another length than the {_OF_BLOCKS} moments of {family.name} "
        f"({some_of(blocks, _SHOWN)}) and taken to be padded by half of it: if the network has "
        "anything else, such as a dilation, the answers will be wrong; settle it with --golden "
        "FILE.npz",
    )
