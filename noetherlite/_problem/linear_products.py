"""Potentials of a product of matrices W_L ⋯ W_1: factorisation, sensing and completion of matrices; deep linear networks."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array
from .analytic import Analytic, least_squares, linear_generator
from .blocks import placed
from .potentials import filled, owned


class LinearProduct(Analytic):
    """U(W_1, …, W_L) = ℓ(W_L ⋯ W_1), with W_h of shape (n_h, n_{h−1}); θ has the W_h one after the other, row by row.

    Every hidden layer has the symmetry GL(n_h): W_h ↦ AW_h, W_{h+1} ↦ W_{h+1}A⁻¹, whose quantity is
    Q = ½(W_hW_hᵀ − W_{h+1}ᵀW_{h+1}).
    """

    def __init__(self, shape: tuple[int, int], hidden: int | Sequence[int]) -> None:
        layers = (
            [hidden] if isinstance(hidden, int | np.integer) else checks.items(hidden, "hidden", "a sequence of widths")
        )
        if len(layers) == 0:
            raise ValueError("hidden must have the width of at least one hidden layer, got none")
        inner = [checks.integer(n, f"hidden[{h}]", minimum=1) for h, n in enumerate(layers)]
        self.widths = (shape[1], *inner, shape[0])
        shapes = [(n, m) for m, n in itertools.pairwise(self.widths)]
        self.blocks = placed({f"W{h}": shape for h, shape in enumerate(shapes, start=1)})  #: W1, …, WL inside θ
        self.n_params = self.blocks[-1].stop

    @abstractmethod
    def _loss(self, product: Array) -> tuple[Any, Array]:
        """Return ℓ and ∂ℓ/∂(W_L ⋯ W_1)."""

    def matrices(self, x: NDArray[Any]) -> list[NDArray[Any]]:
        """Return W_1, …, W_L as views into x of shape (..., P)."""
        return [block.of(x) for block in self.blocks]

    def product(self, x: ArrayLike) -> Float64Array:
        """Return W_L ⋯ W_1 for x of shape (..., P), shape (..., n_L, n_0)."""
        array = checks.vectors(x, "x", self.n_params).astype(np.float64)
        return np.asarray(reduce(lambda below, W: W @ below, self.matrices(array)))

    def evaluate(self, x: Array) -> tuple[Any, Array]:
        W = self.matrices(x)
        below = [np.eye(self.widths[0])]  # W_{h−1} ⋯ W_1
        for matrix in W:
            below.append(matrix @ below[-1])
        value, delta = self._loss(below[-1])
        gradient = np.empty_like(x)
        for h in range(len(W) - 1, -1, -1):  # delta = ∂ℓ/∂(W_h ⋯ W_1)
            self.matrices(gradient)[h][...] = delta @ below[h].T
            delta = W[h].T @ delta
        return value, gradient

    def generators(self) -> dict[str, Float64Array]:
        """Return those of GL(n_h): "linear{h}[i,j]" for its symmetric part, with Q, and "rotation{h}[i,j]" for its skew part."""
        out: dict[str, Float64Array] = {}
        matrices = self.matrices(np.arange(self.n_params))
        for h, (W, U) in enumerate(itertools.pairwise(matrices), start=1):
            n = self.widths[h]
            units = np.zeros((n, n, self.n_params, self.n_params))
            for i, j in np.ndindex(n, n):
                units[i, j, W[i], W[j]] = 1.0  # row i of E_ij W is row j of W
                units[i, j, U[:, j], U[:, i]] = -1.0  # column j of U E_ij is column i of U
            for i, j in itertools.combinations_with_replacement(range(n), 2):
                out[f"linear{h}[{i},{j}]"] = linear_generator(0.5 * (units[i, j] + units[j, i]))
            for i, j in itertools.combinations(range(n), 2):
                out[f"rotation{h}[{i},{j}]"] = linear_generator(units[i, j] - units[j, i])
        return out

    @property
    def rank(self) -> int:
        """The largest rank of the product."""
        return min(self.widths)


class MatrixFactorization(LinearProduct):
    """U = ½‖W_L ⋯ W_1 − Σ‖²: a deep linear network on whitened data (Saxe et al. 2014), for L = 2 a matrix factorisation.

    For inputs with XᵀX/N = I, the loss (1/2N) Σ|f − y|² of a linear network is this U with Σ = YᵀX/N, plus a constant.

    Parameters
    ----------
    target : array_like, shape (n_L, n_0)
        Σ.
    hidden : int or sequence of int
        Widths of the hidden layers; an integer for one layer.

    Notes
    -----
    The minimum is ½ Σ_{i>r} σ_i², with the singular values σ_i of Σ and r the smallest width (Eckart and Young 1936).

    References
    ----------
    .. [1] A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
       networks", ICLR 2014.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.potentials.MatrixFactorization([[2, 0], [0, 1]], hidden=1)
    >>> U.minimum
    0.5
    """

    def __init__(self, target: ArrayLike, hidden: int | Sequence[int]) -> None:
        self.target = filled(target, "target", 2)
        super().__init__((self.target.shape[0], self.target.shape[1]), hidden)

    def _loss(self, product: Array) -> tuple[Any, Array]:
        error = product - self.target
        return 0.5 * (error * error).sum(), error

    @property
    def minimum(self) -> float:
        """½ Σ_{i>r} σ_i²."""
        return 0.5 * float((np.linalg.svd(self.target, compute_uv=False)[self.rank :] ** 2).sum())

    def specification(self) -> dict[str, Any]:
        """Return the kind and the widths."""
        return {"kind": "matrix factorization", "widths": list(self.widths)}


class MatrixSensing(LinearProduct):
    """U = (1/2K) Σ_k (⟨A_k, W_L ⋯ W_1⟩ − y_k)² (Gunasekar et al. 2017).

    Parameters
    ----------
    A : array_like, shape (K, n_L, n_0)
        Measurement matrices.
    y : array_like, shape (K,)
        Measurements.
    hidden : int or sequence of int
        Widths of the hidden layers.

    Notes
    -----
    For a product of full rank the minimum is that of a linear least-squares problem; below it is not known in general, and
    `minimum` is NaN. From a small balanced start gradient flow is conjectured to reach the solution of least nuclear norm [1]_.

    References
    ----------
    .. [1] S. Gunasekar et al., "Implicit Regularization in Matrix Factorization", NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.MatrixSensing(np.eye(4).reshape(4, 2, 2)[:3], [1.0, 2.0, 3.0], hidden=2)
    >>> U.minimum
    0.0
    """

    def __init__(self, A: ArrayLike, y: ArrayLike, hidden: int | Sequence[int]) -> None:
        self.A = filled(A, "A", 3)
        self.y = owned(checks.shaped(y, "y", (len(self.A),)).astype(np.float64), y)
        super().__init__((self.A.shape[1], self.A.shape[2]), hidden)

    def _loss(self, product: Array) -> tuple[Any, Array]:
        error = np.tensordot(self.A, product, axes=2) - self.y
        return (error * error).sum() / (2 * error.size), np.tensordot(error, self.A, axes=1) / error.size

    @property
    def minimum(self) -> float:
        """That of linear least squares for a product of full rank, else NaN."""
        if self.rank < min(self.A.shape[1:]):
            return float("nan")
        return least_squares(self.A.reshape(len(self.A), -1), self.y)

    def specification(self) -> dict[str, Any]:
        """Return the kind, the widths and the number of measurements."""
        return {"kind": "matrix sensing", "widths": list(self.widths), "n_measurements": len(self.y)}


class MatrixCompletion(MatrixSensing):
    """U = (1/2K) Σ_{(i,j) observed} ((W_L ⋯ W_1)_ij − Y_ij)², K the number of observed entries (Arora et al. 2019).

    Parameters
    ----------
    target : array_like, shape (n_L, n_0)
        Y; entries that are not observed are ignored.
    mask : array_like of bool, shape (n_L, n_0)
        Which entries are observed.
    hidden : int or sequence of int
        Widths of the hidden layers.

    Notes
    -----
    For a product of full rank the minimum is 0, and the initial parameters decide which solution is reached: deeper products
    tend to lower ranks [1]_.

    References
    ----------
    .. [1] S. Arora et al., "Implicit Regularization in Deep Matrix Factorization", NeurIPS 2019.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.potentials.MatrixCompletion([[1, 2], [3, 0]], [[True, True], [True, False]], hidden=[2, 2]).minimum
    0.0
    """

    def __init__(self, target: ArrayLike, mask: ArrayLike, hidden: int | Sequence[int]) -> None:
        observed, values = checks.numpy_array(mask, "mask"), checks.numpy_array(target, "target")
        shape = values.shape
        if observed.dtype != bool or observed.shape != shape or observed.ndim != 2 or not observed.any():
            raise ValueError(
                f"mask must be a matrix of bool of the shape {shape} of target, with an entry that is True"
            )
        A = np.zeros((int(observed.sum()), *shape))
        A[np.arange(len(A)), *np.nonzero(observed)] = 1.0
        super().__init__(A, checks.array(values[observed], "target", ndim=1), hidden)
        self.mask = observed.copy()

    def specification(self) -> dict[str, Any]:
        """Return the kind, the widths and the number of observed entries."""
        return super().specification() | {"kind": "matrix completion"}
