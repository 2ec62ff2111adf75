"""Pictures of every kind, upright; what is none, one clear line; a folder of them."""

import os
import struct
import sys
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.cameras import open_camera, read_picture
from edge.cameras.photos import natural_order
from edge.cameras.pictures import MAX_BYTES
from edge.content import kind_of, picture_header
from edge.errors import CameraError, ImageError

BLUE, GREEN, RED = 200, 100, 50
LUMA = round(0.114 * BLUE + 0.587 * GREEN + 0.299 * RED)


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16], suffix: str = ".png") -> bytes:
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


def colour(height: int = 4, width: int = 6) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (BLUE, GREEN, RED), np.uint8)


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    entry = struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0MM\0*\0\0\0\x08" + entry
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize(("height", "width"), [(4, 6), (1, 1), (300, 17)])
def test_colour_pictures_of_every_kind(suffix: str, height: int, width: int) -> None:
    picture = read_picture(encode(colour(height, width), suffix))

    assert picture.bgr.shape == (height, width, 3)
    assert picture.luma.shape == (height, width)
    assert picture.bgr.dtype == picture.luma.dtype == np.uint8
    assert picture.bgr[0, 0].tolist() == pytest.approx([BLUE, GREEN, RED], abs=3)
    assert int(picture.luma[0, 0]) == pytest.approx(LUMA, abs=3)


def test_sixteen_bits_become_eight() -> None:
    gray = read_picture(encode(np.full((4, 6), 0xABCD, np.uint16)))
    coloured = read_picture(encode(np.full((4, 6, 3), (0x1234, 0x5678, 0x9ABC), np.uint16)))

    assert int(gray.luma[0, 0]) == 0xAB
    assert coloured.bgr[0, 0].tolist() == [0x12, 0x56, 0x9A]


def test_gray_becomes_colour() -> None:
    picture = read_picture(encode(np.full((4, 6), 77, np.uint8)))

    assert picture.luma[0, 0] == 77
    assert picture.bgr[0, 0].tolist() == [77, 77, 77]


@pytest.mark.parametrize("depth", [8, 16])
def test_what_is_transparent_is_laid_on_neutral_gray(depth: int) -> None:
    scale = 257 if depth == 16 else 1
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    pixels = np.zeros((1, 3, 4), np.uint16) if depth == 16 else np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, :3] = 255 * scale
    pixels[0, :, 3] = [0, 128 * scale, 255 * scale]

    picture = read_picture(encode(pixels))

    assert picture.bgr[0, :, 0].tolist() == [128, 192, 255]


EXIF = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
CORNERS = {1: (0, 0), 2: (0, 79), 3: (39, 79), 4: (39, 0), 5: (0, 0), 6: (0, 39), 7: (79, 39), 8: (79, 0)}


