"""Visual product recommendations: the public names of Vitrine.

`vitrine.indexer` builds an index folder and `vitrine.service` answers from it. In the repository both
packages lie at the top level and are linked here. Names are imported at first use: `import vitrine` loads no
Flask.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrine.service import Caller, Catalogue, ServiceConfig, create_app, create_blueprint

__all__ = ["Caller", "Catalogue", "ServiceConfig", "create_app", "create_blueprint"]


def __getattr__(name: str) -> Any:
    """Import a public name of the service."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vitrine import service

    return getattr(service, name)
