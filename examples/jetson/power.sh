#!/usr/bin/env bash
# Sets the power mode of a Jetson by its name, and the clocks to the mode's highest.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

usage() {
    cat <<END
Usage: sudo $PROGRAM --mode NAME [--dry-run]

Sets the power mode, whose number differs from board to board, and the clocks. Some changes need a
reboot, for which nvpmodel asks; the clocks are then to be set once more.

  --mode NAME  name of the mode, as 15W or MAXN; "highest" for MAXN_SUPER, or else MAXN
  --dry-run    print the commands and do nothing
END
}

mode=
while [[ $# -gt 0 ]]; do
    case $1 in
        --mode) mode=$(value "$@"); shift 2 ;;
        --dry-run) DRY_RUN=1; shift ;;
        --help) usage; exit ;;
        *) die "$1 is not an option; see $PROGRAM --help" ;;
    esac
done
[[ $mode ]] || die "give --mode; see $PROGRAM --help"

file=$ROOT/etc/nvpmodel.conf
[[ -f $file ]] || die "there is no $file, which lists the power modes; run this on the board"
declare -A numbers=()
names=()
pattern='^[[:space:]]*<[[:space:]]*POWER_MODEL[[:space:]]+ID=([0-9]+)[[:space:]]+NAME=([^[:space:]>]+)'
while read -r line || [[ $line ]]; do
    if [[ $line =~ $pattern ]]; then
        numbers[${BASH_REMATCH[2]}]=${BASH_REMATCH[1]}
        names+=("${BASH_REMATCH[2]}")
    fi
done <"$file"
if [[ $mode == highest ]]; then
    for mode in MAXN_SUPER MAXN highest; do
        if [[ ${numbers[$mode]-} ]]; then break; fi
    done
fi
[[ ${numbers[$mode]-} ]] || die "this board has no power mode $mode but ${names[*]-none}; give one" \
    "of them as --mode"
echo "# mode $mode, of ${names[*]}"
run nvpmodel -m "${numbers[$mode]}"
run jetson_clocks
