from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

instruction_set: str

class Resizer:
    def __init__(
        self,
        height: int,
        width: int,
        resized_height: int,
        resized_width: int,
        top: int,
        left: int,
        crop_height: int,
        crop_width: int,
    ) -> None: ...
    def resize(self, image: NDArray[np.uint8], out: NDArray[np.uint8], swap: bool) -> None: ...
    def resize_yuv(
        self,
        y: NDArray[np.uint8],
        u: NDArray[np.uint8],
        v: NDArray[np.uint8],
        out: NDArray[np.uint8],
        matrix: Sequence[int],
        swap: bool,
    ) -> None: ...

def stack(
    frames: NDArray[np.uint8],
    out: NDArray[np.float32],
    scale: Sequence[float] | NDArray[np.float32],
    bias: Sequence[float] | NDArray[np.float32],
) -> None: ...
