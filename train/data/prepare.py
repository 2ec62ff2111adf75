"""Make a `Dataset` of CSV rows or picture files: map labels, remove black pictures, separate copies, assign parts."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.data.csv_rows import (
    KAGGLE_TO_EMOTION,
    LEAST_JUDGED,
    BadRow,
    Row,
    check_labels,
    check_numbers,
    read_columns,
    read_rows,
)
from train.data.csv_rows import Form as CsvForm
from train.data.dataset import PARTS, Dataset
from train.data.ferplus import read_votes
from train.data.folder import PictureFile, list_pictures, read_files

Form = Literal["kaggle", "article", "folder", "split folder"]

TRAIN, VALIDATION, TEST, EXCLUDED = range(len(PARTS))
SPLIT_SEED = 42
VALIDATION_SHARE = 0.1
ARTICLE_TEST_SHARE = 0.1


def prepare_csv(
    path: Path,
    *,
    labels: CsvForm | None = None,
    bad_rows: Literal["skip", "fail"] = "skip",
    ferplus: Path | None = None,
    report: Callable[[BadRow], None] = lambda _row: None,
    opened: Callable[[Path], BinaryIO] = lambda path: path.open("rb"),
) -> Dataset:
    """Read a CSV file of either form into a data set.

    A file with a Usage column is split by it: test is PublicTest (and PrivateTest) without the pictures that have an
    exact copy in Training; those are ``excluded``. A file without one is split 90/10, stratified, seed 42, and copies
    of test pictures leave the training part. A tenth of the training part becomes the validation part; copies of one
    picture stay together.

    ``labels``: what the numbers mean; None: Kaggle's in a file with a Usage column, else the article's, if the file's
    labels look like it (`train.data.csv_rows.check_labels`).
    ``bad_rows``: ``skip`` hands each row that holds no picture to ``report`` and goes on; ``fail`` raises on the first.
    ``ferplus``: votes like ``fer2013new.csv``, joined by row number; only for Kaggle's form.
    ``opened``: opens the CSV file for reading bytes; a caller that shows progress counts them here.
    Raises `DataError`: the file is in no known form, its labels look like neither form's, it holds no usable row, or it
    has a bad row and ``bad_rows`` is ``fail``.
    """
    columns = read_columns(path)
    form = labels or ("article" if columns.usage is None else "kaggle")
    if ferplus is not None and form != "kaggle":
        raise DataError(f"{path}: FER+ votes go with the rows of fer2013.csv; this file has the article's form")
    votes = read_votes(ferplus) if ferplus is not None else None
    beyond: list[int] = []

    def note(bad: BadRow) -> None:
        report(bad)
        if bad.beyond is not None:
            beyond.append(bad.beyond)

    with opened(path) as file:
        rows, bad = _collect(path, read_rows(file, columns), bad_rows=bad_rows, report=note)
    check_numbers(path, len(rows), beyond)
    numbers = np.array([row.label for row in rows], dtype=np.int8)
    if words := sum(row.is_word for row in rows):
        if words < len(rows):
            raise DataError(
                f"{path}: {words} of {len(rows)} rows have words as labels, the others numbers: give it one form"
            )
        if labels == "article":
            raise DataError(f"{path}: its labels are words, which say what they mean; leave --labels out")
        form = "kaggle"
    else:
        check_labels(path, numbers, form, named=labels is not None)
    if votes is not None and rows[-1].number >= len(votes):
        raise DataError(f"{ferplus}: has votes for {len(votes)} rows, the pictures go up to row {rows[-1].number}")
    if form == "kaggle":
        numbers = KAGGLE_TO_EMOTION[numbers]
    if len(rows) >= LEAST_JUDGED:
        _require_all(path, numbers)
    notes = {"source": path.name, "form": form, "bad_rows": bad}
    return _assemble(rows, numbers, votes=votes, notes=notes)


def prepare_folder(
    folder: Path,
    *,
    bad_rows: Literal["skip", "fail"] = "skip",
    report: Callable[[BadRow], None] = lambda _file: None,
    watched: Callable[[list[PictureFile]], Iterable[PictureFile]] = lambda files: files,
) -> Dataset:
    """Read a folder of pictures by class into a data set.

    A folder with ``train`` and ``test`` (or ``validation``) in it is split by them, another 90/10; everything else is
    as in `prepare_csv`.

    ``bad_rows``: what to do with a file that cannot be read, as in `prepare_csv`.
    ``watched``: takes the files and yields them; a caller that shows progress counts them here.
    Raises `DataError`: the folder is in no known form, lacks pictures of an emotion, or has a bad picture and
    ``bad_rows`` is ``fail``.
    """
    files = list_pictures(folder)
    rows, bad = _collect(folder, read_files(watched(files)), bad_rows=bad_rows, report=report)
    form: Form = "folder" if files[0].usage is None else "split folder"
    name = folder.resolve().name
    labels = np.array([row.label for row in rows], dtype=np.int8)
    _require_all(folder, labels)
    return _assemble(rows, labels, votes=None, notes={"source": name, "form": form, "bad_rows": bad})


def _require_all(source: Path, labels: NDArray[np.int8]) -> None:
    missing = [str(emotion) for label, emotion in enumerate(EMOTIONS) if not (labels == label).any()]
    if missing:
        raise DataError(f"{source}: holds no usable picture of {', '.join(missing)}; every emotion needs some")


def _collect(
    source: Path, read: Iterable[Row | BadRow], *, bad_rows: Literal["skip", "fail"], report: Callable[[BadRow], None]
) -> tuple[list[Row], int]:
    """Return the rows that hold a picture, and the number of bad ones."""
    rows: list[Row] = []
    bad = 0
    for row in read:
        if isinstance(row, Row):
            rows.append(row)
        elif bad_rows == "fail":
            raise DataError(f"{source}: {row.where}: {row.reason}")
        else:
            bad += 1
            report(row)
    if not rows:
        raise DataError(f"{source}: no usable picture ({bad} bad)")
    return rows, bad


def _assemble(
    rows: list[Row], labels: NDArray[np.int8], *, votes: NDArray[np.float32] | None, notes: dict[str, Any]
) -> Dataset:
    images = np.stack([row.image for row in rows])
    black = images.reshape(len(images), -1).max(axis=1) == 0
    keep = np.flatnonzero(~black)
    images, labels = images[keep], labels[keep]
    content = _content_ids(images)
    usages = [rows[i].usage for i in keep]
    parts = _article_parts(labels, content) if usages[:1] in ([], [None]) else _official_parts(usages, content)
    if VALIDATION not in parts:
        _carve_validation(parts, labels, content)
    if votes is not None:
        votes = votes[[rows[i].number for i in keep]]
    counts = Counter(PARTS[p] for p, label in zip(parts, labels, strict=True) if 0 <= label < len(EMOTIONS))
    notes |= {
        "black_removed": int(black.sum()),
        "ferplus": votes is not None,
        "five_class_counts": dict(counts),
        "other_classes": len(labels) - counts.total(),
        "split_seed": SPLIT_SEED,
    }
    return Dataset(images, labels, parts, votes, notes)


def _content_ids(images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return a number for each picture; exact copies have the same number."""
    flat = np.ascontiguousarray(images.reshape(len(images), -1))
    _, ids = np.unique(flat.view(f"V{flat.shape[1]}").ravel(), return_inverse=True)
    return np.asarray(ids, dtype=np.intp).reshape(-1)  # numpy 2.0 alone gives it the input's shape


