"""From CSV to a data set: what is kept, where it goes, and that nothing leaks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import DataError
from train.data.csv_rows import BadRow
from train.data.dataset import PARTS, Dataset
from train.data.ferplus import read_votes
from train.data.prepare import prepare_csv

WriteCsv = Callable[..., Path]
KAGGLE_FIVE = (0, 3, 4, 5, 6)


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 256, size=(48, 48)).astype(np.uint8)


def line(label: int, image: NDArray[np.generic], usage: str | None = "Training") -> str:
    fields = [str(label), " ".join(map(str, image.ravel()))] + ([] if usage is None else [usage])
    return ",".join(fields)


def pictures_of(dataset: Dataset, part: str) -> set[bytes]:
    return {image.tobytes() for image in dataset.images[dataset.parts == PARTS.index(part)]}


def assert_no_leak(dataset: Dataset) -> None:
    held_out = pictures_of(dataset, "test")
    seen = pictures_of(dataset, "train") | pictures_of(dataset, "validation")
    assert held_out
    assert not held_out & seen
    assert not pictures_of(dataset, "train") & pictures_of(dataset, "validation")


@pytest.fixture
def kaggle(write_csv: WriteCsv) -> Path:
    """61 training pictures, two alike under two labels; a black one; 20 of PublicTest, 3 of them copies; 1 private."""
    lines = [line(n % 7, picture(n)) for n in range(60)]
    lines += [line(1, picture(0)), line(3, np.zeros((48, 48), dtype=int))]
    lines += [line(n % 7, picture(n), "PublicTest") for n in range(100, 117)]
    lines += [line(n % 7, picture(n), "PublicTest") for n in (3, 10, 17)]
    lines += [line(4, picture(200), "PrivateTest")]
    return write_csv(lines)


def test_kaggles_split_is_kept_less_copies_and_black_pictures(kaggle: Path) -> None:
    dataset = prepare_csv(kaggle)
    assert len(dataset.images) == 82, "83 rows, one black"
    assert dataset.notes["black_removed"] == 1
    assert (dataset.parts == PARTS.index("test")).sum() == 18
    assert pictures_of(dataset, "excluded") == {picture(n).tobytes() for n in (3, 10, 17)}
    assert_no_leak(dataset)


def test_labels_become_ours_and_other_classes_are_never_selected(kaggle: Path) -> None:
    dataset = prepare_csv(kaggle)
    by_content = {image.tobytes(): int(label) for image, label in zip(dataset.images, dataset.labels, strict=True)}
    for n in range(1, 60):
        expected = KAGGLE_FIVE.index(n % 7) if n % 7 in KAGGLE_FIVE else {1: 5, 2: 6}[n % 7]
        assert by_content[picture(n).tobytes()] == expected
    for part in PARTS:
        assert (dataset.labels[dataset.select(part)] >= 0).all()


def test_counts_tell_what_the_parts_hold(kaggle: Path) -> None:
    dataset = prepare_csv(kaggle)
    counts = dataset.counts()
    for part in PARTS:
        assert sum(counts[part].values()) == len(dataset.select(part)) == dataset.notes["five_class_counts"][part]
    assert sum(map(len, map(dataset.select, PARTS))) + dataset.notes["other_classes"] == len(dataset.images)
    assert 3 <= len(dataset.select("validation")) <= 6, "about a tenth of 43"


def test_the_same_file_gives_the_same_data_set(kaggle: Path) -> None:
    assert prepare_csv(kaggle).fingerprint() == prepare_csv(kaggle).fingerprint()


def test_the_articles_form_is_split_evenly_without_a_leak(write_csv: WriteCsv) -> None:
    lines = [line(n % 5, picture(n), None) for n in range(200)]
    lines += [line((n + 1) % 5, picture(n), None) for n in range(0, 200, 4)]  # copies under another label
    dataset = prepare_csv(write_csv(lines, header="emotion,pixels"))
    counts = dataset.counts()
    assert set(counts["test"].values()) == {5}, "a tenth of the 50 of each class"
    assert dataset.notes["form"] == "article"
    assert (dataset.parts == PARTS.index("excluded")).any(), "copies of test pictures leave the training part"
    assert_no_leak(dataset)


def kaggle_lines(n: int) -> list[str]:
    """Lines without Usage whose labels have the shares of fer2013.csv."""
    labels = np.random.default_rng(0).choice(7, size=n, p=np.array([138, 15, 143, 250, 169, 112, 173]) / 1000)
    return [line(int(label), picture(seed), None) for seed, label in enumerate(labels)]


def test_kaggles_labels_without_usage_are_asked_about(write_csv: WriteCsv) -> None:
    """Read as the article's, happy would become surprise, and sad neutral."""
    source = write_csv(kaggle_lines(200), header="emotion,pixels", name="train.csv")
    with pytest.raises(DataError, match=r"train\.csv: has labels up to 6.*: --labels kaggle$"):
        prepare_csv(source)
    dataset = prepare_csv(source, labels="kaggle")
    by_content = {image.tobytes(): int(label) for image, label in zip(dataset.images, dataset.labels, strict=True)}
    for seed, text in enumerate(kaggle_lines(200)):
        label = int(text[0])
        assert by_content[picture(seed).tobytes()] == (KAGGLE_FIVE.index(label) if label in KAGGLE_FIVE else label + 4)
    assert dataset.notes["form"] == "kaggle"
    assert len(dataset.select("test")), "split 90/10, as there is no Usage"


