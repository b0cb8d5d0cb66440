"""The device that a training runs on."""

from __future__ import annotations

import torch

from r2p_edge.errors import BackendError


def training_device(name: str | None = None) -> torch.device:
    """Return a device that is there.

    Args:
        name: "cpu" or "cuda"; by default CUDA where there is one.

    Raises:
        BackendError: PyTorch finds no such device.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise BackendError(
            f"PyTorch {torch.__version__} finds no GPU of CUDA; install one that is built for it, "
            "or leave --device out"
        )
    return torch.device(name or ("cuda" if there else "cpu"))
