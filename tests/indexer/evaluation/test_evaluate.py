"""Evaluation: figures against hand-made rankings, every way of comparing, catalogues without categories."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.catalogues import build_folder, write_folder
from tests.pictures import jpeg
from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import InputError
from vitrine.indexer.evaluation.colours import DIMENSION, colour_histogram
from vitrine.indexer.evaluation.evaluate import (
    EvaluateOptions,
    evaluate,
    interval,
    judge_held_out,
)
from vitrine.indexer.evaluation.photographs import KINDS, photograph_again
from vitrine.indexer.evaluation.subject import Subject, read_labels
from vitrine.indexer.progress import Silent
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.transform.sample import TrainingSet
from vitrine.indexer.transform.transform import Transform


def test_a_colour_histogram_tells_red_from_blue_and_left_from_right(tmp_path: Path) -> None:
    def picture(left: str, right: str) -> np.ndarray:
        image = Image.new("RGB", (64, 64), left)
        image.paste(Image.new("RGB", (32, 64), right), (32, 0))
        image.save(tmp_path / "picture.png")
        return colour_histogram((tmp_path / "picture.png").read_bytes())

    red, same, blue, turned = picture("red", "red"), picture("red", "red"), picture("blue", "blue"), None
    assert red.shape == (DIMENSION,)
    assert float(red @ same) == pytest.approx(1)
    assert float(red @ blue) == 0
    half, turned = picture("red", "blue"), picture("blue", "red")
    assert float(half @ turned) == 0
    assert float(red @ half) == pytest.approx(0.5, abs=0.01)


def test_intervals_hold_the_mean() -> None:
    low, high = interval(np.array([0.0, 1.0] * 50), np.random.default_rng(0))
    assert 0.35 < low < 0.5 < high < 0.65


@pytest.mark.parametrize("kind", KINDS)
def test_another_photo_is_a_picture_of_the_same_thing(kind: str) -> None:
    data = jpeg(80, 60, 1)
    again = photograph_again(data, kind, np.random.default_rng(0))
    assert again != data
    assert again == photograph_again(data, kind, np.random.default_rng(0))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    root = tmp_path_factory.mktemp("evaluate")
    build_folder(write_folder(root / "photos", categories=3, each=8), root / "index", transform="centre")
    return IndexFolder(root / "index")


def test_a_snapshot_is_judged_in_every_way(index: IndexFolder) -> None:
    found = evaluate(index, EvaluateOptions(held_out=True, instances=3), Silent())
    assert found.products == found.judged == 24
    assert list(found.ways) == ["colour histogram", "notebook", "snapshot"]
    assert {"notebook", "colour histogram", "centre"} <= set(found.held_out)
    assert [row["products"] for row in found.categories] == [8, 8, 8]
    for row in found.categories:
        assert row["map_low"] <= row["map"] <= row["map_high"]
    assert all(row["category"] != row["neighbour"] for row in found.confusion)
    assert set(found.instances) == {"snapshot", "notebook"}
    assert 0 <= found.instances["snapshot"]["all"] <= 1
    assert found.missing == []
    assert found.categories_of == "held out"
    json.dumps(found.as_json())


def test_held_out_figures_are_of_products_that_were_not_learnt_from(
    index: IndexFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))
    labels, numbers = np.repeat([0, 1], 20).astype(np.int32), np.arange(40, dtype=np.int32)
    subject = Subject(
        index.open(), numbers.astype(np.int64), ("a", "b"), labels, numbers, vectors, vectors, False
    )
    judged: list[bytes] = []
    learnt: set[bytes] = set()

    class Wary(Transform):
        def apply(self, vectors: FloatMatrix) -> FloatMatrix:
            assert not learnt & {row.tobytes() for row in vectors}
            judged.extend(row.tobytes() for row in vectors)
            return vectors

    def learn(name: str, catalogue: TrainingSet) -> Wary:
        learnt.clear()
        learnt.update(row.tobytes() for row in catalogue.read_vectors(np.arange(len(catalogue))))
        assert len(learnt) == 20
        return Wary(name, "")

    monkeypatch.setattr("vitrine.indexer.evaluation.evaluate.choose_transform", learn)
    assert set(judge_held_out(subject, vectors, None, 0)) == {"notebook", "centre", "adapt"}
    assert sorted(set(judged)) == sorted(row.tobytes() for row in vectors), "each product is judged once"


def test_labels_of_a_file_replace_the_categories(index: IndexFolder, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,category\nc0:p0,a\nc0:p1,a\nc1:p0,b\nc1:p1,b\nc2:p0,\n")
    options = EvaluateOptions(labels=read_labels(path), colours=False)
    found = evaluate(index, options, Silent())
    assert found.judged == 4
    assert {row["category"] for row in found.categories} == {"a", "b"}
    assert "colour histogram" not in found.ways
    with pytest.raises(InputError, match="none of its ids"):
        evaluate(index, EvaluateOptions(labels={"nobody": "a"}), Silent())
    path.write_text("name\nx\n")
    with pytest.raises(InputError, match="columns id and category"):
        read_labels(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "missing.csv")


def test_a_catalogue_without_categories_says_what_is_missing(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", categories=1, each=4)
    rows = [f"p{n},,{path}" for n, path in enumerate(sorted(photos.rglob("*.jpg")))]
    (tmp_path / "shop.csv").write_text("id,category,image\n" + "\n".join(rows))
    build_folder(tmp_path / "shop.csv", tmp_path / "index")
    found = evaluate(IndexFolder(tmp_path / "index"), EvaluateOptions(), Silent())
    assert found.judged == 0
    assert found.ways == {}
    assert any("categories" in line for line in found.missing)


def test_lost_pictures_and_vectors_are_said(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", categories=1, each=3)
    build_folder(photos, tmp_path / "index", transform="centre")
    next(photos.rglob("*.jpg")).unlink()
    (tmp_path / "index" / "cache" / "embeddings.sqlite").unlink()
    found = evaluate(IndexFolder(tmp_path / "index"), EvaluateOptions(), Silent())
    assert list(found.ways) == ["snapshot"]
    said = " ".join(found.missing)
    assert "second category" in said
    assert "cache has lost vectors" in said
    assert "colour histogram" in said


def test_figures_of_what_was_learnt_from_are_not_called_fair(tmp_path: Path) -> None:
    build_folder(write_folder(tmp_path / "photos", 2, 8), tmp_path / "index", transform="adapt")
    index = IndexFolder(tmp_path / "index")
    assert any("--held-out" in line for line in evaluate(index, EvaluateOptions(), Silent()).missing)
    held_out = evaluate(index, EvaluateOptions(held_out=True), Silent())
    assert (held_out.categories_of, held_out.missing) == ("held out", [])


def test_the_command_prints_tables_or_one_object(index: IndexFolder, tmp_path: Path) -> None:
    arguments = ["evaluate", "--index", str(index.root), "--held-out", "--instances", "2"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    for words in ("24 of 24 products", "Held out", "Photographed again", "By category", "P@5", "notebook"):
        assert words in shown.stdout
    told = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert told["products"] == 24
    assert set(told["ways"]) == {"colour histogram", "notebook", "snapshot"}
    (tmp_path / "labels.csv").write_text("id,category\nc0:p0,[bold]a\nc0:p1,[bold]a\nc1:p0,b\nc1:p1,b\n")
    labelled = CliRunner().invoke(main, [*arguments[:3], "--labels", str(tmp_path / "labels.csv")])
    assert "[bold]a" in labelled.stdout
    wrong = CliRunner().invoke(main, [*arguments[:3], "--labels", str(tmp_path / "none.csv")])
    assert wrong.exit_code == 2


def test_the_command_says_what_a_catalogue_without_categories_lacks(tmp_path: Path) -> None:
    photo = next(write_folder(tmp_path / "photos", 1, 1).rglob("*.jpg"))
    (tmp_path / "shop.csv").write_text(f"id,category,image\np,,{photo}\n")
    build_folder(tmp_path / "shop.csv", tmp_path / "index")
    shown = CliRunner().invoke(main, ["evaluate", "--index", str(tmp_path / "index"), "--held-out"])
    assert shown.exit_code == 0
    assert "missing: categories" in shown.stdout
