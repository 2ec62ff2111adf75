"""Measure faces as daily life shows them, blurred, dark, masked, turned and small: ours and the `fer` package.

    python -m benchmarks.wild [--media ../shared/media] [--data fer2013.npz] [--fer DIR | --no-fer] [--only ROWS]

Photos are dlib's examples with their annotated faces, clips give every sixth or sixteenth frame, and FER2013's pictures
are those of PublicTest that Training has not. A face is found where a box overlaps its own by 0.3. Emotions count on
frames that people labelled (`LABELS`) and on FER2013's pictures, each emotion alike, where the face was found.

Further tables: what the daemon finds of a scene in its first four seconds, and at what cost; what networks say of
pictures without a face; how many answers are left above a floor, and how many of them are right (`--only floor`: on
the validation part, by which the floor is chosen, and on PublicTest).
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.degraded import CHANGES, CHIP_CHANGES, Luma, Scene
from benchmarks.fer_package import environment
from edge.emotions import EMOTIONS
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.types import Box
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline, score_chips
from edge.settings import FaceSettings, Settings
from train.data.dataset import load_dataset

LABELS = {
    "sad-to-laughing.mp4": (16, [(0, 138, "sad"), (256, 471, "happy")]),
    "neutral-to-smile.mp4": (6, [(0, 16, "neutral"), (20, 68, "happy")]),
    "face-then-none.mov": (6, [(0, 16, "neutral"), (20, 68, "happy")]),
}
"""Every so many frames of a clip are taken; first and last frame that show an emotion. Labelled by looking at them."""
FACES_END = {"face-then-none.mov": 71}
"""first frame of a clip that shows no face any more"""
NO_FACE_CHIPS = 1200
WALL_S, SCENE_S, SCENE_FPS = 24.0, 12.0, 5
WITHIN_S = (1, 4, 12)

Found = list[tuple[Box, str]]
console = Console(width=120)


def main() -> None:
    """Measure and print."""
    shared = Path(__file__).resolve().parents[2] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=shared / "media")
    parser.add_argument("--data", type=Path, default=shared / "data/fer2013-dev.npz")
    parser.add_argument("--validation", type=Path, default=Path("data/fer2013.npz"), metavar="NPZ",
                        help="what `train prepare` wrote; by its validation part the floor is chosen")  # fmt: skip
    parser.add_argument("--fer", type=Path, default=Path.home() / ".cache/emotion-edge-fer", metavar="DIR")
    parser.add_argument("--no-fer", action="store_true", help="measure ours alone")
    parser.add_argument(
        "--only",
        nargs="*",
        choices=["scenes", "chips", "daemon", "floor", "no-face"],
        default=["scenes", "chips", "daemon", "no-face"],
        metavar="TABLE",
    )
    parser.add_argument("--search", choices=("dlib", "blazeface"), default="dlib", help="setting faces.search")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the scenes' missed faces here")
    arguments = parser.parse_args()
    settings = Settings(faces=FaceSettings(search=arguments.search))
    pipeline = load_pipeline(settings)
    interpreter = None if arguments.no_fer else environment(arguments.fer)
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}, {pipeline.classifier.name}")
    scenes = {"photos": list(photos(arguments.media)), "frames": list(frames(arguments.media))}
    if "scenes" in arguments.only:
        report_scenes(scenes, pipeline, interpreter, arguments.sheet)
    if "chips" in arguments.only:
        report_chips(*public_test(arguments.data), pipeline, interpreter)
    if "daemon" in arguments.only:
        report_daemon(scenes, settings)
    if "floor" in arguments.only:
        report_floor(arguments.validation, *public_test(arguments.data), pipeline)
    if "no-face" in arguments.only:
        report_no_face(no_faces(arguments.media, scenes["photos"]), *public_test(arguments.data), pipeline)


def photos(media: Path) -> Iterator[Scene]:
    """Dlib's example photos, with the boxes and landmarks of their 43 faces."""
    folder = media / "dlib-faces"
    for part in ("testing", "training"):
        for image in ET.parse(folder / f"{part}_with_face_landmarks.xml").iter("image"):
            luma: Any = cv2.imread(str(folder / str(image.get("file"))), cv2.IMREAD_GRAYSCALE)
            boxes = [[float(str(b.get(s))) for s in ("left", "top", "width", "height")] for b in image.iter("box")]
            points = [
                [(float(str(p.get("x"))), float(str(p.get("y")))) for p in b.iter("part")] for b in image.iter("box")
            ]
            yield Scene(luma, np.array(boxes, np.float32), np.array(points, np.float32))


