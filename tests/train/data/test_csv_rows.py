"""Every row of a CSV file is a picture or is refused with its line."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DataError
from train.data.csv_rows import LONGEST_LINE, PIXELS, BadRow, Form, Row, read_rows, sniff_form

PICTURE = np.arange(PIXELS) % 256
PIXEL_TEXT = " ".join(map(str, PICTURE))


def rows_of(text: str, form: Form = "kaggle") -> list[Row | BadRow]:
    return list(read_rows(io.BytesIO(text.encode("utf-8", "surrogatepass")), form))


def only_reason(line: str, form: Form = "kaggle") -> str:
    header = "emotion,pixels,Usage" if form == "kaggle" else "emotion,pixels"
    (bad,) = rows_of(f"{header}\n{line}\n", form)
    assert isinstance(bad, BadRow), f"accepted {line[:60]!r}"
    assert bad.line == 2
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
        (f"0,{PIXEL_TEXT}", "2 columns where 3 are due"),
        (f"0,{PIXEL_TEXT},Training,more", "4 columns where 3 are due"),
        ("0", "1 columns where 3 are due"),
        (f"7,{PIXEL_TEXT},Training", "emotion must be 0..6, found '7'"),
        (f"-1,{PIXEL_TEXT},Training", "emotion must be 0..6, found '-1'"),
        (f"happy,{PIXEL_TEXT},Training", "emotion must be 0..6, found 'happy'"),
        (f"²,{PIXEL_TEXT},Training", "emotion must be 0..6, found '²'"),
        (f",{PIXEL_TEXT},Training", "emotion must be 0..6, found ''"),
        (f"0,{PIXEL_TEXT},Private", "Usage must be one of Training, PublicTest, PrivateTest, found 'Private'"),
        (f"0,{PIXEL_TEXT.rsplit(' ', 1)[0]},Training", "2303 pixels where 2304 (48 x 48) are due"),
        (f"0,{PIXEL_TEXT} 0,Training", "2305 pixels where 2304 (48 x 48) are due"),
        ("0,,Training", "0 pixels where 2304 (48 x 48) are due"),
        ("0,   ,Training", "0 pixels where 2304 (48 x 48) are due"),
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
    assert only_reason(f"5,{PIXEL_TEXT}", "article") == "emotion must be 0..4, found '5'"
    assert only_reason(f"0,{PIXEL_TEXT},Training", "article") == "3 columns where 2 are due"


def test_lines_and_numbers_count_what_a_person_would_count() -> None:
    good = f"0,{PIXEL_TEXT},Training"
    long = "0," + "1 " * LONGEST_LINE
    seen = rows_of("\n".join(["emotion,pixels,Usage", good, "", '0,"stray,Training', long, good, "x", good]))
    assert [row.line for row in seen if isinstance(row, BadRow)] == [4, 5, 7]
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
    for row in read_rows(io.BytesIO(b"emotion,pixels\n" + content), "article"):
        assert isinstance(row, BadRow), "no picture has so few bytes"


def test_tells_the_forms_apart(write_csv: Callable[..., Path]) -> None:
    assert sniff_form(write_csv([])) == "kaggle"
    assert sniff_form(write_csv([], header="\ufeffEmotion, Pixels")) == "article"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found an empty line"),
        (b"label,image\n", "found 'label,image'"),
        (b"emotion;pixels;Usage\n", "found 'emotion;pixels;usage'"),
        (b"\xff\xfee\0m\0", "not CSV in UTF-8"),
        (b'"emotion,pixels\n', "not CSV"),
    ],
)
def test_another_header_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match="line 1: ") as caught:
        sniff_form(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        sniff_form(tmp_path / "none.csv")
    with pytest.raises(DataError, match="directory"):
        sniff_form(tmp_path)
