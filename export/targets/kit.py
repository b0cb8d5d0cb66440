"""Kits: folders from which another machine builds and verifies an artifact.

A kit is written where the target's tool is not installed. It is copied to the device, where
`python build.py` runs the code that would have built the artifact here. It needs numpy and the
target's own tool, and neither this package nor onnx. `kit_build.py` is the device's side. The tool
and that code are named by the target's row in `table.py`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import r2p_edge
from r2p_edge.artifact import bundle
from r2p_edge.artifact.atomic import atomic_folder
from r2p_edge.artifact.files import fingerprint, sha256_of_file
from r2p_edge.errors import OutputError
from r2p_edge.export.targets.second_form import SECOND_FILE, SecondForm
from r2p_edge.export.targets.table import kit_of_target
from r2p_edge.export.verify.parity import ParityReference
from r2p_edge.spec import ModelSpec

_BUILD = '''\
"""Build the artifact of this folder with the tools of the machine that it is for; verify it.

    python build.py [--json]

Needs Python 3.10 or newer, numpy and {tool}. The artifact and its sidecar are written
beside this file. The exit code is 0 if the artifact was built, and answers as its source wherever
this machine can run it; 2 if an option or setting is wrong; 3 if the artifact cannot be written; 4
if it does not answer as its source, or cannot be built from this folder; 5 if the tool or something
that it needs is missing or fails.
"""

import sys


def end(code, message):
    sys.stderr.write("build.py: error: " + message + "\\n")
    sys.exit(code)


if sys.version_info < (3, 10):
    end(5, "this needs Python 3.10 or newer and is run by " + sys.version.split()[0])

from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path.insert(0, str(folder / "r2p_edge.zip"))
try:
    import numpy
except ImportError as error:
    end(5, "numpy cannot be imported (" + str(error).split("\\n")[0] + "); pip install numpy")
try:
    from r2p_edge.export.targets.kit_build import run_kit
except Exception as error:  # a damaged archive may raise anything
    end(4, "r2p_edge.zip is missing or damaged (" + repr(error) + "); copy the folder again")
sys.exit(run_kit(folder, sys.argv[1:]))
'''


def write_kit(
    target: str,
    source: Path,
    planned: ModelSpec,
    reference: ParityReference,
    folder: Path,
    name: str,
    extras: Mapping[str, Path | np.ndarray] | None = None,
    second: SecondForm | None = None,
) -> None:
    """Write a kit for an ONNX artifact, in place of an older kit in the same folder.

    Args:
        target: name of the target in `table.TABLE`.
        source: the ONNX file.
        planned: the spec that the artifact is to have; its target says the runtime and device.
        reference: reference inputs, and the outputs that the artifact must reproduce.
        folder: the folder to write.
        name: name of the artifact's file.
        extras: further files for the target's builder, by the name that they get beside the ONNX
            file: a file to copy, or an array to save as .npy.
        second: form to build where the tool refuses `source`; it answers as `source` does.

    Raises:
        OutputError: the folder cannot be written, or exists and is not a kit.
        KeyError: no target has that name, or it has no kits.
    """
    tool = kit_of_target(target).tool
    if folder.exists() and not (folder / "kit.json").is_file():
        raise OutputError(f"{folder} exists and is not a kit; remove it, or choose another --out")
    assert planned.target is not None
    with atomic_folder(folder) as draft:
        shutil.copyfile(source, draft / "model.onnx")
        np.savez(draft / "clips.npz", inputs=reference.inputs, outputs=reference.outputs)
        (draft / "r2p_edge.zip").write_bytes(_package())
        for extra, content in (extras or {}).items():
            if isinstance(content, Path):
                shutil.copyfile(content, draft / extra)
            else:
                np.save(draft / extra, content)
        if second is not None:
            shutil.copyfile(second.model, draft / SECOND_FILE)
        (draft / "build.py").write_text(_BUILD.format(tool=tool), encoding="utf-8")
        files = {file.name: sha256_of_file(file) for file in sorted(draft.iterdir())}
        description: dict[str, Any] = {
            "artifact": name,
            "target": target,
            "device": planned.target["device"],
            "runtime": planned.target["runtime"],
            "spec": planned.to_dict(),
            "of_source": None if reference.of_source is None else dict(reference.of_source),
            "files": files,
        }
        if second is not None:
            description["second"] = {"artifact": second.name, "spec": second.planned.to_dict()}
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (draft / "kit.json").write_text(text, encoding="utf-8")
        prints = {f"{folder.name}/{file.name}": fingerprint(file) for file in draft.iterdir()}

        def changes(name: str, entry: Mapping[str, Any]) -> bool:
            return name.startswith(f"{folder.name}/") and prints.get(name) != entry

        bundle.forget(folder.parent, changes)


def _package() -> bytes:
    """Return the Python code of this package as a zip file for imports; always the same bytes."""
    home = Path(r2p_edge.__file__).parent
    packed = io.BytesIO()
    # Not compressed, which every version of zlib does in its own way.
    with zipfile.ZipFile(packed, "w") as archive:
        # In a checkout, export is a link. Calibration needs packages that a board lacks.
        for folder, _, names in sorted(os.walk(home, followlinks=True)):
            inside = Path("r2p_edge", Path(folder).relative_to(home))
            if "calibration" in inside.parts:
                continue
            for name in sorted(name for name in names if name.endswith(".py")):
                # A ZipInfo without a time is of 1980.
                entry = zipfile.ZipInfo((inside / name).as_posix())
                archive.writestr(entry, Path(folder, name).read_bytes())
    return packed.getvalue()
