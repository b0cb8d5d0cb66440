"""Ascend NPUs: the devices of this machine, and what their runtimes have in common."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, UsageError
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.spec import ModelSpec

_DEVICE_FILES = Path("/dev")  # where the driver shows a card: davinci0, davinci1, ...


def ascend_devices() -> list[str]:
    """Return "ascend", "ascend:1", ...: one name for each card that the driver shows.

    ACL counts the cards that it may use from 0, whatever numbers their device files have.
    """
    count = len(list(_DEVICE_FILES.glob("davinci[0-9]*")))
    return [f"ascend:{number}" if number else "ascend" for number in range(count)]


def device_number(device: str) -> int:
    """Return the number of a card from its name, "ascend" or "ascend:1"."""
    return int(device.partition(":")[2] or 0)


def choose_device(
    library: str, path: Path, spec: ModelSpec, wanted: str | None, default: str, devices: list[str]
) -> str:
    """Return "cpu", "ascend" or "ascend:1": the caller's choice, or the file's own device.

    Args:
        library: name of the library, for errors.
        wanted: device that the caller asked for; None for the file's.
        default: device of a file whose spec names none.
        devices: what the library may have here, for errors.

    Raises:
        BackendError: the library has no such device.
        ModelError: the file was made for another device.
    """
    offline = path.suffix.lower() == ".om"
    made_for = str((spec.target or {}).get("device") or default)
    kind = "ascend" if made_for.startswith("ascend") else made_for
    device = (wanted or kind).lower().removesuffix(":0")
    if not re.fullmatch(r"cpu|ascend(:\d+)?", device):
        known = ", ".join(devices)
        raise BackendError(f"{library} has no device {wanted or kind!r}; it has {known or 'none'}")
    # A foreign .mindir does not reveal its device.
    known_device = offline or (spec.target or {}).get("device")
    if known_device and device.partition(":")[0] != kind:
        raise ModelError(
            f"{path} was made for {made_for} and cannot run on {device}; open it on {kind}, or "
            f"export it again for {device}"
        )
    return device


def chip_here() -> str | None:
    """Return the chip of this machine as ATC names it, "Ascend310P3"; None if that is unknown.

    CANN's Python module tells it, and else the driver's program npu-smi.
    """
    try:
        name = import_library("acl", "").get_soc_name()
    except (BackendError, AttributeError):  # not installed or broken; or another module's name
        name = None
    return str(name) if name else _chip_of_npu_smi()


def _chip_of_npu_smi() -> str | None:
    program = shutil.which("npu-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "info"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # The first card is the line below the first double one: | 0       310B4     | OK     | ...
    found = re.search(r"^\+=.*\n\| *\d+ +(?:Ascend)?([0-9]\w*)", done.stdout, re.MULTILINE)
    return f"Ascend{found[1]}" if found else None


def check_chip(path: Path, spec: ModelSpec) -> None:
    """Make sure that a model was built for the chip of this machine, where both are known.

    Raises:
        ModelError: it was built for another.
    """
    built_for = (spec.target or {}).get("chip")
    here = chip_here() if built_for else None
    if here is not None and built_for != here:
        raise ModelError(
            f"{path} was built for an {built_for} and this machine has an {here}; build it again "
            "for this chip"
        )


def require_device(library: str, device: str, available: list[str]) -> None:
    """Make sure that a device is among those that `library` has here.

    Raises:
        BackendError: it is not.
    """
    if device not in available:
        raise BackendError(
            f"{library} has no device {device!r} here; it has {', '.join(available) or 'none'}"
        )


def check_no_threads(library: str, device: str, options: Options) -> None:
    """Make sure that nobody asks for threads of the CPU where an NPU computes.

    Raises:
        UsageError: somebody does.
    """
    if options.threads is not None:
        raise UsageError(f"{library} has no threads to set on {device}; leave them out")


def ascend_precision(path: Path, spec: ModelSpec, options: Options) -> str:
    """Return the precision in which an Ascend 310, 310P or 310B computes the model.

    Its convolutions are fp16 and int8 (CANN, "supported ONNX operators"), so an fp32 artifact loses
    digits there, to which the caller must agree.

    Raises:
        BackendError: another precision was requested, or fp16 was not agreed to.
    """
    wanted = options.precision or spec.precision
    if spec.precision == "int8" and options.precision is None:
        return "int8"
    if wanted != "fp16":
        raise BackendError(
            f"Ascend computes in fp16 and {path} was to run in {wanted}; choose precision fp16 if "
            "that is good enough, or another device"
        )
    return "int8" if spec.precision == "int8" else "fp16"


class OfflineRuntime(Runtime):
    """Base of the runtimes of `.om` files, which run on NPUs alone."""

    @classmethod
    def devices(cls) -> list[str]:
        cls.library()
        return ascend_devices()

    @classmethod
    def _settled(cls, path: Path, spec: ModelSpec, options: Options) -> tuple[ModuleType, str, str]:
        """Return the library, and the device and precision in which a model is to run.

        Raises:
            BackendError, ModelError, UsageError: see `open`.
        """
        if options.cache is not None:
            raise UsageError(f"{cls.name} keeps no compiled models; leave cache out")
        available = ascend_devices()
        device = choose_device(cls.name, path, spec, options.device, "ascend", available)
        check_no_threads(cls.name, device, options)
        library = cls.library()
        precision = ascend_precision(path, spec, options)
        require_device(cls.name, device, available)
        check_chip(path, spec)
        return library, device, precision
