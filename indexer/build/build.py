"""The build: read a source, embed it, write a candidate snapshot, check it and make it current.

This module defines the order of the stages and the report. Each stage has its own module.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vitrine.indexer.build.candidate import plan_candidate, write_candidate
from vitrine.indexer.build.gate import Thresholds, check_publishable, compare_with_current
from vitrine.indexer.config import KEEP_SNAPSHOTS
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import EmbeddingOptions, embed_source
from vitrine.indexer.embedding.run import EmbeddingRun
from vitrine.indexer.errors import PublishRefused, SnapshotError, SourceError
from vitrine.indexer.journal.fold import fold_journal
from vitrine.indexer.models import ModelSource, resolve_model
from vitrine.indexer.pictures.preprocessing import Fit, Preprocessing
from vitrine.indexer.progress import Progress
from vitrine.indexer.recipes import RecipeRequest
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.source.source import Source, open_source
from vitrine.indexer.source.uploads import add_uploads


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build, named as on the command line."""

    model: str = "bit-m-r50x1"
    image_size: int | None = None
    fit: Fit = "squash"
    trim: bool = False
    recipe: RecipeRequest = field(default_factory=RecipeRequest)
    transform: str = "auto"
    category_from: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    engine: str = "local"
    ray_address: str | None = None
    gate: Thresholds = field(default_factory=Thresholds)
    force: bool = False
    keep: int = KEEP_SNAPSHOTS


@dataclass(frozen=True)
class BuildReport:
    """Result of a build. seconds: duration of the whole call.

    The field names are those of `build --json`.
    """

    snapshot: str
    products: int
    embedded: int
    from_cache: int
    failed: int
    categories: int
    deleted: int
    model: str
    model_why: str
    dimension: int
    transform: str
    transform_why: str
    recipe: str
    recipe_why: str
    index: str
    recall_at_10: float
    p50_ms: float
    p95_ms: float
    net_wait_share: float
    pruned: list[str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that `build --json` prints."""
        return dataclasses.asdict(self)


def build_snapshot(
    location: str, folder: IndexFolder, options: BuildOptions, progress: Progress
) -> BuildReport:
    """Index a source and make the new snapshot current.

    location: path or URL of the source. Raises InputError, SourceError, ModelError, SnapshotError
    (PublishRefused if the publish gate rejects the candidate). After an error the previous snapshot stays
    current, and the vectors computed so far stay in the cache for the next build.
    """
    started = time.monotonic()
    source = open_source(
        location, category_from=options.category_from, columns=options.columns, limit=options.limit
    )
    model = _resolve_model(options, progress)
    progress.note(f"model {model.name}: {model.reason}")
    if model.dimension is not None:  # else known once the network is loaded; the index checks it then
        options.recipe.check(model.dimension)
    with folder.publishing(), EmbeddingCache(folder.layout.cache) as cache:
        previous = _previous_snapshot(folder, progress)
        with folder.journal() as journal:
            changes = fold_journal(journal, previous.table if previous else None)
        source = source.exclude_products(changes.purged)
        source = add_uploads(source, changes.uploads, folder.root).apply_moves(changes.moves)
        run = _embed(source, model, cache, options, progress)
        if not run.ok.any():
            raise SourceError(_no_pictures_message(location, run))
        with folder.staging() as staged:
            manifest = write_candidate(
                staged,
                plan_candidate(source, model, run, cache, previous),
                changes,
                transform_name=options.transform,
                recipe=options.recipe,
                progress=progress,
            )
            manifest = dataclasses.replace(
                manifest, snapshot=folder.staged_name(staged), parent=previous.name if previous else None
            )
            snapshot = folder.publish(staged, manifest, set_current=False)
        _make_current(folder, snapshot, previous, options)
        pruned = folder.prune(options.keep)
    return _build_report(snapshot, model, run, pruned, time.monotonic() - started)


def _resolve_model(options: BuildOptions, progress: Progress) -> ModelSource:
    """Find the weights, and apply the preprocessing options to the model."""
    model = resolve_model(options.model, image_size=options.image_size, progress=progress)
    spec = Preprocessing.parse(model.preprocessing).with_fit(options.fit, trim=options.trim)
    return dataclasses.replace(model, preprocessing=str(spec))


def _embed(
    source: Source, model: ModelSource, cache: EmbeddingCache, options: BuildOptions, progress: Progress
) -> EmbeddingRun:
    """Embed with the engine of the options. Both engines write the vectors into the cache."""
    if options.engine == "local":
        return embed_source(source, model, cache, options=options.embedding, progress=progress)
    from vitrine.indexer.embedding.ray import embed_with_ray

    return embed_with_ray(
        source, model, cache, options=options.embedding, progress=progress, address=options.ray_address
    )


def _previous_snapshot(folder: IndexFolder, progress: Progress) -> Snapshot | None:
    """Open the current snapshot. One that cannot be read does not stop the build: report it and go on."""
    try:
        name = folder.current_name_or_none()
        return folder.open(name) if name else None
    except SnapshotError as error:
        progress.note(f"the current snapshot cannot be read and is ignored: {error}")
        return None


def _no_pictures_message(location: str, run: EmbeddingRun) -> str:
    first = run.failures[0]
    return f"{location}: none of its {len(run.ok)} pictures can be used; {first.image}: {first.reason}"


def _make_current(
    folder: IndexFolder, snapshot: Snapshot, previous: Snapshot | None, options: BuildOptions
) -> None:
    """Make the candidate current. Raises PublishRefused, which leaves it in the folder, not current."""
    if not options.force:
        try:
            check_publishable(
                compare_with_current(snapshot, previous, options.recipe.target_recall), options.gate
            )
        except PublishRefused as error:
            raise PublishRefused(
                f"{error}; it is kept: inspect it with `vitrine-indexer status --snapshot {snapshot.name}`; "
                f"make it current with `vitrine-indexer rollback {snapshot.name}`, or build with --force"
            ) from None
    folder.set_current(snapshot.name)


def _build_report(
    snapshot: Snapshot, model: ModelSource, run: EmbeddingRun, pruned: list[str], seconds: float
) -> BuildReport:
    manifest = snapshot.manifest
    return BuildReport(
        snapshot=snapshot.name,
        products=manifest.products,
        embedded=run.embedded,
        from_cache=run.from_cache,
        failed=manifest.failed,
        categories=manifest.categories,
        deleted=manifest.deleted,
        model=manifest.model.name,
        model_why=model.reason,
        dimension=manifest.dimension,
        transform=manifest.transform["name"],
        transform_why=manifest.transform["why"],
        recipe=manifest.recipe["recipe"],
        recipe_why=manifest.recipe["why"],
        index=manifest.recipe["how"],
        recall_at_10=manifest.recall_at_10,
        p50_ms=manifest.latency["p50_ms"],
        p95_ms=manifest.latency["p95_ms"],
        net_wait_share=run.net_wait_share,
        pruned=pruned,
        seconds=round(seconds, 3),
    )
