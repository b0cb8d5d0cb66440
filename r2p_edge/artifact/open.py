"""What a model file is and which contract it carries, found out without loading a runtime."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2p_edge.artifact import openvino_ir, protobuf
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError
from r2p_edge.spec.model_spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec, parse_json

METADATA_KEY = "r2p_edge.spec"
"""Name of the spec in the metadata of an ONNX file."""

# Field numbers of onnx/onnx.proto3: ModelProto.metadata_props, StringStringEntryProto.key, .value
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2

_SIDECAR = ("spec", "size", "sha256")


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
    """The model file at `path` with its contract, checked against its sidecar if it has one.

    Args:
        spec: the contract of a foreign model: a `ModelSpec` or a JSON file of one. It wins over
            what the file carries, and `<file>.json` may then be somebody else's.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: its bytes are not those that its sidecar describes, or cannot be read.
        SpecError: it carries no spec and none was given, the spec is wrong, or its metadata and
            its sidecar carry different contracts.
    """
    path = Path(path)
    try:
        if not path.is_file():
            what = "is a folder; give the model file in it" if path.is_dir() else "does not exist"
            raise ModelNotFoundError(f"model {path} {what}")
        _check_kind(path)
        size = sum(file.stat().st_size for file in files_of(path))
    except ModelError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    sidecar = _sidecar(path, foreign=spec is not None)
    if sidecar is not None:
        _check_bytes(path, sidecar)
        for name, record in sidecar.get("files", {}).items():
            _check_bytes(path.with_name(name), record)
    if spec is not None:
        given = spec if isinstance(spec, ModelSpec) else ModelSpec.from_file(spec)
        return Artifact(path, size, given, "argument", sidecar is not None)
    beside = None if sidecar is None else _spec_of_sidecar(path, sidecar)
    if path.suffix.lower() in _EMBEDDED:
        found = embedded_spec(path)
        if found is not None:
            if beside is not None:
                _check_agreement(path, found, beside)
            return Artifact(path, size, found, "metadata", sidecar is not None)
    if beside is not None:
        return Artifact(path, size, beside, "sidecar", True)
    if path.suffix.lower() not in _EMBEDDED:
        raise ModelError(
            f"{path} is neither an ONNX nor an OpenVINO file, nor has it a sidecar "
            f"{sidecar_path(path).name}; give a model file with its sidecar, and export a "
            "checkpoint first (r2p-edge export)"
        )
    raise SpecError(
        f"{path} carries no r2p_edge spec, so its labels and preprocessing are unknown; give "
        f"spec= (--spec), a ModelSpec or a JSON file such as {json.dumps(template())}"
    )


def _check_kind(path: Path) -> None:
    """Raises ModelError for a file that no runtime here can ever run."""
    if path.suffix.lower() == ".ms":
        raise ModelError(
            f"{path} is for MindSpore Lite's device-side libraries, which are C++ and Java, and no "
            "Python package loads it; convert the model to .mindir instead (r2p-edge export --to "
            "mindspore-lite)"
        )


def files_of(path: Path) -> list[Path]:
    """The files that make up the model at `path`, that one first; its sidecar is none of them.

    Raises:
        ModelError: it is an OpenVINO file whose weights are not beside it, or no such file.
    """
    if path.suffix.lower() != ".xml":
        return [path]
    weights = openvino_ir.weights_path(path)
    if not weights.is_file():
        _describe_openvino(path)  # or the file is something else
        raise ModelError(
            f"{path} has no weights: there is no {weights.name} beside it; copy both files"
        )
    return [path, weights]


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of the artifact at `path` lies: `<file>.json` beside it."""
    return path.with_name(path.name + ".json")


def _sidecar(path: Path, *, foreign: bool) -> dict[str, Any] | None:
    """What the sidecar says, or None without one; `foreign`: a JSON of other content is none."""
    file = sidecar_path(path)
    try:
        if not file.is_file():
            return None
        content = file.read_bytes()
    except OSError as error:
        raise SpecError(
            f"sidecar {file} cannot be read ({error.strerror}); check its permissions"
        ) from error
    data = parse_json(content, f"sidecar {file}")
    fields = data if isinstance(data, dict) else {}
    missing = [name for name in _SIDECAR if name not in fields]
    if foreign and missing == list(_SIDECAR):
        return None
    if missing:
        raise SpecError(f"sidecar {file} lacks {', '.join(missing)}; export the model again")
    files = fields.get("files", {})
    expected = [other.name for other in files_of(path)[1:]]
    if not isinstance(files, dict) or sorted(files) != expected:
        raise SpecError(
            f"sidecar {file} should describe {', '.join(expected) or 'no other files'} under "
            f"files and has {reprlib.repr(files)}; use the names of the export, or export again"
        )
    for record in (fields, *files.values()):
        _check_record(file, record)
    return fields


