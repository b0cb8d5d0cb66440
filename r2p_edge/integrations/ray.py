"""Archives on a cluster: the answers of `predict` as a step of a Ray Data pipeline.

A dataset of paths becomes a dataset of the rows that `r2p-edge predict --out` writes. Each actor
has a model of its own, and decodes the videos that it answers. `remaining` leaves out, before a
job starts, what earlier ones have written, and `drop_repeated` what two of them have.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge._optional import import_library
from r2p_edge.archive.classifier import Classifier
from r2p_edge.archive.list_file import listed_in, read_list
from r2p_edge.archive.listed import Listed
from r2p_edge.archive.parquet import import_parquet
from r2p_edge.archive.results import as_utf8, table_of
from r2p_edge.archive.rows import ColumnType, columns_of, written_name
from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.artifact.files import sha256_of_model
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError, OutputError, UsageError, one_line
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    from ray.data import Dataset

_BLOCKS = 64  # of a dataset, so that actors share it and answers are soon written
_SMALLEST, _LARGEST = 8, 512  # videos of a block, each of which becomes a file
_VIDEO = ("video", "start", "end")
_ROW = (*_VIDEO, "window")
_log = logging.getLogger(__name__)


def remaining(list_file: str | Path, out: str | Path) -> list[Listed]:
    """Return the videos of a list that the results do not have, in the list's order.

    A Parquet file without an end, as a job leaves it that is killed while it writes, is removed:
    no program could read it. No other job may be writing there.

    Args:
        list_file: list of videos, see `read_list`.
        out: folder of the results' Parquet files; it need not exist.

    Raises:
        UsageError, VideoError: see `read_list`.
        OutputError: a file of the folder cannot be removed.
    """
    done: set[tuple[Any, ...]] = set()
    for file in sorted(Path(out).glob("*.parquet")):
        done.update(_places_in(file, _VIDEO))
    listed = dict.fromkeys(read_list(list_file))
    return [
        each
        for each in listed
        if (as_utf8(written_name(each.video)), each.start, each.end) not in done
    ]


def drop_repeated(out: str | Path) -> int:
    """Remove the rows that stand in two files of the results from one of them; return how many.

    Where a job is killed, processes of it may go on for a second or two and end what they were at,
    while the next job counts what is left: both answer it. No job may be writing there.

    Args:
        out: folder of the results' Parquet files; it need not exist.

    Raises:
        OutputError: a file of the folder cannot be written anew, or removed.
    """
    parquet = import_parquet()
    seen: set[tuple[Any, ...]] = set()
    dropped = 0
    for file in sorted(Path(out).glob("*.parquet")):
        places = _places_in(file, _ROW)
        new = [place not in seen for place in places]
        seen.update(places)
        if all(new):
            continue
        dropped += new.count(False)
        if not any(new):
            _remove(file, "has rows of other files alone")
            continue
        content = io.BytesIO()
        parquet.write_table(parquet.read_table(file).filter(new), content)
        atomic_write(file, content.getvalue())
    return dropped


def _places_in(file: Path, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return columns of a file's rows; none of a file that is not whole, which is removed."""
    parquet = import_parquet()
    try:
        columns = parquet.read_table(file, columns=list(names)).to_pydict()
    except Exception as error:  # classes of pyarrow's own
        _log.warning("%s is not whole (%s), and is removed", file, one_line(error))
        _remove(file, "is not whole")
        return []
    return list(zip(*(columns[name] for name in names)))


def _remove(file: Path, problem: str) -> None:
    try:
        file.unlink()
    except OSError as refused:
        raise OutputError(
            f"{file} {problem} and cannot be removed ({refused.strerror}); remove it"
        ) from refused