def frames(media: Path) -> Iterator[Scene]:
    """Frames of the clips; box and landmarks of their one face as our detector and predictor find them."""
    detector, predictor = FaceDetector(), LandmarkPredictor()
    for clip, (step, labels) in LABELS.items():
        for index, luma in enumerate(lumas(media / clip)):
            if index % step or index >= FACES_END.get(clip, 10_000):
                continue
            box = detector.find(luma, upsample=1, least_score=-0.5)[0].box
            emotion = next((name for first, last, name in labels if first <= index <= last), "")
            points = predictor.points(luma, box)
            yield Scene(luma, np.array([box], np.float32), points[np.newaxis], emotion)


def lumas(clip: Path) -> Iterator[Luma]:
    """All frames of a clip."""
    reader = cv2.VideoCapture(str(clip))
    while True:
        read, bgr = reader.read()
        if not read:
            return
        yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)


def public_test(data: Path) -> tuple[list[Scene], NDArray[np.intp]]:
    """FER2013's PublicTest without pictures that Training has too, as scenes; their labels."""
    order = [0, 3, 4, 5, 6]  # angry, happy, sad, surprise, neutral among the seven
    with np.load(data) as file:
        images, labels, usage = file["images"], file["labels"], file["usage"]
    known = {image.tobytes() for image in images[usage == 0]}
    kept = [i for i in np.flatnonzero(usage == 1) if labels[i] in order and images[i].tobytes() not in known]
    predictor = LandmarkPredictor()
    box = Box(3 * 4, 6 * 4, 41 * 4, 41 * 4)  # where a mean face of FER2013 lies, enlarged four times
    scenes = []
    for index in kept:
        large = np.asarray(cv2.resize(images[index], (192, 192), interpolation=cv2.INTER_CUBIC), np.uint8)
        points = predictor.points(large, box) / 4
        scenes.append(Scene(images[index], np.array([[0, 0, 48, 48]], np.float32), points[np.newaxis]))
    return scenes, np.array([order.index(labels[i]) for i in kept])


def report_scenes(
    scenes: dict[str, list[Scene]], pipeline: Pipeline, interpreter: str | None, sheet: Path | None
) -> None:
    """Print what is found on photos and frames."""
    of = {kind: sum(len(scene.boxes) for scene in some) for kind, some in scenes.items()}
    labelled = sum(bool(scene.emotion) for scene in scenes["frames"])
    table = Table(title=f"stills: {of['photos']} faces on photos, {of['frames']} frames, {labelled} of them labelled")
    for name in ("", "photos: ours", "fer", "frames: ours", "fer", "false: ours", "fer", "balanced: ours", "fer"):
        table.add_column(name, justify="right" if name else "left")
    missed: list[Luma] = []
    for name, change in CHANGES.items():
        changed = {kind: [change(scene) for scene in some] for kind, some in scenes.items()}
        both = [*changed["photos"], *changed["frames"]]
        ours = [ours_in(scene.luma, pipeline) for scene in both]
        sides = [ours] + ([ask_fer(interpreter, [scene.luma for scene in both])] if interpreter else [])
        cells = [figures(changed, found) for found in sides]
        rows = list(zip(*cells, strict=True))
        table.add_row(name, *(cell for row in rows for cell in (*row, *([] if interpreter else ["-"]))))
        missed += [crop(scene, box) for scene, found in zip(both, ours, strict=True)
                   for box in scene.boxes if not hit(box, found)]  # fmt: skip
    console.print(table)
    if sheet:
        cv2.imwrite(str(sheet), np.vstack([np.hstack((missed[i : i + 16] + [missed[0] * 0] * 16)[:16])
                                           for i in range(0, len(missed), 16)]))  # fmt: skip


