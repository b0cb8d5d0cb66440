#!/usr/bin/env bash
# Makes MindSpore Lite's .mindir of a model.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat << 'END'
usage: build_mindir.sh MODEL.onnx | KIT | BUNDLE --out DIR [--optimize ascend_oriented | general]
                       [--int8 VIDEOS --split LIST] [--soc SOC] [--venv DIR] [--dry-run]

Converts with MindSpore Lite, verifies the result where it can run, and writes it to --out. Of a
bundle, its kit for the chip is taken, else its fp32 model. A kit needs no r2p-edge here.

  --optimize       ascend_oriented (default): fp16, for the chip; general: fp32, for the CPU
  --int8 VIDEOS    with general, from an ONNX file: int8, calibrated on these videos
  --split LIST     their train list
  --soc SOC        build for this chip instead of the one that is here
  --venv DIR       what setup.sh filled (default: venv beside this script)
  --dry-run        print the commands and run none of them
END
}

model='' out='' optimize=ascend_oriented int8='' split=''
while [ $# -gt 0 ]; do
    case $1 in
        --out | --optimize | --int8 | --split | --soc | --venv)
            need_value "$1" "${2:-}"
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        --dry-run) dry_run=yes ;;
        --help)
            usage
            exit
            ;;
        -*) die "there is no option $1; see --help" ;;
        *)
            [ -z "$model" ] || die "give one model; see --help"
            model=$1
            ;;
    esac
    shift
done
if [ -z "$model" ] || [ -z "$out" ]; then die "give a model and --out; see --help"; fi

case $optimize in
    general) target=mindspore-lite device=cpu ;;
    ascend_oriented)
        [ -z "$int8" ] || die "MindSpore Lite has only fp16 for Ascend; take --int8 with" \
            "--optimize general"
        find_soc
        device=$target
        need_cann
        need_compiler
        # The converter may be a module of this python3, so that another one is no help.
        [ -z "$(lacks_of python3)" ] || note "warning: $(about_python python3)"
        limit_compiler
        ;;
    *) die "--optimize is general or ascend_oriented, not $optimize" ;;
esac
find_model "$model" "$device"
if [ -n "$int8" ] && [ -n "$kit" ]; then
    die "a kit has the precision that it was exported with; take --int8 with an ONNX file"
fi

# r2p-edge and kits compile for one chip of each kind.
if [ "$optimize" = ascend_oriented ] && [ "$soc" != "$(usual_soc)" ]; then
    need_venv
    need_converter "$venv/bin/python"
    onnx=${onnx:-$kit/model.onnx}
    convert() {
        run "$venv/bin/python" "$here/steps.py" mindir "$work/model.onnx" "$out/$name.mindir" \
            "$soc" "$target"
    }
    with_either_graph convert
    run "$venv/bin/python" "$here/steps.py" record "$out" "$name.mindir"
elif [ -n "$kit" ]; then
    need_converter python3
    artifact=$(kit_says "$kit" artifact)
    make_work
    run cp -r "$kit" "$work/kit"
    run python3 "$work/kit/build.py"
    # A kit with two forms builds the second where the converter refuses the first.
    [ -n "$dry_run" ] || artifact=$(basename "$(ls "$work"/kit/*.mindir)")
    run mv "$work/kit/$artifact" "$work/kit/$artifact.json" "$out"
    run env "PYTHONPATH=$work/kit/r2p_edge.zip" python3 "$here/steps.py" record "$out" "$artifact"
else
    need_venv
    need_converter "$venv/bin/python"
    make_work
    options=()
    [ -z "$int8" ] || options+=(--precision int8 --videos "$int8")
    [ -z "$split" ] || options+=(--split "$split")
    run "$venv/bin/r2p-edge" export "$onnx" --to "$target" --strict \
        "${options[@]}" --out "$out"
fi
