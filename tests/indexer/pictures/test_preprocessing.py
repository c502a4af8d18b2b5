"""Every kind of good picture is decoded as a person would see it; every bad one is a PictureError."""

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
from PIL import Image, ImageCms, ImageFile

from tests import pictures
from tests.paths import CLOTHING
from tests.pictures import BAD, GOOD, encoded, jpeg, png, scene
from vitrine.indexer.errors import InputError, PictureError
from vitrine.indexer.pictures import decoding
from vitrine.indexer.pictures.preprocessing import (
    MAX_BYTES,
    Preprocessing,
    make_thumbnail,
    open_picture,
)

SPEC = "decode|resize(224,224)|value_range(0,1)"

# What is grey, of one bit or of few colours cannot look like the scene in colour.
NOT_IN_COLOUR = {
    "jpeg-grey", "png-grey", "png-one-bit", "png-16-bit", "png-grey-alpha", "tiff-16-bit",
    "tiff-16-bit-big-endian", "tiff-float", "tiff-32-bit",
}  # fmt: skip
LEFT_HALF_TRANSPARENT = {
    "png-alpha", "png-grey-alpha", "webp-lossless-alpha", "png-palette-transparency",
    "png-palette-alpha-table",
}  # fmt: skip


def as_array(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image).astype(np.float64)


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_picture_becomes_rgb(kind: str) -> None:
    image = open_picture(GOOD[kind]())
    assert image.mode == "RGB"
    assert image.size == (96, 64)
    assert image.getpixel((94, 62)) == pytest.approx(
        (0, 0, 200) if "palette-" in kind else (255, 255, 255), abs=6
    )


@pytest.mark.parametrize("kind", sorted(set(GOOD) - NOT_IN_COLOUR - LEFT_HALF_TRANSPARENT))
def test_colours_and_sides_are_right(kind: str) -> None:
    difference = as_array(open_picture(GOOD[kind]())) - as_array(scene())
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize("kind", sorted(NOT_IN_COLOUR - {"png-one-bit", "png-grey-alpha"}))
def test_grey_of_any_depth_is_scaled_and_not_clipped(kind: str) -> None:
    grey = as_array(scene().convert("L").convert("RGB"))
    assert np.abs(as_array(open_picture(GOOD[kind]())) - grey).mean() < 2


@pytest.mark.parametrize("kind", sorted(LEFT_HALF_TRANSPARENT))
def test_transparency_is_laid_over_white(kind: str) -> None:
    image = as_array(open_picture(GOOD[kind]()))
    assert (image[:, :48] == 255).all()
    assert not (image[:, 48:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    assert open_picture(encoded(image, "PNG")).getpixel((4, 4)) == pytest.approx((255, 127, 127), abs=1)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_a_transparent_colour_without_alpha_channel_is_laid_over_white(mode: str) -> None:
    black = Image.new(mode, (8, 8), 0)
    data = encoded(black, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert open_picture(data).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(orientation: int) -> None:
    data = pictures.rotated_jpeg(orientation)
    upright = open_picture(data)
    assert np.abs(as_array(upright) - as_array(scene())).mean() < 8
    assert upright.getpixel((2, 2)) == pytest.approx((255, 0, 0), abs=4)
    assert upright.getpixel((93, 2)) == pytest.approx((0, 255, 0), abs=4)
    assert Preprocessing.parse(SPEC).to_pixels(data)[1:] == (96, 64)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_obeyed_in_every_format_that_has_it(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(scene().transpose(Image.Transpose.ROTATE_90), format, exif=exif)
    assert np.abs(as_array(open_picture(data)) - as_array(scene())).mean() < 8


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert open_picture(encoded(scene(), "JPEG", exif=exif)).size == (96, 64)


def test_exif_that_cannot_be_parsed_at_all_never_spoils_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert open_picture(jpeg()).size == (96, 64)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0nonsense"])
def test_broken_exif_never_spoils_a_picture(exif: bytes) -> None:
    assert open_picture(encoded(scene(), "JPEG", exif=exif)).size == (96, 64)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-3.0, 128.0, 255.0], [0, 128, 255]),
        ([0.0, 1e6, 2e6], [0, 128, 255]),
    ],
)
def test_float_pictures_are_scaled_by_the_range_they_use(values: list[float], expected: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32), "F"), "TIFF")
    assert as_array(open_picture(data))[0, :, 0].tolist() == pytest.approx(expected, abs=1)


