"""Model source, which a manifest records, and model, the loaded network that embeds pictures.

TensorFlow is imported by `ModelSource.load` only.
Shapes: B pictures, H W pixels, D dimension.
"""

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vitrine.indexer.arrays import FloatArray, Pixels
from vitrine.indexer.pictures.preprocessing import Preprocessing

if TYPE_CHECKING:
    from vitrine.indexer.models.runtime import FrozenNetwork, Threads

# Names of the modules of this package that load a network.
Loader = Literal["efficientnet_lite", "bit", "saved_model"]


@dataclass(frozen=True)
class ModelSource:
    """Weights on this machine, with the data that a manifest records to find the same network again.

    name: for display. handle: argument of `resolve_model` that finds it again: a name, URL or path.
    digest: 'sha256:…' of the weights. preprocessing: spec of the preprocessing of pictures.
    dimension: D, or None if it is unknown until the network is loaded. reason: why these weights were chosen.
    output: the output of a SavedModel that has several; part of name and handle as well.
    """

    name: str
    handle: str
    loader: Loader
    path: Path
    digest: str
    preprocessing: str
    dimension: int | None
    reason: str
    output: str = ""

    @property
    def key(self) -> str:
        """Key of the model in the embedding cache."""
        return f"{self.name}|{self.digest}|{self.preprocessing}"

    @property
    def size_px(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        spec = Preprocessing.parse(self.preprocessing)
        return spec.height, spec.width

    @property
    def value_range(self) -> tuple[float, float]:
        """Values of black and white at the network's input."""
        return Preprocessing.parse(self.preprocessing).value_range

    def load(self, *, threads: "Threads | None" = None) -> "Model":
        """Import TensorFlow and load the network. Takes seconds.

        Raises ModelUnavailable if the weights do not fit the network.
        """
        loader = importlib.import_module(f"vitrine.indexer.models.{self.loader}")
        network: FrozenNetwork = loader.load_network(self, threads)
        return Model(self, network)


class Model:
    """A loaded embedding network. Thread-safe."""

    def __init__(self, source: ModelSource, network: "FrozenNetwork") -> None:
        from vitrine.indexer.models.runtime import find_device

        self.source = source
        self.name = source.name
        self.dimension = network.dimension
        self.pooling = network.pooling
        self.device = find_device()
        self._network = network

    def embed(self, pixels: Pixels) -> FloatArray:
        """Return the (B, D) float32 unit vectors of (B, H, W, 3) uint8 pictures.

        Raises ValueError unless the pictures have the size of the network's input.
        """
        expected = (*self.source.size_px, 3)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (B, {expected})")
        if not len(pixels):
            return np.empty((0, self.dimension), np.float32)
        return self._network.embed(pixels)

    def close(self) -> None:
        """Free the network's memory and threads."""
        self._network.close()


def build_preprocessing(size_px: int, value_range: tuple[float, float]) -> str:
    """Return the preprocessing spec that resizes pictures to a square without keeping their aspect ratio.

    This is the preprocessing of the notebook. Raises InputError if the size is out of range.
    """
    low, high = value_range
    return str(Preprocessing.parse(f"decode|resize({size_px},{size_px})|value_range({low!r},{high!r})"))


def compute_weights_digest(path: Path) -> str:
    """Return 'sha256:…' of a weight file or of a SavedModel folder.

    For a folder, only saved_model.pb, variables/ and assets/ are hashed: fingerprints and descriptors
    differ between two downloads of the same model.
    """
    if path.is_file():
        return f"sha256:{_hash_file(path)}"
    files = [path / "saved_model.pb", *(path / "variables").rglob("*"), *(path / "assets").rglob("*")]
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {_hash_file(file)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
