"""Worker process that runs timm's BiT: it writes one line of output for each line of input.

A separate process is needed because PyTorch and TensorFlow crash in one process.

python -m tests.benchmarks.timm_worker WEIGHTS.npz PICTURE...
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.indexer.models.random_bit import timm_state
from vitrine.indexer.pictures.preprocessing import Preprocessing


def main(weights: str, *pictures: str) -> None:
    """Load the network, write "ready", and embed the pictures in channels_last for each line of input."""
    import timm
    import torch

    network: Any = timm.create_model("resnetv2_50x1_bit", num_classes=0)
    with np.load(weights) as arrays:
        network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in timm_state(dict(arrays)).items()})
    network = network.eval().to(memory_format=torch.channels_last)
    spec = Preprocessing.parse("decode|resize(224,224)|value_range(-1,1)")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        pixels = np.stack([spec.to_pixels(Path(picture).read_bytes())[0] for picture in pictures])
        batch = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        with torch.inference_mode():
            network(batch.contiguous(memory_format=torch.channels_last)).numpy()
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
