#!/usr/bin/env bash
# What the scripts of this folder have in common; they source it.

# The system's files are looked for under R2P_ROOT: for tests, and for images under construction.
root=${R2P_ROOT:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/venv
dry_run=
soc=

# Copies lines with *** for passwords in addresses and pipelines: systemd keeps what is printed. It
# hides rather too much; r2p-edge itself has r2p_edge/addresses.py for its own output.
hidden() {
    sed -E -e 's#(://)[^[:space:]/@:]*(:|%3A)[^[:space:]]*@#\1***@#Ig' \
        -e 's#(://)[^[:space:]/@:?]+@#\1***@#Ig' \
        -e "/:\/\//s#((user|usr|pass?|pwd?|token|key|secret|auth|sig)[a-z_-]*=)[^&[:space:]\"']*#\\1***#Ig"
}

die() {
    printf '%s: error: %s\n' "${0##*/}" "$*" | hidden >&2
    exit 1
}

note() { printf '%s: %s\n' "${0##*/}" "$*" | hidden >&2; }

# Shows a command as it could be typed, beside what the script prints unless this is a dry run.
show() {
    local line
    line=$(printf '%q ' "$@" | hidden)
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
        Ascend310P*) target=ascend310p ;;
        Ascend310B*) target=ascend310b ;;
        *) die "the chip is $soc; known here are Ascend310, Ascend310P3 (Atlas 300I Pro, 300V" \
            "Pro), Ascend310B1 and Ascend310B4 (Atlas 200I DK A2, Orange Pi AIpro)" ;;
    esac
    case $soc in
        Ascend310 | Ascend310P3 | Ascend310B[14]) ;;
        *) note "warning: $soc is not among the chips that these scripts were written for; it is" \
            "taken for one of $target" ;;
    esac
}

# The chip of which the package makes a model for $target, if it is not told another.
usual_soc() {
    case $target in
        ascend310) echo Ascend310 ;;
        ascend310p) echo Ascend310P3 ;;
        ascend310b) echo Ascend310B4 ;;
    esac
}

soc_of_card() {
    local table name smi
    smi=$(command -v npu-smi) || smi=$root/usr/local/sbin/npu-smi
    if [ ! -x "$smi" ]; then
        # CANN tells the chip, too.
        source_cann > /dev/null 2>&1 || true
        name=$(python3 -c 'import acl; print(acl.get_soc_name() or "")' 2> /dev/null) || name=
        [ -n "$name" ] || die "npu-smi is not here; install the driver of the card, or name the" \
            "chip by --soc"
        echo "$name"
        return
    fi
    table=$("$smi" info 2>&1) || die "npu-smi sees no card ($(tail -n 1 <<< "$table")); check" \
        "the driver, and that this user is in the group HwHiAiUser, or name the chip by --soc"
    # The first card is the line below the first double one: | 0       310B4     | OK     | ...
    name=$(awk '/^\+=/ { getline; print $3; exit }' <<< "$table")
    [ -n "$name" ] || die "npu-smi lists no card; check that it is plugged in and its driver" \
        "loaded, or name the chip by --soc"
    echo "Ascend${name#Ascend}"
}

has_card() { compgen -G "$root/dev/davinci[0-9]*" > /dev/null; }

# Finds the folders of $1, a list with colons, in which there is a file $2; fails if there is none.
folders_with() {
    local folder found=1
    while IFS= read -rd: folder; do
        if [ -n "$folder" ] && [ -e "$folder/$2" ]; then echo "$folder" && found=0; fi
    done <<< "$1:"
    return "$found"
}

# Whether an environment of CANN is in use. A variable alone, as .bashrc may export it, is none.
uses_cann() {
    [ -d "${ASCEND_HOME_PATH:-}" ] || return 1
    command -v atc > /dev/null || folders_with "${LD_LIBRARY_PATH:-}" libascendcl.so > /dev/null
}

# Sources the environment of CANN, unless one is in use; fails where there is none. From 8.5 on its
# folder is cann, before ascend-toolkit; nnrt has only what runs models.
source_cann() {
    local package home=${ASCEND_HOME_PATH:-}
    ! uses_cann || return 0
    for package in ${home:+"$home" "$home/.."} \
        "$root"/usr/local/Ascend/{cann,ascend-toolkit,nnrt} \
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
    note "CANN $(cann_version) in $ASCEND_HOME_PATH"
    local others
    others=$(cd "$root/usr/local/Ascend" 2> /dev/null && ls -d cann ascend-toolkit 2> /dev/null) ||
        return 0
    [ "$(wc -l <<< "$others")" = 1 ] || note "warning: there are several, $(xargs <<< "$others")" \
        "under /usr/local/Ascend; for another, source its set_env.sh before"
}

