"""What a model is to the rest of Vitrine: a source that can be recorded, and a network that embeds.

Imports TensorFlow only in `ModelSource.load`.
Shapes: B pictures, H W pixels, D dimension.
"""

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.pictures.preprocessing import Preprocessing

if TYPE_CHECKING:
    from vitrine.indexer.models.runtime import FrozenNet, Threads

Kind = Literal["efficientnet_lite", "bit", "saved_model"]


@dataclass(frozen=True)
class ModelSource:
    """Weights at hand, and everything a manifest records to find the very same network again.

    name: what people call it. handle: what `resolve` takes to find it again (a name, URL or path).
    digest: 'sha256:…' of the weights. preprocessing: the spec string that pictures go through.
    dimension: D, or None where only loading the network tells. why: how the choice was made.
    """

    name: str
    handle: str
    kind: Kind
    path: Path
    digest: str
    preprocessing: str
    dimension: int | None
    why: str

    @property
    def key(self) -> str:
        """What the embedding cache tells models apart by."""
        return f"{self.name}|{self.digest}|{self.preprocessing}"

    @property
    def size_px(self) -> tuple[int, int]:
        """(H, W) of the pictures the network is fed."""
        spec = Preprocessing.parse(self.preprocessing)
        return spec.height, spec.width

    @property
    def value_range(self) -> tuple[float, float]:
        """What black and white are to the network."""
        return Preprocessing.parse(self.preprocessing).value_range

    def load(self, *, threads: "Threads | None" = None) -> "Model":
        """Start TensorFlow and return the network, ready to embed. Takes seconds.

        Raises ModelUnavailable when the weights do not make this network.
        """
        loader = importlib.import_module(f"vitrine.indexer.models.{self.kind}")
        net: FrozenNet = loader.load_net(self, threads)
        return Model(self, net)


class Model:
    """A loaded network. Thread-safe."""

    def __init__(self, source: ModelSource, net: "FrozenNet") -> None:
        from vitrine.indexer.models.runtime import find_device

        self.source = source
        self.name = source.name
        self.dimension = net.dimension
        self.device = find_device()
        self._net = net

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the (B, D) float32 unit vectors of (B, H, W, 3) uint8 pictures.

        Raises ValueError when the pictures are not of the size the source says.
        """
        expected = (*self.source.size_px, 3)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (B, {expected})")
        if not len(pixels):
            return np.empty((0, self.dimension), np.float32)
        return self._net.embed(pixels)

    def close(self) -> None:
        """Give the network's memory and threads back."""
        self._net.close()


def preprocessing_spec(size_px: int, value_range: tuple[float, float]) -> str:
    """Return the spec of pictures squashed to a square, as the notebook did.

    Raises InputError for a size no picture can have.
    """
    low, high = value_range
    return str(Preprocessing.parse(f"decode|resize({size_px},{size_px})|value_range({low!r},{high!r})"))


def digest_weights(path: Path) -> str:
    """Return 'sha256:…' of a weight file, or of what a SavedModel folder computes with.

    Of a folder only saved_model.pb, variables/ and assets/ count: fingerprints and descriptors
    differ between two downloads of one model.
    """
    if path.is_file():
        return f"sha256:{_digest_file(path)}"
    parts = [path / "saved_model.pb", *(path / "variables").rglob("*"), *(path / "assets").rglob("*")]
    whole = hashlib.sha256()
    for part in sorted(part for part in parts if part.is_file()):
        whole.update(f"{part.relative_to(path).as_posix()} {_digest_file(part)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
