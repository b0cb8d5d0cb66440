"""`r2p-edge teach`: give a model the classes of a folder of videos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from r2p_edge.cli import options as shared
from r2p_edge.cli.lessons import METHODS, left_out_text, tested_text
from r2p_edge.cli.output import print_json, progress_bars, warn
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import UsageError, count_of
from r2p_edge.spec.checks import plain, some_of

if TYPE_CHECKING:
    from r2p_edge.teaching import Taught


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "teach",
        run,
        "Give a model the classes of a folder of videos: a new head for its network.",
        "teach model.onnx --videos mine/ --out mine.onnx",
        "teach model-int8.xml --videos mine/ --test others/ --reject --out mine-int8.xml",
        "teach model.onnx --videos mine/ --save-features mine.npz --out mine.onnx",
        "teach model.onnx --add wave/ --from mine.npz --out mine.onnx",
    )
    verb.add_argument(
        "model", type=Path, metavar="MODEL", help="ONNX or OpenVINO artifact, float or INT8"
    )
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="file to write, of the same format as MODEL",
    )
    learn = verb.add_argument_group("videos to learn from")
    shared.add_videos(learn, "folder of videos, with a folder for each class")
    shared.add_split(learn, "list of the videos to learn from (default: all)")
    learn.add_argument(
        "--add",
        type=Path,
        metavar="DIR",
        help="folder of one class, or with a folder for each of several, to add to those of --from",
    )
    learn.add_argument(
        "--from",
        dest="features",
        type=Path,
        metavar="FILE",
        help="features that --save-features wrote, whose videos need not be read again",
    )
    learn.add_argument(
        "--save-features",
        type=Path,
        metavar="FILE",
        help="write the features of all videos to FILE, an .npz file, to add classes later",
    )
    learn.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="take N clips of each video (default: 1, the clip in the middle)",
    )
    head = verb.add_argument_group("head")
    head.add_argument(
        "--method",
        choices=("mean", "logistic"),
        help="answer the class with the nearest mean, or by logistic regression (default: the "
        "mean below five videos a class)",
    )
    verb.add_flag_with_number(
        head,
        "--reject",
        0.1,
        metavar="SHARE",
        help="add the answer 'none of these', for what is like no class; SHARE is how many of the "
        "videos of the classes may be answered so (default: 0.1)",
    )
    head.add_argument(
        "--keep-old",
        action="store_true",
        help="keep the classes that MODEL has, beside the new ones",
    )
    measure = verb.add_argument_group("videos to measure on")
    measure.add_argument(
        "--test", type=Path, metavar="DIR", help="folder of videos, with a folder for each class"
    )
    measure.add_argument(
        "--test-split",
        type=Path,
        metavar="FILE",
        help="list of the videos to measure on (default: all of --test)",
    )
    shared.add_runtime_options(verb, "the model")


def run(options: argparse.Namespace) -> int:
    """Teach; return 0.

    Raises:
        UsageError: the options contradict each other.
    """
    from r2p_edge.teaching import teach

    if options.add is not None and options.features is None:
        raise UsageError(
            "--add takes classes to add to those of a file of features; give that with --from "
            "FILE, or all classes with --videos DIR"
        )
    if options.videos is not None and options.features is not None:
        raise UsageError("--videos are all classes and --from has some; give --add in its place")
    with progress_bars() as progress:
        taught = teach(
            options.model,
            options.out,
            options.add if options.videos is None else options.videos,
            split=options.split,
            features=options.features,
            save_features=options.save_features,
            test=options.test,
            test_split=options.test_split,
            views=options.views,
            method=options.method,
            reject=options.reject,
            keep_old=options.keep_old,
            **shared.runtime_options(options),
            progress=progress,
        )
    for warning in taught.warnings:
        warn(warning)
    if options.json:
        print_json(taught.to_dict())
    else:
        show(taught)
    return 0


def show(taught: Taught) -> None:
    """Print what was taught, for people."""
    record = (taught.spec.source or {})["head"]
    counts = sorted(set(taught.classes.values()))
    of_each = " to ".join(map(str, (counts[0], counts[-1]) if len(counts) > 1 else counts))
    print(
        f"{taught.path}: {count_of(len(taught.classes), 'class')} of {of_each} "
        f"{'video' if counts == [1] else 'videos'}, by "
        f"{METHODS[record['method']]}"
    )
    for failure in taught.failed:
        print(f"  skipped: {failure['error']}")
    found = taught.left_out
    if found is None:
        print("  not cross-validated: a class has one video, or those of one recording")
    else:
        print(f"  {left_out_text(found)}")
        if "rejected" in found:
            print(f"  of these {found['rejected']:.1%} are answered 'none of these'")
        if "to_old" in found:
            print(f"  of these {found['to_old']:.1%} are answered as a class of before")
        for truth, answer, count in found["confused"]:
            videos = f"{count_of(count, 'video')} of '{plain(truth)}'"
            print(f"  {videos} {'was' if count == 1 else 'were'} answered '{plain(answer)}'")
        if found["doubtful"]:
            names = [plain(name) for name in found["doubtful"]]
            print(f"  not learnt from, as nothing speaks for the label: {some_of(names, 5)}")
    if taught.test is not None:
        print(f"  measured: {tested_text(taught.test)}")
    parity = taught.spec.parity or {}
    print(
        "  the new head was checked: its answers and NumPy's differ by at most "
        f"{parity['max_rel']:.2g} of the largest logit"
    )
