"""One service: a catalogue with the settings, guard, limits and metrics under which it is offered."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import request, url_for

from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.config import ServiceConfig
from vitrine.service.http.admission import Admission
from vitrine.service.http.auth import BeforeWrite, Guard
from vitrine.service.http.metrics import Metrics
from vitrine.service.http.rates import Rates

_MOST_PREFIXES = 64


@dataclass(frozen=True)
class Service:
    """Everything that the requests of one blueprint share. Nothing of it is global."""

    catalogue: Catalogue
    config: ServiceConfig
    guard: Guard
    rates: Rates
    admission: Admission
    metrics: Metrics
    _mounted: dict[tuple[str, str], Catalogue] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue, config: ServiceConfig, before_write: BeforeWrite | None) -> Service:
        """Put a service together. Raises InputError for keys or rates that are not."""
        guard = Guard.of(config, before_write)
        rates, admission = Rates(config.rate_limit), Admission(config.threads)
        return cls(catalogue, config, guard, rates, admission, Metrics(catalogue))

    def here(self) -> Catalogue:
        """Return the catalogue whose picture URLs fit where this request's blueprint is mounted."""
        key = request.blueprint or "", request.root_path
        found = self._mounted.get(key)
        if found is None:
            found = self.catalogue.at(self.prefix())
            if len(self._mounted) < _MOST_PREFIXES:
                self._mounted[key] = found
        return found

    def prefix(self) -> str:
        """Return the path that this request's blueprint is mounted at, '' at the root."""
        return url_for(".healthz").removesuffix("/healthz")
