"""`EmotionAnalyzer`: what it takes, what it gives, and one line for everything else."""

import inspect
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edge
from edge import (
    EMOTIONS,
    BundleError,
    CameraError,
    ConfigError,
    EmotionAnalyzer,
    EmotionEdgeError,
    Face,
    Frame,
    ImageError,
    LandmarkModelError,
)
from edge import analyzer as module
from tests.fakes.camera import FakeCamera

PAGE = Path(__file__).resolve().parents[2] / "docs/python.md"


@pytest.fixture(scope="module")
def analyzer() -> EmotionAnalyzer:
    return EmotionAnalyzer()


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    picture: NDArray[np.uint8] = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return picture


@pytest.fixture
def photo_path(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    return tmp_path / "a.png"


def as_dicts(faces: list[Face]) -> list[dict[str, Any]]:
    return [face.to_dict() for face in faces]


def test_every_public_name_is_documented_and_there() -> None:
    page = PAGE.read_text()
    assert [name for name in edge.__all__ if f"`{name}" not in page and f"`edge.{name}`" not in page] == []
    assert [name for name in edge.__all__ if not hasattr(edge, name)] == []
    assert set(edge.__all__) <= set(dir(edge))


def test_every_public_member_is_documented() -> None:
    page = PAGE.read_text()
    members = [name for name in vars(EmotionAnalyzer) if not name.startswith("_") and name != "from_settings"]
    members += [name for name in (*Face.__slots__, "to_dict") if not name.startswith("_")]
    assert [name for name in members if f"`{name}" not in page] == []
    arguments = list(inspect.signature(EmotionAnalyzer).parameters)
    assert [name for name in arguments if f"| `{name}` |" not in page] == []


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        edge.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_face_holds_what_its_types_promise(analyzer: EmotionAnalyzer, photo_path: Path) -> None:
    (face,) = analyzer.analyze(str(photo_path))
    assert face.emotion == "happy"
    assert list(face.scores) == [str(emotion) for emotion in EMOTIONS]
    assert sum(face.scores.values()) == pytest.approx(1)
    assert face.confidence == face.scores["happy"] == max(face.scores.values())
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks.dtype == np.float32
    assert face.track == 1
    x, y, width, height = face.box
    assert x < 224 < x + width
    assert y < 120 < y + height
    assert json.loads(json.dumps(face.to_dict()))["face"] == 1
    assert "landmarks" not in repr(face)


@pytest.mark.parametrize(
    "image_of",
    [
        lambda path, _: path,
        lambda path, _: path.read_bytes(),
        lambda path, _: bytearray(path.read_bytes()),
        lambda _, bgr: bgr,
        lambda _, bgr: np.asfortranarray(bgr),
        lambda _, bgr: np.ascontiguousarray(bgr[:, ::-1])[:, ::-1],
        lambda _, bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY),
        lambda _, bgr: Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), 0.0, 0, bgr),
    ],
    ids=["path", "bytes", "bytearray", "bgr", "fortran order", "negative strides", "gray", "frame"],
)
def test_every_kind_of_image_gives_the_same_faces(
    image_of: Callable[[Path, NDArray[np.uint8]], Any],
    analyzer: EmotionAnalyzer,
    photo: NDArray[np.uint8],
    photo_path: Path,
) -> None:
    before = photo.copy()
    image = image_of(photo_path, photo)
    faces = analyzer.analyze(image)
    assert as_dicts(faces) == as_dicts(analyzer.analyze(str(photo_path)))
    drawn = analyzer.annotate(image, faces)
    assert drawn.shape == photo.shape
    assert drawn.dtype == np.uint8
    assert np.array_equal(photo, before)


def test_address_is_fetched(analyzer: EmotionAnalyzer, photo_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(photo_path.read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        faces = analyzer.analyze(f"http://127.0.0.1:{server.server_port}/a.png")
        server.shutdown()
        thread.join()
    assert [face.emotion for face in faces] == ["happy"]


def test_largest_face_comes_first(analyzer: EmotionAnalyzer, photo: NDArray[np.uint8]) -> None:
    both = np.full((512, 1024, 3), 128, np.uint8)
    both[200:456, 100:356] = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
    both[:, 512:] = photo
    faces = analyzer.analyze(both)
    assert [face.track for face in faces] == [1, 2]
    assert faces[0].box.x > 512 > faces[1].box.x


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (2, 3), (1, 40_000), (40_000, 1), (40, 70_000, 3)])
def test_shapes_of_any_extreme_hold_nobody(shape: tuple[int, ...], analyzer: EmotionAnalyzer) -> None:
    assert analyzer.analyze(np.zeros(shape, np.uint8)) == []


