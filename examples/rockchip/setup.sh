#!/usr/bin/env bash
# Makes a Python environment with r2p_edge on a board with a Rockchip chip.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"
# shellcheck source-path=SCRIPTDIR source=../shared/setup.sh
source "$shared/setup.sh"

usage() {
    cat <<END
Usage: $PROGRAM --venv DIR (--wheel FILE | --checkout DIR) [--dry-run]

Makes the Python environment DIR, in which the system's OpenCV is visible, installs r2p_edge and
RKNN-Toolkit-Lite2 there, and checks the NPU's driver, its library, and that everything works. Run it
again to repair or update the environment. Nothing of the system is changed, and no root is needed.

  --venv DIR      the environment to make
  --wheel FILE    r2p_edge as a wheel
  --checkout DIR  r2p_edge as its sources; a C++ compiler makes preprocessing fast
  --dry-run       print the commands and do nothing
END
}

read_setup_options "$@"

detect_chip
find_python
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    die "$python does not run; install the package python3"
case $version in
    3.10 | 3.11 | 3.12) ;;
    *) die "$python is $version and rknn-toolkit-lite2 2.5.0 has wheels for 3.10 to 3.12; take a system" \
        "with one of these, as Ubuntu 22.04, Debian 12 or Ubuntu 24.04" ;;
esac
echo "# ${CHIP^^}, Python $version"
# The OpenCV of these systems was built for NumPy 1 and does not load with NumPy 2. The extra `opencv`
# would hide it, and only the system's has GStreamer.
make_environment onnxruntime --constraint "$shared/constraints-py$version.txt" "numpy<2" \
    "rknn-toolkit-lite2==2.5.0"
check_environment "$here"
