"""The programs whose writes are spoilt: a row of `VERBS` for each.

A row runs in a process that has imported what it needs, and that forks for each fault. A new
writer is a new row.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import runpy
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from checks import only_name, pictures, sha256, weights
from models import brightness_model
from paths import EXAMPLES
from videos import detailed, written
from weights_server import WeightsServer, registry_of, serving_weights, weights_bytes

OLD, NEW = "old", "new"
"""Names of the two models: the one of an earlier run, and that of the run that is spoilt."""


class Verb(NamedTuple):
    """A program that writes.

    Attributes:
        prepare: writes what the runs read into a folder.
        run: runs it, as its process; takes that folder, the folder of its results, and `OLD` or
            `NEW`; returns the exit code.
        imports: modules to import before the forks.
        place: puts what the program expects into the folder of the results beforehand.
        content: what tells a file of the results from others; by default its sha256.
        around: context of the runs, such as a stand-in that is installed.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path, Path, str], int]
    imports: tuple[str, ...] = ("onnx", "onnxruntime", "r2p_edge.export.build")
    place: Callable[[Path, Path, str], None] = lambda *_: None
    content: Callable[[Path], str | None] = sha256
    around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext


def command(*words: object) -> int:
    """Run `r2p-edge` in this process; return its exit code."""
    from r2p_edge.cli import main

    return main([str(word) for word in words])


