"""Prometheus metrics of one service, in a registry of its own: two services in one process count apart.

With several worker processes the counts are shared through PROMETHEUS_MULTIPROC_DIR, which the command sets.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vitrine.service.catalogue.catalogue import Catalogue

CONTENT_TYPE = CONTENT_TYPE_LATEST
_REQUEST_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STAGE_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """Request counts and times, and the state of the catalogue at the time of a scrape."""

    def __init__(self, catalogue: Catalogue) -> None:
        """catalogue: the catalogue whose state is reported."""
        self.registry = CollectorRegistry()
        self._catalogue = catalogue
        self._requests = Histogram(
            "vitrine_request_seconds", "Time to answer a request", ("route", "method", "status"),
            registry=self.registry, buckets=_REQUEST_BUCKETS,
        )  # fmt: skip
        self._stages = Histogram(
            "vitrine_stage_seconds", "Time of one stage of a request", ("stage",),
            registry=self.registry, buckets=_STAGE_BUCKETS,
        )  # fmt: skip
        self._problems = Counter(
            "vitrine_problems", "Requests answered by a problem", ("type",), registry=self.registry
        )
        self._known_requests: dict[tuple[str, str, int], Histogram] = {}
        self._known_stages: dict[str, Histogram] = {}

    def observe(
        self, route: str, method: str, status: int, seconds: float, stages: Mapping[str, float]
    ) -> None:
        """Count one request. route: the URL rule, to keep labels few. stages: seconds by name."""
        key = route, method, status
        child = self._known_requests.get(key)
        if child is None:
            child = self._known_requests[key] = self._requests.labels(route, method, str(status))
        child.observe(seconds)
        for name, stage_s in stages.items():
            timer = self._known_stages.get(name)
            if timer is None:
                timer = self._known_stages[name] = self._stages.labels(name)
            timer.observe(stage_s)

    def count_problem(self, problem_type: str) -> None:
        """Count one problem by its type."""
        self._problems.labels(problem_type).inc()

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        state = CollectorRegistry()
        state.register(_CatalogueState(self._catalogue))
        return _render_counts(self.registry) + generate_latest(state)


def _render_counts(own: CollectorRegistry) -> bytes:
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return generate_latest(own)
    from prometheus_client.multiprocess import MultiProcessCollector

    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared)


class _CatalogueState(Collector):
    """The catalogue as gauges."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the catalogue as it is now."""
        follower = self._catalogue.follower
        view = follower.view_or_none()
        yield _gauge("ready", "1 while a snapshot is open", view is not None)
        yield _gauge(
            "snapshot_broken", "1 while the newest snapshot does not open", follower.failed is not None
        )
        yield _counter("snapshot_swaps", "Snapshots made live in this process", follower.swaps)
        if view is not None:
            manifest = view.state.snapshot.manifest
            built = dt.datetime.fromisoformat(manifest.built_at)
            labels = {"snapshot": manifest.snapshot, "model": manifest.model.name}
            info = GaugeMetricFamily(
                "vitrine_snapshot_info", "The snapshot that is served", labels=list(labels)
            )
            info.add_metric(list(labels.values()), 1)
            yield info
            live_count = int(view.state.live.sum())
            yield _gauge("products_live", "Products that can be found", live_count)
            segments = view.state.segments
            yield _gauge("products_deleted", "Products that are deleted", segments.n - live_count)
            yield _gauge(
                "products_uploaded", "Products not in the snapshot yet", segments.n - segments.base_rows
            )
            yield _gauge(
                "snapshot_age_seconds", "Since the snapshot was built",
                (dt.datetime.now(dt.UTC) - built).total_seconds(),
            )  # fmt: skip
            yield _gauge(
                "journal_lag", "Changes that no snapshot contains yet",
                max(view.state.sequence - manifest.journal_sequence, 0),
            )  # fmt: skip
        yield from self._pictures()

    def _pictures(self) -> Iterator[Metric]:
        thumbnails, photos = self._catalogue.pictures.thumbnails, self._catalogue.photos
        yield _counter("thumbnail_hits", "Thumbnails found on disk", thumbnails.hits)
        yield _counter("thumbnail_misses", "Thumbnails made", thumbnails.misses)
        yield _counter("embedding_cache_hits", "Photos whose vector was known", photos.cache_hits)
        yield _gauge(
            "embed_queue", "Photos that wait for the network", getattr(photos.embedder, "pending", 0)
        )


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"vitrine_{name}", help, value=float(value))


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"vitrine_{name}", help, value=float(value))
