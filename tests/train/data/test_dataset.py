"""A data set comes back as it was written, or not at all."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import DataError
from train.data.dataset import PARTS, Dataset, load_dataset


def with_votes(dataset: Dataset) -> Dataset:
    votes = 10 * np.eye(7, dtype=np.float32)[dataset.labels]
    return Dataset(dataset.images, dataset.labels, dataset.parts, votes, {"source": "a.csv", "bad_rows": 2})


def test_a_data_set_comes_back_as_written(dataset: Dataset, tmp_path: Path) -> None:
    for written in (dataset, with_votes(dataset)):
        written.save(tmp_path / "new" / "faces.npz")
        read = load_dataset(tmp_path / "new" / "faces.npz")
        np.testing.assert_array_equal(read.images, written.images)
        np.testing.assert_array_equal(read.labels, written.labels)
        np.testing.assert_array_equal(read.parts, written.parts)
        assert (read.votes is None) == (written.votes is None)
        assert read.notes == written.notes
        assert read.fingerprint() == written.fingerprint()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["faces.npz"]


def test_a_failed_write_leaves_the_old_file(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "faces.npz"
    dataset.save(path)

    def full(file: Any, **_arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        with_votes(dataset).save(path)
    assert load_dataset(path).votes is None
    assert [path.name for path in tmp_path.iterdir()] == ["faces.npz"]


def test_the_fingerprint_changes_with_every_array(dataset: Dataset) -> None:
    def other(array: Any) -> Any:
        changed = array.copy()
        changed.flat[0] = 1 - min(1, changed.flat[0])
        return changed

    voted = with_votes(dataset)
    prints = {
        dataset.fingerprint(),
        voted.fingerprint(),
        Dataset(other(dataset.images), dataset.labels, dataset.parts, None, {}).fingerprint(),
        Dataset(dataset.images, other(dataset.labels), dataset.parts, None, {}).fingerprint(),
        Dataset(dataset.images, dataset.labels, other(dataset.parts), None, {}).fingerprint(),
    }
    assert len(prints) == 5
    noted = Dataset(dataset.images, dataset.labels, dataset.parts, None, {"source": "elsewhere"})
    assert noted.fingerprint() == dataset.fingerprint(), "where data came from does not change what it is"


@pytest.mark.parametrize("at", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_damage_is_found_wherever_it_is(dataset: Dataset, tmp_path: Path, at: float) -> None:
    path = tmp_path / "faces.npz"
    dataset.save(path)
    content = bytearray(path.read_bytes())
    for cut in (content[: int(len(content) * at)], flipped(content, int(len(content) * at))):
        path.write_bytes(cut)
        message = refusal(path)
        if message is None:  # some bytes of a zip file mean nothing
            assert load_dataset(path).fingerprint() == dataset.fingerprint()
        else:
            assert str(path) in message
            assert "\n" not in message


def refusal(path: Path) -> str | None:
    try:
        load_dataset(path)
    except DataError as error:
        return str(error)
    return None


def flipped(content: bytearray, at: int) -> bytearray:
    changed = bytearray(content)
    changed[at] ^= 0xFF
    return changed


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    with pytest.raises(DataError, match=re.escape(f"{path}: no such file; write it with: python -m train prepare")):
        load_dataset(path)
    np.savez(path, images=np.zeros(3))
    with pytest.raises(DataError, match="not a prepared data set"):
        load_dataset(path)
    np.savez(path, meta=np.array('{"schema": 9}'))
    with pytest.raises(DataError, match="written for schema 9, this version reads 2"):
        load_dataset(path)
    np.savez(path, meta=np.array("[]"))
    with pytest.raises(DataError, match="not a prepared data set"):
        load_dataset(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="not a prepared data set"):
        load_dataset(path)
    np.savez(path, meta=np.array([{"pickled": "object"}], dtype=object))
    with pytest.raises(DataError, match="not a prepared data set"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": np.zeros((200, 48, 47), np.uint8)}, "images must be uint8"),
        ({"images": np.zeros((200, 48, 48), np.float32)}, "found float32"),
        ({"labels": np.zeros(199, np.int8)}, r"labels must be int8 \[200\]"),
        ({"labels": np.full(200, 7, np.int8)}, "labels -1..6"),
        ({"parts": np.zeros(200, np.int64)}, "parts must be uint8"),
        ({"parts": np.full(200, len(PARTS), np.uint8)}, "parts must be 0..3"),
        ({"votes": np.zeros((200, 5), np.float32)}, r"votes must be float32 \[200, 7\]"),
        ({"votes": np.full((200, 7), -0.3, np.float32)}, "votes must be numbers from 0"),
        ({"votes": np.full((200, 7), np.nan, np.float32)}, "votes must be numbers from 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(dataset: Dataset, change: dict[str, Any], said: str) -> None:
    arrays = {"images": dataset.images, "labels": dataset.labels, "parts": dataset.parts, "votes": None} | change
    with pytest.raises(DataError, match=said):
        Dataset(**arrays, notes={})


def test_an_unknown_part_is_named(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="no part is called 'exam'; there are train, validation, test, excluded"):
        dataset.select("exam")