WORDS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize(
    ("change", "separator", "header"),
    [
        (str, ";", "emotion;pixels;Usage"),
        (str, "\t", "Usage\temotion\tpixels"),
        (lambda label: f"{label}.0", ",", "emotion,pixels,Usage"),
        (lambda label: WORDS[label], ",", "emotion,pixels,Usage"),
        (lambda label: WORDS[label].upper(), ";", "EMOTION;PIXELS;USAGE"),
    ],
    ids=["semicolons", "tabs", "numbers with a point", "words", "words in capitals"],
)
@pytest.mark.parametrize("usage", [str, str.lower])
def test_csv_of_other_programs_gives_the_same_data_set(
    change: Callable[[int], str], separator: str, header: str, usage: Callable[[str], str], write_csv: WriteCsv
) -> None:
    rows = [dict(zip(("emotion", "pixels", "usage"), text.split(","), strict=True)) for text in kaggle_csv_lines(200)]
    order = header.lower().split(separator)
    changed = [row | {"emotion": change(int(row["emotion"])), "usage": usage(row["usage"])} for row in rows]

    dataset = prepare_csv(write_csv([separator.join(row[name] for name in order) for row in changed], header=header))

    assert dataset.fingerprint() == prepare_csv(write_csv(kaggle_csv_lines(200), name="plain.csv")).fingerprint()


def kaggle_csv_lines(n: int) -> list[str]:
    return [f"{text},{'Training' if number % 4 else 'PublicTest'}" for number, text in enumerate(kaggle_lines(n))]


@pytest.mark.parametrize("labels", [None, "kaggle", "article"])
@pytest.mark.parametrize("usage", [True, False])
def test_labels_that_begin_at_1_are_asked_about(labels: Any, usage: bool, write_csv: WriteCsv) -> None:
    """With --labels kaggle, angry would have become disgust, and neutral bad rows."""
    lines = [f"{int(text[0]) + 1}{text[1:]}" for text in (kaggle_csv_lines(200) if usage else kaggle_lines(200))]
    source = write_csv(lines, header="emotion,pixels,Usage" if usage else "emotion,pixels")
    with pytest.raises(DataError, match="if the file counts from 1, subtract 1 from each"):
        prepare_csv(source, labels=labels)


def test_a_single_label_beyond_the_form_is_a_bad_row(write_csv: WriteCsv) -> None:
    lines = kaggle_csv_lines(200)
    lines[7] = f"7{lines[7][1:]}"
    assert prepare_csv(write_csv(lines)).notes["bad_rows"] == 1


@pytest.mark.parametrize("labels", [None, "kaggle"])
def test_csv_without_a_picture_of_an_emotion_is_refused(labels: Any, write_csv: WriteCsv) -> None:
    lines = [text.replace("3,", "4,", 1) if text.startswith("3") else text for text in kaggle_csv_lines(200)]
    with pytest.raises(DataError, match=r"no usable picture of happy|shares of its labels"):
        prepare_csv(write_csv(lines), labels=labels)
    words = [f"{WORDS[int(text[0])]}{text[1:]}" for text in lines]
    with pytest.raises(DataError, match="no usable picture of happy; every emotion needs some"):
        prepare_csv(write_csv(words))


def test_words_and_numbers_as_labels_are_asked_about(write_csv: WriteCsv) -> None:
    lines = kaggle_csv_lines(200)
    with pytest.raises(DataError, match="1 of 200 rows have words as labels, the others numbers"):
        prepare_csv(write_csv([f"sad{lines[0][1:]}", *lines[1:]]))
    words = [f"{WORDS[int(text[0])]}{text[1:]}" for text in lines]
    with pytest.raises(DataError, match="leave --labels out"):
        prepare_csv(write_csv(words), labels="article")


def test_the_articles_labels_with_a_usage_column_keep_the_split(write_csv: WriteCsv) -> None:
    lines = [line(n % 5, picture(n), "Training" if n < 150 else "PublicTest") for n in range(200)]
    with pytest.raises(DataError, match="--labels article"):
        prepare_csv(write_csv(lines))
    dataset = prepare_csv(write_csv(lines), labels="article")
    assert set(dataset.counts()["test"].values()) == {10}


def bad_lines() -> Sequence[str]:
    return [line(0, picture(1)), "0,1 2 3,Training", line(9, picture(2)), "0,a b,Training", line(3, picture(3))]


