"""Tests of vitrine.indexer.quality.picture_faults."""

from pathlib import Path

from PIL import Image, ImageFilter

from tests.indexer.quality.catalogues import (
    Pictures,
    analyse_folder,
    encode_jpeg,
    findings_of_type,
    publish_catalogue,
    random_image,
)


def test_blank_blurred_and_tiny_pictures_are_found(tmp_path: Path, pictures: Pictures) -> None:
    pictures["q-blank"] = ("c0", encode_jpeg(Image.new("RGB", (200, 200), "#f0f0ee")))
    pictures["q-blurred"] = ("c0", encode_jpeg(random_image(50).filter(ImageFilter.GaussianBlur(9))))
    pictures["q-tiny"] = ("c0", encode_jpeg(random_image(51, (60, 50))))
    analysis = analyse_folder(publish_catalogue(tmp_path, pictures))
    for fault in ("blank", "blurred", "tiny"):
        (finding,) = findings_of_type(analysis, fault)
        assert finding.ids == (f"q-{fault}",)
        assert 0.5 <= finding.strength <= 1
