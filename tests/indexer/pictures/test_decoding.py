"""Decoding of picture files: every supported format becomes upright RGB, every bad file a PictureError."""

import io
import struct
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from tests import pictures
from tests.paths import CLOTHING
from tests.pictures import INVALID_PICTURES, VALID_PICTURES, encoded, jpeg, scene
from vitrine.indexer.errors import PictureError
from vitrine.indexer.pictures import decoding
from vitrine.indexer.pictures.preprocessing import MAX_BYTES, Preprocessing, open_picture

SPEC = "decode|resize(224,224)|value_range(0,1)"


def as_array(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image).astype(np.float64)


# Grey and one-bit formats cannot be compared with the colours of the scene.
GREY_FORMATS = {
    "jpeg-grey", "png-grey", "png-one-bit", "png-16-bit", "png-grey-alpha", "tiff-16-bit",
    "tiff-16-bit-big-endian", "tiff-float", "tiff-32-bit",
}  # fmt: skip


LEFT_HALF_TRANSPARENT = {
    "png-alpha", "png-grey-alpha", "webp-lossless-alpha", "png-palette-transparency",
    "png-palette-alpha-table",
}  # fmt: skip


@pytest.mark.parametrize("name", VALID_PICTURES)
def test_every_format_becomes_rgb(name: str) -> None:
    image = open_picture(VALID_PICTURES[name]())
    assert image.mode == "RGB"
    assert image.size == (96, 64)
    assert image.getpixel((94, 62)) == pytest.approx(
        (0, 0, 200) if "palette-" in name else (255, 255, 255), abs=6
    )


@pytest.mark.parametrize("name", sorted(set(VALID_PICTURES) - GREY_FORMATS - LEFT_HALF_TRANSPARENT))
def test_colours_and_orientation_are_kept(name: str) -> None:
    difference = as_array(open_picture(VALID_PICTURES[name]())) - as_array(scene())
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize("name", sorted(GREY_FORMATS - {"png-one-bit", "png-grey-alpha"}))
def test_grey_values_of_any_depth_are_scaled_without_clipping(name: str) -> None:
    grey = as_array(scene().convert("L").convert("RGB"))
    assert np.abs(as_array(open_picture(VALID_PICTURES[name]())) - grey).mean() < 2


@pytest.mark.parametrize("name", sorted(LEFT_HALF_TRANSPARENT))
def test_transparent_pixels_become_white(name: str) -> None:
    image = as_array(open_picture(VALID_PICTURES[name]()))
    assert (image[:, :48] == 255).all()
    assert not (image[:, 48:] == 255).all()


def test_half_transparent_pixels_are_blended_with_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    assert open_picture(encoded(image, "PNG")).getpixel((4, 4)) == pytest.approx((255, 127, 127), abs=1)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_a_transparent_colour_without_alpha_channel_becomes_white(mode: str) -> None:
    black = Image.new(mode, (8, 8), 0)
    data = encoded(black, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert open_picture(data).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    data = pictures.rotated_jpeg(orientation)
    upright = open_picture(data)
    assert np.abs(as_array(upright) - as_array(scene())).mean() < 8
    assert upright.getpixel((2, 2)) == pytest.approx((255, 0, 0), abs=4)
    assert upright.getpixel((93, 2)) == pytest.approx((0, 255, 0), abs=4)
    assert Preprocessing.parse(SPEC).to_pixels(data)[1:] == (96, 64)


def exif(number_type: int = 3, count: int = 1, value: int = 6, order: str = "<") -> bytes:
    """Return EXIF data with an orientation, by default one SHORT as the standard says."""
    values = struct.pack(f"{order}{'H' if number_type == 3 else 'I'}", value).ljust(4, b"\0")
    if count == 2:
        values = struct.pack(f"{order}HH", value, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    entry = struct.pack(f"{order}HHHI", 1, 0x0112, number_type, count) + values
    return b"Exif\0\0" + head + entry + struct.pack(f"{order}I", 0)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize(
    ("format", "options", "is_turned"),
    [
        ("JPEG", {"exif": exif()}, True),
        ("JPEG", {"exif": exif(order=">")}, True),
        ("PNG", {"exif": exif()}, True),
        ("JPEG", {"exif": exif(number_type=4)}, False),
        ("JPEG", {"exif": exif(number_type=4, order=">")}, False),
        ("JPEG", {"exif": exif(count=2)}, False),
        ("JPEG", {"exif": exif(value=9)}, False),
        ("JPEG", {"exif": exif()[:20]}, False),
        ("JPEG", {"xmp": XMP}, False),
        ("PNG", {"exif": exif(number_type=4)}, False),
        ("WEBP", {"exif": exif()}, False),
        ("WEBP", {"xmp": XMP}, False),
        ("AVIF", {"xmp": XMP}, False),
    ],
)
def test_pictures_are_turned_as_chromium_turns_them(
    format: str, options: dict[str, bytes], is_turned: bool
) -> None:
    """The expected values are what Chromium 156 shows for these files."""
    data = encoded(scene(), format, **options)
    assert open_picture(data).size == ((64, 96) if is_turned else (96, 64))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "AVIF"])
