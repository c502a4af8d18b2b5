"""Models: names in, networks that embed out. The only package that imports TensorFlow, and only to load one."""

from indexer.models.model import Model, ModelSource
from indexer.models.registry import ModelListing, list_models, load_recorded, resolve

__all__ = ["Model", "ModelListing", "ModelSource", "list_models", "load_recorded", "resolve"]
