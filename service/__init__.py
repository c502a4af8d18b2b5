"""Vitrine's online half: a catalogue in Python, as a Flask blueprint or application, and as a server.

Names are looked up when they are used: importing a query must not start Flask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrine.service.app import create_app, create_blueprint
    from vitrine.service.catalogue.catalogue import Catalogue
    from vitrine.service.catalogue.writer import Caller
    from vitrine.service.config import ServiceConfig

__all__ = ["Caller", "Catalogue", "ServiceConfig", "create_app", "create_blueprint"]
_HOMES = {
    "Caller": "vitrine.service.catalogue.writer",
    "Catalogue": "vitrine.service.catalogue.catalogue",
    "ServiceConfig": "vitrine.service.config",
    "create_app": "vitrine.service.app",
    "create_blueprint": "vitrine.service.app",
}


def __getattr__(name: str) -> Any:
    """Import what the name stands for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
