#!/usr/bin/env bash
# Names the action before a camera, with the board's own decoder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"
# shellcheck source-path=SCRIPTDIR source=../shared/camera.sh
source "$shared/camera.sh"

usage() {
    cat <<END
Usage: $PROGRAM MODEL (--usb DEVICE | --csi DEVICE | --rtsp URL) [--size WxH] [--fps N]
           [--codec h264|h265] [--watch NAME] [--dry-run] [-- OPTION...]

Runs r2p-edge stream on a camera, or r2p-edge watch.

  --usb DEVICE    camera with MJPEG, such as /dev/video0
  --csi DEVICE    camera on the board's ribbon connector: the video device of the chip's image
                  processor that gives NV12, such as /dev/video11
  --rtsp URL      camera on the network
  --size WxH      picture of --usb and --csi (default 1280x720)
  --fps N         pictures a second of --usb and --csi (default 30)
  --codec NAME    of --rtsp, h264 (default) or h265
  --watch NAME    run r2p-edge watch, in which the camera has this name
  --dry-run       print the command and do nothing
  -- OPTION...    for r2p-edge stream or watch, such as --json, --notify or --min-score 0.6; for
                  watch also more cameras, such as yard=rtsp://192.168.0.9/stream

With R2P_CREDENTIALS=USER:PASSWORD the address of --rtsp needs none; its pipeline is then not tried
before it is taken, since others could read the password meanwhile.
END
}

check_csi() { check_device; }

read_camera_options "$@"

# The decoders are those of Rockchip's plug-in for GStreamer, gstreamer-rockchip: mppvideodec takes
# H.264 and H.265 that are parsed, mppjpegdec parsed JPEG. Both give NV12, whose colours the CPU
# converts, by the matrix that the stream names.
sources=()
case $kind in
    --usb)
        if has mppjpegdec; then
            first="v4l2src device=$camera !"
            first+=" image/jpeg,width=${size%x*},height=${size#*x},framerate=$fps/1"
            sources+=("$(for_opencv "$first ! jpegparse ! mppjpegdec")")
        fi
        sources+=("$camera") # through OpenCV
        ;;
    --csi)
        # OpenCV itself does not read the devices of the image processor, which have several planes.
        first="v4l2src device=$camera !"
        first+=" video/x-raw,format=NV12,width=${size%x*},height=${size#*x},framerate=$fps/1"
        sources+=("$(for_opencv "$first")")
        ;;
    --rtsp)
        if has mppvideodec; then
            first="rtspsrc location=\"$camera\" protocols=tcp latency=200 !"
            first+=" rtp${codec}depay ! ${codec}parse ! mppvideodec"
            sources+=("$(for_opencv "$first")")
        fi
        sources+=("$camera") # through FFmpeg
        ;;
esac
start_camera "v4l2-ctl --list-devices shows which device is which" "${sources[@]}"
