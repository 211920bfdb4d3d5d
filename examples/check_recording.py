"""
Check a recorded trajectory
===========================

Hold recorded trajectories against the laws: one of a correct gradient and one of a wrong one, as tables and as a figure.
"""

import numpy as np
from matplotlib.figure import Figure

import noetherlite as nl


def spoilt(U: nl.potentials.NetworkPotential) -> nl.potentials.Callable:
    """Return a potential whose gradient forgets the bias of neuron 3 in layer 1."""

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = U.value_and_gradient(x)
        U.network.unpack(gradient)["b1"][3] = 0
        return value, gradient

    return nl.potentials.Callable(value_and_gradient, U.n_params)


def main() -> None:
    net = nl.Network([4, 8, 8, 3], "relu")
    U = net.potential(nl.datasets.gaussian_classes(n=60, n_features=4, rng=0))
    theta = net.init(rng=0, bias_std=0.1)
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (title, recorded) in zip(
        panels, {"correct": U, "bias of neuron 3 forgotten": spoilt(U)}.items(), strict=True
    ):
        # Every fourth step is recorded; whoever holds the recording need not know that.
        run = nl.integrate(recorded, nl.NAGD(1e-4), theta, 2000, record_params=True, record_every=4, laws=None)
        report = nl.check(U, run.params, run.t, nl.NAGF)
        print(f"=== {title}\n{report}\n")
        report.plot(ax).set_title(title)
        ax.label_outer()
    figure.savefig("check.png", dpi=150)
    print("wrote check.png")


if __name__ == "__main__":
    main()
