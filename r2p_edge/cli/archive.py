"""Options of `predict` for archives, whose answers go into a file, and what runs then."""

from __future__ import annotations

import argparse
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import ProgressLines, print_json
from r2p_edge.cli.verb import VerbParser
from r2p_edge.errors import UsageError, VideoError, count_of
from r2p_edge.text_table import rate_text

if TYPE_CHECKING:
    from r2p_edge.archive.run import ArchiveReport


def add_archive_options(verb: VerbParser) -> None:
    """Add the options of archives, in a group."""
    group = verb.add_argument_group("archives")
    group.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write a row for each video, or for each of its --views, into FILE: .csv, .jsonl or "
        ".parquet (default: print the answers)",
    )
    group.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="take the videos, and parts of them, from a .txt, .csv or .parquet list; VIDEO is "
        "then the folder that its paths start from (default: the current folder)",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        help="number of processes that share the work, or auto for one per core while memory "
        "lasts (default: auto)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run of the same model, options and videos ended",
    )
    group.add_argument(
        "--retry-failed",
        action="store_true",
        help="with --resume, try the videos again that have failed",
    )
    group.add_argument(
        "--shard",
        metavar="I/N",
        help="answer the share I of N, for example 3/20, and leave the others to other machines "
        "(default: all videos)",
    )
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="end a process that says nothing for so long, and go on without its video (default: "
        "600)",
    )


def check_no_archive(options: argparse.Namespace) -> None:
    """Raise UsageError where an option of archives is given without `--out`."""
    for name in ("list", "workers", "resume", "retry_failed", "shard", "timeout"):
        if getattr(options, name) not in (None, False):
            raise UsageError(
                f"--{name.replace('_', '-')} is for answers that go into a file; add --out "
                "results.csv, or leave it out"
            )


def run_archive(options: argparse.Namespace) -> int:
    """Answer an archive; return 0, or the exit code of videos that cannot be answered."""
    from r2p_edge.archive.run import HANG_SECONDS, predict_archive

    workers, shard = _workers(options.workers), _shard(options.shard)
    begun = time.monotonic()
    with _bar(options.views) as progress:
        report = predict_archive(
            options.model,
            options.videos,
            options.out,
            list_file=options.list,
            shard=shard,
            views=options.views,
            top=options.top,
            fps=options.fps,
            workers=workers,
            resume=options.resume,
            retry_failed=options.retry_failed,
            timeout=HANG_SECONDS if options.timeout is None else options.timeout,
            progress=progress,
            **shared.predictor_options(options),
        )
    _show(report, time.monotonic() - begun, options)
    return VideoError.exit_code if report.failed else 0


def _workers(text: str | None) -> Any:
    if text is None or text == "auto":
        return "auto"
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise UsageError(f"--workers is {text}; it must be a number from 1 on, or auto")
    return int(text)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,6}/\d{1,6}", text):
        raise UsageError(f"--shard is {text}; it must be a share and their number, as in 3/20")
    number, count = map(int, text.split("/"))
    return number, count


def _show(report: ArchiveReport, seconds: float, options: argparse.Namespace) -> None:
    if options.json:
        print_json(
            {
                "out": str(report.out),
                "videos": report.videos,
                "failed": report.failed,
                "failures": list(report.failures),
                "new": report.new,
                "workers": report.workers,
                "seconds": round(seconds, 3),
            }
        )
        return
    failed = f", {report.failed} of them with an error" if report.failed else ""
    print(f"{report.out}: {count_of(report.videos, 'video')}{failed}")
    if report.new:
        rate = rate_text(report.new * options.views / seconds)
        processes = count_of(report.workers, "process")
        print(f"  {report.new} answered now, {rate} clips/s with {processes}")
    for failure in report.failures:
        print(f"  failed: {failure['error']}")
    if more := report.failed - len(report.failures):
        print(f"  failed: {more} more, whose reasons are in the column error")


@contextlib.contextmanager
def _bar(views: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the clips a second and the time left; without a terminal, lines."""
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        """Clips a second."""

        def render(self, task: progress.Task) -> Text:
            """Return the text of the column."""
            return Text(f"{rate_text(task.speed * views)} clips/s" if task.speed else "")

    console = Console(stderr=True)
    if not console.is_terminal:
        lines = ProgressLines()
        yield lambda done, total: lines("answering videos", done, total)
        return
    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