def ours_in(luma: Luma, pipeline: Pipeline) -> Found:
    """What ours finds in a picture."""
    return [(face.box, str(EMOTIONS[int(face.scores.argmax())])) for face in pipeline.find_still(luma)]


def figures(changed: dict[str, list[Scene]], found: list[Found]) -> list[str]:
    """Faces found on photos and frames, boxes on nothing, and balanced accuracy of labelled frames."""
    cells, start, false = [], 0, 0
    right: dict[str, list[bool]] = {}
    for some in changed.values():
        pairs = list(zip(some, found[start : start + len(some)], strict=True))
        start += len(some)
        hits = [bool(hit(box, faces)) for scene, faces in pairs for box in scene.boxes]
        cells.append(f"{100 * np.mean(hits):.0f} %")
        false += sum(
            not any(overlap(box, face) > 0 for box in scene.boxes) for scene, faces in pairs for face, _ in faces
        )
        for scene, faces in pairs:
            if scene.emotion and (emotion := hit(scene.boxes[0], faces)):
                right.setdefault(scene.emotion, []).append(emotion == scene.emotion)
    balanced = np.mean([np.mean(some) for some in right.values()]) if len(right) == 3 else None
    return [*cells, str(false), "-" if balanced is None else f"{100 * balanced:.0f} %"]


def hit(box: NDArray[np.float32], found: Found) -> str:
    """The emotion of the face that was found in this box; empty for none."""
    best = max(found, key=lambda face: overlap(box, face[0]), default=None)
    return best[1] if best and overlap(box, best[0]) > 0.3 else ""


def near(scene: Scene, face: Box) -> bool:
    """Whether a found box touches a known face."""
    return any(overlap(box, face) > 0 for box in scene.boxes)


def overlap(box: NDArray[np.float32], face: Box) -> float:
    """Intersection over union."""
    return Box(*(round(float(side)) for side in box)).iou(Box(*face))


def crop(scene: Scene, box: NDArray[np.float32]) -> Luma:
    """The surroundings of a face, 96x96."""
    x, y, width, height = (float(side) for side in box)
    middle, reach = (x + width / 2, y + height / 2), 0.9 * width
    matrix = np.array([[48 / reach, 0, 48 - middle[0] * 48 / reach], [0, 48 / reach, 48 - middle[1] * 48 / reach]])
    return np.asarray(cv2.warpAffine(scene.luma, matrix, (96, 96)), np.uint8)


def ask_fer(interpreter: str, pictures: list[Any]) -> list[Any]:
    """What fer finds in pictures, in a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, **{str(index): picture for index, picture in enumerate(pictures)})
        file.flush()
        command = [interpreter, str(Path(__file__).with_name("fer_faces.py")), file.name]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet)
    answers = json.loads(done.stdout)
    return [answers[str(index)] for index in range(len(pictures))]


def report_chips(scenes: list[Scene], labels: NDArray[np.intp], pipeline: Pipeline, interpreter: str | None) -> None:
    """Print balanced accuracy on FER2013's pictures."""
    table = Table(title=f"FER2013's PublicTest, {len(scenes)} pictures, given to the networks; balanced accuracy")
    for name in ("", "ours", "against clean", "ours above the floor", "right among them", "fer", "against clean"):
        table.add_column(name, justify="right" if name else "left")
    floor = Settings().smoothing.confidence_floor
    clean: list[float] = []
    for name, change in CHIP_CHANGES.items():
        chips = np.stack([change(scene).luma for scene in scenes])
        scores = score(pipeline, chips, scenes)
        sure = scores.max(axis=1) >= floor
        right = scores.argmax(axis=1) == labels
        values = [balanced(scores.argmax(axis=1), labels)]
        if interpreter:
            answers = ask_fer(interpreter, [chips])[0]
            values.append(balanced(np.array([EMOTIONS.index(answer) for answer in answers]), labels))
        clean = clean or values
        cells = [cell for value, first in zip(values, clean, strict=True)
                 for cell in (f"{100 * value:.1f} %", f"{100 * (value - first):+.1f}")]  # fmt: skip
        middle = [f"{100 * sure.mean():.1f} %", f"{100 * right[sure].mean():.1f} %" if sure.any() else "-"]
        table.add_row(name, *cells[:2], *middle, *cells[2:])
    console.print(table)


