#!/usr/bin/env bash
# Makes a Python environment with r2p_edge on a Jetson.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"
# shellcheck source-path=SCRIPTDIR source=../shared/setup.sh
source "$shared/setup.sh"

usage() {
    cat <<END
Usage: $PROGRAM --venv DIR (--wheel FILE | --checkout DIR) [--dry-run]

Makes the Python environment DIR, in which the system's TensorRT and OpenCV are visible, installs
r2p_edge there, and checks that everything works. Run it again to repair or update the environment.
Nothing of the system is changed, and no root is needed.

  --venv DIR      the environment to make
  --wheel FILE    r2p_edge as a wheel
  --checkout DIR  r2p_edge as its sources; a C++ compiler makes preprocessing fast
  --dry-run       print the commands and do nothing
END
}

read_setup_options "$@"

detect_board
detect_jetpack

# TensorRT and OpenCV are JetPack's and Ubuntu's packages for this Python alone.
find_python
echo "# $BOARD, JetPack $JETPACK"
# The system's OpenCV was built for NumPy 1 and does not load with NumPy 2. JetPack 6 has NumPy 1.21,
# which is too old for r2p_edge, so that a newer one comes to lie in front of it; JetPack 7 has 1.26,
# which stays. The extra `opencv` would hide the OpenCV that has GStreamer.
pinned=()
case $JETPACK in
    6.*) pinned=(--constraint "$shared/constraints-py3.10.txt") ;;
    7.*) pinned=(--constraint "$shared/constraints-py3.12.txt") ;;
esac
make_environment export "${pinned[@]}" "numpy<2"
check_environment "$here"
