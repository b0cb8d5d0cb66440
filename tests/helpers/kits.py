"""Kits for MindSpore Lite: making them, and looking into them."""

import hashlib
import json

from r2p_edge.export.build import build

FILES = {"build.py", "clips.npz", "kit.json", "model.onnx", "r2p_edge.zip"}


def kit_of(network, target, out, **options):
    """Export a network, a file and its spec, for a target without its tool; return the kit."""
    source, spec = network
    (built,) = build(source, spec=spec, targets=[target], out=out, **options).built
    assert built.status == "kit"
    return built.path


def names(folder):
    """Return the names in a folder."""
    return {file.name for file in folder.iterdir()}


def content(folder):
    """Return the content of kit.json."""
    return json.loads((folder / "kit.json").read_text(encoding="utf-8"))


def with_content(folder, **changes):
    """Write kit.json again with changes."""
    (folder / "kit.json").write_text(json.dumps(content(folder) | changes), encoding="utf-8")


def sha256(file):
    """Return the sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
