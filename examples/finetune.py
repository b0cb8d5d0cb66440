"""Your own classes, by training an R(2+1)D checkpoint further in PyTorch.

    python examples/finetune.py motion --videos clips/ --out mine.safetensors
    r2p-edge export mine.safetensors --to onnx,openvino --out models/

CHECKPOINT is any that `r2p-edge export` reads, of PyTorch or MindSpore, and DIR holds a folder of
videos for each class. The classifier is trained
first, then the sections from `--from` on; what lies below is computed once and kept in a folder
beside OUT. The epoch that is best on held-out groups of videos is written, and needs no further
option to export. Left is not right: views are mirrored with `--flip` alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from r2p_edge import Predictor
from r2p_edge.artifact.atomic import check_folder, made_folder
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.tally import wilson_interval
from r2p_edge.errors import R2PError, UsageError
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.training.device import training_device
from r2p_edge.training.files import Trainable, open_trainable, save_trainable
from r2p_edge.training.network import SECTIONS
from r2p_edge.training.recipe import Recipe
from r2p_edge.training.sets import (
    check_teacher,
    classes_of,
    held_out_videos,
    soft_labels,
    videos_of_classes,
)
from r2p_edge.training.state import TrainingState, digest_of
from r2p_edge.training.tune import Epoch, Judged, Sets, best_epoch, fine_tune, judged
from r2p_edge.training.views import Augmentation, ViewMaker, remove_views


def shown(found: Judged) -> str:
    """Return an accuracy with its interval, as text."""
    low, high = wilson_interval(found.right, found.total)
    share = found.right / found.total
    return f"{share:.1%} of {found.total} ({low:.1%} to {high:.1%}), loss {found.loss:.3f}"


def tell(epoch: Epoch) -> None:
    """Print an epoch that is over."""
    what = "classifier" if epoch.number == 0 else f"epoch {epoch.number}"
    text = f"{what}: loss {epoch.loss:.3f}"
    if epoch.judged is not None:
        text += f", held out {shown(epoch.judged)}"
    if not math.isnan(epoch.seconds_left):
        text += f"; at most {epoch.seconds_left / 60:.1f} minutes left"
    print(text, flush=True)


class Bar:
    """Prints how many videos are done, each tenth of them."""

    def __init__(self, what: str) -> None:
        self._what, self._next = what, 0

    def __call__(self, done: int, total: int) -> None:
        """Print, if another tenth is done."""
        if done >= self._next:
            print(f"{self._what}: {done} of {total} videos", flush=True)
            self._next = done + max(1, total // 10)


def run(options: argparse.Namespace, recipe: Recipe) -> None:
    """Fine-tune a checkpoint as the options say, in a folder that is there."""
    if options.out.suffix != ".safetensors":
        raise UsageError(f"--out is {options.out}; give it the suffix .safetensors")
    device = training_device(options.device)
    work = options.work or options.out.with_suffix(".training")
    with made_folder(options.out.parent), made_folder(work):
        check_folder(options.out)
        train(options, recipe, work, device)


def train(options: argparse.Namespace, recipe: Recipe, work: Path, device: torch.device) -> None:
    """Fine-tune a checkpoint, and write the result."""
    classes = classes_of(options.videos)
    videos = videos_of_classes(options.videos, classes, options.split, "train")
    # What is wrong with these is said before the training.
    tested = test_videos(options, classes)
    if options.teacher is not None:
        check_teacher(open_artifact(options.teacher).spec.labels, classes)
    trained = open_trainable(
        options.checkpoint,
        preset=options.preset,
        spec=options.spec,
        weights=WeightsOptions(family=options.family),
        dropout=recipe.dropout,
    )
    trained.network.replace_classifier(len(classes))
    trained.network.to(device)
    if options.quick:
        recipe, videos = quick(recipe, videos)
    training, held_out = held_out_videos(videos, recipe.held_out, recipe.seed)
    settings = {
        **recipe.to_dict(),
        "checkpoint": trained.parent["sha256"],
        "videos": digest_of({video.name: video.label for video in videos}),
        "teacher": None if options.teacher is None else str(options.teacher),
    }
    state = TrainingState(work / "state.pt", settings, resume=options.resume)
    print(
        f"{len(classes)} classes, {len(training)} videos to train on, {len(held_out)} held out; "
        f"{', '.join(recipe.upper)} trained on {device.type}"
    )

    def maker(what: str) -> ViewMaker:
        return ViewMaker(trained, recipe.lower, work, device, Bar(what))

    views = maker("views").views(
        training, recipe.views, Augmentation(flip=recipe.flip), recipe.seed
    )
    judge = maker("held out").views(held_out) if held_out else None
    soft = {}
    if options.teacher is not None:
        with Predictor(options.teacher) as teacher:
            soft = soft_labels(teacher, views.videos, classes, Bar("teacher"))
    sets = Sets(views, judge, classes, soft)
    epochs = fine_tune(trained, sets, recipe, device=device, state=state, report=tell)
    best = best_epoch(epochs)
    record = {"recipe": recipe.to_dict(), "epoch": best.number, "videos": len(views.videos)}
    if best.judged is not None:
        record["held_out"] = {"right": best.judged.right, "total": best.judged.total}
    save_trainable(trained, options.out, classes, record, views.videos)
    state.remove()
    print(f"{options.out}: epoch {best.number}")
    if tested:
        test(trained, tested, recipe, classes, maker("test"))
    if not options.keep_views:
        remove_views(work)


def test_videos(options: argparse.Namespace, classes: Sequence[str]) -> list[Video]:
    """Return the videos to test on, none where none were named."""
    if not (options.test or options.test_split):
        return []
    return videos_of_classes(options.test or options.videos, classes, options.test_split, "test")


def test(
    trained: Trainable,
    videos: Sequence[Video],
    recipe: Recipe,
    classes: Sequence[str],
    maker: ViewMaker,
) -> None:
    """Print the accuracy on the test videos."""
    device = next(trained.network.parameters()).device

    def answer(x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = trained.network(x, recipe.upper)
        return logits

    print(f"test: {shown(judged(answer, maker.views(videos), classes, recipe.batch, device))}")


def quick(recipe: Recipe, videos: Sequence[Video]) -> tuple[Recipe, list[Video]]:
    """Return settings and videos of two steps, to see whether it runs."""
    by_label: dict[str, list[Video]] = {}
    for video in videos:
        by_label.setdefault(video.label, []).append(video)
    some = [video for of_class in by_label.values() for video in of_class[:2]]
    return dataclasses.replace(recipe, epochs=2, views=1, batch=len(some)), some


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="file, ID of published weights, or motion")
    add("--videos", type=Path, required=True, metavar="DIR", help="a folder of videos a class")
    add("--split", type=Path, metavar="FILE", help="list of those to train on, such as UCF101's")
    add("--out", type=Path, required=True, metavar="FILE", help=".safetensors file to write")
    add("--preset", help="how the checkpoint was trained, as of r2p-edge export")
    add("--spec", type=Path, metavar="FILE", help="the same as a file")
    add("--family", help="family of its network, where several have its names")
    add("--test", type=Path, metavar="DIR", help="videos to judge the result by")
    add("--test-split", type=Path, metavar="FILE", help="list of those, in DIR or --videos")
    add("--teacher", type=Path, metavar="MODEL", help="artifact whose scores are soft labels")
    add("--work", type=Path, metavar="DIR", help="folder of what is kept (default: beside OUT)")
    add("--keep-views", action="store_true", help="leave that folder, for a run after this one")
    add("--resume", action="store_true", help="go on from the last epoch of a run that was stopped")
    add("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    add("--quick", action="store_true", help="take two steps, to see whether it runs")
    add("--from", dest="first", choices=SECTIONS, default=Recipe.first,
        help="lowest section that is trained (default: %(default)s)")  # fmt: skip
    for name, kind, meaning in (
        ("epochs", int, "most passes over the videos; 0 trains the classifier alone"),
        ("batch", int, "videos of a step"),
        ("views", int, "views of each video, of which an epoch takes one"),
        ("rate", float, "learning rate of the classifier"),
        ("backbone", float, "that of the section below, as a share"),
        ("decay", float, "that of each further section, as a share of the one above"),
        ("weight-decay", float, "AdamW's"),
        ("dropout", float, "share of the features that is dropped"),
        ("patience", int, "epochs to wait for a better one"),
        ("held-out", float, "share of the groups of videos that is held out"),
        ("teacher-share", float, "weight of the soft labels"),
        ("temperature", float, "by which they are softened"),
        ("seed", int, "of everything random"),
    ):
        default = getattr(Recipe, name.replace("-", "_"))
        add(f"--{name}", type=kind, default=default, help=f"{meaning} (default: {default})")
    add("--flip", action="store_true", help="mirror half of the views")
    add("--quantisation-aware", action="store_true", help="train with int8's rounding (needs nncf)")
    options = parser.parse_args()
    fields = [field.name for field in dataclasses.fields(Recipe)]
    try:
        recipe = Recipe(**{name: getattr(options, name) for name in fields})
        run(options, recipe)
    except R2PError as error:
        print(f"finetune.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
