"""Checks the models and the camera."""

import time
from pathlib import Path

from edge.cameras import open_camera
from edge.clock import SystemClock
from edge.daemon.privacy import PrivacyPause
from edge.daemon.signs import is_black
from edge.doctor.finding import Finding
from edge.doctor.service import Service
from edge.errors import EmotionEdgeError, redacted
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings

FRAME_TIMEOUT_S = 10.0
_LOCAL_CAMERAS = ("picamera2:", "v4l2:")


def check_models(settings: Settings) -> tuple[Finding, Pipeline | None]:
    """Check that the models are intact, load, and give scores; return the pipeline if they do."""
    try:
        pipeline = load_pipeline(settings)  # verifies every hash, and runs the network once
    except EmotionEdgeError as error:
        return Finding("models", "problem", str(error), "set bundle and landmarks right, or install again"), None
    return Finding("models", "ok", f"{pipeline.classifier.name}, verified and run once"), pipeline


def check_camera(settings: Settings, service: Service, pipeline: Pipeline | None) -> Finding:
    """Check that the camera opens and gives a picture that is not black."""
    name = redacted(settings.camera)
    if service.active and settings.camera.startswith(_LOCAL_CAMERAS):
        advice = "to try it: sudo systemctl stop emotion-edge, then the doctor again"
        return Finding("camera", "skipped", f"{name} is in use by the running service", advice)
    privacy = PrivacyPause(Path(settings.state_dir), SystemClock())
    privacy.check(change=False)
    if privacy.pause is not None:
        return Finding("camera", "skipped", "closed: a privacy pause is on", "to end it: emotion-edge privacy resume")
    began_s = time.monotonic()
    try:
        source = open_camera(settings.camera, rotate=settings.camera_rotate, flip=settings.camera_flip)
        try:
            frame = source.read(FRAME_TIMEOUT_S)
        finally:
            source.close()
    except EmotionEdgeError as error:
        return Finding("camera", "problem", str(error))
    if frame is None:
        return Finding("camera", "problem", f"{name} holds no picture")
    return _judge(frame, name, time.monotonic() - began_s, pipeline)


def _judge(frame: Frame, name: str, took_s: float, pipeline: Pipeline | None) -> Finding:
    height, width = frame.luma.shape
    found = f"{name} gave {width}x{height} after {took_s:.1f} s"
    if is_black(frame.luma):
        return Finding("camera", "warning", f"{found}, and it is black", "is the lens covered, or the room dark?")
    if pipeline is not None:
        faces = len(pipeline.find_still(frame.luma))  # one picture: following wants several
        found += f", {faces} face{'' if faces == 1 else 's'} in it"
    return Finding("camera", "ok", found)
