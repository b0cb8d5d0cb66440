"""The file beside a `.rknn` from which the toolkit builds it again for its simulator.

RKNN-Toolkit2 2.5.0 runs no `.rknn` that was loaded ("not support inference on the simulator"), only
a model that it has just built.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.parts import simulated_from
from r2p_edge.errors import ModelError, unreadable_model
from r2p_edge.spec import ModelSpec

SETTINGS, MODEL = "settings.json", "model.onnx"
"""Files of a build; see `toolkit_program.py`."""

QUANTIZED = ("model.model", "model.data", "model.quantization.cfg")
"""Files that the toolkit's first step of a quantisation leaves, in place of `MODEL`."""

SOURCE_SUFFIX = ".rknn-source"

_NAMES = {SETTINGS, MODEL, *QUANTIZED}


def source_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return the content of a source file, the same for the same files.

    Args:
        files: those of a build by name.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def unpack_source(path: Path, spec: ModelSpec, folder: Path) -> None:
    """Write the files of the build of the `.rknn`, or in the source file, at `path` into a folder.

    Raises:
        ModelError: the source file is missing, is another build's, or damaged.
    """
    if path.suffix == SOURCE_SUFFIX:  # of a trial, by itself
        _extract(path, folder, "try it again")
        return
    found = simulated_from(path, spec)
    if found is None:
        raise ModelError(
            f"the contract of {path} names no file for the simulator; export the model again"
        )
    source, digest = found
    advice = "copy all files of the export again, or run the model on its board"
    try:
        if not source.is_file():
            raise ModelError(
                f"the simulator builds {path.name} again from {source.name}, which is not beside "
                f"it; {advice}"
            )
        if sha256_of_file(source) != digest:
            raise ModelError(f"{source} is not the file that {path.name} was built from; {advice}")
    except OSError as error:
        raise unreadable_model(source, error) from error
    _extract(source, folder, advice)


def _extract(source: Path, folder: Path, advice: str) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
            if SETTINGS not in names or not set(names) <= _NAMES:
                raise ModelError(f"{source} is not what an export writes; {advice}")
            archive.extractall(folder)
    # The last three are of damaged data or headers inside an archive that has a directory.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{source} is damaged ({error}); {advice}") from error
    except OSError as error:
        raise unreadable_model(source, error) from error


def settings_bytes(settings: Mapping[str, Any]) -> bytes:
    """Return the content of settings.json."""
    return (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()
