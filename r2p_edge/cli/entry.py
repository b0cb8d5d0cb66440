"""The command line, `r2p-edge`: a thin layer over the Python interface.

Results go to stdout (`--json`: for machines), progress and errors to stderr. The exit code tells
the kind of error: 2 usage, 3 data, 4 model, 5 runtime or device, 6 only a kit could be made
(`export --strict`), 130 Ctrl-C, 1 other.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge._version import __version__
from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import Artifact, open_artifact, sidecar_path
from r2p_edge.errors import (
    BackendError,
    LowFrameRateWarning,
    ModelNotFoundError,
    OutputError,
    ParityError,
    R2PError,
    UsageError,
    VideoError,
)
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.prediction import Prediction
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.base import PRECISIONS
from r2p_edge.spec.model_spec import ModelSpec
from r2p_edge.video.source import videos_in

_ONLY_A_KIT = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold bytes, and a label letters, that the terminal's encoding has not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        _check_files(options)
        with warnings.catch_warnings():
            warnings.simplefilter("default", LowFrameRateWarning)
            warnings.showwarning = _show_warning
            code = int(options.run(options))
            sys.stdout.flush()
            return code
    except R2PError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("r2p-edge: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing more can be said to it.
        _drop_output()
        return 1
    except OSError as error:
        # Everything else that reads or writes raises errors of ours.
        _drop_output()
        print(f"r2p-edge: error: the output cannot be written ({error.strerror})", file=sys.stderr)
        return OutputError.exit_code


def _drop_output() -> None:
    """What is still buffered for stdout goes nowhere, or Python complains of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    from r2p_edge.export import TARGETS

    # An abbreviation works until an option is added that begins alike.
    parser = argparse.ArgumentParser(
        prog="r2p-edge",
        description="R(2+1)D video action recognition on edge devices.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"r2p-edge {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("--json", action="store_true", help="print JSON, one object a line")
        command.set_defaults(run=run)
        return command

    demo = verb("demo", _demo, "Run the bundled model through every runtime installed here.")
    demo.add_argument("--clips", type=int, default=240, help="held-out clips (default 240)")
    demo.add_argument("--out", type=Path, default=Path("r2p-edge-demo"), help="output folder")

    predict = verb("predict", _predict, "Name the action in videos.")
    predict.add_argument("model", type=Path, help="model file")
    predict.add_argument("videos", nargs="+", metavar="VIDEO", help="file, URL or image folder")
    predict.add_argument("--clips", type=int, default=1, help="clips per video (default 1, centre)")
    predict.add_argument("--top", type=int, default=5, help="classes to list (default 5)")
    predict.add_argument("--fps", type=float, help="frames a second of an image folder")
    _predictor_options(predict)

    stream = verb("stream", _stream, "Name the action in live video, again and again.")
    stream.add_argument("model", type=Path, help="model file")
    stream.add_argument(
        "source", metavar="SOURCE", help="camera number, address, GStreamer pipeline or file"
    )
    stream.add_argument("--stride", type=int, help="ticks between answers (default half a clip)")
    stream.add_argument("--every", type=float, metavar="SECONDS", help="time between answers")
    stream.add_argument("--smoothing", type=float, metavar="WEIGHT", help="of the newest scores")
    stream.add_argument("--majority", type=int, metavar="N", help="let the newest N answers vote")
    stream.add_argument(
        "--hysteresis", type=float, default=0.0, help="lead that another label needs (0 to 1)"
    )
    stream.add_argument("--min-score", type=float, default=0.0, help="no label below it")
    stream.add_argument(
        "--motion",
        type=float,
        nargs="?",
        const=MOTION,
        metavar="LEVELS",
        help=f"ask the model only where something moves (by {MOTION:g} grey levels)",
    )
    stream.add_argument(
        "--policy",
        choices=("latest", "all"),
        help="skip answers that come too late, or let the source wait (default: by the source)",
    )
    stream.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        help="seconds for a frame from a network to come",
    )
    stream.add_argument(
        "--reconnect", type=float, default=60.0, help="seconds after which a source is given up"
    )
    stream.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="of RTSP")
    stream.add_argument("--notify", action="store_true", help="tell systemd READY and WATCHDOG")
    stream.add_argument("--top", type=int, default=5, help="classes in JSON (default 5)")
    _predictor_options(stream)

    compare = verb("compare", _compare, "Hold artifacts against a reference on the same clips.")
    compare.add_argument("reference", type=Path, metavar="REFERENCE", help="model file")
    compare.add_argument("artifacts", type=Path, nargs="+", metavar="ARTIFACT", help="model file")
    compare.add_argument("--clips", type=Path, metavar="DIR", help="videos (default: generated)")
    compare.add_argument("--num-clips", type=int, help="at most this many (default 8 or all)")
    compare.add_argument("--runtime", help="library that runs the artifacts")
    compare.add_argument("--device", help="device of the artifacts (default cpu)")
    compare.add_argument("--threads", type=int, help="threads of each (default: all cores)")
    compare.add_argument("--precision", choices=PRECISIONS, help="what the artifacts compute in")

    evaluate = verb("eval", _eval, "Measure the accuracy and latency of models on a data set.")
    evaluate.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="model file")
    evaluate.add_argument(
        "--clips", type=Path, required=True, metavar="DIR", help="videos in one folder per class"
    )
    evaluate.add_argument(
        "--split", type=Path, metavar="FILE", help="list such as testlist01.txt (default: all)"
    )
    evaluate.add_argument("--views", type=int, default=1, help="clips per video (default 1)")
    evaluate.add_argument("--per-class", action="store_true", help="tell the top-1 of each class")
    evaluate.add_argument("--runtime", help="library that runs the models")
    evaluate.add_argument("--device", help="device of the runtime (default cpu)")
    evaluate.add_argument("--threads", type=int, help="threads of each (default: all cores)")
    evaluate.add_argument("--precision", choices=PRECISIONS, help="what to compute in (openvino)")

    verb("doctor", _doctor, "Tell what this machine has, and run a layer on each device.")

    info = verb("info", _info, "Show the contract that an artifact carries, and check its bytes.")
    info.add_argument("path", type=Path, metavar="MODEL|DIR")

    export = verb("export", _export, "Turn a trained model into artifacts.")
    export.add_argument("source", help="checkpoint, ONNX file, or 'motion' (bundled)")
    export.add_argument("--to", default="onnx", metavar="LIST", help=", ".join(TARGETS))
    export.add_argument("--strict", action="store_true", help="a kit is an error (exit code 6)")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    export.add_argument("--name", help="name of the artifact (default: the spec's or source's)")
    export.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), help="default: the source's"
    )
    export.add_argument(
        "--graph",
        choices=("auto", "conv3d", "conv2d"),
        default="auto",
        help="conv2d: without 3-D convolutions (default: what the target runs best)",
    )
    export.add_argument(
        "--batch", type=int, help="clips per call (default 1, or what an ONNX source has)"
    )
    _calibration_options(export.add_argument_group("int8"))
    engine = export.add_argument_group("TensorRT")
    engine.add_argument(
        "--workspace", type=float, metavar="MIB", help="GPU memory that kernels may use"
    )
    engine.add_argument(
        "--timing-cache", type=Path, metavar="DIR", help="folder that makes the next build faster"
    )
    contract = export.add_argument_group("how the model was trained")
    contract.add_argument("--preset", help="a published recipe; the options below change it")
    contract.add_argument("--spec", type=Path, help="a full spec, as JSON")
    contract.add_argument("--labels", type=Path, help="one a line, classInd.txt, or JSON")
    contract.add_argument("--frames", type=int, help="frames per clip")
    contract.add_argument("--interval", type=int, help="frames of the video per frame of the clip")
    contract.add_argument("--fps", type=float, help="frames per second of the training videos")
    contract.add_argument("--size", type=int, help="side of the crop; the resize grows with it")
    contract.add_argument("--sampling", choices=("time", "index"))
    contract.add_argument("--order", choices=("temporal", "lexicographic"))
    contract.add_argument("--input", choices=("uint8", "float32"), help="input of the artifact")

    calibrate = verb("calibrate", _calibrate, "Turn an fp32 ONNX artifact into an int8 one.")
    calibrate.add_argument("model", type=Path, metavar="MODEL.onnx", help="fp32 artifact")
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="to write")
    calibrate.add_argument(
        "--profile",
        choices=("cpu", "cpu-avx2", "arm", "tensorrt"),
        help="default: for this machine's CPU",
    )
    _calibration_options(calibrate)
    return parser


