"""
Noise as a source
=================

Langevin dynamics: what noise makes of a law is recorded and its mean is known; the exact laws hold to round-off with it.
"""

import numpy as np
from matplotlib.figure import Figure

import noetherlite as nl


def main() -> None:
    net = nl.Network([12, 2, 2], "relu")
    U = net.potential(nl.datasets.gaussian_classes(n=30, n_features=12, n_classes=2, rng=0))
    temperature, members = 0.02, 200
    starts = np.tile(net.init(rng=0), (members, 1))
    runs = nl.ensemble(U, nl.SGLD(0.01, temperature), starts, steps=200, record_every=10, batch_size=6, rng=1)
    law, t = runs.laws["scaling:1"], runs.t[0]
    made = law.source_integral.sum(axis=-1)  # of both neurons
    trace = 2 * (12 + 1 - 2)  # of G: incoming weights and bias, less outgoing weights
    mean, error = made.mean(axis=0), made.std(axis=0, ddof=1) / np.sqrt(members)
    print(f"{runs.message}; what noise has made of Q at t = {t[-1]:g}, mean over {members} runs:")
    print(f"  {mean[-1]:.4f} ± {error[-1]:.4f}, theory T t tr G = {temperature * trace * t[-1]:.4f}")
    print(f"exact discrete laws: {np.abs(law.discrete_residual).max():.0e}")

    bowl, inertia = nl.potentials.Radial(2), nl.BAOAB(0.0025, 0.05, gamma=0.5)
    turn = nl.Symmetry(np.array([[0.0, -1.0], [1.0, 0.0]]), name="rotation")
    options = {"velocity": np.tile([0.0, 1.0], (members, 1)), "laws": [turn], "rng": 2}
    turning = nl.ensemble(bowl, inertia, np.tile([1.0, 0.0], (members, 1)), steps=60, **options)
    momentum = turning.laws["rotation"].charge[..., 0] * np.exp(0.5 * turning.t)
    spread = momentum.std(axis=0, ddof=1) / np.sqrt(members)
    print(f"μJ of a rotation: {momentum[:, -1].mean():.3f} ± {spread[-1]:.3f}, at the start {momentum[0, 0]:.3f}")

    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(t, made[:20].T, color="0.8", linewidth=0.7)
    left.errorbar(t, mean, 2 * error, fmt="o", markersize=3, label="mean ± 2 standard errors")
    left.plot(t, temperature * trace * t, color="black", label=r"$T\,t\,\mathrm{tr}\,G$")
    left.set(xlabel="$t$", ylabel="what noise makes of $Q$", title="SGLD, scaling of neurons")
    right.plot(turning.t[0], momentum[:20].T, color="0.8", linewidth=0.7)
    right.errorbar(turning.t[0][::5], momentum.mean(axis=0)[::5], 2 * spread[::5], fmt="o", markersize=3)
    right.axhline(momentum[0, 0], color="black")
    right.set(xlabel="$t$", ylabel=r"$\mu J$", title="BAOAB, rotation")
    left.legend()
    figure.savefig("langevin.png", dpi=150)
    print("drawn in langevin.png")


if __name__ == "__main__":
    main()