def score(pipeline: Pipeline, chips: NDArray[np.uint8], scenes: Iterable[Scene]) -> NDArray[np.float32]:
    """Scores of chips as a single look gives them."""
    return score_chips(pipeline.classifier, chips, np.concatenate([scene.points for scene in scenes]))


def balanced(found: NDArray[np.intp], labels: NDArray[np.intp]) -> float:
    """Mean recall over the five emotions."""
    return float(np.mean([np.mean(found[labels == emotion] == emotion) for emotion in range(len(EMOTIONS))]))


def report_daemon(scenes: dict[str, list[Scene]], settings: Settings) -> None:
    """Print what the daemon's settings find in scenes that appear before a camera, after a wall."""
    both = [*scenes["photos"], *scenes["frames"][::3]]
    table = Table(
        title=f"the daemon: {len(both)} scenes for {SCENE_S:.0f} s after {WALL_S:.0f} s of a wall, {SCENE_FPS} frames/s"
    )
    for name in ("", "faces", *(f"within {s} s" for s in WITHIN_S), "false", "CPU ms a scene", "of the wall"):
        table.add_column(name, justify="right" if name else "left")
    for name, change in CHANGES.items():
        pipeline = load_pipeline(settings)
        hits, false, of = np.zeros(len(WITHIN_S)), 0, 0
        spent_s = {True: 0.0, False: 0.0}
        for scene in map(at_camera, map(change, both)):
            pipeline.forget()
            wall: Luma = np.full_like(scene.luma, 90)
            seen: list[list[Box]] = []
            for index in range(round((WALL_S + SCENE_S) * SCENE_FPS)):
                is_scene = index >= WALL_S * SCENE_FPS
                began_s = time.process_time()
                faces = pipeline.follow(Frame(scene.luma if is_scene else wall, index / SCENE_FPS, index))
                spent_s[is_scene] += time.process_time() - began_s
                if is_scene:
                    seen.append([face.box for face in faces])
            of += len(scene.boxes)
            for column, at_s in enumerate(WITHIN_S):
                found = [(face, "some") for face in seen[round(at_s * SCENE_FPS) - 1]]
                hits[column] += sum(bool(hit(box, found)) for box in scene.boxes)
            false += sum(not near(scene, face) for face in seen[-1])
        costs = [f"{1000 * spent_s[part] / len(both):.0f}" for part in (True, False)]
        table.add_row(name, str(of), *(f"{100 * count / of:.0f} %" for count in hits), str(false), *costs)
    console.print(table)


