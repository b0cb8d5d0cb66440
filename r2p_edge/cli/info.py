"""`r2p-edge info`: show the contract of an artifact, or all artifacts of a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from r2p_edge.agreement import is_parity_record, parity_text
from r2p_edge.artifact import Artifact, open_artifact, sidecar_path
from r2p_edge.artifact.parts import check_parts
from r2p_edge.cli.int8 import int8_rows
from r2p_edge.cli.lessons import lesson_rows
from r2p_edge.cli.output import complain, print_json
from r2p_edge.cli.per_frame import per_frame_rows
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import count_of
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.checks import some_of

_SHOWN_LABELS = 4
_LESSONS = ("head", "training")  # records of a source that `lesson_rows` tells
_PARTS = ("weights", "normalisation", "preprocessing", "labels")  # that a golden pair may prove
_OUTPUTS = {
    "logits": "logits, of which the softmax is taken",
    "probabilities": "probabilities, which sum to 1",
    "sigmoid": "the probability of each class by itself",
    "values": "values, which are no classes",
    "features": "features, of which teach or export --head makes classes",
}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "info",
        run,
        "Show the classes, clip and preprocessing that a model carries, and check it for damage.",
        "info model.onnx",
        "info models/ --json",
    )
    verb.add_argument(
        "path",
        type=Path,
        metavar="MODEL|DIR",
        help="model file, or folder of model files and kits, as export writes it",
    )


def run(options: argparse.Namespace) -> int:
    """Inspect; return 0, or the exit code of the last artifact that cannot be used."""
    if os.path.isdir(options.path):
        return _run_on_folder(options.path, options.json)
    artifact = open_artifact(options.path)
    show(artifact, options.json)
    if artifact.spec.per_frame is not None:
        check_parts(artifact.path, artifact.spec)
    return 0


def _run_on_folder(folder: Path, as_json: bool) -> int:
    from r2p_edge.info import BrokenModel, inspect_folder

    code, report = 0, inspect_folder(folder)
    for model in report.models:
        if isinstance(model, BrokenModel):
            code = model.error.exit_code
            complain(model.error)
            if as_json:
                print_json({"path": str(model.path), "error": str(model.error)})
        else:
            show(model, as_json)
    for kit in report.kits:
        if as_json:
            print_json({"path": str(kit), "status": "kit"})
        else:
            print(f"{'kit':>9}  {kit}: no model yet; copy it to its device and run build.py there")
    # Last, where it is seen.
    if report.damage is not None:
        raise report.damage
    if report.listed is not None and as_json:
        print_json({"path": str(folder), "files": report.listed})
    elif report.listed is not None:
        print(f"{'bundle':>9}  {folder}: {count_of(report.listed, 'file')} as exported")
    return code


def show(artifact: Artifact, as_json: bool) -> None:
    """Print an artifact's contract, for people or as JSON."""
    file, spec = artifact.path, artifact.spec
    if as_json:
        print_json(
            {
                "path": str(file),
                "size": artifact.size,
                "verified": artifact.verified,
                "carrier": artifact.carrier,
                "digest": spec.contract_digest(),
                "spec": spec.to_dict(),
            }
        )
        return
    checked = f"sha256 as in {sidecar_path(file).name}" if artifact.verified else "no sidecar"
    clip = spec.clip
    rows = {
        "model": f"{spec.name} ({spec.arch or 'unknown architecture'}, {spec.precision})",
        "file": f"{file}, {artifact.size / 1e6:.1f} MB, {checked}",
        "contract": f"{spec.contract_digest()[:16]} (from {artifact.carrier})",
        **_output_row(spec),
        "clip": f"{clip.frames} frames every {clip.tick * 1e3:.4g} ms by {clip.sampling}, "
        f"{clip.order} order",
        "frames": f"{_resize_text(spec)}, centre crop {spec.crop.height}x{spec.crop.width}, "
        f"mean {_numbers(spec.mean)}, std {_numbers(spec.std)}",
        **_flow_rows(spec),
        "input": f"{spec.input.dtype} {spec.input_shape} {_channels_text(spec)}",
        "output": _OUTPUTS[spec.output.kind],
        **_feature_rows(spec),
        **per_frame_rows(spec),
        "source": _facts_text(spec.source, _LESSONS),
        "parity": _parity_row(spec),
        **_proof_rows(spec),
        **lesson_rows(spec),
        **int8_rows(spec),
    }
    for name, value in rows.items():
        print(f"{name:>9}  {value}")


