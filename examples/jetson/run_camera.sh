#!/usr/bin/env bash
# Names the action before a camera, with the board's own decoder and scaler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

usage() {
    cat <<END
Usage: $PROGRAM MODEL (--csi N | --usb DEVICE | --rtsp URL) [--size WxH] [--fps N]
           [--codec h264|h265] [--watch NAME] [--dry-run] [-- OPTION...]

Runs r2p-edge stream on a camera, or r2p-edge watch.

  --csi N         camera N on the board's ribbon connector
  --usb DEVICE    camera with MJPEG, such as /dev/video0
  --rtsp URL      camera on the network
  --size WxH      picture of the camera (default 1280x720). With --rtsp it is the picture that
                  comes, and without it scaling is left to the CPU.
  --fps N         pictures a second of --csi and --usb (default 30)
  --codec NAME    of --rtsp, h264 (default) or h265
  --watch NAME    run r2p-edge watch, in which the camera has this name
  --dry-run       print the command and do nothing
  -- OPTION...    for r2p-edge stream or watch, such as --json, --notify or --min-score 0.6; for
                  watch also more cameras, such as yard=rtsp://192.168.0.9/stream

With R2P_CREDENTIALS=USER:PASSWORD the address of --rtsp needs none; its pipeline is then not tried
before it is taken, since others could read the password meanwhile.
END
}

model='' kind='' camera='' size='' fps=30 codec=h264 name=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --csi | --usb | --rtsp)
            [[ ! $kind ]] || die "$kind and $1 are two cameras; start $PROGRAM once for each"
            kind=$1
            camera=$(value "$@")
            shift 2
            ;;
        --size) size=$(value "$@"); shift 2 ;;
        --fps) fps=$(value "$@"); shift 2 ;;
        --codec) codec=$(value "$@"); shift 2 ;;
        --watch)
            name=$(value "$@")
            [[ $name =~ ^[[:alnum:]][[:alnum:]_.-]*$ ]] || die "--watch $name is not a name such as door"
            shift 2
            ;;
        --dry-run) DRY_RUN=1; shift ;;
        --help) usage; exit ;;
        --) shift; break ;;
        -*) die "$1 is not an option; see $PROGRAM --help, and -- before those of r2p-edge stream" ;;
        *)
            [[ ! $model ]] || die "$model and $1 are two models; give one"
            model=$1
            shift
            ;;
    esac