def _predictor_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--runtime", help="library that runs the model")
    command.add_argument("--device", help="device of the runtime (default cpu)")
    command.add_argument("--threads", type=int, help="threads of the runtime (default: all cores)")
    command.add_argument("--precision", choices=PRECISIONS, help="what to compute in (openvino)")
    command.add_argument("--cache", type=Path, help="folder for compiled models (openvino)")
    command.add_argument("--spec", type=Path, help="spec of a model that carries none")


def _calibration_options(group: Any) -> None:
    group.add_argument(
        "--clips", type=Path, metavar="DIR", help="videos to calibrate on, one folder per class"
    )
    group.add_argument("--split", type=Path, metavar="FILE", help="train list, as of UCF101")
    group.add_argument("--num-clips", type=int, default=200, help="how many (default 200)")
    group.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    group.add_argument("--method", choices=("minmax", "percentile", "entropy"), default="minmax")
    group.add_argument(
        "--max-drop", type=float, metavar="POINTS", help="more loss of top-1 than this is an error"
    )
    group.add_argument("--test-list", action="store_true", help="calibrate on a test list, too")
    group.add_argument(
        "--complete", action="store_true", help="a video of the list that is not there is an error"
    )


def _calibration(options: argparse.Namespace) -> Any:
    from r2p_edge.calibration.calibrate import Calibration

    return Calibration(
        folder=options.clips,
        split=options.split,
        num_clips=options.num_clips,
        seed=options.seed,
        strict=options.complete,
        force=options.test_list,
        method=options.method,
        max_drop=options.max_drop,
    )


