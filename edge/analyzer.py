"""`EmotionAnalyzer`: faces and emotions for other Python programs, and for the commands; ``docs/python.md``."""

import difflib
import os
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundles.self_test import self_test
from edge.cameras import Capture, Picture, open_camera, read_picture
from edge.cameras.address import parse_address
from edge.cameras.opening import FLIPS, ROTATIONS, Flip, Rotation
from edge.download import downloaded, is_web_address
from edge.emotions import EMOTIONS
from edge.errors import ConfigError, ImageError, redacted
from edge.events.smoothing import Smoothed
from edge.events.visits import Visits
from edge.faces.detector import FaceDetector
from edge.faces.drawing import draw_face, draw_zones
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.types import Box, TrackedFace
from edge.frames import Frame, FrameSource
from edge.inference import load_classifier
from edge.inference.manifest import ClassifierKind
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import FaceSettings, Settings, SmoothingSettings
from edge.settings.types import default_state_dir

Image: TypeAlias = str | os.PathLike[str] | bytes | NDArray[Any] | Frame
"""A path, an http(s) address, the bytes of a picture file, uint8 [height, width] (gray), uint8 [height, width, 3]
(blue, green, red, as OpenCV reads), or a frame that `EmotionAnalyzer.follow` gave."""

FRAME_TIMEOUT_S = 10.0
"""Seconds without a frame after which `EmotionAnalyzer.follow` raises `CameraError`."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in a picture or frame."""

    emotion: str
    """one of `edge.EMOTIONS`; from `EmotionAnalyzer.follow` also `edge.UNCERTAIN`, where no score is high enough"""
    confidence: float
    """score of that emotion, 0..1; of the best one where it is uncertain"""
    scores: dict[str, float]
    """score of each of `edge.EMOTIONS`, 0..1; they sum to 1"""
    box: Box
    """``(x, y, width, height)``, pixels of the picture; may reach over its edge"""
    landmarks: NDArray[np.float32] = field(repr=False)
    """float32 [68, 2]: x and y in pixels of the picture, iBUG order (jaw 0-16, brows 17-26, nose 27-35, left eye 36-41,
    right eye 42-47, mouth 48-67)"""
    track: int
    """in `EmotionAnalyzer.follow` the number of this person's visit, from 1, the same in every frame; in a single
    picture the number of the face, 1 for the largest"""

    def to_dict(self) -> dict[str, Any]:
        """Return the face as ``emotion-edge classify`` prints it, for JSON; ``track`` is called ``face`` there."""
        return {
            "face": self.track,
            "box": list(self.box),
            "emotion": self.emotion,
            "confidence": round(self.confidence, 4),
            "scores": {emotion: round(score, 4) for emotion, score in self.scores.items()},
            "landmarks": self.landmarks.astype(int).tolist(),
        }


