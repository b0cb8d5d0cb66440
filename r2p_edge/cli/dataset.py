"""`r2p-edge dataset`: look at a folder of labelled videos, and split it by groups."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge.cli.output import complain, print_json, progress_bars, warn
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import UsageError, VideoError, count_of
from r2p_edge.spec.checks import some_of

if TYPE_CHECKING:
    from r2p_edge.calibration.dataset.report import DatasetReport

_LISTED = 5  # names in a message


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "dataset",
        run,
        "Look at a folder of labelled videos: classes, lengths, rates, broken files and copies.",
        "dataset videos/",
        "dataset videos/ --split-to lists/ --test-share 0.2 --seed 1",
    )
    verb.add_argument(
        "folder", type=Path, metavar="DIR", help="folder of videos, with a folder for each class"
    )
    group = verb.add_argument_group("split")
    group.add_argument(
        "--split-to",
        type=Path,
        metavar="DIR",
        help="write trainlist01.txt, testlist01.txt and classInd.txt into this folder, with each "
        "group of videos in one list (default: no lists)",
    )
    group.add_argument(
        "--test-share",
        type=float,
        metavar="SHARE",
        help="share of each class's videos for the test list (default: 0.3)",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="number that decides which groups go into the test list (default: 0)",
    )
    group.add_argument(
        "--replace", action="store_true", help="put the lists in the place of others"
    )


def run(options: argparse.Namespace) -> int:
    """Look at the folder, and split it; return 0, or the exit code of data that have errors.

    Raises:
        VideoError: the data have errors, and a split is wanted.
    """
    from r2p_edge.calibration.dataset.inspection import inspect_dataset

    with _place(options):  # known to be good before hours of decoding
        with progress_bars() as progress:
            report = inspect_dataset(
                options.folder, progress=lambda done, total: progress("decoding", done, total)
            )
        if not options.json:
            show(report)
        for warning in report.warnings:
            warn(warning)
        for error in report.errors:
            complain(error)
        split = None
        try:
            if options.split_to is not None:
                split = _split(report, options)
        finally:  # the report stands, whatever becomes of the lists
            if options.json:
                print_json({**report.to_dict(), "split": split})
    return VideoError.exit_code if report.errors else 0


def show(report: DatasetReport) -> None:
    """Print the report for people."""
    from r2p_edge.calibration.dataset.tables import print_dataset

    print_dataset(report)


@contextlib.contextmanager
def _place(options: argparse.Namespace) -> Iterator[None]:
    """Check the options of the split, and make its folder; remove that again after an error."""
    from r2p_edge.artifact.atomic import check_folder, made_folder
    from r2p_edge.calibration.dataset.split_files import TRAIN_LIST
    from r2p_edge.calibration.dataset.splitting import check_share

    if options.split_to is None:
        given = {
            "--test-share": options.test_share is not None,
            "--seed": options.seed is not None,
            "--replace": options.replace,
        }
        for option in filter(given.__getitem__, given):
            raise UsageError(f"{option} is for lists; add --split-to DIR, or leave it out")
        yield
        return
    if options.test_share is not None:
        check_share(options.test_share)
    with made_folder(options.split_to):
        check_folder(options.split_to / TRAIN_LIST)
        yield


def _split(report: DatasetReport, options: argparse.Namespace) -> dict[str, Any]:
    """Write the lists of a split; return what the JSON tells of it."""
    from r2p_edge.calibration.dataset.split_files import write_split
    from r2p_edge.calibration.dataset.splitting import TEST_SHARE, split_by_groups

    share = TEST_SHARE if options.test_share is None else options.test_share
    split = split_by_groups(report, test_share=share, seed=options.seed or 0)
    files = write_split(report, split, options.split_to, replace=options.replace)
    if split.train_only:
        warn(
            f"no video of {some_of(split.train_only, _LISTED)} is in the test list, since no group "
            "may be on both sides"
        )
    sides = {"train": split.train, "test": split.test}
    if not options.json:
        for path, videos in zip(files, sides.values()):
            groups = {video.group for video in videos}
            print(f"{path}: {count_of(len(videos), 'video')} of {count_of(len(groups), 'group')}")
        print(f"{files[-1]}: {count_of(len(report.classes), 'class')}")
    return {
        "files": [str(path) for path in files],
        "test_share": share,
        "seed": options.seed or 0,
        **{side: [video.name for video in videos] for side, videos in sides.items()},
        "train_only": list(split.train_only),
    }
