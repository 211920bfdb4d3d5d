"""
The noise equilibrium
=====================

Gradient flow conserves the charge Q of a neuron, whatever it is at the start. The noise of minibatches does not: a step of SGD changes Q by ½η²⟨g, Gg⟩
on average, until the noise of incoming and outgoing weights is in balance [1]_. ``nl.noise_equilibrium`` computes that point of the orbit; runs of
SGD from three others drift to it. What is left beside the error bars, over 16 runs each, is of order η.

.. [1] L. Ziyin, M. Wang, H. Li, L. Wu, "Parameter symmetry and noise equilibrium of stochastic gradient descent", NeurIPS 2024.
"""

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

RUNS, ETA = 16, 0.02
COLOURS = ("#0072b2", "#009e73", "#d55e00")


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2)) * [1.5, 0.5]
    y = X @ [1.0, 1.0] + 0.5 * rng.normal(size=100)
    net = nl.Network([2, 1, 1], "linear", bias=False, loss="mse")
    U = net.potential(X, y[:, None])
    minimum = np.r_[np.linalg.lstsq(X, y, rcond=None)[0], 1.0]

    def charge(x: np.ndarray) -> float:
        return float(x[:2] @ x[:2] - x[2] ** 2) / 2

    equilibrium = charge(nl.noise_equilibrium(U, minimum))
    figure, ax = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    steps = round(20 / ETA**2)
    for start, colour in zip((-1.0, 0.0, 1.5), COLOURS, strict=True):
        x = nl.rebalance(net, minimum, {"scaling:1": start})
        runs = nl.ensemble(
            U,
            nl.GD(ETA),
            np.tile(x, (RUNS, 1)),
            steps,
            batch_size=1,
            rng=0,
            record_every=steps // 40,
            laws=["scaling:1"],
        )
        Q = runs.laws["scaling:1"].quantity[..., 0]
        mean, error = Q.mean(axis=0), Q.std(axis=0, ddof=1) / np.sqrt(RUNS)
        ax.errorbar(runs.t[0], mean, 5 * error, color=colour, lw=1, label=f"from Q = {start:g}")
        late = Q[:, 20:].mean(axis=1)
        print(
            f"from Q = {start:4}: {late.mean():.4f} ± {late.std(ddof=1) / np.sqrt(RUNS):.4f} at the end, {equilibrium:.4f} by the formula"
        )
    ax.axhline(equilibrium, color="black", ls="--", lw=1, label="formula")
    ax.set(xlabel="time ηk", ylabel="mean Q ± 5 standard errors")
    ax.legend()
    figure.savefig("noise_equilibrium.png", dpi=150)


if __name__ == "__main__":
    main()
