"""Models: names in, networks that embed out. Only here is TensorFlow imported, and only to load one."""

from vitrine.indexer.models.model import Model, ModelSource
from vitrine.indexer.models.registry import ModelListing, list_models, load_recorded, resolve

__all__ = ["Model", "ModelListing", "ModelSource", "list_models", "load_recorded", "resolve"]
