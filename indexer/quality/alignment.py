"""Image alignment of picture pairs: is one a slightly cropped or scaled copy of the other?

The algorithm of Lucas and Kanade (1981), with scale and shift of each axis and gain and bias of the
lightness, for many pairs at once. Shape letters: P pairs, T side of the thumbnails in pixels.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from vitrine.indexer.arrays import FloatArray, Pixels

STEPS = 12
SMOOTHING_PX = 0.7
# Bounds of the parameters, in halves of the picture: a copy may lack as much of each side.
_PARAMETER_MAX = 0.25
_STEP_MAX = 0.1
_DAMPING = 1.6e-7
_BATCH = 1024
_BLOCK_PX = 4
# Difference of colours, of 255, that counts as 1 where the lightness is flat.
_FLAT_DIFFERENCE = 4.0

Comparison = tuple[FloatArray, FloatArray]


def compare_aligned(first: Pixels, second: Pixels) -> Comparison:
    """Return (P,) correlations of lightness and (P,) greatest block differences of colour, after alignment.

    first, second: (P, T, T, 3) uint8. A block difference of 1 equals the gradient of the lightness there plus
    _FLAT_DIFFERENCE, so that flat areas must agree in colour while edges may be off by a pixel. Each picture
    is aligned with the other; the alignment with the higher correlation counts.
    """
    parts = []
    for start in range(0, len(first), _BATCH):
        one, other = first[start : start + _BATCH], second[start : start + _BATCH]
        parts.append(_better(_align(one, other), _align(other, one)))
    if not parts:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    return (
        np.concatenate([correlations for correlations, _ in parts]),
        np.concatenate([differences for _, differences in parts]),
    )


def _better(one: Comparison, other: Comparison) -> Comparison:
    """Return, for each pair, the comparison with the higher correlation."""
    is_first = one[0] >= other[0]
    return np.where(is_first, one[0], other[0]), np.where(is_first, one[1], other[1])


def _align(moving: Pixels, fixed: Pixels) -> Comparison:
    """Align `moving` with `fixed`; return correlations and differences of the best step."""
    moving_colours, fixed_colours = np.asarray(moving, np.float32), np.asarray(fixed, np.float32)
    lightness, target = _smooth_lightness(moving_colours), _smooth_lightness(fixed_colours)
    parameters = np.zeros((len(lightness), 4), np.float32)
    best_correlations = np.full(len(lightness), -1.0, np.float32)
    best_parameters = parameters.copy()
    for _ in range(STEPS):
        warped, inside = _warp(lightness[..., None], parameters)
        warped = warped[..., 0]
        correlations = _correlations(warped, target, inside)
        is_better = correlations > best_correlations
        best_correlations = np.where(is_better, correlations, best_correlations)
        best_parameters = np.where(is_better[:, None], parameters, best_parameters)
        step = np.clip(_gauss_newton_step(warped, target, inside), -_STEP_MAX, _STEP_MAX)
        parameters = np.clip(parameters + step, -_PARAMETER_MAX, _PARAMETER_MAX)
    warped, inside = _warp(_smooth_colours(moving_colours), best_parameters)
    differences = np.abs(warped - _smooth_colours(fixed_colours)).max(axis=-1) * inside
    relative = differences / (_FLAT_DIFFERENCE + _max_gradients(target))
    return best_correlations, _block_means(relative).max(axis=(1, 2))


def _smooth_lightness(colours: FloatArray) -> FloatArray:
    """Return (P, T, T) of (P, T, T, 3)."""
    return np.asarray(gaussian_filter(colours.mean(axis=-1), (0, SMOOTHING_PX, SMOOTHING_PX)), np.float32)


def _smooth_colours(colours: FloatArray) -> FloatArray:
    return np.asarray(gaussian_filter(colours, (0, SMOOTHING_PX, SMOOTHING_PX, 0)), np.float32)


def _max_gradients(lightness: FloatArray) -> FloatArray:
    """Return (P, T, T) greatest gradients in 3 x 3 pixels: the difference made by a shift of one pixel."""
    down, right = np.gradient(lightness, axis=(1, 2))
    return np.asarray(maximum_filter(np.hypot(down, right), (1, 3, 3)), np.float32)


def _block_means(values: FloatArray) -> FloatArray:
    """Return (P, T / B, T / B), the means of blocks of B x B pixels, B = _BLOCK_PX."""
    pairs, side = values.shape[:2]
    count = side // _BLOCK_PX
    return np.asarray(values.reshape(pairs, count, _BLOCK_PX, count, _BLOCK_PX).mean(axis=(2, 4)))


def _gauss_newton_step(warped: FloatArray, target: FloatArray, inside: FloatArray) -> FloatArray:
    """Return (P, 4), one damped Gauss-Newton step of the warp parameters."""
    side = warped.shape[1]
    rows, columns = _grid(side)
    down, right = np.gradient(warped, axis=(1, 2))
    half = (side - 1) / 2
    derivatives = [slope * half for slope in (right * columns, right, down * rows, down)]
    derivatives += [np.ones_like(warped), warped]  # bias and gain of the lightness
    jacobian = np.stack(derivatives, -1).reshape(len(warped), -1, 6) * inside.reshape(len(warped), -1, 1)
    residual = ((target - warped) * inside).reshape(len(warped), -1, 1)
    transposed = np.swapaxes(jacobian, 1, 2)
    normal = transposed @ jacobian
    damping = _DAMPING * np.einsum("pii->p", normal)[:, None, None] + 1e-6
    solution = np.linalg.solve(normal + damping * np.eye(6, dtype=np.float32), transposed @ residual)
    return np.asarray(solution[:, :4, 0], np.float32)


def _grid(side: int) -> tuple[FloatArray, FloatArray]:
    """Return pixel coordinates in -1..1: rows (T, 1) and columns (1, T)."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    return axis[:, None], axis[None, :]


