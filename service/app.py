"""A catalogue as a Flask blueprint, for any application under any prefix, as often as one likes."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, request
from flask.sansio.app import App

from vitrine.service.api.routes import add_api
from vitrine.service.api.system import add_system
from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.config import ServiceConfig
from vitrine.service.http.admission import Admission
from vitrine.service.http.auth import BeforeWrite
from vitrine.service.http.context import Service
from vitrine.service.http.hooks import Hooks
from vitrine.service.http.responses import problem_reply

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class CatalogueBlueprint(Blueprint):
    """A blueprint that may be registered several times: a second one of a name is numbered."""

    catalogue: Catalogue
    service: Service
    hooks: Hooks

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Register under the first free name, unless the application gives one."""
        if "name" not in options:
            before = f"{options['name_prefix']}." if options.get("name_prefix") else ""
            number, name = 1, self.name
            while f"{before}{name}" in app.blueprints:
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
    """Return a blueprint that answers for one catalogue; `blueprint.catalogue` is the catalogue itself.

    index: a folder, default that of the settings, or a Catalogue opened before. config: default the VITRINE_
    variables. before_write: called with each request that would change something; it returns the actor's name
    or a Response that refuses, and takes the place of API keys. Put the host's login in front of everything
    with `blueprint.before_request`. Raises SnapshotError, InputError.
    """
    config = config or ServiceConfig.from_environment()
    catalogue = (
        index if isinstance(index, Catalogue) else Catalogue.open(index or config.index, config=config)
    )
    blueprint = CatalogueBlueprint(
        name, __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )
    service = Service.of(catalogue, config, before_write)
    blueprint.catalogue, blueprint.service, blueprint.hooks = catalogue, service, Hooks(service)
    blueprint.before_request(blueprint.hooks.begin)
    blueprint.after_request(blueprint.hooks.finish)
    blueprint.register_error_handler(Exception, problem_reply)
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
    """Return a Flask application with one catalogue at its root. Arguments as of create_blueprint."""
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
    app.wsgi_app = _admitted(app.wsgi_app, admission)  # type: ignore[method-assign, assignment]
    app.register_blueprint(blueprint)
    _answer_unmatched(app, blueprint)
    return app


def _admitted(wsgi_app: WSGIApplication, admission: Admission) -> WSGIApplication:
    """Let as many requests work at once as the settings say, whatever threads the server has."""

    def admitted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with admission.working():
            return wsgi_app(environ, start_response)

    return admitted


def _answer_unmatched(app: Flask, blueprint: CatalogueBlueprint) -> None:
    """Give requests that reach no route of the blueprint the same problems, headers and log."""

    @app.before_request
    def begin() -> Response | None:
        return None if request.blueprint else blueprint.hooks.begin()

    @app.after_request
    def finish(response: Response) -> Response:
        return response if request.blueprint else blueprint.hooks.finish(response)

    app.register_error_handler(Exception, problem_reply)
