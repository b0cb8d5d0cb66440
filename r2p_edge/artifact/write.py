"""Writing of artifacts: a model's files and its sidecar, which belong together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from r2p_edge.artifact import bundle
from r2p_edge.artifact.atomic import atomic_files
from r2p_edge.artifact.files import fingerprint_of_bytes
from r2p_edge.artifact.open import EMBEDDED
from r2p_edge.artifact.openvino_ir import weights_path
from r2p_edge.artifact.parts import old_parts
from r2p_edge.artifact.sidecar import sidecar_bytes, sidecar_path
from r2p_edge.spec import ModelSpec


def write_artifact(
    path: Path,
    spec: ModelSpec,
    content: bytes,
    weights: bytes | None = None,
    parts: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model file and its sidecar, in place of an older artifact of that name.

    Several files cannot change at once. Whatever interrupts this, what is at `path` is the old
    artifact, the new one, or nothing: one file without which the artifact cannot be mistaken for
    another is removed first and written last, unless the older artifact is the same. An ONNX file
    carries its spec and can do without its sidecar; artifacts of several files cannot do without
    the model file. Before that, an older artifact is taken from the folder's manifest, if it has
    one, so that no sha256 in the manifest is false. The parts of a form that only the older one had
    are removed.

    Args:
        path: the model file.
        spec: its contract.
        content: its bytes.
        weights: the bytes of the second file of an OpenVINO model.
        parts: the bytes of the files of a form with state, by name; see `PerFrameSpec`.

    Raises:
        OutputError: a file cannot be written.
    """
    sidecar = sidecar_path(path)
    files = {path: content}
    if weights is not None:
        files[weights_path(path)] = weights
    prints = {file.name: fingerprint_of_bytes(data) for file, data in files.items()}
    others = {name: entry for name, entry in prints.items() if name != path.name}
    files[sidecar] = sidecar_bytes(spec, prints[path.name], others)
    for name, data in (parts or {}).items():
        files[path.with_name(name)] = data
        prints[name] = fingerprint_of_bytes(data)
    prints[sidecar.name] = fingerprint_of_bytes(files[sidecar])
    alone = weights is None and not parts and path.suffix.lower() in EMBEDDED
    last = sidecar if alone else path
    files[last] = files.pop(last)
    old = [file for file in old_parts(path) if file not in files]
    same = all(_holds(file, data) for file, data in files.items())
    gone = {file.name for file in (old if same else [last, *old])}

    def make_way() -> None:
        bundle.forget(
            path.parent, lambda name, entry: name in gone or prints.get(name, entry) != entry
        )
        if not same:
            last.unlink(missing_ok=True)
        for file in old:
            file.unlink(missing_ok=True)

    atomic_files(files, make_way)


def _holds(file: Path, data: bytes) -> bool:
    """Return whether a file is there with these bytes."""
    try:
        return file.stat().st_size == len(data) and file.read_bytes() == data
    except OSError:
        return False
