"""The cameras of this machine and what each offers, as the drivers say it: no ``v4l2-ctl`` is needed.

Structures and numbers: Linux, ``include/uapi/linux/videodev2.h``. Asking for formats works while another program uses
the camera.
"""

import errno
import fcntl
import importlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import printable

Ioctl = Callable[[int, int, bytearray], object]

_QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), 104 bytes
_ENUM_FMT = 0xC0405602  # _IOWR('V', 2, struct v4l2_fmtdesc), 64 bytes
_ENUM_FRAMESIZES = 0xC02C564A  # _IOWR('V', 74, struct v4l2_frmsizeenum), 44 bytes
_ENUM_FRAMEINTERVALS = 0xC034564B  # _IOWR('V', 75, struct v4l2_frmivalenum), 52 bytes
_CAPTURE, _DEVICE_CAPS = 0x1, 0x8000_0000
_VIDEO_CAPTURE = 1
"""``V4L2_BUF_TYPE_VIDEO_CAPTURE``"""
_DISCRETE = 1
_MOST = 100
"""Most formats, sizes and rates that are asked for; a driver says where its list ends."""
_PI_DRIVERS = frozenset({"bcm2835-codec-decode", "bcm2835-isp", "rp1-cfe", "unicam"})
"""Parts of the Pi's own camera, which is used through picamera2."""


@dataclass(frozen=True, slots=True)
class Size:
    """One size of one format."""

    width: int
    height: int
    rates: tuple[float, ...]
    """frames a second, the highest first; empty where the driver does not say"""
    steps: str = ""
    """how the size may grow from here, in words; empty for this size alone"""

    def __str__(self) -> str:
        rates = "/".join(f"{rate:.3g}" for rate in self.rates)
        return f"{self.width}x{self.height}{self.steps}{f' {rates}' if rates else ''}"


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """One camera of this machine."""

    address: str
    """what the setting ``camera`` takes, with the name that survives a restart where there is one"""
    name: str
    """what the driver calls it"""
    device: str = ""
    """its device file, for ``v4l2``"""
    modes: dict[str, list[Size]] = field(default_factory=dict)
    """sizes by format: ``mjpg`` and ``yuyv`` as the option ``format`` takes them, others by their four letters"""
    fault: str = ""
    """why nothing more is known; empty if all is well"""

    def __str__(self) -> str:
        """Return a line about the camera and one for each format."""
        device = f", {self.device}" if self.device and not self.address.endswith(f":{self.device}") else ""
        lines = [f"{self.address} ({self.name}{device})" + (f": {self.fault}" if self.fault else "")]
        lines += [f"  {name}: {', '.join(map(str, sizes)) or 'any size'}" for name, sizes in self.modes.items()]
        return "\n".join(lines)


def list_cameras() -> list[FoundCamera]:
    """Return the cameras of this machine: the Pi's own, then those behind V4L2."""
    return [*list_picamera2(), *list_v4l2()]


def list_picamera2() -> list[FoundCamera]:
    """Return the Pi's own cameras; none where picamera2 is not installed. USB cameras are left to `list_v4l2`."""
    try:
        found = importlib.import_module("picamera2").Picamera2.global_camera_info()
    except Exception:  # noqa: BLE001  # not installed, or it does not load: opening `picamera2:0` says why
        return []
    return [
        FoundCamera(f"picamera2:{number}", printable(str(camera.get("Model", "unknown"))))
        for number, camera in enumerate(found)
        if "/usb" not in str(camera.get("Id", ""))
    ]


def list_v4l2(folder: Path = Path("/dev"), *, ioctl: Ioctl = fcntl.ioctl) -> list[FoundCamera]:
    """Return the cameras behind V4L2; what gives no pictures (metadata, decoders, outputs) is left out.

    ``ioctl``: stands in for `fcntl.ioctl` in tests.
    """
    stable = {_target(link): link for link in sorted((folder / "v4l/by-id").glob("*"), reverse=True)}
    found = (_look_at(path, stable.get(_target(path)), ioctl) for path in sorted(folder.glob("video*"), key=_number))
    return [camera for camera in found if camera is not None]


def _look_at(path: Path, link: Path | None, ioctl: Ioctl) -> FoundCamera | None:
    address = f"v4l2:{link or path}"
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        advice = "may not be read; add the user to the group video" if denied else f"cannot be opened: {error.strerror}"
        return FoundCamera(address, "unknown", str(path), fault=advice)
    try:
        answer = bytearray(104)
        try:
            ioctl(device, _QUERYCAP, answer)
        except OSError:
            return None  # no video device
        driver, card, _, _, capabilities, of_device = struct.unpack_from("16s32s32sIII", answer)
        offers = of_device if capabilities & _DEVICE_CAPS else capabilities
        if not offers & _CAPTURE or _text(driver) in _PI_DRIVERS:
            return None
        modes = {_name(code): list(_sizes(device, code, ioctl)) for code in _formats(device, ioctl)}
        return FoundCamera(address, _text(card), str(path), modes)
    finally:
        os.close(device)


def _formats(device: int, ioctl: Ioctl) -> Iterator[int]:
    for answer in _listed(device, _ENUM_FMT, (_VIDEO_CAPTURE,), 64, ioctl):
        yield struct.unpack_from("I", answer, 44)[0]


def _sizes(device: int, code: int, ioctl: Ioctl) -> Iterator[Size]:
    for answer in _listed(device, _ENUM_FRAMESIZES, (code,), 44, ioctl):
        kind, width, height = struct.unpack_from("III", answer, 8)
        if kind == _DISCRETE:
            yield Size(width, height, _rates(device, code, width, height, ioctl))
            continue
        width, most_width, step, height, most_height, step_down = struct.unpack_from("IIIIII", answer, 12)
        steps = f" to {most_width}x{most_height} in steps of {step}x{step_down}"
        yield Size(width, height, _rates(device, code, most_width, most_height, ioctl), steps)
        return


def _rates(device: int, code: int, width: int, height: int, ioctl: Ioctl) -> tuple[float, ...]:
    rates = set[float]()
    for answer in _listed(device, _ENUM_FRAMEINTERVALS, (code, width, height), 52, ioctl):
        kind, *numbers = struct.unpack_from("IIIII", answer, 16)
        intervals = [numbers[:2], numbers[2:4]] if kind != _DISCRETE else [numbers[:2]]  # the shortest and the longest
        rates |= {round(below / above, 2) for above, below in intervals if above}
    return tuple(sorted(rates, reverse=True))


def _listed(device: int, request: int, key: tuple[int, ...], size: int, ioctl: Ioctl) -> Iterator[bytearray]:
    """Yield the answers for index 0, 1, …, until the driver says that there are no more."""
    for index in range(_MOST):
        answer = bytearray(size)
        struct.pack_into(f"{1 + len(key)}I", answer, 0, index, *key)
        try:
            ioctl(device, request, answer)
        except OSError:  # EINVAL behind the last, ENOTTY where the driver lists nothing
            return
        yield answer


def _name(code: int) -> str:
    letters = printable((code & 0x7FFF_FFFF).to_bytes(4, "little").decode("latin-1").strip())
    return letters.lower() if letters in ("MJPG", "YUYV") else letters


def _text(raw: bytes) -> str:
    return printable(raw.partition(b"\0")[0].decode(errors="replace"))


def _target(path: Path) -> str:
    return os.path.realpath(path)


def _number(path: Path) -> tuple[int, str]:
    digits = path.name.removeprefix("video")
    return (int(digits) if digits.isdecimal() else 1 << 30, path.name)
