"""What was exported into a folder, so that a copy of the folder can be checked on the device."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from r2p_edge._version import __version__
from r2p_edge.artifact.files import atomic_write, fingerprint, locked
from r2p_edge.artifact.open import files_of, sha256_of_file, sidecar_path
from r2p_edge.errors import ModelError
from r2p_edge.spec.model_spec import parse_json

NAME = "manifest.json"
"""Name of the manifest in the folder."""

_FORMAT = 1


def record(folder: str | Path, artifacts: Iterable[Path], others: Iterable[Path] = ()) -> None:
    """Writes artifacts in `folder`, model files or kits, and other files into its manifest.

    The manifest holds {"format": 1, "r2p_edge": version, "files": {path: {"size", "sha256"}}},
    paths relative to the folder, of all files of all artifacts that exports have left there.

    Raises:
        OutputError: the manifest cannot be written.
        ModelError: the file of that name is not one.
    """
    folder = Path(folder)
    with locked(folder):
        files = listed(folder) or {}
        for file in itertools.chain(*map(_of, artifacts), others):
            files[file.relative_to(folder).as_posix()] = fingerprint(file)
        # What an export has replaced, or somebody has deleted, is not missed.
        files = {name: files[name] for name in sorted(files) if (folder / name).is_file()}
        content = {"format": _FORMAT, "r2p_edge": __version__, "files": files}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        atomic_write(folder / NAME, text.encode())


def check(folder: str | Path) -> int | None:
    """Holds the files of a folder against its manifest.

    Returns:
        How many files it lists, all of them whole; None where the folder has no manifest.

    Raises:
        ModelError: files are missing or changed, or the manifest is none.
    """
    folder = Path(folder)
    files = listed(folder)
    if files is None:
        return None
    found = {name: _problem(folder / name, entry) for name, entry in files.items()}
    wrong = [f"{name} {problem}" for name, problem in found.items() if problem]
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise ModelError(
            f"{folder} is not as it was exported: {shown} ({len(files)} files in {NAME}); "
            "copy the folder again"
        )
    return len(files)


def _of(artifact: Path) -> list[Path]:
    if artifact.is_dir():
        return [file for file in artifact.rglob("*") if file.is_file()]
    return [*files_of(artifact), sidecar_path(artifact)]


def _problem(file: Path, entry: dict[str, Any]) -> str | None:
    try:
        if not file.is_file():
            return "is missing"
        if file.stat().st_size != entry["size"]:
            return f"has {file.stat().st_size} bytes instead of {entry['size']}"
        return None if sha256_of_file(file) == entry["sha256"] else "has another sha256"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def listed(folder: str | Path) -> dict[str, Any] | None:
    """The files of a folder's manifest with the size and sha256 of each; None where there is none.

    Raises:
        ModelError: the file of that name cannot be read or is something else.
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


def _is_entry(name: str, entry: Any) -> bool:
    """Whether this is a file inside the folder with its size and sha256."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts
    return inside and isinstance(entry, dict) and set(entry) == {"size", "sha256"}
