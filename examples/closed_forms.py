"""
Closed forms
============

What the literature knows in closed form, against runs: the modes of a linear network on whitened data, learned one after the other
[1]_, and the flows near which gradient descent stays, to three orders in the learning rate.

.. [1] A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
   ICLR 2014.
"""

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

SINGULAR_VALUES, START, LR = np.array([3.0, 2.0, 1.0]), 1e-3, 0.01
COLOURS = ("#0072b2", "#009e73", "#d55e00")


def modes(ax: plt.Axes) -> None:
    """A linear network from small aligned weights: every singular value rises as a sigmoid, the largest first."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, 3)))[0] for n in (5, 4))
    X = np.linalg.qr(rng.normal(size=(40, 4)))[0] * np.sqrt(40)  # whitened: XᵀX/N = 1
    net = nl.Network([4, 3, 5], "linear", bias=False, loss="mse")
    U = net.potential(X, X @ (right * SINGULAR_VALUES) @ left.T)
    small = np.sqrt(START)
    theta = net.pack({"W1": small * right.T, "W2": small * left})
    run = nl.integrate(U, nl.GD(LR), theta, 800, record_every=20, record_params=True)
    weights = [net.unpack(theta) for theta in run.params]
    values = np.array([np.diag(left.T @ W["W2"] @ W["W1"] @ right) for W in weights])
    exact = nl.exact.decoupled_modes(SINGULAR_VALUES, START, run.t)
    print(
        f"modes: furthest from the closed form by {np.abs(values - exact).max():.3f}, of which GD's step of {LR} is the cause"
    )
    for k, colour in enumerate(COLOURS):
        ax.plot(run.t, values[:, k], "o", ms=3, color=colour, label=f"s = {SINGULAR_VALUES[k]:g}")
        ax.plot(run.t, exact[:, k], color=colour)
    ax.set(xlabel="time ηk", ylabel="singular value of $W_2W_1$ (lines: closed form)")
    ax.legend()


def orders(ax: plt.Axes) -> None:
    """Distance of gradient descent at time 2 to flows of the modified equation, of order 0 (gradient flow), 1 and 2."""
    net = nl.Network([2, 4, 1], "tanh", loss="mse")
    rng = np.random.default_rng(1)
    X = rng.normal(size=(10, 2))
    U, theta = net.potential(X, np.sin(X[:, :1])), net.init(rng=2)
    rates = 0.2 * 0.5 ** np.arange(5)
    ends = [nl.integrate(U, nl.GD(lr), theta, round(2 / lr), laws=None).x for lr in rates]
    for order, colour in enumerate(COLOURS):
        flows = [nl.exact.modified_flow(U, theta, lr, [2.0], order)[0] for lr in rates]
        distance = [np.linalg.norm(x - y) for x, y in zip(ends, flows, strict=True)]
        slope = np.polyfit(np.log(rates[-3:]), np.log(distance[-3:]), 1)[0]
        print(f"modified equation to η^{order}: the distance falls like η^{slope:.2f}")
        ax.loglog(rates, distance, "o-", color=colour, label=f"to $\\eta^{order}$: slope {slope:.2f}")
    ax.set_xticks(rates, [f"{lr:g}" for lr in rates])
    ax.minorticks_off()
    ax.set(xlabel="learning rate η", ylabel="distance at time 2")
    ax.legend()


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    modes(left)
    orders(right)
    figure.savefig("closed_forms.png", dpi=150)


if __name__ == "__main__":
    main()
