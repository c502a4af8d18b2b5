"""Application factory: a catalogue as a Flask blueprint or as an application of its own."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, g, request
from flask.sansio.app import App

from vitrine.service.api.routes import add_api
from vitrine.service.api.system import add_system
from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.config import ServiceConfig
from vitrine.service.http.admission import Admission
from vitrine.service.http.auth import BeforeWrite
from vitrine.service.http.context import Service
from vitrine.service.http.hooks import Hooks
from vitrine.service.http.responses import problem_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_VARIABLE = re.compile(r"<(?:[^<>:]+:)?(\w+)>")


class CatalogueBlueprint(Blueprint):
    """A blueprint that can be registered several times, also below a prefix with variables.

    A second one of a name gets a number. Variables of the prefix, as in "/<tenant>/visual", are not passed to
    the views; they are filled in wherever a URL is built.
    """

    catalogue: Catalogue
    service: Service
    hooks: Hooks

    def add_url_rule(self, rule: str, endpoint: str | None = None, *args: Any, **options: Any) -> None:
        """Register a route, and note its own variables."""
        name = endpoint or options["view_func"].__name__
        self._own_variables.setdefault(name, set()).update(_VARIABLE.findall(rule))
        super().add_url_rule(rule, endpoint, *args, **options)

    @cached_property
    def _own_variables(self) -> dict[str, set[str]]:
        return {"static": {"filename"}}  # Flask adds this route itself

    def keep_prefix_values(self, endpoint: str | None, values: dict[str, Any] | None) -> None:
        """Take the values of the prefix out of a request's, for the URLs that it builds."""
        if values:
            own = self._own_variables.get((endpoint or "").rpartition(".")[2], set())
            if not values.keys() <= own:
                g.vitrine_prefix_values = {name: values.pop(name) for name in values.keys() - own}

    def add_prefix_values(self, _: str, values: dict[str, Any]) -> None:
        """Fill the values of the prefix into a URL of this blueprint."""
        for name, value in g.get("vitrine_prefix_values", {}).items():
            values.setdefault(name, value)

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Register under the first free name, unless the application names it."""
        if "name" not in options:
            prefix = f"{options['name_prefix']}." if options.get("name_prefix") else ""
            number, name = 1, self.name
            while f"{prefix}{name}" in app.blueprints:
                number += 1
                name = f"{self.name}-{number}"
            options = {**options, "name": name}
        super().register(app, options)


def create_blueprint(
    index: str | os.PathLike[str] | Catalogue | None = None,
    config: ServiceConfig | None = None,
    *,
    name: str = "vitrine",
    before_write: BeforeWrite | None = None,
) -> CatalogueBlueprint:
    """Return a blueprint that serves one catalogue, which is its attribute `catalogue`.

    index: an index folder (default: that of the settings) or an open Catalogue. config: default the VITRINE_
    variables. before_write: called with each request that changes the catalogue; returns the actor's name, or
    a Response that refuses the request. It replaces the API keys. To require the host's login everywhere, use
    `blueprint.before_request`. Raises SnapshotError, InputError.
    """
    config = config or ServiceConfig.from_environment()
    catalogue = (
        index if isinstance(index, Catalogue) else Catalogue.open(index or config.index, config=config)
    )
    blueprint = CatalogueBlueprint(
        name, __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )
    service = Service.create(catalogue, config, before_write)
    blueprint.catalogue, blueprint.service, blueprint.hooks = catalogue, service, Hooks(service)
    blueprint.url_value_preprocessor(blueprint.keep_prefix_values)
    blueprint.url_defaults(blueprint.add_prefix_values)
    blueprint.before_request(blueprint.hooks.begin)
    blueprint.after_request(blueprint.hooks.finish)
    blueprint.register_error_handler(Exception, problem_response)
    add_system(blueprint, service)
    add_api(blueprint, service)
    if importlib.util.find_spec("vitrine.service.gallery") is not None:
        importlib.import_module("vitrine.service.gallery").add_gallery(blueprint, service)
    return blueprint


def create_app(
    index: str | os.PathLike[str] | Catalogue | None = None,
    config: ServiceConfig | None = None,
    *,
    before_write: BeforeWrite | None = None,
) -> Flask:
    """Return a Flask application with one catalogue at its root. Arguments as for create_blueprint."""
    config = config or ServiceConfig.from_environment()
    app = Flask(__name__, static_folder=None)
    if config.proxies:
        from werkzeug.middleware.proxy_fix import ProxyFix

        hops = config.proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops
        )
    blueprint = create_blueprint(index, config, before_write=before_write)
    admission = blueprint.service.admission
    app.wsgi_app = _limit_concurrency(app.wsgi_app, admission)  # type: ignore[method-assign, assignment]
    app.register_blueprint(blueprint)
    _handle_unmatched(app, blueprint)
    return app


def _limit_concurrency(wsgi_app: WSGIApplication, admission: Admission) -> WSGIApplication:
    """Limit the requests that work at once to the setting, however many threads the server has."""

    def limited(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with admission.working():
            return wsgi_app(environ, start_response)

    return limited


def _handle_unmatched(app: Flask, blueprint: CatalogueBlueprint) -> None:
    """Give requests that match no route of the blueprint the same problems, headers and log lines."""

    @app.before_request
    def begin() -> Response | None:
        return None if request.blueprint else blueprint.hooks.begin()

    @app.after_request
    def finish(response: Response) -> Response:
        return response if request.blueprint else blueprint.hooks.finish(response)

    app.register_error_handler(Exception, problem_response)
