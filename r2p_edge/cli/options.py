"""Options that several verbs share: each is spelled and read here, and nowhere else."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from r2p_edge.cli.verb import VerbParser
from r2p_edge.errors import UsageError
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.base import PRECISIONS
from r2p_edge.spec import FUSION_RECIPES
from r2p_edge.video.video_folder import is_video_file

# The successors of --clips.
NUM_CLIPS = "--num-clips N, the number of clips in all"
VIDEOS = "--videos DIR, the folder of videos"
VIDEO_HELP = (
    "video file, URL, folder of images or of videos, or a pattern in quotes, such as "
    "'clips/**/*.mp4'"
)
VIEWS = "--views N, the number of clips per video"


def add_model(verb: VerbParser) -> None:
    """Add MODEL, for verbs that run one model."""
    verb.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="model file: .onnx, .xml, .engine, .plan, .mindir or .om; or a folder with one of "
        "them",
    )


def add_two_streams(verb: VerbParser) -> None:
    """Add `--flow` and `--fusion`, for verbs that run two models as one."""
    group = verb.add_argument_group("two streams")
    group.add_argument(
        "--flow",
        type=Path,
        metavar="FILE",
        help="model of optical flow that answers together with MODEL, which then takes colours; "
        "MODEL can also be the JSON file that names both (default: none)",
    )
    group.add_argument(
        "--fusion",
        choices=tuple(FUSION_RECIPES),
        help="with --flow, how the two answers become one: i3d sums their logits, r2plus1d takes "
        "0.6 of the probabilities of MODEL and 0.4 of those of flow (default: none)",
    )


def streams_of(options: argparse.Namespace) -> Path | list[Path]:
    """Return MODEL, or it and `--flow`.

    Raises:
        UsageError: one of `--flow` and `--fusion` is given without the other.
    """
    if (options.flow is None) != (options.fusion is None):
        raise UsageError(
            "--flow and --fusion belong together: a model of flow, and how its answer and that of "
            "MODEL become one; give both, or neither"
        )
    return options.model if options.flow is None else [options.model, options.flow]


def check_order(model: Path, videos: Sequence[str]) -> None:
    """Raise UsageError where a video is given in the place of the model."""
    suffixes = {suffix for row in RUNTIMES.values() for suffix in row.suffixes}
    models = [video for video in videos if Path(video).suffix.lower() in suffixes]
    if not is_video_file(model):
        return
    if not models:
        raise UsageError(f"{model} is a video; give the model before it, such as model.onnx")
    others = [video for video in videos if video != models[0]]
    order = shlex.join([models[0], str(model), *others])
    raise UsageError(f"{model} is a video and {models[0]} a model; the model is first: {order}")


def add_top(verb: VerbParser, text: str) -> None:
    """Add `--top`."""
    verb.add_argument("--top", type=int, default=5, metavar="K", help=f"{text} (default: 5)")


class RuntimeOptions(TypedDict):
    """Arguments for `compare` and `evaluate`."""

    runtime: str | None
    device: str | None
    threads: int | None
    precision: Literal["fp32", "fp16", "bf16"] | None


def add_runtime_options(verb: VerbParser, models: str) -> argparse._ArgumentGroup:
    """Add the options that say how models are run.

    Args:
        verb: the parser.
        models: "the model" or the like, for the help.

    Returns:
        The group of the options.
    """
    group = verb.add_argument_group("runtime")
    group.add_argument(
        "--runtime",
        metavar="NAME",
        help=f"library that runs {models}: {', '.join(RUNTIMES)} (default: the one that the file "
        "was made for, or the first installed one that reads it); of two streams it can be one of "
        "each, as in onnxruntime+openvino",
    )
    group.add_argument(
        "--device",
        metavar="NAME",
        help="device to run on, for example cpu or cuda:1 (default: the runtime's first device)",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="number of CPU threads (default: one per core that the process may use)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="precision to compute in; only openvino offers a choice (default: that of the file)",
    )
    return group


def runtime_options(options: argparse.Namespace) -> RuntimeOptions:
    """Return the options of `add_runtime_options`."""
    return {
        "runtime": options.runtime,
        "device": options.device,
        "threads": options.threads,
        "precision": options.precision,
    }


class PredictorOptions(RuntimeOptions):
    """Arguments for `Predictor`."""

    cache: Path | None
    spec: Path | None


def add_predictor_options(verb: VerbParser) -> None:
    """Add the options that say how one model is opened."""
    group = add_runtime_options(verb, "the model")
    group.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="existing folder in which openvino keeps compiled models, and tensorrt_rtx compiled "
        "kernels, to start faster the next time (default: none)",
    )
    group.add_argument(
        "--spec",
        type=Path,
        metavar="FILE",
        help="JSON file with the contract of a model that carries none (default: the model's own)",
    )


def predictor_options(options: argparse.Namespace) -> PredictorOptions:
    """Return the options of `add_predictor_options`."""
    return {**runtime_options(options), "cache": options.cache, "spec": options.spec}


def add_videos(group: Any, text: str, *, required: bool = False) -> None:
    """Add `--videos`."""
    group.add_argument("--videos", type=Path, required=required, metavar="DIR", help=text)


def add_split(group: Any, text: str) -> None:
    """Add `--split`."""
    group.add_argument("--split", type=Path, metavar="FILE", help=text)


def add_num_clips(group: Any, text: str, default: int | None = None) -> None:
    """Add `--num-clips`."""
    group.add_argument("--num-clips", type=int, default=default, metavar="N", help=text)


def add_views(verb: VerbParser, text: str) -> None:
    """Add `--views`."""
    verb.add_argument("--views", type=int, default=1, metavar="N", help=text)


def add_worst(verb: VerbParser) -> None:
    """Add `--worst`."""
    verb.add_argument(
        "--worst",
        type=int,
        default=12,
        metavar="N",
        help="show N videos of each model in the report, those answered wrongly with the highest "
        "score (default: 12)",
    )


def names_in(text: str | None) -> list[str]:
    """Return the names in an option that has commas between them."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def add_fps(group: Any) -> None:
    """Add `--fps`."""
    group.add_argument(
        "--fps",
        type=float,
        metavar="RATE",
        help="rate of a folder of images, in frames per second (default: the rate of the videos "
        "that the model was trained on)",
    )


