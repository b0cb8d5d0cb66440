"""Repositories of Triton Inference Server.

A model becomes three: itself, on the backend of its format; `NAME_stream`, which takes the frames
of live video, one sequence for each camera; and `NAME_files`, which takes the bytes of video files.
The last two are Python models, `r2p_edge.integrations.triton`. Facts of the format:
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2p_edge._version import __version__
from r2p_edge.errors import SpecError
from r2p_edge.live.ticks import tick_grid
from r2p_edge.serve_export.client import LABELS, write_instructions, write_labels
from r2p_edge.serve_export.served import ServedModel, place_model
from r2p_edge.serve_export.servers import ModelFolder, refused
from r2p_edge.serve_export.text_format import Enum, protobuf_text

_IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"
"""Container of the release of Triton that the tests run, 2.51.0."""

FORGOTTEN_SECONDS = 60
"""Seconds after which a stream whose frames have ended is forgotten."""

STREAMS = 64
"""Most streams at a time."""

_BACKENDS: dict[str, tuple[dict[str, str], str]] = {
    ".onnx": ({"backend": "onnxruntime"}, "model.onnx"),
    ".xml": ({"backend": "openvino"}, "model.xml"),
    ".engine": ({"platform": "tensorrt_plan"}, "model.plan"),
    ".plan": ({"platform": "tensorrt_plan"}, "model.plan"),
}
_TYPES = {"uint8": Enum("TYPE_UINT8"), "float32": Enum("TYPE_FP32")}

_MODEL_PY = '''\
"""{summary}

The code is r2p_edge's, which has to be installed for the Python of Triton's Python backend.
"""

from r2p_edge.integrations.triton import {type} as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

_README = """\
# {name}

Written by r2p_edge {version} for Triton Inference Server, from `{file}`.

    {start}

`{name}` takes clips as `r2p_edge.Predictor.pixels` gives them; its answers are {kind}.
{further}
    python client.py VIDEO 127.0.0.1:8000

asks it about a video, and needs r2p_edge but no runtime. All files and their sha256 are in
`manifest.json` beside the folders of the models, which `r2p-edge info` compares.
"""

_FURTHER = """
`{name}_files` takes the bytes of a video file. `{name}_stream` takes the frames of live video: the
frames of a camera are a sequence (`sequence_id`, and `sequence_start` with the first), each with
its time in seconds. Both need r2p_edge, a runtime and NumPy 1 in the container, as the command
above installs them.
"""


class TritonRepository:
    """Writes for Triton; see `Server`."""

    def check(self, model: ServedModel) -> None:
        """Raise ModelError if Triton has no backend for the model's file."""
        refused(model, "Triton", _BACKENDS)

    def folders(self, model: ServedModel) -> list[ModelFolder]:
        """Return the folders that the model becomes."""
        files = _python_folder(model, files_config(model), "FilesModel", "Answers video files.")
        found = [self._own_folder(model), files]
        if has_stream(model):
            config = stream_config(model)
            found.append(_python_folder(model, config, "StreamModel", "Answers live video."))
        return found

    def _own_folder(self, model: ServedModel) -> ModelFolder:
        """Return the folder of the model on the backend of its format, with the instructions."""
        config = model_config(model)

        def write(folder: Path, version: Path) -> None:
            _write_common(model, folder, config)
            file = Path(_BACKENDS[model.suffix][1])  # that the backend looks for
            place_model(model, version, file.stem, file.suffix)
            further = _FURTHER.format(name=model.name) if has_stream(model) else ""
            command = self.start(model, folder.parent)
            write_instructions(model, folder, _README, start=command, further=further)

        return ModelFolder(model.name, model.spec, _visible(config), write)

    def root_files(self, model: ServedModel, out: Path) -> Mapping[str, bytes]:
        """Return no files: Triton looks at folders alone."""
        return {}

    def start(self, model: ServedModel, out: Path) -> str:
        """Return the command that starts Triton in its container."""
        runtime = {".onnx": "onnxruntime", ".xml": "openvino"}.get(model.suffix)
        needs = f"r2p_edge[{runtime}]" if runtime else "r2p_edge"
        gpu = "" if runtime else "--gpus all "
        inside = f"pip install '{needs}' 'numpy<2' && tritonserver --model-repository=/models"
        return (
            f"docker run --rm {gpu}-p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 "
            f'-v "{out.absolute()}":/models:ro {_IMAGE} bash -c "{inside}"'
        )


def has_stream(model: ServedModel) -> bool:
    """Return whether the model can watch live video; one that counts a file's frames cannot."""
    try:
        tick_grid(model.spec)
    except SpecError:
        return False
    return True