def test_bad_rows_are_named_by_line_and_skipped(write_csv: WriteCsv) -> None:
    refused: list[BadRow] = []
    dataset = prepare_csv(write_csv(bad_lines()), report=refused.append)
    assert [row.place for row in refused] == [3, 4, 5]
    assert len(dataset.images) == 2
    assert dataset.notes["bad_rows"] == 3


def test_bad_rows_are_fatal_where_asked(write_csv: WriteCsv) -> None:
    with pytest.raises(DataError, match=r"faces\.csv: line 3: expected 2304 pixels"):
        prepare_csv(write_csv(bad_lines()), bad_rows="fail")


def test_a_file_without_a_usable_row_is_refused(write_csv: WriteCsv) -> None:
    with pytest.raises(DataError, match=r"no usable picture \(1 bad\)"):
        prepare_csv(write_csv(["x,y,z"]))
    with pytest.raises(DataError, match=r"no usable picture \(0 bad\)"):
        prepare_csv(write_csv([]))


VOTES_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def test_votes_are_joined_by_row_past_bad_and_black_rows(write_csv: WriteCsv) -> None:
    black = line(0, np.zeros((48, 48), dtype=int))
    faces = write_csv([line(0, picture(1)), "bad", black, line(3, picture(2)), line(6, picture(3))])
    votes = write_csv(
        [
            "T,,0,0,0,0,10,0,0,0,0,0",
            "T,,0,0,0,0,0,0,0,0,0,0",
            "T,,0,0,0,0,0,0,0,0,0,0",
            "T,,2,6,0,0,0,2,0,0,0,0",
            "T,,0,0,0,0,0,10,0,0,0,0",
        ],
        name="votes.csv",
        header=VOTES_HEADER,
    )
    dataset = prepare_csv(faces, ferplus=votes)
    assert dataset.votes is not None
    assert dataset.votes.shape == (3, 7)
    shares = dataset.vote_shares(np.arange(3))
    np.testing.assert_allclose(shares, np.array([[4, 0, 0, 0, 0], [0, 3, 0, 0, 1], [0, 0, 0, 0, 0]]) / 4)


def test_a_row_column_goes_before_the_order_of_lines(write_csv: WriteCsv) -> None:
    lines = ["2,T,,0,1,0,0,0,0,0,0,0,0", "0,T,,0,0,0,0,1,0,0,0,0,0"]
    votes = read_votes(write_csv(lines, header="row," + VOTES_HEADER))
    np.testing.assert_array_equal(votes, [[1, 0, 0, 0, 0, 0, 0], [0] * 7, [0, 1, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        ([], VOTES_HEADER, "no votes in it"),
        (["1,2"], "emotion,pixels", "line 1: no FER\\+ votes: the header lacks anger"),
        (["T,,1,2,x,0,0,0,0,0,0,0"], VOTES_HEADER, "line 2: not a row of FER\\+ votes"),
        (["T,,1,2"], VOTES_HEADER, "line 2: not a row of FER\\+ votes"),
        (["T,,1,nan,0,0,0,0,0,0,0,0"], VOTES_HEADER, "line 2: .*votes must be numbers from 0"),
        (["T,,1,-1,0,0,0,0,0,0,0,0"], VOTES_HEADER, "line 2: .*votes must be numbers from 0"),
        (["99999999999,T,,1,1,0,0,0,0,0,0,0,0"], "row," + VOTES_HEADER, "line 2: .*row must be 0"),
    ],
)
def test_damaged_votes_are_named(write_csv: WriteCsv, lines: list[str], header: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_votes(write_csv(lines, header=header))


def test_votes_must_go_with_the_pictures(write_csv: WriteCsv) -> None:
    votes = write_csv(["T,,0,0,0,0,10,0,0,0,0,0"], name="votes.csv", header=VOTES_HEADER)
    two = write_csv([line(0, picture(1)), line(0, picture(2))])
    with pytest.raises(DataError, match=r"votes for 1 rows, the pictures go up to row 1"):
        prepare_csv(two, ferplus=votes)
    article = write_csv([line(0, picture(1), None)], header="emotion,pixels")
    with pytest.raises(DataError, match="article's form"):
        prepare_csv(article, ferplus=votes)


def test_real_faces_survive_the_way_through_csv(
    shared_faces: dict[str, NDArray[np.generic]], write_csv: WriteCsv
) -> None:
    usage = ("Training", "PublicTest")
    chosen = np.r_[0:150, -150:0]
    images, labels = shared_faces["images"][chosen], shared_faces["labels"][chosen]
    usages = [usage[int(u)] for u in shared_faces["usage"][chosen]]
    rows = [line(int(label), image, u) for label, image, u in zip(labels, images, usages, strict=True)]
    dataset = prepare_csv(write_csv(rows), bad_rows="fail")
    np.testing.assert_array_equal(dataset.images, images)
    assert (dataset.parts == PARTS.index("test")).sum() == 150
    assert_no_leak(dataset)
