"""Optical flow: from two pictures of a video to a frame of displacements, as a spec says it."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.errors import MissingDependencyError, VideoError
from r2p_edge.frame import Image, Planes
from r2p_edge.preprocess.preprocessor import Preprocessor, whole_frames
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.flow import FlowMethod, FlowSpec

Grey = npt.NDArray[np.uint8]
"""A grey picture that flow is computed on, uint8 (H, W)."""

CONTRIB = (
    "pip uninstall opencv-python opencv-python-headless, then pip install "
    "opencv-contrib-python-headless (or r2p_edge[flow]), which has all that these have"
)
"""Advice on how to get TV-L1."""

_RESIZERS = 16  # sizes of frames of which the flow's own resize is kept


def opencv_with(method: FlowMethod) -> ModuleType:
    """Return OpenCV, of a build that has the method.

    Raises:
        MissingDependencyError: it is not installed, or without the method.
        BackendError: it cannot be imported.
    """
    install = OPENCV if method != "tvl1" else "pip install opencv-contrib-python-headless"
    cv2 = import_library("cv2", f"optical flow is computed with it: {install}")
    if not has_method(cv2, method):
        build = "contrib build of OpenCV, and this one is not it"
        advice = CONTRIB
        if method != "tvl1":
            build, advice = "full build of OpenCV, and this one lacks it", OPENCV
        raise MissingDependencyError(f"the flow method {method} needs the {build}: {advice}")
    return cv2


def has_method(cv2: ModuleType, method: FlowMethod) -> bool:
    """Return whether a build of OpenCV can compute flow by that method."""
    if method == "farneback":
        return hasattr(cv2, "calcOpticalFlowFarneback")
    if method == "dis":
        return hasattr(cv2, "DISOpticalFlow_create")
    return hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create")


class FlowPreprocessor:
    """The making of a model's flow, as its spec says it. Safe to share between threads.

    Pictures become grey ones by `picture`, and each pair of these a frame by `frame`.

    Raises:
        MissingDependencyError, BackendError: see `opencv_with`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.flow is not None
        self._spec, self._flow = spec, spec.flow
        self._cv2 = opencv_with(spec.flow.method)
        self._preprocessor = Preprocessor(spec)
        self._whole = functools.lru_cache(_RESIZERS)(functools.partial(whole_frames, spec))

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, 2) of a frame of flow."""
        return self._preprocessor.frame_shape

    @property
    def frame_dtype(self) -> npt.DTypeLike:
        """Dtype of a frame of flow: uint8, or float32 for pixels."""
        return self._preprocessor.frame_dtype

    def picture(self, image: Image | Planes, color: str = "RGB") -> Grey:
        """Return the grey picture that flow is computed on.

        Args:
            image: uint8 (H, W, 3), or planes.
            color: channel order of an array, "RGB" or "BGR".

        Raises:
            VideoError: see `Preprocessor.geometry`.
        """
        cv2 = self._cv2
        height, width = image.shape[:2]
        if self._flow.picture == "full":
            if isinstance(image, Planes):
                image, color = image.rgb(), "RGB"
            code = cv2.COLOR_RGB2GRAY if color == "RGB" else cv2.COLOR_BGR2GRAY
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), code))
        maker, size = self._preprocessor, self._preprocessor.frame_shape[:2]
        if self._flow.picture == "resized":
            maker = self._whole(*self._preprocessor.geometry(height, width)[:2])
            size = maker.frame_shape[:2]
        colours = np.empty((*size, 3), np.uint8)
        maker.frame(image, colours, color)
        return self.grey(colours)

    def grey(self, colours: Image) -> Grey:
        """Return the grey picture of one in RGB, uint8 (H, W, 3), of the size that is needed."""
        return np.asarray(self._cv2.cvtColor(colours, self._cv2.COLOR_RGB2GRAY))

    def frame(self, before: Grey, after: Grey, out: npt.NDArray[Any]) -> None:
        """Compute the flow from one picture to the next and write the model's frame of it.

        Args:
            before, after: of `picture`.
            out: (H, W, 2) of the crop's size, of the spec's `frame_dtype`.

        Raises:
            VideoError: the two have different sizes.
        """
        self.crop(levels_of(self.displacements(before, after), self._flow), out)

    def displacements(self, before: Grey, after: Grey) -> npt.NDArray[np.float32]:
        """Return the flow between two pictures as OpenCV computes it: float32 (H, W, 2), in pixels.

        Raises:
            VideoError: the two have different sizes.
        """
        if before.shape != after.shape:
            raise VideoError(
                f"the frames change from {before.shape[1]}x{before.shape[0]} to "
                f"{after.shape[1]}x{after.shape[0]} pixels, and flow goes between pictures of one "
                "size; give a video whose frames all have the same"
            )
        cv2, numbers = self._cv2, self._flow.numbers
        if self._flow.method == "farneback":
            # OpenCV's arguments have the names of the parameters.
            found = cv2.calcOpticalFlowFarneback(before, after, None, **numbers)
        else:
            found = _algorithm(cv2, self._flow.method, numbers).calc(before, after, None)
        return np.asarray(found, np.float32)

    def crop(self, flow: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Write the part of a flow that the model sees, resized as its picture has to be.

        Args:
            flow: (H, W, 2), of the picture that the spec says, or stored in a size of its own.
            out: see `frame`.
        """
        height, width, top, left = flow.shape[0], flow.shape[1], 0, 0
        if flow.shape[:2] != out.shape[:2] or self._flow.picture == "full":
            height, width, top, left = self._preprocessor.geometry(height, width)
        if (height, width) != flow.shape[:2]:
            size = (width, height)
            flow = self._cv2.resize(flow, size, interpolation=self._cv2.INTER_LINEAR)
        out[...] = flow[top : top + out.shape[0], left : left + out.shape[1]]


