"""Opening of a model file: its contract, found and checked without loading a runtime."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2p_edge.artifact.files import files_of
from r2p_edge.artifact.onnx_metadata import spec_of_onnx
from r2p_edge.artifact.openvino_ir import spec_of_openvino
from r2p_edge.artifact.pair_file import refuse_pair
from r2p_edge.artifact.parts import is_part, refuse_part
from r2p_edge.artifact.sidecar import check_bytes, read_sidecar, sidecar_path, spec_of_sidecar
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError, unreadable_model
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.checks import some_of
from r2p_edge.spec.parts import ClipSpec, CropSpec, ResizeSpec

EMBEDDED = {".onnx": spec_of_onnx, ".xml": spec_of_openvino}
"""Suffixes of files that carry the spec themselves, and what reads it; others need a sidecar."""

_KIT, _KIT_SOURCE = "kit.json", "model.onnx"
_LISTED = 5  # models in a message


@dataclass(frozen=True)
class Artifact:
    """A model file.

    Attributes:
        path: of the file.
        size: in bytes, with the weights that lie in a file of their own.
        spec: its contract.
        carrier: where the spec was found: "metadata", "sidecar" or "argument".
        verified: its bytes were checked against the sidecar's sha256.
    """

    path: Path
    size: int
    spec: ModelSpec
    carrier: str
    verified: bool


def open_artifact(path: str | Path, spec: ModelSpec | str | Path | None = None) -> Artifact:
    """Return the model file at `path` with its contract, checked against its sidecar if any.

    Args:
        path: the model file, or a folder with one model.
        spec: the contract of a foreign model: a `ModelSpec` or a JSON file of one. It wins over
            what the file carries, and `<file>.json` may then be another program's.

    Raises:
        ModelNotFoundError: the file does not exist, or the folder has no model.
        UsageError: the file names two models.
        ModelError: the folder has several models; or the bytes are not those that the sidecar
            describes, or cannot be read.
        SpecError: it carries no spec and none was given, the spec is wrong, or its metadata and
            its sidecar carry different contracts.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = _model_in(path)
    refuse_pair(path)
    size = _size(path)
    sidecar = read_sidecar(path, foreign=spec is not None)
    if sidecar is not None:
        check_bytes(path, sidecar)
    if spec is not None:
        given = spec if isinstance(spec, ModelSpec) else ModelSpec.from_file(spec)
        return Artifact(path, size, given, "argument", sidecar is not None)
    beside = None if sidecar is None else spec_of_sidecar(path, sidecar)
    embeds = path.suffix.lower() in EMBEDDED
    inside = embedded_spec(path) if embeds else None
    if inside is not None:
        if beside is not None:
            _check_agreement(path, inside, beside)
        return Artifact(path, size, inside, "metadata", sidecar is not None)
    if beside is not None:
        return Artifact(path, size, beside, "sidecar", True)
    refuse_part(path)
    if not embeds:
        raise ModelError(
            f"{path} is neither an ONNX nor an OpenVINO file and has no sidecar "
            f"{sidecar_path(path).name}, which export writes beside other models; keep the two "
            "together, and turn a checkpoint into a model first (r2p-edge export)"
        )
    raise SpecError(
        f"{path} carries no r2p_edge spec, so its labels and preprocessing are unknown; give "
        f"spec= (--spec), a ModelSpec or a JSON file such as {json.dumps(template())}"
    )


def embedded_spec(path: Path) -> ModelSpec | None:
    """Return the spec in the metadata of an OpenVINO file, or of an ONNX file of any name, or None.

    Raises:
        ModelError: the file cannot be read, or is not whole.
        SpecError: the spec is wrong.
    """
    text = EMBEDDED.get(path.suffix.lower(), spec_of_onnx)(path)
    if text is None:
        return None
    return ModelSpec.from_json(text, where=f"spec in the metadata of {path}")


def template() -> dict[str, Any]:
    """Return a spec to fill in for a foreign model, as plain JSON types."""
    spec = ModelSpec(
        name="my-model",
        labels=("first class", "second class"),
        clip=ClipSpec(frames=16, interval=2, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=128, width=171),
        crop=CropSpec(height=112, width=112),
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ).to_dict()
    spec["input"] |= {"dtype": "float32", "layout": "NCTHW", "normalized_in_graph": False}
    return {name: value for name, value in spec.items() if value is not None}


def _model_in(folder: Path) -> Path:
    """Return the model file in a folder that has one and no other.

    The model that a kit is built from is not that of the kit, which is the one that it builds.

    Raises:
        ModelNotFoundError: the folder has no model, or is a kit that is not built yet.
        ModelError: it has several, or cannot be read.
    """
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise unreadable_model(folder, error) from error
    names = {file.name for file in files}
    is_kit = _KIT in names
    models = [
        file
        for file in files
        if (file.suffix.lower() in EMBEDDED or sidecar_path(file).name in names)
        and not (is_kit and file.name == _KIT_SOURCE)
    ]
    if len(models) > 1:
        models = [file for file in models if not is_part(file)]
    if len(models) == 1:
        return models[0]
    if models:
        listed = some_of([file.name for file in models], _LISTED)
        raise ModelError(f"{folder} has {len(models)} models ({listed}); give one of them")
    if is_kit:
        raise ModelNotFoundError(
            f"{folder} is a kit that is not built yet; run python {folder / 'build.py'} on its "
            f"device, or give {folder / _KIT_SOURCE}, which it is built from"
        )
    raise ModelNotFoundError(f"{folder} is a folder without a model; give a model file")


def _size(path: Path) -> int:
    """Return the bytes of all files of the model at `path`.

    Raises:
        ModelNotFoundError, ModelError: see `open_artifact`; also for files of a format that no
            runtime here can ever run.
    """
    try:
        if not path.is_file():
            raise ModelNotFoundError(f"model {path} does not exist")
        if path.suffix.lower() == ".ms":
            raise ModelError(
                f"{path} is for MindSpore Lite's device-side libraries, which are C++ and Java, "
                "and no Python package loads it; convert the model to .mindir instead (r2p-edge "
                "export --to mindspore-lite)"
            )
        return sum(file.stat().st_size for file in files_of(path))
    except ModelError:
        raise
    except OSError as error:
        raise unreadable_model(path, error) from error


def _check_agreement(path: Path, inside: ModelSpec, beside: ModelSpec) -> None:
    one, other = inside.contract_digest(), beside.contract_digest()
    if one != other:
        raise SpecError(
            f"the metadata of {path} carry the contract {one[:12]}... but its sidecar "
            f"{sidecar_path(path).name} carries {other[:12]}...; export the model again, or remove "
            "the wrong one"
        )
