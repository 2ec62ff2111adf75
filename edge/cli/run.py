"""`emotion-edge run`: the daemon."""

import gc
import logging
import sys
from typing import Annotated

import typer

from edge.cli.options import Broker, Bundle, CameraFlip, CameraRotate, Classifier, Config, PasswordFile, StateDir


def run(
    config: Config = None,
    camera: Annotated[
        str | None,
        typer.Option(help="picamera2:0, v4l2:/dev/video0, rtsp://…, http://…, file:CLIP, photos:FOLDER, demo:"),
    ] = None,
    mqtt: Broker = None,
    password_file: PasswordFile = None,
    device: Annotated[str | None, typer.Option(help="Name of this device in topics.")] = None,
    homeassistant: Annotated[
        bool, typer.Option("--homeassistant", help="Let Home Assistant on the same broker find this device.")
    ] = False,
    bundle: Bundle = None,
    classifier: Classifier = None,
    state_dir: StateDir = None,
    camera_rotate: CameraRotate = None,
    camera_flip: CameraFlip = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log each event, with the emotion, instead of counts: as log.events.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings and errors only.")] = False,
) -> None:
    """Run the daemon: camera, faces, emotions, events."""
    from edge.settings import load_settings

    flags = {
        "camera": camera,
        "mqtt.url": mqtt,
        "mqtt.password_file": password_file,
        "homeassistant.enabled": "true" if homeassistant else None,
        "device": device,
        "bundle": bundle,
        "classifier": classifier,
        "state_dir": state_dir,
        "camera_rotate": camera_rotate,
        "camera_flip": camera_flip,
        "log.events": "true" if verbose else None,
    }
    settings = load_settings(config, flags=flags)
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr
    )
    gc.disable()  # a start makes what stays; `run_service` turns it on again
    try:
        from edge.daemon.service import run_service
        from edge.web.examination import Examination

        run_service(settings, Examination(config, flags))
    finally:
        gc.enable()
