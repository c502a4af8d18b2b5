"""Models: names in, networks that embed out. Only here is TensorFlow imported, and only to load one."""

from indexer.models.model import Model, ModelSource
from indexer.models.registry import ModelListing, list_models, load_recorded, resolve

__all__ = ["Model", "ModelListing", "ModelSource", "list_models", "load_recorded", "resolve"]
