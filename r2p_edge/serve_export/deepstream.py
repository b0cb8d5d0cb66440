"""Configurations of DeepStream's 3-D action recognition app.

The app's plug-ins crop, scale and normalise the frames themselves: Gst-nvdspreprocess fills a
tensor of float32 NCDHW with (pixel - offset) * factor, which Gst-nvinfer hands to the network. So
the model must be exported without normalisation in its graph (`export --input float32`). Facts:
https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_3D_Action.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from r2p_edge._version import __version__
from r2p_edge.errors import ModelError
from r2p_edge.live.ticks import tick_grid
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.serve_export.served import ServedModel, place_model
from r2p_edge.serve_export.servers import ModelFolder, refused
from r2p_edge.spec import ModelSpec

WIDTH, HEIGHT = 1280, 720
"""Size of the frames between the plug-ins, to which Gst-nvstreammux scales every source."""

APP = "deepstream_action_recognition_config.txt"
PREPROCESS = "config_preprocess.txt"
INFER = "config_infer.txt"

_Sections = Mapping[str, Mapping[str, object]]

_LIBRARY = (
    "/opt/nvidia/deepstream/deepstream/lib/libnvds_custom_sequence_preprocess.so"  # of the app
)
_SUFFIXES = {".onnx": "model.onnx"}
_THRESHOLD = {"logits": "raw logits", "values": "raw values"}

_README = """\
# {name}

Written by r2p_edge {version} for DeepStream's 3-D action recognition app, from `{file}`. Set
`uri-list` in `{app}` to your cameras or files, and in a container or on a board with DeepStream:

    {start}

* Frames are taken by counting. `subsample` is right for sources of {fps:g} frames a second, as the
  training videos have.
* The region that the model looks at (`roi-params-src-0`) is that of sources of {width}x{height}, or
  of that shape. Add a line for each further source.
* What the app shows are {shown}, of which it takes no softmax.

The keys follow NVIDIA's documentation. The files have not been run with DeepStream itself, which
needs an NVIDIA GPU. Their sha256 are in `manifest.json` above this folder.
"""


class DeepStreamRepository:
    """Writes for DeepStream; see `Server`."""

    def check(self, model: ServedModel) -> None:
        """Raise ModelError if the app cannot feed the model; SpecError if it counts frames."""
        refused(model, "DeepStream", _SUFFIXES)
        spec = model.spec
        wanted = spec.input
        if (wanted.dtype, wanted.layout, wanted.normalized_in_graph) != ("float32", "NCTHW", False):
            raise ModelError(
                f"{model.artifact.path} takes {wanted.dtype} {wanted.layout}, and DeepStream fills "
                "float32 NCTHW that it has normalised itself; export the model with --input float32"
            )
        grid = tick_grid(spec)
        if len(set(grid.picks[1:] - grid.picks[:-1])) > 1:
            raise ModelError(
                f"{model.artifact.path} takes frames at uneven distances, and DeepStream takes "
                "every Nth; export the model with uniform offsets"
            )

    def folders(self, model: ServedModel) -> list[ModelFolder]:
        """Return the folder that the model becomes."""

        def write(folder: Path, _: Path) -> None:
            place_model(model, folder, "model", ".onnx")
            labels = ";".join(label.replace(";", ",") for label in model.spec.labels)
            (folder / "labels.txt").write_text(f"{labels}\n", encoding="utf-8")
            for name, sections in configs(model).items():
                (folder / name).write_text(_ini(sections), encoding="utf-8")
            text = _README.format(
                name=model.name,
                version=__version__,
                file=model.artifact.path.name,
                app=APP,
                start=self.start(model, folder.parent),
                fps=model.spec.clip.fps,
                width=WIDTH,
                height=HEIGHT,
                shown=_THRESHOLD.get(model.spec.output.kind, "probabilities"),
            )
            (folder / "README.md").write_text(text, encoding="utf-8")

        return [ModelFolder(model.name, model.spec, model.tensors, write, has_versions=False)]

    def root_files(self, model: ServedModel, out: Path) -> Mapping[str, bytes]:
        """Return no files: each model is an app's own."""
        return {}

    def start(self, model: ServedModel, out: Path) -> str:
        """Return the command that starts the app."""
        folder = out.absolute() / model.name
        return f'cd "{folder}" && deepstream-3d-action-recognition -c {APP}'


