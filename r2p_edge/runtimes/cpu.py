"""Instruction sets of the CPU that INT8 and BF16 need, as the operating system reports them."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import NamedTuple

_X86 = (
    "ssse3",
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "amx_int8",
    "avx512_bf16",
    "amx_bf16",
)
_ARM = ("asimddp", "i8mm", "bf16", "sve")
_MACOS = {
    "hw.optional.supplementalsse3": "ssse3",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}


class Cpu(NamedTuple):
    """A CPU.

    Attributes:
        model: its name, or that of its board; None if unknown.
        features: for each instruction set that matters, by Linux's names, whether it is there;
            None where that cannot be found out.
    """

    model: str | None
    features: dict[str, bool] | None

    @property
    def int8(self) -> str:
        """Kind of 8-bit multiplication.

        "fast": exact, with VNNI or the dot product of ARM. "saturating": with VPMADDUBSW, which
        adds pairs of u8 x s8 products in 16 bits and saturates (Intel SDM, PMADDUBSW), so weights
        must have 7 bits (`reduce_range`; ONNX Runtime, "Quantize ONNX Models"; OpenVINO,
        "Saturation (overflow) Issue Workaround", which includes SSE). "slow": exact, with little
        or no gain over floats, on an ARM without the dot product. "unknown".
        """
        has = {name for name, present in (self.features or {}).items() if present}
        if has & {"avx_vnni", "avx512_vnni", "asimddp"}:
            return "fast"
        if has & {"ssse3", "avx2", "avx512f"}:
            return "saturating"
        return "slow" if "asimddp" in (self.features or {}) else "unknown"


def read_cpu() -> Cpu:
    """Return this machine's CPU."""
    if platform.system() == "Darwin":
        return from_sysctl(_sysctl())
    # A board's name says more than "ARMv8 Processor rev 1", and most ARM kernels give no name.
    return from_cpuinfo(_text("/proc/cpuinfo"), _text("/proc/device-tree/model"))


def from_cpuinfo(text: str, board: str = "") -> Cpu:
    """Return the CPU that Linux's /proc/cpuinfo describes.

    Args:
        board: content of /proc/device-tree/model, which PCs do not have.
    """
    fields = _fields(text)
    model = board.strip("\0 \n") or fields.get("Model") or fields.get("model name")
    # Other architectures have a line `Features` too.
    arm = "CPU implementer" in fields
    if arm and model is None:
        model = f"implementer {fields['CPU implementer']}, part {fields.get('CPU part')}"
    flags = fields.get("Features" if arm else "flags")
    if flags is None:
        return Cpu(model, None)
    present = set(flags.split())
    return Cpu(model, {name: name in present for name in (_ARM if arm else _X86)})


def from_sysctl(text: str) -> Cpu:
    """Return the CPU that `sysctl -a` of macOS describes."""
    fields = _fields(text)
    known = {name: fields[key] == "1" for key, name in _MACOS.items() if key in fields}
    names = next((names for names in (_ARM, _X86) if set(names) & set(known)), ())
    features = {name: known.get(name, False) for name in names}
    return Cpu(fields.get("machdep.cpu.brand_string"), features or None)


def _fields(text: str) -> dict[str, str]:
    """Return `name: value` of each line; the first where cores repeat a name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def _text(path: str) -> str:
    """Return the content of a file of the kernel; "" if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _sysctl() -> str:
    """Return the output of `sysctl -a`; "" if it cannot be run."""
    import subprocess

    try:
        done = subprocess.run(["sysctl", "-a"], capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