def _channels_text(spec: ModelSpec) -> str:
    return spec.input.color if spec.flow is None else "optical flow (x, y)"


def _flow_rows(spec: ModelSpec) -> dict[str, str]:
    """Return how optical flow is made, for a model that takes it."""
    flow = spec.flow
    if flow is None:
        return {}
    on = {"crop": "on the crop", "resized": "on the resized frame", "full": "on the full frame"}
    bound = "no bound" if flow.bound is None else f"cut off at {flow.bound:g} pixels"
    levels = "in pixels" if flow.levels == "float32" else "as 256 levels"
    text = f"{flow.method} {on[flow.picture]}, {bound}, {levels}; {spec.clip.frames} frames of it "
    return {"flow": f"{text}are made of {spec.pictures.frames} pictures"}


def _facts_text(facts: Mapping[str, Any] | None, told: Collection[str] = ()) -> str:
    """Return the fields of a record, which may be another tool's, without those told elsewhere."""
    rows = [
        f"{name} {_fact_text(value)}"
        for name, value in (facts or {}).items()
        if value is not None and name not in told
    ]
    return ", ".join(rows) or "unknown"


def _fact_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_facts_text(value)})"
    if isinstance(value, list):
        return f"({some_of([_fact_text(each) for each in value], _SHOWN_LABELS)})"
    return str(value)


def _output_row(spec: ModelSpec) -> dict[str, str]:
    """Return the row that counts the outputs, with the first of their names."""
    if spec.output.kind == "features":
        return {"features": str(spec.outputs)}
    labels = ", ".join(spec.labels[:_SHOWN_LABELS])
    if len(spec.labels) > _SHOWN_LABELS:
        labels += ", ..."
    kind = "values" if spec.output.kind == "values" else "classes"
    return {kind: f"{len(spec.labels)}: {labels}"}


def _parity_row(spec: ModelSpec) -> str:
    """Return how the artifact was compared with its source, and what ran it."""
    if spec.parity is None:
        return "not compared with its source"
    if not is_parity_record(spec.parity):
        return _facts_text(spec.parity)
    ran = f" (run by {spec.parity['runtime']})" if "runtime" in spec.parity else ""
    return parity_text(spec.parity) + ran


def _feature_rows(spec: ModelSpec) -> dict[str, str]:
    """Return the outputs that the artifact has beside its answer."""
    if spec.feature_outputs is None:
        return {}
    found = (
        f"{name} {' x '.join(map(str, shape))}" for name, shape in spec.feature_outputs.items()
    )
    return {"features": ", ".join(found)}


def _proof_rows(spec: ModelSpec) -> dict[str, str]:
    """Return what a golden pair proved of the contract and what it did not, and what is doubtful.

    Records that other tools wrote may have other fields, which only JSON shows.
    """
    checks = spec.checks or {}
    golden = checks.get("golden")
    pair = golden if isinstance(golden, dict) else {}
    proven: list[str] = []
    unproven: list[str] = []
    for part in _PARTS:
        (proven if isinstance(pair.get(part), dict) else unproven).append(part)
    if "labels" in proven and isinstance(outputs := pair["labels"].get("outputs"), list):
        proven[-1] = f"{len(outputs)} of {len(spec.labels)} labels"
    rows = {}
    if proven:
        rows["proven"] = f"{', '.join(proven)}, by golden pair {pair.get('file')}"
    if unproven:
        rows["unproven"] = f"{', '.join(unproven)} (see export --golden)"
    if isinstance(warnings := checks.get("warnings"), list) and warnings:
        rows["warning"] = "; ".join(map(str, warnings))
    return rows


def _resize_text(spec: ModelSpec) -> str:
    resize = spec.resize
    if resize.mode == "stretch":
        return f"resize to {resize.height}x{resize.width}"
    return f"resize of the short side to {resize.size}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
