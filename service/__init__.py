"""Vitrine's online half: a catalogue in Python, as a Flask blueprint or application, and as a server.

Names are looked up when they are used: importing a query must not start Flask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.blueprint import create_app, create_blueprint
    from service.catalogue import Catalogue
    from service.config import ServiceConfig
    from service.writer import Caller

__all__ = ["Caller", "Catalogue", "ServiceConfig", "create_app", "create_blueprint"]
_HOMES = {
    "Caller": "service.writer",
    "Catalogue": "service.catalogue",
    "ServiceConfig": "service.config",
    "create_app": "service.blueprint",
    "create_blueprint": "service.blueprint",
}


def __getattr__(name: str) -> Any:
    """Import what the name stands for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
