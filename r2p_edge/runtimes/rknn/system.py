"""Parts of a board's system that the NPU needs: the kernel's driver, librknnrt.so, device files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_LIBRARY_PAGE = (
    "rknpu2/runtime/Linux/librknn_api/aarch64/librknnrt.so of github.com/airockchip/rknn-toolkit2"
)

_ROOT = Path("/")
_OLDEST_DRIVER = "0.9.6"  # 0.9.3 fails at convolutions: github.com/radxa/kernel/issues/312
_LIBRARY = "usr/lib/librknnrt.so"  # where rknnlite looks
_KERNEL = "boot the board maker's kernel (of Armbian's the one called vendor)"


def driver_version() -> str | None:
    """Return the version of the kernel's driver rknpu, "0.9.8"; None if it has none.

    Everybody may read it as that of the module, also where the driver is built into the kernel.
    What it tells in debugfs is for root.
    """
    for file in ("sys/module/rknpu/version", "sys/kernel/debug/rknpu/version"):
        try:
            found = re.search(r"\d+\.\d+\.\d+", (_ROOT / file).read_text(errors="replace"))
        except OSError:
            continue
        if found:
            return found[0]
    return None


def library_version() -> str | None:
    """Return the release of librknnrt.so, "2.5.0", as `strings` shows it; None if it is not here.

    It is "of unknown release" if the file does not tell.
    """
    try:
        content = (_ROOT / _LIBRARY).read_bytes()
    except OSError:
        return None
    found = re.search(rb"librknnrt version: (\d+\.\d+\.\d+)", content)
    return found[1].decode() if found else "of unknown release"


def npu_files() -> list[Path]:
    """Return the device files of the NPU: those of its DRM driver in /dev/dri, or /dev/rknpu.

    Which of the two there is, and its number, is chosen where the kernel is built.
    """
    names = []
    for card in sorted((_ROOT / "sys/class/drm").glob("*")):
        if re.fullmatch(r"card\d+|renderD\d+", card.name) and _is_driven_by_rknpu(card):
            names.append(f"dev/dri/{card.name}")
    return [path for name in (*names, "dev/rknpu") if (path := _ROOT / name).exists()]


def _is_driven_by_rknpu(card: Path) -> bool:
    try:
        return "DRIVER=RKNPU" in (card / "device/uevent").read_text().splitlines()
    except OSError:
        return False


def system_faults(release: str | None = None) -> list[str]:
    """Return what of this board's system does not fit, in a sentence each that says what to do.

    Args:
        release: oldest release of librknnrt.so that will do, that of the toolkit that built.
    """
    return [*_driver_faults(), *_library_faults(release)]


def _driver_faults() -> Iterator[str]:
    version = driver_version()
    if version is None:
        if (_ROOT / "sys/module/rocket").exists():
            yield f"the kernel's driver is rocket, which librknnrt.so cannot use; {_KERNEL}"
        else:
            yield f"the kernel has no driver rknpu; {_KERNEL}"
        return
    if _numbers(version) < _numbers(_OLDEST_DRIVER):
        yield (
            f"the driver rknpu is {version}, with which convolutions are known to fail; update the "
            f"kernel, of which it is a part, to one with {_OLDEST_DRIVER} or later"
        )
    files = npu_files()
    if not files:
        yield (
            "the NPU has no file in /dev/dri, nor /dev/rknpu; in a container hand it in "
            "(--device), else look into dmesg for why the driver did not start"
        )
    for file in files:
        if not os.access(file, os.R_OK | os.W_OK):
            yield (
                f"this user may not use {file}; join its group (sudo usermod -aG {_group(file)} "
                '"$USER") and log in again'
            )


def _group(file: Path) -> str:
    try:
        return file.group()
    except KeyError:  # in a container the number may have no name
        return str(file.stat().st_gid)


def _library_faults(release: str | None) -> Iterator[str]:
    version, path = library_version(), _ROOT / _LIBRARY
    needed = release if release and _numbers(release) else None
    take = f"take that of {needed} or later: {_LIBRARY_PAGE}" if needed else f"take {_LIBRARY_PAGE}"
    if version is None:
        yield f"there is no {path}; {take}"
    elif needed and _numbers(version) and _numbers(version) < _numbers(needed):
        yield f"{path} is {version}, older than the toolkit's {needed}; {take}"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare it by; none of "of unknown release"."""
    return tuple(int(number) for number in re.findall(r"\d+", version))