def with_exif(suffix: str, data: bytes, orientation: int) -> bytes:
    """Note an orientation in a picture as cameras do."""
    exif = EXIF[:-8] + struct.pack(">HHI", orientation, 0, 0)
    if suffix == ".jpg":
        return with_exif_orientation(data, orientation)
    if suffix == ".png":
        return data[:33] + png_chunk(b"eXIf", exif) + data[33:]
    exif += bytes(len(exif) % 2)
    canvas = struct.pack("<4sIB3x", b"VP8X", 10, 8) + (79).to_bytes(3, "little") + (39).to_bytes(3, "little")
    body = b"WEBP" + canvas + data[12:] + struct.pack("<4sI", b"EXIF", len(exif)) + exif
    return struct.pack("<4sI", b"RIFF", len(body)) + body


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(suffix: str, orientation: int) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:10, :10] = 255

    picture = read_picture(with_exif(suffix, encode(pixels, suffix), orientation))

    assert picture.luma.shape == ((40, 80) if orientation < 5 else (80, 40))
    assert picture.luma[CORNERS[orientation]] > 200
    assert picture.bgr[CORNERS[orientation]].min() > 200


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_of_a_tiff_is_applied_once(orientation: int) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow, which writes such a TIFF, is not installed")
    pixels = np.zeros((40, 80), np.uint8)
    pixels[:10, :10] = 255
    data = BytesIO()
    pillow.fromarray(pixels).save(data, "TIFF", tiffinfo={0x0112: orientation})

    picture = read_picture(data.getvalue())

    assert picture.luma.shape == ((40, 80) if orientation < 5 else (80, 40))
    assert picture.luma[CORNERS[orientation]] > 200


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("as_phones_do", [True, False])
def test_heic_is_upright_by_its_own_turn_or_by_exif(orientation: int, as_phones_do: bool) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="the extra photos is not installed")
    pytest.importorskip("pillow_heif", reason="the extra photos is not installed").register_heif_opener()
    marked = np.zeros((40, 80), np.uint8)
    marked[:20, :40] = 255
    image, exif, data = pillow.fromarray(marked), pillow.Exif(), BytesIO()
    exif[0x0112] = orientation
    image.save(data, "HEIF", exif=exif.tobytes() if as_phones_do else exif)
    assert (b"irot" in data.getvalue() or b"imir" in data.getvalue()) == (as_phones_do and orientation > 1)

    luma = read_picture(data.getvalue()).luma

    assert luma.shape == ((40, 80) if orientation < 5 else (80, 40))
    assert luma[CORNERS[orientation]] > 200


