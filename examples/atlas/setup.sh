#!/usr/bin/env bash
# Makes a Python environment with r2p_edge beside this script, on an Atlas board or card.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat << 'END'
usage: setup.sh --wheel FILE | --checkout DIR [--venv DIR] [--soc SOC] [--dry-run]

Finds the chip, CANN and what runs models (CANN's acl, MindSpore Lite or ais_bench), makes a virtual
environment that sees them, installs r2p_edge there, and runs `r2p-edge doctor`. Needs no root and
changes nothing of the system.

  --wheel FILE     the wheel of r2p_edge
  --checkout DIR   its source instead
  --venv DIR       the environment (default: venv beside this script)
  --soc SOC        the chip, where no card is, as in an image: Ascend310, Ascend310P3,
                   Ascend310B1, Ascend310B4 or another of these kinds
  --dry-run        print the commands and run none of them
END
}

package=
while [ $# -gt 0 ]; do
    case $1 in
        --wheel)
            need_value "$1" "${2:-}"
            [ -f "$2" ] || die "there is no wheel $2"
            package=$(realpath "$2")
            shift
            ;;
        --checkout)
            need_value "$1" "${2:-}"
            [ -f "$2/pyproject.toml" ] || die "$2 is not a checkout of r2p_edge"
            package=$(realpath "$2")
            shift
            ;;
        --venv | --soc)
            need_value "$1" "${2:-}"
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        --dry-run) dry_run=yes ;;
        --help)
            usage
            exit
            ;;
        *) die "there is no option $1; see --help" ;;
    esac
    shift
done
[ -n "$package" ] || die "give --wheel or --checkout; see --help"

python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    die "there is no python3; install Python 3.10 or newer"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "python3 is $python and" \
    "r2p_edge needs 3.10 or newer; ${CONDA_PREFIX:+type conda deactivate, or }put one first on the" \
    "PATH"
python3 -c 'import ensurepip' 2> /dev/null ||
    die "python3 cannot make environments; install its venv package (Ubuntu: python3-venv)"

given=$soc
find_soc
note "the chip is $soc ($target)"
[ -n "$given" ] || has_card || die "npu-smi shows a card and /dev has no davinci0; check the driver"
need_cann

if said=$(python3 -c 'import mindspore_lite; print(mindspore_lite.__version__)' 2>&1); then
    note "MindSpore Lite ${said##*$'\n'}"
elif python3 -c 'import acl; acl.mdl' 2> /dev/null; then
    note "MindSpore Lite is not here; CANN's acl is, so that .om files can run and .mindir cannot"
elif python3 -c 'import ais_bench.infer.interface' > /dev/null 2>&1; then
    note "MindSpore Lite is not here; ais_bench is, so that .om files can run and .mindir cannot"
elif ! has_card; then
    # As in an image under construction, or where models are built for a board: without the driver's
    # libraries nothing of CANN can be imported.
    note "there is no driver here, so that what runs models cannot be checked"
else
    die "python3 ($python) can import neither mindspore_lite (${said##*$'\n'}) nor acl, which" \
        "CANN's set_env.sh makes known, nor ais_bench; check that CANN supports this Python, or" \
        "install MindSpore Lite's cloud-side wheel for it (there is one for 3.9 to 3.11, and from" \
        "release 2.8 on for 3.12) from" \
        "https://www.mindspore.cn/lite/docs/en/master/use/downloads.html"
fi
if command -v atc > /dev/null; then
    (choose_python) > /dev/null 2>&1 || note "warning: $(about_python python3)"
fi
need_space "$venv"

extras='export,opencv'
# The system's OpenCV, which may have GStreamer, is not shadowed.
! python3 -c 'import cv2' 2> /dev/null || extras='export'
run python3 -m venv --system-site-packages "$venv"
# MindSpore Lite's wheels for Python 3.10 and CANN's compiler were built for NumPy 1. What lies in
# ~/.local does not count as installed: the service runs as another user.
run env PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install "numpy<2" "${package}[$extras]"
# A package of the same version counts as installed, though it may have been built anew.
run env PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install --no-deps --force-reinstall "$package"
run "$venv/bin/r2p-edge" doctor ||
    die "r2p-edge cannot run a model here; see what doctor says above"

for card in "$root"/dev/davinci[0-9]*; do
    [ ! -e "$card" ] || [ -w "$card" ] || note "this user may not use $card; join its group (sudo" \
        "usermod -aG HwHiAiUser $(id -un)) and log in again"
done
