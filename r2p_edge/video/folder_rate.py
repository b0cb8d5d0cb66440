"""The rate of a folder of images, which nothing in it says."""

from __future__ import annotations

from typing import Any

from r2p_edge.errors import UnknownFrameRateWarning, warn_caller
from r2p_edge.spec import ClipSpec
from r2p_edge.video.source import is_folder, is_path


def warn_of_unknown_rate(source: Any, fps: float | None, clip: ClipSpec) -> None:
    """Warn if a source is a folder of images and nobody has said its rate.

    Args:
        source: any source of frames.
        fps: the rate that was given.
        clip: says the rate that is taken instead.
    """
    if fps is None and is_path(source) and is_folder(source):
        warn_caller(
            f"a folder of images is taken at {clip.fps:g} frames a second, the rate of the "
            "training videos; give its own rate (fps=, --fps)",
            UnknownFrameRateWarning,
        )