BAD_IMAGES: dict[str, tuple[Any, str]] = {
    "None": (None, "found NoneType"),
    "number": (5, "found int"),
    "list": ([[1, 2]], "found list"),
    "float": (np.zeros((9, 9)), r"float64 \[9, 9\]; \(255 \* image\)"),
    "uint16": (np.zeros((9, 9), np.uint16), "uint16"),
    "object": (np.array(None), "object"),
    "empty": (np.zeros((0, 9), np.uint8), "no pixels"),
    "empty colour": (np.zeros((9, 0, 3), np.uint8), "no pixels"),
    "line": (np.zeros(9, np.uint8), r"uint8 \[9\]"),
    "batch": (np.zeros((2, 9, 9, 3), np.uint8), r"\[2, 9, 9, 3\]"),
    "alpha": (np.zeros((9, 9, 4), np.uint8), "transparency"),
    "one channel": (np.zeros((9, 9, 1), np.uint8), r"\[9, 9, 1\]"),
    "no bytes": (b"", "empty"),
    "other bytes": (b"no picture", "no picture"),
    "text": ("", "file"),
    "missing": ("absent.jpg", "absent.jpg: no such file"),
    "folder": (os.sep, "no file"),
    "python file": (__file__, "no picture"),
    "zero byte": ("a\0b", "no such file|zero|null"),
    "no host": ("http://", "fetched|address|host"),
    "bad host": ("http://[::1", "fetched|address|host|IPv6"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_is_one_line(name: str, analyzer: EmotionAnalyzer) -> None:
    image, message = BAD_IMAGES[name]
    for call in (analyzer.analyze, partial(analyzer.annotate, faces=[])):
        with pytest.raises(ImageError, match=message) as caught:
            call(image)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        (None, ConfigError, "found NoneType"),
        (0, ConfigError, "found int"),
        ("webcam", ConfigError, "webcam"),
        ("v4l2:/dev/video0?width=1", ConfigError, "width"),
        ("v4l2:/dev/absent", CameraError, "no such device"),
        ("file:/absent.mp4", CameraError, "no such clip"),
        ("photos:/absent", CameraError, "no such folder"),
        (f"file:{__file__}", CameraError, "no video|no clip"),
    ],
)
def test_bad_address_is_one_line(
    address: Any, kind: type[EmotionEdgeError], message: str, analyzer: EmotionAnalyzer
) -> None:
    with pytest.raises(kind, match=message) as caught:
        next(analyzer.follow(address))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"classifier": "cn"}, ConfigError, "did you mean cnn"),
        ({"classifier": None}, ConfigError, "found None"),
        ({"classifier": ["cnn"]}, ConfigError, "allowed is"),
        ({"bundle": "/absent"}, BundleError, "/absent"),
        ({"bundle": 5}, ConfigError, "bundle: expected a path, found int"),
        ({"bundle": "a\0b"}, ConfigError, "zero byte"),
        ({"landmarks": "/absent"}, LandmarkModelError, "/absent"),
        ({"landmarks": __file__}, LandmarkModelError, "dlib"),
        ({"landmarks": b"a"}, ConfigError, "found bytes"),
    ],
)
def test_bad_model_is_one_line(arguments: dict[str, Any], kind: type[EmotionEdgeError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        EmotionAnalyzer(**arguments)
    assert "\n" not in str(caught.value)


def demo(analyzer: EmotionAnalyzer, frames: int = 60, *, smoothed: bool = True) -> list[list[Face]]:
    """The faces of the built-in clip's first frames; somebody comes into view at 1 s, after 15 frames."""
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install '.[demo]'")
    with closing(analyzer.follow("demo:?pace=fast", smoothed=smoothed)) as clip:
        return [faces for _, faces in islice(clip, frames)]


@pytest.mark.slow("follows whole clips")
def test_follow_keeps_a_track_and_smooths(analyzer: EmotionAnalyzer) -> None:
    smooth = [faces[0] for faces in demo(analyzer) if faces]
    own = [faces[0] for faces in demo(analyzer, smoothed=False) if faces]
    assert {face.track for face in smooth} == {1}
    assert len(own) == len(smooth) > 20
    assert own[0].to_dict() == smooth[0].to_dict()
    steps = [np.abs(np.diff([face.scores["happy"] for face in faces])).sum() for faces in (own, smooth)]
    assert steps[1] < steps[0]


def test_follow_names_low_scores_uncertain(
    analyzer: EmotionAnalyzer, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    luma = np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY))
    camera = FakeCamera(Frame(luma, 0.0, 0), live=False)
    monkeypatch.setattr(module, "open_camera", lambda *_, **__: camera)
    flat = np.full((1, 5), 0.2, np.float32)
    monkeypatch.setattr("edge.inference.TfliteClassifier.scores", lambda *_: flat)
    ((_, (face,)),) = analyzer.follow("demo:")
    assert face.emotion == edge.UNCERTAIN
    assert face.confidence == pytest.approx(0.2)


def test_follow_turns_and_mirrors_the_picture(
    analyzer: EmotionAnalyzer, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.flip(cv2.rotate(photo, cv2.ROTATE_180), 1))

    [(_, none)] = analyzer.follow(f"photos:{tmp_path}")
    [(frame, [face])] = analyzer.follow(f"photos:{tmp_path}", rotate=180, flip="horizontal")

    assert none == []
    assert np.array_equal(frame.luma, cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY))
    assert face.box.iou(analyzer.analyze(photo)[0].box) > 0.7


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"rotate": 45}, "follow: rotate: found 45: allowed is 0 or 90 or 180 or 270"),
        ({"rotate": "180"}, "follow: rotate: found '180'"),
        ({"rotate": False}, "follow: rotate: found False"),
        ({"flip": "both"}, "follow: flip: found 'both': allowed is none or horizontal or vertical"),
        ({"flip": None}, "follow: flip: found None"),
    ],
)
def test_follow_refuses_a_wrong_turn_at_once(analyzer: EmotionAnalyzer, turn: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        analyzer.follow("demo:", **turn)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("ending", ["end", "break", "close", "error"])
def test_follow_closes_the_camera(
    ending: str, live: bool, analyzer: EmotionAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    luma = np.zeros((48, 64), np.uint8)
    steps = [Frame(luma, index / 10, index) for index in range(3)]
    camera = FakeCamera(*steps, *[CameraError("gone")] * (ending == "error"), live=live)
    monkeypatch.setattr(module, "open_camera", lambda *_, **__: camera)
    before = threading.active_count()
    frames = analyzer.follow("demo:")
    assert not camera.closed.is_set()
    if ending == "close":
        next(frames)
        frames.close()
    elif ending == "break":
        with closing(frames):
            for _ in frames:
                break
    elif ending == "error":
        with pytest.raises(CameraError, match="gone"):
            list(frames)
    else:
        list(frames)
    assert camera.closed.is_set()
    for thread in threading.enumerate():
        if thread.name == "search":
            thread.join(10)
    assert threading.active_count() == before


@pytest.mark.slow("follows whole clips")
def test_follow_of_two_sources_at_once_mixes_nothing(analyzer: EmotionAnalyzer) -> None:
    alone = [as_dicts(faces) for faces in demo(analyzer, 40)]
    with closing(analyzer.follow("demo:?pace=fast")) as first, closing(analyzer.follow("demo:?pace=fast")) as second:
        pairs = list(islice(zip(first, second, strict=True), 40))
    assert [(as_dicts(a), as_dicts(b)) for (_, a), (_, b) in pairs] == [(faces, faces) for faces in alone]
    assert alone[-1] != []


def test_threads_share_an_analyzer(analyzer: EmotionAnalyzer, photo: NDArray[np.uint8]) -> None:
    pictures = [np.ascontiguousarray(np.roll(photo, 20 * shift, axis=1)) for shift in range(6)]
    alone = [as_dicts(analyzer.analyze(picture)) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: as_dicts(analyzer.analyze(picture)), pictures * 2))
    assert together == alone * 2
