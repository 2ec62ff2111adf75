"""What the device is doing, in one word and one sentence: the line at the top of the page."""

from typing import Literal

import msgspec

from edge.events.payloads import Health, Privacy
from edge.mqtt.interface import PublisherStats

Name = Literal["starting", "stuck", "paused", "no_camera", "camera_failed", "dark", "no_broker", "hot", "nobody", "ok"]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The most important thing to know; the rest of the page has the details."""

    name: Name
    title: str
    detail: str
    """what it means or what to do, one sentence"""


STARTING = Condition(name="starting", title="Starting", detail="The models load and the camera opens.")
STUCK = Condition(name="stuck", title="Stuck", detail="The daemon does not answer; systemd restarts it.")


def condition(health: Health, privacy: Privacy, delivery: PublisherStats, *, people: int) -> Condition:
    """Judge the newest figures: what stops the work comes first, then what slows it down."""
    for judge in (_of_camera, _of_broker, _of_heat):
        found = judge(health, privacy, delivery)
        if found is not None:
            return found
    if people == 0:
        return Condition(name="nobody", title="Nobody there", detail="The camera sees no face.")
    title = "1 person in view" if people == 1 else f"{people} people in view"
    return Condition(name="ok", title=title, detail="Camera and broker work.")


def _of_camera(health: Health, privacy: Privacy, _: PublisherStats) -> Condition | None:
    fault = health.camera_fault or "no reason is known"
    if privacy.paused or health.camera == "paused":
        return Condition(name="paused", title="Paused", detail="The camera is closed. Nothing is seen or stored.")
    if health.camera == "failed" and not health.frames:
        return Condition(name="no_camera", title="No camera", detail=f"{fault}. Is it plugged in and named right?")
    if health.camera == "failed":
        return Condition(name="camera_failed", title="Camera failed", detail=f"{fault}. It is opened again by itself.")
    if health.camera == "black":
        detail = "The picture is black. Is it night, or is something in front of the lens?"
        return Condition(name="dark", title="Dark", detail=detail)
    return STARTING if health.camera == "starting" else None


def _of_broker(_: Health, __: Privacy, delivery: PublisherStats) -> Condition | None:
    if delivery.connected:
        return None
    waiting = {0: "Events will wait", 1: "1 event waits"}.get(delivery.depth, f"{delivery.depth} events wait")
    waiting += " on the device and be sent later." if not delivery.depth else " on the device and will be sent later."
    detail = f"{delivery.last_refusal}. {waiting}" if delivery.last_refusal else waiting
    return Condition(name="no_broker", title="No broker", detail=detail)


def _of_heat(health: Health, _: Privacy, __: PublisherStats) -> Condition | None:
    if health.limited_by not in {"temperature", "throttled"}:
        return None
    why = "The firmware slows the processor down" if health.limited_by == "throttled" else "The processor is hot"
    degrees = "" if health.temperature_c is None else f" ({health.temperature_c:.0f} °C)"
    return Condition(name="hot", title="Hot", detail=f"{why}{degrees}: fewer frames are processed until it is cooler.")
