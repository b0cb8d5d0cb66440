"""`predict_archive`: many videos answered into one table, by several processes, and resumably."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from r2p_edge.archive.journal import Journal
from r2p_edge.archive.listed import Listed
from r2p_edge.archive.pool import WorkerPool
from r2p_edge.archive.results import check_results_file, write_results
from r2p_edge.archive.rows import ArchiveRow, columns_of, size_of
from r2p_edge.archive.sources import list_archive
from r2p_edge.artifact.files import sha256_of_model
from r2p_edge.artifact.open import Artifact, open_artifact
from r2p_edge.errors import UsageError
from r2p_edge.runtimes.base import Options, usable_cores
from r2p_edge.scores import require_scores
from r2p_edge.spec import ModelSpec

HANG_SECONDS = 600.0
"""Seconds after which a process that says nothing is taken to hang on its video."""

_PROCESS_BYTES = 300 << 20  # of a worker without its model: Python, a runtime, a few clips
_NAMED_FAILURES = 3  # in a report; the results have all
_OF_CHIPS = (".engine", ".plan", ".om", ".rknn")  # run on GPUs and NPUs alone
_MODEL_COPIES = 4  # the model's size in memory: weights, their packed form, activations


@dataclass(frozen=True)
class ArchiveReport:
    """The end of a run.

    Attributes:
        out: the file of the results.
        videos: number of all videos.
        failed: number of those whose row is an error.
        failures: {"video", "error"} of the first of these.
        new: number of those that this run has answered, and not an earlier one.
        workers: number of processes that answered them.
    """

    out: Path
    videos: int
    failed: int
    new: int
    workers: int
    failures: Sequence[Mapping[str, str]] = ()


def predict_archive(
    model: str | Path,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    list_file: str | Path | None = None,
    shard: tuple[int, int] | None = None,
    views: int = 1,
    top: int = 5,
    fps: float | None = None,
    workers: int | Literal["auto"] = "auto",
    resume: bool = False,
    retry_failed: bool = False,
    timeout: float = HANG_SECONDS,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    cache: str | Path | None = None,
    spec: ModelSpec | str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ArchiveReport:
    """Answer many videos, and write a row for each into a CSV, JSON lines or Parquet file.

    The rows are in the order of the videos, whatever the workers do, and the same as those of an
    undisturbed run. While it goes on they are in a journal, `<out>.journal`, which stays: with
    `resume` the next run answers what is not in it. A video that cannot be answered is a row with
    an `error`; one that ends or hangs its process too, after a second try by itself.

    Args:
        model: model file.
        sources: videos, addresses, folders and patterns, see `list_archive`; with a list at most
            the folder that its paths start from.
        out: file to write; `.csv`, `.jsonl` or `.parquet`.
        list_file: list of videos and of parts of them, see `read_list`.
        shard: (3, 20) for the third of 20 shares.
        views: windows of each video, each a row of its own.
        top: classes in each row.
        fps: rate of folders of images; default: that of the training videos.
        workers: number of processes. "auto" is one for each core that `threads` leaves, fewer
            where memory is short, and one on a device that is not the CPU.
        resume: go on with an earlier run of the same model, options and videos, if there is one.
        retry_failed: with `resume`, try the videos again that failed.
        timeout: seconds after which a process that says nothing is taken to hang.
        runtime, device, precision, cache, spec: see `Predictor`.
        threads: threads of each process; default: its share of the cores.
        progress: called with the number of videos that are done, and of all.

    Raises:
        UsageError: an option is wrong in itself, `out` exists, or an earlier run was another.
        VideoNotFoundError, VideoError: see `list_archive`.
        OutputError: the results cannot be written.
        MissingDependencyError: Parquet needs pyarrow.
        R2PError: the model cannot be opened, or fails; see `Predictor`.
    """
    out = Path(out)
    _check(views, top, workers, timeout, retry_failed and not resume)
    Options(device, threads, precision)
    check_results_file(out)
    artifact = open_artifact(model, spec)
    require_scores(artifact.spec, artifact.path)
    digest = sha256_of_model(artifact.path)
    listed = list_archive(sources, list_file, shard)
    top = min(top, len(artifact.spec.labels))
    processes, threads = _shares(workers, threads, device, artifact)
    run = {
        "model": digest,
        "contract": artifact.spec.contract_digest(),
        "shard": shard and "{}/{}".format(*shard),
        "list": f"{len(listed)} videos, sha256 {_digest_of(listed)}",
        "views": views,
        "top": top,
        "fps": fps,
        "runtime": runtime,
        "device": device,
        "precision": precision,
    }
    with Journal(out, run, resume=resume, keep=_keeps(listed, retry_failed)) as journal:
        todo = [task for task in enumerate(listed) if task[0] not in journal.places]
        if progress is not None:
            progress(len(journal.places), len(listed))

        def opened(identity: dict[str, str]) -> None:
            _check_identity(journal, identity)

        def answered(number: int, rows: list[ArchiveRow]) -> None:
            journal.add(number, rows)
            if progress is not None:
                progress(len(journal.places), len(listed))

        processes = min(processes, len(todo))
        options: dict[str, Any] = {
            "runtime": runtime,
            "device": device,
            "threads": threads,
            "precision": precision,
            "cache": cache and os.fspath(cache),
            "spec": spec and artifact.spec.to_json(),
        }
        arguments = {"model": os.fspath(model), "digest": digest, "options": options}
        WorkerPool(
            {**arguments, "views": views, "top": top, "fps": fps},
            workers=processes,
            timeout=timeout,
            opened=opened,
            answered=answered,
        ).run(todo)
        if todo or not out.exists():
            write_results(out, columns_of(top, views), journal.rows())
        failures = [
            {"video": str(row.get("video")), "error": str(row["error"])}
            for row in journal.failures(_NAMED_FAILURES)
        ]
        failed = len(journal.failed)
        return ArchiveReport(out, len(listed), failed, len(todo), processes, failures)


def _check(views: int, top: int, workers: int | str, timeout: float, retries_nothing: bool) -> None:
    counts: dict[str, object] = {"views": views, "top": top, "workers": workers}
    for name, value in counts.items():
        counted = isinstance(value, int) and value >= 1
        if not counted and (name, value) != ("workers", "auto"):
            raise UsageError(f"{name} is {value!r}; it must be a whole number from 1 on")
    if not 0 < timeout < math.inf:
        raise UsageError(f"timeout is {timeout!r}; it must be a number of seconds above 0")
    if retries_nothing:
        raise UsageError("videos that failed can be tried again only with resume (--resume)")


def _keeps(listed: Sequence[Listed], retry_failed: bool) -> Callable[[int, list[ArchiveRow]], bool]:
    """Return what tells whether the rows of a video still hold."""

    def keep(number: int, rows: list[ArchiveRow]) -> bool:
        # An older journal may have more videos, which is found out by the facts of its run.
        if rows[0].get("error") is not None:
            return not retry_failed
        size = rows[0].get("size")
        return size is None or number >= len(listed) or size == size_of(listed[number].video)

    return keep


def _check_identity(journal: Journal, identity: dict[str, str]) -> None:
    """Raise UsageError where the rows of an earlier run were computed by another runtime."""
    earlier = next(journal.rows(), None)
    for name, value in identity.items():
        if earlier is not None and name in earlier and earlier[name] != value:
            raise UsageError(
                f"{journal.path} is of a run with another {name}, {earlier[name]}, and not "
                f"{value}; ask for the former, or give another file for the results"
            )


def _shares(
    workers: int | Literal["auto"], threads: int | None, device: str | None, artifact: Artifact
) -> tuple[int, int | None]:
    """Return the number of processes, and of threads in each; None for the runtime's default."""
    cores, suffix = usable_cores(), artifact.path.suffix.lower()
    # GPUs and NPUs refuse a number of threads.
    on_cpu = device.lower() == "cpu" if device else suffix not in _OF_CHIPS
    if workers == "auto":
        if not on_cpu or (device is None and suffix not in (".onnx", ".xml")):
            return 1, threads
        each = _PROCESS_BYTES + _MODEL_COPIES * artifact.size
        count = max(1, min(cores // (threads or 1), _free_memory() // each))
    else:
        count = workers
    if threads is None and count > 1 and on_cpu:
        threads = max(1, cores // count)
    return count, threads


def _free_memory() -> int:
    """Return the bytes that new processes may use without swapping; plenty if that is unknown."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) << 10
    return 1 << 60


def _digest_of(listed: Sequence[Listed]) -> str:
    lines = "".join(f"{json.dumps(each)}\n" for each in listed)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
