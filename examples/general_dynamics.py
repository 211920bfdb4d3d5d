"""
Any mass and friction
=====================

Conformal leapfrog against the continuous flow, and μM conserved to round-off, μ = t^α e^{γt/m}.
"""

import numpy as np

import noetherlite as nl

TURN = nl.Symmetry([[0, -1], [1, 0]], name="rotation")


def main() -> None:
    """Run four dynamics in a central potential from the same moving start at t = 1."""
    U = nl.potentials.Radial(2)
    start = {"x0": [1.4, 0.1], "velocity": [0.1, 0.5], "t0": 1.0}
    print("  m    γ    α    error of h = 0.02, 0.01   ratio   drift of μM over 5000 steps, relative to μ|x||v|")
    for m, gamma, alpha in ((1, 0, 0), (1, 0, 3), (1, 0.2, 3), (2, 0.1, 0)):
        errors = []
        for h in (0.02, 0.01):
            run = nl.integrate(U, nl.ConformalLeapfrog(h**2, m, gamma, alpha), steps=round(5 / h), laws=None, **start)
            x0, velocity, t0 = start.values()
            flow = nl.reference_flow(U, nl.Dynamics(m, gamma, alpha), x0, [6.0], velocity=velocity, t0=t0)
            errors.append(np.abs(run.x - flow.x[0]).max())
        algorithm = nl.ConformalLeapfrog(1e-4, m, gamma, alpha)
        run = nl.integrate(U, algorithm, steps=5000, record_every=50, record_params=True, laws=[TURN], **start)
        mu = algorithm.dynamics.integrating_factor(run.t)
        conserved = mu * run.laws["rotation"].charge[:, 0]
        # Friction makes M = x × v small beside |x||v|, whose last digit is all the accuracy that M can have.
        scale = mu * np.linalg.norm(run.params, axis=1) * np.sqrt(2 * (run.energy - run.loss) / m)
        drift = (np.abs(conserved - conserved[0]) / scale).max()
        ratio = errors[0] / errors[1]
        print(f"{m:3g} {gamma:4g} {alpha:4g}    {errors[0]:.2e}  {errors[1]:.2e}       {ratio:.2f}    {drift:.1e}")


if __name__ == "__main__":
    main()