def _official_parts(usages: list[str | None], content: NDArray[np.intp]) -> NDArray[np.uint8]:
    parts = np.array([{"Training": TRAIN, "Validation": VALIDATION}.get(usage or "", TEST) for usage in usages])
    for part in (VALIDATION, TEST):  # copies of pictures of an earlier part leave the later one
        parts[(parts == part) & np.isin(content, content[parts < part])] = EXCLUDED
    return parts.astype(np.uint8)


def _article_parts(labels: NDArray[np.int8], content: NDArray[np.intp]) -> NDArray[np.uint8]:
    parts = np.full(len(labels), TRAIN, dtype=np.uint8)
    rng = np.random.default_rng(SPLIT_SEED)
    for index in range(len(EMOTIONS)):
        of_class = rng.permutation(np.flatnonzero(labels == index))
        parts[of_class[: round(len(of_class) * ARTICLE_TEST_SHARE)]] = TEST
    parts[(parts == TRAIN) & np.isin(content, content[parts == TEST])] = EXCLUDED
    return parts


def _carve_validation(parts: NDArray[np.uint8], labels: NDArray[np.int8], content: NDArray[np.intp]) -> None:
    rng = np.random.default_rng(SPLIT_SEED)
    others = (labels < 0) | (labels >= len(EMOTIONS))
    for chosen_class in (others, *(labels == index for index in range(len(EMOTIONS)))):
        groups = rng.permutation(np.unique(content[(parts == TRAIN) & chosen_class]))
        chosen = groups[: round(len(groups) * VALIDATION_SHARE)]
        # A group of copies moves whole, also where the copies carry different labels.
        parts[(parts == TRAIN) & np.isin(content, chosen)] = VALIDATION
