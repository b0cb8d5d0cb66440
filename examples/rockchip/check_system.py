"""Checks that this board runs `.rknn` files, and tells whether its OpenCV has GStreamer.

    python check_system.py

The exit code is 0 if a convolution runs on the NPU, and else 1 after a sentence for each thing that
is wrong. Without GStreamer cameras work too, decoded by the CPU, which is said.
"""

from __future__ import annotations

import re
import sys

from r2p_edge.doctor import diagnosis
from r2p_edge.errors import R2PError
from r2p_edge.runtimes.rknn.board import lite_library, lite_version
from r2p_edge.runtimes.rknn.chips import rockchip_here
from r2p_edge.runtimes.rknn.system import driver_version, library_version, system_faults

_SECONDS = 120.0  # that the trial may take


def main() -> None:
    """End the process with what is wrong."""
    try:
        lite_library()
    except R2PError as error:
        sys.exit(str(error))
    # The library's release has to be that of the toolkit, whose part for boards this is.
    if faults := system_faults(lite_version()):
        sys.exit("\n".join(faults))
    trial = diagnosis.ask("rknn", _SECONDS)
    if trial["status"] != "ok":
        reasons = sorted({each["conv2d"] for each in trial["devices"]} - {"ok"})
        sys.exit(f"no convolution runs on the NPU: {trial['reason'] or '; '.join(reasons)}")
    print(
        f"{(rockchip_here() or 'an unknown chip').upper()}, driver rknpu {driver_version()}, "
        f"librknnrt {library_version()}, rknn-toolkit-lite2 {lite_version()}, {opencv()}"
    )


def opencv() -> str:
    """Return what OpenCV this Python has, for cameras."""
    advice = "cameras with a pipeline need it: sudo apt-get install python3-opencv"
    try:
        import cv2
    except ImportError as error:
        return f"no OpenCV ({error}); {advice}"
    if not re.search(r"^\s*GStreamer:\s*YES", cv2.getBuildInformation(), re.MULTILINE):
        return f"OpenCV {cv2.__version__} without GStreamer, in {cv2.__file__}; {advice}"
    return f"OpenCV {cv2.__version__} with GStreamer"


if __name__ == "__main__":
    main()
