"""Addresses: what is understood, what is refused and in which words, and what is never shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.cameras import open_camera
from edge.cameras.address import parse_address
from edge.errors import ConfigError, redacted


@pytest.mark.parametrize(
    ("uri", "scheme", "target", "options"),
    [
        ("demo:", "demo", "", {"pace": "realtime", "loop": "0"}),
        ("demo:?pace=fast&loop=1", "demo", "", {"pace": "fast", "loop": "1"}),
        ("file:a.mp4", "file", "a.mp4", {"pace": "fast", "loop": "0"}),
        ("file:/x/a b%20#1.mp4?loop=1", "file", "/x/a b%20#1.mp4", {"pace": "fast", "loop": "1"}),
        ("file:/x/with?odd.mp4", "file", "/x/with?odd.mp4", {"pace": "fast", "loop": "0"}),
        ("file:/x/with?odd.mp4?pace=realtime", "file", "/x/with?odd.mp4", {"pace": "realtime", "loop": "0"}),
        ("photos:/x/y", "photos", "/x/y", {}),
        (
            "v4l2:/dev/video0?fps=30",
            "v4l2",
            "/dev/video0",
            {"width": "640", "height": "480", "fps": "30", "format": "auto"},
        ),
        (
            "v4l2:/dev/v4l/by-id/usb-Cam_C270-video-index0?format=mjpg&size=1280x720",
            "v4l2",
            "/dev/v4l/by-id/usb-Cam_C270-video-index0",
            {"width": "1280", "height": "720", "fps": "15", "format": "mjpg"},
        ),
        ("picamera2:1?size=320x240", "picamera2", "1", {"width": "320", "height": "240", "fps": "15"}),
        ("http://u:p@h/s?a=1", "http", "http://u:p@h/s?a=1", {}),
        ("https://h:8443/s", "https", "https://h:8443/s", {}),
        ("picamera2:0", "picamera2", "0", {"width": "640", "height": "480", "fps": "15"}),
        ("rtsp://u:p@h/s?a=1", "rtsp", "rtsp://u:p@h/s?a=1", {}),
    ],
)
def test_an_address_is_read(uri: str, scheme: str, target: str, options: dict[str, str]) -> None:
    address = parse_address(uri)

    assert (address.scheme, address.target, dict(address.options)) == (scheme, target, options)


def test_a_path_that_exists_as_a_whole_has_no_options(tmp_path: Path) -> None:
    odd = tmp_path / "clip.mp4?loop=1"
    odd.write_bytes(b"x")

    address = parse_address(f"file:{odd}")

    assert address.target == str(odd)
    assert address.options["loop"] == "0"


def test_a_path_may_begin_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")

    assert parse_address("file:~/a.mp4").target == "/somewhere/a.mp4"


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("fle:a.mp4", ["'fle:a.mp4'", "allowed are picamera2:0", "did you mean file:CLIP?"]),
        ("FILE:a.mp4", ["did you mean file:CLIP?"]),
        ("", ["found ''", "allowed are"]),
        ("0", ["did you mean picamera2:0?"]),
        ("/dev/video2", ["did you mean v4l2:/dev/video2?"]),
        ("ftp://a/b.mp4", ["allowed are"]),
        ("http://", ["allowed is http://"]),
        ("http://h/a b", ["allowed is http://"]),
        ("v4l2:/dev/video0?format=mpeg", ["format is 'mpeg'", "auto or mjpg or yuyv"]),
        ("v4l2:/dev/video0?size=640", ["no option 'size'", "width"]),
        ("v4l2:/dev/video0?size=640x48a", ["height is '48a'"]),
        ("v4l2:/dev/video0?size=640x480&width=640", ["width is given twice"]),
        ("file:", ["missing", "file:CLIP"]),
        ("file:?loop=1", ["missing", "file:CLIP"]),
        ("file:a.mp4?lop=1", ["'lop'", "pace, loop", "did you mean loop?"]),
        ("file:a.mp4?pace=realtme", ["pace is 'realtme'", "realtime or fast", "did you mean realtime?"]),
        ("file:a.mp4?loop=yes", ["loop is 'yes'", "0 or 1"]),
        ("file:a.mp4?loop=", ["loop is ''"]),
        ("file:a.mp4?loop=1&loop=0", ["loop is given twice"]),
        ("photos:x?loop=1", ["takes no options", "'loop'"]),
        ("demo:astronaut", ["demo: takes no name"]),
        ("picamera2:", ["missing", "picamera2:0"]),
        ("picamera2:imx219", ["by its number"]),
        ("picamera2:0?width=641", ["width is '641'", "even numbers from 160 to 1920"]),
        ("picamera2:0?fps=0", ["fps is '0'", "whole numbers from 1 to 120"]),
        ("picamera2:0?fps=1e1", ["fps is '1e1'"]),
        ("v4l2:/dev/video0?height=99999999999", ["height is"]),
        ("file:a\0b", ["zero byte"]),
        ("rtsp:host", ["allowed is rtsp://"]),
        ("rtsp://", ["allowed is rtsp://"]),
        ("rtsp://host:notaport/", ["allowed is rtsp://"]),
        ("rtsp://host/a b", ["allowed is rtsp://"]),
    ],
)
def test_a_wrong_address_is_one_line_that_says_what_is_allowed(uri: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        open_camera(uri)

    message = str(caught.value)
    assert caught.value.exit_code == 78
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_bare_path_that_exists_gets_its_scheme(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.touch()

    with pytest.raises(ConfigError, match=f"did you mean file:{clip}"):
        open_camera(str(clip))
    with pytest.raises(ConfigError, match=f"did you mean photos:{tmp_path}"):
        open_camera(str(tmp_path))


@pytest.mark.parametrize(
    "uri",
    [
        "rtps://admin:hunter2@cam/live",
        "admin:hunter2@cam/live",
        "rtsp:admin:hunter2@cam",
        "rtsp://admin:hunter2@cam:port/live",
        "rtsp://admin:hun/ter2@hunter2@cam:99999/live",
        "rtsp://admin:hunter2@[cam/live",
        "rtsp://cam:0/user=admin&password=hunter2&channel=1",
        "rtsp://cam:0/?pwd=hunter2",
    ],
)
def test_a_password_is_in_no_message(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_camera(uri)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in redacted(uri)
    assert "cam" in redacted(uri)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
@pytest.mark.parametrize(
    ("password", "advice"),
    [
        ("pa#hunter2", "%23 for #"),
        ("pa/hunter2", "%2F for /"),
        ("12/hunter2", "%2F for /"),
        ("pa?hunter2", "%3F for ?"),
        ("a/b#hunter2?@", "%23 for #, %2F for /, %3F for ?, %40 for @"),
        ("12#hunter2%x", "%23 for #, %25 for %"),
    ],
)
def test_letters_of_a_password_are_advised_with_their_codes(scheme: str, password: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_camera(f"{scheme}://admin:{password}@cam/live")

    assert str(caught.value).endswith(f"in the password, write {advice}")
    assert "hunter2" not in str(caught.value)


def test_password_with_codes_is_taken() -> None:
    uri = "rtsp://admin:a%23%2F%3F%40%3A%25b@cam/live?x=1#y"
    assert parse_address(uri).target == uri


def test_what_is_no_secret_stays_in_the_shown_address() -> None:
    assert redacted("rtsp://u:p@door.local:554/live?channel=1") == "rtsp://***@door.local:554/live?channel=1"
    assert redacted("file:/clips/me@home.mp4") == "file:/clips/me@home.mp4"


@pytest.mark.parametrize("uri", ["file:/clips/caf\udce9.mp4", "photos:\udcff", "rtsp://h/\udce9", "fil:\udce9"])
def test_shown_address_with_odd_bytes_can_be_printed(uri: str) -> None:
    assert redacted(uri).isprintable()
    redacted(uri).encode()
    assert "\\x" in redacted(uri)


def test_the_package_loads_no_heavy_library() -> None:
    code = "import sys, edge.cameras; print([m for m in ('cv2', 'skimage', 'picamera2') if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )

    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    import edge.cameras

    for name in edge.cameras.__all__:
        assert getattr(edge.cameras, name) is not None
    with pytest.raises(AttributeError):
        _ = edge.cameras.nothing
