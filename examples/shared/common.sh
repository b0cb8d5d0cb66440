# shellcheck shell=bash
# What the scripts of the boards share; each board's common.sh sources it.

PROGRAM=$(basename "$0")
DRY_RUN=

# Copies lines with *** for passwords in addresses and pipelines: systemd keeps what is printed. It
# hides rather too much; r2p-edge itself has r2p_edge/addresses.py for its own output.
hidden() {
    sed -E -e 's#(://)[^[:space:]/@:]*(:|%3A)[^[:space:]]*@#\1***@#Ig' \
        -e 's#(://)[^[:space:]/@:?]+@#\1***@#Ig' \
        -e "/:\/\//s#((user|usr|pass?|pwd?|token|key|secret|auth|sig)[a-z_-]*=)[^&[:space:]\"']*#\\1***#Ig"
}

die() {
    printf '%s: error: %s\n' "$PROGRAM" "$*" | hidden >&2
    exit 1
}

warn() {
    printf '%s: warning: %s\n' "$PROGRAM" "$*" | hidden >&2
}

# A command, as it can be typed.
show() {
    local word line=
    for word; do
        [[ $word =~ ^[[:alnum:]_./:=,@%+-]+$ ]] || word=${word@Q}
        line+=" $word"
    done
    printf '%s\n' "${line:1}" | hidden
}

# Shows a command and runs it; under --dry-run shows it only.
run() {
    if [[ $DRY_RUN ]]; then
        show "$@"
    else
        printf '+ %s\n' "$(show "$@")" >&2
        "$@"
    fi
}

# The value of the option that comes first.
value() {
    [[ $# -ge 2 && -n $2 ]] || die "$1 needs a value; see $PROGRAM --help"
    printf '%s' "$2"
}

need() {
    command -v "$1" >/dev/null || die "there is no $1 on the PATH; $2"
}
