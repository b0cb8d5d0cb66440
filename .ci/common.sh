# shellcheck shell=bash
# Sourced by .ci/run and .ci/full: clean clones, their Pythons, and the commands of the README.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
# shellcheck disable=SC2046 # a word for each job
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
original_path=$PATH
export R2P_TEST_DATA=${R2P_TEST_DATA:-$(dirname "$root")/shared/data}
export R2P_REQUIRE=data R2P_REQUIRE_EXT=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_QUIET=1
# pip's spelling of --no-compile: half of the time of an installation is compiling modules that no
# test imports.
export PIP_NO_COMPILE=0

# In the order of collection. xdist would start with the files of most tests, and the sweeps of faults,
# which are few and slow, would be left for one core at the end.
# shellcheck disable=SC2034 # used by what sources this
parallel=(-n 2 --dist loadfile --no-loadscope-reorder --durations=25)

say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

# Print the commands under a heading of the README, as they stand there.
readme_command() { # heading
    awk -v heading="## $1" '$0 == heading {on = 1} on && /^```/ {if (open) exit; open = 1; next} on && open' \
        "$root/README.md"
}

# Print the path of Python 3.N, on the PATH or among pyenv's, which are not on it.
python3_of() { # minor
    for candidate in "python3.$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$1".*/bin/python3; do
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then echo "$candidate"; return; fi
    done
    echo "Python 3.$1 with venv is not installed" >&2
    return 1
}

# Enter a folder that holds a clone alone, with a python3 of the wanted version first on the PATH.
fresh() { # name, python
    export PATH=$original_path
    mkdir -p "$work/$1/bin"
    git clone --quiet "$root" "$work/$1/r2p_edge"
    # Not a link: a virtual environment made through one looks for its library beside the link.
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$("$2" -c 'import sys; print(sys.executable)')" \
        >"$work/$1/bin/python3"
    chmod +x "$work/$1/bin/python3"
    enter "$1"
}

# Enter a folder that `fresh` made.
enter() { # name
    cd "$work/$1/r2p_edge"
    export PATH="$work/$1/bin:$original_path"
}

# Enter a new folder with other people's libraries, which answers are compared with, in its .venv. All
# have CPU builds for Python 3.11 wherever this runs.
fresh_oracles() { # name
    fresh "$1" "$(python3_of 11)"
    python3 -m venv .venv
    .venv/bin/pip install -e ".[dev,mqtt,yaml]" torch==2.13.0 mindspore==2.10.0 onnxscript pillow \
        matplotlib decord pyarrow
    .venv/bin/pip install --no-deps torchvision==0.28.0
    # A driver of browsers, and Prometheus' own reader, for the live page.
    .venv/bin/pip install playwright==1.65.2 prometheus-client
    # NVIDIA's parser and builder, which need no GPU: 90 MB, and 220 MB unpacked.
    .venv/bin/pip install tensorrt-rtx-cu12==1.7.1.116
    # The real Python modules of TensorRT, without its libraries; see tests/helpers/tensorrt_wheels.py.
    local wheel
    for wheel in tensorrt_bindings==8.6.1 tensorrt_cu12_bindings==10.3.0 \
        tensorrt_cu12_bindings==10.13.3.9 tensorrt_cu13_bindings==10.16.1.11 \
        tensorrt_cu13_bindings==11.4.0.106; do
        local version=${wheel#*==}
        case $version in 10.13.3.9|10.16.1.11) version=${version%.*} ;; 11.*) version=11.4 ;; esac
        .venv/bin/pip install --no-deps --target "$work/tensorrt/$version" "$wheel"
    done
    # The real MindSpore Lite 2.0, of which pip has a wheel for Python 3.7 alone; see
    # tests/helpers/real_mindspore_lite.
    "$(python3_of 7)" -m venv "$work/lite37"
    "$work/lite37/bin/pip" install "numpy<1.22" mindspore-lite==2.0.0
    # Triton's clients, whose bound on protobuf is below MindSpore's; with the newer one they work too.
    .venv/bin/pip install --no-deps tritonclient==2.73.0
    .venv/bin/pip install aiohttp geventhttpclient "greenlet<3.4" grpcio python-rapidjson
    fresh_triton
    enter_oracles "$1"
}

# Install the real Triton server into $work/triton, with what its Python backend runs here; see
# tests/helpers/triton_server.py. Its clients, which it would bring along, are in the oracles.
fresh_triton() {
    debian_packages libpython3.11
    "$(python3_of 11)" -m venv "$work/triton"
    "$work/triton/bin/pip" install --no-deps nvidia-pytriton==0.7.0
    # Said to be in conflict with the wheel, which lacks packages that the server itself does not need.
    "$work/triton/bin/pip" install "numpy<2" onnxruntime av
}

