"""Sidecars: the JSON file beside an artifact with its spec, size and sha256."""

from __future__ import annotations

import errno
import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.artifact.files import files_of, fingerprint, sha256_of_file
from r2p_edge.errors import ModelError, OutputError, SpecError, unreadable_model
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.parsing import parse_json

_FIELDS = ("spec", "size", "sha256")


def sidecar_path(path: Path) -> Path:
    """Return the path of an artifact's sidecar: `<file>.json` beside it."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: str | Path, spec: ModelSpec) -> Path:
    """Write `<path>.json`: the spec of an artifact, and the fingerprint of its bytes.

    The file has {"spec", "size", "sha256"}; size (bytes) and sha256 are those of the artifact at
    `path`, which must exist already. Where its weights lie in a second file there is "files" too:
    {name: {"size", "sha256"}}.

    Returns:
        The sidecar's path.

    Raises:
        OutputError: the artifact cannot be read or the sidecar cannot be written.
        ModelError: an OpenVINO file has no weights beside it.
    """
    path = Path(path)
    try:
        files = {file.name: fingerprint(file) for file in files_of(path)}
    except ModelError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error.strerror}), so its sidecar cannot be written; "
            "write the artifact first"
        ) from error
    sidecar = sidecar_path(path)
    atomic_write(sidecar, sidecar_bytes(spec, files.pop(path.name), files))
    return sidecar


def sidecar_bytes(
    spec: ModelSpec, fingerprint: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """Return the content of a sidecar.

    Args:
        spec: the contract.
        fingerprint: that of the model file.
        files: those of its other files by name.
    """
    content = {"spec": spec.to_dict(), **fingerprint}
    if files:
        content["files"] = files
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def read_sidecar(path: Path, *, foreign: bool) -> dict[str, Any] | None:
    """Return the fields of the sidecar of the model at `path`, or None if it has none.

    Args:
        foreign: take a JSON file of other content for another program's, and so for none.

    Raises:
        SpecError: the sidecar cannot be read, or a field is missing or malformed.
    """
    file = sidecar_path(path)
    try:
        if not file.is_file():
            return None
        content = file.read_bytes()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the model's name just fits, so none can exist
            return None
        raise SpecError(
            f"sidecar {file} cannot be read ({error.strerror}); check its permissions"
        ) from error
    data = parse_json(content, f"sidecar {file}")
    fields = data if isinstance(data, dict) else {}
    missing = [name for name in _FIELDS if name not in fields]
    if foreign and missing == list(_FIELDS):
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
    for entry in (fields, *files.values()):
        _check_fingerprint(file, entry)
    return fields


def check_bytes(path: Path, sidecar: dict[str, Any]) -> None:
    """Compare the files of the model at `path` with the fingerprints in its sidecar.

    Raises:
        ModelError: a file is missing, cannot be read, or has other bytes.
    """
    _check_file(path, sidecar)
    for name, entry in sidecar.get("files", {}).items():
        _check_file(path.with_name(name), entry)


def spec_of_sidecar(path: Path, sidecar: dict[str, Any]) -> ModelSpec:
    """Return the spec in the sidecar of the model at `path`.

    Raises:
        SpecError: the spec is wrong.
    """
    try:
        return ModelSpec.from_dict(sidecar["spec"])
    except SpecError as error:
        raise SpecError(f"sidecar {sidecar_path(path)}: {error}") from error


def _check_fingerprint(sidecar: Path, entry: Any) -> None:
    fields = entry if isinstance(entry, dict) else {}
    size, digest = fields.get("size"), fields.get("sha256")
    if isinstance(size, bool) or not isinstance(size, int):
        raise SpecError(f"sidecar {sidecar} has a size that is not a whole number; export again")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise SpecError(f"sidecar {sidecar} has a sha256 that is not 64 hex digits; export again")


def _check_file(path: Path, entry: dict[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != entry["size"]:
            raise ModelError(
                f"{path} has {size} bytes but its sidecar says {entry['size']}; "
                "copy all files again from the export"
            )
        digest = sha256_of_file(path)
    except OSError as error:
        raise unreadable_model(path, error) from error
    if digest != entry["sha256"]:
        raise ModelError(
            f"{path} has sha256 {digest[:12]}... but its sidecar says "
            f"{entry['sha256'][:12]}...; copy all files again from the export"
        )