def levels_of(flow: npt.NDArray[np.float32], spec: FlowSpec) -> npt.NDArray[Any]:
    """Return displacements cut off and, where the spec says it, rounded to grey levels.

    The order is that of yjxiong/dense_flow `src/common.cpp`, with which the flow pictures of many
    data sets were made: cut off, stretched to 0..255, rounded to the nearest (to the even of two).
    """
    if spec.bound is None:
        return flow
    bounded = np.clip(flow, -spec.bound, spec.bound)
    if spec.levels == "float32":
        return bounded
    # In float64, as there: a level that lies between two is otherwise rounded to another. In place,
    # since each further array is 33 MB for a whole frame of 1920x1080.
    exact = bounded.astype(np.float64)
    exact += spec.bound
    exact *= 255
    exact /= 2 * spec.bound
    return np.rint(exact, out=exact).astype(np.uint8)


def displacements_of(levels: Grey, spec: FlowSpec) -> npt.NDArray[Any]:
    """Return stored grey levels as the spec has its frames before resize and crop.

    Args:
        levels: uint8 (H, W, 2); 0 is -bound and 255 is +bound.
        spec: has a bound.
    """
    if spec.levels == "uint8":
        return levels
    assert spec.bound is not None
    step = 2 * spec.bound / 255
    return (levels.astype(np.float32) * step - spec.bound).astype(np.float32)


def _algorithm(cv2: ModuleType, method: FlowMethod, numbers: dict[str, float | int]) -> Any:
    """Return a new algorithm of OpenCV's; threads cannot share one."""
    if method == "dis":
        return cv2.DISOpticalFlow_create(numbers["preset"])
    made = cv2.optflow.DualTVL1OpticalFlow_create()
    setters = {"lambda": "setLambda", "nscales": "setScalesNumber", "warps": "setWarpingsNumber",
               "innerIterations": "setInnerIterations", "outerIterations": "setOuterIterations",
               "scaleStep": "setScaleStep", "medianFiltering": "setMedianFiltering",
               "useInitialFlow": "setUseInitialFlow"}  # fmt: skip
    for name, value in numbers.items():
        setter = setters.get(name, f"set{name.capitalize()}")
        getattr(made, setter)(bool(value) if name == "useInitialFlow" else value)
    return made
