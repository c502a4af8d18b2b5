"""Whether two pictures are one, cut or scaled a little differently: they are laid over each other.

The image alignment of Lucas and Kanade (1981), by scale and shift of each axis with gain and bias of the
light, for many pairs at once. Shape letters: P pairs, T side of the small copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from vitrine.indexer.arrays import FloatArray

STEPS = 12
SMOOTHED_PX = 0.7
# A copy may lack up to so much of each side, in halves of the picture.
_FURTHEST = 0.25
_STEP_MAX = 0.1
_DAMPING = 1.6e-7
_BATCH = 1024
_BLOCK_PX = 4
_FAINT = 4.0


def compare_aligned(first: Any, second: Any) -> tuple[FloatArray, FloatArray]:
    """Return (P,) correlations of light and (P,) how far the worst block of colours is apart, best aligned.

    first, second: (P, T, T, 3) uint8. Apart: 1 is a difference as great as the slope of the light there plus
    _FAINT of 255, so that flat parts must agree in colour and edges may slip. Of both ways round, the better
    one counts.
    """
    parts = [
        _better(_one_way(first[at : at + _BATCH], second[at : at + _BATCH]),
                _one_way(second[at : at + _BATCH], first[at : at + _BATCH]))
        for at in range(0, len(first), _BATCH)
    ]  # fmt: skip
    if not parts:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    return np.concatenate([each[0] for each in parts]), np.concatenate([each[1] for each in parts])


def _better(
    one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    first = one[0] >= other[0]
    return np.where(first, one[0], other[0]), np.where(first, one[1], other[1])


def _one_way(moved: Any, still: Any) -> tuple[FloatArray, FloatArray]:
    """Return correlation and distance with `moved` laid over `still`, the best on the way there."""
    colours, target = np.asarray(moved, np.float32), np.asarray(still, np.float32)
    light = gaussian_filter(colours.mean(axis=-1), (0, SMOOTHED_PX, SMOOTHED_PX))
    aim = gaussian_filter(target.mean(axis=-1), (0, SMOOTHED_PX, SMOOTHED_PX))
    pairs = len(light)
    placing = np.zeros((pairs, 4), np.float32)
    best, where = np.full(pairs, -1.0, np.float32), placing.copy()
    for _ in range(STEPS):
        warped, inside = _warp(light[..., None], placing)
        warped = warped[..., 0]
        likeness = _correlation(warped, aim, inside)
        better = likeness > best
        best, where = np.where(better, likeness, best), np.where(better[:, None], placing, where)
        step = _descend(warped, aim, inside)
        placing = np.clip(placing + np.clip(step, -_STEP_MAX, _STEP_MAX), -_FURTHEST, _FURTHEST)
    warped, inside = _warp(_smoothed(colours), where)
    apart = np.abs(warped - _smoothed(target)).max(axis=-1) * inside
    return best, _blocks(apart / (_FAINT + _slopes(aim))).max(axis=(1, 2))


def _smoothed(colours: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(colours, (0, SMOOTHED_PX, SMOOTHED_PX, 0)), np.float32)


def _slopes(light: FloatArray) -> FloatArray:
    """Return (P, T, T): how steep the light is around a pixel, which is what a slip of one pixel costs."""
    down, right = np.gradient(light, axis=(1, 2))
    return np.asarray(maximum_filter(np.hypot(down, right), (1, 3, 3)), np.float32)


def _blocks(values: FloatArray) -> FloatArray:
    """Return (P, T / B, T / B), means of blocks of B x B pixels."""
    pairs, side = values.shape[:2]
    count = side // _BLOCK_PX
    return np.asarray(values.reshape(pairs, count, _BLOCK_PX, count, _BLOCK_PX).mean(axis=(2, 4)))


def _descend(warped: FloatArray, aim: FloatArray, inside: FloatArray) -> FloatArray:
    """Return (P, 4), one step of Gauss and Newton."""
    side = warped.shape[1]
    grid = _grid(side)
    down, right = np.gradient(warped, axis=(1, 2))
    slopes = [right * grid[1], right, down * grid[0], down]
    half = (side - 1) / 2
    columns = [slope * half for slope in slopes] + [np.ones_like(warped), warped]
    jacobian = np.stack(columns, -1).reshape(len(warped), -1, 6) * inside.reshape(len(warped), -1, 1)
    residual = ((aim - warped) * inside).reshape(len(warped), -1, 1)
    normal = np.swapaxes(jacobian, 1, 2) @ jacobian
    damping = _DAMPING * np.einsum("pii->p", normal)[:, None, None] + 1e-6
    solved = np.linalg.solve(
        normal + damping * np.eye(6, dtype=np.float32), np.swapaxes(jacobian, 1, 2) @ residual
    )
    return np.asarray(solved[:, :4, 0], np.float32)


def _grid(side: int) -> tuple[FloatArray, FloatArray]:
    """Return rows and columns of the pixels in -1..1, (T, 1) and (1, T)."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    return axis[:, None], axis[None, :]


def _warp(pictures: FloatArray, placing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (P, T, T, channels), looked up between pixels, and (P, T, T), 1 where that lies inside."""
    side = pictures.shape[1]
    rows, columns = _grid(side)
    half = (side - 1) / 2
    across = (columns * (1 + placing[:, 0, None, None]) + placing[:, 1, None, None]) * half + half
    along = (rows * (1 + placing[:, 2, None, None]) + placing[:, 3, None, None]) * half + half
    across, along = np.broadcast_arrays(across, along)
    inside = (across >= 0) & (across <= side - 1) & (along >= 0) & (along <= side - 1)
    left = np.clip(np.floor(across), 0, side - 2).astype(np.int64)
    top = np.clip(np.floor(along), 0, side - 2).astype(np.int64)
    right_share = np.clip(across - left, 0, 1)[..., None]
    low_share = np.clip(along - top, 0, 1)[..., None]
    pair = np.arange(len(pictures))[:, None, None]
    upper = pictures[pair, top, left] * (1 - right_share) + pictures[pair, top, left + 1] * right_share
    lower = (
        pictures[pair, top + 1, left] * (1 - right_share) + pictures[pair, top + 1, left + 1] * right_share
    )
    return np.asarray(upper * (1 - low_share) + lower * low_share, np.float32), inside.astype(np.float32)


def _correlation(first: FloatArray, second: FloatArray, inside: FloatArray) -> FloatArray:
    count = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
    one = (first - (first * inside).sum(axis=(1, 2), keepdims=True) / count) * inside
    two = (second - (second * inside).sum(axis=(1, 2), keepdims=True) / count) * inside
    product = (one * two).sum(axis=(1, 2))
    return np.asarray(
        product / np.sqrt((one * one).sum(axis=(1, 2)) * (two * two).sum(axis=(1, 2)) + 1e-6), np.float32
    )
