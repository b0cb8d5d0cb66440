"""Checks that this Python has the system's TensorRT, with a GPU, and an OpenCV with GStreamer.

    python check_system.py

The exit code is 0 if so, and else 1 after a sentence that says what to do.
"""

from __future__ import annotations

import re
import sys

from r2p_edge.errors import R2PError
from r2p_edge.runtimes.tensorrt.runtime import TensorRT


def main() -> None:
    """End the process with a sentence where something is missing."""
    try:
        import cv2
    except ImportError as error:
        sys.exit(
            f"OpenCV cannot be imported ({error}); sudo apt-get install python3-opencv, and make "
            "the environment with --system-site-packages"
        )
    if not re.search(r"^\s*GStreamer:\s*YES", cv2.getBuildInformation(), re.MULTILINE):
        sys.exit(
            f"the OpenCV in {cv2.__file__} has no GStreamer, as those of PyPI; remove it (pip "
            "uninstall opencv-python opencv-python-headless), so that the system's is found"
        )
    try:
        import tensorrt
    except ImportError as error:
        sys.exit(
            f"TensorRT cannot be imported ({error}); sudo apt-get install nvidia-jetpack, and make "
            "the environment with --system-site-packages"
        )
    try:
        gpus = TensorRT.devices()
    except R2PError as error:
        sys.exit(f"TensorRT is here and does not work: {error}")
    if not gpus:
        sys.exit(
            "TensorRT is here and there is no GPU for it; check with nvidia-smi that its driver is "
            "loaded, and start a container with --runtime nvidia"
        )
    print(f"TensorRT {tensorrt.__version__}, OpenCV {cv2.__version__} with GStreamer")


if __name__ == "__main__":
    main()
