"""
From groups to charges
======================

From groups to generators to charges: the mechanics examples 1 to 5 of GU's appendices, and SO(2).
"""

import numpy as np

import noetherlite as nl
from noetherlite import lagrangian as lg

QUARTER = np.array([[0.0, -1.0], [1.0, 0.0]])  # the generator of SO(2)


def free(t, x, v):
    """L of a free particle."""
    return 0.5 * (v @ v)


def ramp(t, x, v):
    """L in a potential that is constant along the first axis."""
    return 0.5 * (v @ v) - np.sin(x[1])


def central(t, x, v):
    """L in a central potential."""
    return 0.5 * (v @ v) - 0.1 * (x @ x - 1) ** 2


def shift(e, t, x):
    """Translate along the first axis."""
    return t, x + e * np.array([1.0, 0.0])


def wait(e, t, x):
    """Translate time."""
    return t + e, x


def turn(e, t, x):
    """Rotate about the origin."""
    return t, np.array([[np.cos(e), -np.sin(e)], [np.sin(e), np.cos(e)]]) @ x


def defect(L, group):
    """Return the largest defect of the Rund–Trautmann identity at random points: zero for a symmetry."""
    rng, generator = np.random.default_rng(0), lg.generator_of(group)
    return max(abs(lg.rund_trautmann(L, generator, 1.0, *rng.standard_normal((2, 2)))) for _ in range(5))


def main() -> None:
    """Print for each example whether the group is a symmetry, and what is conserved."""
    t, x, v = 1.0, np.array([1.0, 2.0]), np.array([0.5, -0.3])
    rows = [
        ("1 free particle, translation", free, shift, "momentum p_1", v[0]),
        ("2 any potential, time", central, wait, "energy −H", -lg.hamiltonian(central, t, x, v)),
        ("3 potential constant along e_1", ramp, shift, "momentum p_1", v[0]),
        ("4 central potential, rotation", central, turn, "angular momentum", x[0] * v[1] - x[1] * v[0]),
        ("5 potential not central, rotation", ramp, turn, "none", None),
    ]
    for name, L, group, charge, expected in rows:
        value = lg.noether_charge(L, lg.generator_of(group), t, x, v)
        verdict = charge if expected is None else f"{charge}: charge {value:.6f}, expected {expected:.6f}"
        print(f"{name:34} identity violated by {defect(L, group):.0e}   {verdict}")

    run = nl.integrate(nl.potentials.Radial(2), nl.Leapfrog(0.01), x, 30, velocity=v, record_params=True)
    slope = np.abs(lg.action_gradient(central, run.t, run.params)).max()
    beside = np.abs(lg.action_gradient(central, run.t, run.params + 0.01 * np.sin(run.t)[:, None])).max()
    print(f"2 the action's derivative on leapfrog's path {slope:.0e}, on a path beside it {beside:.0e}")

    M = lg.group_from_generator(QUARTER, 0.7)
    error = np.abs(lg.generator_from_group(M) - 0.7 * QUARTER).max()
    print(f"SO(2): exp(0.7 A) turns by 0.7, its logarithm gives 0.7 A back to {error:.0e}")


if __name__ == "__main__":
    main()
