"""Drawing of the stand-in characters of `datasets.glyphs`: random pen strokes, rendered with NumPy alone."""

from __future__ import annotations

import numpy as np

from .._base.types import Float64Array, IntArray

SIZE = 28

# Each character is a tuple of pen strokes, each stroke a cubic Bézier curve given by four control points (x, y) in
# the square [-1, 1]², y pointing down. The characters share their parts on purpose (bars, hooks, bowls): no single
# pixel tells them apart.
_CHARACTERS = (
    # a bar crossed by a stroke that sweeps to the lower left
    (((-0.8, -0.3), (-0.3, -0.3), (0.3, -0.4), (0.8, -0.4)), ((0.1, -0.9), (0.1, -0.1), (0.0, 0.5), (-0.7, 0.9))),
    # two bowed bars, one above the other
    (((-0.6, -0.6), (-0.2, -0.8), (0.3, -0.7), (0.6, -0.5)), ((-0.7, 0.4), (-0.3, 0.8), (0.3, 0.8), (0.8, 0.5))),
    # a chevron open to the right
    (((0.4, -0.9), (0.1, -0.5), (-0.3, -0.3), (-0.5, 0.0)), ((-0.5, 0.0), (-0.2, 0.2), (0.2, 0.5), (0.5, 0.9))),
    # a bowl open to the left
    (((-0.8, -0.3), (0.2, -0.9), (1.1, -0.3), (0.6, 0.2)), ((0.6, 0.2), (0.4, 0.5), (0.1, 0.6), (-0.4, 0.7))),
    # a short upright with a hook, and a long one that bends to the left
    (((-0.5, -0.7), (-0.6, -0.3), (-0.6, 0.2), (-0.3, 0.1)), ((0.5, -0.9), (0.6, -0.1), (0.6, 0.6), (-0.1, 0.9))),
    # a loop closed over a diagonal
    (
        ((0.1, -0.6), (0.1, -0.1), (-0.3, 0.6), (-0.6, 0.5)),
        ((-0.6, 0.5), (-1.1, 0.1), (-0.4, -0.8), (0.2, -0.7)),
        ((0.2, -0.7), (1.1, -0.6), (1.0, 0.6), (0.2, 0.7)),
    ),
    # an upright that turns into a foot, with a bar across its middle
    (((-0.5, -0.9), (-0.5, 0.1), (-0.6, 0.9), (0.8, 0.7)), ((-0.5, 0.0), (-0.1, 0.0), (0.3, -0.2), (0.7, -0.3))),
    # two crossing diagonals
    (((0.6, -0.8), (0.3, -0.1), (-0.2, 0.5), (-0.8, 0.8)), ((-0.5, -0.4), (-0.1, -0.2), (0.3, 0.3), (0.7, 0.7))),
    # a tick over a bowl open to the left
    (
        ((-0.2, -0.9), (0.0, -0.8), (0.2, -0.8), (0.3, -0.7)),
        ((-0.6, -0.2), (0.2, -0.7), (0.9, -0.2), (0.5, 0.3)),
        ((0.5, 0.3), (0.3, 0.6), (0.0, 0.8), (-0.3, 0.9)),
    ),
    # a tick that meets a bowl open to the right
    (((-0.4, -0.9), (-0.4, -0.6), (-0.3, -0.4), (-0.1, -0.1)), ((0.6, -0.4), (-1.2, 0.2), (-0.8, 0.9), (0.7, 0.7))),
)
N_CLASSES = len(_CHARACTERS)

_MOST_STROKES = max(len(strokes) for strokes in _CHARACTERS)
_SEGMENTS = 7  # straight pieces per stroke: the largest gap to the curve is a fraction of a pixel
_BLOCK = 64  # images drawn at once: few enough to stay in the processor's cache

_STROKE_SHIFT = 0.07  # standard deviations, in units of half the square
_POINT_SHIFT = 0.06
_ROTATION = np.radians(14.0)  # half-widths of uniform distributions
_SHEAR = 0.25
_SHIFT = 2.0  # pixels
_SCALE = (7.0, 10.5)  # pixels per unit
_WIDTH = (0.6, 1.5)  # half the width of the pen, pixels
_INK = (0.7, 1.0)
_CLUTTER_RATE = 0.3
_INVERTED_RATE = 0.2


