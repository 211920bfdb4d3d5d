"""Potentials of the literature on implicit bias and non-convex optimisation, beside products of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array
from .analytic import Analytic, complement, least_squares, linear_generator
from .blocks import placed
from .potentials import filled, owned


class PhaseRetrieval(Analytic):
    """U = (1/4K) Σ_k (|⟨a_k, z⟩|² − y_k)² (Candès, Li and Soltanolkotabi 2015).

    Real a_k are for real z, complex ones for complex z, of which θ has the real parts, then the imaginary parts. Then U has
    the symmetry z ↦ e^{iφ}z, whose charge is the angular momentum Σ_j Im(z̄_j ż_j).

    Parameters
    ----------
    A : array_like, shape (K, d)
        The a_k; ⟨a, z⟩ = Σ_j ā_j z_j.
    y : array_like, shape (K,)
        Intensities, ≥ 0; |⟨a_k, z*⟩|² of a signal z* makes the minimum 0.

    References
    ----------
    .. [1] E. Candès, X. Li and M. Soltanolkotabi, "Phase Retrieval via Wirtinger Flow", IEEE Trans. Inf. Theory 61, 2015.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> A = np.array([[1, 1j], [1, -1], [2, 1j]])
    >>> U = nl.potentials.PhaseRetrieval(A, np.abs(A.conj() @ [1, 1j]) ** 2)
    >>> [s.name for s in nl.symmetries(U)], U.value([1, 0, 0, 1]) < 1e-30
    (['phase', 'time'], True)
    """

    minimum = math.nan  #: not known for arbitrary intensities; 0 for those of a signal

    def __init__(self, A: ArrayLike, y: ArrayLike) -> None:
        vectors = checks.numpy_array(A, "A")
        self.complex = np.iscomplexobj(vectors)
        parts = [
            checks.array(part, "A", ndim=2) for part in ((vectors.real, vectors.imag) if self.complex else (vectors,))
        ]
        if parts[0].size == 0:
            raise ValueError(f"A must not be empty, got shape {parts[0].shape}")
        real, imaginary = parts if self.complex else (parts[0], np.zeros_like(parts[0]))
        # Re⟨a, z⟩ and Im⟨a, z⟩ as linear functions of (Re z, Im z)
        self._rows = np.array([np.hstack([real, imaginary]), np.hstack([-imaginary, real])], np.float64)
        if not self.complex:
            self._rows = np.array([real], np.float64)
        self.y = owned(checks.shaped(y, "y", (len(real),)).astype(np.float64), y)
        if (self.y < 0).any():
            raise ValueError(f"y must hold intensities >= 0, got {self.y.min():g}")
        self.n_params = self._rows.shape[2]

    def evaluate(self, x: Array) -> tuple[Any, Array]:
        parts = self._rows @ x
        error = (parts * parts).sum(axis=0) - self.y
        gradient = np.einsum("k,pk,pkj->j", error, parts, self._rows) / error.size
        return (error * error).sum() / (4 * error.size), gradient

    def generators(self) -> dict[str, Float64Array]:
        """Return that of the phase for complex z, "phase"."""
        if not self.complex:
            return {}
        d = self.n_params // 2
        zero, one = np.zeros((d, d)), np.eye(d)
        return {"phase": linear_generator(np.block([[zero, -one], [one, zero]]))}

    def specification(self) -> dict[str, Any]:
        return {"kind": "phase retrieval", "n_params": self.n_params, "n_measurements": len(self.y)}


class TensorDecomposition(Analytic):
    """U = ½‖Σ_r a_r ⊗ b_r ⊗ c_r ⊗ … − T‖², the canonical polyadic decomposition of a tensor of order 3 or more.

    Each component has the symmetries (a_r, b_r) ↦ (λa_r, b_r/λ) and so on, with the quantities ½(|a_r|² − |b_r|²), ….

    Parameters
    ----------
    target : array_like, shape (n_1, …, n_D)
        T.
    rank : int
        Number of components. θ has the factors A_1 of shape (rank, n_1), A_2, …, one after the other, row by row.

    Notes
    -----
    The infimum is not known in general, and need not be attained: sets of tensors of bounded rank are not closed [1]_.

    References
    ----------
    .. [1] V. de Silva and L.-H. Lim, "Tensor Rank and the Ill-Posedness of the Best Low-Rank Approximation Problem", SIAM J.
       Matrix Anal. Appl. 30, 2008.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.TensorDecomposition(np.ones((2, 2, 2)), rank=1)
    >>> U.value(np.ones(6)), [s.name for s in nl.symmetries(U)]
    (0.0, ['scaling[0,1,2]', 'scaling[0,2,3]', 'time'])
    """

    minimum = math.nan  #: not known in general

    def __init__(self, target: ArrayLike, rank: int) -> None:
        shape = checks.numpy_array(target, "target").shape
        order = len(shape)
        if not 3 <= order <= 8:
            raise ValueError(f"target must be a tensor of order 3 to 8, got shape {shape}")
        self.target = filled(target, "target", order)
        self.rank = checks.integer(rank, "rank", minimum=1)
        shapes = {f"A{d}": (self.rank, n) for d, n in enumerate(self.target.shape, start=1)}
        self.blocks = placed(shapes)  #: A1, …, AD inside θ
        self.n_params = self.blocks[-1].stop
        self._letters = "abcdefgh"[:order]

    def factors(self, x: Array) -> list[Array]:
        """Return A_1, …, A_D of shapes (rank, n_d) as views into x."""
        return [block.of(x) for block in self.blocks]

    def evaluate(self, x: Array) -> tuple[Any, Array]:
        factors, letters = self.factors(x), self._letters
        terms = [f"r{letter}" for letter in letters]
        error = np.einsum(f"{','.join(terms)}->{letters}", *factors) - self.target
        gradient = np.empty_like(x)
        for d, out in enumerate(self.factors(gradient)):
            others = [k for k in range(len(letters)) if k != d]
            rule = f"{letters},{','.join(terms[k] for k in others)}->{terms[d]}"
            out[...] = np.einsum(rule, error, *(factors[k] for k in others))
        return 0.5 * (error * error).sum(), gradient

    def generators(self) -> dict[str, Float64Array]:
        """Return "scaling[r,d,d+1]" for every component r and neighbouring factors d, d + 1, counted from 1."""
        out = {}
        for r in range(self.rank):
            for d in range(len(self.blocks) - 1):
                diagonal = np.zeros(self.n_params)
                factors = self.factors(diagonal)
                factors[d][r], factors[d + 1][r] = 1.0, -1.0
                out[f"scaling[{r},{d + 1},{d + 2}]"] = linear_generator(np.diag(diagonal))
        return out

    def specification(self) -> dict[str, Any]:
        """Return the kind, the shape and the rank."""
        return {"kind": "tensor decomposition", "shape": list(self.target.shape), "rank": self.rank}


class DiagonalLinear(Analytic):
    """U = (1/2N)|X(u∘v) − y|², a diagonal linear network (Woodworth et al. 2020); θ = (u, v).

    Each coordinate has the symmetry (u_i, v_i) ↦ (λu_i, v_i/λ), with the quantity Q_i = ½(u_i² − v_i²).

    Parameters
    ----------
    X : array_like, shape (N, d)
        Inputs.
    y : array_like, shape (N,)
        Targets.

    Notes
    -----
    Under gradient flow β = u∘v obeys β̇_i = −√(4Q_i² + 4β_i²) (Xᵀ(Xβ − y)/N)_i, a mirror flow: `mirror` maps β to the dual
    variable ½ arsinh(β_i/|Q_i|), which moves in the row space of X. Of all solutions of Xβ = y the flow so reaches the one with
    the smallest Bregman divergence from its start: nearly the least ℓ₁ norm for small |Q|, the least ℓ₂ norm for large |Q| [1]_.

    References
    ----------
    .. [1] B. Woodworth et al., "Kernel and Rich Regimes in Overparametrized Models", COLT 2020.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.potentials.DiagonalLinear([[1, 2]], [3])
    >>> U.minimum, U.value([1, 1, 1, 1])
    (0.0, 0.0)
    """

    def __init__(self, X: ArrayLike, y: ArrayLike) -> None:
        self.X = filled(X, "X", 2)
        self.y = owned(checks.shaped(y, "y", (len(self.X),)).astype(np.float64), y)
        self.n_params = 2 * self.X.shape[1]

    def _factors(self, x: ArrayLike) -> list[Float64Array]:
        """Return u and v of θ = (u, v), for x of shape (..., P)."""
        return np.split(checks.vectors(x, "x", self.n_params).astype(np.float64), 2, axis=-1)

    def coefficients(self, x: ArrayLike) -> Float64Array:
        """Return β = u∘v for x of shape (..., P), shape (..., d)."""
        u, v = self._factors(x)
        return np.asarray(u * v)

    def mirror(self, x: ArrayLike) -> Float64Array:
        """Return the dual variable ½ arsinh(β_i/|Q_i|) for x of shape (..., P), shape (..., d); infinite where Q_i = 0 ≠ β_i."""
        u, v = self._factors(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(0.5 * np.arcsinh(u * v / np.abs(0.5 * (u - v) * (u + v))))

    def evaluate(self, x: Array) -> tuple[Any, Array]:
        u, v = np.split(x, 2)
        error = self.X @ (u * v) - self.y
        force = self.X.T @ error / error.size
        return (error * error).sum() / (2 * error.size), np.concatenate([v * force, u * force])

    def generators(self) -> dict[str, Float64Array]:
        """Return "scaling[i]" of every coordinate i."""
        d, signs = self.n_params // 2, np.repeat([1.0, -1.0], self.n_params // 2)
        return {f"scaling[{i}]": linear_generator(np.diag(signs * np.tile(np.eye(d)[i], 2))) for i in range(d)}

    @property
    def minimum(self) -> float:
        """That of linear least squares."""
        return least_squares(self.X, self.y)

    def specification(self) -> dict[str, Any]:
        return {"kind": "diagonal linear", "n_params": self.n_params, "n_samples": len(self.y)}


class LogSumExp(Analytic):
    """U = log Σ_k exp(−⟨a_k, x⟩): the exponential loss of a linear classifier, a_k = y_k x_k with labels ±1, after a logarithm.

    Directions ξ with a_k ⊥ ξ for all k are symmetries x ↦ x + εξ, with the quantities ⟨ξ, x⟩.

    Parameters
    ----------
    A : array_like, shape (K, d)
        The a_k.

    Notes
    -----
    Where some x has all ⟨a_k, x⟩ > 0 the data are separable, inf U = −∞, and under gradient flow x/|x| tends to the direction of
    the largest margin, `max_margin` [1]_. Otherwise U has a minimum, which is not computed here.

    References
    ----------
    .. [1] D. Soudry et al., "The Implicit Bias of Gradient Descent on Separable Data", JMLR 19, 2018.

    Examples
    --------
    >>> import noetherlite as nl
    >>> U = nl.potentials.LogSumExp([[2, 0], [0, 1]])
    >>> U.minimum, U.max_margin().round(3)
    (-inf, array([0.447, 0.894]))
    """

    def __init__(self, A: ArrayLike) -> None:
        self.A = filled(A, "A", 2)
        self.n_params = self.A.shape[1]

    def evaluate(self, x: Array) -> tuple[Any, Array]:
        z = -(self.A @ x)
        top = z.real.max()
        weights = np.exp(z - top)
        total = weights.sum()
        return np.log(total) + top, -(self.A.T @ (weights / total))

    def generators(self) -> dict[str, Float64Array]:
        """Return "translation[i]" of an orthonormal basis of the directions orthogonal to all a_k."""
        zero = np.zeros((self.n_params, self.n_params))
        return {f"translation[{i}]": np.column_stack([zero, xi]) for i, xi in enumerate(complement(self.A))}

    def max_margin(self) -> Float64Array:
        """Return the unit x with the largest min_k ⟨a_k, x⟩, shape (d,).

        Raises
        ------
        ValueError
            If the data are not separable.
        """
        w, separable = self._nearest()
        if not separable:
            raise ValueError("A is not separable: no x has <a_k, x> > 0 for all k")
        return np.asarray(w / np.linalg.norm(w))

    def _nearest(self) -> tuple[Float64Array, bool]:
        """Return a multiple of the point of the convex hull of the a_k that is nearest to 0, and whether 0 is outside of the hull."""
        from scipy.optimize import nnls

        scale = float(np.abs(self.A).max()) or 1.0
        K = len(self.A)
        weights, _ = nnls(np.vstack([self.A.T / scale, np.ones(K)]), np.append(np.zeros(self.n_params), 1.0))
        w = self.A.T @ weights
        return w, bool((self.A @ w).min() > 64 * np.finfo(np.float64).eps * K * scale * np.linalg.norm(w))

    @property
    def minimum(self) -> float:
        """−∞ for separable data, else NaN."""
        return -np.inf if self._nearest()[1] else float("nan")

    def specification(self) -> dict[str, Any]:
        return {"kind": "log-sum-exp", "n_params": self.n_params, "n_terms": len(self.A)}