# Enter a folder that `fresh_oracles` made, also in the background.
enter_oracles() { # name
    enter "$1"
    export R2P_TENSORRT_BINDINGS=$work/tensorrt R2P_LITE_PYTHON=$work/lite37/bin/python
    export R2P_TRITON=$work/triton
}

# Install RKNN-Toolkit2 into $work/rknn, with a PyTorch for the CPU, of which it uses the version alone;
# and fetch the wheel of what runs on a board, for aarch64. Said to be in conflict: it asks for an older
# PyTorch, and takes this one.
fresh_rknn() {
    "$(python3_of 11)" -m venv "$work/rknn"
    "$work/rknn/bin/pip" install --no-deps rknn-toolkit2==2.5.0
    "$work/rknn/bin/pip" install torch==2.13.0 numpy==1.26.4 onnx==1.16.1 protobuf==4.25.4 \
        onnxruntime==1.19.2 "setuptools<81" scipy psutil ruamel.yaml tqdm fast-histogram \
        opencv-python-headless==4.11.0.86
    "$work/rknn/bin/pip" download --no-deps --only-binary=:all: --python-version 311 \
        --platform manylinux2014_aarch64 --dest "$work/rknn" rknn-toolkit-lite2==2.5.0
    export R2P_RKNN_PYTHON=$work/rknn/bin/python
    R2P_RKNN_LITE_WHEEL=$(echo "$work"/rknn/rknn_toolkit_lite2-*.whl)
    export R2P_RKNN_LITE_WHEEL
}

# Build the wheel and install it into $work/installed: where no runtime is there, doctor says so; then
# with what the demo needs, and a type checker.
fresh_wheel() {
    fresh wheel "$(python3_of 11)"
    python3 -m venv "$work/installed"
    local pip=$work/installed/bin/pip code=0
    "$pip" wheel --no-deps --wheel-dir "$work/dist" .
    "$pip" install "$work"/dist/*.whl
    "$work/installed/bin/r2p-edge" doctor >"$work/doctor.log" || code=$?
    test $code = 5
    grep -q "Not ready: no runtime runs a model here" "$work/doctor.log"
    "$pip" install "r2p_edge[demo] @ file://$(echo "$work"/dist/*.whl)" mypy
}

# Install GStreamer, an OpenCV that has it, and its RTSP server, which Debian has for the system's
# Python, and enter a clone with a .venv of that.
fresh_gstreamer() {
    debian_packages python3-venv python3-opencv python3-gi python3-gst-1.0 \
        gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools gstreamer1.0-python3-plugin-loader \
        gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
        gstreamer1.0-plugins-ugly mosquitto  # the broker of MQTT that events are told to
    fresh gstreamer /usr/bin/python3
    python3 -m venv --system-site-packages .venv
    # Not the extra opencv, whose OpenCV has no GStreamer; and Debian's was built for NumPy 1.
    .venv/bin/pip install -e ".[export,mqtt]" pytest "numpy<2"
}

# Install packages of Debian 12 that are not there yet.
debian_packages() { # name...
    local as_root=()
    if dpkg --status "$@" >/dev/null 2>&1; then return; fi
    if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
    for program in apt-get "${as_root[@]}"; do
        command -v "$program" >/dev/null ||
            { echo "$* are of Debian 12: there is no $program here" >&2; return 1; }
    done
    # One at a time, as some are installed in the background.
    (
        flock 9
        "${as_root[@]}" apt-get -qq update
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install -y --no-install-recommends "$@" >/dev/null
    ) 9>"$work/apt.lock"
}

# Install a Chromium for the live page's tests, unless R2P_CHROMIUM names one. Playwright's own download
# comes from no registry.
chromium_package() {
    if [ -z "${R2P_CHROMIUM:-}" ]; then debian_packages chromium-headless-shell; fi
}

# Make a root file system with the packages that Debian's smallest image has, from where apt has this
# machine's; as root, which chroot needs too.
bare_root() { # folder
    mkdir "$work/mmdebstrap"
    (cd "$work/mmdebstrap" && apt-get -qq -o APT::Sandbox::User=root download mmdebstrap)
    dpkg-deb -x "$work"/mmdebstrap/*.deb "$work/mmdebstrap"
    perl "$work/mmdebstrap/usr/bin/mmdebstrap" --quiet --mode=root --variant=minbase \
        --format=directory bookworm "$1"
}

# What is installed above, and the tools that some tests call, as values of R2P_REQUIRE.
# shellcheck disable=SC2034 # used by what sources this
gstreamer_required=data,gstreamer,gst_rtsp,gst_python,paho,mosquitto
all_required=data,onnxruntime,openvino,torch,torchvision,onnxscript,mindspore,cc,mypy
all_required+=,sanitizers,mindspore_lite_real,tensorrt_bindings,tensorrt_rtx,shellcheck,systemd-analyze,mkdocs,openssl,pyarrow
all_required+=,chromium,playwright,prometheus_client,tritonclient,triton,paho,yaml