def test_exif_orientation_is_applied_where_browsers_apply_it(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(scene().transpose(Image.Transpose.ROTATE_90), format, exif=exif)
    assert np.abs(as_array(open_picture(data)) - as_array(scene())).mean() < 8


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_invalid_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert open_picture(encoded(scene(), "JPEG", exif=exif)).size == (96, 64)


def test_an_error_while_parsing_exif_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert open_picture(jpeg()).size == (96, 64)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0nonsense"])
def test_broken_exif_is_ignored(exif: bytes) -> None:
    assert open_picture(encoded(scene(), "JPEG", exif=exif)).size == (96, 64)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-3.0, 128.0, 255.0], [0, 128, 255]),
        ([0.0, 1e6, 2e6], [0, 128, 255]),
    ],
)
def test_float_values_are_scaled_by_their_range(values: list[float], expected: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32), "F"), "TIFF")
    assert as_array(open_picture(data))[0, :, 0].tolist() == pytest.approx(expected, abs=1)


def test_nan_and_infinity_become_black() -> None:
    values = np.array([[np.nan, np.inf, 1.0, -np.inf]], dtype=np.float32)
    data = encoded(Image.fromarray(values, "F"), "TIFF")
    assert as_array(open_picture(data))[0, :, 0].tolist() == [0, 0, 255, 0]


def test_16_bit_values_keep_their_order() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None]
    grey = as_array(open_picture(encoded(Image.fromarray(ramp), "PNG")))[0, :, 0]
    assert grey.tolist() == list(range(256))


@pytest.mark.parametrize("name", INVALID_PICTURES)
def test_every_bad_picture_has_a_stable_reason(name: str) -> None:
    make, code = INVALID_PICTURES[name]
    data = make()
    with pytest.raises(PictureError) as first:
        open_picture(data)
    with pytest.raises(PictureError) as second:
        Preprocessing.parse(SPEC).to_pixels(data)
    assert first.value.code == code
    assert first.value.reason == second.value.reason
    assert len(first.value.reason) < 60
    assert "0x" not in first.value.reason


def test_too_many_bytes_are_refused_before_decoding() -> None:
    with pytest.raises(PictureError, match="larger than 32 MiB") as error:
        open_picture(jpeg() + bytes(MAX_BYTES))
    assert error.value.code == "too-large"


def test_the_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 96 * 64)
    assert open_picture(jpeg()).size == (96, 64)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(PictureError) as error:
        open_picture(jpeg())
    assert error.value.code == "too-large"


@pytest.mark.parametrize(
    "error", [MemoryError(), struct.error("x"), OverflowError(), RecursionError(), KeyError(1)]
)
def test_every_exception_of_a_decoder_is_a_picture_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(PictureError) as caught:
        open_picture(jpeg())
    assert caught.value.code == "unreadable"
    assert caught.value.__cause__ is error


