"""`r2p-edge adapt`: fit the semi-causal form of a model to recordings without labels."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json, progress_bars
from r2p_edge.cli.verb import Verbs, add_verb

if TYPE_CHECKING:
    from r2p_edge.calibration.adapt import AdaptedForm


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "adapt",
        run,
        "Fit a form that answers at every frame to the model's answers on recordings.",
        "adapt model-fp32.onnx --videos recordings/ --out model-causal.npz",
        "adapt model-fp32.onnx --videos recordings/ --max-wait 12 --out model-causal.npz",
    )
    verb.add_argument("model", type=Path, metavar="MODEL.onnx", help="fp32 artifact")
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.npz",
        help="file of weights to write, for export --form semi-causal --form-weights",
    )
    shared.add_videos(
        verb,
        "recordings like those that the form will see, without labels (default, for the bundled "
        "model alone: generated scenes)",
    )
    verb.add_argument(
        "--stages",
        type=int,
        choices=(1, 2),
        default=2,
        help="stages that stay as they were trained (default: 2; 1 is for distilled weights)",
    )
    verb.add_argument(
        "--max-wait",
        type=int,
        default=8,
        metavar="TICKS",
        help="most ticks, of the sampling period, by which answers may be late (default: 8)",
    )
    verb.add_argument(
        "--min-agreement",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="fail if the form gives the model's answer for less than this share of the windows of "
        "held-out recordings (default: 0.95)",
    )


def run(options: argparse.Namespace) -> int:
    """Adapt; return 0."""
    from r2p_edge.calibration.adapt import adapt_form

    with progress_bars() as progress:
        adapted = adapt_form(
            options.model,
            options.out,
            options.videos,
            stages=options.stages,
            longest_wait=options.max_wait,
            least=options.min_agreement,
            progress=progress,
        )
    if options.json:
        print_json(adapted.to_dict())
    else:
        show(adapted, options)
    return 0


def show(adapted: AdaptedForm, options: argparse.Namespace) -> None:
    """Print what was fitted, and how to export it, for people."""
    from r2p_edge.calibration.tally import wilson_interval

    late = f"{adapted.late:.2g} s late" if adapted.wait else "not late"
    print(f"{adapted.path}: stages to {adapted.stages} as they were trained, answers {late}")
    for name, count in adapted.agreement.items():
        low, high = wilson_interval(count.agree, count.windows)
        print(
            f"  {name}: the model's answer for {count.agree} of {count.windows} held-out windows "
            f"({low:.1%} to {high:.1%})"
        )
    words = ["r2p-edge", "export", options.model, "--form", "semi-causal"]
    words += ["--form-weights", adapted.path, "--min-agreement", options.min_agreement]
    if options.videos is not None:
        words += ["--videos", options.videos]
    print(f"  next: {shlex.join(map(str, [*words, '--out', 'DIR']))}")
