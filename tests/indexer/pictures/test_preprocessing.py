"""Preprocessing specs, resizing, trimming and thumbnails."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from tests.pictures import VALID_PICTURES, encoded, png, scene
from vitrine.indexer.errors import InputError, PictureError
from vitrine.indexer.pictures.preprocessing import (
    Preprocessing,
    make_thumbnail,
)

SPEC = "decode|resize(224,224)|value_range(0,1)"


def as_array(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image).astype(np.float64)


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
def test_a_spec_has_one_canonical_form_or_is_refused(spec: str, canonical: str | None) -> None:
    if canonical is None:
        with pytest.raises(InputError, match="preprocessing"):
            Preprocessing.parse(spec)
        return
    assert str(Preprocessing.parse(spec)) == canonical
    assert Preprocessing.parse(canonical) == Preprocessing.parse(spec)


def test_value_range_is_exact() -> None:
    assert Preprocessing.parse("decode|resize(8)|value_range(-0.9921875,1)").value_range == (-127 / 128, 1.0)


def test_resize_ignores_the_aspect_ratio_as_in_the_notebook() -> None:
    preprocessing = Preprocessing.parse("decode|resize(20,30)|value_range(0,1)")
    pixels, width_px, height_px = preprocessing.to_pixels(png())
    assert (preprocessing.height, preprocessing.width) == (20, 30)
    assert (width_px, height_px) == (96, 64)
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(scene().resize((30, 20), Image.Resampling.BICUBIC))).all()


def white_page(box: tuple[int, int, int, int], size: tuple[int, int] = (100, 60)) -> bytes:
    page = Image.new("RGB", size, (250, 250, 250))
    page.paste((200, 30, 30), box)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def test_letterbox_keeps_the_aspect_ratio_on_a_white_page() -> None:
    spec = Preprocessing.parse("decode|letterbox(50,50)|value_range(0,1)")
    pixels = spec.to_pixels(white_page((0, 0, 100, 60)))[0]
    red = (pixels == (200, 30, 30)).all(axis=2)
    assert np.flatnonzero(red.any(axis=1)).tolist() == list(range(10, 40))
    assert red.any(axis=0).all()
    assert (pixels[:10] == 255).all()


def test_trim_crops_a_near_white_border_and_keeps_the_reported_size() -> None:
    spec = Preprocessing.parse("decode|trim(16)|resize(20,20)|value_range(0,1)")
    pixels, width_px, height_px = spec.to_pixels(white_page((30, 20, 70, 50)))
    assert (pixels == (200, 30, 30)).all()
    assert (width_px, height_px) == (100, 60)


def test_a_white_picture_with_a_speck_is_not_trimmed() -> None:
    plain, trimmed = (
        Preprocessing.parse(f"decode|{trim}resize(20,20)|value_range(0,1)") for trim in ("", "trim(16)|")
    )
    for box in ((50, 30, 52, 32), (0, 0, 0, 0)):
        assert (plain.to_pixels(white_page(box))[0] == trimmed.to_pixels(white_page(box))[0]).all()


def test_with_fit_replaces_the_resizing_step() -> None:
    spec = Preprocessing.parse("decode|resize(8,8)|value_range(0,1)")
    assert str(spec.with_fit("letterbox", trim=True)) == "decode|trim(16)|letterbox(8,8)|value_range(0,1)"
    assert spec.with_fit("squash") == spec


@pytest.mark.parametrize("name", VALID_PICTURES)
def test_thumbnails_fit_the_size_and_keep_the_aspect_ratio(name: str) -> None:
    with Image.open(io.BytesIO(make_thumbnail(VALID_PICTURES[name](), 48))) as small:
        assert small.format == "WEBP"
        assert small.size == (48, 32)


def test_thumbnails_are_never_enlarged_and_may_be_jpeg() -> None:
    with Image.open(io.BytesIO(make_thumbnail(png(), 500, "JPEG"))) as small:
        assert small.format == "JPEG"
        assert small.size == (96, 64)


def test_thumbnails_have_at_least_one_pixel_per_side() -> None:
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
def test_an_unusable_profile_is_ignored(profile: bytes, mode: str) -> None:
    data = encoded(scene().convert(mode), "TIFF", icc_profile=profile)
    assert make_thumbnail(data, 48) == make_thumbnail(encoded(scene().convert(mode), "TIFF"), 48)


def test_the_thumbnail_of_a_bad_picture_is_a_picture_error() -> None:
    with pytest.raises(PictureError):
        make_thumbnail(b"nothing", 48)
