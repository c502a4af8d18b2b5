"""Names to models: what `--model` takes, and where each would come from. Never imports TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from indexer.errors import ModelMismatch, ModelUnavailable
from indexer.models import bit, efficientnet_lite
from indexer.models.model import Model, ModelSource, digest_weights
from indexer.models.saved_model import is_saved_model, saved_model_spec
from indexer.models.tensors import WEIGHT_SUFFIXES
from indexer.progress import Progress

AUTO = "auto"
DEFAULT = "bit-m-r50x1"


def resolve(
    name: str,
    *,
    image_size: int | None = None,
    fetch: bool = True,
    progress: Progress | None = None,
) -> ModelSource:
    """Return the weights of a model, fetched first where they are not at hand.

    name: a known name, 'auto', a TF Hub handle, a SavedModel folder, or a weight file.
    image_size: side in pixels of the squashed picture; default the network's own.
    fetch: whether the network may be asked. Raises ModelUnavailable, naming every source tried and why.
    """
    if name == AUTO:
        return _resolve_auto(image_size)
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.find_source("it was asked for by name", image_size)
    path = Path(name).expanduser()
    if path.is_dir():
        return _resolve_folder(path, image_size)
    if path.suffix.lower() in WEIGHT_SUFFIXES:
        path = path.absolute()
        return bit.describe_file(path, path.stem, str(path), "a weight file was given", image_size)
    raise ModelUnavailable(f"unknown model {name!r}")


@dataclass(frozen=True)
class ModelListing:
    """One line of `vitrine-indexer models`: a known model and whether it could be used at once."""

    name: str
    dimension: int
    image_size_px: int
    origin: str
    at_hand: bool
    why: str


def list_models() -> list[ModelListing]:
    """Return every model known by name and where each would come from. Asks no network."""
    lite = efficientnet_lite
    try:
        origin, at_hand, why = str(lite.find_source("").path), True, "packaged"
    except ModelUnavailable as error:
        origin, at_hand, why = lite.PACKAGE, False, str(error)
    return [ModelListing(lite.NAME, lite.DIMENSION, lite.IMAGE_SIZE_PX, origin, at_hand, why)]


def load_recorded(recorded: Mapping[str, Any]) -> Model:
    """Load the very network that made a snapshot's vectors.

    recorded: what the manifest says of its model: name, handle, digest, preprocessing.
    Raises ModelMismatch when other weights are found under that handle, ModelUnavailable when none are.
    """
    source = resolve(str(recorded["handle"]))
    if source.digest != recorded["digest"]:
        raise ModelMismatch(
            f"the snapshot's vectors are of {recorded['name']} {recorded['digest']}, but {source.path} is "
            f"{source.digest}; put the recorded weights back, or build again with these"
        )
    return replace(source, preprocessing=str(recorded["preprocessing"])).load()


def _resolve_auto(image_size: int | None) -> ModelSource:
    return efficientnet_lite.find_source(
        "the packaged network, since BiT's weights are not at hand", image_size
    )


def _resolve_folder(folder: Path, image_size: int | None) -> ModelSource:
    if not is_saved_model(folder):
        raise ModelUnavailable(f"{folder} is a folder without saved_model.pb: not a SavedModel")
    folder = folder.resolve()
    spec = saved_model_spec(image_size)
    digest = digest_weights(folder)
    return ModelSource(
        folder.name, str(folder), "saved_model", folder, digest, spec, None, "a folder was given"
    )
