"""OpenVINO IR files (`.xml` and `.bin`), read without OpenVINO.

Facts of the format: OpenVINO's `src/core/xml_util`. The `.xml` lists the layers, a constant with
its place in the `.bin`; `Model.set_rt_info(value, ["r2p_edge", "spec"])` becomes the element
`net/rt_info/r2p_edge/spec` with the attribute `value`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from r2p_edge.errors import ModelError, unreadable_model

RT_INFO = ("r2p_edge", "spec")
"""Path of the spec in a model's `rt_info`."""


PART_INFO = ("r2p_edge", "part")
"""Path in `rt_info` under which a part of a form with state says which it is."""


class Description(NamedTuple):
    """An IR's embedded spec and which part it is (None if not), and its constants' bytes."""

    spec: str | None
    weights: int
    part: str | None = None


def describe(path: Path) -> Description:
    """Read the `.xml` file at `path`.

    Raises:
        ModelError: the file cannot be read, or is not a whole IR.
    """
    import xml.etree.ElementTree as ElementTree

    try:
        net = ElementTree.parse(path).getroot()
        if net.tag != "net":
            raise ValueError(f"its outermost element is <{net.tag}>, not <net>")
        found, part = (net.find("/".join(("rt_info", *each))) for each in (RT_INFO, PART_INFO))
        ends = [
            int(data.get("offset", 0)) + int(data.get("size", 0))
            for data in net.findall("layers/layer[@type='Const']/data")
        ]
    except OSError as error:
        raise unreadable_model(path, error) from error
    # LookupError: an encoding that Python does not know.
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ModelError(
            f"{path} is not a whole OpenVINO file ({error}); copy or export it again"
        ) from error
    return Description(
        None if found is None else found.get("value"),
        max(ends, default=0),
        None if part is None else part.get("value"),
    )


def weights_path(path: Path) -> Path:
    """Return the path of the `.bin` file that belongs to an `.xml` file."""
    return path.with_suffix(".bin")


def described_part(path: Path) -> str | None:
    """Return which part of a form with state an `.xml` file is; None if it is none.

    Raises:
        ModelError: see `describe`.
    """
    return describe(path).part


def spec_of_openvino(path: Path) -> str | None:
    """Return the JSON text of the spec in an `.xml` file, or None if it has none.

    Raises:
        ModelError: the file or its weights cannot be read, or are not whole.
    """
    described, weights = describe(path), weights_path(path)
    try:
        size = weights.stat().st_size
    except OSError as error:
        raise unreadable_model(weights, error) from error
    if size < described.weights:
        raise ModelError(
            f"{weights} has {size} bytes but {path.name} needs {described.weights}; "
            "copy both files again from the export"
        )
    return described.spec
