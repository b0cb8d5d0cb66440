"""Building the artifact of a kit on the device, with the code that the kit carries.

Nothing here needs onnx. `kit.py` writes the kits; `table.py` names the function for each target.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.agreement import parity_text
from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.errors import ModelError, R2PError
from r2p_edge.export.targets.base import Kit
from r2p_edge.export.targets.second_form import SECOND_FILE, build_either
from r2p_edge.export.targets.table import kit_of_target
from r2p_edge.export.verify.parity import ParityReference
from r2p_edge.spec import ModelSpec

_log = logging.getLogger(__name__)

_FILES = ("build.py", "clips.npz", "model.onnx", "r2p_edge.zip")
_CONTENT = ("artifact", "target", "device", "runtime", "spec", "of_source", "files")  # of kit.json


def build_kit(folder: Path, note: Callable[[str], None] = _log.warning) -> dict[str, Any]:
    """Build the artifact of a kit, on the machine that it is for.

    Args:
        folder: the kit.
        note: called with the reason where the tool refuses the first form and the second is built.

    Returns:
        {"path", "runtime", "device", "precision", "parity"}.

    Raises:
        ModelError: the kit is damaged, or its model cannot be built here; ParityError where the
            artifact's outputs differ from its source's, and is not written.
        BackendError: the tool is missing or fails.
        OutputError: the artifact cannot be written.
    """
    recipe, kit = _read(folder)
    check_folder(folder / kit["artifact"])
    with np.load(folder / "clips.npz") as clips:
        reference = ParityReference(clips["inputs"], clips["outputs"], kit["of_source"])
    second = kit["second"]

    def form(model: str, name: str, planned: ModelSpec) -> tuple[Path, ModelSpec]:
        return folder / name, recipe.build(folder / model, folder / name, planned, reference)

    path, spec = build_either(
        lambda: form("model.onnx", kit["artifact"], kit["spec"]),
        second and (lambda: form(SECOND_FILE, second["artifact"], second["spec"])),
        note,
    )
    return {
        "path": str(path),
        "runtime": kit["runtime"],
        "device": kit["device"],
        "precision": spec.precision,
        "parity": spec.to_dict()["parity"],
    }


def _read(folder: Path) -> tuple[Kit, dict[str, Any]]:
    """Return how the target's kits are built, and the content of kit.json, with the spec parsed.

    Raises:
        ModelError: kit.json or a file beside it is damaged.
    """
    try:
        found = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
        kit: dict[str, Any] = {name: found[name] for name in _CONTENT}
        kit["spec"] = ModelSpec.from_dict(kit["spec"])
        kit["second"] = second = found.get("second")
        recipe = kit_of_target(kit["target"])
        needed = _FILES if second is None else (*_FILES, SECOND_FILE)
        files = {name: kit["files"][name] for name in needed} | kit["files"]
        if second is not None:
            name, spec = second["artifact"], ModelSpec.from_dict(second["spec"])
            kit["second"] = {"artifact": name, "spec": spec}
        damaged = [name for name, digest in files.items() if not _is(folder / name, digest)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{folder} is not a complete kit ({error!r}); copy the folder again"
        ) from error
    if damaged:
        raise ModelError(
            f"{', '.join(damaged)} of the kit {folder} is missing or damaged; copy the folder again"
        )
    return recipe, kit


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of_file(file) == digest


def run_kit(folder: Path, arguments: list[str]) -> int:
    """Run a kit's build.py: build, verify and report; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="build.py", description="Build the artifact of this kit and verify it."
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The folder's name may have letters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        report = build_kit(folder, lambda reason: print(f"build.py: {reason}", file=sys.stderr))
    except R2PError as error:
        if options.json:
            print(json.dumps({"error": str(error)}))
        print(f"build.py: error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(report))
        return 0
    verified = parity_text(report["parity"])
    print(f"{report['path']}: {report['precision']} for {report['device']}, {verified}")
    return 0