def test_float_pictures_may_hold_nan_and_infinity() -> None:
    values = np.array([[np.nan, np.inf, 1.0, -np.inf]], dtype=np.float32)
    data = encoded(Image.fromarray(values, "F"), "TIFF")
    assert as_array(open_picture(data))[0, :, 0].tolist() == [0, 0, 255, 0]


def test_sixteen_bits_keep_the_order_of_their_values() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None]
    grey = as_array(open_picture(encoded(Image.fromarray(ramp), "PNG")))[0, :, 0]
    assert grey.tolist() == list(range(256))


@pytest.mark.parametrize("kind", BAD)
def test_every_bad_picture_says_what_is_wrong(kind: str) -> None:
    make, error_kind = BAD[kind]
    data = make()
    with pytest.raises(PictureError) as first:
        open_picture(data)
    with pytest.raises(PictureError) as second:
        Preprocessing.parse(SPEC).to_pixels(data)
    assert first.value.code == error_kind
    assert first.value.reason == second.value.reason
    assert len(first.value.reason) < 60
    assert "0x" not in first.value.reason


def test_too_many_bytes_are_refused_before_decoding() -> None:
    with pytest.raises(PictureError, match="larger than 32 MiB") as error:
        open_picture(jpeg() + bytes(MAX_BYTES))
    assert error.value.code == "too-large"


def test_sixty_four_megapixels_are_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 96 * 64)
    assert open_picture(jpeg()).size == (96, 64)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(PictureError) as error:
        open_picture(jpeg())
    assert error.value.code == "too-large"


@pytest.mark.parametrize(
    "error", [MemoryError(), struct.error("x"), OverflowError(), RecursionError(), KeyError(1)]
)
def test_whatever_a_decoder_raises_is_a_picture_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(PictureError) as caught:
        open_picture(jpeg())
    assert caught.value.code == "unreadable"
    assert caught.value.__cause__ is error


def test_no_warning_of_pillow_escapes_and_the_filters_stay_as_they_were() -> None:
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


def test_the_settings_of_a_host_program_stay_as_they_were() -> None:
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_threads_decode_at_once() -> None:
    before = list(warnings.filters)
    kinds = sorted(GOOD) * 3
    data = {kind: GOOD[kind]() for kind in GOOD}
    expected = {kind: open_picture(data[kind]).tobytes() for kind in GOOD}
    start = threading.Barrier(8)

    def decode(kind: str) -> bool:
        return open_picture(data[kind]).tobytes() == expected[kind]

    with ThreadPoolExecutor(8, initializer=start.wait) as pool:
        assert all(pool.map(decode, kinds))
    assert list(warnings.filters) == before


@settings(max_examples=300, deadline=5_000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_pictures_only_ever_raise_picture_errors(data: st.DataObject) -> None:
    whole = bytearray(_made(data.draw(st.sampled_from(sorted(GOOD)))))
    for _ in range(data.draw(st.integers(0, 6))):
        # Headers are short and at the front: half of the damage goes there.
        last = data.draw(st.sampled_from((min(64, len(whole)), len(whole)))) - 1
        place = data.draw(st.integers(0, max(last, 0)))
        new = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from((b"\xff" * 4, bytes(4), b"\x7f\xff")))
        )
        whole[place : place + data.draw(st.integers(0, 4))] = new
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole))) :]
    try:
        pixels, width_px, height_px = Preprocessing.parse(SPEC).to_pixels(bytes(whole))
    except PictureError:
        return
    assert pixels.shape == (224, 224, 3)
    assert 0 < width_px * height_px <= decoding.MAX_PIXELS


_cache: dict[str, bytes] = {}