def _check_record(file: Path, record: Any) -> None:
    fields = record if isinstance(record, dict) else {}
    size, digest = fields.get("size"), fields.get("sha256")
    if isinstance(size, bool) or not isinstance(size, int):
        raise SpecError(f"sidecar {file} has a size that is no whole number; export again")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise SpecError(f"sidecar {file} has a sha256 that is not 64 hex digits; export again")


def _spec_of_sidecar(path: Path, sidecar: dict[str, Any]) -> ModelSpec:
    try:
        return ModelSpec.from_dict(sidecar["spec"])
    except SpecError as error:
        raise SpecError(f"sidecar {sidecar_path(path)}: {error}") from error


def _check_agreement(path: Path, inside: ModelSpec, beside: ModelSpec) -> None:
    one, other = inside.contract_digest(), beside.contract_digest()
    if one != other:
        raise SpecError(
            f"the metadata of {path} hold the contract {one[:12]}... but its sidecar "
            f"{sidecar_path(path).name} holds {other[:12]}...; export the model again, or remove "
            "the one that is wrong"
        )


def _check_bytes(path: Path, record: dict[str, Any]) -> None:
    """Holds a file against what a sidecar says of it."""
    try:
        size = path.stat().st_size
        if size != record["size"]:
            raise ModelError(
                f"{path} has {size} bytes but its sidecar says {record['size']}; "
                "copy all files again from the export"
            )
        digest = sha256_of_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if digest != record["sha256"]:
        raise ModelError(
            f"{path} has sha256 {digest[:12]}... but its sidecar says "
            f"{record['sha256'][:12]}...; copy all files again from the export"
        )


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"model {path} cannot be read ({error.strerror}); check its permissions")


def sha256_of_file(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def embedded_spec(path: Path) -> ModelSpec | None:
    """The spec in the metadata of an ONNX or OpenVINO file, if it has one.

    Raises:
        ModelError: the file cannot be read, or is not whole.
        SpecError: the spec is wrong.
    """
    text = _EMBEDDED[path.suffix.lower()](path)
    if text is None:
        return None
    return ModelSpec.from_json(text, where=f"spec in the metadata of {path}")


def _spec_of_onnx(path: Path) -> str | None:
    return onnx_metadata(path).get(METADATA_KEY)


def _spec_of_openvino(path: Path) -> str | None:
    described, weights = _describe_openvino(path), openvino_ir.weights_path(path)
    try:
        size = weights.stat().st_size
    except OSError as error:
        raise _unreadable(weights, error) from error
    if size < described.weights:
        raise ModelError(
            f"{weights} has {size} bytes but {path.name} needs {described.weights}; "
            "copy both files again from the export"
        )
    return described.spec


def _describe_openvino(path: Path) -> openvino_ir.Description:
    try:
        return openvino_ir.describe(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ModelError(
            f"{path} is not a whole OpenVINO file ({error}); copy or export it again"
        ) from error


_EMBEDDED = {".onnx": _spec_of_onnx, ".xml": _spec_of_openvino}


def onnx_metadata(path: Path) -> dict[str, str]:
    """`metadata_props` of an ONNX file; the weights are skipped, not read.

    Raises:
        ModelError: the file cannot be read or is not a protobuf message.
    """
    found = {}
    try:
        with path.open("rb") as file:
            for field in protobuf.fields(file, path.stat().st_size):
                if field.number == _METADATA_PROPS and field.wire_type == protobuf.LENGTH:
                    key, value = _string_pair(file, file.tell() + field.value)
                    found[key] = value
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ModelError(
            f"{path} is not a whole ONNX file ({error}); copy or export it again"
        ) from error
    return found


def _string_pair(file: Any, end: int) -> tuple[str, str]:
    pair = {_KEY: "", _VALUE: ""}
    for field in protobuf.fields(file, end):
        if field.number in pair and field.wire_type == protobuf.LENGTH:
            pair[field.number] = file.read(field.value).decode()
    return pair[_KEY], pair[_VALUE]


def template() -> dict[str, Any]:
    """A spec to fill in for a foreign model, as plain JSON types."""
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
