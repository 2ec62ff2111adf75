"""Where the daemon's loop leaves what the page shows. While nobody looks, the loop leaves next to nothing."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from edge.clock import Clock, SystemClock
from edge.events.payloads import FaceReading, Health, Privacy, PrivacyCommand
from edge.events.visits import Moment
from edge.faces.types import TrackedFace
from edge.frames import Frame
from edge.mqtt.interface import PublisherStats
from edge.web.condition import STARTING, Condition, condition
from edge.web.history import History

SCENES_PER_S = 10.0
STATUS_EVERY_S = 1.0
FRESH_S = 0.5
"""Seconds for which a status serves another request."""


class ShownFace(FaceReading, frozen=True, kw_only=True):
    """A face on the page."""

    is_seen: bool
    """False for a face that is lost and may come back; its box is where it was"""
    landmarks: list[list[int]] | None = None
    """68 pairs x, y in pixels of the frame, where they are wanted and the face is seen"""


class _SceneMessage(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    width: int
    height: int
    faces: list[ShownFace]


class Scene:
    """One frame and its faces. Its messages are made when somebody asks, once for everybody."""

    def __init__(self, number: int, frame: Frame, faces: list[TrackedFace], readings: Sequence[FaceReading]) -> None:
        self.number = number
        self.frame = frame
        self.faces = faces
        self._readings = readings
        self._made: dict[str, bytes] = {}

    def jpeg(self) -> bytes:
        """Return the picture as JPEG."""
        from edge.web.picture import jpeg  # without the page, the daemon has no code that encodes a picture

        return self._once("jpeg", lambda: jpeg(self.frame))

    def message(self, *, landmarks: bool) -> bytes:
        """Return number, size and faces as JSON."""
        return self._once(f"message {landmarks}", lambda: msgspec.json.encode(self._message(landmarks=landmarks)))

    def _message(self, *, landmarks: bool) -> _SceneMessage:
        seen = {face.track: face.landmarks for face in self.faces}
        faces = [
            ShownFace(
                **msgspec.structs.asdict(one),
                is_seen=one.face in seen,
                landmarks=seen[one.face].round().astype(int).tolist() if landmarks and one.face in seen else None,
            )
            for one in self._readings
        ]
        return _SceneMessage(number=self.number, width=self.frame.width, height=self.frame.height, faces=faces)

    def _once(self, key: str, make: Callable[[], bytes]) -> bytes:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the device is doing."""

    now_s: float
    """monotonic clock, to which the spans of the history refer"""
    condition: Condition
    health: Health | None = None
    privacy: Privacy | None = None
    connected: bool = False
    """True while the broker accepts messages"""
    refusal: str | None = None
    """why the broker refused the login, one line"""
    people: int = 0


class View:
    """Written by the loop, read by the page's thread; commands go the other way.

    The loop asks `wants_scene` and `wants_status`, which are cheap, and only then makes what is wanted. Unless there is
    a page (`is_served`), nothing is kept.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.is_served = False
        """True once there is a page; set before the loop begins"""
        self.history = History()
        self.scene: Scene | None = None
        """the newest one that somebody wanted; None while nobody looks, or nothing can be seen"""
        self.scenes = 0
        """grows with each change of `scene`"""
        self.status = Status(now_s=0.0, condition=STARTING)
        self.statuses = 0
        """grows with each change of `status`"""
        self.on_change: Callable[[], object] = lambda: None
        """called, on the loop's thread, after each change; must return at once"""
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._viewers = 0
        self._is_asked = False
        self._scene_due_s = self._status_due_s = 0.0
        self._people: set[int] = set()
        self._commands: deque[PrivacyCommand] = deque(maxlen=16)

    # The loop's side.

    def wants_scene(self) -> bool:
        """True if somebody looks, and the last scene is old enough."""
        return self._viewers > 0 and self._clock.monotonic() >= self._scene_due_s

    def show(self, frame: Frame, faces: list[TrackedFace], readings: Sequence[FaceReading]) -> None:
        """Take a frame, its faces, and the readings of everybody in view."""
        now_s = self._clock.monotonic()
        # Due times keep their rhythm: a camera of 15 frames a second would otherwise give 7.5 scenes instead of 10.
        self._scene_due_s = max(self._scene_due_s + 1 / SCENES_PER_S, now_s - 1 / SCENES_PER_S)
        with self._lock:
            if self._viewers:
                self.scenes += 1
                self.scene = Scene(self.scenes, frame, faces, readings)
        self.on_change()

    def lose_sight(self) -> None:
        """Forget the picture: the camera is closed, or has failed."""
        if not self.is_served:
            return
        with self._lock:
            self.scenes += 1
            self.scene = None
        self.on_change()

    def happened(self, moments: Iterable[Moment]) -> None:
        """Note who appeared, changed or left in this frame."""
        if not self.is_served:
            return
        moments = list(moments)
        for moment in moments:
            if moment.event_type == "face_left":
                self._people.discard(moment.reading.face)
            else:
                self._people.add(moment.reading.face)
        self.history.add(moments, self._clock.monotonic())
        self.on_change()

    def wants_status(self) -> bool:
        """True if somebody looks or has asked, and the last status is old enough."""
        return self._is_asked or (self._viewers > 0 and self._clock.monotonic() >= self._status_due_s)

    def tell(self, health: Health, privacy: Privacy, delivery: PublisherStats) -> None:
        """Take the newest figures."""
        if not self.is_served:
            return
        now_s = self._clock.monotonic()
        self._status_due_s, self._is_asked = now_s + STATUS_EVERY_S, False
        self.history.add_camera(health.camera, now_s)
        self.status = Status(
            now_s=round(now_s, 2),
            condition=condition(health, privacy, delivery, people=len(self._people)),
            health=health, privacy=privacy, connected=delivery.connected, refusal=delivery.last_refusal,
            people=len(self._people),
        )  # fmt: skip
        self.statuses += 1
        self.on_change()

    def take_commands(self) -> list[PrivacyCommand]:
        """Return the commands given on the page since the last call, oldest first."""
        if not self._commands:
            return []
        with self._lock:
            taken = list(self._commands)
            self._commands.clear()
        return taken

    # The page's side.

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._viewers

    def enter(self) -> None:
        """Begin to look: from now on the loop makes scenes and statuses."""
        with self._lock:
            self._viewers += 1
        self._is_asked = True

    def leave(self) -> None:
        """End a look; with the last one, the picture is forgotten."""
        with self._lock:
            self._viewers -= 1
            if not self._viewers:
                self.scene = None

    def ask(self) -> None:
        """Have the loop make a status at its next step, unless the last one is fresh."""
        if self._clock.monotonic() - self.status.now_s >= FRESH_S:
            self._is_asked = True

    def age_s(self) -> float:
        """Return the seconds since the last status."""
        return self._clock.monotonic() - self.status.now_s

    def command(self, command: PrivacyCommand) -> None:
        """Have the loop obey a command at its next step."""
        with self._lock:
            self._commands.append(command)
        self._is_asked = True
