"""Tests of vitrine.indexer.evaluation.evaluate and of the command `evaluate`.

They cover vitrine.indexer.evaluation.evaluation_set, vitrine.indexer.evaluation.instances and
vitrine.indexer.evaluation.tables as well.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.catalogues import build_folder, write_folder
from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import InputError
from vitrine.indexer.evaluation.evaluate import (
    EvaluateOptions,
    bootstrap_interval,
    evaluate_held_out,
    evaluate_snapshot,
)
from vitrine.indexer.evaluation.evaluation_set import EvaluationSet, read_labels
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.transform.sample import TrainingSet
from vitrine.indexer.transform.transform import Transform


def test_a_bootstrap_interval_contains_the_mean() -> None:
    low, high = bootstrap_interval(np.array([0.0, 1.0] * 50), np.random.default_rng(0))
    assert 0.35 < low < 0.5 < high < 0.65


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    root = tmp_path_factory.mktemp("evaluate")
    build_folder(
        write_folder(root / "photos", categories=3, per_category=8), root / "index", transform="centre"
    )
    return IndexFolder(root / "index")


def test_a_snapshot_is_evaluated_by_every_method(index: IndexFolder) -> None:
    evaluation = evaluate_snapshot(index, EvaluateOptions(held_out=True, instances=3), SilentProgress())
    assert evaluation.products == evaluation.evaluated == 24
    assert list(evaluation.methods) == ["colour histogram", "notebook", "snapshot"]
    assert {"notebook", "colour histogram", "centre"} <= set(evaluation.held_out)
    assert [row["products"] for row in evaluation.categories] == [8, 8, 8]
    for row in evaluation.categories:
        assert row["map_low"] <= row["map"] <= row["map_high"]
    assert all(row["category"] != row["neighbour"] for row in evaluation.confusion)
    assert set(evaluation.instances) == {"snapshot", "notebook"}
    assert 0 <= evaluation.instances["snapshot"]["all"] <= 1
    assert evaluation.missing == []
    assert evaluation.categories_of == "held out"
    stored = json.loads(json.dumps(evaluation.as_json()))
    assert list(stored) == [
        "snapshot", "products", "judged", "ways", "held_out", "categories_of", "categories", "confusion",
        "instances", "missing",
    ]  # fmt: skip


def test_held_out_products_are_not_among_those_fitted_on(
    index: IndexFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))
    labels, numbers = np.repeat([0, 1], 20).astype(np.int32), np.arange(40, dtype=np.int32)
    evaluation_set = EvaluationSet(
        index.open(), numbers.astype(np.int64), ("a", "b"), labels, numbers, vectors, vectors, False
    )
    evaluated: list[bytes] = []
    fitted_on: set[bytes] = set()

    class CheckedTransform(Transform):
        def apply(self, vectors: FloatMatrix) -> FloatMatrix:
            assert not fitted_on & {row.tobytes() for row in vectors}
            evaluated.extend(row.tobytes() for row in vectors)
            return vectors

    def fit(name: str, training_set: TrainingSet) -> CheckedTransform:
        fitted_on.clear()
        fitted_on.update(row.tobytes() for row in training_set.read_vectors(np.arange(len(training_set))))
        assert len(fitted_on) == 20
        return CheckedTransform(name, "")

    monkeypatch.setattr("vitrine.indexer.evaluation.evaluate.choose_transform", fit)
    assert set(evaluate_held_out(evaluation_set, vectors, None, 0)) == {"notebook", "centre", "adapt"}
    assert sorted(set(evaluated)) == sorted(row.tobytes() for row in vectors)


def test_labels_from_a_file_replace_the_categories(index: IndexFolder, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,category\nc0:p0,a\nc0:p1,a\nc1:p0,b\nc1:p1,b\nc2:p0,\n")
    options = EvaluateOptions(labels=read_labels(path), colours=False)
    evaluation = evaluate_snapshot(index, options, SilentProgress())
    assert evaluation.evaluated == 4
    assert {row["category"] for row in evaluation.categories} == {"a", "b"}
    assert "colour histogram" not in evaluation.methods
    with pytest.raises(InputError, match="none of its ids"):
        evaluate_snapshot(index, EvaluateOptions(labels={"unknown": "a"}), SilentProgress())
    path.write_text("name\nx\n")
    with pytest.raises(InputError, match="columns id and category"):
        read_labels(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "missing.csv")


def test_a_catalogue_without_categories_has_no_figures(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", categories=1, per_category=4)
    rows = [f"p{n},,{path}" for n, path in enumerate(sorted(photos.rglob("*.jpg")))]
    (tmp_path / "shop.csv").write_text("id,category,image\n" + "\n".join(rows))
    build_folder(tmp_path / "shop.csv", tmp_path / "index")
    evaluation = evaluate_snapshot(IndexFolder(tmp_path / "index"), EvaluateOptions(), SilentProgress())
    assert evaluation.evaluated == 0
    assert evaluation.methods == {}
    assert any("categories" in line for line in evaluation.missing)


def test_unreadable_pictures_and_lost_vectors_are_reported(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", categories=1, per_category=3)
    build_folder(photos, tmp_path / "index", transform="centre")
    next(photos.rglob("*.jpg")).unlink()
    (tmp_path / "index" / "cache" / "embeddings.sqlite").unlink()
    evaluation = evaluate_snapshot(IndexFolder(tmp_path / "index"), EvaluateOptions(), SilentProgress())
    assert list(evaluation.methods) == ["snapshot"]
    missing = " ".join(evaluation.missing)
    assert "second category" in missing
    assert "cache has lost vectors" in missing
    assert "colour histogram" in missing


def test_figures_of_an_adapted_snapshot_are_reported_as_biased(tmp_path: Path) -> None:
    build_folder(write_folder(tmp_path / "photos", 2, 8), tmp_path / "index", transform="adapt")
    index = IndexFolder(tmp_path / "index")
    assert any(
        "--held-out" in line for line in evaluate_snapshot(index, EvaluateOptions(), SilentProgress()).missing
    )
    held_out = evaluate_snapshot(index, EvaluateOptions(held_out=True), SilentProgress())
    assert (held_out.categories_of, held_out.missing) == ("held out", [])


def test_the_command_prints_tables_or_a_json_object(index: IndexFolder, tmp_path: Path) -> None:
    arguments = ["evaluate", "--index", str(index.root), "--held-out", "--instances", "2"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    for words in ("24 of 24 products", "Held out", "Simulated photos", "By category", "P@5", "notebook"):
        assert words in shown.stdout
    answer = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert answer["products"] == 24
    assert set(answer["ways"]) == {"colour histogram", "notebook", "snapshot"}
    (tmp_path / "labels.csv").write_text("id,category\nc0:p0,[bold]a\nc0:p1,[bold]a\nc1:p0,b\nc1:p1,b\n")
    labelled = CliRunner().invoke(main, [*arguments[:3], "--labels", str(tmp_path / "labels.csv")])
    assert "[bold]a" in labelled.stdout
    wrong = CliRunner().invoke(main, [*arguments[:3], "--labels", str(tmp_path / "none.csv")])
    assert wrong.exit_code == 2


def test_the_command_reports_missing_categories(tmp_path: Path) -> None:
    photo = next(write_folder(tmp_path / "photos", 1, 1).rglob("*.jpg"))
    (tmp_path / "shop.csv").write_text(f"id,category,image\np,,{photo}\n")
    build_folder(tmp_path / "shop.csv", tmp_path / "index")
    shown = CliRunner().invoke(main, ["evaluate", "--index", str(tmp_path / "index"), "--held-out"])
    assert shown.exit_code == 0
    assert "missing: categories" in shown.stdout
