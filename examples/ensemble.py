"""
Many networks at once
=====================

Forty-eight networks at once: which learning rates train a small network, and how far each breaks its conservation laws.
"""

import numpy as np

import noetherlite as nl


def main() -> None:
    """Train six starts with each of eight learning rates, side by side, to the same time."""
    net = nl.Network([6, 16, 16, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=60, n_features=6, n_classes=3, rng=0))
    rates, starts = np.geomspace(0.01, 1.2, 8), [net.init(rng=e) for e in range(6)]
    algorithms = [nl.GD(lr) for lr in rates for _ in starts]
    runs = nl.ensemble(U, algorithms, starts * len(rates), steps=800, record_every=40)

    print(f"{len(runs)} runs of {runs.step[0, -1]} steps: {runs.message}")
    print("    lr   median loss  median |Q(t) − Q(0)|  exact discrete law")
    loss = runs.loss[:, -1].reshape(len(rates), -1)
    law = runs.laws["scaling:1"]
    drift = np.abs(law.residual[:, -1]).max(axis=1).reshape(len(rates), -1)
    exact = np.abs(law.discrete_residual).max(axis=(1, 2)).reshape(len(rates), -1)
    for lr, losses, drifts, residuals in zip(rates, loss, drift, exact, strict=True):
        print(f"{lr:6.3f}   {np.median(losses):11.1e}  {np.median(drifts):20.1e}  {residuals.max():18.1e}")
    alone = nl.integrate(U, algorithms[7], starts[1], steps=800, record_every=40)
    print("run 7 is bit for bit the run alone:", np.array_equal(runs[7].x, alone.x))


if __name__ == "__main__":
    main()
