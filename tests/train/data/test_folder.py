"""From a folder of pictures to a data set: names of classes, splits, copies, and files that are no pictures."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cli.support import run
from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.cli import app
from train.data.csv_rows import BadRow
from train.data.dataset import PARTS, Dataset, load_dataset
from train.data.prepare import prepare_folder

Write = Callable[[str, NDArray[np.uint8]], None]


def picture(seed: int, side: int = 48) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 256, size=(side, side)).astype(np.uint8)


def pictures_of(dataset: Dataset, part: str) -> set[bytes]:
    return {image.tobytes() for image in dataset.images[dataset.parts == PARTS.index(part)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "faces"


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, pixels: NDArray[np.uint8]) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)

    return write


@pytest.fixture
def split_folder(folder: Path, write: Write) -> Path:
    """Forty training pictures; ten of test, of which one is a copy, one black, and one a face of fear."""
    for n in range(40):
        write(f"train/{EMOTIONS[n % 5]}/{n}.png", picture(n))
    for n in range(100, 107):
        write(f"test/{EMOTIONS[n % 5]}/{n}.png", picture(n))
    write("test/happy/copy.png", picture(1))
    write("test/happy/black.png", np.zeros((48, 48), np.uint8))
    write("test/fear/1.png", picture(200))
    return folder


def test_folder_with_parts_keeps_them_less_copies_and_black_ones(split_folder: Path) -> None:
    dataset = prepare_folder(split_folder)

    assert sum(dataset.counts()["test"].values()) == 7
    assert pictures_of(dataset, "test") == {picture(n).tobytes() for n in (*range(100, 107), 200)}
    assert pictures_of(dataset, "excluded") == {picture(1).tobytes()}
    assert pictures_of(dataset, "train") | pictures_of(dataset, "validation") == {
        picture(n).tobytes() for n in range(40)
    }
    assert dataset.notes["black_removed"] == 1
    assert dataset.notes["other_classes"] == 1
    assert dataset.notes["source"] == "faces"


def test_folder_without_parts_gets_a_tenth_of_each_class_as_test(folder: Path, write: Write) -> None:
    for n in range(100):
        write(f"{EMOTIONS[n % 5]}/{n}.png", picture(n))
    dataset = prepare_folder(folder)

    assert set(dataset.counts()["test"].values()) == {2}
    assert sum(dataset.counts()["validation"].values()) == 10
    assert dataset.fingerprint() == prepare_folder(folder).fingerprint()


def test_classes_are_known_by_the_names_that_data_sets_give_them(folder: Path, write: Write) -> None:
    names = ("Anger", "HAPPINESS", "joy", "sadness", "Surprised", "neutral", "disgust", "contempt")
    for n, name in enumerate(names):
        write(f"{name}/x.jpg", picture(n))
    write(".thumbnails/x.png", picture(50))
    (folder / "notes.txt").write_text("hello")
    (folder / "joy/Thumbs.db").write_text("hello")
    dataset = prepare_folder(folder)

    assert sorted(dataset.labels.tolist()) == [-1, 0, 1, 1, 2, 3, 4, 5]
    assert dataset.notes["bad_rows"] == 0


def test_pictures_of_any_size_and_colour_become_gray_squares(folder: Path, write: Write) -> None:
    write("happy/small.png", np.full((20, 20), 70, np.uint8))
    for n, name in enumerate(("angry", "surprise", "neutral")):
        write(f"{name}/x.png", picture(n))
    wide = np.zeros((96, 192, 3), np.uint8)
    wide[:, 48:144] = 130
    write("sad/wide.png", wide)
    by_label = {int(label): image for label, image in zip(*_fields(prepare_folder(folder)), strict=True)}

    assert (by_label[1] == 70).all()
    assert (by_label[2] == 130).all(), "the square in its middle"


def _fields(dataset: Dataset) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    return dataset.labels, dataset.images


def test_a_file_that_cannot_be_read_is_named_and_counted(split_folder: Path) -> None:
    broken = split_folder / "train/sad/broken.png"
    broken.write_bytes((split_folder / "train/sad/2.png").read_bytes()[:44])
    (split_folder / "train/happy/empty.jpg").write_bytes(b"")
    named: list[BadRow] = []
    dataset = prepare_folder(split_folder, report=named.append)

    assert [(bad.where.rpartition("/")[2], bad.reason.split(",")[0]) for bad in named] == [
        ("empty.jpg", "is empty"),
        ("broken.png", "its end is missing"),
    ]
    assert dataset.notes["bad_rows"] == 2
    with pytest.raises(DataError, match=r"empty\.jpg: is empty"):
        prepare_folder(split_folder, bad_rows="fail")


def test_a_folder_of_another_form_is_refused(folder: Path, write: Write) -> None:
    write("dogs/1.png", picture(1))
    with pytest.raises(DataError, match="folders named angry, happy, sad, surprise, neutral"):
        prepare_folder(folder)
    write("train/happy/1.png", picture(1))
    with pytest.raises(DataError, match="'dogs' beside its train and test folders"):
        prepare_folder(folder)


def fill(write: Write, part: str, seeds: range) -> None:
    for n in seeds:
        write(f"{part}/{EMOTIONS[n % 5]}/{n}.png", picture(n))


def test_folder_without_a_test_part_holds_out_validation(folder: Path, write: Write) -> None:
    fill(write, "train", range(40))
    fill(write, "validation", range(100, 110))
    dataset = prepare_folder(folder)
    assert pictures_of(dataset, "test") == {picture(n).tobytes() for n in range(100, 110)}
    assert pictures_of(dataset, "validation") <= {picture(n).tobytes() for n in range(40)}


def test_train_val_and_test_are_the_three_parts_less_copies(folder: Path, write: Write) -> None:
    fill(write, "train", range(40))
    fill(write, "Val", range(100, 110))
    fill(write, "test", range(200, 210))
    write("Val/happy/copy.png", picture(1))
    write("test/happy/copy.png", picture(101))
    dataset = prepare_folder(folder)
    for part, seeds in (("train", range(40)), ("validation", range(100, 110)), ("test", range(200, 210))):
        assert pictures_of(dataset, part) == {picture(n).tobytes() for n in seeds}
    assert pictures_of(dataset, "excluded") == {picture(1).tobytes(), picture(101).tobytes()}


def test_folder_names_of_fer2013_are_known_mac_leftovers_skipped(folder: Path, write: Write) -> None:
    fill(write, "Training", range(40))
    fill(write, "PublicTest", range(100, 110))
    fill(write, "PrivateTest", range(200, 210))
    write("__MACOSX/Training/happy/a.png", picture(300))
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Training/happy/._1.png").write_bytes(b"\0\5\x16\7")
    (folder / "Training/happy/.hidden.png").write_bytes(b"x")
    dataset = prepare_folder(folder)
    assert len(pictures_of(dataset, "test")) == 20
    assert dataset.notes["bad_rows"] == 0
    assert len(dataset.images) == 60


@pytest.mark.parametrize(
    ("name", "near"), [("suprise", "surprise"), ("angry ", "angry"), ("natural", "neutral"), ("Hapy", "happy")]
)
def test_a_class_that_is_nearly_an_emotion_is_asked_about(name: str, near: str, folder: Path, write: Write) -> None:
    fill(write, "train", range(40))
    write(f"train/{name}/1.png", picture(300))
    with pytest.raises(DataError, match=f"has a folder '{name}'; did you mean '{near}'"):
        prepare_folder(folder)


def test_an_emotion_without_a_picture_ends_the_run(folder: Path, write: Write) -> None:
    for n in range(20):
        write(f"{('angry', 'happy', 'sad', 'fear')[n % 4]}/{n}.png", picture(n))
    with pytest.raises(DataError, match="holds no usable picture of surprise, neutral"):
        prepare_folder(folder)


def test_labels_are_for_csv_files(split_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["prepare", str(split_folder), "--labels", "kaggle"], name="train") == 2
    assert "--labels changes nothing here" in capsys.readouterr().err


def test_the_command_takes_a_folder(split_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (split_folder / "train/sad/broken.png").write_bytes(b"nothing")
    out = tmp_path / "faces.npz"
    assert run(app, ["prepare", str(split_folder), "--out", str(out), "--json"], name="train") == 0
    told = json.loads(capsys.readouterr().out)

    assert told["first_bad_rows"][0]["file"].endswith("broken.png")
    assert told["fingerprint"] == load_dataset(out).fingerprint()
    votes = ["prepare", str(split_folder), "--ferplus", "votes.csv"]
    assert run(app, votes, name="train") == 1
    assert "FER+ votes go with" in capsys.readouterr().err