@pytest.mark.parametrize("exif", [b"", b"MM", b"MM\0*\xff\xff\xff\xff", EXIF[:-10], b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_is_no_orientation(exif: bytes) -> None:
    png = encode(colour())

    assert read_picture(png[:33] + png_chunk(b"eXIf", exif) + png[33:]).luma.shape == (4, 6)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_jpeg_that_was_cut_off_keeps_its_rows(progressive: int, share: float, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(2).integers(0, 255, (160, 120), np.uint8)
    data = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    whole = read_picture(data).luma

    cut = read_picture(data[: int(len(data) * share) - 2], name="it").luma

    assert cut.shape == whole.shape
    rows = int(160 * share * 0.6)
    assert progressive or np.array_equal(cut[:rows], whole[:rows])
    assert [one.getMessage() for one in caplog.records] == ["it: the end is missing; the rows that came are shown"]


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize(
    ("suffix", "pixels"),
    [(".png", "gray"), (".png", "colour"), (".png", "alpha"), (".png", "deep"), (".bmp", "colour")],
)
def test_picture_that_was_cut_off_keeps_its_rows(
    suffix: str, pixels: str, share: float, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    shape = {"gray": (160, 120), "colour": (160, 120, 3), "alpha": (160, 120, 4), "deep": (160, 120)}[pixels]
    noise = np.random.default_rng(2).integers(1, 255, shape, np.uint8)
    data = encode(noise if pixels != "deep" else noise.astype(np.uint16) << 8, suffix)  # type: ignore[arg-type]
    whole = read_picture(data).luma

    cut = read_picture(data[: int(len(data) * share) - 2], name="it").luma

    assert cut.shape == whole.shape
    rows = np.arange(160) < int(160 * share * 0.95)
    assert np.array_equal(
        cut[rows[::-1] if suffix == ".bmp" else rows], whole[rows[::-1] if suffix == ".bmp" else rows]
    )
    assert [one.getMessage() for one in caplog.records] == ["it: the end is missing; the rows that came are shown"]
    assert capfd.readouterr().err == ""


def test_png_of_many_chunks_and_colours_keeps_its_rows() -> None:
    pillow = pytest.importorskip("PIL.Image", reason="the extra photos is not installed")
    noise = np.random.default_rng(2).integers(0, 255, (400, 300), np.uint8)  # Pillow writes chunks of 64 kB
    data = BytesIO()
    pillow.fromarray(noise).convert("P").save(data, "PNG")
    assert data.getvalue().count(b"IDAT") > 1
    whole = read_picture(data.getvalue()).luma

    cut = read_picture(data.getvalue()[: len(data.getvalue()) * 7 // 10]).luma

    assert np.array_equal(cut[:260], whole[:260])


@pytest.mark.parametrize("share", [0.6, 0.99])
def test_gif_that_was_cut_off_keeps_its_rows(share: float, caplog: pytest.LogCaptureFixture) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="the extra photos is not installed")
    noise = np.random.default_rng(2).integers(0, 255, (160, 120), np.uint8)
    data = BytesIO()
    pillow.fromarray(noise).save(data, "GIF", interlace=0)
    whole = read_picture(data.getvalue()).luma
    assert caplog.records == []

    cut = read_picture(data.getvalue()[: int(len(data.getvalue()) * share)], name="it").luma

    rows = int(160 * share * 0.9)
    assert np.array_equal(cut[:rows], whole[:rows])
    assert [one.getMessage() for one in caplog.records] == ["it: the end is missing; the rows that came are shown"]


def test_gif_whose_later_pictures_are_missing_is_whole(caplog: pytest.LogCaptureFixture) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="the extra photos is not installed")
    first = pillow.fromarray(np.full((40, 60), 50, np.uint8))
    second = pillow.fromarray(np.random.default_rng(2).integers(0, 255, (40, 60), np.uint8))
    data = BytesIO()
    first.save(data, "GIF", save_all=True, append_images=[second] * 9)

    for share in (0.5, 0.9, 1.0):
        assert read_picture(data.getvalue()[: int(len(data.getvalue()) * share)]).luma.mean() == pytest.approx(
            50, abs=2
        )
    assert caplog.records == []


@pytest.mark.parametrize("quality", [50, 101])
def test_webp_that_was_cut_off_is_said_to_be(quality: int) -> None:
    data = cv2.imencode(".webp", colour(64, 64), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()

    with pytest.raises(ImageError, match=r"^it: its end is missing, and what came cannot be shown$"):
        read_picture(data[:-9], name="it")


@pytest.mark.parametrize("end", [20, 26, 29, 33, 40])
def test_png_of_which_a_few_bytes_came_is_refused(end: int) -> None:
    with pytest.raises(ImageError):
        read_picture(encode(colour())[:end])


def test_bmp_that_states_gigabytes_is_refused() -> None:
    data = bytearray(encode(colour(), ".bmp"))
    data[2:6] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="its end is missing"):
        read_picture(bytes(data[:-9]))


def test_png_that_is_damaged_and_cut_is_refused() -> None:
    noise = np.random.default_rng(2).integers(0, 255, (99, 99), np.uint8)
    data = bytearray(encode(noise))
    data[41:43] = bytes(2)

    with pytest.raises(ImageError, match="its end is missing"):
        read_picture(bytes(data[:5000]))


def test_bytes_behind_a_picture_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    for suffix in (".jpg", ".png"):
        assert read_picture(encode(colour(), suffix) + b"\xff\xd8\xff\xda" + bytes(99)).luma.shape == (4, 6)
    assert caplog.records == []


def heif_header(brand: bytes, width: int = 40, height: int = 30) -> bytes:
    size = struct.pack(">I4sIII", 20, b"ispe", 0, width, height)
    return struct.pack(">I4s4sI", 16, b"ftyp", brand, 0) + struct.pack(">I4sI", 12 + len(size), b"meta", 0) + size


TGA = struct.pack("<BBB5xHHHHBB", 0, 0, 2, 0, 0, 3, 2, 24, 0x20) + bytes([BLUE, GREEN, RED]) * 6


@pytest.mark.parametrize(
    ("kind", "data"), [("HEIC", heif_header(b"heic")), ("AVIF", heif_header(b"avif")), ("TGA", TGA)]
)
def test_picture_that_needs_the_extra_says_so(monkeypatch: pytest.MonkeyPatch, kind: str, data: bytes) -> None:
    for name in ("PIL", "PIL.Image", "pillow_heif"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ImageError, match=rf"^it: {kind} needs the photos extra: pip install '\.\[photos\]'$"):
        read_picture(data, name="it")


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_heif_bomb_is_refused_before_it_is_decoded(brand: bytes) -> None:
    with pytest.raises(ImageError, match="30000x30000 pixels; more than 64 million are refused"):
        read_picture(heif_header(brand, 30_000, 30_000))


@pytest.mark.parametrize("form", ["GIF", "TGA", "JPEG2000", "AVIF", "HEIF"])
def test_picture_is_read_through_pillow_where_opencv_cannot(form: str) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="the extra photos is not installed")
    if form == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra photos is not installed").register_heif_opener()
    pillow.init()
    if form not in pillow.SAVE:
        pytest.skip(f"this Pillow writes no {form}")
    data = BytesIO()
    pillow.fromarray(np.ascontiguousarray(colour(32, 48)[:, :, ::-1])).save(data, form)

    picture = read_picture(data.getvalue())

    assert picture.luma.shape == (32, 48)
    assert picture.bgr[5, 5].tolist() == pytest.approx([BLUE, GREEN, RED], abs=6)
    for end in (200, 60, 30):
        with suppress(ImageError):  # any other exception fails the test
            read_picture(data.getvalue()[:end])


def test_unused_alpha_is_not_transparency() -> None:
    pixels = np.ascontiguousarray(np.dstack([colour(), np.zeros((4, 6), np.uint8)]))

    assert read_picture(encode(pixels, ".bmp")).bgr[0, 0].tolist() == [BLUE, GREEN, RED]


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"\xff\xfe", "☃.png".encode(), b"no suffix", b"clip.mp4"])
def test_picture_name_is_any_bytes(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    path.write_bytes(encode(colour(), ".jpg"))
    assert read_picture(path).luma.shape == (4, 6)

    path.write_bytes(b"no picture")
    with pytest.raises(ImageError) as caught:
        read_picture(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (encode(colour(), ".jpg"), "picture"),
        (encode(colour(), ".png"), "picture"),
        (encode(colour(), ".jpg") * 3, "clip"),
        (b"GIF89a\x04\0\x04\0", "picture"),
        (TGA, "picture"),
        (heif_header(b"heic"), "picture"),
        (heif_header(b"isom"), "clip"),
        (b"\x1aE\xdf\xa3" + bytes(20), "clip"),
        (b"RIFF\0\0\0\0AVI LIST", "clip"),
        ((b"G" + bytes(187)) * 3, "clip"),
        (bytes(4) + (b"G" + bytes(191)) * 3, "clip"),
        (b"\0\0\0\x01\x67\x42", "clip"),
        (b"", None),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", None),
        (b"<html>", None),
    ],
)
def test_kind_of_a_file_is_told_by_its_content(tmp_path: Path, content: bytes, kind: str | None) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)

    assert kind_of(path) == kind


