"""
Where on its orbit a run starts
===============================

One function has many parameters: its orbit under scalings of neurons and matrices of linear layers. The loss is the same all along it, the way from there is not.
Left: one linear network, its layers drawn with three charges 2Q = λ by ``net.init(balance=λ)``; gradient descent leaves the neighbourhood of the saddle at 0 sooner
with larger λ: a singular value σ of the product of the layers moves √(λ² + 4σ²) times as fast as the gradient of the loss by that product would move it [1]_. Right: one start of a ReLU network, moved by ``nl.teleport`` to where the gradient is
twice and four times as long [2]_; the loss begins to fall four and sixteen times as steeply.

.. [1] S. Tarmoun, G. França, B. D. Haeffele, R. Vidal, "Understanding the dynamics of gradient flow in overparameterized linear models", ICML 2021.
.. [2] B. Zhao, N. Dehmamy, R. Walters, R. Yu, "Symmetry teleportation for accelerated optimization", NeurIPS 2022.
"""

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

COLOURS = ("#0072b2", "#009e73", "#d55e00")


def balanced_starts(ax: plt.Axes) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    net = nl.Network([4, 4, 2], "linear", bias=False, loss="mse")
    U = net.potential(X, X @ rng.normal(size=(4, 2)))
    for balance, colour in zip((0.0, 0.3, 1.0), COLOURS, strict=True):
        x = net.init(rng=1, scheme="orthogonal", scale=0.01, balance=balance)
        run = nl.integrate(U, nl.GD(0.01), x, 1200, record_every=10)
        law = run.laws["linear:1"]
        ax.semilogy(run.t, run.loss, color=colour, label=f"λ = {balance:g}")
        print(
            f"λ = {balance}: loss {run.loss[0]:.4f} at the start, {run.loss[-1]:.1e} at the end; the law {law.verdict}"
        )
    ax.set(xlabel="time ηk", ylabel="loss U", title="balance of linear layers")
    ax.legend()


def teleports(ax: plt.Axes) -> None:
    net = nl.Network([2, 16, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=90, n_features=2, n_classes=3, rng=0))
    start = net.init(rng=0)
    norm = float(np.linalg.norm(U.gradient(start)))
    for factor, colour in zip((1, 2, 4), COLOURS, strict=True):
        x = nl.teleport(U, start, factor * norm)
        run = nl.integrate(U, nl.GD(0.005), x, 400, record_every=2)
        slope = (run.loss[1] - run.loss[0]) / (run.t[1] - run.t[0])
        ax.plot(run.t, run.loss, color=colour, label=f"|∇U| = {factor * norm:.2f}")
        print(
            f"|∇U| = {factor * norm:.3f}: loss {run.loss[0]:.4f}, slope {slope:.3f}, −|∇U|² = {-((factor * norm) ** 2):.3f}"
        )
    ax.set(xlabel="time ηk", ylabel="loss U", title="teleported starts")
    ax.legend()


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    balanced_starts(left)
    teleports(right)
    figure.savefig("starts.png", dpi=150)


if __name__ == "__main__":
    main()
