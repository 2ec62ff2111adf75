"""The doctor's look at the cameras: which there are, which way up the faces are, and the picture that it writes."""

import io
import json
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras import read_picture
from edge.cameras.listing import FoundCamera, Size
from edge.cli import app
from edge.cli.support import run
from edge.doctor import report, seeing
from edge.doctor.service import Service
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import FaceSettings, Settings, SmoothingSettings, Zone
from tests.edge.bundles.conftest import copy_of_shipped, without_population

NO_SERVICE = Service(installed=False)
C270 = FoundCamera("v4l2:/dev/video0", "C270", modes={"mjpg": [Size(640, 480, (30, 15))], "yuyv": []})


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings())


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    picture: NDArray[np.uint8] = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return picture


def folder_with(photo: NDArray[np.uint8], folder: Path, *, turned: int = 0) -> str:
    for _ in range(turned // 90):
        photo = np.asarray(cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE), np.uint8)
    cv2.imwrite(str(folder / "a.png"), photo)
    return f"photos:{folder}"


@pytest.mark.parametrize(
    ("hangs", "rotate", "flip", "advice"),
    [
        (180, 0, "none", 180),
        (90, 0, "none", 270),
        (270, 0, "none", 90),
        (90, 90, "none", 270),
        (90, 0, "horizontal", 270),
        (270, 180, "vertical", 270),
    ],
)
def test_doctor_says_how_the_picture_must_be_turned(
    pipeline: Pipeline,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    hangs: int,
    rotate: Literal[0, 90, 180],
    flip: Any,
    advice: int,
) -> None:
    settings = Settings(camera=folder_with(photo, tmp_path, turned=hangs), camera_rotate=rotate, camera_flip=flip)

    found = seeing.check_camera(settings, NO_SERVICE, pipeline)

    assert (found.status, found.advice) == ("warning", f"set camera_rotate = {advice}")
    assert "faces are found when the picture is turned by " in found.found
    right = msgspec.structs.replace(settings, camera_rotate=advice)
    assert seeing.check_camera(right, NO_SERVICE, pipeline).found.endswith(", 1 face in it")


def test_doctor_says_nothing_of_turning_where_nobody_is(pipeline: Pipeline, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(60, 200, (120, 160, 3)).astype(np.uint8)
    found = seeing.check_camera(Settings(camera=folder_with(noise, tmp_path)), NO_SERVICE, pipeline)
    assert (found.status, found.found.endswith(", 0 faces in it")) == ("ok", True)


def test_doctor_writes_the_picture_as_the_detector_sees_it(
    pipeline: Pipeline, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    upper_left = Zone(points=((0.1, 0.02), (0.7, 0.02), (0.7, 0.5), (0.1, 0.5)))
    settings = Settings(
        camera=folder_with(photo, tmp_path, turned=180), camera_rotate=180, faces=FaceSettings(zones=(upper_left,))
    )
    picture = io.BytesIO()

    found = seeing.check_camera(settings, NO_SERVICE, pipeline.another(settings.faces), picture)

    drawn = read_picture(picture.getvalue()).bgr
    assert found.found.endswith(", 1 face in its zones")
    assert np.array_equal(drawn[300:], photo[300:])  # upright; below, nothing is drawn
    assert drawn[round(0.5 * 511), 200].tolist() == pytest.approx([90, 220, 90], abs=40)
    assert not np.array_equal(drawn[50:200, 150:300], photo[50:200, 150:300])


@pytest.mark.parametrize(("baseline", "population", "status"), [
    (True, False, "warning"),
    (True, True, "ok"),
    (False, False, "ok"),
], ids=["no population", "population", "off"])  # fmt: skip
def test_doctor_warns_of_a_baseline_that_changes_nothing(
    tmp_path: Path, baseline: bool, population: bool, status: str
) -> None:
    folder = copy_of_shipped(tmp_path / "bundle", "older")
    if not population:
        without_population(folder)
    settings = Settings(bundle=str(folder), smoothing=SmoothingSettings(baseline=baseline))
    found, _ = seeing.check_models(settings)
    assert found.status == status
    assert ("smoothing.baseline = true changes nothing with older@" in found.found) is (status == "warning")


def test_doctor_lists_cameras_with_their_modes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seeing, "list_cameras", lambda: [FoundCamera("picamera2:0", "imx708"), C270])
    (tmp_path / "config.toml").write_text(f'camera = "photos:/none"\nstate_dir = "{tmp_path}"')

    run(app, ["doctor", "--config", str(tmp_path / "config.toml"), "--json"])

    [cameras] = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["check"] == "cameras"]
    assert cameras["status"] == "ok"
    assert cameras["found"].splitlines() == [
        "picamera2:0 (imx708)", "v4l2:/dev/video0 (C270)", "  mjpg: 640x480 30/15", "  yuyv: any size",
    ]  # fmt: skip


def test_doctor_warns_of_a_camera_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "list_cameras", lambda: [FoundCamera("v4l2:/dev/video0", "unknown", fault="denied")])
    assert seeing.check_cameras().status == "warning"
    monkeypatch.setattr(seeing, "list_cameras", list)
    assert seeing.check_cameras().status == "skipped"
    assert report.summary([seeing.check_cameras()]) == "all is well"


def test_picture_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["doctor", "--picture", str(tmp_path / "none/a.png")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/none/a.png: No such file")