def _made(kind: str) -> bytes:
    if kind not in _cache:
        _cache[kind] = GOOD[kind]()
    return _cache[kind]


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        (SPEC, SPEC),
        ("decode|resize(260)|value_range(0.0,1.0)", "decode|resize(260,260)|value_range(0,1)"),
        (" decode | resize( 161, 193 ) | value_range(-1, 1) ", "decode|resize(161,193)|value_range(-1,1)"),
        (
            "decode|resize(260,260)|value_range(-0.9921875,1)",
            "decode|resize(260,260)|value_range(-0.9921875,1)",
        ),
        ("decode|resize(8,8)|value_range(0.1,1e-1000)", None),
        ("decode|resize(8,8)|value_range(0,inf)", None),
        ("decode|resize(8,8)|value_range(1,0)", None),
        ("decode|resize(0,8)|value_range(0,1)", None),
        ("decode|resize(8.5,8)|value_range(0,1)", None),
        ("decode|resize(1,2,3)|value_range(0,1)", None),
        ("decode|resize|value_range(0,1)", None),
        ("decode|resize(8,nan)|value_range(0,1)", None),
        ("decode|resize(8,x)|value_range(0,1)", None),
        ("decode(1)|resize(8,8)|value_range(0,1)", None),
        ("decode|letterbox(8)|value_range(0,1)", "decode|letterbox(8,8)|value_range(0,1)"),
        (
            "decode|trim(16)|letterbox(8,8)|value_range(0,1)",
            "decode|trim(16)|letterbox(8,8)|value_range(0,1)",
        ),
        ("decode|trim(16)|trim(16)|resize(8,8)|value_range(0,1)", None),
        ("decode|resize(8,8)|trim(16)|value_range(0,1)", None),
        ("decode|trim(16)|value_range(0,1)", None),
        ("decode|trim(300)|resize(8,8)|value_range(0,1)", None),
        ("decode|trim|resize(8,8)|value_range(0,1)", None),
        ("decode|value_range(0,1)", None),
        ("resize(8,8)|decode|value_range(0,1)", None),
        ("decode|resize(8,8)|resize(8,8)|value_range(0,1)", None),
        ("decode|resize(8,8)", None),
        ("decode|blur(3)|value_range(0,1)", None),
        ("decode|resize((8,8))|value_range(0,1)", None),
        ("", None),
    ],
)
def test_a_spec_reads_back_in_one_canonical_form_or_is_refused(spec: str, canonical: str | None) -> None:
    if canonical is None:
        with pytest.raises(InputError, match="preprocessing"):
            Preprocessing.parse(spec)
        return
    assert str(Preprocessing.parse(spec)) == canonical
    assert Preprocessing.parse(canonical) == Preprocessing.parse(spec)


def test_value_range_is_exact() -> None:
    assert Preprocessing.parse("decode|resize(8)|value_range(-0.9921875,1)").value_range == (-127 / 128, 1.0)


def test_pixels_are_squashed_as_the_notebook_does() -> None:
    preprocessing = Preprocessing.parse("decode|resize(20,30)|value_range(0,1)")
    pixels, width_px, height_px = preprocessing.to_pixels(png())
    assert (preprocessing.height, preprocessing.width) == (20, 30)
    assert (width_px, height_px) == (96, 64)
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(scene().resize((30, 20), Image.Resampling.BICUBIC))).all()


def page_with(box: tuple[int, int, int, int], size: tuple[int, int] = (100, 60)) -> bytes:
    page = Image.new("RGB", size, (250, 250, 250))
    page.paste((200, 30, 30), box)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def test_a_letterboxed_picture_keeps_its_shape_on_a_white_page() -> None:
    spec = Preprocessing.parse("decode|letterbox(50,50)|value_range(0,1)")
    pixels = spec.to_pixels(page_with((0, 0, 100, 60)))[0]
    red = (pixels == (200, 30, 30)).all(axis=2)
    assert np.flatnonzero(red.any(axis=1)).tolist() == list(range(10, 40))
    assert red.any(axis=0).all()
    assert (pixels[:10] == 255).all()


def test_a_near_white_border_is_cut_off_and_sizes_stay_those_of_the_file() -> None:
    spec = Preprocessing.parse("decode|trim(16)|resize(20,20)|value_range(0,1)")
    pixels, width_px, height_px = spec.to_pixels(page_with((30, 20, 70, 50)))
    assert (pixels == (200, 30, 30)).all()
    assert (width_px, height_px) == (100, 60)


