#!/usr/bin/env bash
# Builds TensorRT engines on the board that they are for, and keeps the best.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

usage() {
    cat <<END
Usage: $PROGRAM SOURCE... --out DIR [--videos DIR] [--dry-run]

Builds an FP16 engine, and an INT8 engine where there is a source for it, compares both with the
ONNX model, measures them, and writes the faster that is accurate enough as DIR/model.engine.

  SOURCE        an ONNX file of r2p_edge (fp32, or int8 with the profile tensorrt), a kit, or a
                folder that r2p-edge export wrote, with either; of each precision one
  --out DIR     folder for model.engine, its sidecar, and the timing cache, made where there is none
  --videos DIR  videos to compare on; without them INT8 cannot be judged, and FP16 is kept
  --dry-run     print the commands and do nothing
END
}

sources=() out='' judged_on=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --out) out=$(value "$@"); shift 2 ;;
        --videos)
            videos=$(value "$@")
            shift 2
            [[ -d $videos ]] || die "there is no folder $videos; check --videos"
            judged_on=(--videos "$videos")
            ;;
        --dry-run) DRY_RUN=1; shift ;;
        --help) usage; exit ;;
        -*) die "$1 is not an option; see $PROGRAM --help" ;;
        *) sources+=("$1"); shift ;;
    esac
done
[[ ${#sources[@]} -gt 0 && $out ]] || die "give a model and --out; see $PROGRAM --help"
need r2p-edge "make an environment with setup.sh and activate it (. VENV/bin/activate)"

is_kit() { [[ -f $1/kit.json ]]; }

# The precision and calibration profile of an ONNX file, or the precision and artifact of a kit.
describe() {
    local facts
    if is_kit "$1"; then
        facts=$(<"$1/kit.json")
    else
        facts=$(r2p-edge info --json "$1") || exit
    fi
    python3 -c '
import json, sys
try:
    facts = json.loads(sys.argv[2])
    calibration = facts["spec"].get("calibration") or {}
    print(facts["spec"]["precision"], facts.get("artifact") or calibration.get("profile"))
except (ValueError, KeyError, TypeError, AttributeError):
    sys.exit(f"build_engine.sh: error: {sys.argv[1]} is damaged; copy it again")' "$1" "$facts"
}

fp16='' int8=''

# Takes a model for the engine that it can become.
take() {
    local facts
    facts=$(describe "$1")
    case ${facts% *} in
        fp32 | fp16)
            if is_kit "$1" && [[ $facts != fp16* ]]; then
                die "$1 is a kit for FP32; export it with --precision fp16 or int8"
            fi
            [[ ! $fp16 ]] || die "$fp16 and $1 would both become an FP16 engine; give one of them"
            fp16=$1
            ;;
        int8)
            [[ ! $int8 ]] || die "$int8 and $1 would both become an INT8 engine; give one of them"
            int8=$1
            ;;
        *) die "$1 is ${facts% *}; give an fp32 or int8 ONNX file, or a kit" ;;
    esac
}

# Takes what a folder has for TensorRT: its kits, and its ONNX files for what there is no kit for.
take_bundle() {
    local kits=("$1"/*-{fp16,int8}-tensorrt-kit/) each facts fp16_kit int8_kit
    run r2p-edge info "$1"
    for each in "${kits[@]}"; do
        if is_kit "$each"; then take "${each%/}"; fi
    done
    fp16_kit=$fp16 int8_kit=$int8
    for each in "$1"/*.onnx; do
        [[ -f $each ]] || continue
        facts=$(describe "$each")
        # INT8 of another profile is for CPUs, and TensorRT refuses it.
        if [[ $facts == fp32* && ! $fp16_kit || $facts == int8\ @(tensorrt|None) && ! $int8_kit ]]; then
            take "$each"
        fi
    done
    [[ $fp16$int8 ]] || die "$1 has nothing to build FP16 or INT8 from; export it again (r2p-edge" \
        "export MODEL --to onnx --out DIR)"
}

for each in "${sources[@]}"; do
    if is_kit "$each" || [[ -f $each && $each == *.onnx ]]; then
        take "$each"
    elif [[ -d $each ]]; then
        take_bundle "$each"
    else
        die "$each is not an ONNX file, a kit or a folder of them; give what r2p-edge export wrote"
    fi
done

cache=$out/timing work=$out/.build
[[ $DRY_RUN ]] || trap 'rm -rf "$work"' EXIT
run mkdir -p "$cache"
run rm -rf "$work" # where the power failed
run mkdir "$work"

build() {
    local model=$1 precision=$2 wanted=()
    if is_kit "$model"; then
        # In a copy, beside which it finds the timing cache and leaves it.
        run cp -R "$model" "$work/$precision"
        run cp -R "$cache/." "$work/$precision"
        run python3 "$work/$precision/build.py"
        run find "$work/$precision" -name "*.timing" -exec mv -t "$cache" "{}" +
    else
        # An int8 file stays what it is; asked for int8, export would calibrate.
        if [[ $precision == fp16 ]]; then wanted=(--precision fp16); fi
        run r2p-edge export "$model" --to tensorrt "${wanted[@]}" --strict --name model \
            --timing-cache "$cache" --out "$work"
    fi
}

engines=()

# The engine that was built of a model is one to choose from.
add() {
    local model=$1 precision=$2 facts
    if is_kit "$model"; then
        facts=$(describe "$model")
        engines+=("$work/$precision/${facts#* }")
    else
        engines+=("$work/model-$precision.engine")
    fi
}

if [[ $fp16 ]]; then
    build "$fp16" fp16
    add "$fp16" fp16
fi
if [[ $int8 ]]; then
    # A subshell, since a function that is asked whether it failed does not stop at its first error.
    set +e
    (set -e && build "$int8" int8)
    code=$?
    set -e
    if [[ $code -eq 0 ]]; then
        add "$int8" int8
    elif [[ ! $fp16 || $code -eq 130 ]]; then # Ctrl-C
        exit "$code"
    else
        echo "$PROGRAM: warning: no INT8 engine can be built (see above); FP16 is what is left" >&2
    fi
fi
reference=${fp16:-$int8}
if is_kit "$reference"; then reference=$reference/model.onnx; fi
run python3 "$here/choose_engine.py" "${engines[@]}" --reference "$reference" \
    --out "$out/model.engine" "${judged_on[@]}"
