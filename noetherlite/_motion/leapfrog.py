"""Leapfrog, of Newtonian dynamics."""

from __future__ import annotations

from dataclasses import dataclass

from .dynamics import ND
from .kick_drift_kick import KickDriftKick


@dataclass(frozen=True, repr=False)
class Leapfrog(KickDriftKick):
    """Leapfrog (velocity Verlet) for Newtonian dynamics: x_{k+1} − 2x_k + x_{k−1} = −h²∇U(x_k), h = √lr, t = kh.

    Parameters
    ----------
    lr : float
        The paper's learning rate s = h² > 0.
    weight_decay : float
        λ ≥ 0, keyword only.
    clip, grad_accumulation
        Keyword only, as of every `Algorithm`.

    Notes
    -----
    Kick–drift–kick from (x_0, v_0). Symplectic, time-reversible, second order. Exact law, with J = ⟨g(x), v⟩ and v_{k+½}
    the drift's velocity: J_{k+1} − J_k = h⟨Gv_{k+½}, v_{k+½}⟩, the same as theory §6 between midpoints.
    """

    dynamics = ND