def draw(labels: IntArray, rng: np.random.Generator) -> Float64Array:
    """Draw one image for each label.

    Parameters
    ----------
    labels : numpy.ndarray of shape (N,)
        Characters, 0 to N_CLASSES - 1.
    rng : numpy.random.Generator
        Source of the deformations.

    Returns
    -------
    numpy.ndarray of shape (N, 784)
        Grey values in [0, 1], row by row.
    """
    n = len(labels)
    curves = _pen_paths(labels, rng)  # (N, strokes, 4, 2), pixels
    width, ink = rng.uniform(*_WIDTH, n), rng.uniform(*_INK, n)
    inverted = rng.random(n) < _INVERTED_RATE

    images = np.empty((n, SIZE, SIZE))
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        distance = _distance_to_curves(curves[block])
        # The pen's edge falls off over one pixel, which is what averaging over the pixel would give.
        coverage = np.clip(width[block, None, None] + 0.5 - distance, 0.0, 1.0)
        images[block] = ink[block, None, None] * coverage
    images[inverted] = 1.0 - images[inverted]
    return images.reshape(n, SIZE * SIZE)


def _pen_paths(labels: IntArray, rng: np.random.Generator) -> Float64Array:
    """Return deformed control points in pixels; absent strokes are NaN."""
    n = len(labels)
    alphabet = np.full((N_CLASSES, _MOST_STROKES, 4, 2), np.nan)
    for k, character in enumerate(_CHARACTERS):
        alphabet[k, : len(character)] = character
    strokes = alphabet[labels]
    strokes += rng.normal(scale=_STROKE_SHIFT, size=(n, _MOST_STROKES, 1, 2))
    strokes += rng.normal(scale=_POINT_SHIFT, size=strokes.shape)

    # Clutter: in some images one more stroke, short and anywhere, that says nothing about the class.
    clutter = rng.uniform(-1.2, 1.2, (n, 1, 1, 2)) + rng.uniform(-0.35, 0.35, (n, 1, 4, 2))
    clutter[rng.random(n) >= _CLUTTER_RATE] = np.nan
    points = np.concatenate([strokes, clutter], axis=1)

    angle, shear = rng.uniform(-_ROTATION, _ROTATION, n), rng.uniform(-_SHEAR, _SHEAR, n)
    scale = rng.uniform(*_SCALE, (n, 2))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.array([[scale[:, 0], shear * scale[:, 1]], [np.zeros(n), scale[:, 1]]])
    affine = np.einsum("ijn,jkn->nik", rotation, slant)
    shift = (SIZE - 1) / 2 + rng.uniform(-_SHIFT, _SHIFT, (n, 1, 1, 2))
    return np.asarray(np.einsum("nik,nspk->nspi", affine, points) + shift)


def _distance_to_curves(curves: Float64Array) -> Float64Array:
    """Return the distance (n, 28, 28) of each pixel to the nearest of the curves (n, strokes, 4, 2)."""
    t = np.linspace(0.0, 1.0, _SEGMENTS + 1)
    bernstein = np.array([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    points = np.einsum("pt,nspi->nsti", bernstein, curves)
    starts = points[:, :, :-1].reshape(len(curves), -1, 2)
    steps = np.diff(points, axis=2).reshape(len(curves), -1, 2)

    pixel = np.arange(SIZE, dtype=np.float64)
    nearest = np.full((len(curves), SIZE, SIZE), np.inf)
    for k in range(starts.shape[1]):
        x, y = pixel - starts[:, k, :1], pixel - starts[:, k, 1:]  # (n, 28) each, from the segment's start
        ux, uy = steps[:, k, 0, None, None], steps[:, k, 1, None, None]
        along = (x[:, None, :] * ux + y[:, :, None] * uy) / (ux**2 + uy**2)
        np.clip(along, 0.0, 1.0, out=along)
        squared = (x[:, None, :] - along * ux) ** 2 + (y[:, :, None] - along * uy) ** 2
        np.fmin(nearest, squared, out=nearest)  # fmin passes over the NaN of absent strokes
    return np.asarray(np.sqrt(nearest))