def _warp(pictures: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return warped pictures (P, T, T, channels), bilinear, and (P, T, T), 1 for pixels inside the source.

    parameters: (P, 4) scale and shift of the columns, scale and shift of the rows.
    """
    side = pictures.shape[1]
    rows, columns = _grid(side)
    half = (side - 1) / 2
    column_scale, column_shift, row_scale, row_shift = parameters.T[..., None, None]
    x = (columns * (1 + column_scale) + column_shift) * half + half
    y = (rows * (1 + row_scale) + row_shift) * half + half
    x, y = np.broadcast_arrays(x, y)
    inside = (x >= 0) & (x <= side - 1) & (y >= 0) & (y <= side - 1)
    left = np.clip(np.floor(x), 0, side - 2).astype(np.int64)
    top = np.clip(np.floor(y), 0, side - 2).astype(np.int64)
    right_weight = np.clip(x - left, 0, 1)[..., None]
    bottom_weight = np.clip(y - top, 0, 1)[..., None]
    pair = np.arange(len(pictures))[:, None, None]
    upper = pictures[pair, top, left] * (1 - right_weight) + pictures[pair, top, left + 1] * right_weight
    below = top + 1
    lower = pictures[pair, below, left] * (1 - right_weight) + pictures[pair, below, left + 1] * right_weight
    warped = np.asarray(upper * (1 - bottom_weight) + lower * bottom_weight, np.float32)
    return warped, inside.astype(np.float32)


def _correlations(first: FloatArray, second: FloatArray, inside: FloatArray) -> FloatArray:
    """Return (P,) correlations of (P, T, T) over the pixels inside."""
    count = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
    one = (first - (first * inside).sum(axis=(1, 2), keepdims=True) / count) * inside
    two = (second - (second * inside).sum(axis=(1, 2), keepdims=True) / count) * inside
    covariance = (one * two).sum(axis=(1, 2))
    norms = np.sqrt((one * one).sum(axis=(1, 2)) * (two * two).sum(axis=(1, 2)) + 1e-6)
    return np.asarray(covariance / norms, np.float32)
