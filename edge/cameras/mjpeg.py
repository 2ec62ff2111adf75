"""Network cameras that send JPEGs one after another over HTTP (ESP32-CAM, motion): ``http://HOST/PATH``.

Pictures are cut out of the stream at JPEG's own start and end, because cameras write the lines between them as they
like. Reading, time limits and closing are those of `edge.cameras.opencv.OpenCvCamera`, behind which this stands as a
device.
"""

import contextlib
import http.client
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.address import Address
from edge.cameras.opencv import READ_TIMEOUT_S, OpenCvCamera
from edge.cameras.pictures import MAX_PIXELS
from edge.content import picture_header
from edge.download import reason_of, web_opener, web_request
from edge.errors import CameraError, printable, redacted

MAX_PICTURE_BYTES = 10_000_000
"""A server that sends more bytes than this without a picture is given up."""
_CHUNK = 1 << 16
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_SCAN = 0xDA


def open_mjpeg(address: Address) -> OpenCvCamera:
    """Open a Motion JPEG stream; ``user:password@`` in the address logs in, by Basic or Digest authentication.

    Raises `CameraError`: the server cannot be reached, refuses, or sends something else; never holds the password.
    """
    name = redacted(address.target)
    return OpenCvCamera(name, lambda: MjpegDevice(address.target, name), hint="check host, port and path")


class MjpegDevice:
    """A stream with the methods of ``cv2.VideoCapture`` that are called. Raises `CameraError` if it does not open."""

    def __init__(self, url: str, name: str) -> None:
        self._name = name
        self._buffer = bytearray()
        self._without_picture = 0
        try:
            request = web_request(url)
            self._answer: Any = _opener(url, request.full_url).open(request, timeout=READ_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            advice = "; it wants user and password: http://USER:PASSWORD@HOST/PATH" if error.code == 401 else ""
            raise CameraError(f"{name}: answered {error.code} {printable(str(error.reason))}{advice}") from None
        except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
            raise CameraError(f"{name}: cannot be reached: {reason_of(error)}") from None
        kind = self._answer.headers.get_content_type() if self._answer.headers.get("Content-Type") else ""
        if kind.startswith(("text/", "image/")) or kind == "application/json":
            self._answer.close()
            raise CameraError(f"{name}: gives {printable(kind)}, no MJPEG stream; the camera's manual has its address")

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        """Return True: a stream that does not open raises instead."""
        return True

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Return the next picture, uint8 [height, width, 3]; False if one is damaged.

        Raises `CameraError`: the stream has ended, is silent, or holds no pictures.
        """
        data = self._next_jpeg()
        header = picture_header(data)
        if header is None or header.size[0] * header.size[1] > MAX_PIXELS:
            return False, None
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return image is not None, None if image is None else np.asarray(image, np.uint8)

    def interrupt(self) -> None:
        """End a read that waits for the server; may be called from another thread."""
        raw = getattr(getattr(self._answer, "fp", None), "raw", None)
        connection = getattr(raw, "_sock", None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the connection."""
        self._answer.close()

    def _next_jpeg(self) -> bytes:
        while True:
            start = self._buffer.find(_START)
            if start > 0:
                del self._buffer[:start]
            elif start < 0:
                del self._buffer[:-2]
            end = _end_of_jpeg(self._buffer) if start >= 0 else 0
            if end:
                data = bytes(self._buffer[:end])
                del self._buffer[:end]
                self._without_picture = 0
                return data
            self._receive()

    def _receive(self) -> None:
        try:
            chunk = self._answer.read1(_CHUNK)
        except TimeoutError:
            raise CameraError(f"{self._name}: sent nothing for {READ_TIMEOUT_S:g} s") from None
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise CameraError(f"{self._name}: the connection broke: {printable(str(error))}") from None
        if not chunk:
            raise CameraError(f"{self._name}: the stream has ended")
        self._without_picture += len(chunk)
        if self._without_picture > MAX_PICTURE_BYTES:
            raise CameraError(f"{self._name}: sent {MAX_PICTURE_BYTES // 1_000_000} MB without a JPEG; no MJPEG stream")
        self._buffer += chunk


def _end_of_jpeg(data: bytearray) -> int:
    """Return the length of the JPEG that ``data`` begins with, 0 while its end has not come.

    Segments are skipped by their length, because a thumbnail within one has an end of its own.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return at  # damaged: the decoder refuses it
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == _SCAN:
            end = data.find(_END, at)
            return end + 2 if end >= 0 else 0
    return 0


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Logs in by Digest; unlike its base it closes the connection that was refused."""

    def http_error_401(self, *args: Any) -> Any:
        """Close the refused answer, then ask again with the login."""
        args[1].close()
        return super().http_error_401(*args)


def _opener(url: str, bare_url: str) -> urllib.request.OpenerDirector:
    """Return an opener for http and https, without proxies, that can log in by Digest too."""
    parts = urlsplit(url)
    if parts.username is None:
        return web_opener()
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, bare_url, unquote(parts.username), unquote(parts.password or ""))
    return web_opener(_Digest(passwords))
