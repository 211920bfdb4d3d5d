"""
Integrators: what they keep, and what they cost
===============================================

Every integrator of a flow, on one smooth network (swish with a trained β for every neuron, which has a scaling law), up to the same time with
more and more steps. Above: how far the law of the flow is off, which is conservation of Q for gradient flow and the balance of
charge and source for Newtonian dynamics. Below: how far the end is from that of the flow. Both against the number of gradients.

Gradient descent and RK4 lose Q at their order, and gain digits in both panels alike. Projected gradient descent keeps Q to round-off at any
step, and the implicit midpoint rule where its 12 iterations solve the equation of a step; at the end both are as far from the
flow as their order says. To keep the law is one thing, to find the end another. With Newtonian dynamics the
compositions of Yoshida overtake leapfrog from three to four digits on.
"""

from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import noetherlite as nl

DURATION = 6.0
FLOOR = 1e-17  # zeros have no place on a logarithmic axis


class Integrator(NamedTuple):
    """An integrator of one time step, and how it is drawn."""

    label: str
    of_step: Callable[[float], nl.Algorithm]
    steps: list[int]
    colour: str
    marker: str


def doubled(first: int, times: int) -> list[int]:
    return [first * 2**k for k in range(times)]


GRADIENT_FLOW = [
    Integrator("gradient descent", nl.GD, doubled(24, 9), "#0072b2", "o"),
    Integrator("projected GD", nl.ProjectedGD, doubled(24, 9), "#e69f00", "s"),
    Integrator("implicit midpoint", lambda h: nl.ImplicitMidpoint(h, iterations=12), doubled(12, 7), "#009e73", "D"),
    Integrator("RK4", nl.RK4, doubled(8, 8), "#cc79a7", "^"),
]
NEWTON = [
    Integrator("leapfrog", lambda h: nl.Leapfrog(h**2), doubled(24, 9), "#0072b2", "o"),
    Integrator("Yoshida 4", lambda h: nl.Yoshida(h**2), doubled(12, 8), "#d55e00", "v"),
    Integrator("Yoshida 6", lambda h: nl.Yoshida(h**2, order=6), doubled(6, 7), "#000000", "*"),
    Integrator(
        "implicit midpoint", lambda h: nl.ImplicitMidpoint(h**2, nl.ND, iterations=12), doubled(12, 7), "#009e73", "D"
    ),
]


def draw(
    U: nl.potentials.Potential, x0: np.ndarray, dynamics: nl.Dynamics, integrators: list[Integrator], axes: list[Axes]
) -> None:
    """Draw the defects of the law and of the end against the number of gradients."""
    end = nl.reference_flow(U, dynamics, x0, [0.0, DURATION]).x[-1]
    for k, (label, of_step, counts, colour, marker) in enumerate(integrators):
        runs = [nl.integrate(U, of_step(DURATION / n), x0, n, record_every=max(n // 24, 1)) for n in counts]
        assert {law.verdict for run in runs for law in run.laws.values()} == {"holds"}  # exact laws, at every step size
        cost = [run.n_gradients for run in runs]
        law = [max(law.largest("residual") for law in run.laws.values()) for run in runs]
        off = [np.linalg.norm(run.x - end) / np.linalg.norm(end - x0) for run in runs]
        print(f"{dynamics.name} {label:17} {cost[-1]:6} gradients: law off by {law[-1]:.1e}, end by {off[-1]:.1e}")
        size = 9 - 1.5 * k  # curves that coincide are seen both
        for ax, values in zip(axes, (law, off), strict=True):
            ax.loglog(cost, np.maximum(values, FLOOR), color=colour, marker=marker, ms=size, lw=size / 4, label=label)


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((16, 2))
    net = nl.Network([2, 6, 6, 1], "swish", loss="mse")
    U = net.potential(X, np.sin(2 * X[:, :1]) * X[:, 1:])
    x0 = net.init(rng=0)
    figure, axes = plt.subplots(2, 2, figsize=(8.5, 6.4), layout="constrained", sharex=True, sharey="row")
    for column, (title, dynamics, integrators) in enumerate(
        (("gradient flow", nl.GF, GRADIENT_FLOW), ("Newtonian dynamics", nl.ND, NEWTON))
    ):
        draw(U, x0, dynamics, integrators, list(axes[:, column]))
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel("gradients")
        axes[1, column].legend(frameon=False)
    axes[0, 0].set_ylabel("largest defect of the law")
    axes[1, 0].set_ylabel("relative error of the end")
    for ax in axes.flat:
        ax.grid(alpha=0.3)
    figure.savefig("integrators.png", dpi=150)


if __name__ == "__main__":
    main()
