"""Edge deployment of R(2+1)D video action recognition: one `Predictor` over every runtime.

Each name is imported when it is first asked for, so that a program pays for the parts that it uses.
"""

import importlib
from typing import TYPE_CHECKING

from r2p_edge._version import __version__

__all__ = [
    "ClipSpec",
    "CropSpec",
    "InputSpec",
    "ModelSpec",
    "OutputSpec",
    "Prediction",
    "PredictionStream",
    "Predictor",
    "R2PError",
    "ResizeSpec",
    "Segment",
    "Stream",
    "Taught",
    "Timeline",
    "__version__",
    "annotate",
    "teach",
    "timeline",
    "write_timelines",
]

if TYPE_CHECKING:
    from r2p_edge.errors import R2PError
    from r2p_edge.live import PredictionStream, Stream
    from r2p_edge.prediction import Prediction
    from r2p_edge.predictor import Predictor
    from r2p_edge.segments import Segment, Timeline, annotate, timeline, write_timelines
    from r2p_edge.spec import ClipSpec, CropSpec, InputSpec, ModelSpec, OutputSpec, ResizeSpec
    from r2p_edge.teaching import Taught, teach
else:  # out of sight of type checkers, which would take every misspelt name for one of these
    _HOMES = {
        "ClipSpec": "spec",
        "CropSpec": "spec",
        "InputSpec": "spec",
        "ModelSpec": "spec",
        "OutputSpec": "spec",
        "Prediction": "prediction",
        "PredictionStream": "live",
        "Predictor": "predictor",
        "R2PError": "errors",
        "ResizeSpec": "spec",
        "Segment": "segments",
        "Stream": "live",
        "Taught": "teaching",
        "Timeline": "segments",
        "annotate": "segments",
        "teach": "teaching",
        "timeline": "segments",
        "write_timelines": "segments",
    }
    # Programs that only `import r2p_edge` reach these as its attributes.
    _ROOMS = {*_HOMES.values(), "artifact", "frame", "preprocess", "runtimes", "video"}

    def __getattr__(name: str) -> object:
        """Import and return a public name, or a room of the package."""
        if name in _HOMES:
            home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
            value = globals()[name] = getattr(home, name)  # asked for once
            return value
        if name in _ROOMS:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return the names that are imported already, and those that can be."""
        return sorted({*globals(), *_HOMES, *_ROOMS})
