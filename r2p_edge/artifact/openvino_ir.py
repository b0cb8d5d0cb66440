"""What an OpenVINO IR (`.xml` and `.bin`) says of itself, read without OpenVINO.

Facts of the format: OpenVINO's `src/core/xml_util`. The `.xml` lists the layers, a constant with
its place in the `.bin`; `Model.set_rt_info(value, ["r2p_edge", "spec"])` becomes the element
`net/rt_info/r2p_edge/spec` with the attribute `value`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

RT_INFO = ("r2p_edge", "spec")
"""Path of the spec in a model's `rt_info`."""


class Description(NamedTuple):
    """An IR's embedded spec (None without one), and the bytes that its constants need."""

    spec: str | None
    weights: int


def describe(path: Path) -> Description:
    """What the `.xml` file at `path` says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no whole IR.
    """
    try:
        net = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError) as error:  # the latter: an unknown encoding
        raise ValueError(str(error)) from error
    if net.tag != "net":
        raise ValueError(f"its outermost element is <{net.tag}>, not <net>")
    found = net.find("/".join(("rt_info", *RT_INFO)))
    ends = [
        int(data.get("offset", 0)) + int(data.get("size", 0))
        for data in net.findall("layers/layer[@type='Const']/data")
    ]
    return Description(None if found is None else found.get("value"), max(ends, default=0))


def weights_path(path: Path) -> Path:
    """The `.bin` file that belongs to an `.xml` file."""
    return path.with_suffix(".bin")
