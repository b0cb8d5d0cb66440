"""Repositories of OpenVINO Model Server: a folder for each model, and one configuration of all.

Facts of the format: https://docs.openvino.ai/2026/model-server/ovms_docs_parameters.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2p_edge.errors import OutputError
from r2p_edge.serve_export.client import write_instructions, write_labels
from r2p_edge.serve_export.served import ServedModel, place_model
from r2p_edge.serve_export.servers import ModelFolder, refused

_IMAGE = "openvino/model_server:latest"

_MODELS = "/models"  # the repository, as the container sees it
_CONFIG = "config.json"
_LIST = "model_config_list"
_SUFFIXES = {".xml": "model.xml", ".onnx": "model.onnx"}

_README = """\
# {name}

Written by r2p_edge {version} for OpenVINO Model Server, from `{file}`.

    {start}

`{name}` takes clips as `r2p_edge.Predictor.pixels` gives them; its answers are {kind}.

    python client.py VIDEO 127.0.0.1:8000

asks it about a video over the KServe v2 protocol, and needs r2p_edge but no runtime. The names of
the classes are in `labels.txt`: the server has no place for them. All files and their sha256 are in
`manifest.json` beside the folders of the models, which `r2p-edge info` compares.

The files follow the server's published schema. They have not been run with the server itself, of
which there is no Python package.
"""


class OvmsRepository:
    """Writes for OpenVINO Model Server; see `Server`."""

    def check(self, model: ServedModel) -> None:
        """Raise ModelError if the server does not read the model's file."""
        refused(model, "OpenVINO Model Server", _SUFFIXES)

    def folders(self, model: ServedModel) -> list[ModelFolder]:
        """Return the folder that the model becomes."""

        def write(folder: Path, version: Path) -> None:
            file = Path(_SUFFIXES[model.suffix])
            place_model(model, version, file.stem, file.suffix)
            write_labels(model, folder)
            write_instructions(model, folder, _README, start=self.start(model, folder.parent))

        tensors = model.spec.input.dtype, model.tensors
        return [ModelFolder(model.name, model.spec, tensors, write)]

    def root_files(self, model: ServedModel, out: Path) -> Mapping[str, bytes]:
        """Return the configuration of all models of the repository.

        Raises:
            OutputError: the one that is there is not such a configuration.
        """
        config = _configured(out / _CONFIG)
        entry = {
            "name": model.name,
            "base_path": f"{_MODELS}/{model.name}",
            "target_device": "CPU",
            "plugin_config": {"PERFORMANCE_HINT": "LATENCY"},
        }
        others = [each for each in config[_LIST] if each["config"].get("name") != model.name]
        config[_LIST] = [*others, {"config": entry}]
        return {_CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()}

    def start(self, model: ServedModel, out: Path) -> str:
        """Return the command that starts the server in its container."""
        return (
            f'docker run --rm -p 127.0.0.1:8000:8000 -v "{out.absolute()}":{_MODELS}:ro {_IMAGE} '
            f"--config_path {_MODELS}/{_CONFIG} --rest_port 8000"
        )


def _configured(path: Path) -> dict[str, Any]:
    """Return the configuration that is at a path; an empty one where there is none."""
    try:
        config = json.loads(path.read_bytes())
        fits = all(isinstance(each["config"], dict) for each in config[_LIST])
    except FileNotFoundError:
        return {_LIST: []}
    except (OSError, ValueError, LookupError, TypeError):
        fits = False
    if not fits:
        raise OutputError(
            f"{path} exists and is not a configuration of OpenVINO Model Server; remove it, or "
            "choose another --out"
        )
    return dict(config)
