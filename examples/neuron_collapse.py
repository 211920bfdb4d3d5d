"""
Neurons that collapse
=====================

A sign flip of a tanh neuron changes nothing, so that a neuron whose weights are zero keeps them: its set of fixed points is invariant
under every algorithm. Full-batch gradient descent moves away from it. The noise of small batches and large steps pulls neurons onto it,
and there they stay: with a batch of 4 and η = 0.2 six of twelve neurons are gone.
"""

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

RUNS = {
    "full batch, η = 0.2": (0.2, None, 15_000),
    "batch of 8, η = 0.1": (0.1, 8, 150_000),
    "batch of 4, η = 0.2": (0.2, 4, 150_000),
}
COLOURS = ("#0072b2", "#009e73", "#d55e00")


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(512, 8))
    teacher = nl.Network([8, 2, 1], "tanh", bias=False, loss="mse")
    y = teacher.predict(1.5 * teacher.init(rng=3), X) + 0.5 * rng.normal(size=(512, 1))
    net = nl.Network([8, 12, 1], "tanh", bias=False, loss="mse")
    U, start = net.potential(X, y), net.init(rng=1)
    sign = next(s for s in nl.discrete_symmetries(U) if s.name == "sign:1")
    figure, axes = plt.subplots(1, len(RUNS), figsize=(9, 3.2), sharex=True, sharey=True, layout="constrained")
    for ax, colour, (title, (lr, batch_size, steps)) in zip(axes, COLOURS, RUNS.items(), strict=True):
        run = nl.integrate(
            U,
            nl.GD(lr),
            start,
            steps,
            batch_size=batch_size,
            record_every=steps // 300,
            record_params=True,
            laws=None,
            rng=0,
        )
        distance = np.array([sign.distance(x) for x in run.params])
        gone = int((distance[-1] < 1e-6).sum())
        print(f"{title:20} loss {run.loss[-1]:.4f}, {gone} of 12 neurons at zero")
        ax.semilogy(run.step[1:], distance[1:], color=colour, lw=1)
        ax.set(title=title, xlabel="step", xscale="log", ylim=(1e-16, 30))
    axes[0].set_ylabel("length of neuron i")
    figure.savefig("neuron_collapse.png", dpi=150)


if __name__ == "__main__":
    main()
