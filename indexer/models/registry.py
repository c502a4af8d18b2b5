"""Model registry: resolves the argument of `--model` to weights. Never imports TensorFlow."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitrine.indexer.errors import ModelMismatch, ModelUnavailable
from vitrine.indexer.models import bit, efficientnet_lite
from vitrine.indexer.models.download import DownloadFailed
from vitrine.indexer.models.model import Model, ModelSource, compute_weights_digest
from vitrine.indexer.models.origins import (
    Origin,
    bit_origins,
    is_offline,
    local_weights,
    models_folder,
    tfhub_origin,
)
from vitrine.indexer.models.saved_model import IMAGE_SIZE_PX, is_saved_model, saved_model_spec
from vitrine.indexer.models.tensors import WEIGHT_SUFFIXES
from vitrine.indexer.progress import Progress, SilentProgress

AUTO = "auto"
DEFAULT = "bit-m-r50x1"
# The ResNets of the paper, name → dimension. Family m was trained on ImageNet-21k, s on ILSVRC-2012.
_BIT_NETWORKS = {
    "r50x1": 2048,
    "r50x3": 6144,
    "r101x1": 2048,
    "r101x3": 6144,
    "r152x2": 4096,
    "r152x4": 8192,
}
BIT_DIMENSIONS = {
    f"bit-{family}-{network}": dimension for family in "ms" for network, dimension in _BIT_NETWORKS.items()
}

_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class ModelListing:
    """One line of `vitrine-indexer models`. origin: local path, or URLs to download from. note: details."""

    name: str
    dimension: int
    image_size_px: int
    origin: str
    is_local: bool
    note: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the output of `vitrine-indexer models --json`."""
        return {
            "name": self.name,
            "dimension": self.dimension,
            "image_size_px": self.image_size_px,
            "origin": self.origin,
            "at_hand": self.is_local,
            "why": self.note,
        }


def resolve_model(
    name: str,
    *,
    image_size: int | None = None,
    fetch: bool = True,
    progress: Progress | None = None,
) -> ModelSource:
    """Return the source of a model. Its weights are downloaded unless they are on this machine.

    name: a known name, 'auto', a TF Hub handle, a SavedModel folder, or a weight file.
    image_size: side in pixels of the network's input; None for the default of the model.
    fetch: whether network access is allowed. Raises ModelUnavailable with the reason of every attempt.
    """
    progress = progress or SilentProgress()
    may_fetch = fetch and not is_offline()
    if name == AUTO:
        return _resolve_auto(image_size, may_fetch, progress)
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.find_source("selected by name", image_size)
    search = _Search(name, image_size)
    for source in search.local_sources():
        return source
    if may_fetch:
        for source in search.fetch_sources(progress):
            return source
    raise search.failure(may_fetch)


def list_models() -> list[ModelListing]:
    """Return all models known by name, with their origin. Without network access."""
    return [_list_packaged(), *(_list_bit(name, dimension) for name, dimension in BIT_DIMENSIONS.items())]


def load_recorded_model(recorded: Mapping[str, Any]) -> Model:
    """Load the network that computed the vectors of a snapshot.

    recorded: model of the manifest, with name, handle, digest and preprocessing.
    Raises ModelMismatch if the weights found have another digest, ModelUnavailable if none are found.
    """
    handle, digest = str(recorded["handle"]), str(recorded["digest"])
    mismatch: ModelSource | None = None
    for source in _candidates(handle):
        if source.digest == digest:
            return replace(
                source, name=str(recorded["name"]), preprocessing=str(recorded["preprocessing"])
            ).load()
        mismatch = source
    if mismatch is None:  # raises ModelUnavailable with the reasons, unless weights have appeared since
        mismatch = resolve_model(handle)
    raise ModelMismatch(
        f"the snapshot's vectors are of {recorded['name']} ({digest}), but {mismatch.path} has the digest "
        f"{mismatch.digest}; restore the recorded weights, or build again with the present ones"
    )


def _candidates(handle: str) -> Iterator[ModelSource]:
    """Yield the local sources of a recorded handle, then those that can be downloaded."""
    if handle == efficientnet_lite.NAME:
        yield resolve_model(handle)
        return
    search = _Search(handle, None)
    yield from search.local_sources()
    if not is_offline():
        yield from search.fetch_sources(SilentProgress())


