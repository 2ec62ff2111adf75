"""The settings that a device's owner wrote to the boot partition of its card: put in place, and removed from there.

Every step may be repeated, so a power cut only means that the next start does it again. The password is in its own file
before it leaves the card, and a card with a fault changes nothing.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge.errors import ConfigError
from edge.files import INCOMING, Files, replace_file
from edge.settings.checking import faults_of, flattened
from edge.settings.credentials import PASSWORD_CREDENTIAL
from edge.settings.loading import read_toml
from edge.settings.messages import is_one_line
from edge.settings.show import as_file

CARD_LOG = "emotion-edge.log"
"""What became of the card's settings, in one line, beside them."""
LARGEST_BYTES = 65_536


def take_card(card: Path, settings: Path, files: Files | None = None) -> list[str]:
    """Put the settings of a card over those of the settings file and ``mqtt.password`` into its file; remove the card.

    ``card``: a settings file that may also hold ``mqtt.password``, on a file system that may be FAT.
    ``settings``: the device's settings file; the one of before is kept as ``….previous``.
    Returns the dotted keys; none where the card is missing or sets nothing, and then it stays as it is.
    Raises `ConfigError`: every fault of the card, in one line that is also in `CARD_LOG`; nothing has changed.
    """
    files = files or Files()
    log = card.with_name(CARD_LOG)
    try:
        taken = card.with_name(f"{card.name}.taken")
        if taken.exists():  # a power cut: all of it is in place, its password may still be readable
            files.erase(taken)
        if not card.exists():
            if card.with_name(f"{card.name}.txt").exists():
                raise ConfigError(f"{card.name}.txt: rename it to {card.name}")
            return []
        keys = _take(card, settings, files)
    except ConfigError as error:
        with suppress(OSError):
            _note(log, f"error: {error}")
        raise
    if keys:
        with suppress(OSError):
            _note(log, f"{card.name}: taken: {', '.join(keys)}")
    return keys


def _take(card: Path, settings: Path, files: Files) -> list[str]:
    given, password = _read(card)
    keys = [*_dotted(given), *([] if password is None else ["mqtt.password"])]
    if not keys:
        return []
    before = flattened(read_toml(settings)) if settings.exists() else {}
    after = _joined(before, given)
    stored = settings.with_name(PASSWORD_CREDENTIAL)
    faults = [*faults_of(after, str(settings)), *_login_faults(after.get("mqtt", {}), password, stored)]
    if faults:
        raise ConfigError("; ".join(faults))
    _require_writable(card)
    for unfinished in settings.parent.glob(f"{INCOMING}-*"):  # of a start in which the power was cut
        files.remove(unfinished)
    if password is not None:
        replace_file(files, stored, f"{password}\n".encode() if password else b"", mode=0o600)
    if after != before:
        _replace_settings(settings, as_file(after), files)
    _remove(card, files)
    return keys


def _remove(card: Path, files: Files) -> None:
    """Remove a card's file; under another name first, so that a half-erased one is not read."""
    taken = card.with_name(f"{card.name}.taken")
    try:
        files.rename(card, taken)
        files.sync(card.parent)
        files.erase(taken)
    except OSError as error:
        raise ConfigError(
            f"{card.name}: taken, but it cannot be removed ({error.strerror}): what it holds can still be read there"
        ) from error


def _joined(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    after = {**before, **given}
    for name, section in given.items():
        if isinstance(section, dict) and isinstance(before.get(name), dict):
            after[name] = {**before[name], **section}
    return after


def _read(card: Path) -> tuple[dict[str, Any], str | None]:
    """Return a card's settings, flat, and the password. Raises `ConfigError` with every fault."""
    if card.stat().st_size > LARGEST_BYTES:
        raise ConfigError(f"{card.name}: found {card.stat().st_size} bytes: allowed are {LARGEST_BYTES}")
    tree = read_toml(card)
    mqtt = tree.get("mqtt")
    password = None
    faults = []
    if isinstance(mqtt, dict) and "password" in mqtt:
        password = mqtt.pop("password")
        if not isinstance(password, str) or not is_one_line(password):
            faults.append(f"{card.name}: mqtt.password: allowed is one line of text in quotes")
        if mqtt == {}:
            del tree["mqtt"]
    faults += faults_of(tree, card.name)
    if faults:
        raise ConfigError("; ".join(faults))
    return flattened(tree), password


def _login_faults(mqtt: Mapping[str, Any], password: str | None, stored: Path) -> list[str]:
    """Return what is wrong with the login that the broker's settings and the password make together."""
    user = mqtt.get("username") or urlsplit(mqtt.get("url", "")).username
    if password and mqtt.get("password_file"):
        return ["mqtt.password: there is also mqtt.password_file; leave one"]
    if password and not user:
        return ["mqtt.username: found a password but no user name; set it, or write mqtt://USER@host"]
    if user and password is None and not mqtt.get("password_file"):
        try:
            known = bool(stored.read_bytes().strip())
        except FileNotFoundError:
            known = False
        if not known:
            return [f'mqtt.password: found the user {user} but no password; write password = "" if the user has none']
    return []


def _replace_settings(settings: Path, text: str, files: Files) -> None:
    """Replace the settings file, and keep the one of before; readers stay the same."""
    folder = settings.parent.stat()
    mode, owner = 0o640, (folder.st_uid, folder.st_gid)
    if settings.exists():
        status = settings.stat()
        mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
        previous = settings.with_name(f"{settings.name}.previous")
        replace_file(files, previous, settings.read_bytes(), mode=mode, owner=owner)
    replace_file(files, settings, text.encode(), mode=mode, owner=owner)


def _dotted(tree: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}.{name}" if isinstance(value, dict) else key
        for key, value in tree.items()
        for name in (value if isinstance(value, dict) else ("",))
    ]


def _require_writable(card: Path) -> None:
    try:
        with card.with_name(CARD_LOG).open("ab"):
            pass
    except OSError as error:
        raise ConfigError(
            f"{card.name}: not taken, because it could not be removed afterwards: {card.parent}: {error.strerror}"
        ) from error


def _note(log: Path, line: str) -> None:
    with log.open("w", encoding="utf-8", newline="\r\n") as file:  # an old Notepad wants both
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
