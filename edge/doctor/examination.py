"""Runs all checks one after another; an error in one does not end the others."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edge.doctor import machine, service, user
from edge.doctor.finding import Finding
from edge.errors import ConfigError
from edge.settings import Settings, load_settings, settings_file
from edge.settings.loading import note_on_form

if TYPE_CHECKING:
    from edge.doctor.homeassistant import Login

_NEED_SETTINGS = ("disk", "outbox", "models", "camera rights", "cameras", "camera", "broker")


def examine(
    config: Path | None = None,
    *,
    camera: bool = True,
    picture: BinaryIO | None = None,
    homeassistant: "Login | None" = None,
    on_begin: Callable[[str], None] = lambda _name: None,
) -> Iterator[Finding]:
    """Check this device and yield the findings, most basic first.

    If root calls it where the service is installed, the process becomes the service's user, permanently.

    ``camera``: False leaves the camera alone: another program uses it.
    ``picture``: takes the camera's picture as the detector sees it, as PNG.
    ``homeassistant``: the broker's user that Home Assistant has, to check what it may read; None: it is not checked.
    ``on_begin``: called with the name of each check before it begins; some take seconds.
    """

    def attempt(name: str, check: Callable[[], Finding]) -> Finding:
        on_begin(name)
        try:
            return check()
        except Exception as error:  # noqa: BLE001 - the other checks still help
            found = f"the check broke: {type(error).__name__}: {error}"
            return Finding(name, "problem", found, "please report this", "check-broke")

    now = service.read_service()
    password = service.PASSWORD
    if now.installed and os.getuid() == 0:
        password = user.password_in_memory()
        me = attempt(user.NAME, user.become_service_user)
        yield me
        if me.status != "ok":  # root loads nothing that the service may have written
            return
    python = attempt("python", machine.check_python)
    yield python
    yield attempt("clock", lambda: machine.check_clock(now))
    yield attempt("heat and power", machine.check_heat)
    yield attempt("service", lambda: service.check_service(now))
    on_begin("settings")
    try:
        settings = load_settings(config)
    except ConfigError as error:
        advice = f"sudo chown root:{service.NAME} {settings_file(config)}; sudo chmod 640 {settings_file(config)}"
        if isinstance(error.__cause__, PermissionError):
            yield Finding("settings", "problem", str(error), advice, "settings-not-readable")
        else:
            yield Finding("settings", "problem", str(error), "docs/settings.md lists all settings", "setting-wrong")
        for name in _NEED_SETTINGS:
            yield Finding(name, "skipped", "needs valid settings", symptom="setting-wrong")
        return
    where = settings_file(config)
    found = f"{where} is valid{note_on_form(config)}" if where.exists() else f"defaults; there is no {where}"
    yield Finding("settings", "ok", found)
    yield attempt("disk", lambda: machine.check_disk(settings, now))
    yield attempt("outbox", lambda: machine.check_outbox(settings))
    yield attempt("camera rights", lambda: service.check_group(settings, now))
    if python.status == "ok":
        yield from _check_parts(settings, now, password, homeassistant, attempt, camera=camera, picture=picture)
    else:
        for name in ("models", "cameras", "camera", "broker"):
            yield Finding(name, "skipped", "needs the packages named above", symptom="package-not-loaded")


def _check_parts(
    settings: Settings,
    now: service.Service,
    password: Path,
    login: "Login | None",
    attempt: Callable[[str, Callable[[], Finding]], Finding],
    *,
    camera: bool,
    picture: BinaryIO | None,
) -> Iterator[Finding]:
    from edge.doctor import broker, homeassistant, seeing

    pipeline = None

    def models() -> Finding:
        nonlocal pipeline
        finding, pipeline = seeing.check_models(settings)
        return finding

    yield attempt("models", models)
    yield attempt("cameras", seeing.check_cameras)
    if camera:
        yield attempt("camera", lambda: seeing.check_camera(settings, now, pipeline, picture))
    known = service.with_service_password(settings, password)
    reached = attempt("broker", lambda: broker.check_broker(known))
    yield reached
    if not settings.homeassistant.enabled:
        return
    if reached.status == "problem":
        yield Finding(homeassistant.NAME, "skipped", "needs the broker", symptom="home-assistant-not-checked")
    else:
        yield attempt(homeassistant.NAME, lambda: homeassistant.check_homeassistant(known, login))
