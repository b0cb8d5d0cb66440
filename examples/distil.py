"""A form that answers at every frame and waits for none, by distillation in PyTorch.

    python examples/distil.py motion --out motion-causal.npz
    r2p-edge export motion --form semi-causal --form-weights motion-causal.npz --out models/

CHECKPOINT is any that `r2p-edge export` reads, and DIR holds recordings like those that the form
will see, as they come; they need no labels. The sections above `--stages` learn to answer at each
frame what the clip model answers for the window that ends there, or `--wait` ticks before. What
lies below is computed once and kept in a folder beside OUT. The weights are written only if the
form then gives the clip model's answer on recordings that were held out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from r2p_edge.artifact.atomic import made_folder
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.adapt import check_held_out, form_streams, held_out_agreement
from r2p_edge.calibration.causal_material import causal_material
from r2p_edge.calibration.form_agreement import check_least
from r2p_edge.calibration.tally import wilson_interval
from r2p_edge.errors import R2PError
from r2p_edge.export.build import build
from r2p_edge.export.causal_weights import (
    CausalWeights,
    check_weights_path,
    read_causal_weights,
    save_causal_weights,
)
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.per_frame.forms import semi_causal_form
from r2p_edge.export.verify.ort_session import answer_of
from r2p_edge.export.verify.per_frame_run import PerFrameRun
from r2p_edge.training.causal import SemiCausalNetwork
from r2p_edge.training.device import training_device
from r2p_edge.training.distil import DistilRecipe, DistilStep, Sequences, distil
from r2p_edge.training.files import open_trainable
from r2p_edge.training.kept_material import kept_material, remove_material
from r2p_edge.training.state import TrainingState
from r2p_edge.video.video_folder import videos_in

STATE = "state.pt"
RARELY = (
    "write them all the same with --resume and a lower --min-agreement, and go on from them with "
    "--weights and more --amount or --steps"
)
"""Advice where the weights agree too rarely."""


def tell(step: DistilStep) -> None:
    """Print every tenth step."""
    if step.number % 10 == 0 or step.number == 1:
        share = f"{step.agreement:.1%} of its windows"
        print(f"step {step.number}: loss {step.loss:.4f}, agrees on {share}", flush=True)


class Bar:
    """Prints how many windows are done, each tenth of them."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Print, if another tenth is done."""
        if done >= self._next or done < self._next - total // 5:
            print(f"{what}: {done} of {total}", flush=True)
            self._next = done + max(1, total // 10)


def run(options: argparse.Namespace, recipe: DistilRecipe) -> None:
    """Distil a checkpoint as the options say, and write the result."""
    check_weights_path(options.out)
    check_least(options.min_agreement)
    device = training_device(options.device)
    work = options.work or options.out.with_suffix(".distilling")
    with made_folder(work), tempfile.TemporaryDirectory(dir=work) as folder:
        (clip,) = build(
            options.checkpoint,
            targets=["onnx"],
            out=folder,
            preset=options.preset,
            spec=options.spec,
            family=options.family,
        ).built
        weights = distilled(options, recipe, clip.path, work, device)
    save_causal_weights(weights, options.out)
    (work / STATE).unlink()
    if not options.keep:
        remove_material(work)
    print(f"{options.out}: give it to r2p-edge export --form semi-causal --form-weights")


def distilled(
    options: argparse.Namespace,
    recipe: DistilRecipe,
    clip: Path,
    work: Path,
    device: torch.device,
) -> CausalWeights:
    """Return the weights that were distilled from the clip model, an ONNX file."""
    trained = open_trainable(
        options.checkpoint,
        preset=options.preset,
        spec=options.spec,
        weights=WeightsOptions(family=options.family),
    )
    spec, model = open_artifact(clip).spec, load_onnx(clip)
    streams = form_streams(spec, options.videos, recipe.wait, options.amount)
    settings = {
        "checkpoint": trained.parent["sha256"],
        "recordings": listed(options.videos),
        "amount": options.amount,
    }
    network = SemiCausalNetwork(trained.named.parameters, trained.network.network, recipe.stages)
    begun = begin_with(network, options.weights)
    state = TrainingState(
        work / STATE, {**settings, **recipe.to_dict(), "weights": begun}, resume=options.resume
    )
    total, bar = sum(len(stream.ends) for stream in streams.fit), Bar()
    material = kept_material(
        work,
        {**settings, "stages": recipe.stages, "wait": recipe.wait},
        lambda file: causal_material(
            model, spec, recipe.stages, streams.fit, lambda done: bar("windows", done, total), file
        ),
    )
    sequences = Sequences(material, recipe, spec.clip.frames)
    print(f"{len(material.features)} frames, {total} windows; distilled on {device.type}")
    steps = distil(
        network.to(device),
        sequences,
        recipe,
        device=device,
        state=state,
        fitted=begun is not None,
        report=tell,
    )
    constants = network.cpu().constants()
    if options.half:
        constants = {name: value.astype(np.float16) for name, value in constants.items()}
    form = semi_causal_form(model, spec, recipe.stages, wait=recipe.wait, weights=constants)
    counts = held_out_agreement(
        PerFrameRun(form, spec.clip.frames), answer_of(clip, spec), spec, recipe.wait, streams, bar
    )
    for name, count in counts.items():
        low, high = wilson_interval(count.agree, count.windows)
        print(
            f"{name}: {count.agree} of {count.windows} held-out windows ({low:.1%} to {high:.1%})"
        )
    check_held_out(counts, options.min_agreement, streams.of, RARELY)
    record = {
        "fitted": "distilled",
        "on": streams.of,
        "ticks": len(material.features),
        "windows": len(material.ends),
        "recipe": recipe.to_dict(),
        "begun_with": begun,
        "loss": round(float(np.mean([step.loss for step in steps[-20:]])), 4),
        "held_out": {name: count.record() for name, count in counts.items()},
    }
    return CausalWeights(recipe.stages, recipe.wait, constants, record)


def begin_with(network: SemiCausalNetwork, file: Path | None) -> dict[str, Any] | None:
    """Load the weights that were fitted before, and return what they say of it."""
    if file is None:
        return None
    weights = read_causal_weights(file)
    network.load_constants(weights.constants)
    return {"sha256": sha256_of_file(file), **weights.record}


def listed(folder: Path | None) -> list[list[str | int]] | None:
    """Return the recordings of a folder with what changes when they do."""
    if folder is None:
        return None
    found = [(str(video), video.stat()) for video in videos_in(folder)]
    return [[name, about.st_size, about.st_mtime_ns] for name, about in found]


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="file, ID of published weights, or motion")
    add("--videos", type=Path, metavar="DIR", help="recordings (default, for motion: generated)")
    add("--out", type=Path, required=True, metavar="FILE", help=".npz file to write")
    add("--preset", help="how the checkpoint was trained, as of r2p-edge export")
    add("--spec", type=Path, metavar="FILE", help="the same as a file")
    add("--family", help="family of its network, where several have its names")
    add("--weights", type=Path, metavar="FILE.npz", help="go on from these, of an earlier run")
    add("--work", type=Path, metavar="DIR", help="folder of what is kept (default: beside OUT)")
    add("--keep", action="store_true", help="leave the features there, for a run after this one")
    add("--resume", action="store_true", help="go on from the last state of a run that was stopped")
    add("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    add("--amount", type=int, default=2, help="how much to learn from (default: %(default)s)")
    add("--half", action="store_true", help="write the weights as float16, in half the bytes")
    add("--min-agreement", type=float, default=0.95, metavar="SHARE",
        help="least agreement on held-out recordings (default: %(default)s)")  # fmt: skip
    for name, kind, meaning in (
        ("stages", int, "last stage that stays as it was trained, 1 or 2"),
        ("wait", int, "ticks after a window's last frame at which its answer is trained"),
        ("steps", int, "steps of the optimiser"),
        ("sequences", int, "sequences of each"),
        ("ticks", int, "frames of a sequence"),
        ("rate", float, "learning rate at its peak; 1e-3 diverges"),
        ("kept", int, "steps after which the state is written"),
        ("seed", int, "of everything random"),
    ):
        default = getattr(DistilRecipe, name)
        add(f"--{name}", type=kind, default=default, help=f"{meaning} (default: {default})")
    options = parser.parse_args()
    try:
        recipe = DistilRecipe(
            stages=options.stages,
            wait=options.wait,
            steps=options.steps,
            sequences=options.sequences,
            ticks=options.ticks,
            rate=options.rate,
            kept=options.kept,
            seed=options.seed,
        )
        run(options, recipe)
    except R2PError as error:
        print(f"distil.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