class EmotionAnalyzer:
    """Finds faces in pictures, clips and cameras, and says which emotion each shows.

    It may be shared by threads: one picture or frame is worked on at a time, the other threads wait. For more at a time
    make one analyzer for each thread; detection, decoding and the networks release the GIL.

    Parameters
    ----------
    bundle
        Folder of a model bundle; None is the one that ships.
    classifier
        Which model of the bundle decides: ``cnn``, ``vgg``, ``knn`` or ``ensemble``.
    landmarks
        Path of a dlib 68-point predictor (.dat); None is the one that ships.

    Raises
    ------
    ConfigError
        There is no such classifier, or an argument has the wrong type.
    BundleError
        The bundle is missing, damaged or refused, or a library that its model needs is not installed.
    LandmarkModelError
        The predictor is missing, damaged, or none of 68 points.
    """

    def __init__(
        self,
        *,
        bundle: str | os.PathLike[str] | None = None,
        classifier: str = "cnn",
        landmarks: str | os.PathLike[str] | None = None,
    ) -> None:
        folder, predictor = _path("bundle", bundle), _path("landmarks", landmarks)
        model = load_classifier(folder, _kind(classifier))
        self_test(model, folder)
        state_dir = default_state_dir()
        self._set_up(
            Pipeline(
                faces=FaceSettings(),
                classifier=model,
                landmarks=LandmarkPredictor(predictor),
                detector=FaceDetector(Path(state_dir) if state_dir else None),
            ),
            FaceSettings(),
            SmoothingSettings(),
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "EmotionAnalyzer":
        """Make one as the commands do: with the bundle that ``emotion-edge bundle use`` chose, and all settings.

        Raises
        ------
        ConfigError, BundleError, LandmarkModelError
            As `edge.pipeline.load_pipeline`.
        """
        made = cls.__new__(cls)
        made._set_up(load_pipeline(settings), settings.faces, settings.smoothing)  # noqa: SLF001  # its own
        return made

    def _set_up(self, pipeline: Pipeline, faces: FaceSettings, smoothing: SmoothingSettings) -> None:
        self._pipeline = pipeline
        self._faces = faces
        self._smoothing = smoothing
        self._lock = threading.Lock()

    def analyze(self, image: Image) -> list[Face]:
        """Return the faces of one picture, the largest first; an empty list where there is none.

        A small picture is enlarged for the search, so that faces from about 20 pixels are found.

        Parameters
        ----------
        image
            A path, an ``http://`` or ``https://`` address, the bytes of a picture file, an array uint8 [height, width]
            (gray) or uint8 [height, width, 3] (blue, green, red), or a `Frame`. It is not changed.

        Raises
        ------
        ImageError
            It cannot be read, is no picture, or is an array of another shape or type; one line says what was found.
        """
        luma = _luma(image)
        with self._lock:
            return [_face(found) for found in self._pipeline.find_still(luma)]

    def follow(
        self,
        address: str,
        *,
        smoothed: bool = True,
        rotate: Rotation = 0,
        flip: Flip = "none",
    ) -> Generator[tuple[Frame, list[Face]], None, None]:
        """Follow the faces of a camera, clip or folder: yields each frame with the faces seen in it, the largest first.

        The camera is opened by the first ``next``, and closed when the loop ends, when it is left with ``break`` or an
        exception, and by the generator's ``close()``. From a camera comes the newest frame, and what arrives while one
        is worked on is dropped; from a clip or a folder come all frames. A camera's face is reported from its third
        frame on (false detections rarely last), a clip's from its first.

        Parameters
        ----------
        address
            ``picamera2:0``, ``v4l2:/dev/video0``, ``rtsp://…``, ``http://…``, ``file:CLIP``, ``photos:FOLDER`` or
            ``demo:``, with the options of docs/cameras.md.
        smoothed
            Smooth each face's scores over time, and name its emotion as the daemon does: it changes only when another
            has led for a moment, and is `edge.UNCERTAIN` where no score is high enough. False gives every frame's own
            scores and the emotion with the best one.

        Raises
        ------
        ConfigError
            The address is wrong; raised at once.
        CameraError
            What it names is not there, gives no frame for `FRAME_TIMEOUT_S` seconds, or fails; raised by ``next``.
        """
        if not isinstance(address, str):
            raise ConfigError(f"follow: expected an address such as 'v4l2:/dev/video0', found {type(address).__name__}")
        parse_address(address)
        for name, value, values in (("rotate", rotate, ROTATIONS), ("flip", flip, FLIPS)):
            if value not in values or isinstance(value, bool):
                raise ConfigError(f"follow: {name}: found {value!r}: allowed is {' or '.join(map(str, values))}")
        return self._follow(partial(open_camera, address, rotate=rotate, flip=flip), smoothed=smoothed)

    def annotate(self, image: Image, faces: Iterable[Face]) -> NDArray[np.uint8]:
        """Return a copy of a picture with each face's box, emotion, landmarks and scores drawn on it, and the zones.

        Parameters
        ----------
        image
            As for `analyze`.
        faces
            What `analyze` or `follow` found in it.

        Returns
        -------
        uint8 [height, width, 3], blue, green, red: ``cv2.imwrite`` takes it.

        Raises
        ------
        ImageError
            As for `analyze`.
        """
        canvas = _bgr(image)
        draw_zones(canvas, self._faces.zones)
        for face in sorted(faces, key=lambda face: face.box.width):
            draw_face(
                canvas,
                face.box,
                emotion=face.emotion,
                confidence=face.confidence,
                scores=face.scores,
                landmarks=face.landmarks,
            )
        return canvas

    def _follow(
        self, open_source: Callable[[], FrameSource], *, smoothed: bool
    ) -> Generator[tuple[Frame, list[Face]], None, None]:
        source = open_source()
        with closing(Capture(source)) as capture, closing(self._pipeline_for(source)) as pipeline:
            visits = Visits(self._smoothing, forget_after_s=self._faces.forget_after_s) if smoothed else None
            while (frame := capture.get(FRAME_TIMEOUT_S)) is not None:
                with self._lock:
                    found = pipeline.follow(frame)
                if visits is not None:
                    visits.update(found, frame.time_s, pipeline.classifier.population)
                yield frame, [_face(one, visits.smoothed(one.track) if visits else None) for one in found]

    def _pipeline_for(self, source: FrameSource) -> Pipeline:
        if source.live:
            return self._pipeline.another(self._faces, live=True)
        # A clip waits, so nothing has to be saved: every change is searched, for small faces too, and a face counts at
        # once. Costs 3 to 33 ms a frame of 640x480 on an EPYC where a camera's frame costs 2 to 6.
        every_frame = {"confirm_frames": 1, "search_every_s": 0.001, "upsample": max(1, self._faces.upsample)}
        return self._pipeline.another(msgspec.structs.replace(self._faces, **every_frame))


def _face(found: TrackedFace, smoothed: Smoothed | None = None) -> Face:
    """Turn what the pipeline found into what callers see, with its smoothed emotion where there is one."""
    best = int(found.scores.argmax())
    return Face(
        emotion=smoothed.emotion if smoothed else str(EMOTIONS[best]),
        confidence=smoothed.confidence if smoothed else float(found.scores[best]),
        scores=_named(smoothed.scores if smoothed else found.scores),
        box=found.box,
        landmarks=found.landmarks,
        track=found.track,
    )


def _named(scores: NDArray[np.floating[Any]]) -> dict[str, float]:
    return {str(emotion): float(score) for emotion, score in zip(EMOTIONS, scores, strict=True)}


def _kind(classifier: str) -> ClassifierKind:
    kinds: tuple[ClassifierKind, ...] = get_args(ClassifierKind)
    for kind in kinds:
        if kind == classifier:
            return kind
    near = difflib.get_close_matches(str(classifier).lower(), kinds, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"classifier: found {classifier!r}: allowed is {' or '.join(kinds)}{hint}")


def _path(name: str, given: str | os.PathLike[str] | None) -> Path | None:
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"{name}: expected a path, found {type(given).__name__}")
    if "\0" in os.fspath(given):
        raise ConfigError(f"{name}: found {given!r}: a path cannot hold a zero byte")
    return Path(given)