done
[[ $model && $kind ]] || die "give a model, and --csi, --usb or --rtsp; see $PROGRAM --help"
[[ -z $size || $size =~ ^[1-9][0-9]*x[1-9][0-9]*$ ]] || die "--size $size is not a size such as 1280x720"
[[ $fps =~ ^[1-9][0-9]*$ ]] || die "--fps $fps is not a whole number such as 30"
[[ $codec == h26[45] ]] || die "--codec $codec is not known; expected h264 or h265"
case $kind in
    --csi) [[ $camera =~ ^[0-9]+$ ]] || die "--csi $camera is not a number such as 0" ;;
    --usb)
        [[ $camera == /dev/* ]] || die "--usb $camera is not a device such as /dev/video0"
        [[ $DRY_RUN || -e $ROOT$camera ]] || die "there is no camera $camera; see ls /dev/video*"
        [[ $DRY_RUN || -r $ROOT$camera ]] || die "this user may not read $camera; join its group" \
            "(sudo usermod -aG video $(id -un)) and log in again, or start a container with" \
            "--group-add $(stat -c %g "$ROOT$camera")"
        ;;
    --rtsp)
        [[ $camera =~ ^rtsps?://[^\"\\[:space:]]+$ ]] || die "--rtsp $camera is not an address such as" \
            "rtsp://192.168.0.9/stream; write spaces, quotes and backslashes in it as %20, %22, %5C"
        ;;
esac
need r2p-edge "make an environment with setup.sh and activate it (. VENV/bin/activate)"
need gst-inspect-1.0 "sudo apt-get install gstreamer1.0-tools"
if [[ $kind != --rtsp ]]; then size=${size:-1280x720}; fi

# Seconds that a camera's first frame may take; less in tests.
PATIENCE=${R2P_PATIENCE:-20}
R2P_CREDENTIALS=${R2P_CREDENTIALS:-}

has() { gst-inspect-1.0 --exists "$1"; }

# Caps of the picture that the model wants, before its crop: even, as the chips
# want it, and no larger than the camera's. What is then left to scale is one pixel or none.
wanted() {
    local facts
    facts=$(r2p-edge info --json "$model") || exit
    python3 -c '
import json, sys
resize = json.loads(sys.argv[1])["spec"]["resize"]
camera = [int(side) for side in sys.argv[2].split("x")]
if resize["mode"] == "stretch":
    sides = resize["width"], resize["height"]
else:
    sides = [resize["size"] * side // min(camera) for side in camera]
width, height = [min(side + side % 2, most) for side, most in zip(sides, camera)]
print(f",width={width},height={height}")' "$facts" "$size"
}

caps=''
if [[ $size ]]; then caps=$(wanted); fi
width=${size%x*} height=${size#*x}
# By default nvvidconv takes the nearest pixel; models are trained on bilinear ones.
scale="nvvidconv interpolation-method=1 ! video/x-raw,format=BGRx$caps"
end="videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"

# The ways to read the camera, the board's own chips first; what has no " ! " is the CPU's alone.
sources=()

csi_sources() {
    if ! has nvarguscamerasrc || ! has nvvidconv; then
        die "GStreamer has no nvarguscamerasrc or nvvidconv here; sudo apt-get install" \
            "nvidia-l4t-gstreamer nvidia-l4t-camera"
    fi
    local first="nvarguscamerasrc sensor-id=$camera !"
    first+=" video/x-raw(memory:NVMM),width=$width,height=$height,framerate=$fps/1,format=NV12"
    # The scaler makes nothing sixteen times smaller; what it leaves, the CPU scales.
    sources=("$first ! $scale ! $end" "$first ! ${scale%"$caps"} ! $end")
}

usb_sources() {
    local first="v4l2src device=$camera io-mode=2 !"
    first+=" image/jpeg,width=$width,height=$height,framerate=$fps/1"
    if has nvvidconv; then
        # Thor's decoder takes no MJPEG (Jetson Linux API Reference 38.2, 00_video_decode). Which chip
        # it is cannot be seen in containers, from which Docker hides the device tree; there the CPU
        # decodes.
        if grep -qsa tegra234 "$ROOT/proc/device-tree/compatible" && has nvv4l2decoder; then
            sources+=("$first ! jpegparse ! nvv4l2decoder mjpeg=1 ! $scale ! $end")
        fi
        sources+=("$first ! jpegdec ! $scale ! $end")
    fi
    sources+=("$camera") # through OpenCV
}

rtsp_sources() {
    if has nvv4l2decoder && has nvvidconv; then
        local first="rtspsrc location=\"$camera\" protocols=tcp latency=200 !"
        first+=" rtp${codec}depay ! ${codec}parse ! nvv4l2decoder"
        sources+=("$first ! $scale ! $end")
    fi
    sources+=("$camera") # through FFmpeg
}

# Whether a frame comes through a pipeline; else says why not. Elements that are there need not work,
# and where Argus has no camera a pipeline ends as one does that is through.
gives_a_frame() {
    local words said why code=0
    read -ra words <<<"${1%appsink*}fakesink num-buffers=1 sync=false silent=false"
    # On SIGINT it closes the camera; Argus may not give one back that a killed process had.
    said=$(timeout --signal=INT --kill-after=5 "$PATIENCE" gst-launch-1.0 -v "${words[@]}" 2>&1) ||
        code=$?
    # What fakesink tells of each frame.
    [[ $code -ne 0 || $said != *'last-message = chain '* ]] || return 0
    why=$(grep -m1 -oE '^(ERROR|WARNING): .*|No cameras available' <<<"$said") ||
        if [[ $code -eq 0 ]]; then why="it ended without one"; else why="none in $PATIENCE s"; fi
    echo "$PROGRAM: warning: no frame comes through '$1' ($why)" | hidden >&2
    return 1
}

case $kind in
    --csi) csi_sources ;;
    --usb) usb_sources ;;
    --rtsp) rtsp_sources ;;
esac
source=
for each in "${sources[@]}"; do
    if [[ $DRY_RUN || $each != *" ! "* || $kind$R2P_CREDENTIALS == --rtsp?* ]] ||
        gives_a_frame "$each"; then
        source=$each
        break
    fi
done
[[ $source ]] || die "camera $camera gives no frame; it may be in use, lack this --size and --fps, or not" \
    "be set up (sudo /opt/nvidia/jetson-io/jetson-io.py)"
if [[ ! $DRY_RUN && $source != *" ! "* ]]; then
    echo "$PROGRAM: no decoder or scaler of the board works here; the CPU does it" >&2
fi
# NVIDIA's plug-ins come after TensorRT's libraries, and need room that glibc has set aside.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.rtld.optional_static_tls=2048}
# This process becomes r2p-edge, whom systemd listens to.
command=(r2p-edge stream "$model" "$source" "$@")
if [[ $name ]]; then command=(r2p-edge watch "$model" "$name=$source" "$@"); fi
if [[ $DRY_RUN ]]; then
    show "${command[@]}"
else
    printf '+ %s\n' "$(show "${command[@]}")" >&2
    exec "${command[@]}"
fi
