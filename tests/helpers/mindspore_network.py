"""A program that writes a MindSpore R(2+1)D checkpoint and MindSpore's own logits for clips.

    python tests/helpers/mindspore_network.py DEPTH SHAPE CKPT CLIPS...

Run as a program, because the environment that MindSpore needs on some chips must not reach other
libraries. The cells follow mindspore-ai/models: research/cv/r2plus1d/src/models.py; weights and
batch-norm statistics are random. SHAPE is one of `SHAPES`, each CLIPS a .npy file of normalised
float32 (N, 3, T, H, W), whose logits are written beside it as CLIPS.logits.npy.
"""

from __future__ import annotations

import sys

import mindspore as ms
import numpy as np
from mindspore import nn, ops

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
SHAPES = {  # width of each stage, mid channels of the stem, classes
    "narrow": ((16, 24, 32, 48), 11, 13),
    "full": ((64, 128, 256, 512), 45, 101),
}


class Conv2Plus1D(nn.Cell):
    def __init__(self, inputs, outputs, stride, mid):
        super().__init__()
        self.conv1 = nn.Conv3d(
            inputs, mid, (1, 3, 3), (1, stride, stride), "pad", (0, 0, 1, 1, 1, 1), has_bias=False
        )
        self.bn1 = nn.BatchNorm3d(mid)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv3d(
            mid, outputs, (3, 1, 1), (stride, 1, 1), "pad", (1, 1, 0, 0, 0, 0), has_bias=False
        )

    def construct(self, x):
        return self.conv2(self.relu(self.bn1(self.conv1(x))))


class BasicBlock(nn.Cell):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        mid = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
        self.conv1 = Conv2Plus1D(inputs, outputs, stride, mid)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = Conv2Plus1D(outputs, outputs, 1, mid)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.has_downsample = stride != 1
        if self.has_downsample:
            # pad_mode "same", the default, as in the original.
            conv = nn.Conv3d(inputs, outputs, 1, stride, has_bias=False)
            self.downsample = nn.SequentialCell([conv, nn.BatchNorm3d(outputs)])

    def construct(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.has_downsample:
            identity = self.downsample(x)
        return self.relu(out + identity)


class R2Plus1D(nn.Cell):
    def __init__(self, layers, widths, stem, classes):
        super().__init__()
        self.conv1 = nn.Conv3d(
            3, stem, (1, 7, 7), (1, 2, 2), "pad", (0, 0, 3, 3, 3, 3), has_bias=False
        )
        self.bn1 = nn.BatchNorm3d(stem)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv3d(
            stem, widths[0], (3, 1, 1), 1, "pad", (1, 1, 0, 0, 0, 0), has_bias=False
        )
        self.bn2 = nn.BatchNorm3d(widths[0])
        self.layer1 = self.stage(widths[0], widths[0], layers[0], 1)
        self.layer2 = self.stage(widths[0], widths[1], layers[1], 2)
        self.layer3 = self.stage(widths[1], widths[2], layers[2], 2)
        self.layer4 = self.stage(widths[2], widths[3], layers[3], 2)
        self.pool = ops.ReduceMean()
        self.fc = nn.Dense(widths[3], classes)

    def stage(self, inputs, outputs, count, stride):
        blocks = [BasicBlock(inputs, outputs, stride)]
        blocks += [BasicBlock(outputs, outputs, 1) for _ in range(count - 1)]
        return nn.SequentialCell(blocks)

    def construct(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.pool(x, (2, 3, 4)))


def randomise(network, rng):
    for parameter in network.get_parameters():
        leaf = parameter.name.rsplit(".", 1)[1]
        shape = parameter.shape
        if leaf in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif leaf in ("beta", "moving_mean", "bias"):
            value = rng.normal(0, 0.2, shape)
        else:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        parameter.set_data(ms.Tensor(value.astype(np.float32)))


def main(depth, shape, checkpoint, *files):
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    network = R2Plus1D(LAYERS[depth], *SHAPES[shape])
    randomise(network, np.random.default_rng(depth))
    network.set_train(False)
    ms.save_checkpoint(network, checkpoint)
    for clips in files:
        np.save(f"{clips}.logits.npy", network(ms.Tensor(np.load(clips))).asnumpy())


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
