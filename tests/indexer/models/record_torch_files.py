"""Write small weight files with PyTorch itself, for `test_tensors.py`.

Run it in an environment with torch and safetensors, which the tests do not need:
    python -m tests.indexer.models.record_torch_files
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent


def expected() -> dict[str, NDArray[Any]]:
    """Return the arrays that each file holds."""
    grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7
    return {
        "plain": grid,
        "half": (grid * 2).astype(np.float16),
        "double": grid.astype(np.float64) / 3,
        "turned": np.ascontiguousarray(grid.transpose(2, 0, 1)),
        "part": grid[1, 1:].copy(),
        "counter": np.array(41, dtype=np.int64),
        "flags": np.array([True, False, True]),
        "bytes": np.array([1, 2, 250], dtype=np.uint8),
        "none": np.zeros((0, 3), np.float32),
    }


def main() -> None:
    import torch
    from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]

    arrays = expected()
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    # As in state dicts: a parameter, a non-contiguous view, and a part of a shared storage.
    state["plain"] = torch.nn.Parameter(state["plain"])
    grid = torch.from_numpy(arrays["plain"].copy())
    state["turned"], state["part"] = grid.permute(2, 0, 1), grid[1, 1:]
    torch.save(state, FOLDER / "torch_zip.pth")
    torch.save({"epoch": 3, "state_dict": state}, FOLDER / "torch_checkpoint.pth")
    torch.save(state, FOLDER / "torch_legacy.pth", _use_new_zipfile_serialization=False)
    packed = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    save_file(packed | {"brain": packed["plain"].bfloat16()}, FOLDER / "torch.safetensors")


if __name__ == "__main__":
    main()
