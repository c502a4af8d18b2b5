"""Mistakes planted into a small catalogue are found, and nothing is found in one that is sound."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw, ImageFilter

from tests.indexes import grid_vector, publish
from vitrine.indexer.arrays import unit
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import PictureError
from vitrine.indexer.operations.purge import purge
from vitrine.indexer.products.table import Product
from vitrine.indexer.progress import Silent
from vitrine.indexer.quality.alignment import compare_aligned
from vitrine.indexer.quality.analysis import analyse
from vitrine.indexer.quality.findings import KINDS, Finding
from vitrine.indexer.quality.labels import estimate_label_errors
from vitrine.indexer.quality.pictures import SIDE, MeasureCache, measure
from vitrine.indexer.quality.store import Analysis, keep_analysis, read_analysis
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.state.catalogue_state import read_state
from vitrine.service import Catalogue


def scene(seed: int, size: tuple[int, int] = (240, 200)) -> Image.Image:
    """Return a picture of soft shapes, another for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (7, 8, 3)).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    fine = random.normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(smooth, float) + fine, 0, 255).astype(np.uint8))


def saved(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def catalogue_of(folder: Path, pictures: dict[str, tuple[str, bytes]], groups: Any = None) -> IndexFolder:
    """Publish products by id: (category, picture)."""
    photos = folder / "photos"
    photos.mkdir()
    products, vectors = [], []
    for name, (category, data) in sorted(pictures.items()):
        (photos / f"{name}.jpg").write_bytes(data)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        group = (groups or {}).get(name)
        digest = hashlib.sha256(data).hexdigest()
        products.append(
            Product(name, name.title(), category, group, str(photos / f"{name}.jpg"), digest, *image.size)
        )
        vectors.append(grid_vector(image))
    publish(folder / "index", products, np.stack(vectors), photos)
    return IndexFolder(folder / "index")


def found(folder: IndexFolder) -> Analysis:
    return analyse(folder, read_state(folder), Silent())


def of_kind(analysis: Analysis, kind: str) -> list[Finding]:
    return [each for each in analysis.findings if each.kind == kind]


@pytest.fixture
def sound() -> dict[str, tuple[str, bytes]]:
    return {f"p{seed:02}": (f"c{seed % 2}", saved(scene(seed))) for seed in range(12)}


def test_nothing_is_wrong_with_a_sound_catalogue(tmp_path: Path, sound: dict[str, Any]) -> None:
    analysis = found(catalogue_of(tmp_path, sound))
    assert {each.kind for each in analysis.findings} <= {"orphan"}
    assert analysis.missing == ("too-few-of-a-category",)
    assert list(analysis.counts) == list(KINDS)


def test_copies_are_found_and_say_which_to_keep(tmp_path: Path, sound: dict[str, Any]) -> None:
    original = scene(3)
    sound["q-same"] = ("c0", sound["p03"][1])
    sound["q-small"] = ("c1", saved(scene(4).resize((120, 100)), 60))
    sound["q-cut"] = ("c1", saved(scene(5).crop((8, 5, 230, 192)), 70))
    sound["q-red"] = ("c1", saved(Image.merge("RGB", original.split()[::-1])))
    analysis = found(catalogue_of(tmp_path, sound, {"p04": "g", "q-small": "g"}))
    (exact,) = of_kind(analysis, "exact-duplicate")
    assert (exact.ids, exact.evidence, exact.strength) == (("q-same",), ("p03",), 1.0)
    assert exact.reason["same_category"] is False
    near = {each.ids[0]: each for each in of_kind(analysis, "near-duplicate")}
    assert {name: each.evidence for name, each in near.items()} == {"q-small": ("p04",), "q-cut": ("p05",)}
    assert near["q-small"].reason["same_group"] is True
    assert near["q-small"].strength < near["q-cut"].strength


def test_pictures_that_show_too_little_are_found(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["q-blank"] = ("c0", saved(Image.new("RGB", (200, 200), "#f0f0ee")))
    sound["q-blurred"] = ("c0", saved(scene(50).filter(ImageFilter.GaussianBlur(9))))
    sound["q-tiny"] = ("c0", saved(scene(51, (60, 50))))
    analysis = found(catalogue_of(tmp_path, sound))
    for kind in ("blank", "blurred", "tiny"):
        assert [each.ids for each in of_kind(analysis, kind)] == [(f"q-{kind}",)], kind
        assert 0.5 <= of_kind(analysis, kind)[0].strength <= 1


def test_one_picture_for_many_products_is_a_placeholder(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound |= {f"q{number}": ("c1", saved(scene(60))) for number in range(5)}
    sound |= {f"r{number}": ("c1", saved(scene(61))) for number in range(5)}
    groups = {f"r{number}": "one item" for number in range(5)}
    analysis = found(catalogue_of(tmp_path, sound, groups))
    (placeholder,) = of_kind(analysis, "placeholder")
    assert placeholder.ids == ("q0", "q1", "q2", "q3", "q4")
    assert {each.ids[0] for each in of_kind(analysis, "exact-duplicate")} == {"r1", "r2", "r3", "r4"}


def test_a_catalogue_without_categories_says_what_is_missing(tmp_path: Path, sound: dict[str, Any]) -> None:
    bare = {name: ("", data) for name, (_, data) in sound.items()}
    bare["q-same"] = bare["p03"]
    analysis = found(catalogue_of(tmp_path, bare))
    assert analysis.missing == ("no-categories",)
    assert [each.ids for each in of_kind(analysis, "exact-duplicate")] == [("q-same",)]


def test_small_categories_and_deleted_products(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound |= {f"q{number}": ("few", saved(scene(70 + number))) for number in range(6)}
    folder = catalogue_of(tmp_path, sound)
    assert not of_kind(found(folder), "small-category")
    with Catalogue.open(folder.root) as catalogue:
        catalogue.delete(["q0", "q1"])
    (few,) = of_kind(found(folder), "small-category")
    assert (few.ids, few.reason) == (("q2", "q3", "q4", "q5"), {"category": "few", "products": 4})


def test_pictures_that_are_gone_are_no_reason_to_fail(tmp_path: Path, sound: dict[str, Any]) -> None:
    folder = catalogue_of(tmp_path, sound)
    (tmp_path / "photos" / "p05.jpg").unlink()
    assert "pictures-gone" in found(folder).missing


def test_labels_that_were_swapped_are_told_from_those_that_were_not() -> None:
    random = np.random.default_rng(0)
    true = np.repeat(np.arange(4), 40)
    centres = random.normal(size=(4, 24))
    vectors = unit((centres[true] + 0.6 * random.normal(size=(160, 24))).astype(np.float32))
    given = true.copy()
    swapped = random.choice(160, 8, replace=False)
    given[swapped] = (given[swapped] + 1) % 4
    verdicts = estimate_label_errors(vectors, given, np.ones(160, bool), 4)
    assert verdicts is not None
    suspects = np.flatnonzero(verdicts.doubts >= 0.5)
    assert set(suspects.tolist()) == set(swapped.tolist())
    assert verdicts.wrong_share == pytest.approx(0.05, abs=0.03)
    assert verdicts.votes[swapped].tolist() == true[swapped].tolist()
    assert estimate_label_errors(vectors, np.zeros(160, int), np.ones(160, bool), 4) is None


def test_alignment_finds_the_cut_copy_and_no_other() -> None:
    pictures = [scene(seed) for seed in range(6)]
    cut = [image.crop((10, 6, 236, 190)) for image in pictures]
    first, second = (np.stack([measure(saved(image))[0] for image in each]) for each in (pictures, cut))
    assert first.shape == (6, SIDE, SIDE, 3)
    same, apart = compare_aligned(first, second)
    assert same.min() > 0.995
    assert apart.max() < 0.75
    other, _ = compare_aligned(first, np.roll(second, 1, axis=0))
    assert other.max() < 0.9


def test_pictures_are_measured_once(tmp_path: Path) -> None:
    class Files:
        asked = 0

        def read(self, row: int) -> bytes:
            self.asked += 1
            if row == 2:
                raise PictureError("gone")
            return saved(scene(row))

    files, rows = Files(), np.arange(3)
    first = MeasureCache(tmp_path).measures(files, rows, ["a", "b", "c"], Silent())
    again = MeasureCache(tmp_path).measures(files, rows[:2], ["a", "b"], Silent())
    assert (files.asked, first.known.tolist()) == (3, [True, True, False])
    assert (again.small == first.small[:2]).all()
    MeasureCache(tmp_path).forget(["a"])
    left = MeasureCache(tmp_path).measures(files, rows[1:2], ["b"], Silent())
    assert (files.asked, left.sharpness[0]) == (3, first.sharpness[1])
    (tmp_path / "pictures.npz").write_bytes(b"no")
    assert MeasureCache(tmp_path).measures(files, rows[:1], ["a"], Silent()).known.all()


def test_findings_are_kept_for_their_snapshot_and_purged(tmp_path: Path, sound: dict[str, Any]) -> None:
    sound["q-same"] = ("c0", sound["p03"][1])
    folder = catalogue_of(tmp_path, sound)
    analysis = found(folder)
    keep_analysis(folder, analysis)
    kept = read_analysis(folder, folder.current())
    assert kept is not None
    assert [each.key for each in kept.findings] == [each.key for each in analysis.findings]
    assert read_analysis(folder, "another") is None
    purge(folder, ["q-same"])
    assert not list((folder.layout.cache / "quality").glob("*"))


def test_the_report_is_one_page_with_its_pictures_and_both_languages(
    tmp_path: Path, sound: dict[str, Any]
) -> None:
    sound["q</script>-same"] = ("c0", sound["p03"][1])
    folder = catalogue_of(tmp_path, {name.replace("/", ":"): each for name, each in sound.items()})
    output = tmp_path / "report.html"
    arguments = ["report", "--index", str(folder.root), "--output", str(output)]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["findings"]["exact-duplicate"] == 1
    page = output.read_text(encoding="utf-8")
    assert page.count("</script>") == 3
    assert "http://" not in page
    assert "https://" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["pictures"]) == 13
    assert data["matrix"]["names"] == ["c0", "c1"]
    texts = json.loads(page.split('id="texts">')[1].split("</script>")[0])
    assert texts["pt"].keys() == texts["en"].keys()
    for kind in KINDS:
        assert {f"kind:{kind}", f"about:{kind}"} <= texts["en"].keys()
    assert answer["bytes"] == output.stat().st_size < 2**20
    wrong = CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "report.pdf")])
    assert (wrong.exit_code, "ends in .html" in wrong.stderr) == (2, True)


def test_things_of_one_outline_in_other_colours_are_no_copies(tmp_path: Path, sound: dict[str, Any]) -> None:
    def mug(colour: str, handle: str) -> bytes:
        image = Image.new("RGB", (300, 300), "white")
        draw = ImageDraw.Draw(image)
        draw.rectangle((70, 60, 200, 250), fill=colour)
        draw.ellipse((190, 100, 260, 200), outline=handle, width=18)
        return saved(image)

    sound |= {"q1": ("c0", mug("#a03020", "#a03020")), "q2": ("c0", mug("#a04a20", "#a03020"))}
    sound |= {"q3": ("c1", mug("#205080", "#205080")), "q4": ("c1", mug("#205080", "#c0a020"))}
    analysis = found(catalogue_of(tmp_path, sound))
    assert not of_kind(analysis, "near-duplicate")
