"""Costs: the cheapest strategy, the names under which a manifest stores them, and their measurement."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from tests.indexer.recipes.builds import VECTORS, N
from tests.paths import ROOT
from vitrine.indexer.recipes import RecipeRequest, VectorIndex, build_index
from vitrine.indexer.recipes.costs import STORED_NAMES, Costs, measure_costs, overfetch_count

# The names in the manifests of every version so far, which later versions must read and write.
STORED = {
    "row": 1.5,
    "every": 0.25,
    "skip": 0.001,
    "code": 0.01,
    "step": 0.5,
    "call": 15.0,
    "bound": 0.05,
    "pick": 0.1,
    "sift": 4.0,
    "left": 0.125,
    "most": 64.0,
    "keep": 0.2,
}


def test_costs_are_stored_under_the_names_of_earlier_versions() -> None:
    costs = Costs.from_parameters({"costs": STORED})
    assert costs == Costs(
        read_row_us=1.5,
        scan_row_us=0.25,
        skip_code_us=0.001,
        score_code_us=0.01,
        effort_us=0.5,
        search_overhead_us=15.0,
        scan_sketch_us=0.05,
        read_sketch_us=0.1,
        sketch_overhead_us=4.0,
        sketch_pass_rate=0.125,
        max_effort=64.0,
        rank_code_us=0.2,
    )
    assert costs.as_json() == STORED
    assert list(STORED_NAMES) == [field.name for field in dataclasses.fields(Costs)]


def test_infinite_costs_are_stored_as_null() -> None:
    costs = Costs(read_row_us=1.0, scan_row_us=0.3)
    stored = costs.as_json()
    assert (stored["skip"], stored["most"], stored["left"]) == (None, None, 1.0)
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert Costs.from_parameters({"costs": stored}) == costs
    assert Costs.from_parameters({"costs": {"row": 1.0, "every": 0.3}}).max_effort == math.inf


@pytest.mark.parametrize("costs", [{"row": 1.0}, STORED | {"other": 1.0}, STORED | {"row": "dear"}])
def test_costs_of_another_shape_are_refused(costs: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Costs.from_parameters({"costs": costs})


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "golden").glob("*/snapshots/*/manifest.json")))
def test_costs_of_golden_manifests_are_read_and_written_unchanged(path: Path) -> None:
    parameters = json.loads(path.read_text(encoding="utf-8"))["recipe"]["parameters"]
    assert Costs.from_parameters(parameters).as_json() == parameters["costs"]


def test_the_cheapest_strategy_is_chosen() -> None:
    costs = Costs(read_row_us=1.0, scan_row_us=0.3, effort_us=0.5, search_overhead_us=15.0)
    assert costs.cheapest(100_000, 100_000, 64, 1.0) == "index"
    assert costs.cheapest(100_000, 50, 64, 1.0) == "rows"
    assert costs.cheapest(100_000, 90_000, 64, None) == "scan"
    codes = dataclasses.replace(costs, read_row_us=10.0, skip_code_us=1e-6, score_code_us=1e-6)
    assert codes.cheapest(100_000, 500, 64, None) == "codes"
    sketched = dataclasses.replace(costs, scan_sketch_us=1e-3, sketch_pass_rate=0.001)
    assert sketched.cheapest_exact(100_000, 100_000, 1, 10) == "sketch"


def test_sketches_of_few_allowed_rows_are_read_by_row() -> None:
    costs = Costs(read_row_us=1.0, scan_row_us=0.3, scan_sketch_us=0.01, read_sketch_us=0.1)
    assert costs.prefers_allowed_sketches(100_000, 9_000)
    assert not costs.prefers_allowed_sketches(100_000, 11_000)


def test_more_rows_are_requested_the_fewer_are_allowed() -> None:
    assert overfetch_count(1000, 1000, 64) == 64
    assert overfetch_count(1000, 999, 64) == 65
    assert overfetch_count(100_000, 50_000, 64) == 167
    assert overfetch_count(1000, 10, 10) == 1000


@pytest.mark.parametrize(
    ("recipe", "has_codes", "has_index"),
    [("flat", False, False), ("hnsw", True, True), ("PQ8", False, True)],
)
def test_costs_are_measured_for_what_an_index_can_do(
    recipe: str, has_codes: bool, has_index: bool, tmp_path: Path
) -> None:
    path = tmp_path / "index.faiss"
    report = build_index(VECTORS, RecipeRequest(recipe), path)
    engine = VectorIndex.open(path, VECTORS, report.parameters).engine
    costs = measure_costs(engine, VECTORS, VECTORS[: N // 10], 1.0)
    assert 0 < costs.scan_row_us <= costs.read_row_us
    assert math.isfinite(costs.effort_us) == has_index
    assert math.isfinite(costs.score_code_us) == has_codes
    assert costs.max_effort == (engine.nlist or math.inf)
    assert math.isinf(costs.scan_sketch_us)
