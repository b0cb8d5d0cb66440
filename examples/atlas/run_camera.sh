#!/usr/bin/env bash
# Names the action that a camera sees: r2p-edge stream or watch, with CANN's environment.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat << 'END'
usage: run_camera.sh [--venv DIR] [--watch NAME] [--dry-run] MODEL SOURCE [OPTION OF r2p-edge stream]...

  MODEL        .om or .mindir, with its sidecar
  SOURCE       number of a USB camera (0 is /dev/video0), or an address (rtsp://camera/1)
  --venv DIR   what setup.sh filled (default: venv beside this script)
  --watch NAME run r2p-edge watch, in which the source has this name; its options, and more sources
               such as yard=rtsp://camera/2, follow SOURCE
  --dry-run    print the commands and run none of them
END
}

name=''
while [ $# -gt 0 ]; do
    case $1 in
        --venv)
            need_value "$1" "${2:-}"
            venv=$2
            shift
            ;;
        --watch)
            need_value "$1" "${2:-}"
            name=$2
            [[ $name =~ ^[[:alnum:]][[:alnum:]_.-]*$ ]] || die "--watch $name is not a name such as door"
            shift
            ;;
        --dry-run) dry_run=yes ;;
        --help)
            usage
            exit
            ;;
        -*) die "there is no option $1 before the model; see --help" ;;
        *) break ;;
    esac
    shift
done
[ $# -ge 2 ] || die "give a model and a source; see --help"
model=$1 camera=$2
shift 2
need_venv

built_for=$(ask chip "$model")
if [ -n "$built_for" ]; then
    has_card || die "$model is for an $built_for and there is no card here: /dev has no davinci0"
    need_cann
    soc=$(ask here)
    [ -n "$soc" ] || note "warning: neither CANN nor npu-smi tells which chip this is"
    [ "${soc:-$built_for}" = "$built_for" ] || die "$model is for an $built_for and this is an" \
        "$soc; build it here, or with --soc $soc"
else
    source_cann || true # a model for the CPU
fi
if [[ $camera =~ ^[0-9]+$ ]]; then
    [ -e "$root/dev/video$camera" ] || die "there is no camera $camera: /dev has no video$camera"
    [ -r "$root/dev/video$camera" ] || die "this user may not read /dev/video$camera; join its" \
        "group (sudo usermod -aG video $(id -un)) and log in again, or start a container with" \
        "--group-add $(stat -c %g "$root/dev/video$camera")"
fi
if [ -n "$name" ]; then
    run exec "$venv/bin/r2p-edge" watch "$model" "$name=$camera" "$@"
else
    run exec "$venv/bin/r2p-edge" stream "$model" "$camera" "$@"
fi
