# shellcheck shell=bash
# What the scripts beside this file share; they source it.

shared=$(cd "$(dirname "${BASH_SOURCE[0]}")/../shared" && pwd)
# shellcheck source-path=SCRIPTDIR source=../shared/common.sh
source "$shared/common.sh"

# Files of the system are looked for below this folder, in tests and in images that do not run yet.
ROOT=${R2P_ROOT:-}

# Sets CHIP and BOARD. The names are those of Linux's device trees, arch/arm64/boot/dts/nvidia; the
# board's text in `model` is its maker's own and may be any.
detect_board() {
    local file=$ROOT/proc/device-tree/compatible names
    [[ -f $file ]] || die "there is no $file, so this is not a Jetson; run this on the board"
    names=$(tr '\0' ' ' <"$file")
    case $names in
        *tegra234*) CHIP=tegra234 ;;
        *tegra264*) CHIP=tegra264 ;;
        *tegra194*) die "this is a Xavier, which has no JetPack after 5 and there Python 3.8 and" \
            "TensorRT 8.5; expected an Orin or a Thor, since r2p_edge needs Python 3.10" ;;
        *tegra210* | *tegra186*) die "this is a Jetson Nano, TX1 or TX2, which has no JetPack" \
            "after 4 and there Python 3.6; expected an Orin or a Thor, since r2p_edge needs 3.10" ;;
        *nvidia,tegra*)
            CHIP=unknown
            warn "this chip is not known here ($names); going on, and TensorRT will tell"
            ;;
        *) die "this is not a Jetson ($names); expected an Orin or a Thor" ;;
    esac
    case $names in
        *p3701-*) BOARD="Jetson AGX Orin" ;;
        *p3767-000[012]*) BOARD="Jetson Orin NX" ;;
        *p3767-000[345]*) BOARD="Jetson Orin Nano" ;;
        *p3834-*) BOARD="Jetson AGX Thor" ;;
        *)
            BOARD="Jetson of an unknown kind"
            warn "this module is not known here ($names); going on, and TensorRT will tell"
            ;;
    esac
}

# Sets JETPACK, after detect_board. Releases: NVIDIA's JetPack archive.
detect_jetpack() {
    local file=$ROOT/etc/nv_tegra_release line release
    [[ -f $file ]] || die "there is no $file, which tells the JetPack; install the board's system" \
        "with NVIDIA's SDK Manager"
    read -r line <"$file" || true
    [[ $line =~ R([0-9]+)\ \(release\),\ REVISION:\ ([0-9]+) ]] ||
        die "$file begins with '$line'; expected '# R36 (release), REVISION: 4.3, ...'"
    release=${BASH_REMATCH[1]}.${BASH_REMATCH[2]}
    case $release in
        36.3) JETPACK="6.0 with TensorRT 8.6" ;;
        36.[45]) JETPACK="6.1 or 6.2 with TensorRT 10.3" ;;
        38.[24]) JETPACK="7.0 or 7.1 with TensorRT 10.13" ;;
        39.*) JETPACK="7.2 or later with TensorRT 10.16 or 11" ;;
        [0-9].* | [12][0-9].* | 3[0-5].*) die "Jetson Linux R$release is JetPack 5 or older, whose" \
            "Python is 3.8 or older; r2p_edge needs 3.10, so install JetPack 6 or 7" ;;
        *)
            JETPACK="of Jetson Linux R$release"
            warn "Jetson Linux R$release is not known here, but R36.3 to R36.5 (JetPack" \
                "6), R38.2, R38.4 (7.0, 7.1) and R39 (7.2); going on, and TensorRT will tell"
            ;;
    esac
    case $CHIP.$release in
        tegra234.38.* | tegra264.36.*) die "JetPack $JETPACK does not run on the $BOARD; Orin has" \
            "JetPack 6 and 7.2 or later, Thor has 7.0 or later" ;;
    esac
}
