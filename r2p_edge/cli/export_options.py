"""Options about a trained model: its weights, how it was trained, and the code that makes it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r2p_edge.cli.verb import VerbParser
from r2p_edge.errors import UsageError

_RECIPE = (
    *("preset", "spec", "labels", "frames", "interval", "fps", "size", "sampling", "order"),
    *("input", "pixels", "output", "output_kind"),
    *("weights_key", "family", "bn_eps", "head", "head_activation"),
)


def add_module_options(verb: VerbParser) -> None:
    """Add the options about a PyTorch module."""
    group = verb.add_argument_group(
        "any PyTorch module, in place of SOURCE",
        "The code of the module runs, in a process of its own, with all rights of the user.",
    )
    group.add_argument(
        "--module",
        metavar="FILE:FACTORY",
        help="file of Python code (or dotted name of a module), and the function or class in it "
        "that makes the module",
    )
    group.add_argument("--args", metavar="JSON", help="arguments of FACTORY, as a JSON object")
    group.add_argument(
        "--weights",
        type=Path,
        metavar="CKPT",
        help="checkpoint of the module; 'none' if FACTORY loads it itself",
    )
    group.add_argument(
        "--trust-code", action="store_true", help="the code of FILE may run on this machine"
    )


def add_checkpoint_options(verb: Any) -> None:
    """Add the options about what a file of weights does not say, to a verb or a group of one."""
    verb.add_argument(
        "--weights-key",
        metavar="KEY",
        help="place of the weights in a PyTorch file that has several sets of them, as the error "
        "lists them (such as model_ema)",
    )
    verb.add_argument(
        "--family",
        metavar="NAME",
        help="family of the network, where names and shapes are those of several, as the error "
        "lists them (such as vmz)",
    )
    verb.add_argument(
        "--bn-eps",
        type=float,
        metavar="E",
        help="epsilon of all batch norms, where it is not the family's; weights do not hold it",
    )
    verb.add_argument(
        "--head",
        metavar="NAME|FILE",
        help="classifier of a checkpoint that has several, as the error lists them; or its layers, "
        "with commas between them (fc1,fc2); or a file of weight and bias (.npz, .pth, "
        ".safetensors, .ckpt), for a checkpoint without a classifier or in place of its own",
    )
    verb.add_argument(
        "--head-activation",
        choices=("relu", "none"),
        help="function between the layers of a classifier that has several",
    )
    verb.add_argument(
        "--output",
        metavar="NAME",
        help="output of an ONNX file or of a module that has several, as the error lists them "
        "(of a module: a key, an index, or several with dots between them)",
    )


def add_contract_options(verb: VerbParser) -> None:
    """Add the options that say how a model was trained."""
    from r2p_edge.export.presets import PRESETS

    group = verb.add_argument_group(
        "how the model was trained",
        "Settings that are left out come from the preset, the spec or the source.",
    )
    group.add_argument(
        "--preset",
        metavar="NAME",
        help=f"recipe of a published family of models: {', '.join(PRESETS)}; the other options of "
        "this group change it",
    )
    group.add_argument(
        "--spec",
        type=Path,
        metavar="FILE",
        help="JSON file with the whole contract, in place of a preset",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="FILE|DIR",
        help="names of the classes: one per line, a classInd.txt, or JSON; or a folder of videos "
        "with a folder for each class, whose sorted names they are (default: the preset's)",
    )
    group.add_argument("--frames", type=int, metavar="N", help="frames per clip")
    group.add_argument(
        "--interval", type=int, metavar="N", help="take every Nth frame of the video into a clip"
    )
    group.add_argument(
        "--fps", type=float, metavar="RATE", help="frames per second of the training videos"
    )
    group.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of the crop; the picture is resized as much larger as in the preset",
    )
    group.add_argument(
        "--sampling",
        choices=("time", "index"),
        help="choose the frames of a clip by their time, or by counting them",
    )
    group.add_argument(
        "--order",
        choices=("temporal", "lexicographic"),
        help="order of the frames: as they were filmed, or by their numbers sorted as text",
    )
    group.add_argument(
        "--input",
        choices=("uint8", "float32"),
        help="input of the artifact: pixels, which the graph normalises, or normalised numbers "
        "(default: what the target runs best)",
    )
    group.add_argument(
        "--pixels",
        choices=("normalized", "unit", "raw"),
        help="input of the network: pixels normalised with mean and std, or from 0 to 1, or from "
        "0 to 255, as one that normalises by itself does (default: normalized; asked for where an "
        "ONNX file looks as if it normalised)",
    )
    group.add_argument(
        "--output-kind",
        choices=("logits", "probabilities", "sigmoid", "values", "features"),
        help="outputs of the network: logits, probabilities that sum to 1, a probability of "
        "each class by itself, numbers that are no classes, or features without names (default: "
        "as an ONNX file ends; else logits, values for a single output, or features for a network "
        "without a classifier)",
    )


def add_form_options(verb: VerbParser) -> None:
    """Add the options about graphs with state."""
    group = verb.add_argument_group(
        "answers for every frame",
        "Graphs with state beside the artifact, for streams whose windows overlap.",
    )
    group.add_argument(
        "--form",
        choices=("clip", "per-frame", "semi-causal"),
        default="clip",
        help="per-frame also writes graphs that compute the first stages once for each frame, and "
        "semi-causal one that answers at each frame (default: clip, the artifact alone)",
    )
    group.add_argument(
        "--stages",
        type=int,
        choices=(0, 1, 2),
        help="stages that see one frame at a time as they were trained; 0 is the stem alone "
        "(default: 2, or those of the weights that were fitted)",
    )
    group.add_argument(
        "--form-weights",
        type=Path,
        metavar="FILE.npz",
        help="weights for semi-causal, of r2p-edge adapt or examples/distil.py (default: motion's "
        "own; of others those of the artifact, which agree too rarely for most uses)",
    )
    group.add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="fail if they give the artifact's answer for less than this share of the windows of "
        "--videos, or of generated scenes for the bundled model (default: 0.97)",
    )


def form_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_form_options`, for `build`.

    Raises:
        UsageError: one is given without the form that it is about.
    """
    given = {
        "--stages": options.stages,
        "--form-weights": options.form_weights,
        "--min-agreement": options.min_agreement,
    }
    if options.form == "clip":
        for option, value in given.items():
            if value is not None:
                raise UsageError(
                    f"{option} is for a per-frame form; add --form per-frame or --form semi-causal"
                )
        return {}
    from r2p_edge.calibration.form_agreement import AgreementJudge

    least = {} if options.min_agreement is None else {"least": options.min_agreement}
    return {
        "form": options.form,
        "stages": options.stages,
        "form_weights": options.form_weights,
        "judge": AgreementJudge(options.videos, **least),
    }


def recipe_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_contract_options` and `add_checkpoint_options`, for `build`."""
    return {name: getattr(options, name) for name in _RECIPE}