def program(file: Path, *words: object) -> int:
    """Run a Python program in this process; return its exit code."""
    sys.argv = [str(file), *map(str, words)]
    try:
        runpy.run_path(str(file), run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    return 0


def two_models(inputs: Path) -> None:
    """Write models of one name, which answer differently."""
    for name, factor in ((OLD, 0.5), (NEW, 1.0)):
        brightness_model(inputs / f"{name}.onnx", factor=factor)


def one_model(inputs: Path) -> None:
    """Write a model under both names, so that a run gives the files that are there already."""
    for name in (OLD, NEW):
        brightness_model(inputs / f"{name}.onnx")


def export(targets: str) -> Callable[[Path, Path, str], int]:
    """Return the run of an export to these targets."""

    def run(inputs: Path, out: Path, which: str) -> int:
        return command("export", inputs / f"{which}.onnx", "--to", targets, "--out", out)

    return run


def two_networks(inputs: Path) -> None:
    """Write small networks, and a few videos of each of their classes."""
    from networks import SMALL, random_parameters, spec_for
    from safetensors.numpy import save_file

    from r2p_edge.export.targets.onnx import onnx_from_checkpoint

    spec = spec_for(SMALL["classes"], name="net")
    for seed, name in enumerate((OLD, NEW)):
        save_file(random_parameters(**SMALL, seed=seed), inputs / "net.safetensors")
        onnx_from_checkpoint(inputs / "net.safetensors", spec, inputs / f"{name}.onnx")
    for label in spec.labels:
        folder = inputs / "videos" / label
        folder.mkdir(parents=True)
        detailed(folder / "clip.mp4")


_CLIPS = ("--num-clips", 2)


def measure_no_times() -> None:
    """Have int8 artifacts record the same times always, so that they are the same bytes."""
    from r2p_edge.calibration import calibrate as module

    measured = module.measure_accuracy
    same = {"latency_ms": {"int8": 1.0, "fp32": 2.0}, "speedup": 2.0, "recommended": True}
    module.measure_accuracy = lambda *arguments: {**measured(*arguments), **same}


def calibrate(inputs: Path, out: Path, which: str) -> int:
    """Calibrate on the videos."""
    measure_no_times()
    clips = ("--videos", inputs / "videos", *_CLIPS)
    model = inputs / f"{which}.onnx"
    return command("calibrate", model, *clips, "--out", out / "net-int8.onnx")


def export_int8(inputs: Path, out: Path, which: str) -> int:
    """Export to two targets in int8."""
    measure_no_times()
    clips = ("--precision", "int8", "--videos", inputs / "videos", *_CLIPS)
    source = inputs / f"{which}.onnx"
    return command("export", source, "--to", "onnx,openvino", *clips, "--out", out)


def demo(inputs: Path, out: Path, which: str) -> int:
    """Run the demo with one runtime and few clips."""
    measure_no_times()
    import r2p_edge.demo as module

    module._TARGETS = {"onnxruntime": "onnx"}
    module._CALIBRATED, module._JUDGED = 1, 1
    return command("demo", "--num-clips", 12 if which == NEW else 11, "--out", out)


def kit_of(target: str) -> Callable[[Path], None]:
    """Return the preparation of a kit for a target."""

    def prepare(inputs: Path) -> None:
        from r2p_edge.export.build import build

        two_models(inputs)
        for which in (OLD, NEW):
            with_no_tool = inputs / which
            (built,) = build(inputs / f"{which}.onnx", targets=[target], out=with_no_tool).built
            assert built.status == "kit"

    return prepare


def place_kit(inputs: Path, out: Path, which: str) -> None:
    """Copy a kit, as a user does."""
    (kit,) = (file.parent for file in (inputs / which).glob("*/kit.json"))
    shutil.copytree(kit, out, dirs_exist_ok=True)


def build_kit(inputs: Path, out: Path, which: str) -> int:
    """Build the kit."""
    return program(out / "build.py")


def make_folder(inputs: Path, out: Path, which: str) -> None:
    """Make the folder of the results, which not every program does."""
    out.mkdir(exist_ok=True)


@contextlib.contextmanager
def lite_of_kits() -> Iterator[None]:
    """Have the stand-in of MindSpore Lite installed."""
    from fake_mindspore_lite import installed

    # The stand-in runs ONNX Runtime, whose telemetry this package turns off where it uses it.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with installed():
        importlib.import_module("mindspore_lite")
        yield


def webcam(inputs: Path, out: Path, which: str) -> int:
    """Save the pictures of a video, and the last one."""
    options = ("--no-window", "--save", out / "out.mp4", "--screenshot", out / "shot.png")
    return program(EXAMPLES / "webcam.py", inputs / f"{which}.onnx", inputs / "clip.mp4", *options)


def timeline(inputs: Path, out: Path, which: str) -> int:
    """Write the timeline of a video in three formats."""
    outs = [word for name in ("x.csv", "x.svg", "x.json") for word in ("--out", out / name)]
    return command("timeline", inputs / f"{which}.onnx", inputs / "clip.mp4", *outs)


def annotate(inputs: Path, out: Path, which: str) -> int:
    """Write the film of a video."""
    film = ("--out", out / "film.mp4")
    return command("annotate", inputs / f"{which}.onnx", inputs / "clip.mp4", *film)


def sheet(inputs: Path, out: Path, which: str) -> int:
    """Write the contact sheet of a video."""
    file = ("--out", out / "sheet.svg")
    return command("sheet", inputs / f"{which}.onnx", inputs / "clip.mp4", *file)


def model_and_video(inputs: Path) -> None:
    """Write the models and a video."""
    two_models(inputs)
    written(inputs / "clip.mp4", np.arange(20) / 25)


def archive(inputs: Path, out: Path, which: str) -> int:
    """Answer an archive of two videos, the second of which is the first once more."""
    shutil.copy(inputs / "clip.mp4", inputs / "again.mp4")
    clips = (inputs / "clip.mp4", inputs / "again.mp4")
    table = out / f"{which}.csv"
    options = ("--out", table, "--resume", "--workers", 1)
    return command("predict", inputs / f"{which}.onnx", *clips, *options)


def labelled_videos(inputs: Path) -> None:
    """Write videos of two classes."""
    for number in range(6):
        folder = inputs / "videos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        written(folder / f"{number}.mp4", np.arange(4 + number) / 25)


def split_dataset(inputs: Path, out: Path, which: str) -> int:
    """Split the videos, otherwise than in the earlier run."""
    share = 0.5 if which == NEW else 0.3
    options = ("--split-to", out, "--test-share", share, "--replace")
    return command("dataset", inputs / "videos", *options)


def without_journal(file: Path) -> str:
    """Return what tells a table from others; journals have any content on the way."""
    return only_name(file) if file.suffix == ".journal" else sha256(file)


def models_and_labelled_videos(inputs: Path) -> None:
    """Write the models, and a data set of two videos."""
    two_models(inputs)
    for label in ("frame 0", "frame 3"):
        (inputs / "set" / label).mkdir(parents=True)
        written(inputs / "set" / label / "clip.mp4", np.arange(20) / 25)


def evaluation(inputs: Path, out: Path, which: str) -> int:
    """Evaluate a model, and keep its answers and a page about them."""
    files = ("--out", out / f"{which}.csv", "--resume", "--report", out / f"{which}.html")
    return command("eval", inputs / f"{which}.onnx", "--videos", inputs / "set", *files)


def content_without_times(file: Path) -> str:
    """Return what tells a file of an evaluation from others, whose times are never the same."""
    if file.suffix == ".journal":
        return only_name(file)
    numbers = re.sub(rb"\d+\.\d+", b"", file.read_bytes())
    return hashlib.sha256(numbers).hexdigest()


def results_of_two_models(inputs: Path) -> None:
    """Write the results of two models."""
    models_and_labelled_videos(inputs)
    for which in (OLD, NEW):
        rows = ("--out", inputs / f"{which}.csv")
        assert command("eval", inputs / f"{which}.onnx", "--videos", inputs / "set", *rows) == 0


def report(inputs: Path, out: Path, which: str) -> int:
    """Make a page about results."""
    return command("report", inputs / f"{which}.csv", "--out", out / "report.html")


_WEIGHTS = weights_bytes(2000)  # so few that each answer is one write
_SERVERS: list[WeightsServer] = []


@contextlib.contextmanager
def server_of_weights() -> Iterator[None]:
    """Serve the weights; the first answer, to the earlier run, breaks off."""
    os.environ["no_proxy"] = "*"
    with serving_weights(_WEIGHTS) as server:
        server.cuts.append(1200)
        _SERVERS.append(server)
        yield


def model_and_classes(inputs: Path) -> None:
    """Write the models, and a folder of videos for each of two classes."""
    from graded import graded_folder

    two_models(inputs)
    graded_folder(inputs / "mine", {"rising": 2, "falling": 2})


def teach(inputs: Path, out: Path, which: str) -> int:
    """Teach a model two classes, and keep their features."""
    kept = ("--save-features", out / "kept.npz")
    videos = ("--videos", inputs / "mine", *kept)
    return command("teach", inputs / f"{which}.onnx", *videos, "--out", out / "mine.onnx")


def serve_export(inputs: Path, out: Path, which: str) -> int:
    """Write a model into a repository, in the place of the other one."""
    model = inputs / f"{which}.onnx"
    return command("serve-export", model, "--to", "ovms", "--out", out, "--replace")


def content_without_paths(file: Path) -> str:
    """Return the sha256 of a file; the name of one that has the path of its repository in it."""
    if file.name in ("README.md", "manifest.json"):  # a command, and the sha256 of its file
        return file.name
    return sha256(file)


class _BrokenOffError(Exception):
    """The earlier run ends where its connection breaks off."""


def get_weights(inputs: Path, out: Path, which: str) -> int:
    """Fetch the weights; of the earlier run a partial file stays."""
    from r2p_edge.errors import R2PError
    from r2p_edge.export.published import fetch, store

    (server,) = _SERVERS
    entry = {"url": server.url(), "digest": f"sha256:{hashlib.sha256(_WEIGHTS).hexdigest()}"}
    registry = registry_of(inputs / "registry.json", entry)

    def wait(seconds: float) -> None:
        raise _BrokenOffError

    try:
        fetch.get_weights("net", store=store.WeightsStore(out, registry), wait=wait)
    except _BrokenOffError:
        return 0 if which == OLD else 1
    except R2PError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def fetched_by_hand(inputs: Path) -> None:
    """Write a file of weights."""
    (inputs / "fetched.pth").write_bytes(_WEIGHTS)


def add_weights(inputs: Path, out: Path, which: str) -> int:
    """Copy the file into the store."""
    return command("weights", "add", "kh-r2p1d18", inputs / "fetched.pth", "--out", out)


def careless(inputs: Path, out: Path, which: str) -> int:
    """Write a file under its own name, and a temporary one of always another name."""
    trial = Path(os.environ["TMPDIR"], f"r2p_edge-{os.getpid()}")
    trial.touch()
    with (out / "model.txt").open("w", buffering=1) as file:
        file.write(f"{which}\n")
        file.write("end\n")
    trial.unlink()
    return 0


def two_reports(inputs: Path) -> None:
    """Write the reports of two benchmarks."""
    from benchmark_rows import measured, report

    for which, milliseconds in ((OLD, 2.0), (NEW, 1.0)):
        found = report([measured("m.onnx", milliseconds)])
        (inputs / f"{which}.json").write_text(json.dumps(found))


def write_table(inputs: Path, out: Path, which: str) -> int:
    """Write the table of a benchmark."""
    from r2p_edge.benchmark import write_benchmark
    from r2p_edge.errors import R2PError

    try:
        write_benchmark(json.loads((inputs / f"{which}.json").read_text()), out / "table.csv")
    except R2PError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def event_pictures(inputs: Path, out: Path, which: str) -> int:
    """Write the picture and the film of an event, as `watch` does.

    A disk that is full costs `watch` the picture and not its life; here it is told by the code.
    """
    from r2p_edge.pictures.encoding import jpeg_of
    from r2p_edge.watch.clips import ClipFrame
    from r2p_edge.watch.events import Event
    from r2p_edge.watch.pictures import EventPictures

    image = np.full((48, 64, 3), 200 if which == NEW else 50, np.uint8)
    film = [ClipFrame(number / 10, jpeg_of(image)) for number in range(5)]
    event = Event("0" * 32, "end", "door", "fall", "fall", 0.9, {}, 0.5, 0.0, 0.5, "sha256:0")
    told: list[Event] = []
    pictures = EventPictures(out, told.append)
    pictures.put(event, lambda: image, film)
    pictures.close(60)
    return 0 if len(told) == 1 and pictures.counts.failed == 0 else 3


def events_file(inputs: Path, out: Path, which: str) -> int:
    """Append an event to a file, as `watch` does, which goes on where that fails."""
    from r2p_edge.watch.delivery import DeliveryError
    from r2p_edge.watch.text_sinks import FileSink

    try:
        FileSink(out / "events.jsonl").send({"id": which, "label": "fall"}, threading.Event())
    except DeliveryError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


def ids_of_lines(file: Path) -> str | None:
    """Return the different identities in the whole lines of a file; None if there is none."""
    *lines, _ = file.read_bytes().split(b"\n")
    try:
        return str(sorted({json.loads(line)["id"] for line in lines})) if lines else None
    except ValueError:
        return "two lines in one"


_EXPORT = ("onnx", "onnxruntime", "r2p_edge.export.build", "r2p_edge.export.targets.onnx")
_SEGMENTS = ("cv2", "av", "onnxruntime", "r2p_edge.segments", "r2p_edge.cli.parser")
_INT8 = (*_EXPORT, "r2p_edge.calibration.calibrate")

VERBS = {
    "export-onnx": Verb(two_models, export("onnx"), _EXPORT),
    "export-again": Verb(one_model, export("onnx,openvino"), (*_EXPORT, "openvino")),
    "export-openvino": Verb(two_models, export("openvino"), (*_EXPORT, "openvino")),
    "export-kits": Verb(two_models, export("tensorrt,ascend310p"), _EXPORT),
    "export-int8": Verb(two_networks, export_int8, (*_INT8, "openvino")),
    "export-mindspore": Verb(
        two_models, export("mindspore"), (*_EXPORT, "mindspore"), content=only_name
    ),
    "calibrate": Verb(two_networks, calibrate, _INT8, make_folder),
    "demo": Verb(lambda inputs: None, demo, (*_INT8, "cv2")),
    "benchmark": Verb(two_reports, write_table, ("r2p_edge.benchmark",), make_folder),
    "kit": Verb(kit_of("mindspore-lite"), build_kit, _EXPORT, place_kit, around=lite_of_kits),
    "webcam": Verb(
        model_and_video,
        webcam,
        ("cv2", "av", "onnxruntime", "r2p_edge.live.open"),
        make_folder,
        pictures,
    ),
    "timeline": Verb(model_and_video, timeline, _SEGMENTS, make_folder),
    "annotate": Verb(model_and_video, annotate, _SEGMENTS, make_folder, pictures),
    "sheet": Verb(
        model_and_video,
        sheet,
        ("av", "onnxruntime", "r2p_edge.sheet", "r2p_edge.cli.parser"),
        make_folder,
    ),
    "archive": Verb(
        model_and_video,
        archive,
        ("av", "onnxruntime", "r2p_edge.archive.run"),
        make_folder,
        without_journal,
    ),
    "dataset": Verb(
        labelled_videos,
        split_dataset,
        ("av", "r2p_edge.calibration.dataset.inspection", "r2p_edge.cli.parser"),
        make_folder,
    ),
    "eval": Verb(
        models_and_labelled_videos,
        evaluation,
        ("av", "onnxruntime", "r2p_edge.calibration.evaluate", "r2p_edge.cli.parser"),
        make_folder,
        content_without_times,
    ),
    "report": Verb(
        results_of_two_models,
        report,
        ("av", "onnxruntime", "r2p_edge.calibration.report", "r2p_edge.cli.parser"),
        make_folder,
    ),
    "teach": Verb(
        model_and_classes,
        teach,
        (*_EXPORT, "av", "r2p_edge.export.taught", "r2p_edge.teaching.from_videos"),
        make_folder,
    ),
    "watch-pictures": Verb(
        lambda inputs: None, event_pictures, ("av", "r2p_edge.watch.pictures"), make_folder
    ),
    "watch-events": Verb(
        lambda inputs: None, events_file, ("r2p_edge.watch.text_sinks",), make_folder, ids_of_lines
    ),
    "serve-export": Verb(
        two_models,
        serve_export,
        ("r2p_edge.cli.parser", "r2p_edge.serve_export.ovms"),
        content=content_without_paths,
    ),
    "weights-get": Verb(
        lambda inputs: None,
        get_weights,
        ("r2p_edge.export.published.fetch", "http.client", "ssl"),
        content=weights,
        around=server_of_weights,
    ),
    "weights-add": Verb(
        fetched_by_hand, add_weights, ("r2p_edge.export.published.fetch",), content=weights
    ),
}

PROBES = {"careless": Verb(lambda inputs: None, careless, (), make_folder)}
"""Programs in which the harness has to find something."""

SLOW = frozenset({"demo"})
"""Rows whose runs take several seconds; see `Sweep.sweep`."""
