from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def resize_crop(
    image: NDArray[np.uint8],
    out: NDArray[np.uint8],
    resized_height: int,
    resized_width: int,
    top: int,
    left: int,
    swap: bool,
) -> None: ...
def resize_crop_yuv(
    y: NDArray[np.uint8],
    u: NDArray[np.uint8],
    v: NDArray[np.uint8],
    out: NDArray[np.uint8],
    resized_height: int,
    resized_width: int,
    top: int,
    left: int,
    matrix: Sequence[int],
    swap: bool,
) -> None: ...
def stack(
    frames: NDArray[np.uint8],
    out: NDArray[np.float32],
    scale: Sequence[float] | NDArray[np.float32],
    bias: Sequence[float] | NDArray[np.float32],
) -> None: ...
