"""Kits: what another machine needs to build an artifact whose tool is not here, and to prove it.

A kit is a folder that is copied to the target, where `python build.py` makes the artifact of it
with the code that would have made it here. It needs numpy and the target's own tool, and neither
this package nor onnx.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import r2p_edge
from r2p_edge.artifact.atomic import atomic_folder, check_folder
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.errors import ModelError, OutputError, R2PError
from r2p_edge.export.targets.mindspore_lite.converter import build_lite, calibrated_on
from r2p_edge.export.targets.tensorrt.engine import TYPED, build_engine_of_kit
from r2p_edge.export.verify.parity import ParityReference
from r2p_edge.spec import ModelSpec

_CALIBRATION = "calibration.npy"


def _build_lite(model: Path, path: Path, planned: ModelSpec, proof: ParityReference) -> ModelSpec:
    assert planned.target is not None
    clips = model.with_name(_CALIBRATION)
    return build_lite(
        model,
        path,
        planned,
        proof,
        device=planned.target["device"],
        calibration=np.load(clips) if clips.is_file() else None,
    )


_BUILDERS = {"mindspore_lite": _build_lite, "tensorrt": build_engine_of_kit}
"""Runtime of the artifact -> what builds it there: called with the ONNX file, the artifact's path,
its planned spec, and the `ParityReference`."""

_TOOLS = {
    "mindspore_lite": "mindspore_lite or converter_lite",
    "tensorrt": "tensorrt or trtexec",
}
_FILES = ("build.py", "clips.npz", "model.onnx", "r2p_edge.zip")
_CONTENT = ("artifact", "device", "runtime", "spec", "of_source", "files")  # of kit.json

_BUILD = '''\
"""Builds the artifact of this folder with the tool of the machine that it is for, and proves it.

    python build.py [--json]

Needs Python 3.10 or newer, numpy and {tool}. The artifact and its sidecar are written
beside this file. The exit code is 0 if the artifact answers as it must or nothing here can tell, 2
if an option or setting is wrong, 3 if it cannot be written, 4 if it does not answer so or cannot be
built of this folder, 5 if the tool or what it needs is missing or fails.
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
    from r2p_edge.export.targets.kit import main
except Exception as error:  # whatever a damaged archive brings about
    end(4, "r2p_edge.zip is missing or damaged (" + repr(error) + "); copy the folder again")
sys.exit(main(folder, sys.argv[1:]))
'''


def write_kit(
    source: Path,
    planned: ModelSpec,
    proof: ParityReference,
    folder: Path,
    name: str,
    typed: Path | None = None,
    calibration: np.ndarray | None = None,
) -> None:
    """Writes a kit for an ONNX artifact, replacing the folder if it is one.

    Args:
        source: the ONNX file.
        planned: the spec that the artifact is to have; its target says the runtime and device.
        proof: what it must answer to what.
        folder: to write.
        name: of the artifact's file.
        typed: the ONNX file of which that is made by tools that take its precision from there.
        calibration: clips, uint8 (N, T, H, W, 3), for tools that quantize by themselves.

    Raises:
        OutputError: the folder cannot be written, or is something else than a kit.
    """
    if folder.exists() and not (folder / "kit.json").is_file():
        raise OutputError(f"{folder} is there and is no kit; remove it, or choose another --out")
    if calibration is not None:
        planned = calibrated_on(calibration, planned)
    assert planned.target is not None
    with atomic_folder(folder) as draft:
        shutil.copyfile(source, draft / "model.onnx")
        np.savez(draft / "clips.npz", inputs=proof.inputs, outputs=proof.outputs)
        (draft / "r2p_edge.zip").write_bytes(_package())
        if typed is not None:
            shutil.copyfile(typed, draft / TYPED)
        if calibration is not None:
            np.save(draft / _CALIBRATION, calibration)
        build = _BUILD.format(tool=_TOOLS[planned.target["runtime"]])
        (draft / "build.py").write_text(build, encoding="utf-8")
        files = {file.name: sha256_of_file(file) for file in sorted(draft.iterdir())}
        content = {
            "artifact": name,
            "device": planned.target["device"],
            "runtime": planned.target["runtime"],
            "spec": planned.to_dict(),
            "of_source": None if proof.of_source is None else dict(proof.of_source),
            "files": files,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (draft / "kit.json").write_text(text, encoding="utf-8")


def _package() -> bytes:
    """The Python code of this package as a zip file, which Python imports from; always the same."""
    home = Path(r2p_edge.__file__).parent
    packed = io.BytesIO()
    # Not compressed, which every version of zlib does in its own way.
    with zipfile.ZipFile(packed, "w") as archive:
        # In a checkout, export is a link. Calibration needs what a board has not.
        for folder, _, names in sorted(os.walk(home, followlinks=True)):
            inside = Path("r2p_edge", Path(folder).relative_to(home))
            if "calibration" in inside.parts:
                continue
            for name in sorted(name for name in names if name.endswith(".py")):
                # The time of a ZipInfo is 1980 unless it is told.
                entry = zipfile.ZipInfo((inside / name).as_posix())
                archive.writestr(entry, Path(folder, name).read_bytes())
    return packed.getvalue()


def build_kit(folder: Path) -> dict[str, Any]:
    """Builds the artifact of a kit, on the machine that it is for.

    Returns:
        {"path", "runtime", "device", "precision", "parity"}.

    Raises:
        ModelError: the kit is not whole, or its model cannot be built here; ParityError where
            the artifact does not answer as it must, and is not written.
        BackendError: the tool is missing or fails.
        OutputError: the artifact cannot be written.
    """
    kit = _read(folder)
    path = folder / kit["artifact"]
    check_folder(path)
    with np.load(folder / "clips.npz") as clips:
        proof = ParityReference(clips["inputs"], clips["outputs"], kit["of_source"])
    build = _BUILDERS[kit["runtime"]]
    spec = build(folder / "model.onnx", path, kit["spec"], proof)
    return {
        "path": str(path),
        "runtime": kit["runtime"],
        "device": kit["device"],
        "precision": spec.precision,
        "parity": spec.to_dict()["parity"],
    }


def _read(folder: Path) -> dict[str, Any]:
    """What kit.json says, the spec as such, if the files beside it are those that it tells of."""
    try:
        kit: dict[str, Any] = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
        kit = {name: kit[name] for name in _CONTENT}
        kit["spec"] = ModelSpec.from_dict(kit["spec"])
        files = {name: kit["files"][name] for name in _FILES} | kit["files"]
        damaged = [name for name, digest in files.items() if not _is(folder / name, digest)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{folder} is no whole kit ({error!r}); copy the folder again") from error
    if damaged:
        raise ModelError(
            f"{', '.join(damaged)} of the kit {folder} is missing or damaged; copy the folder again"
        )
    return kit


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of_file(file) == digest


def main(folder: Path, arguments: list[str]) -> int:
    """What a kit's build.py does: builds, proves and reports; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="build.py", description="Builds the artifact of this kit and proves it."
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The folder's name may have letters that the terminal's encoding has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        report = build_kit(folder)
    except R2PError as error:
        if options.json:
            print(json.dumps({"error": str(error)}))
        print(f"build.py: error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(report))
        return 0
    parity = report["parity"]
    proven = "not proven: this machine cannot run it"
    if parity is not None:
        proven = (
            f"largest difference {parity['max_rel']:.1e} of the largest logit, top-1 agreement "
            f"{parity['top1']:.0%} over {parity['clips']} clips"
        )
    print(f"{report['path']}: {report['precision']} for {report['device']}, {proven}")
    return 0
