"""Names to models: what `--model` takes, and where each would come from. Never imports TensorFlow."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitrine.indexer.errors import ModelMismatch, ModelUnavailable
from vitrine.indexer.models import bit, efficientnet_lite
from vitrine.indexer.models.download import DownloadFailed
from vitrine.indexer.models.model import Model, ModelSource, digest_weights
from vitrine.indexer.models.origins import (
    Origin,
    bit_origins,
    is_offline,
    kept_weights,
    models_folder,
    tfhub_origin,
)
from vitrine.indexer.models.saved_model import IMAGE_SIZE_PX, is_saved_model, saved_model_spec
from vitrine.indexer.models.tensors import WEIGHT_SUFFIXES
from vitrine.indexer.progress import Progress, Silent

AUTO = "auto"
DEFAULT = "bit-m-r50x1"
# The ResNets of the paper: name → dimension. Family m was trained on ImageNet-21k, s on ILSVRC-2012.
_BIT_NETS = {
    "r50x1": 2048,
    "r50x3": 6144,
    "r101x1": 2048,
    "r101x3": 6144,
    "r152x2": 4096,
    "r152x4": 8192,
}
BIT_DIMENSIONS = {f"bit-{family}-{net}": size for family in "ms" for net, size in _BIT_NETS.items()}

_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class ModelListing:
    """One line of `vitrine-indexer models`: a known model, where it is or would come from, and why there."""

    name: str
    dimension: int
    image_size_px: int
    origin: str
    at_hand: bool
    why: str


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
    watched = progress or Silent()
    may_fetch = fetch and not is_offline()
    if name == AUTO:
        return _resolve_auto(image_size, may_fetch, watched)
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.find_source("it was asked for by name", image_size)
    search = _Search(name, image_size)
    for source in search.at_hand():
        return source
    if may_fetch:
        for source in search.fetched(watched):
            return source
    raise search.failure(may_fetch)


def list_models() -> list[ModelListing]:
    """Return every model known by name and where each would come from. Asks no network."""
    return [_list_packaged(), *(_list_bit(name, size) for name, size in BIT_DIMENSIONS.items())]


def load_recorded(recorded: Mapping[str, Any]) -> Model:
    """Load the very network that made a snapshot's vectors.

    recorded: what the manifest says of its model: name, handle, digest, preprocessing.
    Raises ModelMismatch when only other weights are found under that handle, ModelUnavailable when none are.
    """
    handle, digest = str(recorded["handle"]), str(recorded["digest"])
    other: ModelSource | None = None
    for source in _candidates(handle):
        if source.digest == digest:
            return replace(
                source, name=str(recorded["name"]), preprocessing=str(recorded["preprocessing"])
            ).load()
        other = source
    if other is None:  # nothing at hand and nothing to fetch: says what was tried
        other = resolve(handle)
    raise ModelMismatch(
        f"the snapshot's vectors are of {recorded['name']} ({digest}), but {other.path} is {other.digest}; "
        "put the recorded weights back, or build again with these"
    )


def _candidates(handle: str) -> Iterator[ModelSource]:
    """Yield every source at hand of a recorded handle, then what can be fetched."""
    if handle == efficientnet_lite.NAME:
        yield resolve(handle)
        return
    search = _Search(handle, None)
    yield from search.at_hand()
    if not is_offline():
        yield from search.fetched(Silent())


class _Search:
    """The places one model may be in, and why each did not do."""

    def __init__(self, name: str, image_size: int | None) -> None:
        self._name = name
        self._image_size = image_size
        self._failures: list[str] = []
        self._origins: list[Origin] = []
        self._places: Callable[[], Iterable[Path]]
        if name in BIT_DIMENSIONS:
            self._origins = bit_origins(name)
            self._places = lambda: kept_weights(name)
        elif _URL.match(name):
            self._origins = [tfhub_origin(name)]
            self._places = lambda: filter(None, (origin.find() for origin in self._origins))
        else:
            path = Path(name).expanduser().absolute()
            self._places = lambda: [path] if name and path.exists() else []

    @property
    def _is_path(self) -> bool:
        return not self._origins

    def at_hand(self) -> Iterator[ModelSource]:
        """Yield what lies on this machine, the fastest form first."""
        found = False
        for path in self._places():
            found = True
            yield from self._described(path, f"at hand in {path}")
        if not found:
            self._failures.append(self._nothing_there())

    def fetched(self, progress: Progress) -> Iterator[ModelSource]:
        """Yield what each origin gives, in order, fetching it only when it is asked for."""
        for origin in self._origins:
            progress.note(f"{self._name}: asking {origin.label}")
            try:
                path = origin.fetch(progress)
            except DownloadFailed as error:
                self._failures.append(f"{origin.label} {origin.url}: {error}")
                continue
            yield from self._described(path, f"fetched from {origin.label} into {path}")

    def failure(self, may_fetch: bool) -> ModelUnavailable:
        """Return the error that ends the search, with every attempt and what to do."""
        if self._is_path:
            return ModelUnavailable("; ".join(self._failures))
        if not may_fetch:
            self._failures.append("the network was not asked (VITRINE_OFFLINE)")
        file = self._origins[-1].home.name
        by_hand = f", or put {file} into {models_folder()}" if file.endswith(".npz") else ""
        return ModelUnavailable(
            f"{self._name} cannot be had. Tried: {'; '.join(self._failures)}. What to do: run "
            f"`vitrine-indexer models fetch {self._name}` where there is a network{by_hand}, or use "
            f"--model {efficientnet_lite.NAME}, which needs no download"
        )

    def _described(self, path: Path, why: str) -> Iterator[ModelSource]:
        """Yield the source of a path, or note why it is none."""
        named = (path.stem if path.is_file() else path.name) if self._is_path else self._name
        handle = str(path) if self._is_path else self._name
        try:
            if path.is_dir():
                yield _describe_folder(path, named, handle, why, self._image_size)
            else:
                yield bit.describe_file(path, named, handle, why, self._image_size)
        except (ModelUnavailable, OSError) as error:
            self._failures.append(str(error))

    def _nothing_there(self) -> str:
        if not self._is_path:
            return f"{models_folder()}: not there"
        known = ", ".join([AUTO, efficientnet_lite.NAME, *BIT_DIMENSIONS])
        return (
            f"{self._name!r} is no known model ({known}), no TF Hub handle (https://…), and there is no such "
            f"SavedModel folder or weight file ({', '.join(WEIGHT_SUFFIXES)})"
        )


def _describe_folder(folder: Path, name: str, handle: str, why: str, image_size: int | None) -> ModelSource:
    if not is_saved_model(folder):
        raise ModelUnavailable(f"{folder} is a folder without saved_model.pb: not a SavedModel")
    spec = saved_model_spec(image_size)
    return ModelSource(name, handle, "saved_model", folder, digest_weights(folder), spec, None, why)


def _resolve_auto(image_size: int | None, may_fetch: bool, progress: Progress) -> ModelSource:
    """Return BiT where it is at hand or can be fetched, else the packaged network."""
    try:
        source = resolve(DEFAULT, image_size=image_size, fetch=may_fetch, progress=progress)
    except ModelUnavailable:
        asked = "nor to be fetched" if may_fetch else "and the network was not asked (VITRINE_OFFLINE)"
        why = (
            f"chosen by auto: it is packaged, and {DEFAULT} is neither at hand {asked} "
            f"(`vitrine-indexer models fetch {DEFAULT}` says what was tried)"
        )
        return efficientnet_lite.find_source(why, image_size)
    return replace(source, why=f"chosen by auto: {source.why}")


def _list_packaged() -> ModelListing:
    lite = efficientnet_lite
    try:
        source = lite.find_source("")
    except ModelUnavailable as error:
        return ModelListing(lite.NAME, lite.DIMENSION, lite.IMAGE_SIZE_PX, lite.PACKAGE, False, str(error))
    return ModelListing(
        lite.NAME, lite.DIMENSION, lite.IMAGE_SIZE_PX, str(source.path), True, "packaged, ImageNet-1k"
    )


def _list_bit(name: str, dimension: int) -> ModelListing:
    trained = "ImageNet-21k" if name.startswith("bit-m-") else "ImageNet-1k"
    for path in kept_weights(name):
        return ModelListing(name, dimension, IMAGE_SIZE_PX, str(path), True, f"at hand, {trained}")
    urls = ", ".join(f"{origin.label} {origin.url}" for origin in bit_origins(name))
    return ModelListing(name, dimension, IMAGE_SIZE_PX, urls, False, f"not fetched yet, {trained}")