def test_pillow_warnings_are_ignored_and_warning_filters_restored() -> None:
    before = list(warnings.filters)
    assert before[0][0] == "error"
    broken = encoded(
        scene(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\xff\xff\0\0\xff\xff\0\0"
    )
    with pytest.raises(UserWarning):
        Image.open(io.BytesIO(broken)).getexif()
    assert open_picture(broken).size == (96, 64)
    with pytest.raises(PictureError):
        open_picture(broken[:-900])
    assert list(warnings.filters) == before


def test_global_settings_of_pillow_are_unchanged() -> None:
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_several_threads_may_decode_at_once() -> None:
    before = list(warnings.filters)
    names = sorted(VALID_PICTURES) * 3
    data = {name: VALID_PICTURES[name]() for name in VALID_PICTURES}
    expected = {name: open_picture(data[name]).tobytes() for name in VALID_PICTURES}
    start = threading.Barrier(8)

    def decode(name: str) -> bool:
        return open_picture(data[name]).tobytes() == expected[name]

    with ThreadPoolExecutor(8, initializer=start.wait) as pool:
        assert all(pool.map(decode, names))
    assert list(warnings.filters) == before


@settings(max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_pictures_raise_only_picture_errors(data: st.DataObject) -> None:
    whole = bytearray(encoded_once(data.draw(st.sampled_from(sorted(VALID_PICTURES)))))
    for _ in range(data.draw(st.integers(0, 6))):
        # Headers are short and at the front: half of the damage goes there.
        last = data.draw(st.sampled_from((min(64, len(whole)), len(whole)))) - 1
        position = data.draw(st.integers(0, max(last, 0)))
        new = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from((b"\xff" * 4, bytes(4), b"\x7f\xff")))
        )
        whole[position : position + data.draw(st.integers(0, 4))] = new
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole))) :]
    try:
        pixels, width_px, height_px = Preprocessing.parse(SPEC).to_pixels(bytes(whole))
    except PictureError:
        return
    assert pixels.shape == (224, 224, 3)
    assert 0 < width_px * height_px <= decoding.MAX_PIXELS


_encoded_files: dict[str, bytes] = {}


def encoded_once(name: str) -> bytes:
    if name not in _encoded_files:
        _encoded_files[name] = VALID_PICTURES[name]()
    return _encoded_files[name]


def test_a_large_jpeg_is_decoded_at_reduced_scale_with_little_difference() -> None:
    data = jpeg(1600, 1200)
    small = open_picture(data, target_px=(96, 80))
    assert small.size == (400, 300)
    pixels, width_px, height_px = Preprocessing.parse("decode|resize(80,96)|value_range(0,1)").to_pixels(data)
    whole = as_array(open_picture(data).resize((96, 80), Image.Resampling.BICUBIC))
    difference = np.abs(pixels - whole)
    assert (width_px, height_px) == (1600, 1200)
    assert difference.mean() < 0.5
    assert difference.max() <= 12
    cosine = (pixels * whole).sum() / np.sqrt((pixels.astype(float) ** 2).sum() * (whole**2).sum())
    assert cosine > 0.9999


def test_the_size_of_a_rotated_jpeg_at_reduced_scale_is_that_of_the_original() -> None:
    data = pictures.rotated_jpeg(6, 1600, 1200)
    assert Preprocessing.parse("decode|resize(64)|value_range(0,1)").to_pixels(data)[1:] == (1600, 1200)
    assert open_picture(data, target_px=(64, 64)).size == (400, 300)


@pytest.mark.parametrize("size", [(700, 500), (96, 64)])
def test_a_jpeg_near_the_target_size_is_decoded_at_full_scale(size: tuple[int, int]) -> None:
    assert open_picture(jpeg(*size), target_px=(224, 224)).size == size


def test_real_photos_are_nearly_equal_at_reduced_and_full_scale() -> None:
    folder = CLOTHING
    files = sorted(folder.glob("*/*.jpg"))[::100]
    if not files:
        pytest.skip("the photos of shared/photos/clothing are not here")
    preprocessing = Preprocessing.parse("decode|resize(40,40)|value_range(0,1)")
    for file in files:
        pixels, *_ = preprocessing.to_pixels(file.read_bytes())
        whole = as_array(open_picture(file.read_bytes()).resize((40, 40), Image.Resampling.BICUBIC))
        assert np.abs(pixels - whole).mean() < 1.5
