#!/usr/bin/env bash
# Put emotion-edge on a device as a service, or take it off again. Run it twice: the second time changes nothing but
# what is newer. Settings, the password and the outbox outlive every upgrade.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: sudo systemd/install.sh [--with EXTRAS] [--wheels DIR] [--python PATH] [--dry-run] [--no-start]
       sudo systemd/install.sh --uninstall [--purge] [--dry-run]

  --with EXTRAS  of knn (scikit-learn, for classifier = "knn" or "ensemble"), signed (cryptography, for bundle_key) and
                 web (the live page), with commas; upgrades keep them, --with none takes them out
  --wheels DIR   install from this folder and nothing else, for a device without a network. Made on a machine with the
                 same Python and processor:  pip wheel -c constraints/python3.11.txt -w DIR ".[knn,signed]"
  --python PATH  the Python to use (3.11 or newer); default: /usr/bin/python3, the one that picamera2 belongs to
  --no-start     do not start the service, or go on with the old version if it runs
  --uninstall    remove the service and the program; settings, password and outbox stay
  --purge        with --uninstall: remove these too, and the user
  --dry-run      print what would be done, change nothing
TEXT
}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; exit "${2:-1}"; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$here")
prefix=/opt/emotion-edge
settings=/etc/emotion-edge
state=/var/lib/emotion-edge
unit=/etc/systemd/system/emotion-edge.service
sysusers=/etc/sysusers.d/emotion-edge.conf
command=/usr/local/bin/emotion-edge
booted=/run/systemd/system  # there while systemd runs, see sd_booted(3); not in an image that is being built
python=/usr/bin/python3
remembered=$prefix/extras
page=/etc/systemd/system/emotion-edge.service.d/web.conf
restart_due=/run/emotion-edge-restart-due  # gone after a reboot, as the old version is
wheels='' extras='' dry='' start=yes remove='' purge='' changed=''

while [ $# -gt 0 ]; do
    case $1 in
        --wheels | --python | --with)
            [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value" 2
            case $1 in --wheels) wheels=$2 ;; --python) python=$2 ;; --with) extras=$2 ;; esac
            shift
            ;;
        --dry-run) dry=yes ;;
        --no-start) start='' ;;
        --uninstall) remove=yes ;;
        --purge) purge=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "there is no option $1" 2 ;;
    esac
    shift
done
if [ -n "$extras" ] && [ "$extras" != none ]; then
    extras=$(tr ',' '\n' <<<"$extras" | sort -u | paste -sd,)
    for extra in ${extras//,/ }; do
        case $extra in knn | signed | web) ;; *) fail "--with takes knn, signed and web, with commas, or none" 2 ;; esac
    done
fi
[ -z "$purge" ] || [ -n "$remove" ] || fail "--purge goes with --uninstall" 2

# Print a command and, unless this is a dry run, run it.
run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    [ -n "$dry" ] || "$@"
}

is_booted() { [ -d "$booted" ]; }
is_service_active() { is_booted && systemctl is-active --quiet emotion-edge 2>/dev/null; }

uninstall() {
    if [ -e "$unit" ]; then
        if is_booted; then run systemctl disable --now emotion-edge; else run systemctl disable emotion-edge; fi
        run rm -f "$unit" "$page"
        if is_booted; then run systemctl daemon-reload; fi
    fi
    run rm -rf "$prefix" "$command" "$sysusers"
    if [ -n "$purge" ]; then
        run rm -rf "$settings" "$state" /etc/systemd/system/emotion-edge.service.d
        if getent passwd emotion-edge >/dev/null; then run userdel emotion-edge; fi
        say "removed, with settings, password and outbox"
    else
        say "removed; kept: $settings (settings, password), $state (outbox); --uninstall --purge removes these too"
    fi
}

