"""The packages and the compiled extension; everything else is in pyproject.toml.

`r2p_edge/export` and `r2p_edge/calibration` are links to the folders of those names beside
`r2p_edge`, so that the checkout is importable as it lies: an editable install is a path, which
type checkers and editors can follow.

Without a working C++ compiler the package installs without the extension and resizes frames through
OpenCV. R2P_REQUIRE_EXT=1 makes that an error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import Extension, find_packages, setup
from setuptools.errors import BaseError, CCompilerError

REQUIRE_EXTENSION = os.environ.get("R2P_REQUIRE_EXT") == "1"

# MSVC needs none of these: it optimises by default and keeps a * b + c in two roundings.
UNIX_ARGS = ["-O3", "-ffp-contract=off", "-fno-math-errno"]
COMPILE_ARGS = [] if sys.platform == "win32" else UNIX_ARGS
LINK_ARGS = ["-Wl,-s"] if sys.platform == "linux" else []


for _folder in ("export", "calibration"):
    if not (Path(__file__).parent / "r2p_edge" / _folder).is_dir():
        raise SystemExit(
            f"r2p_edge/{_folder} should be a link to the folder {_folder}, which this copy of the "
            "checkout has lost; clone it with git config core.symlinks true"
        )


class OptionalBuildExt(build_ext):
    """Goes on without an extension that cannot be compiled, unless it is required."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            if REQUIRE_EXTENSION:
                raise
            print(
                f"warning: {ext.name} could not be compiled; installing without it. "
                "Frames will be resized through OpenCV: pip install opencv-python-headless. "
                f"R2P_REQUIRE_EXT=1 makes this an error. The cause: {error}",
                file=sys.stderr,
            )


setup(
    # The same as none, but by it setuptools takes the layout for one that a path can stand for.
    package_dir={"": "."},
    packages=[
        *find_packages(include=["r2p_edge*"]),
        "r2p_edge.assets",
        "r2p_edge.assets.labels",
        "r2p_edge.page.assets",
    ],
    ext_modules=[
        Pybind11Extension(
            "r2p_edge.preprocess._frames",
            sorted(map(str, Path("cpp_ext").rglob("*.cpp"))),
            depends=sorted(map(str, Path("cpp_ext").rglob("*.h"))),
            cxx_std=17,
            extra_compile_args=COMPILE_ARGS,
            extra_link_args=LINK_ARGS,
            # An editable install copies what was built, and must not miss what was not.
            optional=not REQUIRE_EXTENSION,
        )
    ],
    cmdclass={"build_ext": OptionalBuildExt},
)
