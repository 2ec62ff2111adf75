"""The programs in ``examples/`` and on ``docs/python.md`` run as they stand."""

import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import cv2
import pytest

pytest.importorskip("skimage", reason="scikit-image is not installed: pip install '.[demo]'")
pytestmark = pytest.mark.slow("runs whole programs")


ROOT = Path(__file__).resolve().parents[1]
PHOTO = str(files("skimage.data").joinpath("astronaut.png"))
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), flags=re.DOTALL)


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def with_photo(tmp_path: Path) -> Path:
    picture = cv2.imread(PHOTO)
    assert picture is not None
    cv2.imwrite(str(tmp_path / "photo.jpg"), picture)
    return tmp_path


def test_page_has_blocks() -> None:
    assert len(BLOCKS) > 5


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_of_the_page_runs(block: str, with_photo: Path) -> None:
    (with_photo / "block.py").write_text(block)
    run("-W", "error", "block.py", cwd=with_photo)


def test_photo_names_its_face(tmp_path: Path) -> None:
    assert run(str(ROOT / "examples/photo.py"), PHOTO, cwd=tmp_path) == "happy (98%) at 175, 76\n"


def test_camera_says_who_appears(tmp_path: Path) -> None:
    lines = run(str(ROOT / "examples/camera.py"), "demo:?pace=fast", cwd=tmp_path).splitlines()
    assert "face 1: happy" in lines[0]


def test_robot_waves_once_at_a_smile(tmp_path: Path) -> None:
    output = run(str(ROOT / "examples/robot.py"), "demo:?pace=fast", cwd=tmp_path)
    assert output.count("waving at person 1") == 1
    assert "looking left" in output
    assert "looking right" in output


def test_article_runs_without_a_screen(tmp_path: Path) -> None:
    output = run(str(ROOT / "examples/article.py"), PHOTO, "pictures", cwd=tmp_path)
    assert [line[0] for line in output.splitlines() if line[0] != " "] == list("1234566666")[:5] + ["6"] * 5
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["2-face.png", "3-landmarks.png", "4-regions.png", "6-scores.png"]


def test_dask_goes_on_where_it_was(with_photo: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed 'pyarrow<22'")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'pyarrow<22'")
    photos = with_photo / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (photos / name).write_bytes((with_photo / "photo.jpg").read_bytes())
    (photos / "c.jpg").write_bytes(b"no picture")
    program = [str(ROOT / "examples/dask_photos.py"), str(photos), str(with_photo / "out"), "--batch", "2"]
    assert "3 photos to do" in run(*program, cwd=with_photo)
    assert "0 photos to do" in run(*program, cwd=with_photo)
    first, *_ = sorted((with_photo / "out").iterdir())
    first.unlink()
    assert "0 photos" not in run(*program, cwd=with_photo)
    rows = parquet.read_table(with_photo / "out").to_pylist()
    found = {row["photo"].rpartition("/")[2]: row for row in rows}
    assert (found["a.jpg"]["emotion"], found["b.jpg"]["emotion"]) == ("happy", "happy")
    assert "no picture" in found["c.jpg"]["error"]
