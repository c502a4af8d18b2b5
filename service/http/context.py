"""Service context: a catalogue with its settings, access checks, limits and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g, request, url_for

from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.config import ServiceConfig
from vitrine.service.http.admission import Admission
from vitrine.service.http.auth import BeforeWrite, Guard
from vitrine.service.http.metrics import Metrics
from vitrine.service.http.rates import Rates

_MAX_PREFIXES = 64


@dataclass(frozen=True)
class Service:
    """Objects that the requests of one blueprint share. None of them is global."""

    catalogue: Catalogue
    config: ServiceConfig
    guard: Guard
    rates: Rates
    admission: Admission
    metrics: Metrics
    _mounted: dict[tuple[str, ...], Catalogue] = field(default_factory=dict)

    @classmethod
    def create(cls, catalogue: Catalogue, config: ServiceConfig, before_write: BeforeWrite | None) -> Service:
        """Return a service with these settings. Raises InputError for unreadable keys or a wrong rate."""
        guard = Guard.from_config(config, before_write)
        rates, admission = Rates(config.rate_limit), Admission(config.threads)
        return cls(catalogue, config, guard, rates, admission, Metrics(catalogue))

    def mounted_catalogue(self) -> Catalogue:
        """Return the catalogue with picture URLs below this request's mount point."""
        key: tuple[str, ...] = (request.blueprint or "", request.root_path)
        if values := g.get("vitrine_prefix_values"):
            key += tuple(map(str, values.items()))
        catalogue = self._mounted.get(key)
        if catalogue is None:
            catalogue = self.catalogue.with_url_prefix(self.prefix())
            if len(self._mounted) < _MAX_PREFIXES:
                self._mounted[key] = catalogue
        return catalogue

    def prefix(self) -> str:
        """Return the URL prefix of this request's blueprint, '' at the root."""
        return url_for(".healthz").removesuffix("/healthz")
