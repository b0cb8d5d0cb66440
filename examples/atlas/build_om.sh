#!/usr/bin/env bash
# Makes an offline model (.om) with ATC, and the sidecar with which r2p_edge opens it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat << 'END'
usage: build_om.sh MODEL.onnx | KIT | BUNDLE --out DIR [--soc SOC] [--venv DIR] [--dry-run]

Compiles with ATC, in fp16, for the chip that is here; compares the result with the ONNX file on
the card; and writes it with its sidecar to --out. A 310 or 310P gets the model with its 3-D
convolutions, a 310B without. The model must take float32 (r2p-edge export --input float32).

  --soc SOC        compile for this chip instead, unverified if it is not here
  --venv DIR       what setup.sh filled (default: venv beside this script)
  --dry-run        print the commands and run none of them
END
}

model='' out=''
while [ $# -gt 0 ]; do
    case $1 in
        --out | --soc | --venv)
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
[ -n "$model" ] && [ -n "$out" ] || die "give a model and --out; see --help"

find_soc
need_cann
command -v atc > /dev/null || die "atc is not here; it comes with CANN's toolkit and not with" \
    "nnrt, so install that, or run this on a machine that has it, with --soc $soc"
need_venv
limit_compiler
find_model "$model" "$target"
onnx=${onnx:-$kit/model.onnx}
make_work
prepare_onnx
shape=$(ask shape "$onnx")
# NCDHW is how Ascend's ModelZoo names inputs of five axes, for 3-D and 2-D networks alike (VNet,
# TSM). --output_type keeps ATC from answering in fp16.
run env -C "$work" atc --framework=5 --model=model.onnx --output=model \
    "--input_shape=$shape" --input_format=NCDHW "--soc_version=$soc" \
    --precision_mode=force_fp16 --output_type=FP32 --log=error ||
    die "atc could not compile $onnx for $soc; see what it says above"
run "$venv/bin/python" "$here/steps.py" sidecar "$work/model.onnx" "$work/model.om" "$soc" "$target"

card=$(soc_of_card 2> /dev/null) || card=none
if ! has_card || [ "$card" != "$soc" ]; then
    note "not verified: there is no $soc here; run r2p-edge compare on the board"
elif ! "$venv/bin/python" -c 'import ais_bench.infer.interface' 2> /dev/null; then
    note "not verified: ais_bench, which runs .om files, is not here"
else
    run "$venv/bin/r2p-edge" compare "$work/model.onnx" "$work/model.om"
fi
# ATC writes for its user alone, and ais_bench refuses what a group may write.
run chmod 644 "$work/model.om"
run mv "$work/model.om" "$out/$name.om"
run mv "$work/model.om.json" "$out/$name.om.json"
