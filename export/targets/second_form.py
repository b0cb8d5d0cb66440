"""The second form of a model, for tools that may refuse the first.

Nothing here needs onnx, because it also runs on the device, out of a kit (`kit.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from r2p_edge.errors import ModelError
from r2p_edge.spec import ModelSpec

SECOND_FILE = "conv2d.onnx"
"""Name of the second ONNX file of a kit."""

_T = TypeVar("_T")


class SecondForm(NamedTuple):
    """The form without 3-D convolutions of a model whose first form has them.

    Attributes:
        model: the ONNX file.
        planned: the spec that its artifact is to have.
        name: name of its artifact's file.
    """

    model: Path
    planned: ModelSpec
    name: str


def build_either(
    first: Callable[[], _T], second: Callable[[], _T] | None, note: Callable[[str], None]
) -> _T:
    """Return what `first` builds or, where the tool or the check of parity refuses that, `second`.

    Args:
        second: None where there is no second form.
        note: called with the sentence that says why the second form is built.

    Raises:
        ModelError: both were refused, or the first where there is no second.
        R2PError: raised by `first` or `second`, unchanged; a tool that does not work is no refusal.
    """
    try:
        return first()
    except ModelError as refusal:
        if second is None:
            raise
        note(f"{refusal}; so the form without 3-D convolutions is built")
        try:
            return second()
        except ModelError as error:
            raise ModelError(f"{refusal}; and without 3-D convolutions: {error}") from error
