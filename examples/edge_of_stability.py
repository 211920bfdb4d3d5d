"""
The edge of stability
=====================

Under gradient descent with a full batch the sharpness, the largest eigenvalue of the Hessian, rises until it is 2/η and stays about there
[1]_. Gradient flow would conserve the quantity Q of every neuron; gradient descent moves it by ½η²⟨∇U, G∇U⟩ a step. Below the edge that
fades with the gradient; at the edge the gradient oscillates, and Q moves a thousand times as far.

.. [1] J. M. Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability", ICLR 2021.
"""

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

RATES = {0.1: "#0072b2", 0.2: "#009e73", 0.4: "#d55e00"}


def main() -> None:
    rng = np.random.default_rng(0)
    X = np.linspace(-1, 1, 20)[:, None]
    net = nl.Network([1, 24, 24, 1], "relu", loss="mse")
    U = net.potential(X, np.sin(4 * X) + 0.3 * rng.normal(size=X.shape))
    start = net.init(rng=0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
    for eta, colour in RATES.items():
        run = nl.integrate(U, nl.GD(eta), start, round(400 / eta), record_every=round(8 / eta), record_sharpness=1)
        values = run.observed["sharpness"][:, 0]
        drift = np.abs(run.laws["scaling:1"].quantity - run.laws["scaling:1"].quantity[0]).max(axis=1)
        print(
            f"η = {eta}: 2/η = {2 / eta:5.1f}, sharpness in the last quarter {np.median(values[38:]):5.1f}, Q moved by {drift[-1]:.1e}"
        )
        left.plot(run.t, values, color=colour, label=f"η = {eta}")
        left.axhline(2 / eta, color=colour, ls="--", lw=1)
        right.semilogy(run.t[1:], drift[1:], color=colour, label=f"η = {eta}")
    left.set(xlabel="time ηk", ylabel="sharpness (dashed: 2/η)")
    right.set(xlabel="time ηk", ylabel="largest change of a neuron's Q")
    right.legend()
    figure.savefig("edge_of_stability.png", dpi=150)


if __name__ == "__main__":
    main()