def at_camera(scene: Scene) -> Scene:
    """Scale a picture to at most as many pixels as a camera of 640x480 gives."""
    scale = min(1.0, (640 * 480 / scene.luma.size) ** 0.5)
    if scale == 1:
        return scene
    return CHANGES["clean"](
        Scene(
            np.asarray(cv2.resize(scene.luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8),
            scene.boxes * scale,
            scene.points * scale,
            scene.emotion,
        )
    )


def no_faces(media: Path, scenes: list[Scene]) -> NDArray[np.uint8]:
    """Chips cut where there is no face: the clip and the animation without one, dogs, what is around faces, noise."""
    random = np.random.default_rng(18)
    pictures = [Scene(luma, np.zeros((0, 4), np.float32), np.zeros((0, 68, 2), np.float32))
                for clip, first in (("no-face.mp4", 0), ("face-then-none.mov", 90))
                for index, luma in enumerate(lumas(media / clip)) if index >= first and index % 8 == 0]  # fmt: skip
    pictures += scenes
    chips: list[Luma] = []
    while len(chips) < NO_FACE_CHIPS:
        scene = pictures[int(random.integers(len(pictures)))]
        height, width = scene.luma.shape
        side = int(random.integers(40, min(height, width) // 2))
        x, y = int(random.integers(width - side)), int(random.integers(height - side))
        if any(overlap(box, Box(x, y, side, side)) > 0 for box in scene.boxes):
            continue
        cut = scene.luma[y : y + side, x : x + side]
        chips.append(np.asarray(cv2.resize(cut, (48, 48), interpolation=cv2.INTER_AREA), np.uint8))
    return np.stack(chips)


def report_no_face(chips: NDArray[np.uint8], scenes: list[Scene], labels: NDArray[np.intp], pipeline: Pipeline) -> None:
    """Print what is said of chips without a face, and what a floor leaves of PublicTest."""
    points = np.repeat(scenes[0].points, len(chips), axis=0)
    nothing = score_chips(pipeline.classifier, chips, points).max(axis=1)
    scores = score(pipeline, np.stack([scene.luma for scene in scenes]), scenes)
    top, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    ranks = np.concatenate([top, nothing]).argsort().argsort()[: len(top)]
    area = (ranks.sum() - len(top) * (len(top) - 1) / 2) / (len(top) * len(nothing))
    table = Table(title=f"{len(nothing)} chips without a face, AUROC of the top score {area:.3f}")
    for name in ("floor", "no-face uncertain", "faces answered", "right of these"):
        table.add_column(name, justify="right")
    for floor in (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8):
        sure = top >= floor
        table.add_row(f"{floor:.2f}", f"{100 * (nothing < floor).mean():.1f} %", f"{100 * sure.mean():.1f} %",
                      f"{100 * right[sure].mean():.1f} %")  # fmt: skip
    console.print(table)


def report_floor(validation: Path, test: list[Scene], test_labels: NDArray[np.intp], pipeline: Pipeline) -> None:
    """Print what floors leave of the validation part and of PublicTest, clean and changed, and how much is right."""
    data = load_dataset(validation)
    rows = data.select("validation")
    whole, nowhere = np.array([[0, 0, 48, 48]], np.float32), np.zeros((1, 68, 2), np.float32)
    chosen = [Scene(data.images[row], whole, nowhere) for row in rows]
    changes = [change for name, change in CHIP_CHANGES.items() if name not in ("clean", "masked")]
    parts = [(name, scenes, labels, some)
             for part, scenes, labels in (("validation", chosen, data.labels[rows]), ("PublicTest", test, test_labels))
             for name, some in ((part, [CHIP_CHANGES["clean"]]), (f"{part} changed", changes))]  # fmt: skip
    table = Table(title=f"answered / right of these; {len(chosen)} of validation, {len(test)} of PublicTest")
    table.add_column("floor", justify="right")
    columns = []
    for name, scenes, labels, some in parts:
        table.add_column(name, justify="right")
        scores = np.concatenate([score(pipeline, np.stack([one(s).luma for s in scenes]), scenes) for one in some])
        columns.append((scores.max(axis=1), scores.argmax(axis=1) == np.tile(labels, len(some))))
    for floor in (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8):
        cells = [
            f"{100 * np.mean(top >= floor):.1f} / {100 * np.mean(right[top >= floor]):.1f} %" for top, right in columns
        ]
        table.add_row(f"{floor:.2f}", *cells)
    console.print(table)


if __name__ == "__main__":
    main()
