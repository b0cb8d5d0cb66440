#!/usr/bin/env bash
# Makes an offline model (.om) with ATC, and the sidecar with which r2p_edge opens it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat << 'END'
usage: build_om.sh MODEL.onnx | KIT | BUNDLE --out DIR [--soc SOC] [--host-cpu CPU] [--venv DIR]
                   [--dry-run]

Compiles with ATC, in fp16, for the chip that is here; compares the result with the ONNX file on
the card; and writes it with its sidecar to --out. A 310 or 310P gets the model with its 3-D
convolutions, or without if ATC refuses them; a 310B without. The model must take float32
(r2p-edge export --input float32).

  --soc SOC        compile for this chip instead, unverified if it is not here
  --host-cpu CPU   processor of the board, aarch64 or x86_64 (default: aarch64 for a 310B, else this
                   machine's)
  --venv DIR       what setup.sh filled (default: venv beside this script)
  --dry-run        print the commands and run none of them
END
}

model='' out='' host_cpu=''
while [ $# -gt 0 ]; do
    case $1 in
        --out | --soc | --venv)
            need_value "$1" "${2:-}"
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        --host-cpu)
            [[ ${2:-} =~ ^(aarch64|x86_64)$ ]] || die "--host-cpu is aarch64 or x86_64"
            host_cpu=$2
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

find_soc
need_cann
command -v atc > /dev/null || die "atc is not here; it comes with CANN's toolkit and not with" \
    "nnrt, so install that, or run this on a machine that has it, with --soc $soc"
need_venv
need_compiler
choose_python
limit_compiler
find_model "$model" "$target"
onnx=${onnx:-$kit/model.onnx}

# Every board with a 310B has an ARM processor. The name of the file tells the other one, too.
[ -n "$host_cpu" ] || [ "$target" != ascend310b ] || host_cpu=aarch64
host=()
[ "${host_cpu:-$(uname -m)}" = "$(uname -m)" ] ||
    host=(--host_env_os=linux "--host_env_cpu=$host_cpu")

# Compiles $work/model.onnx and compares the answers; 4 where ATC refuses the model or it answers
# otherwise. NCDHW is how Ascend's ModelZoo names inputs of five axes, for 3-D and 2-D networks alike
# (VNet, TSM). --output_type keeps ATC from answering in fp16.
compile() {
    local card shape
    shape=$(ask shape "$onnx") || return
    run "$venv/bin/python" "$here/steps.py" atc "$onnx for $soc" "$work" atc --framework=5 \
        --model=model.onnx --output=model "--input_shape=$shape" --input_format=NCDHW \
        "--soc_version=$soc" --precision_mode=force_fp16 --output_type=FP32 --log=error \
        "${host[@]}" || return
    run "$venv/bin/python" "$here/steps.py" sidecar "$work/model.onnx" "$work/model.om" "$soc" \
        "$target" || return
    # ATC writes for its user alone, and ais_bench refuses what a group may write.
    run chmod 644 "$work/model.om" || return
    card=$(soc_of_card 2> /dev/null) || card=none
    if ! has_card || [ "$card" != "$soc" ]; then
        note "not verified: there is no $soc here; run r2p-edge compare on the board"
    elif "$venv/bin/python" -c 'import acl; acl.mdl' 2> /dev/null; then
        run "$venv/bin/r2p-edge" compare "$work/model.onnx" "$work/model.om"
    elif ! "$venv/bin/python" -c 'import ais_bench.infer.interface' > /dev/null 2>&1; then
        note "not verified: neither acl nor ais_bench, which run .om files, is here"
    elif [[ $work =~ [^A-Za-z0-9_./-] ]]; then
        note "not verified: ais_bench takes no file in $out; run r2p-edge compare elsewhere"
    else
        run "$venv/bin/r2p-edge" compare "$work/model.onnx" "$work/model.om"
    fi
}

with_either_graph compile
run mv "$work/model.om" "$out/$name.om"
run mv "$work/model.om.json" "$out/$name.om.json"
run "$venv/bin/python" "$here/steps.py" record "$out" "$name.om"
