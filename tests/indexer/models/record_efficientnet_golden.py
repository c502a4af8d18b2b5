"""Record the features of timm's EfficientNet-Lite2 with the packaged weights, for the network's tests.

Run it in an environment with torch and timm, which the tests do not need:
    python -m tests.indexer.models.record_efficientnet_golden
"""

from pathlib import Path
from typing import Any

import numpy as np

from tests.indexer.models.random_bit import pictures
from vitrine.indexer.models import efficientnet_lite

GOLDEN = Path(__file__).with_name("efficientnet_lite2_golden.npz")
SIZES = ((260, 260), (161, 193))
# Number of blocks of each stage, which is the first number in timm's names.
STAGES = (1, 3, 3, 4, 4, 5, 1)


def timm_names() -> dict[str, str]:
    """Return the prefix of each layer in timm, by its prefix in the packaged file."""
    names = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    positions = [(stage, block) for stage, count in enumerate(STAGES) for block in range(count)]
    for number, (stage, block) in enumerate(positions):
        layers = ["_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        timm_layers = ["conv_dw", "bn1", "conv_pw", "bn2"]
        if stage:
            layers = ["_expand_conv", "_bn0", *layers]
            timm_layers = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
        for layer, timm_layer in zip(layers, timm_layers, strict=True):
            names[f"_blocks.{number}.{layer}"] = f"blocks.{stage}.{block}.{timm_layer}"
    return names


def main() -> None:
    import timm
    import torch

    net: Any = timm.create_model("tf_efficientnet_lite2")
    packaged = torch.load(efficientnet_lite.find_weights(), weights_only=True)
    names = timm_names()
    net.load_state_dict(
        {
            f"{names[prefix]}.{leaf}": tensor
            for name, tensor in packaged.items()
            for prefix, _, leaf in [name.rpartition(".")]
        }
    )
    net.reset_classifier(0)
    net.eval()
    low, high = efficientnet_lite.VALUE_RANGE
    recorded = {}
    for height, width in SIZES:
        images = pictures(height, width).astype(np.float32) / 255 * (high - low) + low
        with torch.no_grad():
            recorded[f"{height}x{width}"] = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.savez_compressed(GOLDEN, **recorded)


if __name__ == "__main__":
    main()