def test_a_speck_or_nothing_on_white_leaves_the_picture_whole() -> None:
    plain, trimmed = (
        Preprocessing.parse(f"decode|{trim}resize(20,20)|value_range(0,1)") for trim in ("", "trim(16)|")
    )
    for box in ((50, 30, 52, 32), (0, 0, 0, 0)):
        assert (plain.to_pixels(page_with(box))[0] == trimmed.to_pixels(page_with(box))[0]).all()


def test_a_spec_may_be_fitted_in_another_way() -> None:
    spec = Preprocessing.parse("decode|resize(8,8)|value_range(0,1)")
    assert str(spec.with_fit("letterbox", trim=True)) == "decode|trim(16)|letterbox(8,8)|value_range(0,1)"
    assert spec.with_fit("squash") == spec


def test_a_large_jpeg_is_decoded_scaled_down_and_hardly_differs() -> None:
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


def test_the_size_of_a_turned_and_scaled_down_jpeg_is_that_of_the_whole() -> None:
    data = pictures.rotated_jpeg(6, 1600, 1200)
    assert Preprocessing.parse("decode|resize(64)|value_range(0,1)").to_pixels(data)[1:] == (1600, 1200)
    assert open_picture(data, target_px=(64, 64)).size == (400, 300)


@pytest.mark.parametrize("size", [(700, 500), (96, 64)])
def test_a_jpeg_near_the_size_wanted_is_decoded_whole(size: tuple[int, int]) -> None:
    assert open_picture(jpeg(*size), target_px=(224, 224)).size == size


def test_real_photos_are_the_same_with_and_without_scaling_down() -> None:
    folder = CLOTHING
    files = sorted(folder.glob("*/*.jpg"))[::100]
    if not files:
        pytest.skip("the photos of shared/photos/clothing are not here")
    preprocessing = Preprocessing.parse("decode|resize(40,40)|value_range(0,1)")
    for file in files:
        pixels, *_ = preprocessing.to_pixels(file.read_bytes())
        whole = as_array(open_picture(file.read_bytes()).resize((40, 40), Image.Resampling.BICUBIC))
        assert np.abs(pixels - whole).mean() < 1.5


@pytest.mark.parametrize("kind", GOOD)
def test_thumbnails_fit_and_keep_the_ratio(kind: str) -> None:
    with Image.open(io.BytesIO(make_thumbnail(GOOD[kind](), 48))) as small:
        assert small.format == "WEBP"
        assert small.size == (48, 32)


def test_thumbnails_are_never_enlarged_and_may_be_jpeg() -> None:
    with Image.open(io.BytesIO(make_thumbnail(png(), 500, "JPEG"))) as small:
        assert small.format == "JPEG"
        assert small.size == (96, 64)


def test_thumbnails_of_extreme_shapes_have_at_least_one_pixel() -> None:
    with Image.open(io.BytesIO(make_thumbnail(encoded(Image.new("RGB", (3000, 2)), "PNG"), 64))) as small:
        assert small.size == (64, 1)


@pytest.mark.parametrize("has_profile", [True, False])
@pytest.mark.parametrize("format", ["WEBP", "JPEG"])
def test_thumbnails_carry_no_metadata(format: str, has_profile: bool) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(
        scene(), "JPEG", exif=exif, comment=b"secret", icc_profile=profile if has_profile else None
    )
    small = make_thumbnail(data, 48, "WEBP" if format == "WEBP" else "JPEG")
    assert b"where I live" not in small
    assert b"secret" not in small
    with Image.open(io.BytesIO(small)) as image:
        assert "icc_profile" not in image.info
        assert not image.getexif()


def test_thumbnails_are_converted_to_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same profile with red and green exchanged: what such a picture stores as red is meant as green.
    exchanged = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    with Image.open(io.BytesIO(make_thumbnail(encoded(red, "PNG", icc_profile=exchanged), 48))) as small:
        assert small.getpixel((20, 20)) == pytest.approx((0, 255, 0), abs=6)


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 128])
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L", "RGBA"])
def test_a_profile_of_no_use_is_left_alone(profile: bytes, mode: str) -> None:
    data = encoded(scene().convert(mode), "TIFF", icc_profile=profile)
    assert make_thumbnail(data, 48) == make_thumbnail(encoded(scene().convert(mode), "TIFF"), 48)


def test_a_bad_picture_has_no_thumbnail() -> None:
    with pytest.raises(PictureError):
        make_thumbnail(b"nothing", 48)
