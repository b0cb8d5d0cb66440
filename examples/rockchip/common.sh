# shellcheck shell=bash
# What the scripts beside this file share; they source it.

shared=$(cd "$(dirname "${BASH_SOURCE[0]}")/../shared" && pwd)
# shellcheck source-path=SCRIPTDIR source=../shared/common.sh
source "$shared/common.sh"

# Files of the system are looked for below this folder, in tests and in images that do not run yet.
ROOT=${R2P_ROOT:-}

# Chips that models are built for; those of r2p_edge/runtimes/rknn/chips.py.
CHIPS=(rk3588 rk3576 rk3568 rk3566 rk3562)

# Makes sure that a chip is one of them.
check_chip() {
    [[ " ${CHIPS[*]} " == *" $1 "* ]] ||
        die "models are built for ${CHIPS[*]^^} and not for ${1^^}; take a board with one of these"
}

# Sets CHIP, by the names of Linux's device trees, arch/arm64/boot/dts/rockchip.
detect_chip() {
    local file=$ROOT/proc/device-tree/compatible names
    [[ -f $file ]] || die "there is no $file, so this is not a board of Rockchip's; run this on the board"
    names=$(tr '\0' ' ' <"$file")
    [[ $names =~ rockchip,(r[kv][0-9]{4}) ]] ||
        die "this is not a board of Rockchip's ($names); expected one with ${CHIPS[*]^^}"
    CHIP=${BASH_REMATCH[1]}
    check_chip "$CHIP"
}
