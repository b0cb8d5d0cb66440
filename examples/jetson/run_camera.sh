#!/usr/bin/env bash
# Names the action before a camera, with the board's own decoder and scaler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"
# shellcheck source-path=SCRIPTDIR source=../shared/camera.sh
source "$shared/camera.sh"

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

check_csi() {
    [[ $camera =~ ^[0-9]+$ ]] || die "--csi $camera is not a number such as 0"
}

read_camera_options "$@"

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

# The ways to read the camera, the board's own chips first.
sources=()

csi_sources() {
    if ! has nvarguscamerasrc || ! has nvvidconv; then
        die "GStreamer has no nvarguscamerasrc or nvvidconv here; sudo apt-get install" \
            "nvidia-l4t-gstreamer nvidia-l4t-camera"
    fi
    local first="nvarguscamerasrc sensor-id=$camera !"
    first+=" video/x-raw(memory:NVMM),width=$width,height=$height,framerate=$fps/1,format=NV12"
    # The scaler makes nothing sixteen times smaller; what it leaves, the CPU scales.
    sources=("$(for_opencv "$first ! $scale")" "$(for_opencv "$first ! ${scale%"$caps"}")")
}

usb_sources() {
    local first="v4l2src device=$camera io-mode=2 !"
    first+=" image/jpeg,width=$width,height=$height,framerate=$fps/1"
    if has nvvidconv; then
        # Thor's decoder takes no MJPEG (Jetson Linux API Reference 38.2, 00_video_decode). Which chip
        # it is cannot be seen in containers, from which Docker hides the device tree; there the CPU
        # decodes.
        if grep -qsa tegra234 "$ROOT/proc/device-tree/compatible" && has nvv4l2decoder; then
            sources+=("$(for_opencv "$first ! jpegparse ! nvv4l2decoder mjpeg=1 ! $scale")")
        fi
        sources+=("$(for_opencv "$first ! jpegdec ! $scale")")
    fi
    sources+=("$camera") # through OpenCV
}

rtsp_sources() {
    if has nvv4l2decoder && has nvvidconv; then
        local first="rtspsrc location=\"$camera\" protocols=tcp latency=200 !"
        first+=" rtp${codec}depay ! ${codec}parse ! nvv4l2decoder"
        sources+=("$(for_opencv "$first ! $scale")")
    fi
    sources+=("$camera") # through FFmpeg
}

case $kind in
    --csi) csi_sources ;;
    --usb) usb_sources ;;
    --rtsp) rtsp_sources ;;
esac
# NVIDIA's plug-ins come after TensorRT's libraries, and need room that glibc has set aside.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.rtld.optional_static_tls=2048}
start_camera "sudo /opt/nvidia/jetson-io/jetson-io.py" "${sources[@]}"
