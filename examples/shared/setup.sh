# shellcheck shell=bash
# What the boards' setup.sh share: their options, and the making and checking of an environment.

venv='' package=''

# Reads --venv, --wheel or --checkout, and --dry-run into $venv, $package and $DRY_RUN.
read_setup_options() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            --venv) venv=$(value "$@"); shift 2 ;;
            --wheel)
                package=$(value "$@")
                shift 2
                [[ -f $package && $package == *.whl ]] || die "there is no wheel $package; check --wheel"
                ;;
            --checkout)
                package=$(value "$@")
                shift 2
                [[ -f $package/pyproject.toml ]] || die "$package is not a checkout of r2p_edge, which has" \
                    "a pyproject.toml; check --checkout"
                ;;
            --dry-run) DRY_RUN=1; shift ;;
            --help) usage; exit ;;
            *) die "$1 is not an option; see $PROGRAM --help" ;;
        esac
    done
    [[ $venv && $package ]] || die "give --venv, and --wheel or --checkout; see $PROGRAM --help"
}

# Finds the Python of the system, $python, for which its packages are: OpenCV with GStreamer is one.
find_python() {
    python=$ROOT/usr/bin/python3
    [[ -z $DRY_RUN ]] || return 0
    [[ -x $python ]] || die "there is no $python; install the package python3"
    "$python" -c 'import ensurepip' 2>/dev/null ||
        die "$python cannot make environments; sudo apt-get install python3-venv"
}

# Makes $venv by $python, and installs $package there with the extra $1 and what follows: options of
# pip and further packages.
make_environment() {
    local extra=$1
    shift
    run "$python" -m venv --system-site-packages "$venv"
    # What lies in ~/.local does not count as installed: the service runs as another user.
    run env PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install "$@" "$(realpath "$package")[$extra]"
    # A wheel of the same version counts as installed, though it may have been built anew.
    if [[ -f $package ]]; then
        run env PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install --no-deps --force-reinstall \
            "$(realpath "$package")"
    fi
}

# Checks $venv by check_system.py in the folder $1, the board's, and by doctor, and says what to type
# next.
check_environment() {
    run "$venv/bin/python" "$1/check_system.py"
    run "$venv/bin/r2p-edge" doctor
    if [[ ! $DRY_RUN ]]; then
        echo "Done. Now: $(show . "$venv/bin/activate")"
    fi
}
