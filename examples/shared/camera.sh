# shellcheck shell=bash
# What the boards' run_camera.sh share: their options, and the choice of a way to read the camera.

# Reads the options into $model, $kind and $camera, $size, $fps, $codec, $name and $further, those
# that follow `--`. A board's own check of the camera behind --csi is its function `check_csi`.
read_camera_options() {
    model='' kind='' camera='' size='' fps=30 codec=h264 name='' further=()
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
    further=("$@")
    [[ $model && $kind ]] || die "give a model, and --csi, --usb or --rtsp; see $PROGRAM --help"
    [[ -z $size || $size =~ ^[1-9][0-9]*x[1-9][0-9]*$ ]] || die "--size $size is not a size such as 1280x720"
    [[ $fps =~ ^[1-9][0-9]*$ ]] || die "--fps $fps is not a whole number such as 30"
    [[ $codec == h26[45] ]] || die "--codec $codec is not known; expected h264 or h265"
    case $kind in
        --csi) check_csi ;;
        --usb) check_device ;;
        --rtsp)
            [[ $camera =~ ^rtsps?://[^\"\\[:space:]]+$ ]] || die "--rtsp $camera is not an address such as" \
                "rtsp://192.168.0.9/stream; write spaces, quotes and backslashes in it as %20, %22, %5C"
            ;;
    esac
    need r2p-edge "make an environment with setup.sh and activate it (. VENV/bin/activate)"
    need gst-inspect-1.0 "sudo apt-get install gstreamer1.0-tools"
    if [[ $kind != --rtsp ]]; then size=${size:-1280x720}; fi
}

# Makes sure that $camera is a device that this user may read.
check_device() {
    [[ $camera == /dev/* ]] || die "$kind $camera is not a device such as /dev/video0"
    [[ $DRY_RUN || -e $ROOT$camera ]] || die "there is no camera $camera; see ls /dev/video*"
    [[ $DRY_RUN || -r $ROOT$camera ]] || die "this user may not read $camera; join its group" \
        "(sudo usermod -aG video $(id -un)) and log in again, or start a container with" \
        "--group-add $(stat -c %g "$ROOT$camera")"
}

# Seconds that a camera's first frame may take; less in tests.
PATIENCE=${R2P_PATIENCE:-20}
R2P_CREDENTIALS=${R2P_CREDENTIALS:-}

# Prints a pipeline with the end that OpenCV reads.
for_opencv() {
    printf '%s ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false' "$1"
}

has() { gst-inspect-1.0 --exists "$1"; }

# Whether a frame comes through a pipeline; else says why not. Elements that are there need not work,
# and a pipeline without a camera may end as one does that is through.
gives_a_frame() {
    local words said why code=0
    read -ra words <<<"${1%appsink*}fakesink num-buffers=1 sync=false silent=false"
    # On SIGINT it closes the camera; a daemon may not give one back that a killed process had.
    said=$(timeout --signal=INT --kill-after=5 "$PATIENCE" gst-launch-1.0 -v "${words[@]}" 2>&1) ||
        code=$?
    # What fakesink tells of each frame.
    [[ $code -ne 0 || $said != *'last-message = chain '* ]] || return 0
    why=$(grep -m1 -oE '^(ERROR|WARNING): .*|No cameras available' <<<"$said") ||
        case $code in
            0) why="it ended without one" ;;
            124 | 137) why="none in $PATIENCE s" ;; # of timeout
            *) why="gst-launch-1.0 ended with exit code $code" ;;
        esac
    echo "$PROGRAM: warning: no frame comes through '$1' ($why)" | hidden >&2
    return 1
}

# Becomes r2p-edge with the first of the sources that gives a frame. A source is a pipeline, or,
# without " ! ", what the CPU reads alone, which is not tried.
#
#     start_camera ADVICE SOURCE...
#
# ADVICE says how a camera that gives none is set up.
start_camera() {
    local advice=$1 source='' each
    shift
    for each; do
        if [[ $DRY_RUN || $each != *" ! "* || $kind$R2P_CREDENTIALS == --rtsp?* ]] ||
            gives_a_frame "$each"; then
            source=$each
            break
        fi
    done
    [[ $source ]] || die "camera $camera gives no frame; it may be in use, lack this --size and --fps, or" \
        "not be set up ($advice)"
    if [[ ! $DRY_RUN && $source != *" ! "* ]]; then
        echo "$PROGRAM: no decoder or scaler of the board works here; the CPU does it" >&2
    fi
    # This process becomes r2p-edge, whom systemd listens to.
    local command=(r2p-edge stream "$model" "$source" "${further[@]}")
    if [[ $name ]]; then command=(r2p-edge watch "$model" "$name=$source" "${further[@]}"); fi
    if [[ $DRY_RUN ]]; then
        show "${command[@]}"
    else
        printf '+ %s\n' "$(show "${command[@]}")" >&2
        exec "${command[@]}"
    fi
}