def dataset_of(listed: Sequence[Listed]) -> Dataset:
    """Return videos as a dataset, in blocks of 8 to 512, each of which is answered as a whole.

    Args:
        listed: at least one video.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    ray = _import_ray()
    import pyarrow

    rows = [each._asdict() for each in listed]
    schema = pyarrow.schema(
        [("video", pyarrow.string()), ("start", pyarrow.float64()), ("end", pyarrow.float64())]
    )
    size = min(max(len(rows) // _BLOCKS, _SMALLEST), _LARGEST)
    blocks = [rows[first : first + size] for first in range(0, len(rows), size)]
    dataset: Dataset = ray.data.from_arrow(
        [pyarrow.Table.from_pylist(block, schema=schema) for block in blocks]
    )
    return dataset


def classify(
    dataset: Dataset,
    model: str | Path,
    *,
    actors: int | None = None,
    views: int = 1,
    top: int = 5,
    fps: float | None = None,
    runtime: str | None = None,
    device: str | None = None,
    threads: int = 1,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    cache: str | Path | None = None,
    spec: ModelSpec | str | Path | None = None,
    num_gpus: float | None = None,
) -> Dataset:
    """Return the dataset of the answers to a dataset of videos: the rows of `predict --out`.

    Args:
        dataset: videos, in the columns of a list of `read_list`; other columns do not count.
        model: model file; of the same path, and the same bytes, on every machine.
        actors: processes with a model each; default: one for each `threads` of the cluster's
            CPUs. Write with `write_parquet(..., ray_remote_args={"num_cpus": 0})`, as there may
            be no CPU left that Ray would wait for.
        views: windows of each video, each a row of its own.
        top: classes in each row.
        fps: rate of folders of images; default: that of the training videos.
        runtime, device, precision, cache, spec: see `Predictor`.
        threads: threads of each actor, and the CPUs that Ray reckons with.
        num_gpus: share of a GPU that Ray reckons each actor with, for a `device` that is one.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: `actors`, `views`, `top` or `threads` is not a whole number from 1 on, or the
            file names two models.
        ModelError: the model cannot be used here.
    """
    ray = _import_ray()
    artifact = open_artifact(model, spec)
    if actors is None:
        actors = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
    counts = {"actors": actors, "views": views, "top": top, "threads": threads}
    for name, value in counts.items():
        if value < 1:
            raise UsageError(f"{name} is {value!r}; it must be a whole number from 1 on")
    top = min(top, len(artifact.spec.labels))
    options = {
        "runtime": runtime,
        "device": device,
        "threads": threads,
        "precision": precision,
        "cache": cache,
        "spec": None if spec is None else artifact.spec,
    }
    answered: Dataset = dataset.map_batches(
        _Answers,
        batch_format="pyarrow",
        batch_size=None,  # a block
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=threads,
        num_gpus=num_gpus,
        fn_constructor_kwargs={
            "model": str(Path(model).resolve()),
            "digest": sha256_of_model(artifact.path),
            "columns": columns_of(top, views),
            "options": options,
            "views": views,
            "top": top,
            "fps": fps,
        },
    )
    return answered


class _Answers:
    """An actor: a model, and the rows of the videos of each table that it is given."""

    def __init__(
        self,
        model: str,
        digest: str,
        columns: dict[str, ColumnType],
        options: dict[str, Any],
        **choices: Any,
    ) -> None:
        predictor = Predictor(model, **options)
        found = sha256_of_model(predictor.artifact.path)
        if found != digest:
            raise ModelError(
                f"{model} on this machine has the sha256 {found[:12]}... and not {digest[:12]}...; "
                "copy the model to every machine"
            )
        self._classifier, self._columns = Classifier(predictor, digest, **choices), columns

    def __call__(self, videos: Any) -> Any:
        listed = listed_in(videos, "the dataset")
        answers = dict(self._classifier.answer(enumerate(listed)))
        rows = [row for number in range(len(listed)) for row in answers[number]]
        return table_of(rows, self._columns)


def _import_ray() -> Any:
    ray = import_library("ray", 'pip install "ray[data]"')
    import_library("ray.data", 'pip install "ray[data]"')
    return ray
