"""The exact discrete laws of the algorithms as formulas (theory §6, §10)."""

from __future__ import annotations

from .._base.notation import plain
from .._motion.algorithms import GD, NAGD, Algorithm, ConformalLeapfrog, HeavyBall

# Quadratic terms of the laws, which a symmetry with G = 0 has not; with skew G those of one velocity vanish too.
_SOURCE = r"\langle Gv, v\rangle"
_NESTEROV = (
    r"\langle Gv_{k+1}, v_{k+1}\rangle + \beta_k^2\langle Gv_k, v_k\rangle",
    r"\beta_k\langle Gv_k, v_{k+1}\rangle",
)


def exact_law(name: str, algorithm: Algorithm, has_quantity: bool = True) -> str:
    """Return the exact discrete law of a symmetry under an algorithm, in Unicode.

    Parameters
    ----------
    name : str
        The symmetry's name: rotations are skew, translations have G = 0, of others nothing is known.
    algorithm : Algorithm
        With its weight decay.
    has_quantity : bool
        Whether G is symmetric, so that there is a quantity Q.
    """
    still = name.startswith("translation")  # G = 0
    balanced = still or name == "rotation"  # ⟨Gv, v⟩ = 0
    decay = algorithm.weight_decay > 0 and name != "rotation"  # ⟨Gx, x⟩ = 0
    if isinstance(algorithm, GD):
        return plain(_gradient_descent(still, has_quantity, decay))
    if isinstance(algorithm, NAGD):
        inner = "" if still else f"- {_NESTEROV[1]}" if balanced else f"{_NESTEROV[0]} - {_NESTEROV[1]}"
        inner += r" - \lambda\langle g(y_k), y_k\rangle" if decay else ""
        return plain(r"J_{k+1} = \beta_kJ_k" + (f" + h({inner.strip()})" if inner else ""))
    if isinstance(algorithm, HeavyBall):
        lost = r" - \lambda\langle g(x_k), x_k\rangle" if decay else ""
        return plain(rf"J_{{k+1}} = \beta J_k{lost}" + ("" if balanced else rf" + h{_SOURCE}"))
    return plain(_leapfrog(algorithm, balanced, decay))


def _gradient_descent(still: bool, has_quantity: bool, decay: bool) -> str:
    lost = r"\eta\lambda\langle g(x_k), x_k\rangle"
    if not has_quantity:
        return r"\langle g(x_k), \nabla U(x_k)\rangle = 0"
    force = "d" if decay else r"\nabla U"
    made = "" if still else rf"\frac{{1}}{{2}}\eta^2\langle {force}, G{force}\rangle"
    return "Q_{k+1} - Q_k = " + (f"{made} - {lost}" if made and decay else made or (f"-{lost}" if decay else "0"))


def _leapfrog(algorithm: Algorithm, balanced: bool, decay: bool) -> str:
    conformal = isinstance(algorithm, ConformalLeapfrog) and algorithm.dynamics.name != "ND"
    left = r"\mu(t_{k+1})J_{k+1} - \mu(t_k)J_k" if conformal else "J_{k+1} - J_k"
    middle, mass = (r"\mu(\tau)", "m") if conformal else ("", "")
    made = "" if balanced else f"h{_SOURCE}"
    if decay:
        lost = rf"\frac{{h}}{{2{mass}}}\lambda(\langle g(x_k), x_k\rangle + \langle g(x_{{k+1}}), x_{{k+1}}\rangle)"
        made = f"({made} - {lost})" if made else f"(-{lost})"
    return f"{left} = {middle}{made}" if made else f"{left} = 0"


def explained(algorithm: Algorithm) -> str:
    """Return what the letters of the exact laws of an algorithm are."""
    decay = algorithm.weight_decay
    told = {"k": "the step", "g(x) = Gx + ξ": "the symmetry's generator"}
    if isinstance(algorithm, GD):
        told |= {"Q": "its quantity", "η": f"{algorithm.lr:g}"}
        told |= {"d": "∇U + λx"} if decay else {}
    else:
        told |= {"J = ⟨g(x), v⟩": "its charge", "h": f"{algorithm.dt:.4g}, the time per step"}
        if isinstance(algorithm, NAGD):
            told |= {"β_k": "(k − 1)/(k + 2)"}
        elif isinstance(algorithm, HeavyBall):
            told |= {"β": f"{algorithm.momentum:g}", "v": "v_{k+1}"}
        else:
            told |= {"v": "the velocity of step k's drift from x_k to x_{k+1}"}
        if isinstance(algorithm, ConformalLeapfrog) and algorithm.dynamics.name != "ND":
            told |= {"μ(t)": "the integrating factor", "τ": "t_k + h/2"}
    told |= {"λ": f"{decay:g}, the weight decay"} if decay else {}
    return f"In the exact laws {'; '.join(f'{letter} is {what}' for letter, what in told.items())}."
