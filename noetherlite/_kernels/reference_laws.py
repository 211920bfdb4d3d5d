"""The forms behind every conserved quantity in plain NumPy, for the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import layout

A = NDArray[Any]
_NONE = np.zeros(0)


def pair(laws: layout.Laws, a: A, b: A) -> A:
    """Return B(a, b) of every law, shape (K,), in double precision for a and b of any precision."""
    a, b, parts = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False), [_NONE]
    for kind, degree, (n, W, m, bias, beta, U, q, *_) in _rows(laws):
        if kind == layout.AFFINE:
            parts.append(((laws.G[n] @ a) @ b).reshape(1))
            continue
        if kind == layout.TRANSLATION:
            parts.append(np.zeros(n))
            continue
        if kind == layout.ROTATION:
            wa, wb = a[W : W + m * n].reshape(m, n), b[W : W + m * n].reshape(m, n)
            parts.append((wa.T @ wb - wb.T @ wa).ravel())
            continue
        wa, wb = a[W : W + n * m].reshape(n, m), b[W : W + n * m].reshape(n, m)
        ua, ub = a[U : U + q * n].reshape(q, n), b[U : U + q * n].reshape(q, n)
        form = wb @ wa.T - (degree if kind == layout.SCALING else 1) * (ua.T @ ub)
        if bias >= 0:
            form += b[bias : bias + n, None] * a[bias : bias + n]
        if beta >= 0:
            form -= b[beta : beta + n, None] * a[beta : beta + n]
        parts.append(form.diagonal() if kind == layout.SCALING else form.ravel())
    return np.concatenate(parts)


def _rows(laws: layout.Laws) -> Iterator[tuple[int, float, list[int]]]:
    """Return kind, degree and places of every law in numbers of Python, which take a fraction of the time of NumPy's."""
    return zip(laws.kind.tolist(), laws.degree.tolist(), laws.where.tolist(), strict=True)


def translation(laws: layout.Laws, b: A) -> A:
    """Return T(b) of every law, shape (K,)."""
    b, out = b.astype(np.float64, copy=False), np.zeros(laws.start[-1])
    for start, (kind, _, (n, W, m, *_)) in zip(laws.start.tolist(), _rows(laws), strict=False):
        if kind == layout.TRANSLATION:
            out[start : start + n] = b[W : W + m * n].reshape(m, n).sum(axis=0)
        elif kind == layout.AFFINE:
            out[start] = laws.xi[n] @ b
    return out


def projected(laws: layout.Laws, x: A, levels: A, shares: A) -> A:
    """Return x with the neurons of all scaling laws scaled to their charges, layer after layer until all have them.

    With `shares` (P,) of the rate, which may be empty, the charges are those of the metric.
    """
    x = x.copy()
    for _ in range(64):
        largest = 0.0
        for l in np.flatnonzero(laws.kind == layout.SCALING):
            n, W, m, bias, beta, U, q = (int(i) for i in laws.where[l, :7])
            p, of_law = float(laws.degree[l]), slice(laws.start[l], laws.start[l + 1])
            blocks = [(W, x[W : W + n * m].reshape(n, m).T, 1.0), (U, x[U : U + q * n].reshape(q, n), -p)]
            blocks += [(at, x[at : at + n][None], sign) for at, sign in ((bias, 1.0), (beta, -1.0)) if at >= 0]
            weights = [1 / shares[at] if shares.size else 1.0 for at, _, _ in blocks]
            squares = [
                w * np.square(a.astype(np.float64)).sum(axis=0) for w, (_, a, _) in zip(weights, blocks, strict=True)
            ]
            s = _exponents([(power, S) for S, (_, _, power) in zip(squares, blocks, strict=True)], levels[of_law])
            for _, block, power in blocks:
                block *= np.exp(power * s)
            largest = max(largest, float(np.abs(s).max()))
        if not largest > 2 * np.finfo(x.dtype).eps:
            break
    return x


def _exponents(powers: list[tuple[float, A]], level: A) -> A:
    """Return s (n,) with ½ Σ_c c e^{2cs} S_c = Q for the powers c and sums of squares S_c (n,); 0 where all c have one sign.

    By Newton's method for y = e^{2s}: the left side is increasing and concave in y, so that it converges from any y with too small a Q.
    """
    c, S = (np.array(column) for column in zip(*powers, strict=True))
    c = c[:, None]
    reached = ((c > 0) & (S > 0)).any(axis=0) & ((c < 0) & (S > 0)).any(axis=0)
    y = np.ones(level.shape)
    for _ in range(50):
        terms = c * S * y**c
        missing, slope = 2 * level - terms.sum(axis=0), (c * terms).sum(axis=0) / y
        step = np.where(reached, missing / np.where(reached, slope, 1.0), 0.0)
        y = np.maximum(y + step, 0.1 * y)
        if np.all(np.abs(step) <= 1e-9 * y):
            break
    return np.asarray(0.5 * np.log(y))


def quantity_rate(laws: layout.Laws, J: A) -> A:
    """Return Q̇ of every law with a quantity: J, and ½(J + Jᵀ) for linear layers, whose Q is a symmetric matrix."""
    out = J.copy()
    for l, kind in enumerate(laws.kind):
        if kind == layout.LINEAR_LAYER:
            part, n = slice(laws.start[l], laws.start[l + 1]), int(laws.where[l, 0])
            out[part] = 0.5 * (J[part] + J[part].reshape(n, n).T.ravel())
    return out


def generators(laws: layout.Laws, x: A) -> A:
    """Return |g_c| = Σ_i |g_c(x)_i| of every component c, before cancellation within an entry, shape (K,)."""
    x, parts = np.abs(x).astype(np.float64, copy=False), [_NONE]
    for kind, degree, (n, W, m, bias, beta, U, q, *_) in _rows(laws):
        if kind == layout.AFFINE:
            parts.append((np.abs(laws.G[n]) @ x + np.abs(laws.xi[n])).sum().reshape(1))
        elif kind == layout.TRANSLATION:
            parts.append(np.full(n, float(m)))
        elif kind == layout.ROTATION:
            column = x[W : W + m * n].reshape(m, n).sum(axis=0)
            parts.append(((column[:, None] + column) * (1 - np.eye(n))).ravel())
        else:
            incoming, outgoing = x[W : W + n * m].reshape(n, m).sum(axis=1), x[U : U + q * n].reshape(q, n).sum(axis=0)
            if bias >= 0:
                incoming = incoming + x[bias : bias + n]
            if beta >= 0:
                incoming = incoming + x[beta : beta + n]
            scaling = kind == layout.SCALING
            parts.append(incoming + degree * outgoing if scaling else (outgoing[:, None] + incoming).ravel())
    return np.concatenate(parts)
