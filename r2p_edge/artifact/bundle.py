"""Manifests of exported folders, by which a copy of a folder is checked on the device."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from r2p_edge._version import __version__
from r2p_edge.artifact.atomic import atomic_write, locked
from r2p_edge.artifact.files import files_of, fingerprint, sha256_of_file
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.errors import ModelError, OutputError, R2PError, count_of
from r2p_edge.spec.checks import some_of
from r2p_edge.spec.parsing import parse_json

NAME = "manifest.json"
"""Name of the manifest in the folder."""

_FORMAT = 1


def record(folder: str | Path, artifacts: Iterable[Path], others: Iterable[Path] = ()) -> None:
    """Add artifacts in `folder`, model files or kits, and other files to its manifest.

    The manifest has {"format": 1, "r2p_edge": version, "files": {path: {"size", "sha256"}}}, with
    paths relative to the folder, for all files of all artifacts that exports have left there.

    Raises:
        OutputError: the manifest cannot be written, or a file to list cannot be read.
        ModelError: a file of the manifest's name is not a manifest.
    """
    folder = Path(folder)

    def with_new(files: dict[str, Any]) -> dict[str, Any]:
        for file in itertools.chain(*map(_files, artifacts), others):
            files[file.relative_to(folder).as_posix()] = fingerprint(file)
        # Files that an export has replaced, or somebody has deleted, are left out.
        return {name: files[name] for name in sorted(files) if (folder / name).is_file()}

    _change(folder, with_new)


def forget(folder: str | Path, changes: Callable[[str, Mapping[str, Any]], bool]) -> None:
    """Leave files that are about to change out of the manifest of `folder`, if it has one.

    A process that is killed then leaves files that are not listed, rather than a false sha256.

    Args:
        folder: the folder.
        changes: tells of a file, by its path and its entry, whether it will be another.

    Raises:
        OutputError: the manifest cannot be written.
    """
    folder = Path(folder)
    try:
        found = listed(folder)
    except ModelError:  # a file of another program
        return
    if found and any(changes(name, entry) for name, entry in found.items()):
        _change(
            folder,
            lambda files: {
                name: entry for name, entry in files.items() if not changes(name, entry)
            },
        )


def _change(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write the manifest of a folder with other files; see `record` for the errors."""
    try:
        with locked(folder):
            files = change(listed(folder) or {})
            content = {"format": _FORMAT, "r2p_edge": __version__, "files": files}
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            atomic_write(folder / NAME, text.encode())
    except R2PError:
        raise
    except OSError as error:
        raise OutputError(
            f"the manifest of {folder} cannot be written ({error}); check the permissions there"
        ) from error


def check(folder: str | Path) -> int | None:
    """Compare the files of a folder with its manifest.

    Returns:
        Number of files listed, all of them whole; None if the folder has no manifest.

    Raises:
        ModelError: files are missing or changed, or the manifest is damaged.
    """
    folder = Path(folder)
    files = listed(folder)
    if files is None:
        return None
    found = {name: _problem(folder / name, entry) for name, entry in files.items()}
    wrong = [f"{name} {problem}" for name, problem in found.items() if problem]
    if wrong:
        raise ModelError(
            f"{folder} is not as it was exported: {some_of(wrong, 5)} "
            f"({count_of(len(files), 'file')} in {NAME}); copy the folder again"
        )
    return len(files)


def listed(folder: str | Path) -> dict[str, Any] | None:
    """Return the manifest's files with the size and sha256 of each; None without a manifest.

    Raises:
        ModelError: the file of that name cannot be read or is not a manifest.
    """
    file = Path(folder) / NAME
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(
            f"{file} cannot be read ({error.strerror}); check its permissions"
        ) from error
    data = parse_json(content, str(file))
    files = data.get("files") if isinstance(data, dict) and data.get("format") == _FORMAT else None
    if not isinstance(files, dict) or not all(map(_is_entry, files, files.values())):
        raise ModelError(
            f"{file} is not a manifest that this version of r2p_edge has written; use another "
            "folder, or move that file away and export again"
        )
    return files


def _files(artifact: Path) -> list[Path]:
    """Return all files of a kit, or of a model file with its sidecar."""
    if artifact.is_dir():
        return [file for file in artifact.rglob("*") if file.is_file()]
    return [*files_of(artifact), sidecar_path(artifact)]


def _problem(file: Path, entry: dict[str, Any]) -> str | None:
    """Return how a file differs from its entry, or None if it does not."""
    try:
        if not file.is_file():
            return "is missing"
        if file.stat().st_size != entry["size"]:
            return f"has {file.stat().st_size} bytes instead of {entry['size']}"
        return None if sha256_of_file(file) == entry["sha256"] else "has another sha256"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _is_entry(name: str, entry: Any) -> bool:
    """Return whether this names a file inside the folder, with its size and sha256."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts
    return inside and isinstance(entry, dict) and set(entry) == {"size", "sha256"}