check_machine() {
    [ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "this needs root: sudo $0"
    command -v systemctl >/dev/null || fail "there is no systemd on this machine" 69
}

check_python() {
    command -v "$python" >/dev/null || fail "there is no $python: sudo apt install python3 python3-venv" 69
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old: 3.11 or newer is needed (Pi OS Bookworm or newer)" 69
    "$python" -c 'import sys; sys.exit(sys.maxsize < 2**32)' ||
        fail "this is a 32-bit system: emotion-edge needs a 64-bit one, such as the 64-bit Raspberry Pi OS" 69
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv is missing: sudo apt install python3-venv" 69
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    constraints=$source/constraints/python$version.txt
    [ -f "$constraints" ] || fail "there is no tested set of versions for Python $version in $source/constraints" 69
}

# The extras that were asked for, now or before.
check_extras() {
    [ -n "$extras" ] || extras=$(cat "$remembered" 2>/dev/null || echo none)
    suffix=''
    if [ "$extras" != none ]; then suffix="[$extras]"; fi
}

# What is to be installed: a folder of wheels, or this checkout.
check_source() {
    if [ -n "$wheels" ]; then
        [ -d "$wheels" ] || fail "there is no folder $wheels"
        wheels=$(cd "$wheels" && pwd)
        compgen -G "$wheels/emotion_edge-*.whl" >/dev/null || fail "there is no wheel emotion_edge-*.whl in $wheels"
        local wheel=("$wheels"/emotion_edge-*.whl)
        [ ${#wheel[@]} = 1 ] || fail "there are ${#wheel[@]} versions of emotion_edge in $wheels; leave one"
        what=${wheel[0]}$suffix
        from=(--no-index --find-links "$wheels")
        content=("$wheels"/*.whl)
    else
        [ -f "$source/pyproject.toml" ] || fail "$source is no checkout of emotion-edge; name a folder: --wheels DIR"
        from=()
        mapfile -d '' content < <(find "$source"/edge "$source"/train "$source"/export "$source"/models \
            "$source"/pyproject.toml -name __pycache__ -prune -o -type f -print0 | sort -z)
    fi
    # The same content gives the same folder: nothing to do the second time.
    release=venv-$({ echo "$extras"; cat "$constraints" "${content[@]}"; } | sha256sum | cut -c1-12)-python$version
    # The build writes into its sources: not into the checkout, where root's files would be in its owner's way.
    copy=$prefix/$release/source
    [ -n "$wheels" ] || what=$copy$suffix
}

# Something is new that only a restart takes in.
note_change() {
    if [ -z "$changed" ]; then run touch "$restart_due"; fi
    changed=yes
}

# Each release has a folder of its own, and .venv is a link that moves when all is there: a power cut halfway leaves the
# old one running.
install_program() {
    if [ -e "$prefix/$release/.complete" ]; then
        say "$prefix/$release is there already"
    else
        build_release
    fi
    [ "$(readlink "$prefix/.venv")" != "$release" ] || return 0
    note_change
    run ln -sfn "$release" "$prefix/.venv.new"
    if [ -d "$prefix/.venv" ] && [ ! -L "$prefix/.venv" ]; then run rm -rf "$prefix/.venv"; fi  # of an install by hand
    run mv -fT "$prefix/.venv.new" "$prefix/.venv"
}

build_release() {
    run mkdir -p "$prefix"
    run rm -rf "${prefix:?}/$release"
    # System site packages: picamera2 comes from apt, matched to the system's libcamera.
    run "$python" -m venv --system-site-packages "$prefix/$release"
    if [ -z "$wheels" ]; then
        run mkdir "$copy"
        run cp -r "$source"/{edge,train,export,models,pyproject.toml,README.md,LICENSE} "$copy"
    fi
    run "$prefix/$release/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        -c "$constraints" "${from[@]}" "$what"
    run rm -rf "$copy"
    run "$prefix/$release/bin/python" -m compileall -q "$prefix/$release/lib"
    run touch "$prefix/$release/.complete"
}

remember_extras() {
    [ "$(cat "$remembered" 2>/dev/null || echo none)" != "$extras" ] || return 0
    say "+ echo $extras > $remembered"
    [ -n "$dry" ] || echo "$extras" >"$remembered"
}

link_command() {
    local to=$prefix/.venv/bin/emotion-edge
    [ "$(readlink "$command")" = "$to" ] || run ln -sfn "$to" "$command"
}

# A file that differs is put in place whole.
install_file() {
    local mode=$1 owner=$2 from_file=$3 to=$4
    if ! cmp -s "$from_file" "$to"; then
        [ "$to" = "$settings/config.example.toml" ] || note_change  # that one is for people alone
        run install -D -m "$mode" -o root -g "$owner" "$from_file" "$to"
    fi
}

install_service() {
    install_file 0644 root "$here/sysusers.conf" "$sysusers"
    run systemd-sysusers "$sysusers"
    [ -d "$settings" ] || run install -d -m 0750 -o root -g emotion-edge "$settings"
    # systemd would make it at the start; here the doctor keeps dlib's detector there, which takes half a second to prepare.
    [ -d "$state" ] || run install -d -m 0700 -o emotion-edge -g emotion-edge "$state"
    install_file 0644 root "$here/config.example.toml" "$settings/config.example.toml"
    if [ -e "$settings/config.toml" ]; then
        say "$settings/config.toml is kept"
    else  # 0640: the address of a network camera may hold a password
        run install -m 0640 -o root -g emotion-edge "$here/config.example.toml" "$settings/config.toml"
    fi
    if [ -e "$settings/mqtt-password" ]; then
        say "$settings/mqtt-password is kept"
    else
        run install -m 0600 -o root -g root /dev/null "$settings/mqtt-password"
    fi
    install_file 0644 root "$here/emotion-edge.service" "$unit"
    install_page
    if is_booted; then run systemctl daemon-reload; fi
    run systemctl enable --quiet emotion-edge
}

# The page's token is a credential, which a unit names only where the file exists.
install_page() {
    if [[ ,$extras, != *,web,* ]]; then
        if [ -e "$page" ]; then note_change; run rm -f "$page"; fi
        return
    fi
    if [ ! -e "$settings/web-token" ]; then
        run install -m 0600 -o root -g root /dev/null "$settings/web-token"
        say "+ od -An -tx1 -N16 /dev/urandom > $settings/web-token"
        [ -n "$dry" ] || od -An -tx1 -N16 /dev/urandom | tr -d ' \n' >"$settings/web-token"
    fi
    install_file 0644 root "$here/web.conf" "$page"
}

# Old releases are of no use once nothing runs from them.
remove_old_releases() {
    local folder
    for folder in "$prefix"/venv-*; do
        if [ -d "$folder" ] && [ "$folder" != "$prefix/$release" ]; then run rm -rf "$folder"; fi
    done
}

forget_old() {
    remove_old_releases
    if [ -n "$changed" ] || [ -e "$restart_due" ]; then run rm -f "$restart_due"; fi
}

install_all() {
    check_python
    check_extras
    check_source
    install_program
    remember_extras
    link_command
    install_service
    if ! is_booted; then
        run "$command" doctor || say "the doctor found something to mend, now or on the device: see above"
        forget_old
        say "installed; it starts when this system boots (settings: $settings/config.toml)"
        return
    elif is_service_active; then
        [ -z "$changed" ] && [ ! -e "$restart_due" ] || restart_service
        run "$command" doctor || say "the doctor found something to mend: see above"
    elif run "$command" doctor; then
        if [ -n "$start" ]; then run systemctl start emotion-edge; fi
        forget_old
    else
        forget_old
        say "installed, not started. Mend what the doctor found (settings: $settings/config.toml), then:"
        say "    sudo emotion-edge doctor && sudo systemctl start emotion-edge"
        return
    fi
    say "installed: journalctl -fu emotion-edge shows what it says"
}

restart_service() {
    if [ -z "$start" ]; then
        say "the old version goes on until: sudo systemctl restart emotion-edge"
        return
    fi
    run systemctl restart emotion-edge || say "it does not start: journalctl -u emotion-edge -n 50"
    forget_old
}

check_machine
if [ -n "$remove" ]; then uninstall; else install_all; fi