def _luma(image: Image) -> NDArray[np.uint8]:
    """Brightness of an image, uint8 [height, width]."""
    if isinstance(image, Frame):
        return image.luma
    if isinstance(image, np.ndarray):
        _check(image)
        pixels = np.ascontiguousarray(image)
        return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    return _read(image).luma


def _bgr(image: Image) -> NDArray[np.uint8]:
    """Return a colour copy of an image, uint8 [height, width, 3]."""
    if isinstance(image, Frame):
        image = image.luma if image.bgr is None else image.bgr
    if isinstance(image, np.ndarray):
        _check(image)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)) if image.ndim == 2 else np.array(image, order="C")
    return _read(image).bgr


def _check(image: NDArray[Any]) -> None:
    expected = "expected uint8 [height, width] or uint8 [height, width, 3] (blue, green, red)"
    found = f"found {image.dtype} {list(image.shape)}"
    if image.dtype != np.uint8:
        hint = "; (255 * image).astype('uint8') converts values from 0 to 1" if image.dtype.kind == "f" else ""
        raise ImageError(f"{expected}, {found}{hint}")
    if image.ndim == 3 and image.shape[2] == 4:
        raise ImageError(f"{expected}, {found}; image[:, :, :3] leaves the transparency out")
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3):
        raise ImageError(f"{expected}, {found}")
    if image.size == 0:
        raise ImageError(f"{expected}, {found}, which has no pixels")


def _read(image: str | os.PathLike[str] | bytes) -> Picture:
    if isinstance(image, bytes | bytearray | memoryview):
        return read_picture(bytes(image))
    if isinstance(image, str) and is_web_address(image):
        with downloaded(image) as path:
            return read_picture(path, name=redacted(image))
    if isinstance(image, str | os.PathLike):
        return read_picture(Path(os.fspath(image)))
    hint = "; numpy.asarray(image.convert('L')) makes an array of it" if hasattr(image, "convert") else ""
    raise ImageError(
        "expected a path, an http(s) address, the bytes of a picture file or a uint8 array, "
        f"found {type(image).__name__}{hint}"
    )