def configs(model: ServedModel) -> dict[str, _Sections]:
    """Return the sections and settings of each configuration file."""
    spec = model.spec
    shape = [max(model.tensors.input.shape[0], 1), *spec.input_shape[1:]]
    app = {
        "uri-list": "file:///path/of/your/video.mp4",
        "display-sync": 1,
        "preprocess-config": PREPROCESS,
        "infer-config": INFER,
        "muxer-width": WIDTH,
        "muxer-height": HEIGHT,
        "muxer-batch-timeout": 40000,
        "tiler-width": WIDTH,
        "tiler-height": HEIGHT,
        "debug": 0,
        "enable-fps": 1,
    }
    preprocess = {
        "enable": 1,
        "target-unique-ids": 1,
        "process-on-frame": 1,
        "network-input-order": 2,  # custom: NCDHW
        "network-input-shape": _numbers(shape),
        "network-color-format": 0 if spec.input.color == "RGB" else 1,
        "tensor-data-type": 0,  # float32
        "tensor-name": model.tensors.input.name,
        "processing-width": spec.crop.width,
        "processing-height": spec.crop.height,
        "scaling-pool-memory-type": 2,  # of CUDA
        "scaling-pool-compute-hw": 0,
        "scaling-filter": 1,  # bilinear
        "scaling-buf-pool-size": 8,
        "tensor-buf-pool-size": 8,
        "custom-lib-path": _LIBRARY,
        "custom-tensor-preparation-function": "CustomSequenceTensorPreparation",
    }
    infer = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "onnx-file": "model.onnx",
        "labelfile-path": "labels.txt",
        "batch-size": shape[0],
        "network-mode": 2 if spec.precision == "fp16" else 0,
        "network-type": 1,  # a classifier
        "process-mode": 1,
        "input-tensor-from-meta": 1,
        "output-blob-names": model.tensors.output.name,
        "tensor-meta-pool-size": 8,
        "classifier-threshold": 0.0,
    }
    return {
        APP: {"action-recognition": app},
        PREPROCESS: {
            "property": preprocess,
            "user-configs": user_config(spec),
            "group-0": {
                "src-ids": 0,
                "process-on-roi": 1,
                "roi-params-src-0": _numbers(region(spec, HEIGHT, WIDTH)),
            },
        },
        INFER: {"property": infer},
    }


def user_config(spec: ModelSpec) -> dict[str, object]:
    """Return the settings of the library that fills the tensor.

    A pixel p becomes (p * scale - mean) / std, here written as (p - mean / scale) * (scale / std).
    """
    return {
        "channel-scale-factors": _numbers(spec.scale / std for std in spec.std),
        "channel-mean-offsets": _numbers(mean / spec.scale for mean in spec.mean),
        # Frames of the tensor from one window to the next, and frames left out between two.
        "stride": max(spec.clip.frames // 2, 1),
        "subsample": spec.clip.interval - 1,
    }


def region(spec: ModelSpec, height: int, width: int) -> list[int]:
    """Return left, top, width and height of what the model sees of a frame of this size.

    Scaled to the crop's size, it is the crop of the resized frame.
    """
    resized_height, resized_width, top, left = Preprocessor(spec).geometry(height, width)
    across, down = width / resized_width, height / resized_height
    return [
        round(left * across),
        round(top * down),
        round(spec.crop.width * across),
        round(spec.crop.height * down),
    ]


def _numbers(values: Iterable[float]) -> str:
    return ";".join(f"{value:.9g}" for value in values)


def _ini(sections: _Sections) -> str:
    """Return sections as a file of GLib's keys."""
    parts = []
    for section, settings in sections.items():
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        parts.append(f"[{section}]\n{lines}")
    return "\n".join(parts)
