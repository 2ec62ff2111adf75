"""Every row of a CSV file is a picture or is refused with its line."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DataError
from train.data.csv_rows import LONGEST_LINE, PIXELS, BadRow, Columns, Form, Row, check_labels, read_columns, read_rows

COLUMNS: dict[Form, Columns] = {"kaggle": Columns(3, 0, 1, 2), "article": Columns(2, 0, 1, None)}
PICTURE = np.arange(PIXELS) % 256
PIXEL_TEXT = " ".join(map(str, PICTURE))


def rows_of(text: str, form: Form = "kaggle") -> list[Row | BadRow]:
    return list(read_rows(io.BytesIO(text.encode("utf-8", "surrogatepass")), COLUMNS[form]))


def only_reason(line: str, form: Form = "kaggle") -> str:
    header = "emotion,pixels,Usage" if form == "kaggle" else "emotion,pixels"
    (bad,) = rows_of(f"{header}\n{line}\n", form)
    assert isinstance(bad, BadRow), f"accepted {line[:60]!r}"
    assert bad.place == 2
    return bad.reason


def test_reads_both_forms() -> None:
    (kaggle,) = rows_of(f"emotion,pixels,Usage\n3,{PIXEL_TEXT},PublicTest\n")
    (article,) = rows_of(f'emotion,pixels\r\n4,"{PIXEL_TEXT}"\r\n', "article")
    assert isinstance(kaggle, Row)
    assert isinstance(article, Row)
    assert (kaggle.number, kaggle.label, kaggle.usage) == (0, 3, "PublicTest")
    assert (article.number, article.label, article.usage) == (0, 4, None)
    assert kaggle.image.dtype == np.uint8
    np.testing.assert_array_equal(kaggle.image, PICTURE.reshape(48, 48))
    np.testing.assert_array_equal(article.image, kaggle.image)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"0,{PIXEL_TEXT}", "expected 3 columns, found 2"),
        (f"0,{PIXEL_TEXT},Training,more", "expected 3 columns, found 4"),
        ("0", "expected 3 columns, found 1"),
        (f"7,{PIXEL_TEXT},Training", "emotion must be 0..6, found '7'"),
        (f"-1,{PIXEL_TEXT},Training", "emotion must be 0..6, found '-1'"),
        (f"contempt,{PIXEL_TEXT},Training", "emotion must be 0..6, found 'contempt'"),
        (f"3.5,{PIXEL_TEXT},Training", "emotion must be 0..6, found '3.5'"),
        (f"²,{PIXEL_TEXT},Training", "emotion must be 0..6, found '²'"),
        (f",{PIXEL_TEXT},Training", "emotion must be 0..6, found ''"),
        (f"0,{PIXEL_TEXT},Private", "Usage must be one of Training, PublicTest, PrivateTest, found 'Private'"),
        (f"0,{PIXEL_TEXT.rsplit(' ', 1)[0]},Training", "expected 2304 pixels (48 x 48), found 2303"),
        (f"0,{PIXEL_TEXT} 0,Training", "expected 2304 pixels (48 x 48), found 2305"),
        ("0,,Training", "expected 2304 pixels (48 x 48), found 0"),
        ("0,   ,Training", "expected 2304 pixels (48 x 48), found 0"),
        (f"0,{PIXEL_TEXT.replace(' 7 ', ' x7 ', 1)},Training", "pixels must be whole numbers 0..255, found 'x7'"),
        (f"0,{PIXEL_TEXT.replace(' 7 ', ' -7 ', 1)},Training", "pixels must be whole numbers 0..255, found '-7'"),
        (f"0,{PIXEL_TEXT.replace(' 7 ', ' 7.5 ', 1)},Training", "pixels must be whole numbers 0..255, found '7.5'"),
        (f"0,{PIXEL_TEXT.replace(' 7 ', ' 256 ', 1)},Training", "pixels must be whole numbers 0..255, found '256'"),
        (
            f"0,{PIXEL_TEXT.replace(' 7 ', ' 4294967297 ', 1)},Training",
            "pixels must be whole numbers 0..255, found '4294967297'",
        ),
        (
            f"0,{PIXEL_TEXT.replace(' 7 ', ' 18446744073709551617 ', 1)},Training",
            "pixels must be whole numbers 0..255, found '18446744073709551617'",
        ),
        (f"0,{PIXEL_TEXT.replace(' 7 ', ' ٣ ', 1)},Training", "pixels must be whole numbers 0..255, found '٣'"),
        (f"0,{PIXEL_TEXT[:40]}\0{PIXEL_TEXT[40:]},Training", "pixels must be whole numbers 0..255, found "),
        (f'0,"{PIXEL_TEXT},Training', "not CSV: "),
        ("0," + "1 " * LONGEST_LINE + ",Training", f"longer than {LONGEST_LINE} bytes"),
    ],
)
def test_a_row_without_a_picture_is_refused_with_its_reason(line: str, reason: str) -> None:
    assert only_reason(line).startswith(reason)


def test_the_article_form_has_five_classes_and_no_usage() -> None:
    assert only_reason(f"7,{PIXEL_TEXT}", "article") == "emotion must be 0..6, found '7'"
    assert only_reason(f"0,{PIXEL_TEXT},Training", "article") == "expected 2 columns, found 3"
    with pytest.raises(DataError, match="has labels up to 5, the article's go from 0 to 4"):
        check_labels(Path("f.csv"), np.array([0, 5], np.int8), "article", named=True)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("emotion, Usage, pixels", f"3, Training, {PIXEL_TEXT}"),
        (",emotion,pixels,Usage", f"17,3,{PIXEL_TEXT},Training"),
        ("\ufeffid,Usage,Emotion,pixels", f'a,Training,3,"{PIXEL_TEXT}"'),
        ("pixels,emotion,usage ", f"{PIXEL_TEXT},3,Training"),
    ],
)
def test_columns_are_found_by_name(header: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text(f"{header}\n{line}\n", encoding="utf-8")
    with path.open("rb") as file:
        (row,) = read_rows(file, read_columns(path))
    assert isinstance(row, Row)
    assert (row.label, row.usage) == (3, "Training")
    np.testing.assert_array_equal(row.image, PICTURE.reshape(48, 48))


@pytest.mark.parametrize(
    ("shares", "form", "said"),
    [
        ((0.138, 0.015, 0.143, 0.25, 0.169, 0.112, 0.173), "kaggle", None),
        ((0.2, 0.2, 0.2, 0.2, 0.2), "article", None),
        ((0.25, 0.15, 0.2, 0.15, 0.25), "article", None),
        ((0.138, 0.015, 0.143, 0.25, 0.169, 0.112, 0.173), "article", "name them: --labels kaggle"),
        ((0.2, 0.2, 0.2, 0.2, 0.2), "kaggle", "--labels kaggle .* or --labels article"),
        ((0.2, 0.02, 0.2, 0.35, 0.23), "article", "--labels kaggle .* or --labels article"),  # Kaggle's 0 to 4
        ((0.9, 0.025, 0.025, 0.025, 0.025), "article", "0: 90%.* --labels kaggle .* or --labels article"),
        ((0.25, 0.25, 0.25, 0.25), "article", "--labels kaggle .* or --labels article"),  # an emotion is missing
        ((0.0, 0.0, 0.0, 0.5, 0.5), "kaggle", "--labels kaggle .* or --labels article"),
    ],
)
def test_labels_that_look_like_neither_form_are_asked_about(
    shares: tuple[float, ...], form: Form, said: str | None
) -> None:
    labels = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * 1000).astype(int)).astype(np.int8)
    if said is None:
        check_labels(Path("f.csv"), labels, form, named=False)
        return
    with pytest.raises(DataError, match=said) as caught:
        check_labels(Path("f.csv"), labels, form, named=False)
    assert "\n" not in str(caught.value)
    if labels.max() < 5 or form == "kaggle":
        check_labels(Path("f.csv"), labels, form, named=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"emotion,pixels\n"), "unpack it first: tar -xzf or gunzip"),
        (b"PK\x03\x04 and so on", "unpack it first: unzip"),
        (b"fer2013.csv".ljust(257, b"\0") + b"ustar\0", "unpack it first: tar -xf"),
        (bz2.compress(b"emotion"), "unpack it first: tar -xjf or bunzip2"),
        (b"7z\xbc\xaf\x27\x1c", "unpack it first: 7z x"),
        (lzma.compress(b"emotion"), "unpack it first: tar -xJf or unxz"),
    ],
    ids=["gzip", "zip", "tar", "bzip2", "7z", "xz"],
)
def test_a_packed_file_is_one_line_that_says_to_unpack(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_columns(path)


def test_lines_and_numbers_count_what_a_person_would_count() -> None:
    good = f"0,{PIXEL_TEXT},Training"
    long = "0," + "1 " * LONGEST_LINE
    seen = rows_of("\n".join(["emotion,pixels,Usage", good, "", '0,"stray,Training', long, good, "x", good]))
    assert [row.place for row in seen if isinstance(row, BadRow)] == [4, 5, 7]
    assert [row.number for row in seen if isinstance(row, Row)] == [0, 3, 5]


@given(st.text(alphabet=st.characters(exclude_characters='\n\r,"'), max_size=60))
def test_no_text_among_the_pixels_passes_for_a_number(word: str) -> None:
    rest = PIXEL_TEXT.split(" ", 1)[1]
    (row,) = rows_of(f"emotion,pixels,Usage\n0,{word} {rest},Training\n")
    one_number = word.strip(" ").isascii() and word.strip(" ").isdigit() and int(word) <= 255
    assert isinstance(row, Row) == one_number
    if isinstance(row, Row):
        assert row.image[0, 0] == int(word)


@given(st.binary(min_size=16, max_size=16))
def test_every_picture_comes_back_as_written(seed: bytes) -> None:
    values = list(seed) * (PIXELS // len(seed))
    (row,) = rows_of(f"emotion,pixels\n2,{' '.join(map(str, values))}\n", "article")
    assert isinstance(row, Row)
    assert row.image.ravel().tolist() == values


@given(st.binary(max_size=3000))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    for row in read_rows(io.BytesIO(b"emotion,pixels\n" + content), COLUMNS["article"]):
        assert isinstance(row, BadRow), "no picture has so few bytes"


def test_tells_the_forms_apart(write_csv: Callable[..., Path]) -> None:
    assert read_columns(write_csv([])) == COLUMNS["kaggle"]
    assert read_columns(write_csv([], header="\ufeffEmotion, Pixels")) == COLUMNS["article"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found an empty line"),
        (b"label,image\n", "found 'label,image'"),
        (b"emotion,pixels,emotion\n", "found 'emotion,pixels,emotion'"),
        (b"label;pixels;Usage\n", "found 'label,pixels,usage'"),
        (b"\xff\xfee\0m\0", "byte 0 is not UTF-8; save the file as CSV in UTF-8"),
        (b'"emotion,pixels\n', "not CSV"),
    ],
)
def test_another_header_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match="line 1: ") as caught:
        read_columns(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_columns(tmp_path / "none.csv")
    with pytest.raises(DataError, match="directory"):
        read_columns(tmp_path)