def test_a_file_is_named_in_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(encode(np.random.default_rng(1).integers(0, 255, (99, 99, 3), np.uint8))[:60])
    for name, words in (
        ("missing.jpg", "no such file"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "is no picture"),
        ("cut.png", "its end is missing"),
        ("", "is no file"),
        ("x" * 300, "name too long"),
    ):
        with pytest.raises(ImageError) as caught:
            read_picture(tmp_path / name)
        assert words in str(caught.value).lower()
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_another_name_may_be_given() -> None:
    with pytest.raises(ImageError, match=r"^https://a/b\.jpg: is empty$"):
        read_picture(b"", name="https://a/b.jpg")


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")

    with pytest.raises(ImageError, match="30000x30000 pixels; more than 64 million are refused"):
        read_picture(bomb)


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 5)

    with pytest.raises(ImageError, match="larger than 100 MB"):
        read_picture(large)


def test_a_wrong_colour_profile_is_not_complained_about(capfd: pytest.CaptureFixture[str]) -> None:
    plain = encode(colour())
    after_header = 8 + 25
    profile = png_chunk(b"iCCP", b"odd\0\0" + zlib.compress(b"no profile at all" * 20))

    picture = read_picture(plain[:after_header] + profile + plain[after_header:])

    assert picture.bgr[0, 0].tolist() == [BLUE, GREEN, RED]
    assert capfd.readouterr().err == ""


