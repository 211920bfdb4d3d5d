"""
The tangent kernel
==================

What it predicts, and how networks approach it as they widen.

ReLU and tanh differ: where a kink is passed, a neuron's share of the kernel jumps. ``python ntk.py full`` makes the
study of widths up to 4096 instead of the short one: some ten minutes on one core.
"""

import sys

import numpy as np

import noetherlite as nl


def predictions() -> None:
    """Compare a wide network in training with the closed forms u(t) of its linearisation."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 5)), rng.choice([-1.0, 1.0], size=(20, 1))
    net = nl.Network([5, 500, 500, 1], "relu", loss="mse")
    U, theta = net.potential(X, y), net.init(rng, scheme="ntk")
    K, u0 = nl.ntk.kernel(net, theta, X), net.predict(theta, X) - y
    limit = nl.ntk.infinite_width(net, X, scheme="ntk")
    print(f"|K - K_infinity| / |K_infinity| = {np.linalg.norm(K - limit) / np.linalg.norm(limit):.3f}")
    fastest = np.linalg.eigvalsh(K / len(X))[-1]
    rate = 0.01 / fastest  # small steps: the predictions are for continuous time
    damped = nl.ConformalLeapfrog(rate, gamma=np.sqrt(fastest))
    for algorithm in (nl.GD(rate), nl.Leapfrog(rate), nl.NAGD(rate), damped):
        run = nl.integrate(U, algorithm, theta, steps=100, record_every=100, laws=None)
        predicted = nl.ntk.predict(K, u0, run.t[-1], algorithm.dynamics)
        error = np.linalg.norm(net.predict(run.x, X) - y - predicted) / np.linalg.norm(u0)
        loss = (predicted**2).sum() / (2 * len(X))
        print(
            f"{algorithm.dynamics.name:7} loss {run.loss[0]:.4f} -> {run.loss[-1]:.4f}, "
            f"predicted {loss:.4f}; outputs differ by {error:.4f} of |u(0)|"
        )


def study(activation: str, full: bool) -> None:
    """Fit the exponents with which networks approach their linearisation, and draw them."""
    sizes = {} if full else {"widths": (32, 64, 128), "n_seeds": 4}
    figure, numbers = nl.figures.ntk_widths(nl.ntk.width_study(activation=activation, **sizes, progress=full))
    for quantity, exponents in numbers["exponents"].items():
        fits = (f"{name} {p:.2f} ± {error:.2f}" for name, (p, error) in exponents.items())
        print(f"{activation}: {quantity:10} ~ n^p:  {',  '.join(fits)}")
    figure.savefig(f"ntk-{activation}.png", dpi=150)
    print(f"drawn in ntk-{activation}.png")


if __name__ == "__main__":
    predictions()
    for activation in ("relu", "tanh"):
        study(activation, full="full" in sys.argv[1:])
