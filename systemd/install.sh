#!/usr/bin/env bash
# Put emotion-edge on a device as a service, or take it off again. Run it twice: the second time changes nothing but
# what is newer. Settings, the password and the outbox outlive every upgrade.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: sudo systemd/install.sh [--wheels DIR] [--python PATH] [--dry-run] [--no-start]
       sudo systemd/install.sh --uninstall [--purge] [--dry-run]

  --wheels DIR   install from this folder and nothing else, for a device without a network. Made on a machine with the
                 same Python and processor:  pip wheel -c constraints/python3.11.txt -w DIR .
  --python PATH  the Python to use (3.11 or newer); default: /usr/bin/python3, the one that picamera2 belongs to
  --no-start     do not start the service
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
python=/usr/bin/python3
wheels='' dry='' start=yes remove='' purge=''

while [ $# -gt 0 ]; do
    case $1 in
        --wheels | --python)
            [ $# -ge 2 ] || fail "$1 needs a value" 2
            if [ "$1" = --wheels ]; then wheels=$2; else python=$2; fi
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
[ -z "$purge" ] || [ -n "$remove" ] || fail "--purge goes with --uninstall" 2

# Print a command and, unless this is a dry run, run it.
run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    [ -n "$dry" ] || "$@"
}

is_service_active() { systemctl is-active --quiet emotion-edge 2>/dev/null; }

uninstall() {
    if [ -e "$unit" ]; then
        run systemctl disable --now emotion-edge
        run rm -f "$unit"
        run systemctl daemon-reload
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
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv is missing: sudo apt install python3-venv" 69
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    constraints=$source/constraints/python$version.txt
    [ -f "$constraints" ] || fail "there is no tested set of versions for Python $version in $source/constraints" 69
}

# What is to be installed: a folder of wheels, or this checkout.
check_source() {
    if [ -n "$wheels" ]; then
        [ -d "$wheels" ] || fail "there is no folder $wheels"
        wheels=$(cd "$wheels" && pwd)
        compgen -G "$wheels/emotion_edge-*.whl" >/dev/null || fail "there is no wheel emotion_edge-*.whl in $wheels"
        what=("$wheels"/emotion_edge-*.whl)
        [ ${#what[@]} = 1 ] || fail "there are ${#what[@]} versions of emotion_edge in $wheels; leave one"
        from=(--no-index --find-links "$wheels")
        content=("$wheels"/*.whl)
    else
        [ -f "$source/pyproject.toml" ] || fail "$source is no checkout of emotion-edge; name a folder: --wheels DIR"
        what=("$source")
        from=()
        mapfile -d '' content < <(find "$source"/edge "$source"/train "$source"/export "$source"/models \
            "$source"/pyproject.toml -name __pycache__ -prune -o -type f -print0 | sort -z)
    fi
    # The same content gives the same folder: nothing to do the second time.
    release=venv-$(cat "$constraints" "${content[@]}" | sha256sum | cut -c1-12)-python$version
}

# Each release has a folder of its own, and .venv is a link that moves when all is there: a power cut halfway leaves the
# old one running.
install_program() {
    if [ -e "$prefix/$release/.complete" ] && [ "$(readlink "$prefix/.venv")" = "$release" ]; then
        say "$prefix/$release is there already"
        changed=''
        return
    fi
    changed=yes
    run mkdir -p "$prefix"
    run rm -rf "${prefix:?}/$release"
    # System site packages: picamera2 comes from apt, matched to the system's libcamera.
    run "$python" -m venv --system-site-packages "$prefix/$release"
    run "$prefix/$release/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        -c "$constraints" "${from[@]}" "${what[@]}"
    run "$prefix/$release/bin/python" -m compileall -q "$prefix/$release/lib"
    run touch "$prefix/$release/.complete"
    run ln -sfn "$release" "$prefix/.venv.new"
    if [ -d "$prefix/.venv" ] && [ ! -L "$prefix/.venv" ]; then run rm -rf "$prefix/.venv"; fi  # of an install by hand
    run mv -fT "$prefix/.venv.new" "$prefix/.venv"
}

link_command() {
    local to=$prefix/.venv/bin/emotion-edge
    [ "$(readlink "$command")" = "$to" ] || run ln -sfn "$to" "$command"
}

# A file that differs is put in place whole.
install_file() {
    local mode=$1 owner=$2 from_file=$3 to=$4
    if ! cmp -s "$from_file" "$to"; then
        run install -D -m "$mode" -o root -g "$owner" "$from_file" "$to"
        changed=yes
    fi
}

install_service() {
    install_file 0644 root "$here/sysusers.conf" "$sysusers"
    run systemd-sysusers "$sysusers"
    [ -d "$settings" ] || run install -d -m 0750 -o root -g emotion-edge "$settings"
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
    run systemctl daemon-reload
    run systemctl enable --quiet emotion-edge
}

# Old releases are of no use once the new one runs.
remove_old_releases() {
    local folder
    for folder in "$prefix"/venv-*; do
        if [ -d "$folder" ] && [ "$folder" != "$prefix/$release" ]; then run rm -rf "$folder"; fi
    done
}

install_all() {
    check_python
    check_source
    install_program
    link_command
    install_service
    if is_service_active; then
        if [ -n "$changed" ] && [ -n "$start" ]; then run systemctl restart emotion-edge; fi
        remove_old_releases
        run "$command" doctor || say "the doctor found something to mend: see above"
    elif run "$command" doctor; then
        remove_old_releases
        if [ -n "$start" ]; then run systemctl start emotion-edge; fi
    else
        remove_old_releases
        say "installed, not started. Mend what the doctor found (settings: $settings/config.toml), then:"
        say "    sudo emotion-edge doctor && sudo systemctl start emotion-edge"
        return
    fi
    say "installed: journalctl -fu emotion-edge shows what it says"
}

check_machine
if [ -n "$remove" ]; then uninstall; else install_all; fi
