"""Committee machines that learn from a teacher, at infinitely many Gaussian inputs: the risk in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base import checks
from .._base.types import Array, ArrayLike, Float64Array
from .analytic import Analytic, complement, linear_generator, rotation_generators
from .potentials import filled

_ACTIVATIONS = ("erf", "relu")


class CommitteeMachine(Analytic):
    """U = ½E[(Σ_j v_j σ(⟨w_j, x⟩) − Σ_m a_m σ(⟨b_m, x⟩))²] for x ~ N(0, 1_d) (Saad and Solla 1995).

    Parameters
    ----------
    teacher : array_like, shape (M, d)
        The teacher's weights b_m.
    width : int
        Number K of the student's neurons.
    activation : {"erf", "relu"}
        σ(z) = erf(z/√2) or max(z, 0).
    teacher_readout : array_like, shape (M,), optional
        a_m; 1 by default.
    trained_readout : bool
        Whether the v_j are trained; else they are 1. θ has the w_j one after the other, then the v_j if these are trained.

    Notes
    -----
    With the covariances C of the K + M pre-activations, E[σ_pσ_q] is (2/π) arcsin(C_pq/√((1 + C_pp)(1 + C_qq))) for erf [1]_, and
    (√(C_ppC_qq − C_pq²) + (π − φ)C_pq)/2π with cos φ = C_pq/√(C_ppC_qq) for relu [2]_.

    Rotations of the inputs that leave the teacher alone are symmetries; so are, for relu with a trained readout,
    (w_j, v_j) ↦ (λw_j, v_j/λ), with the quantity ½(|w_j|² − v_j²).

    References
    ----------
    .. [1] D. Saad and S. A. Solla, "On-line learning in soft committee machines", Phys. Rev. E 52, 1995.
    .. [2] Y. Cho and L. K. Saul, "Kernel Methods for Deep Learning", NeurIPS 2009.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> U = nl.potentials.CommitteeMachine(np.eye(2, 3), width=2)
    >>> U.minimum, round(abs(U.value(np.eye(2, 3).ravel())), 12)
    (0.0, 0.0)
    """

    def __init__(
        self,
        teacher: ArrayLike,
        width: int,
        activation: str = "erf",
        *,
        teacher_readout: ArrayLike | None = None,
        trained_readout: bool = False,
    ) -> None:
        self.teacher = filled(teacher, "teacher", 2)
        M, self.n_inputs = self.teacher.shape
        self.width = checks.integer(width, "width", minimum=1)
        self.activation = checks.one_of(activation, "activation", _ACTIVATIONS)
        readout = np.ones(M) if teacher_readout is None else checks.shaped(teacher_readout, "teacher_readout", (M,))
        self.teacher_readout: Float64Array = readout.astype(np.float64)
        self.trained_readout = checks.boolean(trained_readout, "trained_readout")
        self.n_params = self.width * (self.n_inputs + self.trained_readout)

    def evaluate(self, x: Array) -> tuple[Any, Array]:
        K, d = self.width, self.n_inputs
        readout = x[K * d :] if self.trained_readout else np.ones(K)
        vectors = np.concatenate([x[: K * d].reshape(K, d), self.teacher])
        weights = np.concatenate([readout, -self.teacher_readout])
        C = vectors @ vectors.T
        moments, by_covariance, by_variance = (_erf_moments if self.activation == "erf" else _relu_moments)(C)
        output = moments @ weights  # E[σ_p (student − teacher)]
        pairs = weights[:K, None] * weights
        gradient = (pairs * by_covariance[:K]) @ vectors + 2 * (pairs * by_variance[:K]).sum(axis=1)[:, None] * vectors[
            :K
        ]
        parts = [gradient.ravel(), *([output[:K]] if self.trained_readout else [])]
        return 0.5 * (weights @ output), np.concatenate(parts)

    def generators(self) -> dict[str, Float64Array]:
        """Return "rotation[p,q]" of directions orthogonal to the teacher, and "scaling[j]" for relu with a trained readout."""
        K, d = self.width, self.n_inputs
        out = rotation_generators(complement(self.teacher), range(0, K * d, d), self.n_params)
        if self.activation == "relu" and self.trained_readout:
            for j in range(K):
                diagonal = np.zeros(self.n_params)
                diagonal[j * d : (j + 1) * d], diagonal[K * d + j] = 1.0, -1.0
                out[f"scaling[{j}]"] = linear_generator(np.diag(diagonal))
        return out

    @property
    def minimum(self) -> float:
        """0 where the student can be the teacher, else NaN."""
        same = self.width >= len(self.teacher) and (self.trained_readout or bool((self.teacher_readout == 1).all()))
        return 0.0 if same else float("nan")

    def specification(self) -> dict[str, Any]:
        """Return the kind, the sizes and the activation."""
        return {
            "kind": "committee machine",
            "n_inputs": self.n_inputs,
            "width": self.width,
            "teacher_width": len(self.teacher),
            "activation": self.activation,
            "trained_readout": self.trained_readout,
        }


def _erf_moments(C: Array) -> tuple[Array, Array, Array]:
    """Return E[σ_pσ_q] for covariances C (n, n), and its derivatives by C_pq and by C_pp."""
    D = 1 + C.diagonal()
    product = D[:, None] * D
    root = np.sqrt(product - C * C)
    return 2 / np.pi * np.arcsin(C / np.sqrt(product)), 2 / (np.pi * root), -C / (np.pi * D[:, None] * root)


def _relu_moments(C: Array) -> tuple[Array, Array, Array]:
    """Return E[σ_pσ_q] for covariances C (n, n), and its derivatives by C_pq and by C_pp."""
    D = C.diagonal()
    product = D[:, None] * D
    square = product - C * C
    apart = (square.real > 0) & ~np.eye(len(C), dtype=bool)  # vectors that are not parallel
    root = np.sqrt(np.where(apart, square, 0.0))
    slope = np.divide(C, root, out=np.zeros_like(C), where=apart)
    angle = np.where(apart, np.pi / 2 - np.arctan(slope), np.where(C.real < 0, np.pi, 0.0))
    mean = (root + (np.pi - angle) * C) / (2 * np.pi)
    by_variance = np.divide(root, 4 * np.pi * D[:, None], out=np.zeros_like(C), where=D.real[:, None] > 0)
    return mean, (np.pi - angle) / (2 * np.pi), by_variance
