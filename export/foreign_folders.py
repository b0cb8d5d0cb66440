"""Folders that are given in place of a model's file, and what is to be done with each."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path

from r2p_edge.errors import unreadable_model
from r2p_edge.export.foreign_files import MODEL_SUFFIXES
from r2p_edge.export.foreign_formats import (
    JOIN_DISTRIBUTED,
    MERGE_ADAPTER,
    TENSORFLOW_PARTS,
    TF2ONNX,
    with_paths,
)
from r2p_edge.export.foreign_parts import (
    JOIN_SAFETENSORS,
    JOIN_TORCH,
    lacks_parts,
    missing_parts,
)
from r2p_edge.export.recognition import format_of_name

_SHOWN = 5  # names of files in an error
_SEARCHED = 100  # folders in a folder
_PACKAGES = (".mlpackage", ".mlmodelc")  # Apple's models are folders
# Files that a training leaves beside a model, under the suffixes of one.
_STATE = re.compile(
    r"(optimizer|scheduler|scaler|rng_state.*|training_args|.*_optim_states)\.(pth?|bin)"
)


def describe_folder(folder: Path) -> str:
    """Return what a folder is that was given in place of a model's file, and what to do.

    Raises:
        ModelError: the folder cannot be listed.
    """
    names = _listed(folder)
    if found := _known(folder, names):
        return found
    if models := _models(names):
        return f"a folder; give the checkpoint or ONNX file in it ({_some(models)})"
    state = [name for name in names if _STATE.fullmatch(name)]
    below: list[str] = []
    for inner in [folder / name for name in names[:_SEARCHED]]:
        if inner.is_dir() and os.access(inner, os.R_OK | os.X_OK):
            within = _listed(inner)
            if found := _known(inner, within):
                return f"a folder, and {inner} in it is {found}"
            below += [f"{inner.name}/{name}" for name in _models(within)]
            state += [f"{inner.name}/{name}" for name in within if _STATE.fullmatch(name)]
    if below:
        return f"a folder; give the checkpoint or ONNX file in it ({_some(below)})"
    if state:
        return (
            f"a folder with the state of a training ({_some(state)}) and without its model; give "
            "the model that was saved with it, such as model.safetensors or pytorch_model.bin"
        )
    return "a folder without a checkpoint or ONNX file; give the path of such a file"


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise unreadable_model(folder, error) from error


def _known(folder: Path, names: Collection[str]) -> str | None:
    """Return what a folder of a known kind is, and what to do; None for any other."""

    def kind(what: str, way: str) -> str:
        return f"{what}; {with_paths(way, folder, folder)}"

    if folder.suffix in _PACKAGES and (named := format_of_name(folder.name)):
        return kind(named.what, named.way)
    if "saved_model.pb" in names:
        return kind("a TensorFlow model", f"{TF2ONNX} --saved-model FOLDER --output model.onnx)")
    if "checkpoint" in names and any(name.endswith(".index") for name in names):
        return kind("the folder of a TensorFlow checkpoint", TENSORFLOW_PARTS.way)
    if any(name.endswith(".distcp") for name in names):
        return kind("a distributed checkpoint of PyTorch's", JOIN_DISTRIBUTED)
    if "zero_to_fp32.py" in names:
        return kind(
            "a checkpoint of DeepSpeed's in parts",
            "join them: (cd FOLDER && python zero_to_fp32.py . joined), and give the file that it "
            "writes",
        )
    if "adapter_config.json" in names:
        return kind("an adapter (of PEFT, such as LoRA) and no network", MERGE_ADAPTER)
    if "data.pkl" in names and os.path.isdir(folder / "data"):
        return kind(
            "the contents of a PyTorch checkpoint", f"pack them again: {pack_again(folder)}"
        )
    parts = [format_of_name(name) for name in names]
    ways = [part.way for part in parts if part and part.way in (JOIN_SAFETENSORS, JOIN_TORCH)]
    if ways and (missing := missing_parts(names, names)):
        return f"a model {lacks_parts(missing, folder)}"
    return kind(f"one model in {len(ways)} parts", ways[0]) if ways else None


def pack_again(folder: Path) -> str:
    """Return the command that packs the contents of a PyTorch checkpoint into model.pth."""
    folder = folder.absolute()  # "." has no name
    parent, name = shlex.quote(str(folder.parent)), shlex.quote(folder.name)
    return f"(cd {parent} && zip -0 -r model.pth {name}), and give {parent}/model.pth"


def _models(names: Collection[str]) -> list[str]:
    """Return the files that may be models; what a training leaves beside them is none."""
    compiled = {name[:-4] for name in names if name.lower().endswith(".xml")}
    return [
        name
        for name in names
        if name.lower().endswith(MODEL_SUFFIXES)
        and not _STATE.fullmatch(name)
        and not ((named := format_of_name(name)) and named.sure)
        and not (name.endswith(".bin") and name[:-4] in compiled)
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