# The version that the files of CANN's installer tell, or "of unknown version".
cann_version() {
    local file
    for file in "$ASCEND_HOME_PATH"/*-linux/ascend_{toolkit,nnrt,nnae}_install.info \
        "$ASCEND_HOME_PATH"/{,compiler/,runtime/}version.info; do
        [ -f "$file" ] || continue
        sed -n 's/^[Vv]ersion=//p' "$file" | head -n 1 | grep . && return
    done
    echo 'of unknown version'
}

# Makes sure that the compiler finds the chip's operators, from 8.5 on a package of their own, and,
# where there is no driver, its libraries.
need_compiler() {
    local version devlib
    version=$(cann_version)
    if [[ $version =~ ^([0-9]+)\.([0-9]+) ]] && ((BASH_REMATCH[1] * 100 + BASH_REMATCH[2] >= 805)) &&
        [ -z "$(find -L "$ASCEND_HOME_PATH/opp" -maxdepth 7 -name "$target" -print -quit \
            2> /dev/null)" ]; then
        [ "$target" != ascend310 ] || die "CANN $version has no operators for a $soc, which it" \
            "does not support; install CANN 8.2 or older"
        die "CANN $version has no operators for a $soc: there is no $target in" \
            "$ASCEND_HOME_PATH/opp; from 8.5 on they are a package beside the toolkit, so install" \
            "Ascend-cann-${target#ascend}-ops of this version"
    fi
    if ! has_card; then
        for devlib in "$ASCEND_HOME_PATH"/{"$(uname -m)-linux/",}devlib; do
            [ -d "$devlib" ] || continue
            run export "LD_LIBRARY_PATH=$devlib:${LD_LIBRARY_PATH:-}"
            break
        done
    fi
}

# What CANN's compiler imports, and the line that installs it (CANN 8.5, instg_0094 and instg_0045;
# NumPy of CANN 8.0 and older: at most 1.24).
cann_modules=(attr numpy decorator sympy cffi yaml pathlib2 psutil google.protobuf scipy requests absl)
cann_packages='attrs cython "numpy>=1.19.2,<1.25;python_version<'"'3.12'"'" '
cann_packages+='"numpy<2;python_version>='"'3.12'"'" decorator sympy cffi pyyaml pathlib2 psutil '
cann_packages+='protobuf==3.20.0 scipy requests absl-py'

# Prints what of it a Python cannot import.
lacks_of() {
    "$1" -c '
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        print(name)' "${cann_modules[@]}" 2> /dev/null || echo python3
}

# Puts a python3 that CANN's compiler can use first on the PATH, which is the one that it takes. An
# environment of r2p-edge is none: its protobuf is newer. The factory image of the 200I DK A2 has
# the packages in conda's Python alone.
choose_python() {
    local folder kept='' candidate lacking first
    while IFS= read -rd: folder; do
        [ -f "$folder/../pyvenv.cfg" ] || kept+=:$folder
    done <<< "$PATH:"
    PATH=${kept#:}
    first=$(command -v python3) || die "there is no python3; CANN's compiler runs one"
    for candidate in "$first" "$root"/usr/local/miniconda3/bin/python3 \
        "${HOME:-}"/miniconda3/bin/python3; do
        if [ -x "$candidate" ] && [ -z "$(lacks_of "$candidate")" ]; then
            [ "$candidate" = "$first" ] || run export "PATH=${candidate%/*}:$PATH"
            return
        fi
    done
    die "$(about_python "$first")"
}

# Says what a Python lacks for CANN's compiler, and the line that installs it.
about_python() {
    local lacking
    lacking=$(lacks_of "$1" | xargs)
    echo "$1, which CANN's compiler takes, cannot import ${lacking// /, }; install what it needs:" \
        "$1 -m pip install $cann_packages"
}

# Where there are less than 8 GB of memory the compiler shall have one process, as Ascend's samples
# for the 200I DK A2 advise.
limit_compiler() {
    local memory swap
    memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' "$root/proc/meminfo")
    swap=$(awk '/^SwapTotal:/ { print int($2 / 1024) }' "$root/proc/meminfo")
    [ "$memory" -ge 8000 ] || run export TE_PARALLEL_COMPILER=1 MAX_COMPILE_CORE_NUMBER=1
    [ $((memory + ${swap:-0})) -ge 6000 ] || note "warning: $memory MiB of memory and" \
        "${swap:-0} of swap are little for the compiler, which wants 6 GB; see README.md for a" \
        "swap file, or build on another machine with --soc $soc"
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

# Runs a command on the form of $onnx that the chip runs, and where that ends with 4 (the tools refuse
# it, or it answers otherwise) on the next. A 310B has no 3-D convolutions, and whether the tools take
# those for a 310 or 310P shows as they run.
with_either_graph() {
    local graph graphs=(conv2d) code=0
    if [ "$target" != ascend310b ] && [ "$(ask graph "$onnx")" != conv2d ]; then
        graphs=(conv3d conv2d)
    fi
    for graph in "${graphs[@]}"; do
        make_work
        prepare_onnx "$graph"
        code=0
        "$@" || code=$?
        [ "$code" = 4 ] || break
        [ "$graph" = conv2d ] || note "the model with 3-D convolutions is refused; now without"
    done
    [ "$code" = 0 ] || exit "$code"
}

# Writes a form of $onnx, "conv3d" or "conv2d", as $work/model.onnx, and sets $name, the artifact's.
prepare_onnx() {
    local graph=$1 suffix=
    [ "$graph" = conv3d ] || suffix=-conv2d
    name=$(ask name "$onnx")
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
