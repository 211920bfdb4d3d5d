"""Small random networks, data and parameters that several test files share."""

import numpy as np

from noetherlite._problem.activations import EXAMPLES, parse
from noetherlite._problem.network import Network

EPS = np.finfo(np.float64).eps
SMOOTH = ["linear(0.7)", "polynomial(2)", "polynomial(3)", "swish", "swish(1.3)", "tanh"]
KINKED = ["relu", "leaky_relu(0.1)", "repu(2)", "repu(1.5)"]
for example in EXAMPLES:  # of the catalogue, those of another name
    if parse(example).name not in {parse(a).name for a in SMOOTH + KINKED}:
        (KINKED if parse(example).is_piecewise or parse(example).has_other_kinks else SMOOTH).append(example)
ACTIVATIONS = SMOOTH + KINKED
HOMOGENEOUS = [a for a in ACTIVATIONS if parse(a).degree is not None]
LOSSES = ["mse", "nll"]


def data(net, n, rng):
    """Return n standard normal inputs and targets or labels for `net`."""
    X = rng.standard_normal((n, net.widths[0]))
    if net.loss == "nll":
        return X, rng.integers(0, net.widths[-1], n)
    return X, rng.standard_normal((n, net.widths[-1]))


def point(net, rng):
    """Return generic parameters: no bias and no β at its initial value."""
    return net.init(rng, bias_std=0.5) * rng.uniform(0.5, 1.5, net.n_params)


def problem(activation, loss="mse", bias=True, widths=(3, 5, 4, 2), n=9, seed=1):
    """Return (net, U, θ)."""
    rng = np.random.default_rng(seed)
    net = Network(widths, activation, bias=bias, loss=loss)
    return net, net.potential(*data(net, n, rng)), point(net, rng)
