"""The training of the bundled model, an R(2+1)D-18 of quarter width that names motions.

    python examples/train_motion.py --out learned.safetensors
    python examples/train_motion.py --polish learned.safetensors --out motion.safetensors

Runs on a CPU in PyTorch, in FP32, every clip new. The network is torchvision's `r2plus1d_18`
(same parameter names, same mid-channel rule) with a quarter of its channels. It learns at half
size first, where a step costs a sixth, and on easy backgrounds first, then at full size. The second
run is a short one at a low rate, on frames as uneven as a bad camera's. The weights are stored as
float16; the accuracy that is printed and written beside them is that of the stored, rounded
weights on clips of the test split.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from r2p_edge.calibration import motion

WIDTH = 16  # channels of the first stage; the paper's network has 64
SCALE, MEAN, STD = 1 / 255, 0.45, 0.225


@dataclass(frozen=True)
class Stage:
    """Some steps at one size.

    Attributes:
        size: of the clips, in pixels.
        backgrounds: hardest contrast at the start, and from the middle of the stage on.
        jitter: seconds by which a frame of every second clip may miss its tick.
    """

    size: int
    steps: int
    batch: int
    backgrounds: tuple[float, float]
    jitter: float


HARDEST = motion.BACKGROUND_CONTRAST[1]
LEARN = (
    Stage(motion.SIZE // 2, 500, 32, (0.1, 0.4), 0.018),
    Stage(motion.SIZE, 700, 16, (0.4, HARDEST), 0.018),
)
POLISH = (Stage(motion.SIZE, 240, 16, (HARDEST, HARDEST), 0.03),)
LEARN_RATE, POLISH_RATE = 2e-3, 2e-4  # of the one-cycle schedule, at its peak


def conv2plus1d(inputs: int, outputs: int, middle: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution over space and one over time, with `middle` channels between them."""
    return nn.Sequential(
        nn.Conv3d(inputs, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


class Block(nn.Module):
    """A residual block of two such convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
        self.conv1 = nn.Sequential(
            conv2plus1d(inputs, outputs, middle, stride),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(conv2plus1d(outputs, outputs, middle), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


class R2Plus1D18(nn.Module):
    """The network, with `width` channels in its first stage."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        stem = 45 * width // 64
        self.stem = nn.Sequential(
            nn.Conv3d(3, stem, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(stem),
            nn.ReLU(inplace=True),
            nn.Conv3d(stem, width, (3, 1, 1), 1, (1, 0, 0), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        )
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            stride = 1 if stage == 0 else 2
            blocks = nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))
            setattr(self, f"layer{stage + 1}", blocks)
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(x.mean((2, 3, 4)))


def clip_from_scene(scene: motion.Scene, times: np.ndarray, size: int) -> np.ndarray:
    """Draw what the model's preprocessing leaves of a scene: uint8 (T, H, W, 3)."""
    unit = size * 128 / motion.SIZE  # frames are resized to 128 pixels high, then cropped
    return np.stack([scene.draw(t, height=size, width=size, unit=unit) for t in times])


def training_clip(index: int, stage: Stage, contrast: float) -> np.ndarray:
    """Draw clip `index` of the training split, at a random moment, as a camera would give it.

    A camera's frames are seldom exactly on the ticks (at 30 fps the nearest one is up to 17 ms
    away), and its coder blurs what moves: half of the clips are drawn so, half are coded.
    """
    rng = np.random.default_rng([motion.SPLITS["train"], index, 1])
    start = (motion.DURATION - motion.SPAN) / 2 + rng.uniform(-0.08, 0.08)
    times = start + np.arange(motion.FRAMES) * motion.INTERVAL / motion.FPS
    if rng.random() < 0.5:
        times = times + rng.uniform(-stage.jitter, stage.jitter, motion.FRAMES)
    scene = motion.scene("train", index, (motion.BACKGROUND_CONTRAST[0], contrast))
    clip = clip_from_scene(scene, times, stage.size)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        clip = np.stack([cv2.imdecode(cv2.imencode(".jpg", x, quality)[1], 1) for x in clip])
    return clip


def tensor_from_clips(clips: list[np.ndarray]) -> Tensor:
    """Return clips, uint8 (T, H, W, 3), as the network's input: float32 (N, 3, T, H, W)."""
    pixels = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3)
    inputs = (pixels.float() * SCALE - MEAN) / STD
    return inputs.contiguous(memory_format=torch.channels_last_3d)


def batches(stages: Sequence[Stage], first: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (size, inputs, labels) from clip `first` on, drawn a batch ahead in a second thread."""

    def draw(first: int, stage: Stage, contrast: float) -> tuple[int, Tensor, Tensor]:
        indices = range(first, first + stage.batch)
        clips = [training_clip(index, stage, contrast) for index in indices]
        labels = torch.tensor([index % len(motion.CLASSES) for index in indices])
        return stage.size, tensor_from_clips(clips), labels

    def plan() -> Iterator[tuple[int, Stage, float]]:
        clip = first
        for stage in stages:
            easiest, hardest = stage.backgrounds
            for step in range(stage.steps):
                share = min(1, 2 * step / stage.steps)
                yield clip, stage, easiest + (hardest - easiest) * share
                clip += stage.batch

    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for arguments in plan():
            following = pool.submit(draw, *arguments)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        assert ahead is not None
        yield ahead.result()


def accuracy(model: nn.Module, clips: int) -> float:
    """Return the top-1 accuracy on clips of the test split, drawn at the model's size."""
    times = (motion.DURATION - motion.SPAN) / 2
    times = times + np.arange(motion.FRAMES) * motion.INTERVAL / motion.FPS
    model.eval()
    right = 0
    with torch.inference_mode():
        for index in range(clips):
            clip = clip_from_scene(motion.scene("test", index), times, motion.SIZE)
            answer = int(model(tensor_from_clips([clip])).argmax())
            right += answer == index % len(motion.CLASSES)
    return right / clips


def _float32(path: Path) -> dict[str, Tensor]:
    return {name: value.float() for name, value in load_file(path).items()}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first weights (default: 0)"
    )
    parser.add_argument(
        "--test-clips", type=int, default=600, help="clips to measure on (default: 600)"
    )
    parser.add_argument("--polish", type=Path, help="go on from these weights of the first run")
    parser.add_argument(
        "--quick", action="store_true", help="take two steps per stage, to see whether it runs"
    )
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    torch.use_deterministic_algorithms(True)
    model = R2Plus1D18(len(motion.CLASSES), WIDTH).to(memory_format=torch.channels_last_3d)
    stages, peak, earlier = LEARN, LEARN_RATE, []
    if arguments.polish:
        stages, peak = POLISH, POLISH_RATE
        model.load_state_dict(_float32(arguments.polish), strict=False)
        earlier = json.loads(arguments.polish.with_suffix(".json").read_text())["runs"]
    if arguments.quick:
        stages = tuple(replace(stage, steps=2) for stage in stages)
    steps = sum(stage.steps for stage in stages)
    clips = sum(stage.steps * stage.batch for stage in stages)
    first = sum(run["clips"] for run in earlier)  # every clip is seen once
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    criterion = nn.CrossEntropyLoss()

    started, smooth = time.monotonic(), math.nan
    for step, (size, inputs, labels) in enumerate(batches(stages, first), 1):
        logits = model(inputs)
        loss = criterion(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        right = float((logits.argmax(1) == labels).float().mean())
        smooth = right if math.isnan(smooth) else 0.95 * smooth + 0.05 * right
        if step % 20 == 0 or step == steps:
            seconds = time.monotonic() - started
            print(
                f"step {step}/{steps} size {size} loss {loss:.3f} "
                f"train top-1 {smooth:.3f} {seconds:.0f} s",
                flush=True,
            )
    seconds = time.monotonic() - started

    weights = {
        name: value.half().contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(weights, arguments.out)
    model.load_state_dict(_float32(arguments.out), strict=False)
    run = {"steps": steps, "clips": clips, "seconds": round(seconds), "seed": arguments.seed}
    figures = {
        "weights": "float16",
        "parameters": sum(value.numel() for value in model.parameters()),
        "test_top1": accuracy(model, arguments.test_clips),
        "test_clips": arguments.test_clips,
        "runs": [*earlier, run],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    arguments.out.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
