#!/usr/bin/env bash
# Makes a Python environment with r2p_edge on a Jetson.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

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

venv='' package=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --venv) venv=$(value "$@"); shift 2 ;;
        --wheel)
            package=$(value "$@")
            shift 2
            [[ -f $package && $package == *.whl ]] || die "there is no wheel $package; check --wheel"
            ;;
        --checkout)
            package=$(value "$@")
            shift 2
            [[ -f $package/pyproject.toml ]] || die "$package is not a checkout of r2p_edge, which has" \
                "a pyproject.toml; check --checkout"
            ;;
        --dry-run) DRY_RUN=1; shift ;;
        --help) usage; exit ;;
        *) die "$1 is not an option; see $PROGRAM --help" ;;
    esac
done
[[ $venv && $package ]] || die "give --venv, and --wheel or --checkout; see $PROGRAM --help"

detect_board
detect_jetpack

# TensorRT and OpenCV are JetPack's and Ubuntu's packages for this Python alone.
python=$ROOT/usr/bin/python3
if [[ ! $DRY_RUN ]]; then
    [[ -x $python ]] || die "there is no $python; install Ubuntu's package python3"
    "$python" -c 'import ensurepip' 2>/dev/null ||
        die "$python cannot make environments; sudo apt-get install python3-venv"
fi
echo "# $BOARD, JetPack $JETPACK"
run "$python" -m venv --system-site-packages "$venv"
# The system's OpenCV was built for NumPy 1 and does not load with NumPy 2. JetPack 6 has NumPy 1.21,
# which is too old for r2p_edge, so that a newer one comes to lie in front of it; JetPack 7 has 1.26,
# which stays. The extra `opencv` would hide the OpenCV that has GStreamer. What lies in ~/.local
# does not count as installed: the service runs as another user.
pinned=()
case $JETPACK in
    6.*) pinned=(--constraint "$here/constraints-py3.10.txt") ;;
    7.*) pinned=(--constraint "$here/constraints-py3.12.txt") ;;
esac
run env PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install "${pinned[@]}" "numpy<2" \
    "$(realpath "$package")[export]"
# A wheel of the same version counts as installed, though it may have been built anew.
if [[ -f $package ]]; then
    run env PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install --no-deps --force-reinstall \
        "$(realpath "$package")"
fi
run "$venv/bin/python" "$here/check_system.py"
run "$venv/bin/r2p-edge" doctor
if [[ ! $DRY_RUN ]]; then
    echo "Done. Now: $(show . "$venv/bin/activate")"
fi
