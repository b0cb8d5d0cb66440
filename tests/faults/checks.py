"""Checks of the folder of the results, whatever happened to the run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import av

from r2p_edge.errors import ModelNotFoundError, R2PError
from r2p_edge.export.targets.kit_build import _read
from r2p_edge.info import BrokenModel, inspect_folder

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.(part(\.\w+)?|old)")
"""Names of files and folders of results that are not finished."""

SCRATCH = re.compile(r"r2p_edge-.+")
"""Names of folders for temporary files."""

_TRIAL = re.compile(r"[a-z0-9_]{8}")
"""Names of the few bytes by which Python's `tempfile` finds out where it can write."""

Tree = dict[str, "str | None"]
"""The files below a folder by their relative path, each with what tells it from others.

Nothing tells apart those that may have any content, such as a download that is gone on with.
"""


def sha256(file: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def only_name(file: Path) -> str:
    """Return the name of a file whose content is not the same each time."""
    return file.name


def pictures(file: Path) -> str:
    """Return the number and size of the pictures in a file, which are not the same each time."""
    try:
        with av.open(str(file)) as container:
            frames = [(frame.width, frame.height) for frame in container.decode(video=0)]
    except av.error.FFmpegError as error:
        return str(error)
    return f"{len(frames)} of {set(frames)}"


def weights(file: Path) -> str | None:
    """Return what tells a file of the store of weights from others: not when it came."""
    if file.name.endswith((".part", ".part.json")):
        return None
    if file.suffix == ".json":
        return str({**json.loads(file.read_text()), "added": None})
    return sha256(file)


def tree(folder: Path, content: Callable[[Path], str | None] = sha256) -> Tree:
    """Return the files of a folder, without those of temporary names."""
    return {
        str(file.relative_to(folder)): content(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(map(TEMPORARY.fullmatch, file.relative_to(folder).parts))
    }


def leftovers(out: Path, scratch: Path) -> list[str]:
    """Return the temporary files and folders that are still there."""
    hidden = [path for path in out.rglob("*") if TEMPORARY.fullmatch(path.name)]
    files = [path for path in scratch.iterdir() if not _TRIAL.fullmatch(path.name)]
    return [str(path) for path in (*hidden, *files)]


def complaints(
    out: Path,
    scratch: Path,
    before: Tree,
    after: Tree,
    content: Callable[[Path], str | None] = sha256,
) -> list[str]:
    """Return what is wrong with a folder of results after a run that was cut short.

    Args:
        out: the folder.
        scratch: the folder for temporary files.
        before: its files before the run.
        after: those after a run that nothing disturbed.
        content: what tells a file from others.
    """
    found = []
    for name, digest in tree(out, content).items():
        # A file of both, such as a manifest, also has states between them; it is checked below.
        known = {before.get(name), after.get(name)}
        if digest not in known and Path(name).name != "manifest.json":
            found.append(f"{name} is neither the old file nor the new one")
    found += [f"{path} has no temporary name" for path in scratch.iterdir() if not _is_ours(path)]
    try:
        report = inspect_folder(out)
    except ModelNotFoundError:
        return found  # nothing there yet
    found += [str(model.error) for model in report.models if isinstance(model, BrokenModel)]
    if report.damage:
        found.append(str(report.damage))
    for kit in report.kits:
        try:
            _read(kit)
        except R2PError as error:
            found.append(str(error))
    return found


def _is_ours(path: Path) -> bool:
    return any(names.fullmatch(path.name) for names in (SCRATCH, _TRIAL))
