"""Tests of vitrine.indexer.quality.duplicates with copies added to a faultless catalogue."""

from pathlib import Path

from PIL import Image, ImageDraw

from tests.indexer.quality.catalogues import (
    Pictures,
    analyse_folder,
    encode_jpeg,
    findings_of_type,
    publish_catalogue,
    random_image,
)


def test_exact_and_near_duplicates_name_the_original(tmp_path: Path, pictures: Pictures) -> None:
    pictures["q-same"] = ("c0", pictures["p03"][1])
    pictures["q-small"] = ("c1", encode_jpeg(random_image(4).resize((120, 100)), 60))
    pictures["q-cut"] = ("c1", encode_jpeg(random_image(5).crop((8, 5, 230, 192)), 70))
    pictures["q-red"] = ("c1", encode_jpeg(Image.merge("RGB", random_image(3).split()[::-1])))
    analysis = analyse_folder(publish_catalogue(tmp_path, pictures, {"p04": "g", "q-small": "g"}))
    (exact,) = findings_of_type(analysis, "exact-duplicate")
    assert (exact.ids, exact.evidence, exact.strength) == (("q-same",), ("p03",), 1.0)
    assert exact.reason["same_category"] is False
    near = {finding.ids[0]: finding for finding in findings_of_type(analysis, "near-duplicate")}
    assert {id_: finding.evidence for id_, finding in near.items()} == {
        "q-small": ("p04",),
        "q-cut": ("p05",),
    }
    assert near["q-small"].reason["same_group"] is True
    assert near["q-small"].strength < near["q-cut"].strength


def test_one_picture_of_many_items_is_a_placeholder(tmp_path: Path, pictures: Pictures) -> None:
    pictures |= {f"q{number}": ("c1", encode_jpeg(random_image(60))) for number in range(5)}
    pictures |= {f"r{number}": ("c1", encode_jpeg(random_image(61))) for number in range(5)}
    groups = {f"r{number}": "one item" for number in range(5)}
    analysis = analyse_folder(publish_catalogue(tmp_path, pictures, groups))
    (placeholder,) = findings_of_type(analysis, "placeholder")
    assert placeholder.ids == ("q0", "q1", "q2", "q3", "q4")
    copies = {finding.ids[0] for finding in findings_of_type(analysis, "exact-duplicate")}
    assert copies == {"r1", "r2", "r3", "r4"}


def test_equal_outlines_in_other_colours_are_no_duplicates(tmp_path: Path, pictures: Pictures) -> None:
    def mug(colour: str, handle: str) -> bytes:
        image = Image.new("RGB", (300, 300), "white")
        draw = ImageDraw.Draw(image)
        draw.rectangle((70, 60, 200, 250), fill=colour)
        draw.ellipse((190, 100, 260, 200), outline=handle, width=18)
        return encode_jpeg(image)

    pictures |= {"q1": ("c0", mug("#a03020", "#a03020")), "q2": ("c0", mug("#a04a20", "#a03020"))}
    pictures |= {"q3": ("c1", mug("#205080", "#205080")), "q4": ("c1", mug("#205080", "#c0a020"))}
    analysis = analyse_folder(publish_catalogue(tmp_path, pictures))
    assert not findings_of_type(analysis, "near-duplicate")
