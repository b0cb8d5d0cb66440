"""The frame kernel under AddressSanitizer and UBSan: `python tests/fuzz/kernel.py --calls 1000000`.

It compiles the extension with g++ and the sanitizers into a temporary copy of the package, makes
fuzzed calls of it, and with --tests runs the kernel's own tests on it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FLAGS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def build(folder: Path, *further: str) -> Path:
    """Copy the package into a folder and compile its extension there; return the folder."""
    import pybind11

    package = folder / "r2p_edge"
    shutil.copytree(ROOT / "r2p_edge", package, ignore=shutil.ignore_patterns("_frames.*.so"))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{pybind11.get_include()}"]
    sources = sorted(map(str, (ROOT / "cpp_ext").rglob("*.cpp")))
    output = package / "preprocess" / f"_frames{suffix}"
    fixed = ["-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
    subprocess.run(
        ["g++", *fixed, *_FLAGS, *further, *includes, *sources, "-o", str(output)], check=True
    )
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which Python loads the sanitizers before all else."""
    # libstdc++ too: libasan looks once, at the start, for what throws exceptions.
    libraries = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    return {
        **os.environ,
        "LD_PRELOAD": os.pathsep.join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python frees nothing at its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT / "tests" / "helpers"))),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, call and test; return 0 if the sanitizers found nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", action="store_true", help="the kernel's own tests, too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = build(Path(scratch))
        calls = [str(Path(__file__).with_name("kernel_calls.py"))]
        calls += [str(options.calls), str(options.seed)]
        commands = [calls]
        if options.tests:
            tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
            commands.append([*tests, str(ROOT / "tests" / "preprocess" / "test_frames.py")])
        for command in commands:
            done = subprocess.run([sys.executable, *command], env=environment(folder), cwd=scratch)
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