class _Search:
    """A search for the weights of one model. It collects the reason of every failed attempt."""

    def __init__(self, handle: str, image_size: int | None) -> None:
        """handle: a name, URL or path, with `#OUTPUT` behind it for one output of a SavedModel."""
        name, _, self._output = handle.rpartition("#") if _has_output(handle) else (handle, "", "")
        self._name = name
        self._image_size = image_size
        self._failures: list[str] = []
        self._origins: list[Origin] = []
        self._find_paths: Callable[[], Iterable[Path]]
        if name in BIT_DIMENSIONS:
            self._origins = bit_origins(name)
            self._find_paths = lambda: local_weights(name)
        elif _URL.match(name):
            self._origins = [tfhub_origin(name)]
            self._find_paths = lambda: filter(None, (origin.find() for origin in self._origins))
        else:
            path = Path(name).expanduser().absolute()
            self._find_paths = lambda: [path] if name and path.exists() else []

    @property
    def _is_path(self) -> bool:
        return not self._origins

    def local_sources(self) -> Iterator[ModelSource]:
        """Yield the sources on this machine, the fastest form first."""
        is_found = False
        for path in self._find_paths():
            is_found = True
            yield from self._describe(path, f"available in {path}")
        if not is_found:
            self._failures.append(self._not_found_message())

    def fetch_sources(self, progress: Progress) -> Iterator[ModelSource]:
        """Download from each origin in order, when its source is requested, and yield the sources."""
        for origin in self._origins:
            progress.note(f"{self._name}: requesting it from {origin.label}")
            try:
                path = origin.fetch(progress)
            except DownloadFailed as error:
                self._failures.append(f"{origin.label} {origin.url}: {error}")
                continue
            yield from self._describe(path, f"downloaded from {origin.label} to {path}")

    def failure(self, may_fetch: bool) -> ModelUnavailable:
        """Return the error that lists the failed attempts and the possible remedies."""
        if self._is_path:
            return ModelUnavailable("; ".join(self._failures))
        if not may_fetch:
            self._failures.append("network access is disabled (VITRINE_OFFLINE)")
        file = self._origins[-1].path.name
        manual = f", or put {file} into {models_folder()}" if file.endswith(".npz") else ""
        return ModelUnavailable(
            f"{self._name} is not available. Tried: {'; '.join(self._failures)}. To fix this, run "
            f"`vitrine-indexer models fetch {self._name}` with network access{manual}, or use "
            f"--model {efficientnet_lite.NAME}, which needs no download"
        )

    def _describe(self, path: Path, reason: str) -> Iterator[ModelSource]:
        """Yield the model source of a path, or record why it is not usable."""
        name = (path.stem if path.is_file() else path.name) if self._is_path else self._name
        handle = str(path) if self._is_path else self._name
        try:
            if path.is_dir():
                source = _describe_folder(path, name, handle, reason, self._image_size)
                yield _with_output(source, self._output)
            elif self._output:
                raise ModelUnavailable(
                    f"{path}: --model-output is for SavedModels, and this is a weight file"
                )
            else:
                yield bit.describe_file(path, name, handle, reason, self._image_size)
        except (ModelUnavailable, OSError) as error:
            self._failures.append(str(error))

    def _not_found_message(self) -> str:
        if not self._is_path:
            return f"{models_folder()}: no weights in it"
        known_names = ", ".join([AUTO, efficientnet_lite.NAME, *BIT_DIMENSIONS])
        return (
            f"{self._name!r} is not a known model ({known_names}), a TF Hub handle (https://…), or an "
            f"existing SavedModel folder or weight file ({', '.join(WEIGHT_SUFFIXES)})"
        )


def _describe_folder(
    folder: Path, name: str, handle: str, reason: str, image_size: int | None
) -> ModelSource:
    if not is_saved_model(folder):
        raise ModelUnavailable(f"{folder}: no saved_model.pb in it, not a SavedModel")
    digest, spec = compute_weights_digest(folder), saved_model_spec(image_size)
    return ModelSource(name, handle, "saved_model", folder, digest, spec, None, reason)


def _has_output(handle: str) -> bool:
    """Return True if a handle ends with `#OUTPUT`; a path that exists is never split."""
    return "#" in handle and not Path(handle).expanduser().exists()


def _with_output(source: ModelSource, output: str) -> ModelSource:
    if not output:
        return source
    name, handle = f"{source.name}#{output}", f"{source.handle}#{output}"
    return replace(source, name=name, handle=handle, output=output)


def _resolve_auto(image_size: int | None, may_fetch: bool, progress: Progress) -> ModelSource:
    """Return BiT if it is on this machine or can be downloaded, else the packaged network."""
    try:
        source = resolve_model(DEFAULT, image_size=image_size, fetch=may_fetch, progress=progress)
    except ModelUnavailable:
        download = "cannot be downloaded" if may_fetch else "network access is disabled (VITRINE_OFFLINE)"
        reason = (
            f"chosen by auto: it is packaged; {DEFAULT} is not on this machine and {download} "
            f"(for details run `vitrine-indexer models fetch {DEFAULT}`)"
        )
        return efficientnet_lite.find_source(reason, image_size)
    return replace(source, reason=f"chosen by auto: {source.reason}")


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
    dataset = "ImageNet-21k" if name.startswith("bit-m-") else "ImageNet-1k"
    for path in local_weights(name):
        return ModelListing(name, dimension, IMAGE_SIZE_PX, str(path), True, f"available, {dataset}")
    urls = ", ".join(f"{origin.label} {origin.url}" for origin in bit_origins(name))
    return ModelListing(name, dimension, IMAGE_SIZE_PX, urls, False, f"not downloaded yet, {dataset}")