def test_pixels_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(ImageError, match="float32"):
        read_picture(encode(np.zeros((4, 6), np.float32), ".tiff"))  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_the_header_tells_the_size_that_is_decoded(suffix: str) -> None:
    header = picture_header(encode(colour(123, 45), suffix))

    assert header is not None
    assert header.size == (45, 123)


def test_a_progressive_jpeg_tells_its_size() -> None:
    done, data = cv2.imencode(".jpg", colour(123, 45), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])

    assert done
    header = picture_header(data.tobytes())
    assert header is not None
    assert header.size == (45, 123)


@pytest.mark.slow("decodes hundreds of damaged pictures")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".png", ".jpg", ".bmp", ".tiff", ".webp"]),
    at=st.floats(0, 1),
    junk=st.binary(max_size=12),
    cut=st.floats(0, 1),
)
def test_damage_anywhere_is_a_picture_or_an_image_error(suffix: str, at: float, junk: bytes, cut: float) -> None:
    data = encode(colour(20, 30), suffix)
    place = int(at * len(data))
    damaged = (data[:place] + junk + data[place + len(junk) :])[: int(cut * len(data)) + 1]

    # Any other exception fails the test.
    with suppress(ImageError):
        picture = read_picture(damaged, name="it")
        assert picture.bgr.shape == (*picture.luma.shape, 3)


def test_a_folder_gives_its_pictures_in_natural_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for gray, name in enumerate(["1.png", "2.PNG", "10.jpg", "a9.bmp", "A10.webp"]):
        (tmp_path / name).write_bytes(encode(np.full((8, 8), gray * 20, np.uint8), Path(name.lower()).suffix))
    (tmp_path / "3.jpg").write_text("no picture")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".4.png").write_text("hidden")
    (tmp_path / "5.png").mkdir()
    source = open_camera(f"photos:{tmp_path}")

    frames = [source.read(1.0) for _ in range(6)]
    source.close()

    assert not source.live
    assert frames.pop() is None
    assert [frame.index for frame in frames if frame] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames if frame] == [0, 1, 2, 3, 4]
    assert [float(frame.luma[0, 0]) for frame in frames if frame] == pytest.approx([0, 20, 40, 60, 80], abs=3)
    [record] = caplog.records
    assert str(tmp_path / "3.jpg") in record.getMessage()


def test_natural_order_is_by_the_value_of_numbers() -> None:
    names = ["b1", "a10", "a2", "A1", "a02", "10", "9", "_", "a"]

    assert [path.name for path in natural_order([Path(name) for name in names])] == [
        "9", "10", "_", "a", "A1", "a02", "a2", "a10", "b1",
    ]  # fmt: skip


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")

    with pytest.raises(CameraError, match="no pictures in this folder"):
        open_camera(f"photos:{tmp_path}")
    with pytest.raises(CameraError, match="no such folder"):
        open_camera(f"photos:{tmp_path}/none")
    with pytest.raises(CameraError, match=f"there is file:{tmp_path}/notes.txt"):
        open_camera(f"photos:{tmp_path}/notes.txt")


def test_a_folder_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_text("x")
    (tmp_path / "2.jpg").touch()
    source = open_camera(f"photos:{tmp_path}")

    with pytest.raises(CameraError, match="none of its 2 pictures"):
        source.read(1.0)


def test_a_closed_folder_has_ended(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encode(colour()))
    source = open_camera(f"photos:{tmp_path}")

    source.close()

    assert source.read(1.0) is None