def add_reuse(group: Any) -> None:
    """Add `--reuse` and `--border`."""
    group.add_argument(
        "--reuse",
        choices=("features",),
        help="keep the features of each frame for all clips that show it, so that clips close to "
        "each other cost a fraction; needs a model that was exported with --form per-frame or "
        "semi-causal (default: answer each clip by itself)",
    )
    group.add_argument(
        "--border",
        choices=("flush", "wait"),
        help="with --reuse, flush answers a clip at once, and wait with the frames after it, which "
        "takes less work (default: flush)",
    )


class CalibrationOptions(TypedDict):
    """Fields of `Calibration`."""

    folder: Path | None
    split: Path | None
    num_clips: int
    seed: int
    strict: bool
    force: bool
    method: Literal["minmax", "percentile", "entropy"]
    max_drop: float | None


def add_calibration_options(verb: VerbParser, title: str) -> None:
    """Add the options that say how an int8 model is calibrated, in a group of that title."""
    group = verb.add_argument_group(title)
    add_videos(
        group,
        "folder of videos to calibrate on, with a folder for each class (default: generated "
        "clips, for the bundled model only)",
    )
    add_split(
        group,
        "list of the videos to calibrate on, such as UCF101's trainlist01.txt (default: all)",
    )
    add_num_clips(group, "calibrate on N clips in all (default: 200)", 200)
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="number that decides which clips are sampled (default: 0)",
    )
    group.add_argument(
        "--method",
        choices=("minmax", "percentile", "entropy"),
        default="minmax",
        help="way to choose the range of each tensor (default: minmax)",
    )
    group.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="fail if INT8 loses more than POINTS percentage points of top-1 accuracy (default: "
        "any loss is accepted)",
    )
    group.add_argument(
        "--test-list",
        action="store_true",
        help="accept a --split of test videos, which would spoil a later measurement on them",
    )
    group.add_argument(
        "--complete",
        action="store_true",
        help="fail if the folder lacks a video of the --split (default: leave it out)",
    )


def calibration_options(options: argparse.Namespace) -> CalibrationOptions:
    """Return the options of `add_calibration_options`."""
    return {
        "folder": options.videos,
        "split": options.split,
        "num_clips": options.num_clips,
        "seed": options.seed,
        "strict": options.complete,
        "force": options.test_list,
        "method": options.method,
        "max_drop": options.max_drop,
    }


def check_no_calibration(options: argparse.Namespace, *, videos: bool = False) -> None:
    """Raise UsageError where an option of a calibration is given that will not take place.

    Args:
        videos: whether its videos serve something else.
    """
    given = {
        "--videos": options.videos is not None and not videos,
        "--split": options.split is not None,
        "--max-drop": options.max_drop is not None,
        "--test-list": options.test_list,
        "--complete": options.complete,
    }
    for option in filter(given.__getitem__, given):
        raise UsageError(f"{option} is for int8; add --precision int8, or leave it out")


def check_files(options: argparse.Namespace) -> None:
    """Raise UsageError where a file that an option names does not exist."""
    for option in ("spec", "labels", "split", "truth"):
        path: Path | None = getattr(options, option, None)
        if path is not None and not os.path.exists(path):
            if option == "labels" and "," in str(path):
                names = " ".join(shlex.quote(name.strip()) for name in str(path).split(","))
                raise UsageError(
                    f"--labels takes a file and not the names; write them into one: printf '%s\\n' "
                    f"{names} > labels.txt"
                )
            raise UsageError(f"there is no file {path} for --{option}; check the path")


def check_counts(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise UsageError where one of these options is given as a number below 1."""
    for name in names:
        number: int | None = getattr(options, name)
        if number is not None and number < 1:
            raise UsageError(f"{name.replace('_', '-')} is {number}; it must be 1 or more")
