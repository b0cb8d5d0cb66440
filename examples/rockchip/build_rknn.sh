#!/usr/bin/env bash
# Builds a .rknn file on a PC, with RKNN-Toolkit2 in an environment of its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

usage() {
    cat <<END
Usage: $PROGRAM MODEL --chip CHIP --out DIR [--toolkit DIR] [--int8 VIDEOS [--split LIST]] [--dry-run]
       $PROGRAM KIT --out DIR [--toolkit DIR] [--dry-run]

Builds a model for the NPU of a board, checks it on Rockchip's simulator, and writes it to --out. It
is for a PC with Linux, x86-64 and Python 3.11; the board only runs the file.

  MODEL          what r2p-edge export takes: a name such as motion, weights, or an ONNX file of
                 --input float32
  KIT            what r2p-edge export --to rknn left where there was no toolkit; it is built as it
                 was exported
  --chip CHIP    ${CHIPS[*]}: the board's
  --out DIR      folder for the .rknn file and what belongs to it, made where there is none
  --toolkit DIR  environment with RKNN-Toolkit2 (default: the one whose Python R2P_RKNN_PYTHON names,
                 else ~/rknn); where there is none it is made, of 1.5 GB
  --int8 VIDEOS  INT8, calibrated on these videos, in one folder per class
  --split LIST   their train list
  --dry-run      print the commands and do nothing
END
}

# RKNN-Toolkit2 asks for a PyTorch with CUDA, of which it uses nothing but the version, and for more
# that it never imports. docs/runtimes/rknn.md has the same lines.
TOOLKIT=rknn-toolkit2==2.5.0
TORCH=torch==2.13.0
TORCH_INDEX=https://download.pytorch.org/whl/cpu
REST=(numpy==1.26.4 onnx==1.16.1 protobuf==4.25.4 onnxruntime==1.19.2 "setuptools<81" scipy psutil
    ruamel.yaml tqdm fast-histogram opencv-python-headless==4.11.0.86)

source='' chip='' out='' toolkit='' int8='' split=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --chip)
            chip=$(value "$@")
            shift 2
            check_chip "$chip"
            ;;
        --out) out=$(value "$@"); shift 2 ;;
        --toolkit) toolkit=$(value "$@"); shift 2 ;;
        --int8)
            int8=$(value "$@")
            shift 2
            [[ -d $int8 ]] || die "there is no folder $int8; check --int8"
            ;;
        --split)
            split=$(value "$@")
            shift 2
            [[ -f $split ]] || die "there is no list $split; check --split"
            ;;
        --dry-run) DRY_RUN=1; shift ;;
        --help) usage; exit ;;
        -*) die "$1 is not an option; see $PROGRAM --help" ;;
        *)
            [[ ! $source ]] || die "$source and $1 are two models; give one"
            source=$1
            shift
            ;;
    esac
done
[[ $source && $out ]] || die "give a model or kit, and --out; see $PROGRAM --help"
if [[ -f $source/kit.json ]]; then
    [[ -z $chip$int8 ]] || die "$source is a kit, which has the chip and the precision that it was" \
        "exported with; leave out --chip and --int8"
else
    [[ $chip ]] || die "give the board's chip with --chip: ${CHIPS[*]}"
    need r2p-edge "make an environment with pip install -e '.[export]' in the checkout and activate it"
fi
[[ -z $split || $int8 ]] || die "--split is the list of --int8; give the videos too"

# Sets $python, which has the toolkit, and makes its environment where there is none.
find_toolkit() {
    python=${R2P_RKNN_PYTHON:-}
    [[ -z $toolkit && $python ]] || python=$(realpath -m "${toolkit:-$HOME/rknn}")/bin/python
    if [[ -x $(command -v "$python") ]] &&
        "$python" -c 'from importlib.metadata import version; version("rknn-toolkit2")' 2>/dev/null; then
        return
    fi
    [[ -z ${R2P_RKNN_PYTHON:-} || $toolkit ]] || die "R2P_RKNN_PYTHON is $python, which has no" \
        "RKNN-Toolkit2; correct it, or name a folder to make with --toolkit"
    need python3.11 "RKNN-Toolkit2 2.5.0 is installed there; sudo apt-get install python3.11 python3.11-venv"
    local folder=${python%/bin/python}
    run python3.11 -m venv "$folder"
    run "$python" -m pip install --no-deps "$TOOLKIT"
    run "$python" -m pip install "$TORCH" --index-url "$TORCH_INDEX"
    run "$python" -m pip install "${REST[@]}"
}

find_toolkit
run export "R2P_RKNN_PYTHON=$python"
if [[ -f $source/kit.json ]]; then
    out=$(realpath -m "$out")
    # A kit builds beside itself, and may lie where nothing can be written.
    work=$out/.build
    [[ $DRY_RUN ]] || trap 'rm -rf "$work"' EXIT
    run mkdir -p "$out"
    run rm -rf "$work"
    run cp -R "$source" "$work"
    # The toolkit's Python has NumPy, of which the system's may have none.
    run "$python" "$work/build.py"
    run "$python" "$here/take_out.py" "$work" "$out"
else
    command=(r2p-edge export "$source" --to rknn --chip "$chip" --strict --out "$out")
    if [[ $int8 ]]; then command+=(--precision int8 --videos "$int8"); fi
    if [[ $split ]]; then command+=(--split "$split"); fi
    run "${command[@]}"
fi
