"""Which index a catalogue gets. Candidates are tried on a sample of its own vectors; the quickest that holds
wins.

An index holds each vector in few dimensions and about a byte a dimension, and the best it proposes are scored
again with the vectors themselves; so candidates differ in how much of a vector they keep and in how they are
searched. Shape letters: N rows, D dimension, p reduced dimension.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, StoredVectors
from vitrine.indexer.errors import InputError, RecipeImpossible
from vitrine.indexer.progress import Progress
from vitrine.indexer.recipes.engine import Engine, make_index, train_index
from vitrine.indexer.recipes.index import VectorIndex
from vitrine.indexer.recipes.reduction import leading_directions
from vitrine.indexer.recipes.tuning import Examination, examine, tune
from vitrine.indexer.vectors.scoring import to_float32

# Up to so many numbers, and rows, a scan of all vectors takes a few milliseconds and nothing has to be
# learnt.
FLAT_NUMBERS = 40_000_000
FLAT_ROWS = 20_000
BUILD_LIMIT_S = 3600.0
KINDS = {"auto": ("graph", "codes", "lists", "packed"), "hnsw": ("graph",), "ivf": ("lists", "packed")}
_SAMPLE_NUMBERS = 40_000_000
_SAMPLE_ROWS = 20_000
_REDUCED = (64, 128, 256)
_OWN = re.compile(r"SVD(\d{1,5}),(.+)")
_HOLDS = "holds"
_FEW_CANDIDATES = 64
# Packed codes are learnt from so many products at least.
_PACKED_ROWS = 1000


@dataclass(frozen=True, slots=True)
class RecipeRequest:
    """What the caller asks for.

    recipe: auto, flat, hnsw, ivf or a faiss factory string. target_recall: recall@10 in (0, 1].
    memory_bytes: what the index may take in memory; None means no limit.
    """

    recipe: str = "auto"
    target_recall: float = 0.99
    memory_bytes: int | None = None

    def check(self, dimension: int) -> None:
        """Raise InputError for a recipe that vectors of this dimension cannot have, however many they are."""
        if self.recipe != "flat" and self.recipe not in KINDS:
            Recipe.parse(self.recipe).check(dimension)


@dataclass(frozen=True, slots=True)
class Recipe:
    """An index to build: a faiss factory string, behind a projection onto so many directions (0: none)."""

    factory: str
    reduced: int = 0

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read a faiss factory string, or one of ours: "SVD64,HNSW32_SQ8"."""
        match = _OWN.fullmatch(text)
        return cls(match[2], int(match[1])) if match else cls(text)

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return f"SVD{self.reduced},{self.factory}" if self.reduced else self.factory

    def with_lists_for(self, count: int) -> Recipe:
        """Return the recipe with the number of lists that suits `count` products; `{}` stands for it."""
        lists = max(min(int(4 * math.sqrt(count)), count // 40), 1)
        return replace(self, factory=self.factory.replace("{}", str(lists)))

    @property
    def is_exact(self) -> bool:
        """Whether the index is no more than a copy of the vectors, which are then read themselves."""
        return self.factory in ("Flat", "SQfp16") and not self.reduced

    def check(self, dimension: int) -> None:
        """Raise InputError where no index can be made of it for vectors of this dimension."""
        if self.reduced > dimension:
            raise self._too_wide(dimension)
        make_index(self.reduced or dimension, self.factory)

    def empty(self, dimension: int, directions: FloatMatrix | None) -> Any:
        """Return the untrained index. directions: (p or more, D) where the recipe reduces."""
        if not self.reduced:
            return make_index(dimension, self.factory)
        if directions is None or len(directions) < self.reduced:
            raise self._too_wide(dimension)
        return make_index(dimension, self.factory, directions[: self.reduced])

    def _too_wide(self, dimension: int) -> InputError:
        return InputError(f"recipe {str(self)!r} keeps more directions than {dimension} dimensions have")


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe as a sample tells: bytes, milliseconds and seconds are of the whole catalogue.

    candidates: how many rows it scores with their own vectors for one answer.
    """

    recipe: str
    recall_at_10: float
    p50_ms: float
    memory_bytes: int
    build_s: float
    candidates: int
    verdict: str = ""


@dataclass(frozen=True)
class Choice:
    """The recipe to build, why, and what else was tried. directions: (p, D) for its projection."""

    recipe: Recipe
    why: str
    tried: list[dict[str, Any]] = field(default_factory=list)
    directions: FloatMatrix | None = None


class Chooser:
    """Chooses for one catalogue; asked again, it tries what keeps more of each vector."""

    def __init__(self, vectors: StoredVectors, request: RecipeRequest, progress: Progress) -> None:
        """vectors: (N, D)."""
        self._vectors = vectors
        self._request = request
        self._progress = progress
        self._count, self._dimension = vectors.shape
        self._tried: list[Trial] = []
        self._chose_flat = False
        self._tiers = [size for size in _REDUCED if 2 * size <= min(vectors.shape)]
        self._tiers.append(0)

    def choose(self) -> Choice:
        """Return the next choice. Raises RecipeImpossible when the memory is too small for what was asked."""
        asked = self._request.recipe
        small = is_small(self._vectors) and self._fits(self._flat_bytes)
        if asked == "flat" or (asked == "auto" and small):
            return self._flat("its products are so few that comparing all takes milliseconds")
        if asked not in KINDS:
            return self._verbatim(Recipe.parse(asked))
        if self._tiers:
            holding = self._try_tiers()
            if holding:
                best = min(holding, key=lambda trial: trial.p50_ms)
                return self._approximate(best, self._why_it_holds())
        if asked == "auto":
            return self._flat("no approximate recipe holds the recall asked for")
        fitting = [trial for trial in self._tried if self._fits(trial.memory_bytes)]
        if not fitting:
            raise self._impossible(min(trial.memory_bytes for trial in self._tried))
        best = max(fitting, key=lambda trial: trial.recall_at_10)
        return self._approximate(best, "as asked, though none held the recall on a sample")

    @property
    def has_more(self) -> bool:
        """Whether another choice could be had: for auto, in the end, to compare all."""
        if self._request.recipe not in KINDS or self._chose_flat:
            return False
        return bool(self._tiers) or (self._request.recipe == "auto" and self._fits(self._flat_bytes))

    @cached_property
    def _sample(self) -> FloatMatrix:
        size = min(self._count, max(min(_SAMPLE_ROWS, _SAMPLE_NUMBERS // self._dimension), 1000))
        return to_float32(self._vectors[np.unique(np.linspace(0, self._count - 1, size).astype(np.int64))])

    @cached_property
    def _examination(self) -> Examination:
        return Examination.of(self._sample)

    @cached_property
    def _directions(self) -> FloatMatrix:
        return leading_directions(self._sample, max([*_REDUCED, Recipe.parse(self._request.recipe).reduced]))

    @property
    def _flat_bytes(self) -> int:
        return self._count * self._dimension * self._vectors.dtype.itemsize

    def _fits(self, size: float) -> bool:
        return self._request.memory_bytes is None or size <= self._request.memory_bytes

    def _flat(self, why: str) -> Choice:
        if not self._fits(self._flat_bytes):
            holding = [t.memory_bytes for t in self._tried if t.recall_at_10 >= self._request.target_recall]
            raise self._impossible(min([*holding, self._flat_bytes]))
        self._tiers.clear()
        self._chose_flat = True
        factory = "Flat" if self._vectors.dtype == np.float32 else "SQfp16"
        tried = [asdict(trial) for trial in self._tried]
        return Choice(Recipe(factory), "as asked" if self._request.recipe == "flat" else why, tried)

    def _verbatim(self, recipe: Recipe) -> Choice:
        return Choice(recipe, "as asked", directions=self._directions if recipe.reduced else None)

    def _approximate(self, trial: Trial, why: str) -> Choice:
        tried = [asdict(each) for each in self._tried]
        return Choice(Recipe.parse(trial.recipe), why, tried, self._directions)

    def _why_it_holds(self) -> str:
        target, tried, products = self._request.target_recall, len(self._tried), len(self._sample)
        held = f"the quickest to hold recall {target} of {tried} recipes, tried on {products} products"
        if tried == 1:
            held = f"it held recall {target}, tried on {products} products"
        return held if self._request.recipe == "auto" else f"as asked; {held}"

    def _try_tiers(self) -> list[Trial]:
        """Try the candidates that keep least of a vector, then those that keep more, until one holds.

        Where keeping little is made up for by scoring many rows, keeping more is tried as long as that is
        quicker.
        """
        holding: list[Trial] = []
        self._progress.start(None, "recipes tried")
        while self._tiers:
            tier = [self._try_one(recipe) for recipe in self._candidates(self._tiers.pop(0))]
            before, holding = holding, holding + [trial for trial in tier if trial.verdict == _HOLDS]
            best = min(holding, key=lambda trial: trial.p50_ms, default=None)
            if best is not None and (best.candidates <= _FEW_CANDIDATES or best in before):
                break
        self._progress.done()
        return holding

    def _try_one(self, recipe: Recipe) -> Trial:
        trial = self._judged(self._try_out(recipe))
        self._tried.append(trial)
        self._progress.advance(1)
        self._progress.note(f"recipe {trial.recipe}: {trial.verdict}")
        return trial

    def _candidates(self, reduced: int) -> Iterable[Recipe]:
        kept = reduced or self._dimension
        factories = {
            "graph": "HNSW32_SQ8",
            "codes": "SQ8",
            "lists": "IVF{},SQ8",
            "packed": f"IVF{{}},PQ{kept // 2}x4fsr",
        }
        packs = kept % 2 == 0 and self._count >= _PACKED_ROWS
        kinds = [kind for kind in KINDS[self._request.recipe] if packs or kind != "packed"]
        return [Recipe(factories[kind], reduced) for kind in kinds]

    def _try_out(self, recipe: Recipe) -> Trial:
        """Build a candidate on the sample and foretell what it does on the whole."""
        began = time.perf_counter()
        here = recipe.with_lists_for(len(self._sample))
        index = here.empty(self._dimension, self._directions)
        train_index(index, self._sample, str(here))
        index.add(self._sample)
        seconds = time.perf_counter() - began
        engine = Engine(index)
        parameters = tune(engine, self._sample, self._examination, self._request.target_recall)
        marks = examine(VectorIndex(engine, self._sample, parameters), self._examination)
        larger = self._count / len(self._sample)
        deeper = math.log(self._count + 1) / math.log(len(self._sample) + 1)
        slower = {"graph": deeper, "lists": math.sqrt(larger)}.get(engine.family, larger)
        fixed = 4 * self._dimension * recipe.reduced
        return Trial(
            recipe=str(recipe.with_lists_for(self._count)),
            recall_at_10=marks.recall_at_10,
            p50_ms=round(marks.p50_ms * slower, 4),
            memory_bytes=int(fixed + (engine.byte_size - fixed) * larger),
            build_s=round(seconds * larger * deeper, 1),
            candidates=int(parameters["candidates"]),
        )

    def _judged(self, trial: Trial) -> Trial:
        target = self._request.target_recall
        verdict = _HOLDS
        if trial.recall_at_10 < target:
            verdict = f"recall {trial.recall_at_10:.3f} on the sample is below {target}"
        elif not self._fits(trial.memory_bytes):
            verdict = f"{trial.memory_bytes:,} bytes are more than allowed"
        elif trial.build_s > BUILD_LIMIT_S:
            verdict = f"building it would take {trial.build_s / 60:.0f} minutes"
        return replace(trial, verdict=verdict)

    def _impossible(self, needed: int) -> RecipeImpossible:
        given = self._request.memory_bytes or 0
        return RecipeImpossible(
            f"recall {self._request.target_recall} on {self._count} products needs {needed:,} bytes of index "
            f"({needed / 2**20:.1f} MiB); --memory allows {given:,}: give more, or lower --target-recall"
        )


def is_small(vectors: StoredVectors) -> bool:
    """Whether a catalogue, (N, D), is compared as a whole quicker than any index could be worth."""
    count, dimension = vectors.shape
    return count <= FLAT_ROWS and count * dimension <= FLAT_NUMBERS
