"""The online part of Vitrine: a catalogue in Python, as a Flask blueprint or application, and as a server.

Public names are imported at first use, so that importing a query does not import Flask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrine.service.app import create_app, create_blueprint
    from vitrine.service.catalogue.catalogue import Catalogue
    from vitrine.service.catalogue.writer import Caller
    from vitrine.service.config import ServiceConfig

__all__ = ["Caller", "Catalogue", "ServiceConfig", "create_app", "create_blueprint"]
_MODULES = {
    "Caller": "vitrine.service.catalogue.writer",
    "Catalogue": "vitrine.service.catalogue.catalogue",
    "ServiceConfig": "vitrine.service.config",
    "create_app": "vitrine.service.app",
    "create_blueprint": "vitrine.service.app",
}


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
