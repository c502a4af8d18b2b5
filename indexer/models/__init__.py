"""Embedding models: model names to weights, and networks that embed pictures. The only TensorFlow user."""

from vitrine.indexer.models.model import Model, ModelSource
from vitrine.indexer.models.registry import ModelListing, list_models, load_recorded_model, resolve_model

__all__ = ["Model", "ModelListing", "ModelSource", "list_models", "load_recorded_model", "resolve_model"]