def _refuse_calibration(options: argparse.Namespace) -> None:
    """Raises UsageError where an export that calibrates nothing is told how to."""
    given = {
        "--clips": options.clips is not None,
        "--split": options.split is not None,
        "--max-drop": options.max_drop is not None,
        "--test-list": options.test_list,
        "--complete": options.complete,
    }
    for option in filter(given.__getitem__, given):
        raise UsageError(f"{option} is for int8; add --precision int8, or leave it out")


def _check_files(options: argparse.Namespace) -> None:
    """Raises UsageError where a file that an option names does not exist."""
    for option in ("spec", "labels", "split"):
        path: Path | None = getattr(options, option, None)
        try:
            found = path is None or path.exists()
        except OSError:  # its name is too long, or a folder above may not be entered
            found = False
        if not found:
            raise UsageError(f"there is no file {path} for --{option}; check the path")


def _check_top(options: argparse.Namespace) -> None:
    if options.top < 1:
        raise UsageError(f"top is {options.top}; it must be 1 or more")


def _opened(options: argparse.Namespace) -> Predictor:
    return Predictor(
        options.model,
        runtime=options.runtime,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
        cache=options.cache,
        spec=options.spec,
    )


def _predict(options: argparse.Namespace) -> int:
    _check_top(options)
    with _opened(options) as predictor:
        code = 0
        for video in options.videos:
            try:
                prediction = predictor.predict(video, clips=options.clips, fps=options.fps)
            except R2PError as error:
                # The other videos still get their answer; the exit code tells of the last failure.
                code = error.exit_code
                _complain(error)
                if options.json:
                    _print_json({"video": video, "error": str(error)})
                continue
            if options.json:
                _print_json({"video": video, **prediction.to_dict(options.top)})
            else:
                _print_prediction(video, prediction, options.top)
    return code


def _print_prediction(video: str, prediction: Prediction, top: int) -> None:
    notes = []
    if prediction.coverage < 1:
        notes.append(f"shorter than a clip: {prediction.coverage:.0%} of the frames are real")
    if prediction.truncated:
        notes.append("truncated")
    print(f"{video}" + (f"  ({', '.join(notes)})" if notes else ""))
    for label, score in prediction.top(top):
        print(f"  {score:7.2%}  {label}")
    timing = prediction.timing
    print(
        f"  {timing.total:.0f} ms: decode {timing.decode:.1f}, preprocess {timing.preprocess:.1f}, "
        f"inference {timing.inference:.1f} ({prediction.runtime} on {prediction.device}, "
        f"{prediction.precision})"
    )


