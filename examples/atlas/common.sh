#!/usr/bin/env bash
# What the scripts of this folder have in common; they source it.

# The system's files are looked for under R2P_ROOT: for tests, and for images under construction.
root=${R2P_ROOT:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/venv
dry_run=
soc=

die() {
    printf '%s: error: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Shows a command as it could be typed, beside what the script prints unless this is a dry run.
show() {
    local line
    line=$(printf '%q ' "$@")
    if [ -n "$dry_run" ]; then echo "${line% }"; else echo "+ ${line% }" >&2; fi
}

# Shows a command, and runs it unless this is a dry run.
run() {
    show "$@"
    [ -n "$dry_run" ] || "$@"
}

# Makes sure that an option has a value: its name, and what follows it.
need_value() { [ -n "$2" ] || die "$1 needs a value; see --help"; }

need_venv() {
    [ -x "$venv/bin/r2p-edge" ] || die "there is no r2p-edge in $venv; run setup.sh, or name" \
        "the folder that it filled by --venv"
}

# Makes sure that a folder, which need not exist yet, has room for what is made there.
need_space() {
    local folder=$1 needed=1024 free
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(df -Pm "$folder" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$needed" ] || die "$folder has $free MiB left and $needed are needed; make" \
        "room there or choose another folder"
}

# Finds the chip: $soc, what ATC calls it ("Ascend" and the name that npu-smi shows), and $target,
# what r2p-edge calls it.
find_soc() {
    [ -n "$soc" ] || soc=$(soc_of_card)
    case $soc in
        Ascend310) target=ascend310 ;;
        Ascend310P3) target=ascend310p ;;
        Ascend310B1 | Ascend310B4) target=ascend310b ;;
        *) die "the chip is $soc; known here are Ascend310, Ascend310P3 (Atlas 300I Pro, 300V" \
            "Pro), Ascend310B1 and Ascend310B4 (Atlas 200I DK A2)" ;;
    esac
}

soc_of_card() {
    local table name
    command -v npu-smi > /dev/null || die "npu-smi is not here; install the driver of the card," \
        "or name the chip by --soc"
    table=$(npu-smi info 2>&1) || die "npu-smi sees no card ($(tail -n 1 <<< "$table")); check" \
        "the driver, and that this user is in the group HwHiAiUser, or name the chip by --soc"
    # The first card is the line below the first double one: | 0       310B4     | OK     | ...
    name=$(awk '/^\+=/ { getline; print $3; exit }' <<< "$table")
    [ -n "$name" ] || die "npu-smi lists no card; check that it is plugged in and its driver" \
        "loaded, or name the chip by --soc"
    echo "Ascend${name#Ascend}"
}

has_card() { compgen -G "$root/dev/davinci[0-9]*" > /dev/null; }

# Sources the environment of CANN, unless one is in use; fails where there is none. From 8.5 on its
# folder is cann, before ascend-toolkit; nnrt has only what runs models.
source_cann() {
    local package
    [ ! -d "${ASCEND_HOME_PATH:-}" ] || return 0 # which every set_env.sh sets
    for package in "$root"/usr/local/Ascend/{cann,ascend-toolkit,nnrt} \
        "${HOME:-}"/Ascend/{cann,ascend-toolkit,nnrt}; do
        if [ -f "$package/set_env.sh" ]; then
            show source "$package/set_env.sh"
            set +eu # it reads variables that may not be set
            # shellcheck source=/dev/null
            source "$package/set_env.sh"
            set -eu
            return
        fi
    done
    return 1
}

need_cann() {
    source_cann || die "CANN is not here: there is no set_env.sh in cann, ascend-toolkit or nnrt" \
        "under /usr/local/Ascend or ${HOME:-}/Ascend; install the toolkit for your driver"
}

# Where there are less than 8 GB of memory the compiler shall have one process, as Ascend's samples
# for the 200I DK A2 advise.
limit_compiler() {
    local memory
    memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' "$root/proc/meminfo")
    [ "$memory" -ge 8000 ] || run export TE_PARALLEL_COMPILER=1 MAX_COMPILE_CORE_NUMBER=1
}

# Makes sure that the converter is where the package looks for it; $1: the Python that runs it.
need_converter() {
    [ -z "${R2P_CONVERTER_LITE:-}" ] || return 0
    ! command -v converter_lite > /dev/null || return 0
    "$1" -c 'import mindspore_lite; mindspore_lite.Converter()' 2> /dev/null ||
        die "MindSpore Lite's converter is not here; install the cloud-side wheel for this" \
            "Python, or let R2P_CONVERTER_LITE name the converter_lite of its archive"
}

# An entry of a kit's description: its folder, and the name.
kit_says() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
        "$1/kit.json" "$2" 2> /dev/null || die "$1/kit.json cannot be read; copy the kit again"
}

# Sets $kit or $onnx to what a model, kit or bundle has for a device ("cpu" or a target).
find_model() {
    local given=$1 device=$2 found of
    kit='' onnx=''
    [ -e "$given" ] || die "there is no $given"
    if [ -f "$given/kit.json" ]; then
        of=$(kit_says "$given" device)
        [ "$of" = "$device" ] || die "the kit $given is for $of and not for $device; take the one" \
            "for $device, or export one (r2p-edge export --to)"
        kit=$given
        return
    elif [ ! -d "$given" ]; then
        onnx=$given
        return
    fi
    need_venv
    run "$venv/bin/r2p-edge" info "$given"
    for found in "$given"/*/kit.json; do
        [ -f "$found" ] || continue # nothing has such a name
        of=$(kit_says "${found%/*}" device)
        [ "$of" = "$device" ] || continue
        [ -z "$kit" ] || die "$given has several kits for $device; give one of them"
        kit=${found%/*}
    done
    [ -z "$kit" ] || return 0
    for found in "$given"/*-fp32*.onnx; do
        [ -f "$found" ] || continue
        [ -z "$onnx" ] || die "$given has several fp32 models; give one of them"
        onnx=$found
    done
    [ -n "$onnx" ] || die "$given has neither a kit for $device nor an fp32 ONNX file"
}

# Asks for something, also in a dry run; see steps.py.
ask() { "$venv/bin/python" "$here/steps.py" "$@"; }

# Writes the form of $onnx that the chip runs as $work/model.onnx, and sets $name, the artifact's:
# a 310B has no 3-D convolutions.
prepare_onnx() {
    local graph=conv3d suffix=
    name=$(ask name "$onnx" "$target")
    [ "$target" != ascend310b ] || graph=conv2d suffix=-conv2d
    run "$venv/bin/r2p-edge" export "$onnx" --to onnx --graph "$graph" --input float32 --batch 1 \
        --out "$work"
    # ATC's paths must not have blanks and the like.
    run mv "$work/$name-fp32$suffix.onnx" "$work/model.onnx"
    run "$venv/bin/python" "$here/steps.py" check "$work/model.onnx" "$target"
    name=$name-fp16$suffix-$target
}

# A folder in --out for what is not finished; it goes when the script ends.
make_work() {
    out=$(realpath -m "$out")
    need_space "$out"
    work=$out/.build
    [ -n "$dry_run" ] || trap 'rm -rf "$work"' EXIT
    run mkdir -p "$out"
    run rm -rf "$work"
    run mkdir "$work"
}
