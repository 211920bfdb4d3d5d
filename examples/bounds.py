"""
How far charges can drift
=========================

How far conserved quantities drift under ND and NAGF, and the bounds on it: (34) and the case that GU leave open.
"""

import numpy as np

import noetherlite as nl


def main() -> None:
    """Train a ReLU network by leapfrog and NAGD and compare |Q(t) − Q(0)| with U_0t²/(α + 1)."""
    from matplotlib.figure import Figure

    net = nl.Network([10, 16, 3], activation="relu")
    U = net.potential(nl.datasets.gaussian_classes(n=100, n_features=10, n_classes=3, rng=0))
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for ax, algorithm in zip(figure.subplots(1, 2), (nl.Leapfrog(1e-4), nl.NAGD(1e-4)), strict=True):
        run = nl.integrate(U, algorithm, net.init(rng=0), 2000, record_every=10)
        nl.plot.bounds(run, "scaling:1", algorithm.dynamics, ax)
        ax.set_title(algorithm.dynamics.name)
        drift = np.abs(run.laws["scaling:1"].quantity - run.laws["scaling:1"].quantity[0]).max(axis=1)
        limit = nl.bounds.quantity_bound(run.loss[0], run.t, algorithm.dynamics.alpha)
        speed = np.abs(run.v).mean() / nl.bounds.mean_speed_bound(run.loss[0], U.n_params)
        print(
            f"{algorithm.dynamics.name:4}: drift of a neuron reaches {np.max(drift[1:] / limit[1:]):.1%} of its bound, "
            f"the mean speed ends at {speed:.1%} of its bound"
        )
    figure.savefig("bounds.png", dpi=150)
    print("drawn in bounds.png")


if __name__ == "__main__":
    main()