def model_config(model: ServedModel) -> dict[str, Any]:
    """Return the configuration of the model itself.

    With an open batch axis Triton puts up to `max_batch` clips of several requests into one call.
    Otherwise the batch axis is an axis like the others.
    """
    backend, _ = _BACKENDS[model.suffix]
    taken, given = model.tensors
    first = 1 if model.open_batch else 0
    config: dict[str, Any] = {
        "name": model.name,
        **backend,
        "max_batch_size": model.max_batch if model.open_batch else 0,
        "input": [
            {
                "name": taken.name,
                "data_type": _TYPES[model.spec.input.dtype],
                "dims": list(taken.shape[first:]),
            }
        ],
        "output": [_floats(given.name, [*given.shape[first:-1], _classes(model)])],
    }
    if model.open_batch:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": 1000}
    if model.suffix in (".engine", ".plan"):
        config["instance_group"] = [{"kind": Enum("KIND_GPU")}]
    return {**config, "parameters": _parameters(model)}


def files_config(model: ServedModel) -> dict[str, Any]:
    """Return the configuration of the model that takes the bytes of a video file."""
    video = {"name": "video", "data_type": Enum("TYPE_STRING"), "dims": [1]}
    return _python_config(
        model,
        f"{model.name}_files",
        inputs=[video],
        outputs=[{"name": "coverage", "data_type": Enum("TYPE_FP32"), "dims": [1]}],
    )


def stream_config(model: ServedModel) -> dict[str, Any]:
    """Return the configuration of the model that takes the frames of live video.

    Requests of one `sequence_id` are one stream. Until a clip is full there is no answer, and its
    outputs are zeros. Its parameter "r2p_edge.stream" has the options of `r2p_edge.Stream`.
    """
    controls: dict[str, tuple[str, dict[str, Any]]] = {
        "START": ("CONTROL_SEQUENCE_START", {"fp32_false_true": [0, 1]}),
        "END": ("CONTROL_SEQUENCE_END", {"fp32_false_true": [0, 1]}),
        "CORRID": ("CONTROL_SEQUENCE_CORRID", {"data_type": Enum("TYPE_UINT64")}),
    }
    config = _python_config(
        model,
        f"{model.name}_stream",
        inputs=[
            {"name": "frame", "data_type": Enum("TYPE_UINT8"), "dims": [-1, -1, 3]},
            {"name": "time", "data_type": Enum("TYPE_FP64"), "dims": [1]},
        ],
        outputs=[
            {"name": "answered", "data_type": Enum("TYPE_BOOL"), "dims": [1]},
            {"name": "label", "data_type": Enum("TYPE_STRING"), "dims": [1]},
            {"name": "span", "data_type": Enum("TYPE_FP64"), "dims": [2]},
        ],
    )
    config["sequence_batching"] = {
        "max_sequence_idle_microseconds": FORGOTTEN_SECONDS * 1_000_000,
        "oldest": {"max_candidate_sequences": STREAMS},
        "control_input": [
            {"name": name, "control": [{"kind": Enum(kind), **more}]}
            for name, (kind, more) in controls.items()
        ],
    }
    config["parameters"].append(_parameter("r2p_edge.stream", "{}"))
    return config


def _python_config(
    model: ServedModel, name: str, inputs: list[Any], outputs: list[Any]
) -> dict[str, Any]:
    # Where the model's own name for its answers is "scores", they are the scores.
    names = dict.fromkeys(["scores", model.spec.output.name])
    answers = [_floats(name, [_classes(model)]) for name in names]
    parameters = _parameters(model)
    parameters.append(_parameter("r2p_edge.model", f"model{model.suffix}"))
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": 0,
        "input": inputs,
        "output": answers + outputs,
        "instance_group": [{"kind": Enum("KIND_CPU"), "count": 1}],
        "parameters": parameters,
    }


def _classes(model: ServedModel) -> int:
    return len(model.spec.labels)


def _floats(name: str, dims: list[int]) -> dict[str, Any]:
    """Return an output with a number for each class, which has its label."""
    kind = Enum("TYPE_FP32")
    return {"name": name, "data_type": kind, "dims": dims, "label_filename": LABELS}


def _parameters(model: ServedModel) -> list[Any]:
    spec = model.spec
    softmax = "to be taken by the client" if spec.output.kind == "logits" else "none"
    return [
        _parameter("r2p_edge.version", __version__),
        _parameter("r2p_edge.contract", spec.contract_digest()),
        _parameter("r2p_edge.output_kind", spec.output.kind),
        _parameter("r2p_edge.softmax", softmax),
        _parameter("r2p_edge.spec", spec.to_json()),
    ]


def _parameter(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"string_value": value}}


def _python_folder(
    model: ServedModel, config: dict[str, Any], kind: str, summary: str
) -> ModelFolder:
    def write(folder: Path, version: Path) -> None:
        _write_common(model, folder, config)
        place_model(model, version, "model", model.suffix)
        text = _MODEL_PY.format(type=kind, summary=summary)
        (version / "model.py").write_text(text, encoding="utf-8")

    return ModelFolder(config["name"], model.spec, _visible(config), write)


def _write_common(model: ServedModel, folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.pbtxt").write_text(protobuf_text(config), encoding="utf-8")
    write_labels(model, folder)


def _visible(config: dict[str, Any]) -> Any:
    """Return what clients see of a configuration, and with it what all versions must share."""
    return {name: config[name] for name in ("input", "output")}
