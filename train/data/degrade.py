"""Degrade training pictures as cameras and life do: blur, darkness, noise, JPEG, masks, glasses, hands; and no faces.

What hides a face makes its target flatter, and a chip without a face has a flat one, so that a network says
``uncertain`` where nobody could tell. All of it is drawn from the given generator.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""[48, 48], 0..255"""
Points = NDArray[np.float32]
"""[68, 2], in pixels"""
Change = Callable[[Picture, Points, np.random.Generator], tuple[Picture, float]]
"""Returns the changed picture, and the share of its target that becomes flat."""

NO_FACE_SHARE = 0.05
"""share of the pictures that show no face"""
BOTH_SHARE = 0.35
"""share of the degraded pictures with two kinds instead of one"""
SIDE = 48
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
EDGE = cv2.BORDER_REPLICATE
FINEST = 8
"""Parts of a pixel in which OpenCV takes the corners of polygons, as a power of two: 3 bits."""


def degrade(
    images: NDArray[np.uint8], points: NDArray[np.float32], rng: np.random.Generator, share: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Degrade a share of the pictures in one or two ways.

    ``images``: uint8 [n, 48, 48].
    ``points``: landmarks [n, 68, 2] of the pictures, in pixels.
    Returns the pictures, uint8 [n, 48, 48], and how much of each face's expression is hidden, float32 [n], 0..1.
    """
    out, hidden = images.copy(), np.zeros(len(images), np.float32)
    names, shares = list(KINDS), np.array([share for share, _ in KINDS.values()])
    for index in np.flatnonzero(rng.random(len(images)) < share):
        count = 1 + (rng.random() < BOTH_SHARE)
        picture, left = images[index].astype(np.float32), 1.0
        for kind in np.sort(rng.choice(len(names), count, replace=False, p=shares / shares.sum())):
            picture, covered = KINDS[names[kind]][1](picture, points[index], rng)
            picture = np.clip(picture, 0, 255)
            left *= 1 - covered
        out[index], hidden[index] = np.rint(picture), 1 - left
    return out, hidden


def make_no_face(faces: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make a chip without a face of each face, uint8 [n, 48, 48]: pieces of it, patterns, noise, hands."""
    return np.array([_no_face(face.astype(np.float32), rng) for face in faces], np.uint8).reshape(faces.shape)


def _mask(picture: Picture, points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    up = rng.uniform(-0.15, 0.6)  # its upper edge, from the tip of the nose towards the bridge
    top = points[30] * (1 - up) + points[27] * up
    jaw = points[2:15] if rng.random() < 0.6 else points[3:14]
    sides = [(points[end] + top) / 2 - [0, 1.5 * rng.random()] for end in (14, 2)]
    outline = np.vstack([jaw + (jaw - points[30]) * rng.uniform(0, 0.12), sides[0], top, sides[1]])
    cover = _polygon(outline)
    if cover.sum() < 60:  # the face is turned away, or its landmarks are wrong
        return picture, 0.0
    gray = rng.choice([rng.uniform(5, 60), rng.uniform(120, 250)])
    cloth = gray * (1 + (rng.uniform(-0.25, 0.25) * (COLUMNS - points[33, 0]) - 0.2 * np.abs(COLUMNS - 24)) / 48)
    if rng.random() < 0.5:  # folds
        cloth = cloth + rng.uniform(4, 14) * np.sin((ROWS - points[33, 1]) * rng.uniform(0.7, 1.4))
    return _lay(picture, cover, cloth), 0.2


def _glasses(picture: Picture, points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    eyes = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]
    across = eyes[1] - eyes[0]
    between, angle = float(np.hypot(*across)) + 1e-3, float(np.arctan2(across[1], across[0]))
    half = between * np.array([rng.uniform(0.33, 0.47), rng.uniform(0.22, 0.4)])
    thick, corners = int(rng.integers(1, 3)), 4 if rng.random() < 0.5 else 16
    frame, lens = np.zeros_like(picture), np.zeros_like(picture)
    for eye in eyes:
        rim = _outline(eye + np.array([0, 0.03 * between]), half, angle, corners)
        cv2.polylines(frame, [_fine(rim)], True, 1.0, thick, cv2.LINE_AA, 3)
        lens = np.maximum(lens, _polygon(rim))
    inner = across / between * half[0]
    for begin, end in ((eyes[0] + inner, eyes[1] - inner), (eyes[0] - inner, points[0]), (eyes[1] + inner, points[16])):
        cv2.line(frame, _whole(begin), _whole(end), 1.0, thick, cv2.LINE_AA)
    dark = rng.random() < 0.3
    if dark:
        picture = _lay(picture, lens * rng.uniform(0.6, 0.97), rng.uniform(5, 70))
    elif rng.random() < 0.4:  # a glint
        band = np.abs(COLUMNS + ROWS * rng.uniform(-1, 1) - points[27, 0] + rng.uniform(-10, 10)) < rng.uniform(1, 4)
        picture = _lay(picture, lens * band * rng.uniform(0.3, 0.8), 245.0)
    return _lay(picture, frame * rng.uniform(0.6, 1), rng.choice([20.0, 90.0, 220.0])), 0.18 if dark else 0.02


def _hand(picture: Picture, points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    """Draw fingers and a palm in the face's own gray, over a place near one of its landmarks."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-along[1], along[0]])
    tip, length = points[rng.integers(17, 68)] + rng.uniform(-3, 3, 2), rng.uniform(16, 30)
    count, thick = int(rng.integers(2, 6)), int(rng.integers(5, 9))
    tone = float(np.clip(np.median(picture[14:36, 14:34]) * rng.uniform(0.75, 1.2), 10, 245))
    cover, drawn = np.zeros_like(picture), np.full_like(picture, tone)
    palm = _whole(tip - along * length)
    axes = max(1, int(thick * count * 0.6)), max(1, int(thick * count * 0.55))
    for layer, gray in ((cover, 1.0), (drawn, tone * 0.96)):
        cv2.ellipse(layer, palm, axes, np.degrees(angle), 0, 360, gray, -1, cv2.LINE_AA)
    for finger in range(count):
        place = aside * (finger - (count - 1) / 2) * (thick + 0.6)
        end = tip + place - along * length * 0.25 * abs(finger - (count - 1) / 2) / count
        begin, shade = tip - along * length + place, aside * thick * 0.55
        cv2.line(cover, _whole(begin), _whole(end), 1.0, thick, cv2.LINE_AA)
        cv2.line(drawn, _whole(begin), _whole(end), tone * rng.uniform(0.85, 1.1), thick, cv2.LINE_AA)
        cv2.line(drawn, _whole(begin + shade), _whole(end + shade), tone * 0.65, 1, cv2.LINE_AA)
    return _lay(picture, cover, drawn), _covered(cover, 1.2)


def _block(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    height, width = rng.integers(8, 26, 2)
    top, left = rng.integers(0, SIDE - height), rng.integers(0, SIDE - width)
    spread = 0 if rng.random() < 0.5 else rng.uniform(5, 50)
    out = picture.copy()
    out[top : top + height, left : left + width] = rng.normal(rng.uniform(0, 255), spread, (height, width))
    return out, max(0.0, height * width / SIDE**2 - 0.12) * 1.5


def _turn(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    """Turn a face in the picture, and narrow it as one that looks aside."""
    angle, middle = rng.uniform(-35, 35), (SIDE - 1) / 2
    moved = cv2.getRotationMatrix2D((middle, middle), angle, 1)
    moved[:, 0] /= rng.uniform(1, 1.35)
    moved[:, 2] += middle - moved @ [middle, middle, 1]
    return cv2.warpAffine(picture, moved, (SIDE, SIDE), borderMode=EDGE), max(0.0, (abs(angle) - 20) / 15) * 0.08


def _light(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    """Overexpose it, or light it from one side."""
    if rng.random() < 0.5:
        return _gamma(picture, rng.uniform(0.4, 0.75)) * rng.uniform(1, 1.25), 0.0
    angle = rng.uniform(0, 2 * np.pi)
    side = np.clip((np.cos(angle) * (COLUMNS - 24) + np.sin(angle) * (ROWS - 24)) / 20, -1, 1)
    return picture * (1 + rng.uniform(0.3, 0.9) * side), 0.0


def _low_resolution(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    side = int(rng.integers(11, 33))
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
    return cv2.resize(small, (SIDE, SIDE), interpolation=how), max(0.0, (18 - side) / 8) * 0.25


def _blur(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    """Blur it by up to 6.5 % of its side: Gaussian, out of focus (a disc), or moved (a line)."""
    sigma, kind = rng.uniform(0.5, 3.1), rng.integers(4)
    if kind < 2:
        out = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=EDGE)
    else:
        radius = max(1, round(sigma * 1.7))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        kernel = np.clip(sigma * 1.7 + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
        if kind == 3:
            angle = rng.uniform(0, np.pi)
            kernel *= np.abs(np.sin(angle) * x - np.cos(angle) * y) < 0.7
        out = cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=EDGE)
    return out, max(0.0, (sigma - 1.6) / 1.5) * 0.3


def _dark(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    out = _gamma(picture, rng.uniform(1.4, 3.4)) * (rng.uniform(0.3, 1) if rng.random() < 0.35 else 1)
    grain = rng.normal(0, rng.uniform(0, 9), picture.shape).astype(np.float32)
    return out + grain * (rng.random() < 0.7), 0.05


def _noise(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    return picture + rng.normal(0, rng.uniform(3, 22), picture.shape).astype(np.float32), 0.0


def _jpeg(picture: Picture, _points: Points, rng: np.random.Generator) -> tuple[Picture, float]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 50))]
    packed = cv2.imencode(".jpg", np.rint(picture).astype(np.uint8), quality)[1]
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE).astype(np.float32), 0.03


KINDS: dict[str, tuple[float, Change]] = {
    "mask": (0.10, _mask), "glasses": (0.06, _glasses), "hand": (0.07, _hand), "block": (0.03, _block),
    "turn": (0.04, _turn), "light": (0.05, _light), "low resolution": (0.13, _low_resolution), "blur": (0.20, _blur),
    "dark": (0.19, _dark), "noise": (0.06, _noise), "jpeg": (0.07, _jpeg),
}  # fmt: skip
"""Share and function of each kind, in the order in which they happen: before the lens, in it, on the sensor, after."""


def _no_face(face: Picture, rng: np.random.Generator) -> Picture:
    kind = rng.integers(8)
    if kind == 0:  # a small piece, turned
        side = int(rng.integers(8, 17))
        top, left = rng.choice([0, SIDE - side], 2)
        piece = np.rot90(face[top : top + side, left : left + side], rng.integers(4))
        out = cv2.resize(np.ascontiguousarray(piece), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    elif kind == 1:  # its pieces, shuffled
        side = int(rng.choice([8, 12, 16]))
        n = SIDE // side
        pieces = face.reshape(n, side, n, side).transpose(0, 2, 1, 3).reshape(n * n, side, side)
        out = rng.permutation(pieces).reshape(n, n, side, side).transpose(0, 2, 1, 3).reshape(SIDE, SIDE)
    elif kind == 2:  # out of focus past telling
        out = cv2.GaussianBlur(face, (0, 0), rng.uniform(9, 16), borderType=EDGE)
    elif kind == 3:  # noise with the spectrum of natural pictures
        frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
        frequency[0, 0] = 1
        cloud = np.fft.ifft2(np.fft.fft2(rng.normal(size=face.shape)) / frequency ** rng.uniform(0, 2)).real
        out = rng.uniform(40, 210) + cloud / cloud.std() * rng.uniform(1, 60)
    elif kind in {4, 5}:  # a plain wall with a gradient, or stripes
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * COLUMNS + np.sin(angle) * ROWS
        wave = np.sign(np.sin(ramp * rng.uniform(0.1, 1.5))) * rng.uniform(5, 110)
        out = rng.uniform(0, 255) + ((ramp - 24) * rng.uniform(-6, 6) if kind == 4 else wave)
    else:  # shapes, or a hand before a wall
        out = np.full_like(face, rng.uniform(0, 255))
        for _ in range(rng.integers(1, 8)):
            corners = 16 if rng.random() < 0.6 else 4
            shape = _outline(rng.uniform(-5, 53, 2), rng.uniform(2, 30, 2), rng.uniform(0, np.pi), corners)
            cv2.fillPoly(out, [_fine(shape)], rng.uniform(0, 255), cv2.LINE_AA, 3)
        if kind == 7:
            out = _hand(out, rng.uniform(10, 38, (68, 2)).astype(np.float32), rng)[0]
    if rng.random() < 0.4:
        out = cv2.GaussianBlur(out.astype(np.float32), (0, 0), rng.uniform(0.5, 4))
    if rng.random() < 0.4:
        out = out + rng.normal(0, rng.uniform(1, 15), face.shape)
    return np.asarray(np.clip(out, 0, 255), np.float32)


def _gamma(picture: Picture, gamma: float) -> Picture:
    return np.asarray(255 * (picture / 255) ** np.float32(gamma), np.float32)


def _lay(picture: Picture, cover: Picture, gray: Picture | float) -> Picture:
    """Lay a gray over a picture where ``cover`` is 1, with a soft edge."""
    share = cv2.GaussianBlur(np.asarray(cover, np.float32), (0, 0), 0.6)
    return np.asarray(picture * (1 - share) + gray * share, np.float32)


def _covered(cover: Picture, factor: float) -> float:
    return min(0.6, max(0.0, float(cover.mean()) - 0.12) * factor)


def _outline(centre: NDArray[Any], half: NDArray[Any], angle: float, corners: int) -> NDArray[Any]:
    """Return the corners [corners, 2] of an upright rectangle (4) or about an ellipse, turned by ``angle`` radians."""
    places = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    unit = np.stack([np.cos(places), np.sin(places)], axis=1) * (np.sqrt(2) if corners == 4 else 1)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(unit * half @ turned + centre)


def _polygon(corners: NDArray[Any]) -> Picture:
    cover = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(cover, [_fine(corners)], 1.0, cv2.LINE_AA, 3)
    return cover


def _fine(corners: Any) -> NDArray[np.int32]:
    return np.asarray(np.round(np.asarray(corners) * FINEST), np.int32)


def _whole(place: NDArray[Any]) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))
