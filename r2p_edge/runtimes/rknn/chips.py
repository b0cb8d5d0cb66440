"""Rockchip's chips with an NPU: their names, their cores, and the chip of this machine."""

from __future__ import annotations

import re
from pathlib import Path

ROCKCHIPS = {"rk3588": 3, "rk3576": 2, "rk3568": 1, "rk3566": 1, "rk3562": 1}
"""Chips that models are built for, as RKNN-Toolkit2 2.5.0 names them, and the cores of their NPUs.

Of its other targets RKNN-Toolkit-Lite2 knows the RV1126B alone, for which nothing has been built;
the RV1103, RV1106 and RK2118 run C programs on little memory and no Python."""

CORE_MASKS = {
    "npu": 0x0,
    "npu:0": 0x1,
    "npu:1": 0x2,
    "npu:2": 0x4,
    "npu:0_1": 0x3,
    "npu:0_1_2": 0x7,
}
"""Core masks by device: NPU_CORE_AUTO, NPU_CORE_0, ... of `rknnlite.api.RKNNLite`."""

_COMPATIBLE = Path("/proc/device-tree/compatible")  # "radxa,rock-5b\0rockchip,rk3588\0"
_SAME_NPU = {"rk3566": "rk3568"}


def rockchip_here() -> str | None:
    """Return the chip of this machine, "rk3588"; None if it is not one of Rockchip's.

    The device tree names the RK3588S as itself, and it is the same chip with fewer pins.
    """
    try:
        content = _COMPATIBLE.read_bytes().decode(errors="replace")
    except OSError:  # no device tree, as on most PCs
        return None
    found = re.search(r"rockchip,(r[kv]\d{4})", content)
    return found and found[1]


def npu_devices(chip: str | None) -> list[str]:
    """Return the devices of a chip, "npu" first, which leaves the choice of a core to the driver.

    A mask of several cores runs one model on all of them.
    """
    cores = 1 if chip is None else ROCKCHIPS.get(chip, 1)
    highest = 0 if cores == 1 else (1 << cores) - 1
    return [device for device, mask in CORE_MASKS.items() if mask <= highest]


def has_same_npu(built_for: str, here: str) -> bool:
    """Return whether a model that was built for one chip runs on another."""
    return _SAME_NPU.get(built_for, built_for) == _SAME_NPU.get(here, here)
