"""Balanced initial parameters: the function that was drawn, with a wanted charge of every hidden layer (theory §11)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from .._base.types import Array, Float64Array
from .activations import Activation

# Charges are met to this, relative to the squares that they are differences of, for group elements of order one.
ROUND_OFF = 64 * float(np.finfo(np.float64).eps)
_SWEEPS = 10_000
_NEWTON_STEPS = 200


def balance(
    arrays: Mapping[str, Array], activations: Sequence[Activation], value: float, generator: np.random.Generator
) -> None:
    """Give W_h, b_h and β_h, in place, the charge λ/2 of every hidden layer, λ = `value`, at the same function.

    ValueError if no hidden layer has a charge, linear layers are mixed with others or have biases, or no such
    parameters exist.
    """
    linear = [a.is_linear for a in activations]
    if not any(a.degree is not None for a in activations):
        raise ValueError(
            f"balance={value:g} needs hidden layers that are linear or homogeneous, got {[str(a) for a in activations]}"
        )
    if not any(linear):
        _balance_neurons(arrays, activations, value)
        return
    if not all(linear):
        raise ValueError(
            f"balance={value:g} takes linear hidden layers alone or none, got {[str(a) for a in activations]}; "
            "nl.rebalance takes them together"
        )
    if any(arrays[name].any() for name in arrays if name.startswith("b")):
        raise ValueError(f"bias_std must be 0 where balance={value:g} is that of linear layers")
    W = [arrays[f"W{h}"] for h in range(1, len(activations) + 2)]
    widths = [W[0].shape[1], *(len(A) for A in W)]
    order = np.diff(widths[:-1] if value > 0 else widths[1:]) * np.sign(value)
    if (order > 0).any():
        wanted = "n_0 ≥ … ≥ n_{L−1}" if value > 0 else "n_1 ≤ … ≤ n_L"
        raise ValueError(f"balance={value:g} of linear layers needs widths {wanted}, got {widths}")
    if value >= 0:
        balanced = _balanced_matrices(W, value, generator)
    else:  # the same for the transposed network
        balanced = [A.T for A in reversed(_balanced_matrices([A.T for A in reversed(W)], -value, generator))]
    for A, B in zip(W, balanced, strict=True):
        A[:] = B


# --- neurons -------------------------------------------------------------------------------------------------------------


def _balance_neurons(arrays: Mapping[str, Array], activations: Sequence[Activation], value: float) -> None:
    """Scale neurons to ½(|w|² + b² − p|u|² − β²) = λ/2, layer by layer until all layers have it."""
    layers = [(h, a.degree) for h, a in enumerate(activations, start=1) if a.degree is not None]
    for _ in range(_SWEEPS):
        moved = [_balance_layer(arrays, h, p, value) for h, p in layers]
        if max(moved) <= ROUND_OFF:
            return
    raise ValueError(
        f"balance={value:g} is not met after {_SWEEPS} sweeps over the layers; nl.rebalance takes a charge for each"
    )


def _balance_layer(arrays: Mapping[str, Array], h: int, p: float, value: float) -> float:
    """Scale the neurons of a layer, and return the largest error of a charge before, in units of its squares."""
    W, U = arrays[f"W{h}"], arrays[f"W{h + 1}"]
    b, beta = (arrays.get(f"{name}{h}", np.zeros(len(W))) for name in ("b", "beta"))
    A, B, C = (W**2).sum(axis=1) + b**2, (U**2).sum(axis=0), np.asarray(beta**2, np.float64)
    miss = np.abs(A - p * B - C - value) / (A + p * B + C)
    factor = np.exp(scaling_to(A, B, C, p, np.full(len(W), value / 2)))
    W *= factor[:, None]
    U *= factor**-p
    b *= factor
    beta /= factor
    return float(miss.max())


def scaling_to(A: Float64Array, B: Float64Array, C: Float64Array, p: float, target: Float64Array) -> Float64Array:
    """Return log λ per neuron with f(λ²) = 0, f(y) = Ay − pBy^{−p} − C/y − 2Q; A = |w|² + b², B = |u|², C = β², Q the target.

    f is increasing and concave, so that Newton's iterates increase to the root from any y with f(y) ≤ 0. The initial y is
    such a one, of the root's order of magnitude.
    """
    twice = 2 * target
    free = (A == 0) & (B + C == 0)  # all parameters of the neuron are zero
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        below = np.fmax((p * B / A) ** (1 / (p + 1)), np.sqrt(C / A))
        below = np.fmax(below, twice / A)
        depth = -2 * twice
        by_u = np.fmin((p * B / depth) ** (1 / p), (p * B / (2 * A)) ** (1 / (p + 1)))
        by_beta = np.fmin(C / depth, np.sqrt(C / (2 * A)))
        y = np.where(free, 1.0, np.where(twice < 0, np.fmax(by_u, by_beta), below))
        for _ in range(_NEWTON_STEPS):
            pull_u, pull_beta = p * B * y**-p, C / y
            slope = A + (p * pull_u + pull_beta) / y
            step = -(A * y - pull_u - pull_beta - twice) / np.where(free, 1.0, slope)
            y = y + np.where(free, 0.0, step)
            if np.all(np.abs(step) <= 4 * np.finfo(np.float64).eps * y):
                break
    return np.asarray(0.5 * np.log(y), dtype=np.float64)


# --- matrices ------------------------------------------------------------------------------------------------------------


def _balanced_matrices(W: Sequence[Array], value: float, generator: np.random.Generator) -> list[Float64Array]:
    """Return matrices of the same product with W_hW_hᵀ − W_{h+1}ᵀW_{h+1} = λI, λ ≥ 0.

    W_h = Q_h S_h Q_{h−1}ᵀ with Q_0 and Q_L the singular vectors of the product, the other Q_h random orthogonal matrices, and S_h diagonal: a mode that
    goes through all layers has s_h² = s_L² + (L − h)λ, one that ends at the hidden layer e has s_h² = (e − h + 1)λ (Arora et al. 2019 for λ = 0).
    """
    L, widths = len(W), [W[0].shape[1], *(len(A) for A in W)]
    left, sigma, right = np.linalg.svd(functools.reduce(lambda below, A: A @ below, W))
    frames = [right.T, *(orthogonal(generator.standard_normal((n, n))) for n in widths[1:-1]), left]
    through = min(widths)
    last = _last_squares(sigma[:through], value, L)
    out = []
    for h in range(1, L + 1):
        squares = np.zeros(min(widths[h - 1 : h + 1]))
        squares[:through] = last + (L - h) * value
        for i in range(through, len(squares) if h < L else through):
            end = max(k for k in range(1, L) if widths[k] > i)
            squares[i] = (end - h + 1) * value
        n = len(squares)
        out.append((frames[h][:, :n] * np.sqrt(squares)) @ frames[h - 1][:, :n].T)
    return out


def _last_squares(sigma: Float64Array, value: float, L: int) -> Float64Array:
    """Return y with Π_{k<L} (y + kλ) = σ², λ ≥ 0: in log y the logarithm of the left side is convex, and Newton's iterates decrease to the root."""
    shifts, wanted = value * np.arange(L)[:, None], 2 * np.log(sigma)
    log_y = wanted / L
    for _ in range(_NEWTON_STEPS):
        factors = np.exp(log_y) + shifts
        step = (np.log(factors).sum(axis=0) - wanted) / (np.exp(log_y) / factors).sum(axis=0)
        log_y = log_y - step
        if np.all(np.abs(step) <= 4 * np.finfo(np.float64).eps * np.maximum(np.abs(log_y), 1.0)):
            break
    return np.asarray(np.exp(log_y))


def orthogonal(normal: Float64Array) -> Float64Array:
    """Return orthonormal rows or columns, whichever are fewer, uniformly distributed if the entries are normal."""
    tall = normal if normal.shape[0] >= normal.shape[1] else normal.T
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return np.asarray(Q if tall is normal else Q.T)
