"""Checks the models and the cameras."""

import time
from pathlib import Path
from typing import BinaryIO

import cv2

from edge.cameras import open_camera
from edge.cameras.listing import list_cameras
from edge.clock import SystemClock
from edge.daemon.privacy import PrivacyPause
from edge.daemon.signs import is_black
from edge.doctor.finding import Finding
from edge.doctor.service import LOCAL_CAMERAS, Service
from edge.emotions import EMOTIONS
from edge.errors import EmotionEdgeError, redacted
from edge.events.baseline import missing_population
from edge.faces.drawing import draw_face, draw_zones
from edge.faces.types import TrackedFace
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings

FRAME_TIMEOUT_S = 10.0


def check_models(settings: Settings) -> tuple[Finding, Pipeline | None]:
    """Check that the models are intact, load, and give scores; return the pipeline if they do."""
    try:
        pipeline = load_pipeline(settings)  # verifies every hash, and runs the network once
    except EmotionEdgeError as error:
        advice = "set bundle and landmarks right, or install again"
        return Finding("models", "problem", str(error), advice, "models-refused"), None
    found = f"{pipeline.classifier.name}, verified and run once"
    if fault := missing_population(settings.smoothing, pipeline.classifier):
        return Finding("models", "warning", f"{found}; {fault}", symptom="no-population-for-a-baseline"), pipeline
    return Finding("models", "ok", found), pipeline


def check_cameras() -> Finding:
    """List the cameras of this machine with what they offer, also while the service uses one."""
    found = list_cameras()
    if not found:
        return Finding("cameras", "skipped", "none is connected to this machine", symptom="no-camera-connected")
    listed = "\n".join(map(str, found))
    if any(camera.fault for camera in found):
        return Finding("cameras", "warning", listed, symptom="camera-not-readable")
    return Finding("cameras", "ok", listed)


def check_camera(
    settings: Settings, service: Service, pipeline: Pipeline | None, picture: BinaryIO | None = None
) -> Finding:
    """Check that the camera opens and gives a picture that is not black, and which way up its faces are.

    ``picture``: takes the picture as the detector sees it, with faces and zones drawn, as PNG.
    """
    name = redacted(settings.camera)
    if service.active and settings.camera.startswith(LOCAL_CAMERAS):
        advice = "to try it: sudo systemctl stop emotion-edge, then the doctor again"
        return Finding("camera", "skipped", f"{name} is in use by the running service", advice, "camera-in-use")
    privacy = PrivacyPause(Path(settings.state_dir), SystemClock())
    privacy.check(change=False)
    if privacy.pause is not None:
        advice = "to end it: emotion-edge privacy resume"
        return Finding("camera", "skipped", "closed: a privacy pause is on", advice, "privacy-pause")
    began_s = time.monotonic()
    symptom = "camera-does-not-open"
    try:
        source = open_camera(settings.camera, rotate=settings.camera_rotate, flip=settings.camera_flip)
        symptom = "no-picture"
        try:
            frame = source.read(FRAME_TIMEOUT_S)
        finally:
            source.close()
    except EmotionEdgeError as error:
        return Finding("camera", "problem", str(error), symptom=symptom)
    if frame is None:
        return Finding("camera", "problem", f"{name} holds no picture", symptom="no-picture")
    took_s = time.monotonic() - began_s
    degrees, faces = (0, []) if pipeline is None else pipeline.find_turned(frame.luma)  # following wants several
    if picture is not None:
        _draw(settings, frame, faces, picture)
    found = f"{name} gave {frame.width}x{frame.height} after {took_s:.1f} s"
    if is_black(frame.luma):
        advice = "is the lens covered, or the room dark?"
        return Finding("camera", "warning", f"{found}, and it is black", advice, "black-picture")
    return Finding("camera", "ok", found) if pipeline is None else _judge_faces(settings, found, degrees, len(faces))


def _judge_faces(settings: Settings, found: str, degrees: int, faces: int) -> Finding:
    if degrees:
        found += f"; faces are found when the picture is turned by {degrees}, and none as it is"
        advice = f"set camera_rotate = {_rotation(settings, degrees)}"
        return Finding("camera", "warning", found, advice, "picture-turned")
    zones = "its zones" if settings.faces.zones else ""
    return Finding("camera", "ok", f"{found}, {faces} face{'' if faces == 1 else 's'} in {zones or 'it'}")


def _rotation(settings: Settings, degrees: int) -> int:
    """Return the `camera_rotate` that turns the picture by this many degrees more; mirroring comes after turning."""
    return (settings.camera_rotate + (degrees if settings.camera_flip == "none" else -degrees)) % 360


def _draw(settings: Settings, frame: Frame, faces: list[TrackedFace], picture: BinaryIO) -> None:
    canvas = cv2.cvtColor(frame.luma, cv2.COLOR_GRAY2BGR) if frame.bgr is None else frame.bgr.copy()
    draw_zones(canvas, settings.faces.zones)
    for face in faces:
        scores = dict(zip(map(str, EMOTIONS), face.scores.tolist(), strict=True))
        emotion = max(scores, key=lambda name: scores[name])
        draw_face(
            canvas, face.box, emotion=emotion, confidence=scores[emotion], scores=scores, landmarks=face.landmarks
        )
    picture.write(cv2.imencode(".png", canvas)[1].tobytes())
    picture.flush()