def _stream(options: argparse.Namespace) -> int:
    _check_top(options)
    source = int(options.source) if options.source.isdecimal() else options.source
    with (
        _ended_by_sigterm(),
        _opened(options) as predictor,
        predictor.stream(
            source,
            policy=options.policy,
            timeout=options.timeout,
            reconnect=options.reconnect,
            transport=options.transport,
            notify=options.notify,
            stride=options.stride,
            every=options.every,
            smoothing=options.smoothing,
            majority=options.majority,
            hysteresis=options.hysteresis,
            min_score=options.min_score,
            motion=options.motion,
        ) as answers,
    ):
        for answer in answers:
            if options.json:
                _print_json(answer.to_dict(options.top))
            else:
                _print_answer(answer)
    return 0


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM, with which service managers and containers stop a program, end it in order.

    To be stopped is how a stream ends, so that the exit code is 0. As the first process of a
    container it would not hear of the signal without a handler.
    """

    def end(*_: object) -> None:
        sys.exit(0)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _print_answer(answer: Prediction) -> None:
    live = answer.live
    assert live is not None
    label = "(nothing moves)" if live.still else answer.label or "(no label)"
    notes = [f"{live.age_ms:.0f} ms old"]
    if answer.coverage < 1:
        notes.append(f"{answer.coverage:.0%} of the frames are real")
    notes += [
        f"{count} {what}"
        for what, count in (
            ("skipped", live.skipped),
            ("dropped", live.dropped),
            ("gaps", live.gaps),
        )
        if count
    ]
    print(
        f"{answer.span[1]:10.2f} s  {answer.score:7.2%}  {label}  ({', '.join(notes)})", flush=True
    )


def _compare(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from r2p_edge.compare import compare, print_comparison
    from r2p_edge.export.verify.synthetic_clips import verification_clips

    count: int | None = options.num_clips
    if count is not None and count < 1:
        raise UsageError(f"num-clips is {count}; it must be 1 or more")
    clips: Any
    if options.clips is None:
        clips = verification_clips(open_artifact(options.reference).spec, count or 8)
    else:
        videos = videos_in(options.clips)
        # Spread over the folder, whose first files are often of one class.
        chosen = np.linspace(0, len(videos) - 1, min(count or len(videos), len(videos)))
        clips = [videos[round(number)] for number in chosen]
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(model: str, done: int) -> None:
            if model not in tasks:
                tasks[model] = bar.add_task(Path(model).name, total=len(clips))
            bar.update(tasks[model], completed=done)

        report = compare(
            options.reference,
            options.artifacts,
            clips,
            runtime=options.runtime,
            device=options.device,
            threads=options.threads,
            precision=options.precision,
            progress=progress,
        )
    code = VideoError.exit_code if report["failed"] else 0
    for result in report["results"]:
        if "error" in result:
            code = result["exit_code"]
        elif not result["within"]:
            code = ParityError.exit_code
            result["first_difference"] = _first_difference(report["reference"], result, clips)
    if options.json:
        _print_json(report)
    else:
        print_comparison(report)
    return code


def _first_difference(reference: dict[str, Any], result: dict[str, Any], clips: Any) -> str | None:
    """The first tensor that diverges; None where the two have no tensors in common to compare."""
    one, two = (open_artifact(each["path"]) for each in (reference, result))
    same = one.spec.graph == two.spec.graph and one.spec.clip == two.spec.clip
    if not same or {reference["runtime"], result["runtime"]} != {"onnxruntime"}:
        return None
    worst = result["worst"] if isinstance(clips, list) else clips[int(result["worst"])]
    try:
        from r2p_edge.export.verify.parity import first_difference

        return first_difference(one.path, two.path, worst)
    except R2PError as error:
        return f"which tensor differs first is not known: {error}"


def _eval(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from r2p_edge.calibration.evaluate import evaluate, print_evaluation

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("evaluating", total=None)
        report = evaluate(
            options.models,
            options.clips,
            options.split,
            views=options.views,
            per_class=options.per_class,
            runtime=options.runtime,
            device=options.device,
            threads=options.threads,
            precision=options.precision,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if options.json:
        _print_json(report)
    else:
        print_evaluation(report)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from r2p_edge.doctor.diagnosis import diagnose, print_diagnosis

    report = diagnose()
    if options.json:
        _print_json(report)
    else:
        print_diagnosis(report)
    return 0 if report["ready"] else BackendError.exit_code


def _info(options: argparse.Namespace) -> int:
    path: Path = options.path
    if not path.is_dir():
        return _print_artifacts([path], options.json)
    suffixes = sorted({suffix for entry in RUNTIMES.values() for suffix in entry.suffixes})
    paths = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    kits = sorted(file.parent for file in (*path.glob("kit.json"), *path.glob("*/kit.json")))
    if not paths and not kits and bundle.listed(path) is None:
        raise ModelNotFoundError(
            f"{path} holds no model file ({', '.join(suffixes)}); check the folder"
        )
    code = _print_artifacts(paths, options.json)
    for kit in kits:
        if options.json:
            _print_json({"path": str(kit), "status": "kit"})
        else:
            print(f"{'kit':>9}  {kit}, built on its target with python {kit / 'build.py'}")
    # Last, where it is seen, and after what is right has been shown.
    whole = bundle.check(path)
    if whole is not None and not options.json:
        print(f"{'bundle':>9}  {path}, {whole} files as they were exported")
    elif whole is not None:
        _print_json({"path": str(path), "files": whole})
    return code


def _print_artifacts(paths: Sequence[Path], as_json: bool) -> int:
    """Shows each that can be read; returns the exit code of the last that cannot."""
    code = 0
    for file in paths:
        try:
            _print_artifact(open_artifact(file), as_json)
        except R2PError as error:
            code = error.exit_code
            _complain(error)
            if as_json:
                _print_json({"path": str(file), "error": str(error)})
    return code


def _print_artifact(artifact: Artifact, as_json: bool) -> None:
    file, spec = artifact.path, artifact.spec
    if as_json:
        _print_json(
            {
                "path": str(file),
                "size": artifact.size,
                "verified": artifact.verified,
                "carrier": artifact.carrier,
                "digest": spec.contract_digest(),
                "spec": spec.to_dict(),
            }
        )
        return
    checked = f"sha256 as in {sidecar_path(file).name}" if artifact.verified else "no sidecar"
    clip = spec.clip
    rows = {
        "model": f"{spec.name} ({spec.arch or 'unknown architecture'}, {spec.precision})",
        "file": f"{file}, {artifact.size / 1e6:.1f} MB, {checked}",
        "contract": f"{spec.contract_digest()[:16]} (from {artifact.carrier})",
        "classes": f"{len(spec.labels)}: {', '.join(spec.labels[:4])}"
        + (", ..." if len(spec.labels) > 4 else ""),
        "clip": f"{clip.frames} frames every {clip.tick * 1e3:.4g} ms by {clip.sampling}, "
        f"{clip.order} order",
        "frames": f"{_resize_text(spec)}, centre crop {spec.crop.height}x{spec.crop.width}, "
        f"mean {_numbers(spec.mean)}, std {_numbers(spec.std)}",
        "input": f"{spec.input.dtype} {spec.input_shape} {spec.input.color}",
        "source": json.dumps(spec.source),
        "parity": json.dumps(spec.parity),
        **_int8_rows(spec),
    }
    for name, value in rows.items():
        print(f"{name:>9}  {value}")


def _resize_text(spec: ModelSpec) -> str:
    resize = spec.resize
    if resize.mode == "stretch":
        return f"resize to {resize.height}x{resize.width}"
    return f"resize of the short side to {resize.size}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _export(options: argparse.Namespace) -> int:
    from rich.console import Console

    from r2p_edge.export.build import build

    if options.precision != "int8":
        _refuse_calibration(options)
    targets = [target.strip() for target in options.to.split(",") if target.strip()]
    console = Console(stderr=True)
    busy = console.is_terminal and not options.json
    doing = "exporting and verifying"
    with console.status(doing) if busy else contextlib.nullcontext() as status:
        outcome = build(
            options.source,
            targets=targets,
            out=options.out,
            name=options.name,
            precision=options.precision,
            graph=options.graph,
            preset=options.preset,
            spec=options.spec,
            labels=options.labels,
            frames=options.frames,
            interval=options.interval,
            fps=options.fps,
            size=options.size,
            sampling=options.sampling,
            order=options.order,
            input=options.input,
            batch=options.batch,
            calibration=_calibration(options) if options.precision == "int8" else None,
            workspace=None if options.workspace is None else int(options.workspace * 2**20),
            timing_cache=options.timing_cache,
            progress=None if status is None else lambda step: status.update(f"{doing}: {step}"),
            keep_going=True,
        )
    built, failed = outcome.built, outcome.failed
    kits = [artifact for artifact in built if artifact.status == "kit"]
    code = _ONLY_A_KIT if options.strict and kits else 0
    for _, error in failed:
        code = error.exit_code
        _complain(error)
    for artifact in built:
        _warn_of_int8(artifact.path, artifact.spec)
    if options.json:
        report: dict[str, Any] = {"artifacts": [artifact.to_dict() for artifact in built]}
        if failed:
            report["failed"] = [{"target": name, "error": str(error)} for name, error in failed]
        _print_json(report)
        return code
    for artifact in built:
        print(f"{artifact.path}: {artifact.target} {artifact.spec.precision} {_proven(artifact)}")
        for name, text in _int8_rows(artifact.spec).items():
            print(f"  {name}: {text}")
    return code


def _calibrate(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from r2p_edge.calibration.calibrate import calibrate

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("calibrating", total=None)
        spec = calibrate(
            options.model,
            options.out,
            calibration=_calibration(options),
            profile=options.profile,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _warn_of_int8(options.out, spec)
    if options.json:
        _print_json({"path": str(options.out), **_int8_report(spec)})
        return 0
    print(f"{options.out}:")
    for name, text in _int8_rows(spec).items():
        print(f"  {name}: {text}")
    return 0


_MEASURED = {"clips", "held_out", "top1", "fp32_top1", "agreement", "speedup", "runtime"}


def _int8_rows(spec: ModelSpec) -> dict[str, str]:
    """What an int8 artifact was calibrated on and costs, for people.

    Records that other tools wrote may have other fields, which only JSON shows.
    """
    rows = {}
    found = spec.calibration or {}
    if found.keys() >= {"method", "clips"}:
        text = f"{found['method']}, {found['clips']} clips"
        if "classes_covered" in found:
            text += f" of {found['classes_covered']} of {found['classes']} classes"
        for what in ("missing", "foreign", "unreadable"):
            if found.get(what):
                text += f", {found[what]} videos {what}"
        if found.get("float_layers"):
            text += f"; left float: {', '.join(found['float_layers'])}"
        rows["int8"] = text
    found = spec.accuracy or {}
    if found.keys() >= _MEASURED:
        rows["measured"] = (
            f"on {found['clips']} clips {'not ' if found['held_out'] else ''}calibrated on: top-1 "
            f"{found['top1']:.1%} (fp32 {found['fp32_top1']:.1%}), agrees on "
            f"{found['agreement']:.1%}, {found['speedup']:g} times as fast on {found['runtime']}"
        )
    return rows


def _int8_report(spec: ModelSpec) -> dict[str, Any]:
    return {name: spec.to_dict()[name] for name in ("calibration", "accuracy")}


def _warn_of_int8(path: Path, spec: ModelSpec) -> None:
    from r2p_edge.calibration.calibrate import warning_of

    if (warning := warning_of(spec)) is not None:
        print(f"r2p-edge: warning: {path}: {warning}", file=sys.stderr)


def _proven(artifact: Any) -> str:
    if artifact.status == "kit":
        lacks = "MindSpore Lite's converter is not here"
        if artifact.target == "mindspore":
            lacks += ' (or pip install "r2p_edge[mindspore]")'
        elif artifact.target == "tensorrt":
            lacks = "TensorRT or a GPU for it is not here"
        return f"kit, because {lacks}; copy the folder to where it is, and run build.py there"
    parity = artifact.spec.parity
    if parity is None:
        return f"{artifact.spec.graph}, not proven: this machine cannot run it"
    return (
        f"{artifact.spec.graph}, largest difference to {parity['reference']} "
        f"{parity['max_rel']:.1e} of the largest logit, top-1 agreement {parity['top1']:.0%}"
    )


def _demo(options: argparse.Namespace) -> int:
    from r2p_edge.demo import print_report, run_demo

    report = run_demo(options.out, options.clips)
    if options.json:
        _print_json(report)
    else:
        print_report(report)
    return 0


def _print_json(data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data)
    print(text, flush=True)


def _complain(error: R2PError) -> None:
    print(f"r2p-edge: error: {error}", file=sys.stderr)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"r2p-edge: warning: {message}", file=sys.stderr)
