"""Record the features of timm's ResNetV2 for the pictures and weights of `random_bit`, for `test_bit.py`.

Run it in an environment with torch and timm, which the tests do not need:
    python -m tests.indexer.models.record_bit_golden
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.indexer.models.random_bit import R50, TINY, Arrays, pictures, random_arrays, timm_state

GOLDEN = Path(__file__).with_name("bit_golden.npz")
# name → (units, channels of the root, picture sizes)
CASES: dict[str, tuple[tuple[int, ...], int, list[tuple[int, int]]]] = {
    "tiny": (TINY, 32, [(64, 64), (65, 49)]),
    "r50x1": (R50, 64, [(224, 224), (161, 193)]),
}


def timm_features(arrays: Arrays, units: tuple[int, ...], base: int, images: NDArray[np.uint8]) -> Any:
    """Return the (B, D) features of timm in float32, not normalised."""
    from functools import partial

    import torch
    from timm.layers import GroupNormAct, StdConv2d
    from timm.models.resnetv2 import ResNetV2

    if (units, base) == (R50, 64):
        import timm

        net: Any = timm.create_model("resnetv2_50x1_bit", num_classes=0)
    else:
        net = ResNetV2(
            layers=units,
            channels=tuple(4 * base << block for block in range(4)),
            num_classes=0,
            stem_chs=base,
            stem_type="fixed",
            conv_layer=partial(StdConv2d, eps=1e-8),
            norm_layer=partial(GroupNormAct, num_groups=32),
        )
    state = {name: torch.from_numpy(array.copy()) for name, array in timm_state(arrays).items()}
    net.load_state_dict(state)
    net.eval()
    batch = torch.from_numpy(images.astype(np.float32) / 255 * 2 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        return net(batch).numpy()


def main() -> None:
    recorded: dict[str, NDArray[np.float32]] = {}
    for name, (units, base, sizes) in CASES.items():
        arrays = random_arrays(units, base=base)
        for height, width in sizes:
            features = timm_features(arrays, units, base, pictures(height, width))
            recorded[f"{name}/{height}x{width}"] = features
            sys.stdout.write(f"{name} {height}x{width}: {features.shape}\n")
    np.savez_compressed(GOLDEN, allow_pickle=False, **recorded)


if __name__ == "__main__":
    main()
